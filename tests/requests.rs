//! Requests: how many there may be, what is answered to those that are not served, and what may be asked for twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{News, Raw, Reading, raw, subscribe};
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, NamespaceRequest,
    RequestErrorReason, RequestId, RequestKind, Subscribe, SubscribeFilter,
};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §3.4 [D14-TERM-1]
const TOO_MANY_REQUESTS: u64 = 7;
const INVALID_REQUEST_ID: u64 = 4;
const CONTROL_MESSAGE_TIMEOUT: u64 = 0x11;

/// D14-SETUP-18
#[test]
fn the_maximum_is_always_sent_and_large() {
    run(async || {
        let relay = relay(settings(1)).await;
        let client = raw(&relay).await;
        // MOQT-14 §9.3.2.3 [D14-SETUP-18]
        assert_eq!(client.setup.params.max_request_id, Some(10_000));
    });
}

/// D14-REQ-4 D14-REQ-5
#[test]
fn the_maximum_is_raised_as_requests_end() {
    run(async || {
        let mut settings = settings(1);
        settings.session.core.max_request_id = 20;
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        assert_eq!(client.setup.params.max_request_id, Some(20));
        // Many times the window, each answered and over.
        for _ in 0..100 {
            client.fence().await;
        }
        let raised: Vec<_> = client
            .log
            .iter()
            .filter_map(|news| match news {
                News::Control(ControlMessage::MaxRequestId(maximum)) => Some(*maximum),
                _ => None,
            })
            .collect();
        // MOQT-14 §9.5 [D14-REQ-4] [D14-REQ-5]: it only grows, and not with every request.
        assert!(raised.is_sorted_by(|a, b| a < b), "{raised:?}");
        assert!(*raised.last().unwrap() >= 200);
        assert!(raised.len() <= 20, "{raised:?}");
    });
}

/// D14-REQ-3 D14-TERM-1
#[test]
fn a_request_at_the_maximum_ends_the_session() {
    run(async || {
        let mut settings = settings(1);
        settings.session.core.max_request_id = 4;
        settings.session.subscribe_wait = None;
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        // MOQT-14 §9.5 [D14-REQ-3]: 0 and 2 are below 4, and stay open; 4 is not.
        for name in ["a", "b", "c"] {
            client.subscribe(&track("requests", name), NEWEST).await;
        }
        assert_eq!(client.closed().await, TOO_MANY_REQUESTS);
    });
}

/// D14-REQ-2 D14-TERM-1
#[test]
fn a_request_out_of_sequence_ends_the_session() {
    run(async || {
        let relay = relay(settings(1)).await;
        // MOQT-14 §9.1 [D14-REQ-2]
        for id in [2, 1] {
            let mut client = raw(&relay).await;
            let status = subscribe(&track("requests", "a"), NEWEST);
            client
                .say(ControlMessage::TrackStatus(RequestId(id), status))
                .await;
            assert_eq!(client.closed().await, INVALID_REQUEST_ID);
        }
    });
}

/// D14-MSG-32
#[test]
fn every_kind_of_request_is_served() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut client = raw(&relay).await;
        let name = track("requests", "video");
        let fetch = Fetch {
            priority: 128,
            group_order: GroupOrderRequest::Publisher,
            range: FetchRange::Standalone {
                track: name.clone(),
                start: Location::ZERO,
                end: Location::new(1, 0),
            },
            params: MessageParams::default(),
        };
        let namespace = NamespaceRequest {
            namespace: name.namespace().clone(),
            params: MessageParams::default(),
        };
        let ids = [
            client.id(),
            client.id(),
            client.id(),
            client.id(),
            client.id(),
            client.id(),
        ];
        let requests = [
            ControlMessage::Fetch(ids[0], fetch),
            ControlMessage::Subscribe(ids[1], subscribe(&name, NEWEST)),
            ControlMessage::TrackStatus(ids[2], subscribe(&name, NEWEST)),
            ControlMessage::SubscribeNamespace(ids[3], namespace.clone()),
            ControlMessage::PublishNamespace(ids[4], namespace),
            ControlMessage::Publish(ids[5], common::raw::publish(&track("requests", "audio"), 1)),
        ];
        for request in requests {
            client.say(request).await;
        }
        // MOQT-14 §4 [D14-MSG-32]: a relay implements all of them, so none is answered with NOT_SUPPORTED.
        for id in ids {
            client
                .wait(|log| {
                    log.iter().find_map(|news| match news {
                        News::Control(ControlMessage::RequestError(of, _, error)) if *of == id => {
                            assert_ne!(error.reason, RequestErrorReason::NotSupported);
                            Some(())
                        }
                        News::Control(
                            ControlMessage::SubscribeOk(of, _)
                            | ControlMessage::FetchOk(of, _)
                            | ControlMessage::TrackStatusOk(of, _)
                            | ControlMessage::SubscribeNamespaceOk(of)
                            | ControlMessage::PublishNamespaceOk(of)
                            | ControlMessage::PublishOk(of, _),
                        ) if *of == id => Some(()),
                        _ => None,
                    })
                })
                .await;
        }
    });
}

