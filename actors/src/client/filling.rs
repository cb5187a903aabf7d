//! Fetching what neither session of a subscriber that moved has delivered.

use super::connect::ClientError;
use super::fetcher::{FetchItem, Fetcher};
use super::item::ReceivedObject;
use crate::session::SessionActor;
use actix::Addr;
use laps_protocol::moqt::extensions;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::moqt::message::{
    Fetch, FetchOk, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason,
};
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the relay may bring nothing.
const STALL: Duration = Duration::from_secs(10);
/// Objects that wait here; more wait at the relay.
const AHEAD: usize = 1;
/// Largest number that a place on the wire can have. MOQT-14 §1.4
const MAX_PLACE: u64 = (1 << 62) - 1;

/// What comes of it.
#[derive(Debug)]
pub(super) enum Filled {
    /// An object.
    Object(ReceivedObject),
    /// All that exists came.
    Whole,
    /// Some of it will not come, and why.
    Not(String),
}

/// The places that are missing, as FETCH says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: Location,
    /// One past the last object; object 0 means the whole group. MOQT-14 §9.16.1
    pub(super) end: Location,
}

impl Gap {
    /// From `start` up to `last`, both included, as far as `end_group`; none when there is nothing between them.
    pub(super) fn new(start: Location, last: Location, end_group: Option<GroupId>) -> Option<Self> {
        let end = match end_group {
            Some(group) if group < last.group => Location::new(group, 0),
            // The last object that a group can have has no place after it: that is all of the group.
            _ if last.object >= MAX_PLACE => Location::new(last.group, 0),
            _ => Location::new(last.group, last.object + 1),
        };
        (start < past(end)).then_some(Self { start, end })
    }

    /// The first place that it does not have.
    pub(super) const fn behind(&self) -> Location {
        past(self.end)
    }

    /// The last place before an object that may exist: not where its extension headers say that nothing does. None when
    /// there is none. MOQT-14 §11.1, §11.3 [D14-DATA-10]
    pub(super) fn last_before(object: &ReceivedObject) -> Option<Location> {
        let at = object.location;
        let known = extensions::inspect(&object.extensions).unwrap_or_default();
        let first_empty = at.object.saturating_sub(known.prior_object_gap.unwrap_or(0));
        if let Some(last) = first_empty.checked_sub(1) {
            return Some(Location::new(at.group, last));
        }
        let first_empty = at.group.saturating_sub(known.prior_group_gap.unwrap_or(0));
        Some(Location::new(first_empty.checked_sub(1)?, MAX_PLACE))
    }
}

/// The first place that a range with this End Location does not have. MOQT-14 §9.16.1 [D14-FETCH-3]
const fn past(end: Location) -> Location {
    match end.object {
        0 => Location::new(end.group.saturating_add(1), 0),
        object => Location::new(end.group, object),
    }
}

/// A gap that is being fetched. Dropped, the fetch is cancelled.
#[derive(Debug)]
pub(super) struct Filling {
    gap: Gap,
    filled: mpsc::Receiver<Filled>,
}

impl Filling {
    /// Asks `session` for it.
    pub(super) fn start(session: Addr<SessionActor>, track: FullTrackName, priority: u8, gap: Gap) -> Self {
        let (sender, filled) = mpsc::channel(AHEAD);
        let fetch = Fetch {
            priority,
            group_order: GroupOrderRequest::Fixed(GroupOrder::Ascending),
            range: FetchRange::Standalone {
                track,
                start: gap.start,
                end: gap.end,
            },
            params: MessageParams::default(),
        };
        drop(actix_rt::spawn(async move {
            // Goes to its end also when nobody waits any more: only a request that is known can be cancelled.
            let end = match Fetcher::start(&session, fetch).await {
                Ok(fetcher) => pass_on(fetcher, gap, &sender).await,
                Err(error) => Filled::Not(error.to_string()),
            };
            // Nobody wants to know when the subscriber is gone.
            drop(sender.send(end).await);
        }));
        Self { gap, filled }
    }

    pub(super) const fn gap(&self) -> Gap {
        self.gap
    }

    /// What comes next; nothing does after the end.
    pub(super) async fn next(&mut self) -> Filled {
        let nothing = || Filled::Not("the fetch failed".to_owned());
        self.filled.recv().await.unwrap_or_else(nothing)
    }
}

