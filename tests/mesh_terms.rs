//! On what terms a track is read at another relay: those hold that hold at the relay of its publisher.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::feeding::Flow;
use common::mesh::{feeder, two};
use common::raw::{News, Raw, raw, subscribe};
use common::{run, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, RequestId, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Subscribes on terms of its own.
async fn on_terms(client: &mut Raw, subscribe: Subscribe) -> RequestId {
    let id = client.id();
    client.say(ControlMessage::Subscribe(id, subscribe)).await;
    id
}

fn plain(name: &FullTrackName) -> Subscribe {
    subscribe(name, NEWEST)
}

/// D14-SUB-15 D14-SUB-14: what the publisher says of its track is passed on.
#[test]
fn the_publishers_terms_are_told() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("terms", "order");
        let mut reader = raw(&far).await;
        let id = on_terms(&mut reader, plain(&name)).await;
        let mut publisher = raw(&near).await;
        publisher.announce(name.namespace()).await;
        let (request, _) = publisher.asked(&name, 0).await;
        publisher.accept_in(request, ALIAS, GroupOrder::Descending).await;
        let ok = reader.answer(id).await.unwrap();
        assert_eq!(ok.group_order, GroupOrder::Descending);
        // Who asks for an order of its own gets that, from its own relay.
        let mut other = raw(&far).await;
        let ascending = Subscribe {
            group_order: GroupOrderRequest::Fixed(GroupOrder::Ascending),
            priority: 3,
            ..plain(&name)
        };
        let id = on_terms(&mut other, ascending).await;
        let own = other.answer(id).await.unwrap();
        assert_eq!(own.group_order, GroupOrder::Ascending);
        for group in 0..4 {
            publisher.group(ALIAS, group, 2).await;
        }
        for (reader, alias) in [(&mut reader, ok.alias), (&mut other, own.alias)] {
            assert_eq!(reader.until_objects(alias, 8).await.len(), 8);
        }
    });
}

/// D14-SUB-11 D14-SUB-26: Forward of a reader reaches a publisher at another relay, and back.
#[test]
fn forward_is_told_across_relays() {
    for flow in [Flow::Announce, Flow::Publish] {
        run(move || async move {
            let [near, far] = two(1).await;
            let name = track("terms", "forward");
            let mut reader = raw(&far).await;
            let id = reader.subscribe(&name, NEWEST).await;
            let mut feeder = feeder(&near, flow, &name, ALIAS).await;
            let alias = reader.answer(id).await.unwrap().alias;
            feeder.group(0, 1).await;
            reader.until_objects(alias, 1).await;
            for forward in [false, true] {
                let before = Raw::updates(&feeder.raw.log, feeder.request).len();
                reader.update(id, Location::ZERO, None, forward).await;
                assert_eq!(feeder.told(before).await, forward);
            }
            feeder.group(1, 1).await;
            reader.until_objects(alias, 2).await;
        });
    }
}

/// D14-PARAM-7, decision 0011: a new group is asked for across relays, and once.
#[test]
fn a_new_group_is_asked_for_across_relays() {
    run(async || {
        let [near, far] = two(2).await;
        let name = track("terms", "group");
        let mut reader = raw(&far).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        feeder.group(4, 1).await;
        reader.until_objects(alias, 1).await;
        let mut joining = raw(&far).await;
        let wants = Subscribe {
            params: MessageParams {
                new_group_request: Some(0),
                ..MessageParams::default()
            },
            ..plain(&name)
        };
        let id = on_terms(&mut joining, wants).await;
        let alias = joining.answer(id).await.unwrap().alias;
        let request = feeder.request;
        let asked = |log: &[News]| {
            let updates = Raw::updates(log, request).into_iter();
            updates
                .filter_map(|update| update.params.new_group_request)
                .next()
        };
        feeder.raw.wait(asked).await;
        feeder.group(5, 1).await;
        joining.until_object(alias, (5, 0)).await;
        let updates = Raw::updates(&feeder.raw.log, request).into_iter();
        let asked = updates.filter(|update| update.params.new_group_request.is_some());
        assert_eq!(asked.count(), 1);
    });
}

/// laps peering, "Unsubscribe/Subscribe Misuse": who leaves and is back soon is not heard of at the publisher's relay.
#[test]
fn who_is_back_soon_causes_no_ripple() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("terms", "back");
        let mut reader = raw(&far).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        feeder.group(0, 1).await;
        reader.until_objects(alias, 1).await;
        drop(reader);
        let mut again = raw(&far).await;
        let (_, ok) = again.subscribed(&name, NEWEST).await;
        feeder.group(1, 1).await;
        again.until_object(ok.alias, (1, 0)).await;
        let is_about = |news: &News| matches!(news, News::Control(ControlMessage::Unsubscribe(_)));
        assert!(!feeder.raw.log.iter().any(is_about));
        assert_eq!(Raw::updates(&feeder.raw.log, feeder.request), []);
    });
}
