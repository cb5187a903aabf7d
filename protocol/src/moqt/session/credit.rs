//! Request ids: how many the peer may use, how many we may use, and what waits. MOQT-14 §9.1, §9.5, §9.6.

use super::breach::PeerMisbehaved;
use super::io::Role;
use crate::moqt::error::CloseCode;
use crate::moqt::message::RequestId;
use bytes::Bytes;
use std::collections::VecDeque;

/// Ids of one side go up by this much. MOQT-14 §9.1 [D14-REQ-1].
const STEP: u64 = 2;
/// The largest number a varint holds, and so the largest maximum that can be said. RFC 9000 §16.
const LARGEST: u64 = (1 << 62) - 1;

/// First request id of a side. MOQT-14 §9.1 [D14-REQ-1].
const fn first_id(role: Role) -> u64 {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

/// Whether ids of this parity are made by `role`.
pub(super) const fn belongs_to(role: Role, id: RequestId) -> bool {
    id.0 % STEP == first_id(role)
}

/// What the peer may still ask of us.
#[derive(Debug)]
pub(super) struct Grant {
    peer: Role,
    next: u64,
    maximum: u64,
    window: u64,
    /// Requests of the peer that are over and leave no state behind, and ids that it skipped.
    finished: u64,
    gaps: bool,
}

impl Grant {
    /// `window` ids for requests of `peer`; `gaps` tolerates skipped ids.
    pub(super) fn new(peer: Role, window: u64, gaps: bool) -> Self {
        let window = window.min(LARGEST);
        Self {
            peer,
            next: first_id(peer),
            maximum: window,
            window,
            finished: 0,
            gaps,
        }
    }

    /// The maximum that the peer was told last: ids below it may be used.
    pub(super) const fn maximum(&self) -> u64 {
        self.maximum
    }

    /// The id that the next request of the peer will have.
    pub(super) const fn next(&self) -> RequestId {
        RequestId(self.next)
    }

    /// Checks the id of a new request and uses it up.
    pub(super) fn admit(&mut self, id: RequestId) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.1 [D14-REQ-2]: even from the client, odd from the server.
        if !belongs_to(self.peer, id) {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidRequestId,
                format!("request id {id} has the parity of the other side"),
                "MOQT-14 §9.1",
            ));
        }
        // MOQT-14 §9.5 [D14-REQ-3]: the maximum itself may not be used.
        if id.0 >= self.maximum {
            return Err(PeerMisbehaved::new(
                CloseCode::TooManyRequests,
                format!("request id {id} is not below the maximum {}", self.maximum),
                "MOQT-14 §9.5",
            ));
        }
        // MOQT-14 §9.1 [D14-REQ-2]: exactly the next one, unless gaps are tolerated.
        if id.0 < self.next || (id.0 > self.next && !self.gaps) {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidRequestId,
                format!("request id {id} where {} was expected", self.next),
                "MOQT-14 §9.1",
            ));
        }
        self.finished += (id.0 - self.next) / STEP;
        self.next = id.0.saturating_add(STEP);
        Ok(())
    }

    /// Whether the peer made a request with this id at some time.
    pub(super) const fn has_seen(&self, id: RequestId) -> bool {
        belongs_to(self.peer, id) && id.0 < self.next
    }

    /// A request of the peer is over.
    pub(super) const fn finish(&mut self) {
        self.finished = self.finished.saturating_add(1);
    }

    /// The new maximum, when it is time to tell the peer.
    ///
    /// MOQT-14 §9.5 [D14-REQ-5]: a window of ids minus those of open requests. It is told once it adds at least as
    /// much as the peer has left: at half of a window of short requests, and at once when the peer has none left, so
    /// that long requests never starve the others.
    pub(super) fn refill(&mut self) -> Option<u64> {
        let target = self
            .window
            .saturating_add(self.finished.saturating_mul(STEP))
            .min(LARGEST);
        let added = target.saturating_sub(self.maximum);
        let left = self.maximum.saturating_sub(self.next);
        // MOQT-14 §9.5 [D14-REQ-4]: never an equal value.
        if added == 0 || added < left {
            return None;
        }
        self.maximum = target;
        Some(target)
    }
}

