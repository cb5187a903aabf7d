//! What nodes want of a track, and what those behind one link want together.

use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrderRequest, MessageParams, RequestId, Subscribe, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;

/// What a node wants of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    priority: u8,
    order: GroupOrderRequest,
    forward: bool,
    filter: SubscribeFilter,
    timeout_ms: Option<u64>,
}

impl Wish {
    /// What the SUBSCRIBE of its subscribe info says.
    pub(super) const fn of(subscribe: &Subscribe) -> Self {
        Self {
            priority: subscribe.priority,
            order: subscribe.group_order,
            forward: subscribe.forward,
            filter: subscribe.filter,
            timeout_ms: subscribe.params.delivery_timeout_ms,
        }
    }

    /// What all of them want: one stream goes to all, so it is the most that any of them wants.
    pub(super) fn together<'a>(wishes: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        wishes.into_iter().cloned().reduce(|one, other| Self {
            priority: match (one.forward, other.forward) {
                (true, false) => one.priority,
                (false, true) => other.priority,
                (true, true) | (false, false) => one.priority.min(other.priority),
            },
            order: if one.order == other.order {
                one.order
            } else {
                GroupOrderRequest::Publisher
            },
            forward: one.forward || other.forward,
            filter: wider(one.filter, other.filter),
            // None is no limit.
            timeout_ms: one
                .timeout_ms
                .zip(other.timeout_ms)
                .map(|(one, other)| one.max(other)),
        })
    }

    /// The subscriber priority of the most urgent of those who want objects. MOQT-14 §7.2 [D14-PRIO-1]
    pub(super) const fn priority(&self) -> u8 {
        self.priority
    }

    /// The same for who sees to the way: nobody waits for what is not wanted.
    pub(super) const fn urgency(&self) -> u8 {
        if self.forward { self.priority } else { u8::MAX }
    }

    /// The same, as urgent as this.
    pub(super) fn at(&self, priority: u8) -> Self {
        Self {
            priority,
            ..self.clone()
        }
    }

    /// Objects are wanted.
    pub(super) const fn forward(&self) -> bool {
        self.forward
    }

    /// The SUBSCRIBE that this comes to.
    pub(super) fn subscribe(&self, track: FullTrackName, new_group: bool) -> Subscribe {
        Subscribe {
            track,
            priority: self.priority,
            group_order: self.order,
            forward: self.forward,
            filter: self.filter,
            params: self.params(new_group),
        }
    }

    /// What changes a subscription that runs into this. What has gone by stays gone: who comes later is sent what begins
    /// from then on.
    pub(super) fn update(&self, subscription: RequestId, new_group: bool) -> SubscribeUpdate {
        SubscribeUpdate {
            subscription,
            start: start(self.filter).unwrap_or(Location::ZERO),
            end_group: end(self.filter),
            priority: self.priority,
            forward: self.forward,
            params: self.params(new_group),
        }
    }

    fn params(&self, new_group: bool) -> MessageParams {
        MessageParams {
            delivery_timeout_ms: self.timeout_ms,
            // Which number a publisher is told is for the track's home to say.
            new_group_request: new_group.then_some(0),
            ..MessageParams::default()
        }
    }
}

/// Where it begins, if it says so itself.
const fn start(filter: SubscribeFilter) -> Option<Location> {
    match filter {
        SubscribeFilter::NextGroupStart | SubscribeFilter::LargestObject => None,
        SubscribeFilter::AbsoluteStart(start) | SubscribeFilter::AbsoluteRange { start, .. } => Some(start),
    }
}

const fn end(filter: SubscribeFilter) -> Option<u64> {
    match filter {
        SubscribeFilter::AbsoluteRange { end_group, .. } => Some(end_group),
        SubscribeFilter::NextGroupStart
        | SubscribeFilter::LargestObject
        | SubscribeFilter::AbsoluteStart(_) => None,
    }
}

