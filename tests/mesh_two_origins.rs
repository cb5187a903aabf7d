//! Two relays that publish one track, with readers at both and at a third one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::{Member, objects, patient, read_to_the_end, subscribe, write};
use common::{publisher, run, subscriber, track};
use laps::relay::Relay;
use laps_actors::client::Flow;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::message::PublishDoneStatus;

async fn once_everywhere(shards: usize, flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let member = async |low, dials: &[&Relay]| {
        let member = Member {
            shards,
            ..Member::edge(&ca, low, dials)
        };
        member.but(patient).start().await
    };
    let third = member(3, &[]).await;
    let second = member(2, &[&third]).await;
    let first = member(1, &[&second, &third]).await;
    let name = track("mesh", "video");
    let mut publishers = [publisher(&first).await, publisher(&second).await];
    let mut writers = Vec::new();
    for publisher in &mut publishers {
        writers.push(publisher.publish(name.clone(), flow).await.unwrap());
    }
    let mut readers = Vec::new();
    for relay in [&first, &second, &third] {
        readers.push(subscriber(relay).await);
    }
    for reader in &mut readers {
        subscribe(reader, &name).await;
    }
    for writer in &mut writers {
        writer.wanted().await.unwrap();
    }
    // Both relays ask each other, for their own readers; when those have what is written now, they are all subscribed.
    let sent = objects(4, 10);
    let mut finished = Vec::new();
    for mut writer in writers {
        let sent = sent.clone();
        finished.push(actix_rt::spawn(async move {
            write(&mut writer, &sent).await;
            writer.finish().await.unwrap();
        }));
    }
    for (at, reader) in readers.iter_mut().enumerate() {
        let (got, gone) = read_to_the_end(reader).await;
        let places =
            |objects: &[common::mesh::Object]| objects.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        assert_eq!(places(&got), places(&sent), "each object once, reader {at}");
        assert!(got == sent, "and whole, reader {at}");
        assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
    }
    for finished in finished {
        finished.await.unwrap();
    }
}

/// D14-PUB-1, decision 0029
#[test]
fn announced_by_both() {
    run(|| once_everywhere(1, Flow::Announce));
}

/// D14-PUB-1, decision 0029
#[test]
fn published_by_both_on_two_shards() {
    run(|| once_everywhere(2, Flow::Publish));
}

/// Decision 0029: when the only reader of a third relay has left, neither origin keeps the other's publisher busy.
#[test]
fn nobody_asks_for_ever() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let third = Member::edge(&ca, 3, &[]).but(patient).start().await;
        let second = Member::edge(&ca, 2, &[&third]).but(patient).start().await;
        let first = Member::edge(&ca, 1, &[&second, &third])
            .but(patient)
            .start()
            .await;
        let name = track("mesh", "video");
        let mut publishers = [publisher(&first).await, publisher(&second).await];
        let mut writers = Vec::new();
        for publisher in &mut publishers {
            writers.push(publisher.publish(name.clone(), Flow::Announce).await.unwrap());
        }
        let mut reader = subscriber(&third).await;
        subscribe(&mut reader, &name).await;
        for writer in &mut writers {
            writer.wanted().await.unwrap();
        }
        reader.close().await;
        for writer in &mut writers {
            writer.unwanted().await.unwrap();
        }
    });
}
