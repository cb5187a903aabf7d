//! Whoever asks for too much is told so by the answer to what was too much, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::raw::{CODEC, Raw, raw, subscribe};
use common::shards::Placement;
use common::watch::{ns, request};
use common::{options, relay, run, settings, target, track};
use laps_actors::client::{ClientError, Subscriber};
use laps_actors::limits::{PerKind, UNLIMITED};
use laps_actors::supervise::FaultPlan;
use laps_actors::transport::ConnectError;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrderRequest, PublishDoneStatus, RequestErrorReason, RequestId, RequestKind,
    SubscribeFilter,
};
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode};
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const LONG: Duration = Duration::from_secs(40);

/// The relay refuses the request for this reason, and the session goes on.
async fn refused(client: &mut Raw, id: RequestId, kind: RequestKind, phrase: &'static str) {
    let (of, error) = client.refused(id).await;
    assert_eq!(
        (of, error.reason, error.phrase),
        (
            kind,
            RequestErrorReason::InternalError,
            Bytes::from_static(phrase.as_bytes())
        )
    );
    client.fence().await;
}

/// Whether a PUBLISH is accepted.
async fn is_published(client: &mut Raw, id: RequestId) -> bool {
    client
        .control(|message| match message {
            ControlMessage::PublishOk(of, _) if *of == id => Some(true),
            ControlMessage::RequestError(of, ..) if *of == id => Some(false),
            _ => None,
        })
        .await
}

/// A request of each kind that stays open until its session ends.
fn lasting(client: &mut Raw, kind: RequestKind, n: u32) -> (RequestId, ControlMessage) {
    let id = client.id();
    let nowhere = track("nobody", &format!("{kind:?}{n}"));
    let message = match kind {
        RequestKind::Subscribe => ControlMessage::Subscribe(id, subscribe(&nowhere, NEWEST)),
        RequestKind::TrackStatus => ControlMessage::TrackStatus(id, subscribe(&nowhere, NEWEST)),
        RequestKind::Publish => {
            ControlMessage::Publish(id, common::raw::publish(&nowhere, ALIAS + u64::from(n)))
        }
        RequestKind::PublishNamespace => ControlMessage::PublishNamespace(id, request(&format!("mine/{n}"))),
        RequestKind::SubscribeNamespace => {
            ControlMessage::SubscribeNamespace(id, request(&format!("any/{n}")))
        }
        RequestKind::Fetch => panic!("asked for by itself"),
    };
    (id, message)
}

