//! Joining fetches: track and range follow from the subscription that they join. MOQT-14 §9.16.2.

use super::Session;
use super::io::{Event, PeerFetch};
use super::requests::{About, Answer, Answering};
use crate::moqt::location::{GroupId, Location};
use crate::moqt::message::{
    ControlMessage, FetchRange, FilterType, GroupOrderRequest, MessageParams, RequestError,
    RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use crate::moqt::name::FullTrackName;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The largest object id there is, that of a varint. RFC 9000 §16.
const LARGEST_ID: u64 = (1 << 62) - 1;
/// Most bytes of tokens that held fetches of one session keep: as much as one control message has. The fetches
/// themselves are bounded by the window of request ids.
const MAX_HELD_TOKEN_BYTES: usize = 65_535;

/// Where a joining fetch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// So many groups before the largest one.
    Relative(u64),
    /// At this group.
    Absolute(GroupId),
}

impl Join {
    /// The subscription and the start that a range names; none for a standalone one.
    pub(super) const fn of(range: &FetchRange) -> Option<(RequestId, Self)> {
        match range {
            FetchRange::Standalone { .. } => None,
            FetchRange::RelativeJoining { subscription, groups } => {
                Some((*subscription, Self::Relative(*groups)))
            }
            FetchRange::AbsoluteJoining { subscription, group } => {
                Some((*subscription, Self::Absolute(*group)))
            }
        }
    }

    /// First place. MOQT-14 §9.16.2.1 [D14-FETCH-13]: a track has no groups before group 0, and an absolute start
    /// is the first object of its group, as later drafts say.
    pub(super) const fn start(self, largest: Location) -> Location {
        let group = match self {
            Self::Relative(groups) => largest.group.saturating_sub(groups),
            Self::Absolute(group) => group,
        };
        Location { group, object: 0 }
    }
}

/// The end of every fetch that joins a subscription whose largest place is this, as on the wire.
///
/// MOQT-14 §9.16.2.1 [D14-FETCH-12].
const fn end(largest: Location) -> Location {
    // One past the largest id there is cannot be written; object 0 says the same, the whole group.
    let object = if largest.object >= LARGEST_ID {
        0
    } else {
        largest.object + 1
    };
    Location {
        group: largest.group,
        object,
    }
}

/// A fetch of the peer whose subscription is not decided yet.
#[derive(Debug)]
struct Held {
    join: Join,
    priority: u8,
    group_order: GroupOrderRequest,
    params: MessageParams,
}

impl Held {
    fn token_bytes(&self) -> usize {
        self.params.authorization_tokens.iter().map(Bytes::len).sum()
    }
}

/// Fetches of the peer that wait for our answer to the SUBSCRIBE they join. [D14-FETCH-14]
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// By subscription, then by fetch.
    held: BTreeMap<(RequestId, RequestId), Held>,
    token_bytes: usize,
}

impl Joining {
    /// Keeps a fetch; false when there is no room for its tokens.
    fn hold(&mut self, subscription: RequestId, id: RequestId, mut held: Held) -> bool {
        // MOQT-14 §9.2 [D14-PARAM-1]: nobody asks for these, and what waits must not keep the receive buffer.
        held.params.unknown = Vec::new();
        for token in &mut held.params.authorization_tokens {
            *token = Bytes::copy_from_slice(token);
        }
        let token_bytes = self.token_bytes.saturating_add(held.token_bytes());
        if token_bytes > MAX_HELD_TOKEN_BYTES {
            return false;
        }
        self.token_bytes = token_bytes;
        self.held.insert((subscription, id), held);
        true
    }

    pub(super) fn forget(&mut self, subscription: RequestId, id: RequestId) {
        self.take(subscription, id);
    }

    fn take(&mut self, subscription: RequestId, id: RequestId) -> Option<Held> {
        let held = self.held.remove(&(subscription, id))?;
        self.token_bytes = self.token_bytes.saturating_sub(held.token_bytes());
        Some(held)
    }

    /// The next fetch that waits for `subscription`, in the order in which they came.
    fn next(&mut self, subscription: RequestId) -> Option<(RequestId, Held)> {
        let all = (subscription, RequestId(0))..=(subscription, RequestId(u64::MAX));
        let id = self.held.range(all).next()?.0.1;
        Some((id, self.take(subscription, id)?))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.token_bytes == 0
    }
}

