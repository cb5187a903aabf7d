//! Threads that children have to themselves, one at a time.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::spec::StartError;

/// How long the thread of a life that is over may take to end: it drops what the life left behind, which takes some
/// hundred milliseconds for some ten thousand connections.
const THREAD_DEADLINE: Duration = Duration::from_secs(5);

/// The threads of one child, one after the other. Clones mean the same child.
///
/// What a dead child leaves on its thread holds the child's sockets, and takes packets from them that are meant for
/// the next life. So a life gets a thread only when the last one's has ended.
#[derive(Clone, Debug, Default)]
pub struct OwnThread(Rc<RefCell<Option<oneshot::Receiver<()>>>>);

impl OwnThread {
    /// Waits for the end of the last thread that was begun here, and starts a new one with an event loop. Call it on a
    /// thread of the system.
    ///
    /// # Errors
    /// [`StartError::Stuck`] when the last thread does not end, [`StartError::Failed`] when the operating system has no
    /// thread or no event loop to give.
    pub async fn begin(&self) -> Result<OwnArbiter, StartError> {
        let last = self.0.take();
        if let Some(last) = last {
            match timeout(THREAD_DEADLINE, last).await {
                Ok(Ok(())) => {}
                // Without somebody to wait for its end, nothing says that it came.
                Ok(Err(_)) | Err(_) => return Err(StartError::Stuck),
            }
        }
        let arbiter = Arbiter::try_new().map_err(StartError::failed)?;
        let (ended, over) = oneshot::channel();
        self.0.replace(Some(over));
        Ok(OwnArbiter {
            handle: arbiter.handle(),
            thread: Some((arbiter, ended)),
            linger: Duration::ZERO,
        })
    }
}

/// An arbiter that stops when this is dropped, and with it every actor and task on its thread.
///
/// A child that panics leaves its own children behind on its arbiter; this is what ends them.
#[derive(Debug)]
pub struct OwnArbiter {
    handle: ArbiterHandle,
    /// Both until the drop; the second says when the thread has ended.
    thread: Option<(Arbiter, oneshot::Sender<()>)>,
    linger: Duration,
}

impl OwnArbiter {
    /// Has the arbiter run on for this long after the drop, so that what the child left there can say that it ends.
    #[must_use]
    pub const fn lingering(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// What actors are started on.
    #[must_use]
    pub const fn handle(&self) -> &ArbiterHandle {
        &self.handle
    }
}

impl Drop for OwnArbiter {
    fn drop(&mut self) {
        let Some((arbiter, ended)) = self.thread.take() else {
            return;
        };
        let linger = self.linger;
        let _running: bool = if linger.is_zero() {
            arbiter.stop()
        } else {
            arbiter.spawn(async move {
                tokio::time::sleep(linger).await;
                Arbiter::current().stop();
            })
        };
        // Waiting for a thread blocks. Without a thread to wait on, `ended` is dropped and nobody takes this one to be
        // over.
        let waiting: io::Result<_> =
            std::thread::Builder::new()
                .name("laps-join".to_owned())
                .spawn(move || {
                    // However it ended; its panic, if it was one, has been reported by whoever panicked.
                    drop(arbiter.join());
                    // Nobody waits when the relay ends.
                    let _unheard: bool = ended.send(()).is_err();
                });
        drop(waiting);
    }
}