/// D14-LIM-2 D14-TERM-3: each kind has a limit of its own, an answer that says so, and a count in the log.
#[test]
fn each_kind_of_request_is_refused_by_its_own_answer() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        settings.session.subscribe_wait = Some(LONG);
        settings.session.limits.session = PerKind {
            subscriptions: 2,
            tracks: 1,
            namespaces: 1,
            watches: 1,
            statuses: 1,
            fetches: 1,
            ..PerKind::all(UNLIMITED)
        };
        let relay = relay(settings).await;
        let live = track("live", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(live.namespace()).await;
        let mut client = raw(&relay).await;
        let watching = client.subscribe(&live, NEWEST).await;
        publisher.serve(&live, ALIAS).await;
        let alias = client.answer(watching).await.unwrap().alias;
        let kinds = [
            (RequestKind::Subscribe, "too many subscriptions of this session"),
            (
                RequestKind::TrackStatus,
                "too many TRACK_STATUS of this session are open",
            ),
            (RequestKind::Publish, "too many tracks published in this session"),
            (
                RequestKind::PublishNamespace,
                "too many namespaces announced in this session",
            ),
            (
                RequestKind::SubscribeNamespace,
                "too many prefixes watched in this session",
            ),
        ];
        for (kind, phrase) in kinds {
            let (_, first) = lasting(&mut client, kind, 0);
            client.say(first).await;
            let (second, message) = lasting(&mut client, kind, 1);
            client.say(message).await;
            refused(&mut client, second, kind, phrase).await;
        }
        // The publisher leaves the first unanswered.
        client.fetch_range(&live, (0, 0), (0, 1)).await;
        let second = client.fetch_range(&live, (0, 0), (0, 1)).await;
        refused(
            &mut client,
            second,
            RequestKind::Fetch,
            "too many fetches at once",
        )
        .await;
        // Announced again, a namespace takes the place that it has.
        client.announce(&ns("mine/0")).await;
        // What it had is served as before.
        publisher.group(ALIAS, 0, 2).await;
        client.until_objects(alias, 2).await;
        // And there is room for what comes instead.
        client.say(ControlMessage::Unsubscribe(watching)).await;
        let (again, message) = lasting(&mut client, RequestKind::Subscribe, 2);
        client.say(message).await;
        client.fence().await;
        client.catch_up();
        let answered = |message: &ControlMessage| matches!(message, ControlMessage::RequestError(id, ..) if *id == again);
        assert!(
            !client
                .log
                .iter()
                .any(|news| matches!(news, common::raw::News::Control(message) if answered(message)))
        );
        drop(client);
        let held = placement.until(&mut publisher, "session ends", "held", 1).await;
        for part in [
            "subscriptions 2 refused 1",
            "tracks 1 refused 1",
            "namespaces 1 refused 1",
            "watches 1 refused 1",
            "statuses 1 refused 1",
            "fetches 1 refused 1",
        ] {
            assert!(held[0].contains(part), "{part} in {held:?}");
        }
        let told = placement.values("a limit is reached", "limit");
        assert_eq!(
            told[0], "limits.subscriptions",
            "an operator hears of it, by the key"
        );
    });
}

/// D14-LIM-2 D14-TERM-3: sessions on two workers.
#[test]
fn an_address_has_its_share_of_requests() {
    run(async || {
        let mut settings = settings(2);
        settings.session.subscribe_wait = Some(LONG);
        settings.session.limits.prefix.requests = 4;
        settings.session.limits.prefix.namespaces = 1;
        let relay = relay(settings).await;
        let mut clients = [raw(&relay).await, raw(&relay).await, raw(&relay).await];
        for client in &mut clients {
            let (_, message) = lasting(client, RequestKind::Subscribe, 0);
            client.say(message).await;
            client.fence().await;
        }
        clients[0].announce(&ns("mine")).await;
        let [_, second, third] = &mut clients;
        for kind in [
            RequestKind::Subscribe,
            RequestKind::Publish,
            RequestKind::SubscribeNamespace,
        ] {
            let (id, message) = lasting(second, kind, 1);
            second.say(message).await;
            refused(second, id, kind, "too many requests from this address").await;
        }
        third.say(ControlMessage::Unsubscribe(RequestId(0))).await;
        third.refused(RequestId(0)).await;
        let (id, message) = lasting(second, RequestKind::PublishNamespace, 1);
        second.say(message).await;
        let phrase = "too many namespaces announced from this address";
        refused(second, id, RequestKind::PublishNamespace, phrase).await;
        // Whatever a session had is given back with its end.
        let [first, mut second, _third] = clients;
        drop(first);
        loop {
            let (id, message) = lasting(&mut second, RequestKind::PublishNamespace, 2);
            second.say(message).await;
            let accepted = second
                .control(|message| match message {
                    ControlMessage::PublishNamespaceOk(of) if *of == id => Some(true),
                    ControlMessage::RequestError(of, ..) if *of == id => Some(false),
                    _ => None,
                })
                .await;
            if accepted {
                break;
            }
        }
    });
}

