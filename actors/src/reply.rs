//! Answers that an actor gives later than its handler returns.

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use std::cell::RefCell;
use std::rc::Rc;

type Slot<R> = Rc<RefCell<Option<OneshotSender<R>>>>;

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
pub struct Later<R>(Slot<R>);

/// The right to answer one message. Dropping it tells the asker that nobody will.
#[derive(Debug)]
pub struct ReplyTo<R>(Slot<R>);

impl<R> Reply<R> {
    /// A promise and the right to keep it.
    #[must_use]
    pub fn later() -> (Self, ReplyTo<R>) {
        let slot = Slot::default();
        (Self::Later(Later(Rc::clone(&slot))), ReplyTo(slot))
    }
}

impl<R> ReplyTo<R> {
    /// Answers; an asker that no longer waits is not an error.
    pub fn send(self, answer: R) {
        if let Some(tx) = self.0.borrow_mut().take() {
            drop(tx.send(answer));
        }
    }

    /// The asker no longer waits (or never did).
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.borrow().as_ref().is_none_or(OneshotSender::is_closed)
    }
}

impl<A, M, R> MessageResponse<A, M> for Reply<R>
where
    A: Actor,
    M: Message<Result = R>,
    R: 'static,
{
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<R>>) {
        match self {
            Self::Now(answer) => {
                if let Some(tx) = tx {
                    drop(tx.send(answer));
                }
            }
            Self::Later(Later(slot)) => *slot.borrow_mut() = tx,
        }
    }
}
