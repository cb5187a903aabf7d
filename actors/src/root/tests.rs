//! Whole trees of small children: the order they start and stop in, and what their failures do to the relay.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, System};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use super::{
    Birth, ChildSpec, Drain, Health, Loss, Options, Outcome, OwnThread, RootActor, RootHandle, RootStatus,
    Running, StartError, StopChild,
};
use crate::supervise::{AskError, Backoff, ChildGuard, Intensity, Notify, Restart, ask, offer};

const SECOND: Duration = Duration::from_secs(1);

type Lives = Vec<(String, Addr<Probe>)>;

/// What happened, in order, and the address of every life so far.
#[derive(Clone, Default)]
struct Story(Rc<RefCell<Vec<String>>>, Rc<RefCell<Lives>>);

impl Story {
    fn add(&self, line: String) {
        self.0.borrow_mut().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The latest life of the child `name`.
    fn addr(&self, name: &str) -> Addr<Probe> {
        let all = self.1.borrow();
        all.iter().rev().find(|(of, _)| of == name).unwrap().1.clone()
    }
}

/// A child that does as it is told.
struct Probe {
    name: String,
    story: Story,
    stops: Stops,
    _guard: ChildGuard,
}

#[derive(Clone, Copy)]
enum Stops {
    AtOnce,
    After(Duration),
    Never,
}

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.story.add(format!("-{}", self.name));
    }
}

impl Handler<StopChild> for Probe {
    type Result = ();

    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        self.story.add(format!("stop {}", self.name));
        match self.stops {
            Stops::AtOnce => ctx.stop(),
            Stops::After(time) => {
                ctx.run_later(time, |_, ctx| ctx.stop());
            }
            Stops::Never => {}
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for Probe {
    type Result = ();

    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("injected");
    }
}

fn start_probe(story: &Story, name: &str, stops: Stops, birth: Birth) -> Running {
    let Birth { guard, epoch } = birth;
    story.add(format!("+{name}{epoch}"));
    let addr = Probe {
        name: name.to_owned(),
        story: story.clone(),
        stops,
        _guard: guard,
    }
    .start();
    story.1.borrow_mut().push((name.to_owned(), addr.clone()));
    Running::here(addr.recipient())
}

fn probe(story: &Story, name: &'static str, stops: Stops) -> ChildSpec {
    probe_of(name, story, name, stops)
}

/// A child of a kind that others may have too.
fn probe_of(kind: &'static str, story: &Story, name: &'static str, stops: Stops) -> ChildSpec {
    let story = story.clone();
    ChildSpec::new(kind, name, move |birth| {
        let story = story.clone();
        async move { Ok(start_probe(&story, name, stops, birth)) }
    })
}

fn tree(children: Vec<ChildSpec>) -> RootHandle {
    RootActor::start_tree(children, Options::new(Logger::root(Discard, o!()), 1))
}

/// Lets everything happen that needs no time.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn fail(story: &Story, name: &str) {
    let answer = ask(&story.addr(name), Fail, SECOND).await;
    assert_eq!(answer, Err(AskError::MailboxClosed));
    settle().await;
}

#[actix_rt::test]
async fn children_start_in_order_and_stop_in_reverse() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        probe(&story, "b", Stops::After(SECOND)),
        probe(&story, "c", Stops::AtOnce),
    ]);
    root.running().await.unwrap();
    let health = ask(root.addr(), Health, SECOND).await.unwrap();
    assert!(health.is_healthy(), "{health:?}");
    root.drain(10 * SECOND).unwrap();
    let outcome = root.ended().await;
    assert!(matches!(outcome, Outcome::Drained), "{outcome}");
    assert_eq!(outcome.code(), 0);
    assert_eq!(
        story.lines(),
        [
            "+a0", "+b0", "+c0", "stop c", "-c", "stop b", "-b", "stop a", "-a"
        ]
    );
}

