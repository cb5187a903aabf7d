//! DELIVERY_TIMEOUT: what is late is not sent, its stream is reset, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::counted::{counted, telling};
use common::raw::{News, Raw, Reading, raw, subscribe};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, MessageParams, PublishDoneStatus, RequestId, SubscribeFilter, SubscribeOk,
    SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::{Duration, Instant};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// DELIVERY_TIMEOUT among the reset codes. MOQT-14 §10.4.3
const LATE: u64 = 2;
/// Longer than a test runs.
const LONG: u64 = 600_000;

const fn timeout(delivery_timeout_ms: Option<u64>) -> MessageParams {
    MessageParams {
        delivery_timeout_ms,
        max_cache_duration_ms: None,
        new_group_request: None,
        authorization_tokens: Vec::new(),
        unknown: Vec::new(),
    }
}

async fn ask(client: &mut Raw, name: &FullTrackName, ms: Option<u64>) -> RequestId {
    let id = client.id();
    let mut asked = subscribe(name, NEWEST);
    asked.params = timeout(ms);
    client.say(ControlMessage::Subscribe(id, asked)).await;
    id
}

/// Accepts the relay's SUBSCRIBE, with the publisher's own timeout.
async fn serve(publisher: &mut Raw, name: &FullTrackName, ms: Option<u64>) -> RequestId {
    let (id, asked) = publisher.asked(name, 0).await;
    // MOQT-14 §9.2.1.2 [D14-SUB-14]: one subscriber's time is no business of the others'.
    assert_eq!(asked.params.delivery_timeout_ms, None);
    let ok = SubscribeOk {
        alias: ALIAS,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest: None,
        params: timeout(ms),
    };
    publisher.say(ControlMessage::SubscribeOk(id, ok)).await;
    id
}

async fn wait(client: &mut Raw, ms: u64) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(ms) {
        client.fence().await;
        client
            .log
            .retain(|news| !matches!(news, News::Control(ControlMessage::RequestError(..))));
    }
}

async fn shorter_one_applies(shards: usize) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let cases = [
        (Some(50), None),
        (None, Some(50)),
        (Some(50), Some(LONG)),
        (Some(LONG), Some(50)),
        (Some(0), Some(50)),
    ];
    for (number, (theirs, ours)) in cases.into_iter().enumerate() {
        let name = track("late", &number.to_string());
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let mut client = placement.raw_on(&relay, shards - 1).await;
        let id = ask(&mut client, &name, ours).await;
        serve(&mut publisher, &name, theirs).await;
        let ok = client.answer(id).await.unwrap();
        // MOQT-14 §9.2.1.2 [D14-SUB-14] [D14-TO-3]: the publisher's is passed on, unless it says nothing.
        assert_eq!(ok.params.delivery_timeout_ms, theirs.filter(|ms| *ms > 0));
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.object(0, b"in time").await;
        stream.begin(1, 6).await;
        stream.write(Bytes::from_static(b"abc")).await;
        client.until_object(ok.alias, (0, 0)).await;
        let first = Raw::headers(&client.log, ok.alias)[0].0;
        // The object is not over, and its time is. The stream is reset for it, though nothing else happens.
        assert_eq!(client.ended(first).await, Some(LATE), "{theirs:?} {ours:?}");
        stream.write(Bytes::from_static(b"def")).await;
        stream.object(2, b"behind it").await;
        stream.fin();
        // The subscription goes on with the next group, and does not come back to this one.
        publisher.group(ALIAS, 1, 1).await;
        client.until_object(ok.alias, (1, 0)).await;
        assert_eq!(Raw::places(&client.log, ok.alias), [(0, 0), (1, 0)]);
        publisher.conn.close(0, "done");
    }
}

/// D14-PARAM-3 D14-TO-1 D14-TO-2 D14-SUB-14
#[test]
fn the_shorter_one_of_both_applies_one_shard() {
    run(|| shorter_one_applies(1));
}

/// D14-PARAM-3 D14-TO-1 D14-TO-2 D14-SUB-14
#[test]
fn the_shorter_one_of_both_applies_two_shards() {
    run(|| shorter_one_applies(2));
}