/// Hands over what comes, as fast as it is taken; gives back how it ended.
async fn pass_on(mut fetcher: Fetcher, gap: Gap, to: &mpsc::Sender<Filled>) -> Filled {
    let (mut accepted, mut bytes) = (None, 0);
    loop {
        let next = tokio::select! {
            () = to.closed() => return Filled::Whole,
            next = tokio::time::timeout(STALL, fetcher.next()) => next,
        };
        match next {
            Ok(Ok(FetchItem::Accepted(ok))) => accepted = Some(ok),
            Ok(Ok(FetchItem::Object(object))) => {
                if to.send(Filled::Object(object)).await.is_err() {
                    return Filled::Whole;
                }
            }
            Ok(Ok(FetchItem::Done)) => return verdict(accepted.as_ref(), gap),
            // MOQT-14 §9.18 [D14-FETCH-7]: nothing exists there, so nothing is missing.
            Ok(Err(ClientError::Rejected(error))) if error.reason == RequestErrorReason::NoObjects => {
                return Filled::Whole;
            }
            Ok(Err(error)) => return Filled::Not(error.to_string()),
            // A large object comes in pieces.
            Err(_) if fetcher.bytes() > bytes => bytes = fetcher.bytes(),
            Err(_) => return Filled::Not("the relay sent nothing for 10 seconds".to_owned()),
        }
    }
}

/// MOQT-14 §9.17 [D14-FETCH-9]: the response may reach less far than was asked for.
fn verdict(accepted: Option<&FetchOk>, gap: Gap) -> Filled {
    match accepted {
        Some(ok) if ok.end_of_track || past(ok.end) >= past(gap.end) => Filled::Whole,
        Some(ok) => Filled::Not(format!("the relay has no more than up to {}", ok.end)),
        None => Filled::Not("it ended without an answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use laps_protocol::moqt::object::ObjectStatus;
    use std::time::Instant;

    /// D14-FETCH-3: the end is one past the last object, and 0 is the whole group.
    #[test]
    fn a_gap_ends_behind_its_last_object() {
        let place = |(group, object)| Location::new(group, object);
        for (start, last, end_group, end) in [
            ((2, 0), (5, 1), None, Some((5, 2))),
            ((5, 1), (5, 1), None, Some((5, 2))),
            ((5, 2), (5, 1), None, None),
            ((6, 0), (5, 1), None, None),
            ((2, 0), (5, MAX_PLACE), None, Some((5, 0))),
            ((2, 0), (5, 1), Some(5), Some((5, 2))),
            ((2, 0), (5, 1), Some(3), Some((3, 0))),
            ((3, 9), (5, 1), Some(3), Some((3, 0))),
            ((4, 0), (5, 1), Some(3), None),
        ] {
            let gap = Gap::new(place(start), place(last), end_group);
            assert_eq!(
                gap.map(|gap| gap.end),
                end.map(place),
                "{start:?} {last:?} {end_group:?}"
            );
        }
    }

    /// D14-DATA-10: what extension headers say not to exist is not asked for.
    #[test]
    fn a_gap_ends_before_the_object_behind_it() {
        for (at, extensions, last) in [
            ((5, 2), &[][..], Some((5, 1))),
            ((5, 0), &[], Some((4, MAX_PLACE))),
            ((0, 0), &[], None),
            // Prior Object ID Gap: 2, or all that are before it.
            ((5, 3), &[0x3e, 2], Some((5, 0))),
            ((5, 2), &[0x3e, 2], Some((4, MAX_PLACE))),
            // Prior Group ID Gap: 3, which counts for whole groups alone.
            ((5, 0), &[0x3c, 3], Some((1, MAX_PLACE))),
            ((5, 0), &[0x3c, 5], None),
            ((5, 1), &[0x3c, 5], Some((5, 0))),
        ] {
            let object = ReceivedObject {
                location: Location::new(at.0, at.1),
                subgroup: Some(0),
                priority: 0,
                status: ObjectStatus::Normal,
                extensions: Bytes::from_static(extensions),
                payload: Vec::new(),
                at: Instant::now(),
            };
            let last = last.map(|(group, object)| Location::new(group, object));
            assert_eq!(Gap::last_before(&object), last, "{at:?} {extensions:?}");
        }
    }

    /// D14-FETCH-9
    #[test]
    fn a_response_that_reaches_less_far_is_not_whole() {
        let gap = Gap::new(Location::new(2, 0), Location::new(5, 1), None).unwrap();
        for (end, end_of_track, whole) in [
            ((5, 2), false, true),
            ((5, 0), false, true),
            ((5, 1), false, false),
            ((4, 0), false, false),
            ((4, 0), true, true),
        ] {
            let ok = FetchOk {
                group_order: GroupOrder::Ascending,
                end_of_track,
                end: Location::new(end.0, end.1),
                params: MessageParams::default(),
            };
            assert_eq!(matches!(verdict(Some(&ok), gap), Filled::Whole), whole, "{end:?}");
        }
        assert!(matches!(verdict(None, gap), Filled::Not(_)));
    }
}
