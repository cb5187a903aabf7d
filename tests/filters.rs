//! Which objects a subscription gets: the four filters, what narrows them, and how they end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{Raw, payload, raw};
use common::{relay, run, settings, track};
use laps::relay::Relay;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestErrorReason, RequestId, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §10.4.3 [D14-CLOSE-8]
const CANCELLED: u64 = 1;

/// A live track whose largest place is (5, 1), and a subscriber that gets everything.
struct Live {
    relay: Relay,
    name: FullTrackName,
    publisher: Raw,
    all: Raw,
    all_alias: u64,
}

impl Live {
    async fn start(namespace: &str) -> Self {
        let relay = relay(settings(1)).await;
        let name = track(namespace, "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut all = raw(&relay).await;
        let id = all.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let all_alias = all.answer(id).await.unwrap().alias;
        let mut live = Self {
            relay,
            name,
            publisher,
            all,
            all_alias,
        };
        live.group(3).await;
        live.group(5).await;
        live
    }

    /// Writes a group of two objects; the relay has it when this returns.
    async fn group(&mut self, group: u64) {
        self.publisher.group(ALIAS, group, 2).await;
        self.seen((group, 1)).await;
    }

    /// Waits until the relay has an object.
    async fn seen(&mut self, place: (u64, u64)) {
        self.all.until_object(self.all_alias, place).await;
    }

    async fn subscriber(&mut self, filter: SubscribeFilter) -> (Raw, RequestId, u64) {
        let mut subscriber = raw(&self.relay).await;
        let (id, ok) = subscriber.subscribed(&self.name, filter).await;
        // MOQT-14 §9.8 [D14-SUB-8]
        assert_eq!(ok.largest, Some(Location::new(5, 1)));
        (subscriber, id, ok.alias)
    }
}

/// D14-SUB-3
#[test]
fn next_group_start_begins_with_a_group() {
    run(async || {
        let mut live = Live::start("next").await;
        let (mut subscriber, _, alias) = live.subscriber(SubscribeFilter::NextGroupStart).await;
        let mut stream = live.publisher.open(ALIAS, 5, SubgroupIdMode::Explicit(1)).await;
        stream.object(2, b"still the old group").await;
        stream.fin();
        live.seen((5, 2)).await;
        live.group(6).await;
        // MOQT-14 §9.7 [D14-SUB-3]
        assert_eq!(subscriber.until_objects(alias, 2).await, [(6, 0), (6, 1)]);
    });
}

/// D14-SUB-5 D14-DATA-5 D14-CLOSE-1
#[test]
fn largest_object_goes_on_in_the_middle_of_a_subgroup() {
    run(async || {
        let mut live = Live::start("largest").await;
        let mut first = live.publisher.open(ALIAS, 5, SubgroupIdMode::FirstObject).await;
        let mut zero = live.publisher.open(ALIAS, 4, SubgroupIdMode::Zero).await;
        first.object(7, b"past").await;
        zero.object(0, b"past").await;
        // One more is in progress, and so past as well.
        first.begin(8, 10).await;
        first.write(bytes::Bytes::from_static(b"past")).await;
        live.seen((5, 7)).await;
        live.seen((4, 0)).await;
        let number = Raw::headers(&live.all.log, live.all_alias).last().unwrap().0;
        assert!(number > 0);
        live.all
            .wait(|log| {
                log.iter()
                    .any(|news| matches!(news, common::raw::News::Object(_, header) if header.id == 8))
                    .then_some(())
            })
            .await;
        let mut subscriber = raw(&live.relay).await;
        let (_, ok) = subscriber.subscribed(&live.name, NEWEST).await;
        assert_eq!(ok.largest, Some(Location::new(5, 8)));
        first.write(bytes::Bytes::from_static(b"past..")).await;
        first.object(9, b"new").await;
        // MOQT-14 §9.7 [D14-SUB-5]: below the start, however late it comes.
        zero.object(1, b"late").await;
        live.seen((4, 1)).await;
        let mut zero = live.publisher.open(ALIAS, 6, SubgroupIdMode::Zero).await;
        zero.object(0, b"new").await;
        assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(5, 9), (6, 0)]);
        let headers = Raw::headers(&subscriber.log, ok.alias);
        // MOQT-14 §10.4.2 [D14-DATA-5]: object 7 named the subgroup, and no longer stands first.
        let old = headers.iter().find(|(_, header)| header.group == 5).unwrap().1;
        assert_eq!(old.subgroup, SubgroupIdMode::Explicit(7));
        let new = headers.iter().find(|(_, header)| header.group == 6).unwrap().1;
        assert_eq!(new.subgroup, SubgroupIdMode::Zero);
        // MOQT-14 §10.4.3 [D14-CLOSE-1]: everything since the subscription began was delivered, so it is a FIN.
        first.fin();
        let number = headers.iter().find(|(_, header)| header.group == 5).unwrap().0;
        assert_eq!(subscriber.ended(number).await, None);
    });
}

