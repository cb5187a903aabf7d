//! How long the root waits for those it has sent away, and what cuts the wait short.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient};
use bytes::Bytes;
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use crate::root::{
    ChildSpec, Health, Options, Outcome, Remaining, Retire, RootActor, RootHandle, RootStatus, Running,
    SendAway, StopChild,
};
use crate::supervise::{ChildGuard, ask, mailbox};

const SECOND: Duration = Duration::from_secs(1);

type Asked = Rc<RefCell<Vec<SendAway>>>;

/// Serves `sessions`, one of which leaves each second from [`SendAway`] on; none when they never do.
struct Server {
    sessions: usize,
    leave: bool,
    asked: Asked,
    _guard: ChildGuard,
}

impl Actor for Server {
    type Context = Context<Self>;
}

impl Handler<StopChild> for Server {
    type Result = ();
    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<SendAway> for Server {
    type Result = ();
    fn handle(&mut self, msg: SendAway, ctx: &mut Self::Context) {
        self.asked.borrow_mut().push(msg.clone());
        self.tell(&msg);
        if self.leave {
            ctx.run_interval(SECOND, move |actor, _| {
                actor.sessions = actor.sessions.saturating_sub(1);
                actor.tell(&msg);
            });
        }
    }
}

impl Server {
    fn tell(&self, to: &SendAway) {
        let (child, sessions) = (to.child, self.sessions);
        mailbox::signal(&to.report, Remaining { child, sessions });
    }
}

fn server(asked: &Asked, name: &'static str, sessions: usize, leave: bool) -> ChildSpec {
    let asked = Rc::clone(asked);
    ChildSpec::new("server", name, move |birth| {
        let server = Server {
            sessions,
            leave,
            asked: Rc::clone(&asked),
            _guard: birth.guard,
        };
        async move {
            let addr = server.start();
            let away: Recipient<SendAway> = addr.clone().recipient();
            Ok(Running::here(addr.recipient()).serving(away))
        }
    })
}

async fn tree(children: Vec<ChildSpec>) -> RootHandle {
    let mut root = RootActor::start_tree(children, Options::new(Logger::root(Discard, o!()), 1));
    root.running().await.unwrap();
    root
}

fn retire() -> Retire {
    Retire {
        uri: Bytes::from_static(b"moqt://other:1"),
        grace: 10 * SECOND,
        deadline: SECOND,
    }
}

/// Lets everything happen that needs no time.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// All are told at once, and the end comes with the last who leaves.
#[actix_rt::test]
async fn the_end_comes_when_the_last_session_has_left() {
    tokio::time::pause();
    let asked = Asked::default();
    let root = tree(vec![server(&asked, "a", 2, true), server(&asked, "b", 4, true)]).await;
    let status = root.status();
    let began = Instant::now();
    root.retire(retire()).unwrap();
    settle().await;
    {
        let asked = asked.borrow();
        assert_eq!(asked.len(), 2);
        assert!(
            asked
                .iter()
                .all(|msg| msg.uri == retire().uri && msg.grace == 10 * SECOND)
        );
        assert!(matches!(&*status.borrow(), RootStatus::Retiring { sessions: 6 }));
    }
    assert!(!ask(root.addr(), Health, SECOND).await.unwrap().is_healthy());
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert_eq!(began.elapsed().as_secs(), 4);
}

#[actix_rt::test]
async fn a_relay_that_serves_nobody_ends_at_once() {
    tokio::time::pause();
    let asked = Asked::default();
    let root = tree(vec![server(&asked, "a", 0, true)]).await;
    let began = Instant::now();
    root.retire(retire()).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert!(began.elapsed() < SECOND);
}

#[actix_rt::test]
async fn sessions_that_stay_are_waited_for_no_longer_than_the_grace_and_a_deadline() {
    tokio::time::pause();
    let asked = Asked::default();
    let root = tree(vec![server(&asked, "a", 1, false)]).await;
    let began = Instant::now();
    root.retire(retire()).unwrap();
    assert!(matches!(root.ended().await, Outcome::Drained));
    assert_eq!(began.elapsed().as_secs(), 11);
}

#[actix_rt::test]
async fn asked_again_the_relay_ends_at_once() {
    for again_to_retire in [true, false] {
        tokio::time::pause();
        let asked = Asked::default();
        let root = tree(vec![server(&asked, "a", 1, false)]).await;
        let began = Instant::now();
        root.retire(retire()).unwrap();
        settle().await;
        if again_to_retire {
            root.retire(retire()).unwrap();
        } else {
            root.drain(SECOND).unwrap();
        }
        assert!(matches!(root.ended().await, Outcome::Drained));
        assert!(began.elapsed() < SECOND);
        assert_eq!(asked.borrow().len(), 1, "D14-VAL-11: everybody is asked once");
        tokio::time::resume();
    }
}