/// What we may still ask of the peer, and the requests that wait until we may.
#[derive(Debug)]
pub(super) struct Credit {
    next: u64,
    maximum: u64,
    reported: Option<u64>,
    waiting: VecDeque<Waiting>,
}

/// A request that has its id but may not be sent yet.
#[derive(Debug)]
struct Waiting {
    id: RequestId,
    /// The request that it makes or changes.
    about: RequestId,
    message: Bytes,
    /// A message without an id of its own that must follow at once.
    follow_up: Option<Bytes>,
}

impl Credit {
    /// No credit yet: it comes with the peer's SETUP.
    pub(super) const fn new(role: Role) -> Self {
        Self {
            next: first_id(role),
            maximum: 0,
            reported: None,
            waiting: VecDeque::new(),
        }
    }

    /// The peer's initial maximum. MOQT-14 §9.3.2.3 [D14-SETUP-18].
    pub(super) const fn start(&mut self, maximum: u64) {
        self.maximum = maximum;
    }

    /// The id that the next request will have.
    pub(super) const fn next(&self) -> RequestId {
        RequestId(self.next)
    }

    /// Whether a request could be sent right now.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.is_empty() && self.next < self.maximum
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Uses the next id for `message`; gives it back when it may be written, else keeps it until it may be.
    pub(super) fn place(&mut self, about: RequestId, message: Bytes) -> Option<Bytes> {
        let id = RequestId(self.next);
        let open = self.is_open();
        self.next = self.next.saturating_add(STEP);
        if open {
            return Some(message);
        }
        // MOQT-14 §9.1 [D14-LIB-2]: requests wait in order, so the ids on the wire have no gaps.
        self.waiting.push_back(Waiting {
            id,
            about,
            message,
            follow_up: None,
        });
        None
    }

    /// Keeps a message about `about` behind what waits about it; gives it back when nothing does.
    pub(super) fn follow(&mut self, about: RequestId, message: Bytes) -> Option<Bytes> {
        match self
            .waiting
            .iter_mut()
            .rev()
            .find(|waiting| waiting.about == about)
        {
            Some(waiting) if waiting.follow_up.is_none() => {
                waiting.follow_up = Some(message);
                None
            }
            _ => Some(message),
        }
    }

    /// Takes over a larger maximum. MOQT-14 §9.5 [D14-REQ-4].
    pub(super) fn raise(&mut self, maximum: u64) -> Result<(), PeerMisbehaved> {
        if maximum <= self.maximum {
            return Err(PeerMisbehaved::violation(
                format!("MAX_REQUEST_ID {maximum} after {}", self.maximum),
                "MOQT-14 §9.5",
            ));
        }
        self.maximum = maximum;
        Ok(())
    }

