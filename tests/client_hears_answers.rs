//! The application that uses our client hears what the relay answers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::{options, publisher, relay, run, settings, target, track};
use laps_actors::client::{ClientError, Flow, Watcher};
use laps_protocol::moqt::message::RequestErrorReason;

/// D14-LIB-6
#[test]
fn a_namespace_is_accepted_or_refused() {
    run(async || {
        for accepts in [true, false] {
            let mut settings = settings(1);
            settings.session.accepts_publishers = accepts;
            let relay = relay(settings).await;
            let mut publisher = publisher(&relay).await;
            let answer = publisher.publish(track("answers", "video"), Flow::Announce).await;
            match answer {
                Ok(_) => assert!(accepts),
                Err(ClientError::Rejected(error)) => {
                    assert!(!accepts);
                    assert_eq!(error.reason, RequestErrorReason::Uninterested);
                    assert!(!error.phrase.is_empty());
                    // The next track of the namespace is not taken for one that is offered already.
                    let next = publisher.publish(track("answers", "audio"), Flow::Announce).await;
                    assert!(matches!(next, Err(ClientError::Rejected(_))));
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// D14-LIB-6
#[test]
fn a_watch_is_accepted_or_refused() {
    run(async || {
        for accepts in [true, false] {
            let mut settings = settings(1);
            settings.session.accepts_publishers = accepts;
            let relay = relay(settings).await;
            let mut watcher = Watcher::connect(&target(relay.local_addr()), options())
                .await
                .unwrap();
            let prefix = track("answers", "video").namespace().clone();
            match watcher.watch(prefix).await {
                Ok(()) => assert!(accepts),
                Err(ClientError::Rejected(error)) => {
                    assert!(!accepts);
                    assert_eq!(error.reason, RequestErrorReason::NotSupported);
                    assert!(!error.phrase.is_empty());
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
}
