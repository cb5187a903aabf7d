//! What its owner remembers of a downstream subscription, so that its actor can be started again.

use crate::session::egress::{Heads, Rank};
use crate::track::Wants;
use crate::track::handle::{self, LogId};
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrder, GroupOrderRequest, MessageParams, PublishOk, RequestId, Subscribe, SubscribeFilter,
    SubscribeUpdate,
};
use laps_protocol::moqt::object::TrackAlias;
use laps_protocol::relay::track_log::TrackLog;
use std::cell::Cell;
use std::rc::Rc;

/// How the subscription came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The peer sent SUBSCRIBE and awaits our answer.
    PeerSubscribe,
    /// We sent PUBLISH and the peer accepted.
    OurPublish,
}

/// One downstream subscription. Clones share what changes.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The request that made it.
    pub request: RequestId,
    /// Our number for the track on data streams.
    pub alias: TrackAlias,
    /// What was asked for.
    pub subscribe: Subscribe,
    /// How it came about.
    pub origin: Origin,
    /// Its place among the requests of the owner.
    pub rank: Rc<Rank>,
    /// What stands before the MOQT bytes of its streams and datagrams; none in a session.
    pub heads: Option<Heads>,
    /// It is for sessions of this relay, or a stub of it; see [`Attach::own`](crate::track::Attach::own).
    pub own: bool,
    /// The next objects of subgroups that were open before it belong to it. False where others send those.
    pub continues: bool,
    /// It gives those subgroups from their start: whom it is for gets them of others too, or got them by a way that is lost,
    /// and may lack any part.
    pub rewinds: bool,
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    accepted: Cell<bool>,
    forward: Cell<bool>,
    /// How often the peer asked for a new group.
    new_groups: Cell<u32>,
    /// The subscriber's DELIVERY_TIMEOUT.
    delivery_timeout_ms: Cell<Option<u64>>,
    filter: Cell<Option<ResolvedFilter>>,
    /// What updates said before there was a filter to narrow.
    early: Cell<ResolvedFilter>,
    /// The largest start that the peer knows or named. An update that names it again moves nothing.
    named: Cell<Location>,
    /// What it reads.
    log: Cell<Option<LogId>>,
}

impl Spec {
    /// A subscription that nobody has accepted yet.
    #[must_use]
    pub fn new(request: RequestId, alias: TrackAlias, subscribe: Subscribe, origin: Origin) -> Self {
        let state = State {
            accepted: Cell::new(false),
            forward: Cell::new(subscribe.forward),
            new_groups: Cell::new(asks(&subscribe.params)),
            delivery_timeout_ms: Cell::new(subscribe.params.delivery_timeout_ms),
            filter: Cell::new(None),
            early: Cell::new(ResolvedFilter {
                start: Location::ZERO,
                end_group: None,
            }),
            named: Cell::new(Location::ZERO),
            log: Cell::new(None),
        };
        Self {
            request,
            alias,
            rank: Rc::new(Rank::new(
                request,
                subscribe.priority,
                order(&subscribe, GroupOrder::default()),
            )),
            subscribe,
            origin,
            heads: None,
            own: true,
            continues: true,
            rewinds: false,
            state: Rc::new(state),
        }
    }

    /// The peer accepted our PUBLISH, on its own terms.
    pub fn accepted_by_peer(&mut self, ok: &PublishOk) {
        // MOQT-14 §9.14 [D14-SUB-27]: the filter works as in SUBSCRIBE, and its order stands instead of PUBLISH's.
        self.subscribe.filter = ok.filter;
        if let Some(order) = ok.group_order {
            self.subscribe.group_order = GroupOrderRequest::Fixed(order);
        }
        self.subscribe.priority = ok.priority;
        self.rank.set_priority(ok.priority);
        self.rank
            .settle_order(order(&self.subscribe, GroupOrder::default()));
        self.state.forward.set(ok.forward);
        self.state.new_groups.set(asks(&ok.params));
        // MOQT-14 §9.2.1.2 [D14-PARAM-3]: what PUBLISH said is the publisher's.
        self.state.delivery_timeout_ms.set(ok.params.delivery_timeout_ms);
        self.state.accepted.set(true);
    }