#[actix_rt::test]
async fn the_next_child_waits_until_the_last_is_up() {
    tokio::time::pause();
    let story = Story::default();
    let slow = {
        let story = story.clone();
        ChildSpec::new("probe", "slow", move |birth| {
            let story = story.clone();
            async move {
                tokio::time::sleep(5 * SECOND).await;
                Ok(start_probe(&story, "slow", Stops::AtOnce, birth))
            }
        })
    };
    let start = Instant::now();
    let mut root = tree(vec![slow, probe(&story, "next", Stops::AtOnce)]);
    root.running().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(story.lines(), ["+slow0", "+next0"]);
}

#[actix_rt::test]
async fn a_child_that_does_not_stop_in_time_is_left_behind() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        probe(&story, "stuck", Stops::Never),
    ]);
    root.running().await.unwrap();
    let start = Instant::now();
    root.drain(3 * SECOND).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(story.lines(), ["+a0", "+stuck0", "stop stuck", "stop a", "-a"]);
}

#[actix_rt::test]
async fn a_second_drain_ends_at_once() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        probe(&story, "stuck", Stops::Never),
    ]);
    root.running().await.unwrap();
    let start = Instant::now();
    root.drain(60 * SECOND).unwrap();
    settle().await;
    let health = ask(root.addr(), Health, SECOND).await.unwrap();
    assert!(matches!(health.status, RootStatus::Draining), "{health:?}");
    assert!(Notify::new(root.addr().clone().recipient()).send(Drain { deadline: SECOND }));
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert!(start.elapsed() < SECOND);
}

#[actix_rt::test]
async fn a_drain_takes_back_what_is_still_starting() {
    tokio::time::pause();
    let story = Story::default();
    let never = ChildSpec::new("probe", "never", |_birth| std::future::pending());
    let root = tree(vec![probe(&story, "a", Stops::AtOnce), never]);
    settle().await;
    let start = Instant::now();
    root.drain(SECOND).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert!(start.elapsed() < SECOND);
    assert_eq!(story.lines(), ["+a0", "stop a", "-a"]);
}

#[actix_rt::test]
async fn a_child_that_panics_comes_back_with_a_new_epoch() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        probe(&story, "b", Stops::AtOnce),
    ]);
    root.running().await.unwrap();
    fail(&story, "a").await;
    assert_eq!(story.lines(), ["+a0", "+b0", "-a", "+a1"]);
    assert!(ask(root.addr(), Health, SECOND).await.unwrap().is_healthy());
    // A permanent child also comes back from a stop of its own.
    offer(&story.addr("b"), StopChild { deadline: SECOND }).unwrap();
    settle().await;
    assert_eq!(story.lines()[4..], ["stop b", "-b", "+b1"]);
}

#[actix_rt::test]
async fn six_panics_are_five_restarts_and_a_failed_relay() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        probe(&story, "b", Stops::AtOnce),
    ]);
    root.running().await.unwrap();
    for _ in 0..5 {
        fail(&story, "a").await;
    }
    assert_eq!(
        story.lines().iter().filter(|line| line.starts_with("+a")).count(),
        6
    );
    fail(&story, "a").await;
    let outcome = root.ended().await;
    assert!(
        matches!(&outcome, Outcome::Escalated { child } if child == "a"),
        "{outcome}"
    );
    assert_eq!(outcome.code(), 70);
    // Who was still up was asked to stop, and nobody came back.
    assert_eq!(story.lines().last().unwrap(), "-b");
    assert!(!story.lines().contains(&"+a6".to_owned()));
}

#[actix_rt::test]
async fn a_dispensable_child_stays_down_and_is_named_in_the_health() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "extra", Stops::AtOnce)
            .on_loss(Loss::StayDown)
            .intensity(Intensity::per_secs(1, 10)),
        probe(&story, "a", Stops::AtOnce),
    ]);
    root.running().await.unwrap();
    fail(&story, "extra").await;
    fail(&story, "extra").await;
    let health = ask(root.addr(), Health, SECOND).await.unwrap();
    assert!(!health.is_healthy());
    assert!(matches!(health.status, RootStatus::Running));
    assert_eq!(health.down, ["extra"]);
    assert_eq!(story.lines(), ["+extra0", "+a0", "-extra", "+extra1", "-extra"]);
}

