//! A subscriber that asks for a new group gets one: the request goes upstream, once for all who ask, and our own
//! publisher honours it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{Raw, raw, subscribe};
use common::shards::Placement;
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::{Flow, Item, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, MessageParams, RequestId, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn please() -> MessageParams {
    MessageParams {
        new_group_request: Some(1),
        ..MessageParams::default()
    }
}

/// Sends SUBSCRIBE with the request for a new group, as laps' clients do, and with a wish of its own.
async fn join(client: &mut Raw, name: &FullTrackName) -> RequestId {
    let id = client.id();
    let mut subscribe = subscribe(name, NEWEST);
    subscribe.params = MessageParams {
        delivery_timeout_ms: Some(700),
        ..please()
    };
    client.say(ControlMessage::Subscribe(id, subscribe)).await;
    id
}

/// Waits for so many SUBSCRIBE_UPDATEs of a request.
async fn updates(publisher: &mut Raw, id: RequestId, count: usize) -> Vec<SubscribeUpdate> {
    publisher
        .wait(|log| {
            let updates = Raw::updates(log, id);
            (updates.len() >= count).then_some(updates)
        })
        .await
}

async fn announced(shards: usize) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("newgroup", "announced");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut first = placement.raw_on(&relay, shards - 1).await;
    let id = join(&mut first, &name).await;
    // No subscription upstream yet: it goes along with ours, and nothing else of the subscriber does. [D14-SUB-14]
    let (upstream, asked) = publisher.asked(&name, 0).await;
    assert_eq!(asked.params, please());
    publisher.accept(upstream, ALIAS, Some(Location::new(4, 9))).await;
    let alias = first.answer(id).await.unwrap().alias;
    // While that one is outstanding, others who ask are served by it.
    let mut second = placement.raw_on(&relay, 0).await;
    let other = join(&mut second, &name).await;
    let other_alias = second.answer(other).await.unwrap().alias;
    publisher.group(ALIAS, 5, 2).await;
    assert_eq!(first.until_objects(alias, 2).await, [(5, 0), (5, 1)]);
    assert_eq!(second.until_objects(other_alias, 2).await, [(5, 0), (5, 1)]);
    publisher.fence().await;
    assert_eq!(Raw::updates(&publisher.log, upstream), []);
    // The next one to join is served by a request of its own, which changes nothing else.
    let mut third = placement.raw_on(&relay, shards - 1).await;
    join(&mut third, &name).await;
    let update = updates(&mut publisher, upstream, 1).await.remove(0);
    assert_eq!(update.params.new_group_request, Some(6));
    assert_eq!(
        (update.start, update.end_group, update.priority, update.forward),
        (Location::new(4, 10), None, 128, true)
    );
}

/// D14-PARAM-6 D14-SUB-14 D14-SUB-15
#[test]
fn it_goes_along_with_our_subscribe_or_after_it() {
    run(|| announced(1));
}

/// D14-PARAM-6 D14-SUB-14 D14-SUB-15
#[test]
fn it_crosses_shards() {
    run(|| announced(2));
}

/// D14-SUB-14 D14-SUB-26 D14-PARAM-6: a published track is asked in PUBLISH_OK, or by SUBSCRIBE_UPDATE, and never while it sends
/// nothing.
#[test]
fn a_published_track_is_asked_when_it_sends() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = None;
        let relay = relay(settings).await;
        let name = track("newgroup", "published");
        let mut waiting = raw(&relay).await;
        let waits = join(&mut waiting, &name).await;
        waiting.fence().await;
        let mut publisher = raw(&relay).await;
        let publish = publisher.publish(&name, ALIAS, false).await;
        let ok = publisher.publish_ok(publish).await;
        assert!(ok.forward && ok.params == please());
        waiting.answer(waits).await.unwrap();
        waiting.say(ControlMessage::Unsubscribe(waits)).await;
        assert!(!updates(&mut publisher, publish, 1).await[0].forward);
        publisher.group(ALIAS, 3, 1).await;
        // One that joins now brings Forward 1 and its request in one message.
        let again = join(&mut waiting, &name).await;
        waiting.answer(again).await.unwrap();
        let update = updates(&mut publisher, publish, 2).await.remove(1);
        assert!(update.forward && update.params.new_group_request.is_some());
    });
}

/// D14-SUB-2: a subscription that runs asks by SUBSCRIBE_UPDATE.
#[test]
fn a_running_subscription_asks_by_update() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("newgroup", "update");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = client.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = client.answer(id).await.unwrap().alias;
        publisher.group(ALIAS, 0, 1).await;
        client.until_objects(alias, 1).await;
        let update = SubscribeUpdate {
            subscription: id,
            start: Location::ZERO,
            end_group: None,
            priority: 128,
            forward: true,
            params: please(),
        };
        let request = client.id();
        client.say(ControlMessage::SubscribeUpdate(request, update)).await;
        let seen = updates(&mut publisher, upstream, 1).await.remove(0);
        assert_eq!(seen.params.new_group_request, Some(1));
    });
}

/// Our own publisher is told, and our own subscriber gets the first object of the group that it then begins.
#[test]
fn our_publisher_begins_a_group_for_our_subscriber() {
    run(async || {
        let relay = relay(settings(2)).await;
        let name = track("newgroup", "own");
        let mut publishing = publisher(&relay).await;
        let mut writer = publishing.publish(name.clone(), Flow::Announce).await.unwrap();
        let wanted = |new_group| Wanted {
            track: name.clone(),
            filter: NEWEST,
            priority: 128,
            new_group,
        };
        let mut first = subscriber(&relay).await;
        first.subscribe(wanted(false)).await.unwrap();
        writer.wanted().await.unwrap();
        assert!(!writer.take_new_group_request());
        writer
            .object(Location::new(1, 0), vec!["key".into()])
            .await
            .unwrap();
        writer
            .object(Location::new(1, 1), vec!["delta".into()])
            .await
            .unwrap();
        let mut second = subscriber(&relay).await;
        second.subscribe(wanted(true)).await.unwrap();
        writer.new_group_requested().await.unwrap();
        assert!(writer.take_new_group_request());
        assert!(!writer.take_new_group_request());
        writer
            .object(Location::new(2, 0), vec!["key".into()])
            .await
            .unwrap();
        let object = loop {
            if let Item::Object(object) = second.next().await.unwrap() {
                break object;
            }
        };
        assert_eq!(object.location, Location::new(2, 0));
    });
}
