//! The task of one link: it takes what the peer opens and sends, and looks at the link's timers.

use super::link::LinkIn;
use crate::supervise::FaultPoint;
use crate::transport::{ConnHandle, DatagramReceiver, UniAcceptor};
use laps_protocol::peering::error::ErrorCode;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// Streams and datagrams taken in one run of the task; then the other tasks of the arbiter get theirs.
const TAKEN: usize = 64;

/// The task. It ends with its link, and the link with it.
pub(super) struct Door {
    link: Rc<LinkIn>,
    /// None where data goes to the peer alone.
    uni: Option<UniAcceptor>,
    /// None there too, and once there will be no more.
    datagrams: Option<DatagramReceiver>,
    clock: Pin<Box<Sleep>>,
    fault: FaultPoint,
}

impl Door {
    pub(super) fn new(
        link: Rc<LinkIn>,
        uni: Option<UniAcceptor>,
        datagrams: Option<DatagramReceiver>,
        fault: FaultPoint,
    ) -> Self {
        Self {
            link,
            uni,
            datagrams,
            clock: Box::pin(tokio::time::sleep_until(Instant::now())),
            fault,
        }
    }

    /// Takes one stream; none when there is none, and an error when there will be none.
    fn take_stream(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        match self.uni.as_mut().map(|uni| uni.poll_accept(cx)) {
            Some(Poll::Ready(Ok(Some(stream)))) => {
                self.link.accept(stream);
                Ok(true)
            }
            Some(Poll::Ready(Ok(None) | Err(_))) => Err(()),
            Some(Poll::Pending) | None => Ok(false),
        }
    }

    fn take_datagram(&mut self, cx: &mut Context<'_>) -> bool {
        match self.datagrams.as_mut().map(|datagrams| datagrams.poll_recv(cx)) {
            Some(Poll::Ready(Ok(datagram))) => {
                self.link.datagram(datagram);
                true
            }
            Some(Poll::Ready(Err(_))) => {
                self.datagrams = None;
                false
            }
            Some(Poll::Pending) | None => false,
        }
    }

    /// Looks at the timers until none is due.
    fn look(&mut self, cx: &mut Context<'_>) {
        while let Some(due) = self.link.armed() {
            self.clock.as_mut().reset(Instant::from_std(due));
            if self.clock.as_mut().poll(cx).is_pending() {
                return;
            }
            self.link.drain(None);
        }
    }
}

impl Future for Door {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let door = &mut *self;
        door.link.clock.keep(cx.waker());
        door.fault.check();
        for _ in 0..TAKEN {
            if door.link.over.get() {
                return Poll::Ready(());
            }
            let Ok(stream) = door.take_stream(cx) else {
                // That the connection is over is noticed by the link's actor too, which ends the link.
                door.link.over.set(true);
                return Poll::Ready(());
            };
            let datagram = door.take_datagram(cx);
            if !stream && !datagram {
                door.look(cx);
                return Poll::Pending;
            }
        }
        door.look(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.link.over.get() {
            fail(&self.link.out.conn);
        }
    }
}

/// A task that a link cannot do without has failed: the link is not left half alive.
pub(super) fn fail(conn: &ConnHandle) {
    conn.close(ErrorCode::Close.number(), "the link failed in the relay");
}
