//! What our own publisher sends is what the draft asks of an original publisher.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{News, Raw, raw};
use common::{publisher, relay, run, settings, track};
use laps_actors::client::{ClientError, Flow};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::object::{ObjectStatus, SubgroupIdMode};

/// D14-LIB-3 D14-DATA-6
#[test]
fn subgroups_priorities_ends_and_one_preference() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("model", "video");
        let mut publisher = publisher(&relay).await;
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = raw(&relay).await;
        let (id, ok) = subscriber.subscribed(&name, SubscribeFilter::LargestObject).await;
        writer.wanted().await.unwrap();
        for (place, priority) in [((0, 0), 10), ((0, 1), 20), ((1, 0), 20), ((1, 1), 20)] {
            writer.set_priority(priority);
            let payload = vec![Bytes::from_static(b"payload")];
            writer
                .object(Location::new(place.0, place.1), payload)
                .await
                .unwrap();
        }
        // MOQT-14 §10: streams or datagrams. What does not fit is refused, and the track goes on.
        let mixed = writer.datagram(1, 2, Bytes::from_static(b"mixed")).await;
        assert!(matches!(mixed, Err(ClientError::Command(_))), "{mixed:?}");
        writer.finish().await.unwrap();
        subscriber.done(id).await;

        let headers = Raw::headers(&subscriber.log, ok.alias);
        assert_eq!(headers.len(), 2);
        for ((number, header), (group, priority)) in headers.into_iter().zip([(0, 10), (1, 20)]) {
            assert_eq!((header.group, header.priority), (group, priority));
            // MOQT-14 §2.2: one subgroup in each group, on one stream that ends with it.
            assert!(matches!(
                header.subgroup,
                SubgroupIdMode::Zero | SubgroupIdMode::Explicit(0)
            ));
            assert!(header.end_of_group);
            assert_eq!(subscriber.ended(number).await, None);
        }
        assert_eq!(
            Raw::places(&subscriber.log, ok.alias),
            [(0, 0), (0, 1), (1, 0), (1, 1)]
        );
        // A publisher that comes back goes on under this name with larger groups, so no END_OF_TRACK is said.
        let statuses = |news: &News| match news {
            News::Object(_, header) => Some(header.status),
            _ => None,
        };
        let mut statuses = subscriber.log.iter().filter_map(statuses);
        assert!(statuses.all(|status| status == ObjectStatus::Normal));
    });
}

/// D14-LIB-3
#[test]
fn a_track_of_datagrams_takes_no_streams() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("model", "datagrams");
        let mut publisher = publisher(&relay).await;
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = raw(&relay).await;
        let (_, ok) = subscriber.subscribed(&name, SubscribeFilter::LargestObject).await;
        writer.wanted().await.unwrap();
        writer.datagram(0, 0, Bytes::from_static(b"a")).await.unwrap();
        let mixed = writer
            .object(Location::new(0, 1), vec![Bytes::from_static(b"b")])
            .await;
        assert!(matches!(mixed, Err(ClientError::Command(_))), "{mixed:?}");
        // Datagrams may be lost, so more than one is sent until one arrives.
        let mut next = 1;
        while Raw::datagrams(&subscriber.log, ok.alias).is_empty() {
            writer.datagram(0, next, Bytes::from_static(b"c")).await.unwrap();
            next += 1;
            actix_rt::task::yield_now().await;
            subscriber.catch_up();
        }
        assert!(Raw::headers(&subscriber.log, ok.alias).is_empty());
    });
}
