//! What a parent hears of its children, whichever way they end.

use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Arbiter, AsyncContext, Context, Handler, Message, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use tokio::sync::mpsc;

use super::super::guard::{ChildDown, ChildGuard, ChildId, Exit};
use super::super::mailbox::{AskError, ask, offer};

const SECOND: Duration = Duration::from_secs(1);

/// A parent that only writes down what it hears.
struct Parent(mpsc::UnboundedSender<ChildDown>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildDown> for Parent {
    type Result = ();

    fn handle(&mut self, down: ChildDown, _: &mut Self::Context) {
        self.0.send(down).unwrap();
    }
}

/// Fails in every way an actor can.
struct Child {
    fail_at: FailAt,
    _guard: ChildGuard,
}

#[derive(Clone, Copy, PartialEq)]
enum FailAt {
    Never,
    Started,
    Stopping,
}

impl Actor for Child {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(self.fail_at != FailAt::Started, "injected");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
        // Guarded, because stopping() runs a second time while the first panic unwinds.
        assert!(
            self.fail_at != FailAt::Stopping || std::thread::panicking(),
            "injected"
        );
        actix::Running::Stop
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Nothing,
    Stop,
    Terminate,
    PanicInHandler,
    PanicInSpawned,
    PanicInWait,
    PanicInLater,
}

impl Handler<Do> for Child {
    type Result = ();

    fn handle(&mut self, what: Do, ctx: &mut Self::Context) {
        match what {
            Do::Nothing => {}
            Do::Stop => ctx.stop(),
            Do::Terminate => ctx.terminate(),
            Do::PanicInHandler => panic!("injected"),
            Do::PanicInSpawned => {
                ctx.spawn(async { panic!("injected") }.into_actor(self));
            }
            Do::PanicInWait => ctx.wait(async { panic!("injected") }.into_actor(self)),
            Do::PanicInLater => {
                ctx.run_later(SECOND, |_, _| panic!("injected"));
            }
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicInActFuture;

impl Handler<PanicInActFuture> for Child {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: PanicInActFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            async { tokio::task::yield_now().await }
                .into_actor(self)
                .map(|(), _, _| panic!("injected")),
        )
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicInResponseFuture;

impl Handler<PanicInResponseFuture> for Child {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PanicInResponseFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            tokio::task::yield_now().await;
            panic!("injected")
        })
    }
}

struct Rig {
    parent: actix::Addr<Parent>,
    heard: mpsc::UnboundedReceiver<ChildDown>,
}

impl Rig {
    fn new() -> Self {
        tokio::time::pause();
        let (tx, heard) = mpsc::unbounded_channel();
        Self {
            parent: Parent(tx).start(),
            heard,
        }
    }

    fn child(&self, fail_at: FailAt) -> (Child, ChildId) {
        let id = ChildId::fresh();
        let guard = ChildGuard::new(self.parent.clone().recipient(), id, "child");
        assert_eq!((guard.id(), guard.kind()), (id, "child"));
        (
            Child {
                fail_at,
                _guard: guard,
            },
            id,
        )
    }

    /// Asserts that exactly one report comes, and that it says this.
    async fn hears_once(&mut self, id: ChildId, exit: Exit) {
        let first = tokio::time::timeout(Duration::from_secs(10), self.heard.recv()).await;
        assert_eq!(
            first,
            Ok(Some(ChildDown {
                id,
                kind: "child",
                exit
            }))
        );
        self.hears_nothing().await;
    }

    async fn hears_nothing(&mut self) {
        let more = tokio::time::timeout(Duration::from_secs(10), self.heard.recv()).await;
        assert!(more.is_err(), "an unexpected report: {more:?}");
    }
}

async fn ends(how: Do, exit: Exit) {
    let mut rig = Rig::new();
    let (child, id) = rig.child(FailAt::Never);
    let (sibling, _) = rig.child(FailAt::Never);
    let child = child.start();
    let sibling = sibling.start();
    assert_eq!(ask(&child, Do::Nothing, SECOND).await, Ok(()));
    offer(&child, how).unwrap();
    rig.hears_once(id, exit).await;
    assert!(!child.connected());
    assert_eq!(
        ask(&child, Do::Nothing, SECOND).await,
        Err(AskError::MailboxClosed)
    );
    // Who shares the arbiter lives on.
    assert_eq!(ask(&sibling, Do::Nothing, SECOND).await, Ok(()));
}

#[actix_rt::test]
async fn a_stop_is_normal() {
    ends(Do::Stop, Exit::Normal).await;
}

#[actix_rt::test]
async fn a_termination_is_normal() {
    ends(Do::Terminate, Exit::Normal).await;
}

#[actix_rt::test]
async fn a_panic_in_a_handler_is_reported_once() {
    ends(Do::PanicInHandler, Exit::Panicked).await;
}

#[actix_rt::test]
async fn a_panic_in_a_spawned_future_is_reported_once() {
    ends(Do::PanicInSpawned, Exit::Panicked).await;
}

#[actix_rt::test]
async fn a_panic_in_a_waited_future_is_reported_once() {
    ends(Do::PanicInWait, Exit::Panicked).await;
}

#[actix_rt::test]
async fn a_panic_in_a_timer_is_reported_once() {
    ends(Do::PanicInLater, Exit::Panicked).await;
}

#[actix_rt::test]
async fn a_panic_in_an_asynchronous_answer_is_reported_once() {
    let mut rig = Rig::new();
    let (child, id) = rig.child(FailAt::Never);
    let child = child.start();
    assert_eq!(
        ask(&child, PanicInActFuture, SECOND).await,
        Err(AskError::MailboxClosed)
    );
    rig.hears_once(id, Exit::Panicked).await;
}

/// A `ResponseFuture` is a task beside the actor: its panic ends the request, not the actor.
#[actix_rt::test]
async fn a_panic_in_a_detached_answer_leaves_the_actor_alive() {
    let mut rig = Rig::new();
    let (child, id) = rig.child(FailAt::Never);
    let child = child.start();
    assert_eq!(
        ask(&child, PanicInResponseFuture, SECOND).await,
        Err(AskError::MailboxClosed)
    );
    rig.hears_nothing().await;
    assert_eq!(ask(&child, Do::Stop, SECOND).await, Ok(()));
    rig.hears_once(id, Exit::Normal).await;
}

#[actix_rt::test]
async fn a_panic_in_a_life_cycle_method_is_reported_once() {
    let mut rig = Rig::new();
    let (child, id) = rig.child(FailAt::Started);
    let _child = child.start();
    rig.hears_once(id, Exit::Panicked).await;

    let (child, id) = rig.child(FailAt::Stopping);
    offer(&child.start(), Do::Stop).unwrap();
    rig.hears_once(id, Exit::Panicked).await;
}

#[actix_rt::test]
async fn a_child_that_never_handled_a_message_is_reported() {
    let mut rig = Rig::new();
    // Nobody holds the address, so the actor stops after its first turn.
    let (child, id) = rig.child(FailAt::Never);
    drop(child.start());
    rig.hears_once(id, Exit::Normal).await;

    // Never started at all.
    let (child, id) = rig.child(FailAt::Never);
    drop(child);
    rig.hears_once(id, Exit::Normal).await;
}

#[actix_rt::test]
async fn a_child_whose_arbiter_stops_is_reported() {
    let mut rig = Rig::new();
    let (child, id) = rig.child(FailAt::Never);
    let arbiter = Arbiter::new();
    let child = Child::start_in_arbiter(&arbiter.handle(), |_| child);
    arbiter.stop();
    // The clock of this thread jumps ahead of the other one, so wait for that thread itself.
    arbiter.join().unwrap();
    rig.hears_once(id, Exit::Normal).await;
    drop(child);
}

#[actix_rt::test]
async fn a_panic_on_another_arbiter_is_reported_here() {
    let mut rig = Rig::new();
    tokio::time::resume();
    let (child, id) = rig.child(FailAt::Never);
    let arbiter = Arbiter::new();
    let child = Child::start_in_arbiter(&arbiter.handle(), |_| child);
    offer(&child, Do::PanicInHandler).unwrap();
    assert_eq!(
        rig.heard.recv().await,
        Some(ChildDown {
            id,
            kind: "child",
            exit: Exit::Panicked
        })
    );
    // The other arbiter still runs what it is given.
    let (child, id) = rig.child(FailAt::Never);
    let child = Child::start_in_arbiter(&arbiter.handle(), |_| child);
    assert_eq!(ask(&child, Do::Nothing, Duration::from_secs(60)).await, Ok(()));
    arbiter.stop();
    arbiter.join().unwrap();
    assert_eq!(
        rig.heard.recv().await,
        Some(ChildDown {
            id,
            kind: "child",
            exit: Exit::Normal
        })
    );
}

#[actix_rt::test]
async fn a_parent_that_is_gone_is_no_trouble() {
    let mut rig = Rig::new();
    let (child, _) = rig.child(FailAt::Never);
    let (panicking, _) = rig.child(FailAt::Never);
    let (child, panicking) = (child.start(), panicking.start());
    let Rig { parent, heard } = &mut rig;
    // The parent fails first: it cannot write down what it hears.
    heard.close();
    let (first, _) = {
        let id = ChildId::fresh();
        (ChildGuard::new(parent.clone().recipient(), id, "child"), id)
    };
    drop(first);
    while parent.connected() {
        tokio::task::yield_now().await;
    }
    offer(&panicking, Do::PanicInHandler).unwrap();
    offer(&child, Do::Stop).unwrap();
    while child.connected() || panicking.connected() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn ids_are_fresh() {
    let (a, b) = (ChildId::fresh(), ChildId::fresh());
    assert_ne!(a, b);
    assert!(a < b);
    assert!(a.to_string().starts_with('#'));
}
