//! What is passed on of a publisher's terms and of a subscriber's, and what is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{News, Raw, raw, subscribe};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, RequestId, SubscribeFilter, SubscribeOk,
    SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn timeout(delivery_timeout_ms: u64) -> MessageParams {
    MessageParams {
        delivery_timeout_ms: Some(delivery_timeout_ms),
        ..MessageParams::default()
    }
}

/// SUBSCRIBE with a subscriber's own timeout, priority and order.
async fn demanding(client: &mut Raw, name: &FullTrackName) -> RequestId {
    let id = client.id();
    let mut subscribe = subscribe(name, NEWEST);
    subscribe.params = timeout(123);
    subscribe.priority = 3;
    subscribe.group_order = GroupOrderRequest::Fixed(GroupOrder::Descending);
    client.say(ControlMessage::Subscribe(id, subscribe)).await;
    id
}

async fn terms(shards: usize) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("terms", "video");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut first = placement.raw_on(&relay, shards - 1).await;
    let id = demanding(&mut first, &name).await;
    let (upstream, asked) = publisher.asked(&name, 0).await;
    // MOQT-14 §9.2.1.2 [D14-SUB-14], §7.3 [D14-SUB-13]: nothing of the subscriber's goes upstream.
    assert_eq!(asked.params, MessageParams::default());
    assert_eq!(
        (asked.priority, asked.group_order),
        (128, GroupOrderRequest::Publisher)
    );
    let ok = SubscribeOk {
        alias: ALIAS,
        expires_ms: 60_000,
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(4, 2)),
        params: MessageParams {
            max_cache_duration_ms: Some(4000),
            ..timeout(700)
        },
    };
    publisher
        .say(ControlMessage::SubscribeOk(upstream, ok.clone()))
        .await;
    let answer = first.answer(id).await.unwrap();
    // What the publisher said goes downstream, and what is left of its time. MOQT-14 §9.8 [D14-SUB-16]
    assert_eq!(answer.params, ok.params);
    // MOQT-14 §9.8 [D14-SUB-8]: Largest is the publisher's, the alias the relay's own.
    assert_eq!(answer.largest, Some(Location::new(4, 2)));
    assert_ne!(answer.alias, ALIAS);
    assert_eq!(answer.group_order, GroupOrder::Descending);
    assert!((1..=60_000).contains(&answer.expires_ms), "{}", answer.expires_ms);
    // A later one is told of what is left then, which is no more.
    let mut second = placement.raw_on(&relay, 0).await;
    let (_, later) = second.subscribed(&name, NEWEST).await;
    assert!((1..=60_000).contains(&later.expires_ms));
    assert_eq!(
        (later.params, later.group_order),
        (ok.params, GroupOrder::Ascending)
    );
    // Nor does an update of the subscriber's: it is answered by nothing, and changes nothing upstream.
    let update = SubscribeUpdate {
        subscription: id,
        start: Location::new(4, 3),
        end_group: Some(9),
        priority: 9,
        forward: true,
        params: timeout(55),
    };
    let request = first.id();
    first.say(ControlMessage::SubscribeUpdate(request, update)).await;
    first.fence().await;
    publisher.group(ALIAS, 5, 1).await;
    first.until_objects(answer.alias, 1).await;
    publisher.fence().await;
    assert_eq!(Raw::updates(&publisher.log, upstream), []);
    let about = |news: &News| match news {
        News::Control(ControlMessage::RequestError(of, ..) | ControlMessage::SubscribeOk(of, _)) => {
            *of == request
        }
        _ => false,
    };
    assert!(!first.log.iter().any(about));
}

/// D14-SUB-8 D14-SUB-13 D14-SUB-14 D14-SUB-16 D14-SUB-17 D14-PARAM-6
#[test]
fn terms_go_downstream_and_not_up_one_shard() {
    run(|| terms(1));
}

/// D14-SUB-8 D14-SUB-13 D14-SUB-14 D14-SUB-16 D14-SUB-17 D14-PARAM-6
#[test]
fn terms_go_downstream_and_not_up_two_shards() {
    run(|| terms(2));
}

/// D14-SUB-8 D14-SUB-14 D14-SUB-16: what the publisher does not say is not said; a subscription without an end has none.
#[test]
fn nothing_is_added_to_what_the_publisher_says() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("terms", "silent");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = demanding(&mut client, &name).await;
        publisher.serve(&name, ALIAS).await;
        let ok = client.answer(id).await.unwrap();
        assert_eq!((ok.params, ok.expires_ms), (MessageParams::default(), 0));
        assert_eq!((ok.largest, ok.group_order), (None, GroupOrder::Descending));
    });
}