/// D14-SUB-6
#[test]
fn absolute_start_in_the_past_delivers_nothing_past() {
    run(async || {
        let mut live = Live::start("past").await;
        let filter = SubscribeFilter::AbsoluteStart(Location::ZERO);
        let (mut subscriber, _, alias) = live.subscriber(filter).await;
        live.group(6).await;
        // MOQT-14 §9.7 [D14-SUB-6]
        assert_eq!(subscriber.until_objects(alias, 2).await, [(6, 0), (6, 1)]);
    });
}

/// D14-SUB-3 D14-SUB-5
#[test]
fn absolute_start_in_the_future_waits_for_its_place() {
    run(async || {
        let mut live = Live::start("future").await;
        let filter = SubscribeFilter::AbsoluteStart(Location::new(7, 1));
        let (mut subscriber, _, alias) = live.subscriber(filter).await;
        for group in [6, 7, 8] {
            live.group(group).await;
        }
        // MOQT-14 §9.7 [D14-SUB-3] [D14-SUB-5]
        assert_eq!(subscriber.until_objects(alias, 3).await, [(7, 1), (8, 0), (8, 1)]);
    });
}

/// D14-SUB-29 D14-CLOSE-9
#[test]
fn absolute_range_ends_with_subscription_ended() {
    run(async || {
        let mut live = Live::start("range").await;
        let filter = SubscribeFilter::AbsoluteRange {
            start: Location::new(6, 0),
            end_group: 7,
        };
        let (mut subscriber, id, alias) = live.subscriber(filter).await;
        for group in [6, 7, 8] {
            live.group(group).await;
        }
        // MOQT-14 §9.12 [D14-SUB-29] [D14-CLOSE-9]
        let done = subscriber.done(id).await;
        assert_eq!(done.status, PublishDoneStatus::SubscriptionEnded);
        assert_eq!(done.stream_count, Some(2));
        let expected = [(6, 0), (6, 1), (7, 0), (7, 1)];
        assert_eq!(Raw::places(&subscriber.log, alias), expected);
        for (number, _) in Raw::headers(&subscriber.log, alias) {
            assert_eq!(subscriber.ended(number).await, None, "each ends with its group");
        }
    });
}

/// D14-SUB-7 D14-VAL-6
#[test]
fn a_range_that_is_over_is_refused() {
    run(async || {
        let live = Live::start("over").await;
        let mut subscriber = raw(&live.relay).await;
        for (start, end_group) in [((3, 0), 4), ((9, 0), 8)] {
            let filter = SubscribeFilter::AbsoluteRange {
                start: Location::new(start.0, start.1),
                end_group,
            };
            let id = subscriber.subscribe(&live.name, filter).await;
            // MOQT-14 §9.9 [D14-SUB-7] [D14-VAL-6]
            let error = subscriber.answer(id).await.unwrap_err();
            assert_eq!(error.reason, RequestErrorReason::InvalidRange);
        }
    });
}

/// D14-SUB-2 D14-SUB-17 D14-CLOSE-2
#[test]
fn without_forward_nothing_flows_and_nothing_is_made_up_for() {
    run(async || {
        let mut live = Live::start("forward").await;
        let mut subscriber = raw(&live.relay).await;
        let id = subscriber.id();
        let mut subscribe = common::raw::subscribe(&live.name, NEWEST);
        subscribe.forward = false;
        subscriber.say(ControlMessage::Subscribe(id, subscribe)).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        live.group(6).await;
        let start = Location::new(5, 2);
        // MOQT-14 §5.1 [D14-SUB-2], §9.10 [D14-SUB-17]: an update never brings back what was passed over.
        subscriber.update(id, start, None, true).await;
        subscriber.fence().await;
        live.group(7).await;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(7, 0), (7, 1)]);
        let mut stream = live.publisher.open(ALIAS, 8, SubgroupIdMode::Zero).await;
        stream.object(0, &payload(8, 0)).await;
        subscriber.until_object(alias, (8, 0)).await;
        let number = Raw::headers(&subscriber.log, alias).last().unwrap().0;
        subscriber.update(id, start, None, false).await;
        // MOQT-14 §10.4.3 [D14-CLOSE-2]
        assert_eq!(subscriber.ended(number).await, Some(CANCELLED));
        stream.object(1, &payload(8, 1)).await;
        live.seen((8, 1)).await;
        live.group(9).await;
        subscriber.update(id, start, None, true).await;
        subscriber.fence().await;
        stream.object(2, &payload(8, 2)).await;
        stream.fin();
        live.group(10).await;
        let expected = [(7, 0), (7, 1), (8, 0), (8, 2), (10, 0), (10, 1)];
        assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
    });
}