#[actix_rt::test]
async fn transient_and_temporary_children_may_end() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "transient", Stops::AtOnce).restart(Restart::Transient),
        probe(&story, "temporary", Stops::AtOnce).restart(Restart::Temporary),
    ]);
    root.running().await.unwrap();
    fail(&story, "transient").await;
    fail(&story, "temporary").await;
    offer(&story.addr("transient"), StopChild { deadline: SECOND }).unwrap();
    settle().await;
    assert_eq!(
        story.lines(),
        [
            "+transient0",
            "+temporary0",
            "-transient",
            "+transient1",
            "-temporary",
            "stop transient",
            "-transient"
        ]
    );
    assert!(ask(root.addr(), Health, SECOND).await.unwrap().is_healthy());
}

#[actix_rt::test]
async fn a_restart_waits_its_back_off_and_a_drain_does_not() {
    tokio::time::pause();
    let backoff = Backoff {
        at_once: 0,
        first: 10 * SECOND,
        max: 40 * SECOND,
        jitter_percent: 0,
    };
    let story = Story::default();
    let mut root = tree(vec![probe(&story, "a", Stops::AtOnce).backoff(backoff)]);
    root.running().await.unwrap();
    fail(&story, "a").await;
    assert_eq!(ask(root.addr(), Health, SECOND).await.unwrap().down, ["a"]);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(story.lines(), ["+a0", "-a"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(story.lines(), ["+a0", "-a", "+a1"]);
    fail(&story, "a").await;
    root.drain(SECOND).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(story.lines(), ["+a0", "-a", "+a1", "-a"]);
}

#[actix_rt::test]
async fn a_child_that_cannot_start_ends_the_relay() {
    tokio::time::pause();
    let story = Story::default();
    let broken = ChildSpec::new("probe", "broken", |_birth| async {
        Err(StartError::failed(std::io::Error::other("port in use")))
    });
    let mut root = tree(vec![
        probe(&story, "a", Stops::AtOnce),
        broken,
        probe(&story, "c", Stops::AtOnce),
    ]);
    let outcome = root.running().await.unwrap_err();
    assert_eq!(outcome.to_string(), "broken did not start: port in use");
    assert_eq!(outcome.code(), 1);
    assert_eq!(story.lines(), ["+a0", "stop a", "-a"]);
}

#[actix_rt::test]
async fn a_start_that_panics_is_the_childs_failure() {
    tokio::time::pause();
    let panics = ChildSpec::new("probe", "panics", |_birth| async { panic!("injected") });
    let outcome = tree(vec![panics]).ended().await;
    assert_eq!(outcome.to_string(), "panics did not start: it panicked");
}

#[actix_rt::test]
async fn a_start_that_hangs_is_cut_off() {
    tokio::time::pause();
    let start = Instant::now();
    let hangs = ChildSpec::new("probe", "hangs", |birth| async move {
        let _birth = birth;
        std::future::pending().await
    });
    let outcome = tree(vec![hangs]).ended().await;
    assert_eq!(
        outcome.to_string(),
        "hangs did not start: not up within the start deadline"
    );
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[actix_rt::test]
async fn a_dispensable_child_that_cannot_start_holds_nobody_up() {
    tokio::time::pause();
    let story = Story::default();
    let broken = ChildSpec::new("probe", "broken", |_birth| async {
        Err(StartError::failed(std::io::Error::other("no daemon")))
    })
    .on_loss(Loss::StayDown)
    .intensity(Intensity::UNLIMITED)
    .backoff(Backoff {
        at_once: 0,
        first: 60 * SECOND,
        max: 60 * SECOND,
        jitter_percent: 0,
    });
    let mut root = tree(vec![broken, probe(&story, "a", Stops::AtOnce)]);
    root.running().await.unwrap();
    let health = ask(root.addr(), Health, SECOND).await.unwrap();
    assert_eq!(health.down, ["broken"]);
    assert_eq!(story.lines(), ["+a0"]);
}

#[actix_rt::test]
async fn a_child_that_dies_while_it_starts_is_started_again() {
    tokio::time::pause();
    let story = Story::default();
    let fragile = {
        let story = story.clone();
        ChildSpec::new("probe", "fragile", move |birth| {
            let story = story.clone();
            async move {
                let epoch = birth.epoch;
                let running = start_probe(&story, "fragile", Stops::AtOnce, birth);
                if epoch == 0 {
                    offer(&story.addr("fragile"), Fail).unwrap();
                    tokio::time::sleep(SECOND).await;
                }
                Ok(running)
            }
        })
    };
    let mut root = tree(vec![fragile, probe(&story, "next", Stops::AtOnce)]);
    root.running().await.unwrap();
    assert_eq!(story.lines(), ["+fragile0", "-fragile", "+fragile1", "+next0"]);
}

#[actix_rt::test]
async fn a_root_that_is_lost_says_so_and_takes_its_children_along() {
    tokio::time::pause();
    let story = Story::default();
    let (addr, status) = {
        let mut root = tree(vec![probe(&story, "a", Stops::AtOnce)]);
        root.running().await.unwrap();
        (root.addr.clone(), root.status.clone())
    };
    /// Ends the root in a way nothing here does.
    struct Break;
    impl Message for Break {
        type Result = ();
    }
    impl Handler<Break> for RootActor {
        type Result = ();
        fn handle(&mut self, _: Break, _: &mut Self::Context) {
            panic!("injected");
        }
    }
    offer(&addr, Break).unwrap();
    let outcome = RootHandle { addr, status }.ended().await;
    assert!(matches!(outcome, Outcome::RootLost), "{outcome}");
    assert_eq!(outcome.code(), 70);
    settle().await;
    assert_eq!(story.lines(), ["+a0", "stop a", "-a"]);
}

/// A child on a thread of its own: its panic ends the thread with all that is on it.
#[test]
fn a_panic_on_an_own_arbiter_replaces_the_arbiter() {
    struct Shard(ChildGuard);
    impl Actor for Shard {
        type Context = Context<Self>;
    }
    impl Handler<StopChild> for Shard {
        type Result = ();
        fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }
    impl Handler<Fail> for Shard {
        type Result = ();
        fn handle(&mut self, _: Fail, _: &mut Self::Context) {
            panic!("injected in {}", self.0.kind());
        }
    }

    System::new().block_on(async {
        let (up, mut lives) = tokio::sync::mpsc::unbounded_channel();
        let thread = OwnThread::default();
        // Set while a thread of the child runs, or while what it holds is being dropped.
        let held = Arc::new(AtomicBool::new(false));
        let shard = ChildSpec::new("shard", "shard-0", move |Birth { guard, epoch }| {
            let (up, thread, held) = (up.clone(), thread.clone(), Arc::clone(&held));
            async move {
                let arbiter = thread.begin().await?;
                assert!(!held.swap(true, Ordering::SeqCst), "two threads at once");
                let addr = Shard::start_in_arbiter(arbiter.handle(), |_| Shard(guard));
                // What the shard leaves on its thread; dropped with the thread, and slow at it.
                let left = Left(held);
                arbiter.handle().spawn(async move {
                    let _left = left;
                    std::future::pending().await
                });
                up.send((epoch, addr.clone())).unwrap();
                Ok(Running::on(arbiter, addr.recipient()))
            }
        })
        .intensity(Intensity::per_secs(2, 3600));
        let mut root = RootActor::start_tree(vec![shard], Options::new(Logger::root(Discard, o!()), 1));
        root.running().await.unwrap();
        for life in 0..3 {
            let (epoch, addr) = lives.recv().await.unwrap();
            assert_eq!(epoch, life);
            offer(&addr, Fail).unwrap();
        }
        let outcome = root.ended().await;
        assert!(matches!(outcome, Outcome::Escalated { .. }), "{outcome}");
        assert_eq!(outcome.code(), 70);
    });
}

/// What takes its time to go, as some ten thousand connections do.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        // On a busy machine each takes a slice of everybody else's, and the root gives the thread five seconds in all.
        for _ in 0..50 {
            std::thread::yield_now();
        }
        self.0.store(false, Ordering::SeqCst);
    }
}

/// A thread that does not end cannot be replaced, whatever restarts are left.
#[test]
fn a_thread_that_does_not_end_ends_the_relay() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = RefCell::new(Some(held));
    let story = Story::default();
    System::new().block_on({
        let story = story.clone();
        async move {
            let (thread, began) = (OwnThread::default(), story.clone());
            let stuck = ChildSpec::new("shard", "stuck", move |birth| {
                let (thread, story, held) = (thread.clone(), began.clone(), held.take());
                async move {
                    let arbiter = thread.begin().await?;
                    if let Some(held) = held {
                        let (tell, told) = tokio::sync::oneshot::channel();
                        arbiter.handle().spawn_fn(move || {
                            tell.send(()).unwrap();
                            // Until the test is over.
                            assert!(held.recv().is_err());
                        });
                        // An arbiter that is asked to stop before its first turn runs nothing of this.
                        told.await.unwrap();
                    }
                    // The actor is elsewhere, so that it can die while its thread cannot.
                    let _running = start_probe(&story, "stuck", Stops::AtOnce, birth);
                    Ok(Running::on(arbiter, story.addr("stuck").recipient()))
                }
            });
            let options = Options::new(Logger::root(Discard, o!()), 1);
            let mut root = RootActor::start_tree(vec![stuck, probe(&story, "a", Stops::AtOnce)], options);
            root.running().await.unwrap();
            tokio::time::pause();
            fail(&story, "stuck").await;
            let outcome = root.ended().await;
            assert!(
                matches!(&outcome, Outcome::Stuck { child } if child == "stuck"),
                "{outcome}"
            );
            assert_eq!(outcome.code(), 70);
            assert_eq!(story.lines(), ["+stuck0", "+a0", "-stuck", "stop a", "-a"]);
        }
    });
    drop(release);
}