/// D14-LIM-2 D14-DATA-20: aliases of tracks that are over are remembered only as long as nothing else needs their place,
/// of the session's as well as of the address prefix's.
#[test]
fn tracks_that_are_over_make_room() {
    run(async || {
        for of_prefix in [false, true] {
            let mut settings = settings(1);
            settings.track.done_wait = Duration::from_millis(1);
            if of_prefix {
                settings.session.limits.prefix.requests = 2;
            } else {
                settings.session.limits.session.tracks = 2;
            }
            let relay = relay(settings).await;
            let mut publisher = raw(&relay).await;
            let kept = publisher.publish(&track("live", "kept"), ALIAS, true).await;
            publisher.publish_ok(kept).await;
            for n in 1..5 {
                let mut tries = 10..1000;
                // The track lets go of the one before a moment after its end.
                let id = loop {
                    let alias = ALIAS + n * 1000 + tries.next().unwrap();
                    let id = publisher
                        .publish(&track("live", &alias.to_string()), alias, true)
                        .await;
                    if is_published(&mut publisher, id).await {
                        break id;
                    }
                };
                let (second, message) = lasting(&mut publisher, RequestKind::Publish, 9);
                publisher.say(message).await;
                let phrase = if of_prefix {
                    "too many requests from this address"
                } else {
                    "too many tracks published in this session"
                };
                refused(&mut publisher, second, RequestKind::Publish, phrase).await;
                publisher
                    .publish_done(id, PublishDoneStatus::TrackEnded, Some(0))
                    .await;
            }
        }
    });
}

/// D14-NS-14 D14-LIM-2: who announces a namespace again has it once, for its session and for its address prefix.
#[test]
fn a_namespace_that_is_announced_again_keeps_its_place() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.prefix.namespaces = 2;
        settings.session.limits.session.namespaces = 2;
        let relay = relay(settings).await;
        let (mut one, mut two) = (raw(&relay).await, raw(&relay).await);
        for _ in 0..3 {
            one.announce(&ns("mine")).await;
            two.announce(&ns("ours")).await;
            for client in [&mut one, &mut two] {
                client.fence().await;
                let (id, message) = lasting(client, RequestKind::PublishNamespace, 0);
                client.say(message).await;
                let phrase = "too many namespaces announced from this address";
                refused(client, id, RequestKind::PublishNamespace, phrase).await;
            }
        }
        let mut watcher = raw(&relay).await;
        watcher.watched("mine").await;
        assert_eq!(watcher.until_told(1).await, ["+mine"]);
        two.withdraw("ours").await;
        two.fence().await;
        one.announce(&ns("ours")).await;
        one.announce(&ns("ours")).await;
        one.announce(&ns("mine")).await;
        let (id, message) = lasting(&mut one, RequestKind::PublishNamespace, 0);
        one.say(message).await;
        let phrase = "too many namespaces announced in this session";
        refused(&mut one, id, RequestKind::PublishNamespace, phrase).await;
        // What is given up is given up once.
        one.withdraw("mine").await;
        one.fence().await;
        two.announce(&ns("theirs")).await;
    });
}

/// D14-LIM-2: more are refused in their handshake, and let in when one has left.
#[test]
fn an_address_has_its_share_of_connections() {
    run(async || {
        let mut settings = settings(2);
        settings.session.limits.prefix.connections = 2;
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let target = target(relay.local_addr());
        let mut first = raw(&relay).await;
        let second = raw(&relay).await;
        for _ in 0..3 {
            let error = Subscriber::connect(&target, options()).await.unwrap_err();
            assert!(
                matches!(error, ClientError::Connect(ConnectError::Refused { .. })),
                "{error}"
            );
        }
        let told = placement
            .until(
                &mut first,
                "newcomers of full address prefixes are refused",
                "limit",
                1,
            )
            .await;
        assert_eq!(told[0], "limits.prefix_connections");
        drop(second);
        while Subscriber::connect(&target, options()).await.is_err() {
            first.fence().await;
        }
    });
}