/// D14-VAL-15
#[test]
fn a_second_subscribe_is_refused_and_the_first_goes_on() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("requests", "twice");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = client.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = client.answer(id).await.unwrap().alias;
        let again = client.subscribe(&name, NEWEST).await;
        // MOQT-14 §9.7 [D14-VAL-15]
        let error = client.answer(again).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(client.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    });
}

/// D14-SUB-22
#[test]
fn a_session_may_subscribe_to_its_own_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("requests", "own");
        let mut client = raw(&relay).await;
        client.announce(name.namespace()).await;
        let id = client.subscribe(&name, NEWEST).await;
        client.serve(&name, ALIAS).await;
        let alias = client.answer(id).await.unwrap().alias;
        client.group(ALIAS, 0, 2).await;
        // MOQT-14 §5.1 [D14-SUB-22]
        assert_eq!(client.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    });
}

/// D14-SUB-10
#[test]
fn refused_subscriptions_leave_nothing_behind() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = Some(std::time::Duration::ZERO);
        settings.session.core.max_request_id = 20;
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        let name = track("requests", "again");
        // The same track is asked for again and again, as a client does that waits for it.
        for _ in 0..12 {
            let id = client.subscribe(&name, NEWEST).await;
            let error = client.answer(id).await.unwrap_err();
            // [D14-SUB-10]; a slot that stayed would be a second subscription.
            assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        }
        assert!(Raw::objects(&client.log).is_empty());
    });
}

/// D14-SUB-12 D14-SUB-13 D14-SUB-9
#[test]
fn the_upstreams_refusal_is_passed_on() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("requests", "refused");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = client.id();
        let own = Subscribe {
            priority: 3,
            group_order: GroupOrderRequest::Fixed(GroupOrder::Descending),
            ..subscribe(&name, NEWEST)
        };
        client.say(ControlMessage::Subscribe(id, own)).await;
        let (upstream, asked) = publisher.asked(&name, 0).await;
        // MOQT-14 §7.3, §9.7 [D14-SUB-12] [D14-SUB-13]: as the relay asks for everybody.
        assert_eq!(asked, subscribe(&name, NEWEST));
        // MOQT-14 §8.3 [D14-SUB-9]: nothing is said downstream before upstream has spoken.
        client.fence().await;
        let answered = |news: &News| matches!(news, News::Control(ControlMessage::SubscribeOk(..)));
        assert!(!client.log.iter().any(answered));
        let error = laps_protocol::moqt::message::RequestError::new(RequestErrorReason::Unauthorized, "no");
        publisher
            .say(ControlMessage::RequestError(
                upstream,
                RequestKind::Subscribe,
                error.clone(),
            ))
            .await;
        assert_eq!(client.answer(id).await.unwrap_err(), error);
    });
}

/// D14-REQ-10 D14-SUB-10
#[test]
fn a_publisher_that_never_answers_is_given_up() {
    run(async || {
        let mut settings = settings(1);
        settings.track.upstream_timeout = std::time::Duration::from_millis(200);
        let relay = relay(settings).await;
        let name = track("requests", "silent");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut client = raw(&relay).await;
        let id = client.subscribe(&name, NEWEST).await;
        publisher.asked(&name, 0).await;
        let error = client.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::Timeout);
    });
}

/// D14-LIM-4
#[test]
fn a_peer_that_does_not_read_its_answers_loses_its_session() {
    run(async || {
        let mut settings = settings(1);
        settings.session.max_control_backlog = 2000;
        settings.transport.send_buffer = 8192;
        let relay = relay(settings).await;
        let window = TransportConfig {
            bidi_stream_window: 4096,
            ..TransportConfig::default()
        };
        let mut client = Raw::connect(&relay, Reading::Everything, window).await;
        let mut bystander = raw(&relay).await;
        client.deaf.set(true);
        let status = subscribe(&track("requests", "unread"), NEWEST);
        // The peer's window, the send buffer and the backlog hold some hundred answers. [D14-LIM-4]
        for _ in 0..4000 {
            let id = client.id();
            if !client
                .try_say(ControlMessage::TrackStatus(id, status.clone()))
                .await
            {
                break;
            }
        }
        assert_eq!(client.closed().await, CONTROL_MESSAGE_TIMEOUT);
        bystander.fence().await;
    });
}