#[actix_rt::test]
async fn siblings_stop_side_by_side_and_the_kind_before_them_when_all_are_gone() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "registry", Stops::AtOnce),
        probe_of("shard", &story, "one", Stops::After(2 * SECOND)),
        probe_of("shard", &story, "two", Stops::Never),
        probe_of("shard", &story, "three", Stops::After(SECOND)),
    ]);
    root.running().await.unwrap();
    let start = Instant::now();
    root.drain(3 * SECOND).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(
        story.lines()[4..],
        [
            "stop three",
            "stop two",
            "stop one",
            "-three",
            "-one",
            "stop registry",
            "-registry"
        ]
    );
}

#[actix_rt::test]
async fn a_sibling_that_dies_while_the_others_stop_holds_nobody_up() {
    tokio::time::pause();
    let story = Story::default();
    let mut root = tree(vec![
        probe(&story, "registry", Stops::AtOnce),
        probe_of("shard", &story, "one", Stops::Never),
        probe_of("shard", &story, "two", Stops::AtOnce),
    ]);
    root.running().await.unwrap();
    root.drain(60 * SECOND).unwrap();
    settle().await;
    fail(&story, "one").await;
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert_eq!(
        story.lines()[3..],
        [
            "stop two",
            "-two",
            "stop one",
            "-one",
            "stop registry",
            "-registry"
        ]
    );
}