/// What becomes of a joining fetch.
pub(super) enum Joined {
    /// The subscription is not decided: it waits.
    Undecided,
    /// It wants this of this track.
    Resolved {
        track: FullTrackName,
        start: Location,
        end: Location,
    },
    /// It gets this answer.
    Refused(RequestErrorReason, &'static str),
    /// The session ends.
    Forbidden,
}

impl Session {
    /// Finds the subscription that a fetch of the peer joins.
    pub(super) fn join(&self, subscription: RequestId, join: Join) -> Joined {
        const NONE: Joined = Joined::Refused(
            RequestErrorReason::InvalidJoiningRequestId,
            "no such subscription",
        );
        let (track, wanted) = if let Some(request) = self.theirs.open.get(&subscription) {
            // MOQT-14 §9.16.2 [D14-FETCH-11]: a SUBSCRIBE of this session that is not over.
            let About::Subscription { track, wanted } = &request.about else {
                return NONE;
            };
            // MOQT-14 §9.16.2 [D14-FETCH-11]: only the filter Largest Object can be joined.
            if wanted.filter().map(|filter| SubscribeFilter::kind(&filter)) != Some(FilterType::LargestObject)
            {
                return Joined::Forbidden;
            }
            match request.state {
                // [D14-FETCH-14]: the range is not known before SUBSCRIBE_OK reports the largest place.
                Answering::Unanswered => return Joined::Undecided,
                Answering::Open => (track, wanted),
                Answering::Owing | Answering::Finished => return NONE,
            }
        } else {
            // MOQT-14 §5.1, §9.18 [D14-FETCH-11]: our PUBLISH makes a subscription too once the peer accepted it,
            // and what the error is for is an id without an active subscription.
            let Some((track, wanted)) = self.our_publication(subscription) else {
                return NONE;
            };
            // The rule about filters speaks of SUBSCRIBE only, so here another filter costs the request.
            if wanted.filter().map(|filter| SubscribeFilter::kind(&filter)) != Some(FilterType::LargestObject)
            {
                return NONE;
            }
            (track, wanted)
        };
        // MOQT-14 §9.16.2 [D14-FETCH-11]: the subscriber was told that there is nothing yet.
        let Some(largest) = wanted.largest() else {
            return Joined::Refused(RequestErrorReason::InvalidRange, "the track had no objects");
        };
        let start = join.start(largest);
        // MOQT-14 §9.16.3 [D14-FETCH-7].
        if start > largest {
            return Joined::Refused(
                RequestErrorReason::InvalidRange,
                "the range starts after the largest object",
            );
        }
        Joined::Resolved {
            track: track.clone(),
            start,
            end: end(largest),
        }
    }

    /// Lets a fetch of the peer wait for our answer to `subscription`.
    pub(super) fn hold(
        &mut self,
        subscription: RequestId,
        id: RequestId,
        join: Join,
        (priority, group_order, params): (u8, GroupOrderRequest, MessageParams),
    ) -> bool {
        let held = Held {
            join,
            priority,
            group_order,
            params,
        };
        self.joining.hold(subscription, id, held)
    }

    /// A SUBSCRIBE of the peer was accepted, or is over: what waited for it goes on. [D14-FETCH-14]
    pub(super) fn release_joining(&mut self, subscription: RequestId) {
        while let Some((id, held)) = self.joining.next(subscription) {
            let Held {
                join,
                priority,
                group_order,
                params,
            } = held;
            match self.join(subscription, join) {
                Joined::Resolved { track, start, end } => {
                    let fetch = PeerFetch {
                        track,
                        start,
                        end,
                        joining: true,
                        priority,
                        group_order,
                        params,
                    };
                    if let Some(request) = self.theirs.open.get_mut(&id) {
                        request.about = About::Fetch {
                            start: Some(start),
                            joins: None,
                        };
                    }
                    self.tell(Event::PeerFetch(id, fetch));
                }
                Joined::Refused(reason, phrase) => self.refuse_held(id, reason, phrase),
                // The filter was looked at before it was held, and a decided subscription stays so.
                Joined::Undecided | Joined::Forbidden => {
                    self.refuse_held(id, RequestErrorReason::InternalError, "not joined");
                }
            }
        }
    }

    fn refuse_held(&mut self, id: RequestId, reason: RequestErrorReason, phrase: &'static str) {
        let error = RequestError::new(reason, phrase);
        self.say(&ControlMessage::RequestError(id, RequestKind::Fetch, error));
        self.move_theirs(id, Answer::Refuse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-FETCH-12, D14-FETCH-13
    #[test]
    fn the_range_follows_from_the_largest_place() {
        let cases = [
            (Join::Relative(0), (7, 3), (7, 0), (7, 4)),
            (Join::Relative(2), (7, 3), (5, 0), (7, 4)),
            (Join::Relative(7), (7, 0), (0, 0), (7, 1)),
            (Join::Relative(8), (7, 3), (0, 0), (7, 4)),
            (Join::Relative(u64::MAX), (0, 0), (0, 0), (0, 1)),
            (Join::Absolute(0), (7, 3), (0, 0), (7, 4)),
            (Join::Absolute(7), (7, 3), (7, 0), (7, 4)),
            (Join::Relative(1), (7, LARGEST_ID), (6, 0), (7, 0)),
        ];
        for (join, largest, start, stop) in cases {
            let largest = Location::new(largest.0, largest.1);
            assert_eq!(
                join.start(largest),
                Location::new(start.0, start.1),
                "{join:?} {largest}"
            );
            assert_eq!(end(largest), Location::new(stop.0, stop.1), "{join:?} {largest}");
        }
    }
}
