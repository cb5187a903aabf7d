//! The fields that control messages are made of.

use crate::peering::error::DecodeError;
use crate::peering::hash::{FullNameHash, TrackHash};
use crate::peering::limits::Limits;
use crate::peering::message::SnsId;
use crate::peering::node::{Degrees, NodeId};
use crate::wire::cursor::{Reader, Stop};
use bytes::{BufMut, Bytes, BytesMut};

/// Reads the body of one control message, which is there whole: what is missing never comes.
pub(super) struct FieldReader<'a> {
    reader: Reader<'a>,
    pub(super) limits: &'a Limits,
    pub(super) section: &'static str,
}

impl<'a> FieldReader<'a> {
    /// A reader of `body`; complaints name `section`.
    pub(super) const fn new(body: &'a Bytes, limits: &'a Limits, section: &'static str) -> Self {
        Self {
            reader: Reader::new(body),
            limits,
            section,
        }
    }

    /// A breach of the section that defines the message.
    pub(super) fn breach(&self, what: String) -> DecodeError {
        DecodeError::encoding(what, self.section)
    }

    fn fault(&self, stop: Stop) -> DecodeError {
        match stop {
            Stop::Incomplete { .. } => DecodeError::encoding("the message ends inside a field", self.section),
            Stop::TooLong { len, max } => {
                self.breach(format!("a field declares {len} bytes, {max} are allowed"))
            }
        }
    }

    /// Complains when there is more of something than is allowed.
    pub(super) fn at_most(&self, what: &str, size: u64, max: usize) -> Result<usize, DecodeError> {
        match usize::try_from(size) {
            Ok(size) if size <= max => Ok(size),
            _ => Err(self.breach(format!("{what}: {size}, at most {max} are taken"))),
        }
    }

    /// Bytes not yet read.
    pub(super) const fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.breach(format!("{left} bytes after the last field of the message"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.reader.array().map_err(|stop| self.fault(stop))
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The one field of the protocol that is not in network byte order: see [`super::node_info`].
    pub(super) fn u64_le(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        self.reader.varint().map_err(|stop| self.fault(stop))
    }

    /// The next bytes, in memory of their own: they outlive the message and must not keep the receive buffer.
    pub(super) fn bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let slice = self.reader.bytes(len as u64).map_err(|stop| self.fault(stop))?;
        Ok(Bytes::copy_from_slice(&slice))
    }

    pub(super) fn degrees(&mut self) -> Result<Degrees, DecodeError> {
        self.array().map(|bytes| Degrees::new(f64::from_be_bytes(bytes)))
    }

    pub(super) fn node_id(&mut self) -> Result<NodeId, DecodeError> {
        self.u64().map(NodeId)
    }

    pub(super) fn full_name_hash(&mut self) -> Result<FullNameHash, DecodeError> {
        let number = self.u64()?;
        // as laps does: two bits are cut off, so that the hash can be a track alias.
        FullNameHash::new(number)
            .ok_or_else(|| self.breach(format!("full name hash {number:016x} has more than 62 bits")))
    }

    pub(super) fn track_hash(&mut self) -> Result<TrackHash, DecodeError> {
        Ok(TrackHash {
            namespace: self.u64()?,
            name: self.u64()?,
            full: self.full_name_hash()?,
        })
    }

    pub(super) fn sns_id(&mut self) -> Result<SnsId, DecodeError> {
        // laps peering, "Source Routing": zero is reserved.
        SnsId::new(self.u32()?).ok_or_else(|| DecodeError::encoding("SNS id 0 is reserved", self.section))
    }
}

/// Appends the three hashes of a track.
pub(super) fn put_track_hash(hash: &TrackHash, out: &mut BytesMut) {
    out.put_u64(hash.namespace);
    out.put_u64(hash.name);
    out.put_u64(hash.full.get());
}