/// A filter that lets everything pass that either does.
fn wider(one: SubscribeFilter, other: SubscribeFilter) -> SubscribeFilter {
    if one == other {
        return one;
    }
    let starts = (start(one), start(other));
    if starts == (None, None) {
        return SubscribeFilter::LargestObject;
    }
    let start = starts.0.zip(starts.1);
    let start = start.map_or(Location::ZERO, |(one, other)| one.min(other));
    match end(one).zip(end(other)) {
        Some((one, other)) => SubscribeFilter::AbsoluteRange {
            start,
            end_group: one.max(other),
        },
        None => SubscribeFilter::AbsoluteStart(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubscribeFilter::{AbsoluteRange, AbsoluteStart, LargestObject, NextGroupStart};
    use bytes::Bytes;
    use laps_protocol::moqt::filter::resolve;
    use laps_protocol::moqt::message::GroupOrder;
    use laps_protocol::moqt::name::TrackNamespace;
    use laps_protocol::peering::message::laps_subscribe;

    fn track() -> FullTrackName {
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap()
    }

    /// What a laps relay says: it tells nothing but the priority.
    fn wish() -> Wish {
        Wish::of(&laps_subscribe(track(), 128, None))
    }

    #[test]
    fn the_most_that_anybody_wants() {
        let wishes = [
            Wish {
                priority: 3,
                forward: false,
                timeout_ms: Some(100),
                ..wish()
            },
            Wish {
                priority: 7,
                timeout_ms: Some(300),
                order: GroupOrderRequest::Fixed(GroupOrder::Descending),
                ..wish()
            },
        ];
        let both = Wish::together(&wishes).unwrap();
        assert_eq!(
            (both.priority, both.forward, both.timeout_ms),
            (7, true, Some(300))
        );
        assert_eq!(both.order, GroupOrderRequest::Publisher);
        assert_eq!(Wish::together(&wishes[..1]).as_ref(), Some(&wishes[0]));
        assert_eq!(Wish::together([]), None);
        // Who sets no time wants it however late.
        let all = wishes.iter().chain([&wish()]).cloned().collect::<Vec<_>>();
        assert_eq!(Wish::together(&all).unwrap().timeout_ms, None);
        let subscribe = both.subscribe(track(), true);
        assert_eq!(Wish::of(&subscribe), both);
        assert_eq!(subscribe.params.new_group_request, Some(0));
        let update = both.update(RequestId(3), false);
        assert_eq!((update.start, update.end_group), (Location::ZERO, None));
        assert_eq!(
            (update.params.delivery_timeout_ms, update.params.new_group_request),
            (Some(300), None)
        );
    }

    /// Whatever passes one of two filters passes the wider one, wherever the track stands.
    #[test]
    fn a_wider_filter_lets_both_pass() {
        let at = Location::new;
        let range = |start, end_group| AbsoluteRange { start, end_group };
        let filters = [
            NextGroupStart,
            LargestObject,
            AbsoluteStart(at(2, 0)),
            AbsoluteStart(at(7, 1)),
            range(at(0, 0), 4),
            range(at(3, 1), 8),
        ];
        let places = (0..10).flat_map(|group| (0..3).map(move |object| at(group, object)));
        let places: Vec<_> = places.collect();
        for largest in [None, Some(at(3, 1))] {
            for (one, other) in filters.iter().flat_map(|one| filters.map(|other| (*one, other))) {
                let both = resolve(&wider(one, other), largest).unwrap();
                assert_eq!(wider(one, other), wider(other, one));
                for filter in [one, other] {
                    let alone = resolve(&filter, largest).unwrap();
                    let lost = places
                        .iter()
                        .find(|place| alone.admits(**place) && !both.admits(**place));
                    assert_eq!(lost, None, "{one:?} {other:?} after {largest:?}");
                }
            }
        }
        assert_eq!(wider(NextGroupStart, LargestObject), LargestObject);
        assert_eq!(wider(range(at(0, 0), 4), range(at(3, 1), 8)), range(at(0, 0), 8));
    }
}
