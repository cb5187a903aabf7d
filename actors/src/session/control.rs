//! The control stream's two tasks: one reads, one writes.

use super::{Breach, ControlEvent, Drained, SessionActor, Shutdown};
use crate::supervise::{Faults, mailbox};
use crate::transport::{ConnHandle, RecvGuard, SendGuard, StreamError};
use actix::{ActorFutureExt, Addr, AsyncContext, Handler, WrapFuture};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use laps_protocol::moqt::session::{ControlStream, Input};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long the session may take for one read of control bytes before its task gives up on it.
const HANDLE_DEADLINE: Duration = Duration::from_secs(30);
/// How long an ending session waits for its peer to take the last control bytes.
const FLUSH_DEADLINE: Duration = Duration::from_millis(500);
/// What the peer is told when a task of the control stream failed.
const FAILED: &str = "the control stream failed in the relay";
/// What a queued piece costs beside its bytes: its place in the queue and the head of its allocation.
const ITEM_COST: usize = 64;

/// The part of its bound from which on a control stream is not filled by announcements, and the part to which it has
/// to sink before it is again: answers to the peer's requests always have most of it.
const HIGH: usize = 8;
const LOW: usize = 16;

/// Ends the connection when a task of the control stream fails, before it drops its half of that stream.
///
/// MOQT-14 §3.3 [D14-SETUP-8]: closing the control stream is a violation, so the peer would blame us, or itself; and a
/// session that is deaf or mute would wait for ever. Declared in the task's body, it is dropped before what that owns.
pub(super) struct Failing {
    conn: ConnHandle,
    session: Addr<SessionActor>,
    faults: Faults,
    code: u64,
}

impl Failing {
    pub(super) fn new(conn: ConnHandle, session: Addr<SessionActor>, faults: Faults, codec: Codec) -> Self {
        Self {
            conn,
            session,
            faults,
            code: codec.close_code(CloseCode::InternalError),
        }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // An abort, which is how the session itself ends its tasks, is none.
        if std::thread::panicking() {
            self.conn.close(self.code, FAILED);
            let error = DecodeError::with_code(CloseCode::InternalError, FAILED, "MOQT-14 §3.4");
            mailbox::signal(&self.session, Breach(error));
        }
    }
}

/// What the writing task is given.
enum Item {
    Bytes(Bytes),
    Flush(oneshot::Sender<()>),
}

/// The writing end of the control stream, as the session holds it.
#[derive(Debug)]
pub(super) struct ControlWriter {
    queue: mpsc::UnboundedSender<Item>,
    backlog: Rc<Cell<usize>>,
    /// The session waits to say more.
    waited_for: Rc<Cell<bool>>,
    limit: usize,
}

impl ControlWriter {
    /// Starts the task that writes `stream`. The session is told when the peer no longer takes it.
    pub(super) fn start(
        mut stream: SendGuard,
        id: ControlStream,
        failing: Failing,
        limit: usize,
    ) -> (Self, actix_rt::task::JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::unbounded_channel();
        let backlog = Rc::new(Cell::new(0_usize));
        let written = Rc::clone(&backlog);
        let waited_for = Rc::new(Cell::new(false));
        let awaited = Rc::clone(&waited_for);
        let task = actix_rt::spawn(async move {
            let failing = failing;
            let session = failing.session.clone();
            while let Some(item) = waiting.recv().await {
                failing.faults.check("control_write");
                let done = match item {
                    Item::Bytes(bytes) => {
                        let cost = bytes.len() + ITEM_COST;
                        let sent = stream.send(&mut [bytes]).await;
                        written.set(written.get().saturating_sub(cost));
                        if written.get() <= limit / LOW && awaited.replace(false) {
                            mailbox::signal(&session, Drained);
                        }
                        sent
                    }
                    Item::Flush(told) => {
                        let flushed = stream.flush().await;
                        // Whoever asked may have given up.
                        let _given_up: bool = told.send(()).is_err();
                        flushed
                    }
                };
                match done {
                    Ok(()) => {}
                    // MOQT-14 §3.3 [D14-SETUP-8]: a control stream that its peer stops is closed, and so is the session.
                    Err(StreamError::Stopped { .. }) => {
                        mailbox::signal(&session, ControlEvent(Input::StreamReset(id)));
                        break;
                    }
                    // The end of the connection is reported by those who accept streams.
                    Err(_) => break,
                }
            }
        });
        (
            Self {
                queue,
                backlog,
                waited_for,
                limit,
            },
            task,
        )
    }

    /// Queues bytes; false when the peer reads its control stream too slowly.
    ///
    /// The queue's bound is in bytes, kept here [D14-LIM-4]: a peer that reads nothing costs `limit` and its session.
    pub(super) fn write(&self, bytes: Bytes) -> bool {
        let backlog = self.backlog.get() + bytes.len() + ITEM_COST;
        if backlog > self.limit {
            return false;
        }
        self.backlog.set(backlog);
        // A closed queue means the connection is on its way out, which is reported elsewhere.
        drop(self.queue.send(Item::Bytes(bytes)));
        true
    }

    /// More waits than what is not urgent may add to. The session is told [`Drained`] when that is over. [D14-LIM-3]
    pub(super) fn is_behind(&self) -> bool {
        let behind = self.backlog.get() > self.limit / HIGH;
        if behind {
            self.waited_for.set(true);
        }
        behind
    }

    /// Resolves when the peer has everything that was written before, or never will.
    pub(super) fn flushed(&self) -> impl Future<Output = ()> + use<> {
        let (told, flushed) = oneshot::channel();
        drop(self.queue.send(Item::Flush(told)));
        async move { drop(flushed.await) }
    }
}

impl Handler<Shutdown> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: Shutdown, ctx: &mut Self::Context) {
        // A close overtakes what the control stream still holds, such as the PUBLISH_DONE of a track that just ended.
        let flushed: Vec<_> = self.controls.iter().map(|(_, writer)| writer.flushed()).collect();
        let flushed = tokio::time::timeout(FLUSH_DEADLINE, futures::future::join_all(flushed));
        ctx.spawn(flushed.into_actor(self).map(move |_, actor, ctx| {
            actor.close(ctx, msg.code, Cow::Borrowed(msg.reason));
        }));
    }
}

/// Reads one bidirectional stream until it ends; one piece is with the session at a time.
pub(super) async fn read(mut stream: RecvGuard, id: ControlStream, failing: Failing) {
    let failing = failing;
    loop {
        let input = match stream.receive().await {
            Ok(Some(bytes)) => Input::StreamBytes(id, bytes),
            Ok(None) => Input::StreamFin(id),
            Err(_) => Input::StreamReset(id),
        };
        failing.faults.check("control_read");
        let last = !matches!(input, Input::StreamBytes(..));
        let handled = mailbox::ask(&failing.session, ControlEvent(input), HANDLE_DEADLINE).await;
        if last || handled.is_err() {
            return;
        }
    }
}