/// D14-CLOSE-2 D14-SUB-20
#[test]
fn a_narrowed_end_resets_what_lies_beyond_and_ends_the_subscription() {
    run(async || {
        let mut live = Live::start("narrow").await;
        let (mut subscriber, id, alias) = live.subscriber(NEWEST).await;
        live.group(6).await;
        let mut beyond = live.publisher.open(ALIAS, 9, SubgroupIdMode::Zero).await;
        beyond.object(0, b"beyond").await;
        subscriber.until_object(alias, (9, 0)).await;
        let number = Raw::headers(&subscriber.log, alias).last().unwrap().0;
        subscriber.update(id, Location::new(5, 2), Some(7), true).await;
        // MOQT-14 §10.4.3 [D14-CLOSE-2]
        assert_eq!(subscriber.ended(number).await, Some(CANCELLED));
        // A group that is wanted and late still comes.
        live.group(7).await;
        let done = subscriber.done(id).await;
        assert_eq!(done.status, PublishDoneStatus::SubscriptionEnded);
        // MOQT-14 §9.12 [D14-SUB-20]
        assert_eq!(done.stream_count, Some(3));
        let expected = [(6, 0), (6, 1), (7, 0), (7, 1), (9, 0)];
        assert_eq!(Raw::places(&subscriber.log, alias), expected);
        drop(beyond);
    });
}

/// D14-CLOSE-1 D14-CLOSE-3
#[test]
fn a_narrowed_start_goes_on_with_another_stream() {
    run(async || {
        let mut live = Live::start("start").await;
        let (mut subscriber, id, alias) = live.subscriber(NEWEST).await;
        let mut stream = live.publisher.open(ALIAS, 6, SubgroupIdMode::Zero).await;
        stream.object(0, &payload(6, 0)).await;
        subscriber.until_object(alias, (6, 0)).await;
        subscriber.update(id, Location::new(6, 2), None, true).await;
        subscriber.fence().await;
        for object in 1..4 {
            stream.object(object, &payload(6, object)).await;
        }
        stream.fin();
        assert_eq!(subscriber.until_objects(alias, 3).await, [(6, 0), (6, 2), (6, 3)]);
        let headers = Raw::headers(&subscriber.log, alias);
        // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-CLOSE-3]: what follows a gap stands on a stream of its own.
        assert_eq!(headers.len(), 2);
        assert_eq!(subscriber.ended(headers[0].0).await, Some(CANCELLED));
        assert_eq!(subscriber.ended(headers[1].0).await, None);
    });
}

/// D14-SUB-18 D14-DATA-20 D14-CLOSE-2
#[test]
fn unsubscribe_resets_open_streams() {
    run(async || {
        let mut live = Live::start("leave").await;
        let (mut subscriber, id, alias) = live.subscriber(NEWEST).await;
        let mut stream = live.publisher.open(ALIAS, 6, SubgroupIdMode::Zero).await;
        stream.object(0, b"first").await;
        subscriber.until_object(alias, (6, 0)).await;
        let number = Raw::headers(&subscriber.log, alias)[0].0;
        subscriber.say(ControlMessage::Unsubscribe(id)).await;
        // MOQT-14 §5.1 [D14-SUB-18]
        assert_eq!(subscriber.ended(number).await, Some(CANCELLED));
        stream.object(1, b"second").await;
        stream.fin();
        live.seen((6, 1)).await;
        live.group(7).await;
        // It may come back, and gets a new alias. [D14-DATA-20]
        let (_, ok) = subscriber.subscribed(&live.name, NEWEST).await;
        assert_ne!(ok.alias, alias);
        live.group(8).await;
        assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(8, 0), (8, 1)]);
        assert_eq!(Raw::places(&subscriber.log, alias), [(6, 0)]);
    });
}

/// D14-VAL-9 D14-VAL-10
#[test]
fn an_update_counts_while_the_subscription_waits_for_its_publisher() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = None;
        let relay = relay(settings).await;
        let name = track("filters", "early");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        // MOQT-14 §9.10 [D14-VAL-9] [D14-VAL-10]
        subscriber.update(id, Location::ZERO, Some(1), true).await;
        subscriber.fence().await;
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        for group in 0..3 {
            publisher.group(ALIAS, group, 1).await;
        }
        let done = subscriber.done(id).await;
        assert_eq!(done.status, PublishDoneStatus::SubscriptionEnded);
        assert_eq!(Raw::places(&subscriber.log, alias), [(0, 0), (1, 0)]);
    });
}
