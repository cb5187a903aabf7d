//! The publish flow, played by bytes: PUBLISH, PUBLISH_OK, and a subscriber that gets exactly what was sent.

use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::stream::{Datagram, Subgroup};
use crate::common::wire::hex;

const NAMESPACE: &str = "live/cam1";

/// V14-D1 to V14-D7 with the alias replaced by a blank to fill: type, then everything after the alias.
const SUBGROUPS: &[(&str, &str, &str)] = &[
    ("V14-D1", "14", "00000000 0461626364 000465666768"),
    (
        "V14-D2",
        "15",
        "000000001a04c00000008257dcd3404d0e747261636549443a313233343536046162636400000465666768",
    ),
    ("V14-D3", "12", "03800501aa0301bb"),
    ("V14-D4", "10", "0380000000000003"),
    ("V14-D5", "10", "0380040001000004"),
    ("V14-D6", "11", "0a800a043c023e0201cc"),
    ("V14-D7", "11", "008000040b02040901dd"),
    // One object "ab" under each of the twelve header types (V14-S1 to V14-S12).
    ("V14-S1", "10", "410080 00 026162"),
    ("V14-S2", "11", "410080 00 00 026162"),
    ("V14-S3", "12", "410080 05 026162"),
    ("V14-S4", "13", "410080 05 00 026162"),
    ("V14-S5", "14", "41000780 00 026162"),
    ("V14-S6", "15", "41000780 00 00 026162"),
    ("V14-S7", "18", "410080 00 026162"),
    ("V14-S8", "19", "410080 00 00 026162"),
    ("V14-S9", "1a", "410080 05 026162"),
    ("V14-S10", "1b", "410080 05 00 026162"),
    ("V14-S11", "1c", "41000780 00 026162"),
    ("V14-S12", "1d", "41000780 00 00 026162"),
];

/// V14-G1 to V14-G10, split at the alias in the same way.
const DATAGRAMS: &[(&str, &str, &str)] = &[
    ("V14-G1", "00", "0a44d27f7061796c6f6164"),
    ("V14-G2", "01", "0a44d27f07407b04000102037061796c6f6164"),
    ("V14-G3", "02", "0a44d27f7061796c6f6164"),
    ("V14-G4", "03", "0a44d27f07407b04000102037061796c6f6164"),
    ("V14-G5", "04", "0a7f7061796c6f6164"),
    ("V14-G6", "05", "0a7f07407b04000102037061796c6f6164"),
    ("V14-G7", "06", "0a7f7061796c6f6164"),
    ("V14-G8", "07", "0a7f07407b04000102037061796c6f6164"),
    ("V14-G9", "20", "0a44d27f04"),
    ("V14-G10", "21", "0a44d27f07407b040001020300"),
];

/// A subscriber that waits and a publisher that comes after it, on a track of their own.
async fn pair(relay: &crate::common::relay::Relay, track: &str, alias: u64) -> (RawPeer, RawPeer, u64) {
    let mut subscriber = RawPeer::connect(relay.address).await;
    let id = subscriber.send_subscribe(NAMESPACE, track).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_until_wanted(NAMESPACE, track, alias).await;
    let below = subscriber.expect_subscribe_ok(id).await;
    (publisher, subscriber, below)
}

/// MOQT-14 §8.5 [D14-DATA-9]: a relay changes nothing but the alias.
#[tokio::test]
async fn every_subgroup_form_passes_unchanged() {
    let relay = Options::default().patient().start().await;
    for (vector, kind, rest) in SUBGROUPS {
        let (publisher, subscriber, below) = pair(&relay, vector, 7).await;
        let sent = hex(&format!("{kind} 07 {rest}"));
        publisher.open(&sent).await.finish().expect("an open stream");
        let mut incoming = subscriber.incoming().await;
        assert_eq!(
            incoming.header().await.expect("no reset").alias,
            below,
            "{vector}"
        );
        let got = incoming.subgroup().await.expect("no reset");
        assert_eq!(got, Subgroup::parse(&sent), "{vector}");
    }
}

