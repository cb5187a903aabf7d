//! Answers that an actor gives later than its handler returns.

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use std::cell::RefCell;
use std::rc::Rc;

/// Where a promised answer and its asker meet, whichever comes first.
#[derive(Debug)]
enum Slot<R> {
    /// The handler has not returned, so the asker is not known.
    Open,
    /// The asker waits, if it asked for an answer at all.
    Waiting(Option<OneshotSender<R>>),
    /// Answered while the handler was still running.
    Answered(R),
    /// Over.
    Done,
}

/// What a handler returns: an answer, or the promise of one.
///
/// actix's own future answers cost a task each; on the data path the answer is nearly always at hand.
#[derive(Debug)]
pub enum Reply<R> {
    /// The answer.
    Now(R),
    /// Whoever holds the [`ReplyTo`] answers.
    Later(Later<R>),
}

/// The handler's half of a promised answer.
#[derive(Debug)]
pub struct Later<R>(Rc<RefCell<Slot<R>>>);

/// The right to answer one message. Dropping it tells the asker that nobody will.
#[derive(Debug)]
pub struct ReplyTo<R>(Rc<RefCell<Slot<R>>>);

impl<R> Reply<R> {
    /// A promise and the right to keep it, which may be used before the handler returns.
    pub fn later() -> (Self, ReplyTo<R>) {
        let slot = Rc::new(RefCell::new(Slot::Open));
        (Self::Later(Later(Rc::clone(&slot))), ReplyTo(slot))
    }
}

impl<R> ReplyTo<R> {
    /// The right to answer an asker that waits already.
    #[cfg(test)]
    pub(crate) fn asked() -> (Self, tokio::sync::oneshot::Receiver<R>) {
        let (tx, rx) = tokio::sync::oneshot::channel();
        (Self(Rc::new(RefCell::new(Slot::Waiting(Some(tx))))), rx)
    }

    /// Answers; an asker that no longer waits is not an error.
    pub fn send(self, answer: R) {
        let slot = self.0.replace(Slot::Done);
        match slot {
            Slot::Waiting(Some(tx)) => drop(tx.send(answer)),
            Slot::Open => drop(self.0.replace(Slot::Answered(answer))),
            Slot::Waiting(None) | Slot::Answered(_) | Slot::Done => {}
        }
    }

    /// The asker no longer waits (or never did).
    pub fn is_abandoned(&self) -> bool {
        match &*self.0.borrow() {
            Slot::Open => false,
            Slot::Waiting(tx) => tx.as_ref().is_none_or(OneshotSender::is_closed),
            Slot::Answered(_) | Slot::Done => true,
        }
    }
}

impl<R> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        // The asker learns that nobody will answer. An answer that is on its way stays.
        // Also while a panic unwinds, so it cannot fail.
        let Ok(mut slot) = self.0.try_borrow_mut() else {
            return;
        };
        if matches!(*slot, Slot::Open | Slot::Waiting(_)) {
            let before = std::mem::replace(&mut *slot, Slot::Done);
            drop(slot);
            drop(before);
        }
    }
}

impl<A, M, R> MessageResponse<A, M> for Reply<R>
where
    A: Actor,
    M: Message<Result = R>,
    R: 'static,
{
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<R>>) {
        let (answer, tx) = match self {
            Self::Now(answer) => (answer, tx),
            Self::Later(Later(slot)) => {
                let before = slot.replace(Slot::Done);
                match before {
                    Slot::Open => {
                        drop(slot.replace(Slot::Waiting(tx)));
                        return;
                    }
                    Slot::Answered(answer) => (answer, tx),
                    Slot::Waiting(_) | Slot::Done => return,
                }
            }
        };
        if let Some(tx) = tx {
            drop(tx.send(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Context, Handler};

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Ask(bool);

    /// Answers at once through the promise, or keeps it until it is asked again.
    #[derive(Default)]
    struct Teller(Vec<ReplyTo<u32>>);

    impl Actor for Teller {
        type Context = Context<Self>;
    }

    impl Handler<Ask> for Teller {
        type Result = Reply<u32>;
        fn handle(&mut self, msg: Ask, _: &mut Self::Context) -> Reply<u32> {
            for (n, earlier) in (0..).zip(self.0.drain(..)) {
                assert!(!earlier.is_abandoned());
                earlier.send(n);
            }
            let (reply, to) = Reply::later();
            if msg.0 {
                to.send(7);
            } else {
                self.0.push(to);
            }
            reply
        }
    }

    #[actix::test]
    async fn an_answer_may_come_before_the_handler_returns_or_long_after() {
        let teller = Teller::default().start();
        assert_eq!(teller.send(Ask(true)).await.unwrap(), 7);
        let early = teller.send(Ask(false));
        let (early, late) = futures::join!(early, teller.send(Ask(true)));
        assert_eq!((early.unwrap(), late.unwrap()), (0, 7));
    }

    #[actix::test]
    async fn a_dropped_promise_ends_the_wait() {
        struct Dropper;
        impl Actor for Dropper {
            type Context = Context<Self>;
        }
        impl Handler<Ask> for Dropper {
            type Result = Reply<u32>;
            fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Reply<u32> {
                let (reply, to) = Reply::later();
                drop(to);
                reply
            }
        }
        assert!(Dropper.start().send(Ask(true)).await.is_err());
    }

    /// A guard that cannot look is let go: a panic here would be the second one of a thread that unwinds.
    #[test]
    fn a_promise_may_be_dropped_at_any_time() {
        let (reply, to) = Reply::<u32>::later();
        let Reply::Later(Later(slot)) = &reply else {
            panic!("it was promised");
        };
        let inside = slot.borrow();
        drop(to);
        drop(inside);
    }
}