    /// The next waiting request that may be written now, with what must follow it.
    pub(super) fn release(&mut self) -> Option<(Bytes, Option<Bytes>)> {
        if self.waiting.front()?.id.0 >= self.maximum {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        Some((waiting.message, waiting.follow_up))
    }

    /// The maximum to complain about, once for each. MOQT-14 §9.6 [D14-REQ-6].
    pub(super) fn blocked(&mut self) -> Option<u64> {
        if self.waiting.is_empty() || self.reported == Some(self.maximum) {
            return None;
        }
        self.reported = Some(self.maximum);
        self.reported
    }

    /// Whether a request with this id has been written.
    pub(super) fn has_sent(&self, id: RequestId) -> bool {
        id.0 < self.waiting.front().map_or(self.next, |waiting| waiting.id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-REQ-2, D14-REQ-3
    #[test]
    fn ids_follow_the_sequence() {
        // (peer, ids, code of the breach that the last id is)
        let cases: &[(Role, &[u64], Option<CloseCode>)] = &[
            (Role::Client, &[0, 2, 4], None),
            (Role::Server, &[1, 3, 5], None),
            (Role::Client, &[1], Some(CloseCode::InvalidRequestId)),
            (Role::Server, &[0], Some(CloseCode::InvalidRequestId)),
            (Role::Client, &[0, 0], Some(CloseCode::InvalidRequestId)),
            (Role::Client, &[0, 2, 0], Some(CloseCode::InvalidRequestId)),
            (Role::Client, &[2], Some(CloseCode::InvalidRequestId)),
            (Role::Client, &[0, 2, 4, 6], Some(CloseCode::TooManyRequests)),
            (Role::Server, &[1, 3, 5, 7], Some(CloseCode::TooManyRequests)),
        ];
        for (peer, ids, code) in cases {
            let mut grant = Grant::new(*peer, 6, false);
            let mut last = Ok(());
            for id in *ids {
                assert_eq!(last, Ok(()), "{peer:?} {ids:?}");
                last = grant.admit(RequestId(*id));
            }
            assert_eq!(last.err().map(|breach| breach.code), *code, "{peer:?} {ids:?}");
        }
    }

    /// D14-REQ-2
    #[test]
    fn gaps_can_be_tolerated_and_do_not_eat_the_window() {
        let mut grant = Grant::new(Role::Client, 6, true);
        grant.admit(RequestId(4)).unwrap();
        assert_eq!(
            grant.admit(RequestId(2)).unwrap_err().code,
            CloseCode::InvalidRequestId
        );
        assert_eq!(grant.refill(), Some(10));
    }

    /// D14-REQ-5
    #[test]
    fn the_maximum_is_raised_at_half() {
        let mut grant = Grant::new(Role::Client, 20, false);
        let mut raised = Vec::new();
        for n in 0..30 {
            grant.admit(RequestId(n * 2)).unwrap();
            grant.finish();
            raised.extend(grant.refill());
        }
        assert_eq!(raised, [30, 40, 50, 60, 70, 80]);
    }

    /// D14-REQ-5
    #[test]
    fn open_requests_hold_their_part_of_the_window() {
        let mut grant = Grant::new(Role::Client, 10, false);
        for id in [0, 2, 4] {
            grant.admit(RequestId(id)).unwrap();
        }
        assert_eq!(grant.refill(), None, "nothing is over");
        grant.admit(RequestId(6)).unwrap();
        grant.finish();
        assert_eq!(
            grant.refill(),
            Some(12),
            "as much as the one request that was left"
        );
        grant.admit(RequestId(8)).unwrap();
        grant.admit(RequestId(10)).unwrap();
        assert_eq!(grant.refill(), None, "all five are open");
        grant.finish();
        assert_eq!(
            grant.refill(),
            Some(14),
            "a peer that has nothing left is told at once"
        );
    }

    /// D14-SETUP-18
    #[test]
    fn a_closed_window_stays_closed() {
        let mut grant = Grant::new(Role::Client, 0, false);
        assert_eq!(
            grant.admit(RequestId(0)).unwrap_err().code,
            CloseCode::TooManyRequests
        );
        assert_eq!(grant.refill(), None);
    }

    /// D14-REQ-6
    #[test]
    fn requests_wait_in_order_and_complain_once() {
        let mut credit = Credit::new(Role::Client);
        credit.start(2);
        assert_eq!(
            credit.place(RequestId(0), Bytes::from_static(b"a")).as_deref(),
            Some(&b"a"[..])
        );
        assert_eq!(credit.place(RequestId(2), Bytes::from_static(b"b")), None);
        assert_eq!(credit.place(RequestId(4), Bytes::from_static(b"c")), None);
        assert_eq!((credit.blocked(), credit.blocked()), (Some(2), None));
        assert!(credit.has_sent(RequestId(0)) && !credit.has_sent(RequestId(2)));
        assert_eq!(credit.follow(RequestId(2), Bytes::from_static(b"x")), None);
        assert_eq!(
            credit.follow(RequestId(0), Bytes::from_static(b"y")).as_deref(),
            Some(&b"y"[..])
        );
        credit.raise(4).unwrap();
        let (message, follow_up) = credit.release().unwrap();
        assert_eq!((&message[..], follow_up.as_deref()), (&b"b"[..], Some(&b"x"[..])));
        assert_eq!(credit.release(), None);
        assert_eq!((credit.blocked(), credit.blocked()), (Some(4), None));
    }

    /// D14-REQ-4
    #[test]
    fn the_maximum_only_grows() {
        let mut credit = Credit::new(Role::Client);
        credit.start(10);
        for maximum in [10, 9, 0] {
            let breach = credit.raise(maximum).unwrap_err();
            assert_eq!(breach.code, CloseCode::ProtocolViolation);
        }
        credit.raise(11).unwrap();
    }
}