    /// The peer was told that it has the track.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.state.accepted.get()
    }

    /// The peer is told that it has the track, in this order of groups.
    pub(super) fn accept(&self, order: GroupOrder) {
        self.rank.settle_order(order);
        self.state.accepted.set(true);
    }

    /// Objects are wanted. MOQT-14 §5.1 [D14-SUB-2]
    #[must_use]
    pub fn forward(&self) -> bool {
        self.state.forward.get()
    }

    /// What its track is told of that: objects, and how urgently. MOQT-14 §7.1 [D14-PRIO-4]
    #[must_use]
    pub fn wants(&self) -> Wants {
        Wants::of(self.forward(), self.rank.priority())
    }

    /// The subscriber's DELIVERY_TIMEOUT in milliseconds. MOQT-14 §9.2.1.2 [D14-PARAM-3]
    pub(super) fn delivery_timeout_ms(&self) -> Option<u64> {
        self.state.delivery_timeout_ms.get()
    }

    /// How often the peer has asked for a new group so far. (decision 0011)
    pub(super) fn new_groups(&self) -> u32 {
        self.state.new_groups.get()
    }

    /// The range that was settled with the peer.
    pub(super) fn filter(&self) -> Option<ResolvedFilter> {
        self.state.filter.get()
    }

    /// Settles the range, within what updates have left of it; the value is what holds.
    pub(super) fn settle(&self, filter: ResolvedFilter) -> ResolvedFilter {
        let early = self.state.early.get();
        let ends = filter.end_group.into_iter().chain(early.end_group);
        let settled = ResolvedFilter {
            start: filter.start.max(early.start),
            end_group: ends.min(),
        };
        self.state.filter.set(Some(settled));
        self.state.named.set(self.state.named.get().max(settled.start));
        settled
    }

    /// Settles the range for a new life of the track, which may count its groups from 0 again: of what was said for an
    /// earlier one, only a start that the subscriber named by itself still holds, and every end.
    pub(super) fn settle_again(&self, filter: ResolvedFilter) -> ResolvedFilter {
        if matches!(
            self.subscribe.filter,
            SubscribeFilter::NextGroupStart | SubscribeFilter::LargestObject
        ) {
            self.state.early.set(ResolvedFilter {
                start: Location::ZERO,
                ..self.state.early.get()
            });
        }
        self.settle(filter)
    }

    /// Its actor reads this log.
    pub(super) fn reads(&self, log: LogId) {
        self.state.log.set(Some(log));
    }

    /// The largest place of the track by now, as far as this shard has it.
    #[must_use]
    pub fn largest(&self) -> Option<Location> {
        handle::read(self.state.log.get()?, TrackLog::largest).flatten()
    }

    /// The owner stands for several subscribers, and this is what they want together by now: what begins from here on is
    /// in this range, which may be wider than before.
    pub fn replace(&self, wish: &SubscribeUpdate) {
        let range = ResolvedFilter {
            start: wish.start,
            end_group: wish.end_group,
        };
        self.state.early.set(range);
        self.state.filter.set(self.state.filter.get().map(|_| range));
        self.change(wish);
    }

    /// The peer changed its mind; the owner has checked that it narrows. MOQT-14 §9.10 [D14-VAL-9]
    pub fn update(&self, update: &SubscribeUpdate) {
        let mut update = update.clone();
        if update.start <= self.state.named.get() {
            update.start = Location::ZERO;
        } else {
            self.state.named.set(update.start);
        }
        let update = &update;
        self.change(update);
        self.state.early.set(self.state.early.get().narrow(update));
        if let Some(filter) = self.state.filter.get() {
            self.state.filter.set(Some(filter.narrow(update)));
        }
    }

    /// Takes over all of an update but its range.
    fn change(&self, update: &SubscribeUpdate) {
        self.state.forward.set(update.forward);
        // MOQT-14 §7.1 [D14-PRIO-4]
        self.rank.set_priority(update.priority);
        let asked = self.state.new_groups.get().saturating_add(asks(&update.params));
        self.state.new_groups.set(asked);
        // MOQT-14 §9.10 [D14-PARAM-6]: the owner has filled in what the update leaves as it is.
        self.state
            .delivery_timeout_ms
            .set(update.params.delivery_timeout_ms);
    }
}

/// The order of groups that holds: what the subscriber asked for, or else what the publisher prefers.
///
/// MOQT-14 §7.1 [D14-PRIO-6]
pub(super) const fn order(subscribe: &Subscribe, publisher: GroupOrder) -> GroupOrder {
    match subscribe.group_order {
        GroupOrderRequest::Publisher => publisher,
        GroupOrderRequest::Fixed(order) => order,
    }
}

