//! What leaves towards one peer, read as that peer reads it: whoever it is, no stream ends with FIN inside an object,
//! nothing follows an end, and every object is whole or cut by a reset.

use crate::messages::CODEC;
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::object::{DatagramObject, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::BTreeMap;

/// One object as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) at: Location,
    pub(crate) subgroup: u64,
    pub(crate) status: ObjectStatus,
    pub(crate) priority: u8,
    pub(crate) extensions: Bytes,
    pub(crate) payload_len: u64,
    pub(crate) payload: Vec<u8>,
}

impl Got {
    pub(crate) fn is_whole(&self) -> bool {
        self.payload.len() as u64 == self.payload_len
    }
}

/// A stream on which something came.
#[derive(Debug)]
pub(crate) struct Came {
    reader: StreamReader,
    pub(crate) header: Option<SubgroupHeader>,
    pub(crate) fetch: Option<RequestId>,
    pub(crate) objects: Vec<Got>,
    pub(crate) end: Option<StreamEnd>,
}

/// Streams and datagrams to one peer.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) streams: BTreeMap<u64, Came>,
    pub(crate) datagrams: Vec<DatagramObject>,
    next: u64,
    /// Bytes that it takes, and streams that may be open.
    pub(crate) room: usize,
    pub(crate) max_open: usize,
    pub(crate) open: usize,
    /// The connection is gone: nothing may be sent.
    pub(crate) is_gone: bool,
}

impl Wire {
    pub(crate) const fn new(room: usize, max_open: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            datagrams: Vec::new(),
            next: 0,
            room,
            max_open,
            open: 0,
            is_gone: false,
        }
    }

    pub(crate) fn open(&mut self) -> Option<u64> {
        if self.is_gone || self.open >= self.max_open {
            return None;
        }
        self.open += 1;
        let stream = self.next;
        self.next += 1;
        let came = Came {
            reader: StreamReader::new(CODEC, DataLimits::default()),
            header: None,
            fetch: None,
            objects: Vec::new(),
            end: None,
        };
        self.streams.insert(stream, came);
        Some(stream)
    }

    /// Takes of `bytes` what there is room for. True when that is all of it.
    pub(crate) fn write(&mut self, stream: u64, bytes: &mut Bytes) -> bool {
        let take = self.room.min(bytes.len());
        self.room -= take;
        let piece = bytes.split_to(take);
        let came = self.streams.get_mut(&stream).unwrap();
        assert!(
            came.end.is_none() && !self.is_gone,
            "bytes after the end of stream {stream}"
        );
        came.reader.push(piece);
        came.read();
        bytes.is_empty()
    }

    pub(crate) fn end(&mut self, stream: u64, end: StreamEnd) {
        let came = self.streams.get_mut(&stream).unwrap();
        assert!(
            came.end.replace(end).is_none() && !self.is_gone,
            "stream {stream} ends twice"
        );
        self.open -= 1;
        if end == StreamEnd::Fin {
            // MOQT-14 §10.4.3
            came.reader.fin().unwrap();
            assert!(came.objects.iter().all(Got::is_whole), "FIN inside an object");
        }
    }

    pub(crate) fn datagram(&mut self, object: &DatagramObject) {
        assert!(!self.is_gone);
        let mut bytes = BytesMut::new();
        CODEC.encode_datagram_header(object, &mut bytes).unwrap();
        bytes.extend_from_slice(&object.payload);
        let read = CODEC
            .decode_datagram(bytes.freeze(), &DataLimits::default())
            .unwrap();
        assert_eq!(&read, object);
        self.datagrams.push(read);
    }

    /// Objects that came whole on streams of subgroups.
    pub(crate) fn whole(&self) -> impl Iterator<Item = (&Came, &Got)> {
        let subgroups = self.streams.values().filter(|came| came.header.is_some());
        subgroups.flat_map(|came| {
            came.objects
                .iter()
                .filter(|got| got.is_whole())
                .map(move |got| (came, got))
        })
    }

    /// The streams that answer a fetch: one at most.
    pub(crate) fn fetched(&self, request: RequestId) -> Option<&Came> {
        let mut all = self.streams.values().filter(|came| came.fetch == Some(request));
        let first = all.next();
        assert!(all.next().is_none(), "two streams for one fetch");
        first
    }
}

impl Came {
    fn read(&mut self) {
        while let Some(item) = self.reader.next().unwrap() {
            match item {
                StreamItem::SubgroupHeader(header) => self.header = Some(header),
                StreamItem::FetchHeader(request) => self.fetch = Some(request),
                StreamItem::Object(object) => {
                    let header = self.header.unwrap();
                    self.objects.push(Got {
                        at: Location::new(header.group, object.id),
                        subgroup: match header.subgroup {
                            SubgroupIdMode::Explicit(id) => id,
                            // MOQT-14 §10.4.2
                            SubgroupIdMode::FirstObject => {
                                panic!("a relay names no subgroup by its first object")
                            }
                            SubgroupIdMode::Zero => 0,
                        },
                        status: object.status,
                        priority: header.priority,
                        extensions: object.extensions,
                        payload_len: object.payload_len,
                        payload: Vec::new(),
                    });
                }
                StreamItem::FetchObject(object) => self.objects.push(Got {
                    at: object.location,
                    subgroup: object.subgroup,
                    status: object.status,
                    priority: object.priority,
                    extensions: object.extensions,
                    payload_len: object.payload_len,
                    payload: Vec::new(),
                }),
                StreamItem::Payload(bytes) => {
                    self.objects.last_mut().unwrap().payload.extend_from_slice(&bytes)
                }
            }
        }
    }
}