/// MOQT-14 §10.3 [D14-DATA-12]: each datagram form, too.
#[tokio::test]
async fn every_datagram_form_passes_unchanged() {
    let relay = Options::default().patient().start().await;
    for (vector, kind, rest) in DATAGRAMS {
        let (publisher, subscriber, below) = pair(&relay, vector, 7).await;
        let sent = hex(&format!("{kind} 07 {rest}"));
        publisher.datagram(&sent);
        let got = subscriber.next_datagram().await;
        assert_eq!(
            got,
            Datagram {
                alias: below,
                ..Datagram::parse(&sent)
            },
            "{vector}"
        );
    }
}

/// MOQT-14 §9.13 [D14-SUB-24]: objects that a publisher sends without waiting for PUBLISH_OK are not lost.
#[tokio::test]
async fn objects_before_publish_ok_arrive() {
    let relay = Options::default().patient().start().await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let subscribe = subscriber.send_subscribe(NAMESPACE, "early").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    let publish = publisher.send_publish(NAMESPACE, "early", 7).await;
    publisher.send_group(7, 0, &[b"first", b"second"]).await;
    publisher.expect_publish_ok(publish).await;
    subscriber.expect_subscribe_ok(subscribe).await;
    let got = subscriber.incoming().await.subgroup().await.expect("no reset");
    let payloads: Vec<&[u8]> = got
        .objects
        .iter()
        .map(|object| object.payload.as_slice())
        .collect();
    assert_eq!(payloads, [b"first".as_slice(), b"second".as_slice()]);
}

/// MOQT-14 §10.4.2 [D14-DATA-16]: a stream that overtakes the PUBLISH which names its alias waits for it.
#[tokio::test]
async fn objects_before_publish_arrive() {
    let relay = Options::default().patient().start().await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let subscribe = subscriber.send_subscribe(NAMESPACE, "overtaken").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.send_group(7, 0, &[b"first", b"second"]).await;
    let publish = publisher.send_publish(NAMESPACE, "overtaken", 7).await;
    publisher.expect_publish_ok(publish).await;
    subscriber.expect_subscribe_ok(subscribe).await;
    let got = subscriber.incoming().await.subgroup().await.expect("no reset");
    assert_eq!(got.objects.len(), 2);
}

/// MOQT-14 §10.4.3 [D14-CLOSE-1, D14-DATA-22]: a reset upstream is a reset downstream, never a FIN.
#[tokio::test]
async fn a_reset_stays_a_reset() {
    let relay = Options::default().patient().start().await;
    let (publisher, subscriber, _) = pair(&relay, "reset", 7).await;
    // Header, object 0 whole, object 1 of 9 bytes of which 4 come.
    let mut stream = publisher
        .open(&hex("14 07 00 00 80  00 02 6162  00 09 63636363"))
        .await;
    let mut incoming = subscriber.incoming().await;
    assert_eq!(
        incoming
            .object()
            .await
            .expect("no reset yet")
            .expect("object 0")
            .payload,
        b"ab"
    );
    stream.reset(1_u32.into()).expect("an open stream");
    let end = incoming.object().await;
    assert!(end.is_err(), "the broken subgroup ended with {end:?}");
}

/// MOQT-14 §9.12 [D14-SUB-19, D14-SUB-20]: the end reaches the subscriber after its streams, with the exact count.
#[tokio::test]
async fn the_end_carries_the_exact_stream_count() {
    let relay = Options::default().patient().start().await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let subscribe = subscriber.send_subscribe(NAMESPACE, "counted").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    let publish = publisher.send_publish(NAMESPACE, "counted", 7).await;
    publisher.expect_publish_ok(publish).await;
    subscriber.expect_subscribe_ok(subscribe).await;
    for group in 0..4 {
        publisher.send_group(7, group, &[b"one", b"two"]).await;
    }
    publisher.publish_done(publish, 4).await;
    let done = subscriber
        .control
        .expect(crate::common::wire::kind::PUBLISH_DONE)
        .await;
    let mut fields = done.fields();
    assert_eq!(
        (fields.varint(), fields.varint(), fields.varint()),
        (Some(subscribe), Some(2), Some(4)),
        "{done:x?}"
    );
    let mut groups = Vec::new();
    for _ in 0..4 {
        let got = subscriber.incoming().await.subgroup().await.expect("no reset");
        assert_eq!(got.objects.len(), 2);
        groups.push(got.group);
    }
    groups.sort_unstable();
    assert_eq!(groups, [0, 1, 2, 3]);
}