fn asks(params: &MessageParams) -> u32 {
    u32::from(params.new_group_request.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

    fn spec(filter: SubscribeFilter) -> Spec {
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        let subscribe = Subscribe {
            track: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
            priority: 128,
            group_order: GroupOrderRequest::Publisher,
            forward: true,
            filter,
            params: MessageParams::default(),
        };
        Spec::new(RequestId(0), 1, subscribe, Origin::PeerSubscribe)
    }

    fn update(start: Location, end_group: Option<u64>) -> SubscribeUpdate {
        SubscribeUpdate {
            subscription: RequestId(0),
            start,
            end_group,
            priority: 128,
            forward: true,
            params: MessageParams::default(),
        }
    }

    const fn from(start: Location, end_group: Option<u64>) -> ResolvedFilter {
        ResolvedFilter { start, end_group }
    }

    /// D14-SUB-17 D14-VAL-9: an update narrows what holds, before and after there is a range.
    #[test]
    fn updates_narrow() {
        let spec = spec(SubscribeFilter::LargestObject);
        spec.update(&update(Location::ZERO, Some(9)));
        let settled = spec.settle(from(Location::new(5, 4), None));
        assert_eq!(settled, from(Location::new(5, 4), Some(9)));
        spec.update(&update(Location::new(7, 0), Some(8)));
        assert_eq!(spec.filter(), Some(from(Location::new(7, 0), Some(8))));
        // The same start again moves nothing.
        spec.update(&update(Location::new(7, 0), Some(8)));
        assert_eq!(spec.filter(), Some(from(Location::new(7, 0), Some(8))));
    }

    /// What several subscribers want together may be more than what the first of them wanted.
    #[test]
    fn wishes_together_widen() {
        let spec = spec(SubscribeFilter::NextGroupStart);
        spec.replace(&update(Location::new(2, 0), Some(9)));
        let settled = spec.settle(from(Location::new(6, 0), None));
        assert_eq!(settled, from(Location::new(6, 0), Some(9)));
        let wider = SubscribeUpdate {
            priority: 3,
            forward: false,
            ..update(Location::ZERO, None)
        };
        spec.replace(&wider);
        assert_eq!(spec.filter(), Some(from(Location::ZERO, None)));
        assert!(!spec.forward());
    }

    /// D14-SUB-27: what PUBLISH_OK says holds instead of what our PUBLISH said; an order of 0 changes nothing.
    #[test]
    fn the_answer_to_our_publish_decides() {
        let mut ok = PublishOk {
            forward: false,
            priority: 3,
            group_order: Some(GroupOrder::Descending),
            filter: SubscribeFilter::NextGroupStart,
            params: MessageParams::default(),
        };
        let mut spec = spec(SubscribeFilter::LargestObject);
        spec.accepted_by_peer(&ok);
        assert!(spec.is_accepted());
        assert!(!spec.forward());
        let descending = GroupOrderRequest::Fixed(GroupOrder::Descending);
        assert_eq!(
            (spec.subscribe.filter, spec.subscribe.priority),
            (SubscribeFilter::NextGroupStart, 3)
        );
        assert_eq!(spec.subscribe.group_order, descending);
        ok.group_order = None;
        spec.accepted_by_peer(&ok);
        assert_eq!(spec.subscribe.group_order, descending);
    }

    /// D14-SUB-10: the deviation of decision 0012: numbers of a life that is over do not bind the next.
    #[test]
    fn a_new_life_counts_anew() {
        let relative = spec(SubscribeFilter::LargestObject);
        relative.settle(from(Location::new(5, 4), None));
        relative.update(&update(Location::new(6, 0), Some(8)));
        let again = relative.settle_again(from(Location::ZERO, None));
        assert_eq!(again, from(Location::ZERO, Some(8)));
        // A peer that only turns Forward must name the old start once more.
        relative.update(&update(Location::new(6, 0), Some(8)));
        assert_eq!(relative.filter(), Some(from(Location::ZERO, Some(8))));
        relative.update(&update(Location::new(6, 1), Some(8)));
        assert_eq!(relative.filter(), Some(from(Location::new(6, 1), Some(8))));
        let absolute = spec(SubscribeFilter::AbsoluteStart(Location::new(5, 0)));
        absolute.update(&update(Location::new(6, 0), None));
        absolute.settle(from(Location::new(5, 0), None));
        assert_eq!(
            absolute.settle_again(from(Location::new(5, 0), None)),
            from(Location::new(6, 0), None)
        );
    }
}
