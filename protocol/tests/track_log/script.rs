//! Scripts: what publishers write, cut into chunks and interleaved.

use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::relay::track_log::{Append, LogDatagram, StreamEnd};
use proptest::prelude::*;

/// One stream of a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    group: u64,
    subgroup: u64,
    first: u64,
    /// Payload length of each object.
    objects: Vec<usize>,
    /// Payload comes in pieces of this size.
    piece: usize,
    /// Chunks after which the stream stops, wherever that is.
    cut: usize,
    end: Option<StreamEnd>,
    end_of_group: bool,
}

/// Payload that tells its place, so that no byte can stand for another unnoticed.
fn payload(group: u64, id: u64, len: usize) -> Bytes {
    let byte = |i| u8::try_from((group * 89 + id * 31 + i as u64 * 7) % 256).unwrap();
    (0..len).map(byte).collect()
}

fn header(group: u64, id: u64, len: usize) -> ObjectHeader {
    let extensions = if id.is_multiple_of(3) {
        // codepoint-free: an extension of type 0x21 that nobody knows, with three bytes that tell its place.
        let value = payload(group + 1, id, 3);
        [&[0x21, 3][..], &value].concat().into()
    } else {
        Bytes::new()
    };
    ObjectHeader {
        id,
        status: ObjectStatus::Normal,
        extensions,
        payload_len: len as u64,
    }
}

impl Source {
    fn chunks(&self, stream: u64, stride: u64, offset: u64) -> Vec<Append> {
        let mut chunks = vec![Append::SubgroupOpened {
            stream,
            group: self.group,
            subgroup: self.subgroup,
            priority: 128,
            has_extensions: true,
            end_of_group: self.end_of_group,
        }];
        for (k, &len) in self.objects.iter().enumerate() {
            let id = (self.first + k as u64) * stride + offset;
            // Two sources of one object agree on its length.
            let len = if stride == SHARED {
                (id * 13 % 29) as usize
            } else {
                len
            };
            let header = header(self.group, id, len);
            chunks.push(Append::ObjectStarted { stream, header });
            let whole = payload(self.group, id, len);
            for at in (0..len).step_by(self.piece) {
                let bytes = whole.slice(at..len.min(at + self.piece));
                chunks.push(Append::Payload { stream, bytes });
            }
        }
        chunks.truncate(self.cut.max(1));
        chunks.extend(self.end.map(|end| Append::SubgroupClosed { stream, end }));
        chunks
    }
}

/// Object ids of shared subgroups: every second id belongs to each of two subgroups.
const SHARED: u64 = 2;

fn source() -> impl Strategy<Value = Source> {
    let end = prop_oneof![
        3 => Just(Some(StreamEnd::Fin)),
        2 => Just(Some(StreamEnd::Reset(ResetCode::Cancelled))),
        1 => Just(None),
    ];
    let place = (0u64..3, 0u64..2, 0u64..3);
    let shape = (
        prop::collection::vec(0usize..40, 0..8),
        1usize..16,
        prop_oneof![Just(99), 1usize..20],
    );
    (place, shape, end, any::<bool>()).prop_map(|(place, shape, end, end_of_group)| Source {
        group: place.0,
        subgroup: place.1,
        first: place.2,
        objects: shape.0,
        piece: shape.1,
        cut: shape.2,
        end,
        end_of_group,
    })
}

/// Takes the next chunk of a stream that `picks` names until all are taken.
fn interleave(streams: Vec<Vec<Append>>, picks: &[u8]) -> Vec<Append> {
    let mut streams: Vec<_> = streams.into_iter().map(Vec::into_iter).collect();
    let mut picks = picks.iter().copied().cycle();
    let mut script = Vec::new();
    while !streams.is_empty() {
        let pick = usize::from(picks.next().unwrap_or(0)) % streams.len();
        match streams[pick].next() {
            Some(chunk) => script.push(chunk),
            None => drop(streams.remove(pick)),
        }
    }
    script
}

/// Every stream is a subgroup of its own and no object comes twice.
pub(crate) fn distinct() -> impl Strategy<Value = Vec<Append>> {
    let sources = prop::collection::vec(source(), 1..6);
    (sources, prop::collection::vec(any::<u8>(), 1..64)).prop_map(|(sources, picks)| {
        let stride = 7;
        let streams = sources.into_iter().zip(0..).map(|(mut source, i)| {
            source.subgroup = i;
            // A bit that is contradicted by another stream is a matter of its own.
            source.end_of_group = false;
            source.chunks(100 + i, stride, i)
        });
        interleave(streams.collect(), &picks)
    })
}

/// Several streams bring the same subgroups, overlapping in any way, and say when a group ends.
pub(crate) fn overlapping() -> impl Strategy<Value = Vec<Append>> {
    let sources = prop::collection::vec(source(), 1..8);
    (sources, prop::collection::vec(any::<u8>(), 1..64)).prop_map(|(sources, picks)| {
        let streams = sources.into_iter().zip(0..);
        let streams = streams.map(|(source, i)| source.chunks(100 + i, SHARED, source.subgroup));
        interleave(streams.collect(), &picks)
    })
}

/// Datagrams, some of them twice.
pub(crate) fn datagrams() -> impl Strategy<Value = Vec<Append>> {
    prop::collection::vec((0u64..3, 0u64..20), 0..60).prop_map(|places| {
        let datagram = |(group, object)| LogDatagram {
            location: Location::new(group, object),
            priority: 128,
            extensions: Bytes::new(),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload: payload(group, object, 20),
        };
        places
            .into_iter()
            .map(|place| Append::Datagram(datagram(place)))
            .collect()
    })
}
