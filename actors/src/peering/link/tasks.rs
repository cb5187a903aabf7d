//! The tasks of a link: one accepts streams, and for each stream one reads and one writes.

use super::PeerLinkActor;
use super::io::{Door, Ear, LinkConn, Pen};
use super::messages::{ConnOver, Happened, Stream, Written};
use crate::supervise::mailbox::{ask, signal};
use actix::Addr;
use bytes::Bytes;
use laps_protocol::peering::session::{ControlStream, Input};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long the link, and the information bases behind it, may take for one read.
const HANDLE_DEADLINE: Duration = Duration::from_secs(30);

/// One task of a stream; it ends with this, unless it is let go of.
#[derive(Debug)]
pub(super) struct Task(Option<actix_rt::task::JoinHandle<()>>);

impl Task {
    pub(super) fn start(task: impl Future<Output = ()> + 'static) -> Self {
        Self(Some(actix_rt::spawn(task)))
    }
}

impl Task {
    /// Lets it end by itself.
    pub(super) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Streams of the peer, one at a time.
pub(super) async fn accept<C: LinkConn>(mut door: Box<dyn Door + Send>, link: Addr<PeerLinkActor<C>>) {
    while let Some((pen, ear)) = door.accept().await {
        let stream = Stream {
            ours: false,
            pen,
            ear,
        };
        // In the order in which the peer opened them, and no faster than they are taken.
        if ask(&link, stream, HANDLE_DEADLINE).await.is_err() {
            break;
        }
    }
    signal(&link, ConnOver);
}

/// Reads one stream until it ends; one piece is with the link at a time.
pub(super) async fn read<C: LinkConn>(
    mut ear: Box<dyn Ear + Send>,
    id: ControlStream,
    link: Addr<PeerLinkActor<C>>,
) {
    loop {
        let input = match ear.read().await {
            Ok(Some(bytes)) => Input::StreamBytes(id, bytes),
            Ok(None) => Input::StreamFin(id),
            Err(()) => Input::StreamReset(id),
        };
        let last = !matches!(input, Input::StreamBytes(..));
        let handled = ask(&link, Happened(input), HANDLE_DEADLINE).await;
        if handled.is_err() {
            // Nobody reads the stream any more, so nobody is served by the link.
            signal(&link, ConnOver);
        }
        if last || handled.is_err() {
            return;
        }
    }
}

/// Writes one stream, one message at a time; with it comes whether the peer has to have it before the next. It is told
/// when the stream is given up, and with which code.
pub(super) async fn write<C: LinkConn>(
    mut pen: Box<dyn Pen + Send>,
    stream: ControlStream,
    (mut messages, over): (mpsc::Receiver<(Bytes, bool)>, oneshot::Receiver<u64>),
    link: Addr<PeerLinkActor<C>>,
) {
    let writing = async {
        while let Some((bytes, flush)) = messages.recv().await {
            let ok = pen.write(bytes, flush).await;
            // At most one is under way: the session gives the next when this is said.
            signal(&link, Written { stream, ok });
            if !ok {
                break;
            }
        }
    };
    let code = tokio::select! {
        biased;
        code = over => code.ok(),
        () = writing => None,
    };
    if let Some(code) = code {
        pen.reset(code);
    }
}