/// D14-LIM-2 D14-TERM-1: those whose handshakes run side by side are counted when they are done, and told why they go.
#[test]
fn newcomers_that_are_too_many_are_told_so() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.prefix.connections = 1;
        let relay = relay(settings).await;
        let target = target(relay.local_addr());
        let mut tries = 0..100;
        // The endpoint refuses one of them earlier when it comes a moment later.
        let why = loop {
            tries.next().unwrap();
            let connect = || Subscriber::connect(&target, options());
            let (one, two) = futures::join!(connect(), connect());
            let why = [one, two].into_iter().find_map(|connected| match connected {
                Err(ClientError::Closed(why)) => Some(why),
                _ => None,
            });
            if let Some(why) = why {
                break why;
            }
        };
        assert_eq!(
            why,
            "closed by the peer with code 0x1: too many connections from this address"
        );
    });
}

/// D14-LIM-2 D14-REQ-3: the window of request ids counts what it refuses, as every limit does.
#[test]
fn requests_beyond_the_window_are_counted() {
    run(async || {
        let mut settings = settings(1);
        settings.session.core.max_request_id = 4;
        settings.session.subscribe_wait = Some(LONG);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        for n in 0..3 {
            client.subscribe(&track("nobody", &n.to_string()), NEWEST).await;
        }
        let code = client.closed().await;
        assert_eq!(code, CODEC.close_code(CloseCode::TooManyRequests));
        let mut bystander = raw(&relay).await;
        let held = placement.until(&mut bystander, "session ends", "held", 1).await;
        assert!(held[0].contains("requests 2 refused 1"), "{held:?}");
        let told = placement.values("a limit is reached", "limit");
        assert_eq!(told, ["session.max_request_id"]);
    });
}

/// A peer's words neither forge lines of the log nor fill it.
#[test]
fn words_of_a_peer_stay_on_their_line() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let mut boastful = options();
        let long = "x".repeat(50_000);
        boastful.session.core.implementation = Bytes::from(format!("1\n\x1b[31mCRIT forged{long}"));
        let client = Subscriber::connect(&target(relay.local_addr()), boastful).await;
        let mut bystander = raw(&relay).await;
        let told = placement
            .until(&mut bystander, "session established", "implementation", 1)
            .await;
        assert!(told[0].starts_with("1\\n\\u{1b}[31mCRIT forged"), "{told:?}");
        assert!(told[0].len() < 1000, "{}", told[0].len());
        drop(client);
    });
}

/// D14-LIM-2 D14-NS-9: what a peer can bring about with each message is told once.
#[test]
fn oddities_do_not_fill_the_log() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        for _ in 0..100 {
            client.withdraw("nobody/announced").await;
        }
        client.fence().await;
        assert_eq!(
            placement.values("compatibility rule used", "rule"),
            ["UnknownNamespace"]
        );
    });
}

/// D14-LIM-1: of too many streams the least urgent is stopped, whichever came first; what else is read goes on.
#[test]
fn of_too_many_streams_the_least_urgent_is_stopped() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.session.streams = 2;
        let relay = relay(settings).await;
        let name = track("live", "streams");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut streams = Vec::new();
        for (group, priority) in [(0, 100), (1, 200), (2, 50)] {
            let header = SubgroupHeader {
                alias: ALIAS,
                group,
                subgroup: SubgroupIdMode::Zero,
                priority,
                has_extensions: false,
                end_of_group: false,
            };
            let mut stream = publisher.open_with(header).await;
            stream.object(0, b"first").await;
            subscriber.until_object(alias, (group, 0)).await;
            streams.push(stream);
        }
        let (last, least, mut most) = (
            streams.pop().unwrap(),
            streams.pop().unwrap(),
            streams.pop().unwrap(),
        );
        let cancelled = CODEC.reset_code(laps_protocol::moqt::error::ResetCode::Cancelled);
        assert_eq!(least.stopped().await, cancelled);
        most.object(1, b"second").await;
        subscriber.until_object(alias, (0, 1)).await;
        // One more that is least urgent is not let in at all.
        let header = SubgroupHeader {
            alias: ALIAS,
            group: 3,
            subgroup: SubgroupIdMode::Zero,
            priority: 255,
            has_extensions: false,
            end_of_group: false,
        };
        assert_eq!(publisher.open_with(header).await.stopped().await, cancelled);
        // A place is free again when a stream ends.
        last.fin();
        most.fin();
        subscriber.ended(0).await;
        subscriber.ended(2).await;
        publisher.fence().await;
        publisher.group(ALIAS, 4, 2).await;
        subscriber.until_object(alias, (4, 1)).await;
    });
}

