//! Who watches namespaces at any relay is told what is announced at all of them, once, and when that is over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::{Member, two};
use common::raw::raw;
use common::run;
use common::watch::{ns, told};
use laps::relay::{Relay, Settings};
use laps_actors::transport::PeerCa;
use laps_protocol::peering::node::NodeType;
use std::time::Duration;

/// An edge, a via, and an edge.
async fn chain() -> [Relay; 3] {
    let ca = PeerCa::generate().unwrap();
    let far = Member::edge(&ca, 3, &[]).but(forgetful).start().await;
    let via = Member {
        role: NodeType::Via,
        ..Member::edge(&ca, 2, &[&far])
    };
    let via = via.but(forgetful).start().await;
    let near = Member::edge(&ca, 1, &[&via]).but(forgetful).start().await;
    [near, via, far]
}

/// A relay that is gone is not waited for.
fn forgetful(settings: &mut Settings) {
    if let Some(peering) = &mut settings.peering {
        peering.setup.settings.unreachable_hold = Duration::from_millis(200);
    }
}

/// D14-NS-2 D14-NS-8 D14-NS-12: before and after the watcher came, below its prefix alone, and no PUBLISH is needed.
#[test]
fn what_is_announced_elsewhere_is_told() {
    run(async || {
        let [near, _via, far] = chain().await;
        let mut publisher = raw(&near).await;
        publisher.announce(&ns("show/one")).await;
        publisher.announce(&ns("other/one")).await;
        let mut watchers = [raw(&far).await, raw(&near).await];
        for watcher in &mut watchers {
            watcher.watched("show").await;
            assert_eq!(watcher.until_told(1).await, ["+show/one"]);
        }
        publisher.announce(&ns("show/two")).await;
        publisher.announce(&ns("other/two")).await;
        publisher.withdraw("show/one").await;
        publisher.announce(&ns("show/one")).await;
        publisher.withdraw("show/two").await;
        let mut everything = raw(&far).await;
        everything.watched("other").await;
        assert_eq!(everything.until_told(2).await.len(), 2);
        for watcher in &mut watchers {
            // News that are over before they were told may be left out; how it stands in the end may not.
            let stands = |log: &[_]| {
                let told = told(log);
                let last = |what: &str| told.iter().rfind(|told| told.ends_with(what)).cloned();
                let two = last("show/two");
                (last("show/one").as_deref() == Some("+show/one") && two.as_deref() != Some("+show/two"))
                    .then_some(told)
            };
            publisher.announce(&ns("show/last")).await;
            watcher
                .wait(|log| told(log).contains(&"+show/last".to_owned()).then_some(()))
                .await;
            let told = watcher.wait(stands).await;
            assert!(told.iter().all(|told| told.contains("show/")), "{told:?}");
            publisher.withdraw("show/last").await;
            watcher
                .wait(|log| self::told(log).contains(&"-show/last".to_owned()).then_some(()))
                .await;
        }
    });
}

/// D14-NS-8 D14-NS-12 D14-PUB-1: a namespace that two announce at two relays is told once, and is over when both are.
#[test]
fn a_namespace_of_two_relays_is_told_once() {
    run(async || {
        let [near, far] = two(1).await;
        let (mut one, mut other) = (raw(&near).await, raw(&far).await);
        let mut watcher = raw(&far).await;
        watcher.watched("show").await;
        one.announce(&ns("show/both")).await;
        assert_eq!(watcher.until_told(1).await, ["+show/both"]);
        other.announce(&ns("show/both")).await;
        one.withdraw("show/both").await;
        // What is told in order behind it has overtaken nothing.
        one.announce(&ns("show/behind")).await;
        assert_eq!(watcher.until_told(2).await, ["+show/both", "+show/behind"]);
        other.withdraw("show/both").await;
        let all = ["+show/both", "+show/behind", "-show/both"];
        assert_eq!(watcher.until_told(3).await, all);
    });
}

/// D14-NS-12 D14-NS-13 D14-CLOSE-1: a publisher that vanishes announces nothing any more, and neither does one whose relay
/// does.
#[test]
fn who_vanishes_announces_nothing() {
    run(async || {
        let [near, _via, far] = chain().await;
        let mut watcher = raw(&far).await;
        watcher.watched("show").await;
        let (mut first, mut second) = (raw(&near).await, raw(&near).await);
        first.announce(&ns("show/first")).await;
        watcher.until_told(1).await;
        second.announce(&ns("show/second")).await;
        watcher.until_told(2).await;
        drop(first);
        let told = watcher.until_told(3).await;
        assert_eq!(told, ["+show/first", "+show/second", "-show/first"]);
        near.drain(Duration::from_secs(2));
        near.ended().await;
        assert_eq!(watcher.until_told(4).await.last().unwrap(), "-show/second");
    });
}
