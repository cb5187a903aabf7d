//! The objects that the client sends.

use super::{CODEC, Raw};
use bytes::{Bytes, BytesMut};
use laps_actors::transport::{SendGuard, StreamError};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{
    DatagramObject, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode, TrackAlias,
};

/// The payload that [`Raw::group`] gives an object.
pub fn payload(group: u64, object: u64) -> Vec<u8> {
    format!("{group}/{object} ").repeat(20).into_bytes()
}

/// The header of a stream with nothing special about it.
const fn header(alias: TrackAlias, group: u64, subgroup: SubgroupIdMode) -> SubgroupHeader {
    SubgroupHeader {
        alias,
        group,
        subgroup,
        priority: 128,
        has_extensions: false,
        end_of_group: false,
    }
}

impl Raw {
    /// Opens a subgroup's stream.
    pub async fn open(&mut self, alias: TrackAlias, group: u64, subgroup: SubgroupIdMode) -> RawStream {
        self.open_with(header(alias, group, subgroup)).await
    }

    /// Opens a subgroup's stream whose last object is the last of its group.
    pub async fn open_last(&mut self, alias: TrackAlias, group: u64, subgroup: SubgroupIdMode) -> RawStream {
        let header = SubgroupHeader {
            end_of_group: true,
            ..header(alias, group, subgroup)
        };
        self.open_with(header).await
    }

    /// Opens a subgroup's stream with this header.
    pub async fn open_with(&mut self, header: SubgroupHeader) -> RawStream {
        let mut stream = RawStream {
            stream: self.conn.open_uni().await.unwrap(),
            previous: None,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
        stream.write(bytes.freeze()).await;
        stream
    }

    /// Writes a whole group on one stream: objects 0 to `objects`, each with its place as payload.
    pub async fn group(&mut self, alias: TrackAlias, group: u64, objects: u64) {
        let stream = self.open(alias, group, SubgroupIdMode::Zero).await;
        stream.objects(group, objects).await;
    }

    /// The same on a stream that says that it is the whole group.
    pub async fn whole_group(&mut self, alias: TrackAlias, group: u64, objects: u64) {
        let stream = self.open_last(alias, group, SubgroupIdMode::Zero).await;
        stream.objects(group, objects).await;
    }

    /// Sends a datagram.
    pub fn datagram(&mut self, alias: TrackAlias, location: Location, payload: &[u8]) {
        let object = DatagramObject {
            alias,
            location,
            priority: 128,
            extensions: Bytes::new(),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload: Bytes::copy_from_slice(payload),
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_datagram_header(&object, &mut bytes).unwrap();
        bytes.extend_from_slice(payload);
        self.conn.send_datagram(bytes.freeze()).unwrap();
    }
}

/// A subgroup's stream that is being written.
pub struct RawStream {
    stream: SendGuard,
    previous: Option<u64>,
}

impl RawStream {
    /// Writes objects 0 to `objects` of the group, and ends.
    async fn objects(mut self, group: u64, objects: u64) {
        for object in 0..objects {
            self.object(object, &payload(group, object)).await;
        }
        self.fin();
    }

    /// Writes a whole object.
    pub async fn object(&mut self, id: u64, payload: &[u8]) {
        self.begin(id, payload.len() as u64).await;
        self.write(Bytes::copy_from_slice(payload)).await;
    }

    /// Writes what stands before an object's payload.
    pub async fn begin(&mut self, id: u64, payload_len: u64) {
        self.head(id, ObjectStatus::Normal, payload_len).await;
    }

    /// Writes a place at which no object stands, and why.
    pub async fn status(&mut self, id: u64, status: ObjectStatus) {
        self.head(id, status, 0).await;
    }

    async fn head(&mut self, id: u64, status: ObjectStatus, payload_len: u64) {
        let header = ObjectHeader {
            id,
            status,
            extensions: Bytes::new(),
            payload_len,
        };
        let mut bytes = BytesMut::new();
        CODEC
            .encode_object_header(false, self.previous, &header, &mut bytes)
            .unwrap();
        self.previous = Some(id);
        self.write(bytes.freeze()).await;
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: Bytes) {
        self.stream.send(&mut [bytes]).await.unwrap();
    }

    pub fn fin(mut self) {
        self.stream.finish().unwrap();
    }

    pub fn reset(mut self, code: u64) {
        self.stream.reset(code);
    }

    /// Waits until the relay refuses the stream; the value is its code.
    pub async fn stopped(mut self) -> u64 {
        loop {
            // An object of no bytes is the least that can be written.
            let sent = self.stream.send(&mut [Bytes::from_static(&[0, 0, 0])]).await;
            match sent {
                Ok(()) => actix_rt::task::yield_now().await,
                Err(StreamError::Stopped { code }) => return code,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
