//! Who watches a prefix is told of every namespace below it: of what is there, and of each change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::raw;
use common::watch::told;
use common::{relay, run, settings};
use laps_protocol::moqt::message::{ControlMessage, RequestErrorReason, RequestId, RequestKind};

/// D14-NS-1 D14-NS-2 D14-NS-14: each namespace once however many announce it, and its end with the last of them.
#[test]
fn what_is_there_comes_first_and_then_every_change() {
    run(async || {
        let relay = relay(settings(2)).await;
        let (mut first, mut second) = (raw(&relay).await, raw(&relay).await);
        for namespace in ["live/a", "live/b", "other/c"] {
            first.announce(&common::watch::ns(namespace)).await;
        }
        second.announce(&common::watch::ns("live/a")).await;
        let mut watcher = raw(&relay).await;
        let id = watcher.watched("live").await;
        assert_eq!(watcher.until_told(2).await, ["+live/a", "+live/b"]);
        let (own, _) = watcher.announced(0).await;
        // MOQT-14 §9.1 [D14-NS-1]: the relay's own ids, which are odd.
        assert_eq!((id, own.0 % 2), (RequestId(0), 1));
        // A second announcer changes nothing, nor does the first one that announces it again.
        second.announce(&common::watch::ns("live/b")).await;
        first.announce(&common::watch::ns("live/b")).await;
        first.withdraw("live/a").await;
        first.announce(&common::watch::ns("live/d/e")).await;
        assert_eq!(watcher.until_told(3).await[2..], ["+live/d/e"]);
        second.withdraw("live/a").await;
        assert_eq!(watcher.until_told(4).await[3..], ["-live/a"]);
        first.announce(&common::watch::ns("live/a")).await;
        assert_eq!(watcher.until_told(5).await[4..], ["+live/a"]);
        watcher.settled().await;
        assert_eq!(told(&watcher.log).len(), 5);
    });
}

/// D14-NS-13
#[test]
fn the_namespaces_of_a_lost_session_are_withdrawn() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        let mut watcher = raw(&relay).await;
        watcher.watched("live").await;
        for namespace in ["live/a", "live/b"] {
            publisher.announce(&common::watch::ns(namespace)).await;
        }
        watcher.until_told(2).await;
        drop(publisher);
        let mut ends = watcher.until_told(4).await.split_off(2);
        ends.sort();
        assert_eq!(ends, ["-live/a", "-live/b"]);
    });
}

/// D14-NS-3 D14-NS-15: also what the watcher announces itself, and a prefix that nothing matches is accepted.
#[test]
fn the_sender_hears_of_its_own() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut client = raw(&relay).await;
        client.watched("mine").await;
        client.announce(&common::watch::ns("mine/x")).await;
        assert_eq!(client.until_told(1).await, ["+mine/x"]);
        client.withdraw("mine/x").await;
        assert_eq!(client.until_told(2).await, ["+mine/x", "-mine/x"]);
    });
}

/// D14-NS-5: whole fields are compared, byte by byte.
#[test]
fn prefixes_match_by_whole_fields() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        for namespace in ["foobar", "foo/bar", "Foo/bar", "foo"] {
            publisher.announce(&common::watch::ns(namespace)).await;
        }
        let mut watcher = raw(&relay).await;
        watcher.watched("foo").await;
        watcher.until_told(2).await;
        watcher.settled().await;
        assert_eq!(told(&watcher.log), ["+foo", "+foo/bar"]);
    });
}

/// D14-NS-4: equal, shorter and longer prefixes overlap; another one does not, nor does one that was given up.
#[test]
fn overlapping_prefixes_are_refused() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut client = raw(&relay).await;
        client.watched("a/b").await;
        for prefix in ["a/b", "a", "a/b/c"] {
            let id = client.watch(prefix).await;
            let (kind, error) = client.refused(id).await;
            let overlap = RequestErrorReason::NamespacePrefixOverlap;
            assert_eq!((kind, error.reason), (RequestKind::SubscribeNamespace, overlap));
        }
        client.watched("a/c").await;
        client.unwatch("a/b").await;
        client.watched("a/b/c").await;
    });
}

/// D14-NS-9: what the peer refuses or cancels is not repeated while it is there, and no DONE follows; ends of what
/// nobody announced are ignored.
#[test]
fn what_the_watcher_refuses_is_not_repeated() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut second) = (raw(&relay).await, raw(&relay).await);
        let mut watcher = raw(&relay).await;
        watcher.watched("live").await;
        for namespace in ["live/a", "live/b"] {
            publisher.announce(&common::watch::ns(namespace)).await;
        }
        let (first, _) = watcher.announced(0).await;
        let (other, request) = watcher.announced(1).await;
        watcher.refuse(first, RequestKind::PublishNamespace).await;
        watcher.take(other).await;
        watcher.cancel(&request.namespace.to_string()).await;
        watcher.cancel("live/nothing").await;
        watcher.settled().await;
        for namespace in ["live/a", "live/b"] {
            second.announce(&common::watch::ns(namespace)).await;
        }
        second.withdraw("live/nothing").await;
        for client in [&mut publisher, &mut second] {
            for namespace in ["live/a", "live/b"] {
                client.withdraw(namespace).await;
            }
            client.settled().await;
        }
        watcher.settled().await;
        assert_eq!(told(&watcher.log).len(), 2, "{:?}", told(&watcher.log));
        // Gone and announced anew, it is news.
        publisher.announce(&common::watch::ns("live/b")).await;
        assert_eq!(watcher.until_told(3).await[2..], ["+live/b"]);
    });
}

/// D14-NS-10 D14-NS-2: nothing comes after UNSUBSCRIBE_NAMESPACE; watched again, the peer hears what it does not know.
#[test]
fn who_stops_watching_is_told_no_more() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        for namespace in ["live/a", "live/b"] {
            publisher.announce(&common::watch::ns(namespace)).await;
        }
        let mut watcher = raw(&relay).await;
        watcher.watched("live").await;
        watcher.until_told(2).await;
        watcher.unwatch("live").await;
        watcher.settled().await;
        publisher.announce(&common::watch::ns("live/c")).await;
        publisher.withdraw("live/a").await;
        publisher.settled().await;
        watcher.settled().await;
        assert_eq!(told(&watcher.log).len(), 2);
        watcher.watched("live").await;
        let mut news = watcher.until_told(4).await.split_off(2);
        news.sort();
        assert_eq!(news, ["+live/c", "-live/a"]);
        watcher.settled().await;
        assert_eq!(told(&watcher.log).len(), 4, "live/b is known already");
    });
}

/// D14-NS-15 D14-REQ-8: exactly one answer, also to a watcher that leaves at once.
#[test]
fn each_subscribe_namespace_is_answered_once() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut client = raw(&relay).await;
        let id = client.id();
        let namespace = common::watch::ns("gone");
        client
            .say_all([
                ControlMessage::SubscribeNamespace(id, common::watch::request("gone")),
                ControlMessage::UnsubscribeNamespace(laps_protocol::moqt::message::Namespace { namespace }),
            ])
            .await;
        client.refused(id).await;
        client.watched("gone").await;
        client.settled().await;
        let answers = client.log.iter().filter(|news| {
            matches!(news, common::raw::News::Control(
                ControlMessage::SubscribeNamespaceOk(of) | ControlMessage::RequestError(of, ..)) if *of == id)
        });
        assert_eq!(answers.count(), 1);
    });
}
