//! A publisher that leaves out the rest of a group still delivers what it wrote of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::reading::wants;
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::{Flow, Item};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::BTreeSet;

/// Objects of a whole group, and of one that is cut.
const WHOLE: u64 = 25;
const PART: u64 = 9;

/// MOQT-14 §10.4.3 [D14-CLOSE-1]: its stream is reset, and a reset throws away what is still on its way.
#[test]
fn in_one_burst() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("cut", "video");
        let mut publisher = publisher(&relay).await;
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = subscriber(&relay).await;
        wants(&mut subscriber, &name).await;
        writer.wanted().await.unwrap();
        let mut written = BTreeSet::new();
        for (group, objects) in [(0, WHOLE), (1, PART), (3, WHOLE), (4, PART)] {
            for object in 0..objects {
                let at = Location::new(group, object);
                writer
                    .object(at, vec![Bytes::from_static(&[7; 600])])
                    .await
                    .unwrap();
                written.insert(at);
            }
            if objects == WHOLE {
                writer.end_group().await.unwrap();
            } else {
                writer.cut().await.unwrap();
            }
        }
        let ended = actix_rt::spawn(writer.finish());
        let (mut got, mut cut) = (BTreeSet::new(), BTreeSet::new());
        loop {
            match subscriber.next().await.unwrap() {
                Item::Object(object) => assert!(got.insert(object.location)),
                Item::Closed {
                    group,
                    end: StreamEnd::Reset(_),
                    ..
                } => drop(cut.insert(group)),
                Item::Opened { .. } | Item::Closed { .. } => {}
                Item::Lost => panic!("objects were lost"),
                Item::Done(_) => break,
            }
        }
        ended.await.unwrap().unwrap();
        let missing: Vec<_> = written.difference(&got).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(cut, BTreeSet::from([1, 4]));
    });
}
