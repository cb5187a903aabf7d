//! A track that breaks the rules for tracks ends for its subscribers, and nothing else does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::raw::{CODEC, Raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// What the publisher sends after object 4 of group 3, which stands in subgroup 0 and is 3 bytes long.
enum Fault {
    /// Object 6 of another subgroup, with this extension block.
    Extensions(&'static [u8]),
    /// Object 4 again, in this subgroup and of this length.
    Copy(u64, u64),
    /// Object 2 as the end of the group.
    GroupEnd,
    Datagram,
}

async fn breaks(publisher: &mut Raw, fault: &Fault) {
    let (subgroup, id, status, extensions, payload_len) = match *fault {
        Fault::Extensions(block) => (1, 6, ObjectStatus::Normal, block, 0),
        Fault::Copy(subgroup, len) => (subgroup, 4, ObjectStatus::Normal, &[][..], len),
        Fault::GroupEnd => (1, 2, ObjectStatus::EndOfGroup, &[][..], 0),
        Fault::Datagram => return publisher.datagram(ALIAS, Location::new(4, 0), b"late"),
    };
    let header = SubgroupHeader {
        alias: ALIAS,
        group: 3,
        subgroup: SubgroupIdMode::Explicit(subgroup),
        priority: 128,
        has_extensions: true,
        end_of_group: false,
    };
    let mut stream = publisher.open_with(header).await;
    let object = ObjectHeader {
        id,
        status,
        extensions: Bytes::from_static(extensions),
        payload_len,
    };
    let mut bytes = BytesMut::new();
    CODEC
        .encode_object_header(true, None, &object, &mut bytes)
        .unwrap();
    bytes.extend_from_slice(&[7; 9][..usize::try_from(payload_len).unwrap()]);
    stream.write(bytes.freeze()).await;
    stream.fin();
}

async fn ends_alone(shards: usize) {
    // codepoint-free: blocks as a publisher writes them. MOQT-14 §11
    let cases = [
        ("gap-twice", Fault::Extensions(&[0x3e, 1, 0x3e, 1])),
        ("gap-over-object", Fault::Extensions(&[0x3e, 2])),
        ("gap-too-large", Fault::Extensions(&[0x3e, 7])),
        ("group-gap-too-large", Fault::Extensions(&[0x3c, 4])),
        (
            "immutable-in-immutable",
            Fault::Extensions(&[0x0b, 3, 0x0b, 1, 0]),
        ),
        ("immutable-without-pairs", Fault::Extensions(&[0x0b, 2, 0x21, 9])),
        ("another-length", Fault::Copy(0, 5)),
        ("another-subgroup", Fault::Copy(2, 3)),
        ("end-before-object", Fault::GroupEnd),
        ("streams-and-datagrams", Fault::Datagram),
    ];
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut publisher = placement.raw_on(&relay, 0).await;
    let namespace = track("malformed", "any");
    publisher.announce(namespace.namespace()).await;
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let good = track("malformed", "good");
    let good_id = subscriber.subscribe(&good, NEWEST).await;
    publisher.serve(&good, ALIAS + 1).await;
    let good_alias = subscriber.answer(good_id).await.unwrap().alias;
    for (round, (case, fault)) in cases.iter().enumerate() {
        let name = track("malformed", case);
        let id = subscriber.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut first = publisher.open(ALIAS, 3, SubgroupIdMode::Zero).await;
        first.object(4, b"abc").await;
        first.fin();
        subscriber.until_object(alias, (3, 4)).await;
        breaks(&mut publisher, fault).await;
        // MOQT-14 §2.5 [D14-MAL-1]: subscribers are told why, the publisher is let go, and no session ends.
        let done = subscriber.done(id).await;
        assert_eq!(done.status, PublishDoneStatus::MalformedTrack, "{case}");
        assert_eq!(Raw::places(&subscriber.log, alias), [(3, 4)], "{case}");
        publisher
            .control(|message| {
                matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
            })
            .await;
        let round = u64::try_from(round).unwrap();
        publisher.group(ALIAS + 1, round, 1).await;
        subscriber.until_object(good_alias, (round, 0)).await;
    }
}

/// D14-DATA-10 D14-DATA-11 D14-DATA-15 D14-CACHE-2 D14-MAL-1 D14-MAL-2
#[test]
fn it_ends_alone_one_shard() {
    run(|| ends_alone(1));
}

/// D14-DATA-10 D14-DATA-11 D14-DATA-15 D14-CACHE-2 D14-MAL-1 D14-MAL-2
#[test]
fn it_ends_alone_two_shards() {
    run(|| ends_alone(2));
}
