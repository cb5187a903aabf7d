//! The part of a stream that goes on by one link.

use super::link::Slot;
use super::out::{LinkOut, Waiting};
use super::urgency::Urgency;
use crate::session::egress::{Opener, Ticket};
use crate::transport::SendGuard;
use bytes::Bytes;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::peering::data_header::StreamHeader;
use laps_protocol::peering::forward::{InStream, LinkId};
use laps_protocol::relay::scheduler::{Place, SendOrder};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Pieces handed to the transport in one call.
const BATCH: usize = 32;

/// Bytes of the first payload that are not parted from the head: more than any SUBGROUP_HEADER has.
const BEGIN: usize = 64;

/// A stream on its way out. Dropped before its end, it resets the stream.
pub(super) struct Lane {
    pub(super) link: LinkId,
    opener: Opener,
    ticket: Ticket,
    /// As it was when it began; how urgent it is to who subscribes changes.
    order: SendOrder,
    urgency: Urgency,
    /// None while the peer grants none.
    stream: Option<SendGuard>,
    out: Vec<Bytes>,
    /// What follows `out`. The pipeline that fills it bounds it.
    backlog: VecDeque<Bytes>,
    /// What of its payload waits, beside that of others.
    waiting: Waiting,
    /// Bytes of the data header that were not written yet: they are nobody's payload.
    head: u64,
    /// Bytes at the front of `out` that are not to be parted.
    whole: usize,
    fin: bool,
    /// With this code it is reset once its peer has all of it.
    cut: Option<u64>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It waits for more, or for room, and is woken.
    Waits,
    /// The stack has all of it, and its end.
    Done,
    /// Its peer wants no more of it, or is gone.
    Refused,
}

impl Lane {
    /// A stream behind this head, which begins with `first`, and its task.
    pub(super) fn new(
        to: &LinkOut,
        header: StreamHeader,
        first: Bytes,
        (from, slot): (InStream, &Rc<Slot>),
    ) -> Self {
        // laps peering, "Data Forwarding": who is in between knows no more than the priorities. MOQT-14 §7.2 [D14-PRIO-1]: that
        // of who subscribes, which its set says, then the publisher's. Streams of one set keep the order in which they began,
        // those of several take turns.
        let urgency = to.urgencies.follow(header.sns, from, slot);
        let order = SendOrder {
            subscriber: urgency.priority(),
            publisher: header.priority,
            request: RequestId(u64::from(header.sns.get())),
            place: Place::new(GroupOrder::Ascending, from.0, 0),
        };
        let head = Bytes::copy_from_slice(&header.encode());
        let mut waiting = to.backlog.share();
        // A stream that begins is let begin: what follows is looked at.
        waiting.more(first.len() as u64);
        Self {
            waiting,
            link: to.link,
            opener: to.egress.opener(),
            ticket: to.egress.ticket(),
            order,
            urgency,
            stream: None,
            head: head.len() as u64,
            // laps peering, "Data Header Messages": a laps relay loses a stream whose first write lacks a part of that.
            whole: head.len() + first.len().min(BEGIN),
            out: vec![head, first],
            backlog: VecDeque::new(),
            fin: false,
            cut: None,
        }
    }

    /// More of it. False when too much waits for the link.
    pub(super) fn push(&mut self, piece: Bytes) -> bool {
        let fits = self.waiting.more(piece.len() as u64);
        self.backlog.push_back(piece);
        fits
    }

    /// Nothing follows.
    pub(super) const fn finish(&mut self) {
        self.fin = true;
    }

    /// Nothing follows, and it is not whole: a reset throws away what is still on its way, so it comes behind that.
    pub(super) const fn cut(&mut self, code: u64) {
        self.cut = Some(code);
    }

    /// Breaks it off.
    pub(super) fn reset(mut self, code: u64) {
        if let Some(stream) = &mut self.stream {
            stream.reset(code);
        }
    }

    /// Writes what can be written; `taken` grows by the payload that the stack took.
    pub(super) fn drive(&mut self, taken: &mut u64, cx: &mut Context<'_>) -> Driven {
        if self.stream.is_none() {
            match self.opener.poll_open(cx) {
                Poll::Ready(Ok(stream)) => self.stream = Some(stream),
                Poll::Ready(Err(_)) => return Driven::Refused,
                Poll::Pending => return Driven::Waits,
            }
        }
        let Some(stream) = &mut self.stream else {
            return Driven::Waits;
        };
        self.order.subscriber = self.urgency.priority();
        loop {
            let room = BATCH.saturating_sub(self.out.len());
            self.out
                .extend(self.backlog.drain(..room.min(self.backlog.len())));
            if self.out.is_empty() {
                break;
            }
            let (mut written, out) = (0, (&mut self.out, self.whole));
            let polled = self
                .ticket
                .poll_hand_on(stream, self.order, out, &mut written, cx);
            if written > 0 {
                self.whole = 0;
                let of_head = written.min(self.head);
                self.head -= of_head;
                self.waiting.less(written - of_head);
                *taken += written - of_head;
            }
            match polled {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Driven::Refused,
                Poll::Pending => return Driven::Waits,
            }
        }
        if let Some(code) = self.cut {
            return match stream.poll_flush(cx) {
                Poll::Pending => Driven::Waits,
                Poll::Ready(Ok(())) => {
                    stream.reset(code);
                    Driven::Done
                }
                Poll::Ready(Err(_)) => Driven::Refused,
            };
        }
        if self.fin {
            return match stream.finish() {
                Ok(()) => Driven::Done,
                Err(_) => Driven::Refused,
            };
        }
        // With nothing to write it would not be noticed that the peer wants no more.
        match stream.poll_stopped(cx) {
            Poll::Ready(_) => Driven::Refused,
            Poll::Pending => Driven::Waits,
        }
    }
}
