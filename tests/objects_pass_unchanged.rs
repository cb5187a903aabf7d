//! A relay changes no object: not its payload, whatever parameters either side says, nor its extensions, nor the stream
//! that its subgroup has.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::raw::{CODEC, News, Raw, raw, subscribe};
use common::{relay, run, settings, track};
use laps_actors::transport::SendGuard;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, KeyValue, MessageParams, Subscribe, SubscribeFilter, SubscribeOk, Value,
};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use std::collections::BTreeMap;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const ALIAS: u64 = 70;

/// Extensions that the draft knows, also inside Immutable Extensions, and ones that nobody knows.
/// MOQT-14 §11.1, §11.2, §11.3
const BLOCKS: [&[u8]; 4] = [
    &[],
    &[0x3e, 0, 0x7e, 0x41, 0x00],
    &[0x0b, 5, 0x3e, 1, 0x21, 1, b'x', 0x21, 3, b'a', b'b', b'c'],
    &[0x40, 0x7b, 0, 0x40, 0x7b, 0],
];

struct Writer {
    stream: SendGuard,
    previous: Option<u64>,
}

impl Writer {
    async fn open(publisher: &mut Raw, subgroup: u64) -> Self {
        let header = SubgroupHeader {
            alias: ALIAS,
            group: 0,
            subgroup: SubgroupIdMode::Explicit(subgroup),
            priority: 7,
            has_extensions: true,
            end_of_group: false,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
        let mut stream = publisher.conn.open_uni().await.unwrap();
        stream.send(&mut [bytes.freeze()]).await.unwrap();
        Self {
            stream,
            previous: None,
        }
    }

    async fn object(&mut self, id: u64, extensions: &'static [u8], payload: Vec<u8>) {
        let header = ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::from_static(extensions),
            payload_len: payload.len() as u64,
        };
        let mut bytes = BytesMut::new();
        CODEC
            .encode_object_header(true, self.previous, &header, &mut bytes)
            .unwrap();
        self.previous = Some(id);
        let pieces = &mut [bytes.freeze(), Bytes::from(payload)];
        self.stream.send(pieces).await.unwrap();
    }
}

fn params(delivery_timeout_ms: Option<u64>, key: u64) -> MessageParams {
    MessageParams {
        delivery_timeout_ms,
        unknown: vec![KeyValue {
            key,
            value: Value::Bytes(Bytes::from_static(b"rot13")),
        }],
        ..MessageParams::default()
    }
}

/// By object id: subgroup, extensions and payload, and that no two subgroups share a stream.
fn seen(log: &[News]) -> BTreeMap<u64, (u64, Bytes, Vec<u8>)> {
    let (mut subgroups, mut last, mut objects) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for news in log {
        match news {
            News::Stream(number, header) => {
                assert_eq!((header.group, header.priority), (0, 7));
                let subgroup = match header.subgroup {
                    // Subgroup 0 may be said either way.
                    SubgroupIdMode::Zero => 0,
                    SubgroupIdMode::Explicit(subgroup) => subgroup,
                    SubgroupIdMode::FirstObject => panic!("{header:?}"),
                };
                subgroups.insert(*number, subgroup);
            }
            News::Object(number, header) => {
                last.insert(*number, header.id);
                let object = (subgroups[number], header.extensions.clone(), Vec::new());
                assert!(objects.insert(header.id, object).is_none(), "twice");
            }
            News::Payload(number, bytes) => {
                objects.get_mut(&last[number]).unwrap().2.extend_from_slice(bytes)
            }
            _ => {}
        }
    }
    let distinct: std::collections::BTreeSet<_> = subgroups.values().collect();
    assert_eq!(distinct.len(), subgroups.len(), "one stream for each subgroup");
    objects
}

/// D14-PARAM-7 D14-DATA-9 D14-DATA-18 D14-DATA-21
#[test]
fn whatever_the_parameters_say() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("unchanged", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let (mut plain, mut fussy) = (raw(&relay).await, raw(&relay).await);
        let first = plain.subscribe(&name, NEWEST).await;
        let second = fussy.id();
        let asked = Subscribe {
            params: params(Some(600_000), 0x7f),
            priority: 3,
            ..subscribe(&name, NEWEST)
        };
        fussy.say(ControlMessage::Subscribe(second, asked)).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        let ok = SubscribeOk {
            alias: ALIAS,
            expires_ms: 0,
            group_order: GroupOrder::Ascending,
            largest: None,
            params: MessageParams {
                max_cache_duration_ms: Some(600_000),
                ..params(Some(600_000), 0x41)
            },
        };
        publisher.say(ControlMessage::SubscribeOk(upstream, ok)).await;
        plain.answer(first).await.unwrap();
        fussy.answer(second).await.unwrap();

        let mut expected = BTreeMap::new();
        let mut subgroups = [
            Writer::open(&mut publisher, 0).await,
            Writer::open(&mut publisher, 5).await,
            Writer::open(&mut publisher, 9).await,
        ];
        // Three subgroups take turns. Object 1 does not exist, as the gap in the third block says.
        for (n, id) in (2u64..40).enumerate() {
            let which = n % 3;
            let block = match id {
                2 => BLOCKS[2],
                _ => [BLOCKS[0], BLOCKS[1], BLOCKS[3]][n % 3],
            };
            let payload = vec![u8::try_from(id).unwrap(); 1 + n * 1000];
            subgroups[which].object(id, block, payload.clone()).await;
            expected.insert(id, ([0, 5, 9][which], Bytes::from_static(block), payload));
        }
        for mut writer in subgroups {
            writer.stream.finish().unwrap();
        }
        for client in [&mut plain, &mut fussy] {
            client
                .wait(|log| {
                    (log.iter().filter(|news| matches!(news, News::Fin(_))).count() == 3).then_some(())
                })
                .await;
            assert!(seen(&client.log) == expected, "an object was changed");
        }
    });
}