/// D14-LIM-6: a control message that is never finished, and a session in which nobody asks for anything.
#[test]
fn what_is_left_unfinished_or_unused_is_given_up() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = Some(LONG);
        settings.session.core.message_timeout = Duration::from_millis(300);
        settings.session.core.idle_timeout = Some(Duration::from_millis(500));
        let relay = relay(settings).await;
        let (mut idle, mut busy, mut half) = (raw(&relay).await, raw(&relay).await, raw(&relay).await);
        busy.subscribe(&track("nobody", "yet"), NEWEST).await;
        let mut bytes = BytesMut::new();
        let (_, message) = lasting(&mut half, RequestKind::Subscribe, 0);
        CODEC.encode(&message, &mut bytes).unwrap();
        half.say_bytes(bytes.freeze().slice(..5)).await;
        assert_eq!(
            half.closed().await,
            CODEC.close_code(CloseCode::ControlMessageTimeout)
        );
        assert_eq!(idle.closed().await, CODEC.close_code(CloseCode::NoError));
        busy.fence().await;
    });
}

/// D14-LIM-6 D14-TERM-3 D14-REQ-10: a publisher that never answers costs the request that needs it, not its session.
#[test]
fn a_request_that_a_publisher_never_answers_is_refused() {
    run(async || {
        let mut settings = settings(1);
        settings.track.upstream_timeout = Duration::from_millis(300);
        let relay = relay(settings).await;
        let name = track("silent", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.asked(&name, 0).await;
        let error = subscriber.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::Timeout);
        publisher.fence().await;
        subscriber.fence().await;
    });
}

/// D14-LIM-6: the header of a stream that is never finished.
#[test]
fn a_header_that_is_never_finished_ends_its_session_alone() {
    run(async || {
        let mut settings = settings(1);
        settings.session.header_timeout = Duration::from_millis(300);
        let relay = relay(settings).await;
        let mut bystander = raw(&relay).await;
        let mut half = raw(&relay).await;
        let mut stream = half.conn.open_uni().await.unwrap();
        let header = SubgroupHeader {
            alias: ALIAS,
            group: 0,
            subgroup: SubgroupIdMode::Zero,
            priority: 0,
            has_extensions: false,
            end_of_group: false,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
        stream.send(&mut [bytes.freeze().slice(..2)]).await.unwrap();
        assert_eq!(
            half.closed().await,
            CODEC.close_code(CloseCode::DataStreamTimeout)
        );
        bystander.fence().await;
    });
}

/// D14-TERM-3 D14-NS-9: an announcement that keeps failing here ends by its own answer.
#[test]
fn an_announcement_that_keeps_failing_ends_alone() {
    run(async || {
        let mut plan = FaultPlan::new();
        let trigger = plan.point("announce");
        let mut settings = settings(1);
        settings.faults = plan.faults();
        let relay = relay(settings).await;
        let live = track("live", "video");
        let mut client = raw(&relay).await;
        let watching = client.subscribe(&live, NEWEST).await;
        let mut publisher = raw(&relay).await;
        publisher.announce(live.namespace()).await;
        publisher.serve(&live, ALIAS).await;
        client.answer(watching).await.unwrap();
        trigger.arm(1000);
        let (id, message) = lasting(&mut client, RequestKind::PublishNamespace, 0);
        client.say(message).await;
        let phrase = "an announcement keeps failing in the relay";
        refused(&mut client, id, RequestKind::PublishNamespace, phrase).await;
        client
            .fetch(
                common::fetching::range(&live, (5, 0), (4, 0)),
                GroupOrderRequest::Publisher,
            )
            .await;
        client.fence().await;
    });
}
