//! V14-S, V14-D, V14-G and V14-F: what each data stream and datagram means.

use bytes::Bytes;
use laps_protocol::moqt::data::StreamItem;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::object::{
    DatagramObject, FetchObjectHeader, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode,
};

/// Type 123, four bytes.
const EXTENSION: &[u8] = b"\x40\x7b\x04\x00\x01\x02\x03";

/// The twelve types of subgroup headers, all with alias 2, group 256, priority 128 and, where it has a field,
/// subgroup 7. MOQT-14 §10.4.2 [D14-DATA-2].
pub(crate) fn subgroup_headers() -> Vec<(&'static str, SubgroupHeader)> {
    use SubgroupIdMode::{Explicit, FirstObject, Zero};
    [
        ("V14-S1", Zero, false, false),
        ("V14-S2", Zero, true, false),
        ("V14-S3", FirstObject, false, false),
        ("V14-S4", FirstObject, true, false),
        ("V14-S5", Explicit(7), false, false),
        ("V14-S6", Explicit(7), true, false),
        ("V14-S7", Zero, false, true),
        ("V14-S8", Zero, true, true),
        ("V14-S9", FirstObject, false, true),
        ("V14-S10", FirstObject, true, true),
        ("V14-S11", Explicit(7), false, true),
        ("V14-S12", Explicit(7), true, true),
    ]
    .map(|(id, subgroup, has_extensions, end_of_group)| {
        let header = SubgroupHeader {
            alias: 2,
            group: 256,
            subgroup,
            priority: 128,
            has_extensions,
            end_of_group,
        };
        (id, header)
    })
    .into()
}

fn header(group: u64, subgroup: SubgroupIdMode, priority: u8, has_extensions: bool) -> StreamItem {
    StreamItem::SubgroupHeader(SubgroupHeader {
        alias: 2,
        group,
        subgroup,
        priority,
        has_extensions,
        end_of_group: false,
    })
}

fn object(id: u64, extensions: &'static [u8], payload: &'static [u8]) -> [StreamItem; 2] {
    [
        StreamItem::Object(ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::from_static(extensions),
            payload_len: payload.len() as u64,
        }),
        StreamItem::Payload(Bytes::from_static(payload)),
    ]
}

fn status(id: u64, status: ObjectStatus) -> StreamItem {
    StreamItem::Object(ObjectHeader {
        id,
        status,
        extensions: Bytes::new(),
        payload_len: 0,
    })
}

fn fetched(
    location: Location,
    subgroup: u64,
    extensions: &'static [u8],
    payload: &'static [u8],
) -> [StreamItem; 2] {
    [
        StreamItem::FetchObject(FetchObjectHeader {
            location,
            subgroup,
            priority: 128,
            status: ObjectStatus::Normal,
            extensions: Bytes::from_static(extensions),
            payload_len: payload.len() as u64,
        }),
        StreamItem::Payload(Bytes::from_static(payload)),
    ]
}

/// Every whole stream with its items.
pub(crate) fn streams() -> Vec<(&'static str, Vec<StreamItem>)> {
    use SubgroupIdMode::{Explicit, FirstObject, Zero};
    let stream = |start: StreamItem, objects: Vec<[StreamItem; 2]>| {
        std::iter::once(start)
            .chain(objects.into_iter().flatten())
            .collect::<Vec<_>>()
    };
    vec![
        (
            "V14-D1",
            stream(
                header(0, Explicit(0), 0, false),
                vec![object(0, b"", b"abcd"), object(1, b"", b"efgh")],
            ),
        ),
        (
            "V14-D2",
            stream(
                header(0, Explicit(0), 0, true),
                vec![
                    object(
                        0,
                        b"\x04\xc0\x00\x00\x00\x82\x57\xdc\xd3\x40\x4d\x0etraceID:123456",
                        b"abcd",
                    ),
                    object(1, b"", b"efgh"),
                ],
            ),
        ),
        (
            // The subgroup is 5, which is for the consumer to take from the first object.
            "V14-D3",
            stream(
                header(3, FirstObject, 128, false),
                vec![object(5, b"", b"\xaa"), object(9, b"", b"\xbb")],
            ),
        ),
        (
            "V14-D4",
            vec![
                header(3, Zero, 128, false),
                status(0, ObjectStatus::Normal),
                status(1, ObjectStatus::EndOfGroup),
            ],
        ),
        (
            "V14-D5",
            vec![
                header(3, Zero, 128, false),
                status(4, ObjectStatus::DoesNotExist),
                status(5, ObjectStatus::EndOfTrack),
            ],
        ),
        (
            "V14-D6",
            stream(
                header(10, Zero, 128, true),
                vec![object(10, b"\x3c\x02\x3e\x02", b"\xcc")],
            ),
        ),
        (
            "V14-D7",
            stream(
                header(0, Zero, 128, true),
                vec![object(0, b"\x0b\x02\x04\x09", b"\xdd")],
            ),
        ),
        ("V14-F1", vec![StreamItem::FetchHeader(RequestId(14))]),
        (
            "V14-F2",
            stream(
                StreamItem::FetchHeader(RequestId(14)),
                vec![fetched(Location::new(3, 1), 0, b"", b"hi")],
            ),
        ),
        (
            "V14-F3",
            stream(
                StreamItem::FetchHeader(RequestId(14)),
                vec![fetched(
                    Location::new(3, 2),
                    0,
                    b"\x01\x05\x01\x02\x03\x04\x05",
                    b"yo",
                )],
            ),
        ),
        (
            "V14-F4",
            vec![
                StreamItem::FetchHeader(RequestId(14)),
                StreamItem::FetchObject(FetchObjectHeader {
                    location: Location::new(3, 3),
                    subgroup: 0,
                    priority: 128,
                    status: ObjectStatus::EndOfGroup,
                    extensions: Bytes::new(),
                    payload_len: 0,
                }),
            ],
        ),
        (
            "V14-F5",
            stream(
                StreamItem::FetchHeader(RequestId(16)),
                vec![fetched(Location::new(4, 7), 7, b"", b"\xee")],
            ),
        ),
    ]
}

/// The ten types of datagrams, all with alias 12, group 10 and priority 127. MOQT-14 §10.3.1 [D14-DATA-12].
pub(crate) fn datagrams() -> Vec<(&'static str, DatagramObject)> {
    let payload = |object: u64, extensions: &'static [u8], end_of_group: bool| DatagramObject {
        alias: 12,
        location: Location::new(10, object),
        priority: 127,
        extensions: Bytes::from_static(extensions),
        end_of_group,
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(b"payload"),
    };
    let status = |extensions: &'static [u8], status: ObjectStatus| DatagramObject {
        status,
        payload: Bytes::new(),
        ..payload(1234, extensions, false)
    };
    vec![
        ("V14-G1", payload(1234, b"", false)),
        ("V14-G2", payload(1234, EXTENSION, false)),
        ("V14-G3", payload(1234, b"", true)),
        ("V14-G4", payload(1234, EXTENSION, true)),
        ("V14-G5", payload(0, b"", false)),
        ("V14-G6", payload(0, EXTENSION, false)),
        ("V14-G7", payload(0, b"", true)),
        ("V14-G8", payload(0, EXTENSION, true)),
        ("V14-G9", status(b"", ObjectStatus::EndOfTrack)),
        ("V14-G10", status(EXTENSION, ObjectStatus::Normal)),
    ]
}
