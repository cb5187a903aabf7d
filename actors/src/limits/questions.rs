//! How many questions of a session wait for the registry, and what the session's peer may say meanwhile.
//!
//! A peer that announces and withdraws, watches and stops watching, or subscribes and unsubscribes as fast as it can
//! would fill the registry's mailbox, which all sessions share. Its control stream is read on when the registry has
//! caught up. [D14-LIM-2]

use crate::reply::{Reply, ReplyTo};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Questions of one session that may wait while its control stream is read on.
const MAX_OPEN: usize = 256;

#[derive(Debug, Default)]
struct Inner {
    open: Cell<usize>,
    /// Most that ever were open at once.
    peak: Cell<usize>,
    /// Leaves to read on.
    held: RefCell<Vec<ReplyTo<()>>>,
}

/// The questions of one session. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Questions(Rc<Inner>);

/// One question that waits; its end counts as answered.
#[derive(Debug)]
pub struct Asking(Rc<Inner>);

impl Questions {
    /// One more question waits.
    #[must_use]
    pub fn ask(&self) -> Asking {
        let open = self.0.open.get() + 1;
        self.0.open.set(open);
        self.0.peak.set(self.0.peak.get().max(open));
        Asking(Rc::clone(&self.0))
    }

    /// The leave to read on: now, or when few enough wait.
    #[must_use]
    pub fn leave(&self) -> Reply<()> {
        if self.0.open.get() <= MAX_OPEN {
            return Reply::Now(());
        }
        let (reply, to) = Reply::later();
        self.0.held.borrow_mut().push(to);
        reply
    }

    /// Waits for the answer to a question that is counted until then, also when whoever asked does not wait any more: what
    /// is in a mailbox stays there until it is read.
    ///
    /// # Errors
    /// None of its own; none is the answer when the arbiter is ending.
    pub async fn count<T: 'static>(&self, question: impl Future<Output = T> + 'static) -> Option<T> {
        let asking = self.ask();
        let asked = actix_rt::spawn(async move {
            let answer = question.await;
            drop(asking);
            answer
        });
        asked.await.ok()
    }

    /// Most questions that ever waited at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.peak.get()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Also while a panic unwinds, so it cannot fail.
        let open = self.0.open.get().saturating_sub(1);
        self.0.open.set(open);
        if open <= MAX_OPEN
            && let Ok(held) = self
                .0
                .held
                .try_borrow_mut()
                .map(|mut held| std::mem::take(&mut *held))
        {
            for leave in held {
                leave.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-LIM-2
    #[test]
    fn reading_goes_on_when_the_registry_has_caught_up() {
        let questions = Questions::default();
        let mut asking: Vec<_> = (0..=MAX_OPEN).map(|_| questions.ask()).collect();
        let later = questions.leave();
        assert!(matches!(later, Reply::Later(_)));
        assert_eq!(questions.0.held.borrow().len(), 1);
        asking.pop();
        assert!(questions.0.held.borrow().is_empty());
        assert!(matches!(questions.leave(), Reply::Now(())));
        assert_eq!(questions.peak(), MAX_OPEN + 1);
    }

    /// D14-LIM-2: an actor that ends does not take its question back.
    #[actix_rt::test]
    async fn a_question_counts_until_it_is_answered() {
        let questions = Questions::default();
        let (tell, told) = tokio::sync::oneshot::channel::<u8>();
        let mut asked = Box::pin(questions.count(told));
        assert!(futures::poll!(&mut asked).is_pending());
        drop(asked);
        assert_eq!(questions.0.open.get(), 1);
        tell.send(7).unwrap();
        while questions.0.open.get() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(questions.count(std::future::ready(8)).await, Some(8));
    }

    /// A guard that cannot look is let go: a panic here would be the second one of a thread that unwinds.
    #[test]
    fn a_question_may_end_at_any_time() {
        let questions = Questions::default();
        let asking = questions.ask();
        let inside = questions.0.held.borrow();
        drop(asking);
        drop(inside);
        assert!(matches!(questions.leave(), Reply::Now(())));
    }
}