/// D14-TO-1 D14-TO-3: with none, and with 0, everything is delivered however late; one subscriber's time is its own.
#[test]
fn who_asks_for_no_time_gets_everything() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("late", "patient");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let (mut hasty, mut zero, mut none) = (raw(&relay).await, raw(&relay).await, raw(&relay).await);
        let hasty_id = ask(&mut hasty, &name, Some(50)).await;
        let zero_id = ask(&mut zero, &name, Some(0)).await;
        let none_id = ask(&mut none, &name, None).await;
        serve(&mut publisher, &name, Some(0)).await;
        let hasty_alias = hasty.answer(hasty_id).await.unwrap().alias;
        let patient = [(&mut zero, zero_id), (&mut none, none_id)];
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.begin(0, 6).await;
        stream.write(Bytes::from_static(b"abc")).await;
        hasty
            .wait(|log| (!Raw::headers(log, hasty_alias).is_empty()).then_some(()))
            .await;
        assert_eq!(hasty.ended(0).await, Some(LATE));
        stream.write(Bytes::from_static(b"def")).await;
        stream.fin();
        for (client, id) in patient {
            let alias = client.answer(id).await.unwrap().alias;
            client.until_object(alias, (0, 0)).await;
            assert_eq!(client.ended(0).await, None);
        }
    });
}

/// D14-PARAM-3 D14-PARAM-6 D14-TO-3: SUBSCRIBE_UPDATE sets another time; one without, or with 0, leaves it.
#[test]
fn an_update_changes_the_time() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("late", "update");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = ask(&mut client, &name, None).await;
        serve(&mut publisher, &name, None).await;
        let alias = client.answer(id).await.unwrap().alias;
        let update = |delivery_timeout_ms| SubscribeUpdate {
            subscription: id,
            start: Location::ZERO,
            end_group: None,
            priority: 128,
            forward: true,
            params: timeout(delivery_timeout_ms),
        };
        let mut first = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        first.begin(0, 6).await;
        first.write(Bytes::from_static(b"abc")).await;
        client
            .wait(|log| (!Raw::headers(log, alias).is_empty()).then_some(()))
            .await;
        wait(&mut client, 60).await;
        assert_eq!(common::raw::end(&client.log, 0), None);
        let request = client.id();
        client
            .say(ControlMessage::SubscribeUpdate(request, update(Some(50))))
            .await;
        assert_eq!(client.ended(0).await, Some(LATE));
        drop(first);
        for (group, changes_nothing) in [(1, None), (2, Some(0))] {
            let request = client.id();
            client
                .say(ControlMessage::SubscribeUpdate(request, update(changes_nothing)))
                .await;
            client.fence().await;
            let mut next = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            next.begin(0, 6).await;
            next.write(Bytes::from_static(b"abc")).await;
            let number = usize::try_from(group).unwrap();
            assert_eq!(client.ended(number).await, Some(LATE), "{changes_nothing:?}");
        }
    });
}

/// D14-TO-2 D14-LIM-4 D14-LIM-7: a stream that its subscriber does not read is reset when its time is over, and so makes
/// room for the next; the subscription goes on.
#[test]
fn a_stream_that_is_stuck_is_reset_in_time() {
    run(async || {
        let mut settings = settings(1);
        settings.session.max_open_streams = 1;
        let relay = relay(telling(settings)).await;
        let name = track("late", "stuck");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let small = TransportConfig {
            uni_stream_window: 64 * 1024,
            ..TransportConfig::default()
        };
        let mut client = Raw::connect(&relay, Reading::Later, small).await;
        let id = ask(&mut client, &name, Some(200)).await;
        serve(&mut publisher, &name, None).await;
        let alias = client.answer(id).await.unwrap().alias;
        let mut large = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        large.object(0, &vec![1; 1_000_000]).await;
        large.fin();
        client.until_held(1).await;
        // The next one has a stream when that of the first is given up.
        publisher.group(ALIAS, 1, 1).await;
        client.until_held(2).await;
        client.read_held();
        assert_eq!(client.ended(0).await, Some(LATE));
        publisher.group(ALIAS, 2, 1).await;
        client.until_object(alias, (2, 0)).await;
        let over = |news: &News| {
            matches!(
                news,
                News::Closed(_) | News::Control(ControlMessage::PublishDone(..))
            )
        };
        assert!(!client.log.iter().any(over));
        counted(&relay, "laps_drops_total", &["reason=\"expired\""], 1).await;
        let late = ["direction=\"out\"", "reason=\"delivery_timeout\""];
        counted(&relay, "laps_stream_resets_total", &late, 1).await;
    });
}

/// D14-SUB-19 D14-SUB-20 D14-TO-2: streams that were reset for their age count, and the end waits for them.
#[test]
fn late_streams_are_counted() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("late", "counted");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = ask(&mut client, &name, Some(50)).await;
        let upstream = serve(&mut publisher, &name, None).await;
        client.answer(id).await.unwrap();
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.begin(0, 6).await;
        stream.write(Bytes::from_static(b"abc")).await;
        assert_eq!(client.ended(0).await, Some(LATE));
        publisher.group(ALIAS, 1, 1).await;
        drop(stream);
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(2))
            .await;
        let done = client.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(2))
        );
    });
}
