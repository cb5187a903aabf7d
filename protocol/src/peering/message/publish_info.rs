//! PUBLISH_INFO_ADV and PUBLISH_INFO_WD, which laps' code calls ANNOUNCE_INFO. laps peering, "Publish Information".
//!
//! The document has a sequence number, hashes of the fields and parameters in them; laps sends the names themselves and
//! nothing else, and so it is here.

use super::Dialect;
use super::codepoints::publish_flag;
use super::fields::FieldReader;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::hash::{FullNameHash, TrackHash};
use crate::peering::node::NodeId;
use bytes::{BufMut, BytesMut};

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Published {
    /// A namespace, by PUBLISH_NAMESPACE.
    Namespace(TrackNamespace),
    /// A track, by PUBLISH.
    Track(FullTrackName),
}

impl Published {
    /// The namespace, or that of the track.
    #[must_use]
    pub const fn namespace(&self) -> &TrackNamespace {
        match self {
            Self::Namespace(namespace) => namespace,
            Self::Track(track) => track.namespace(),
        }
    }

    /// The name of the track, empty for a namespace.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Namespace(_) => b"",
            Self::Track(track) => track.name(),
        }
    }

    /// The hashes that stand for it; those of a namespace are those of a track with an empty name.
    #[must_use]
    pub fn hash(&self) -> TrackHash {
        match self {
            Self::Namespace(namespace) => TrackHash::of_namespace(namespace),
            Self::Track(track) => TrackHash::of(track),
        }
    }
}

/// What one node says of a publisher of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishInfo {
    /// The node that has the publisher.
    pub source: NodeId,
    /// What stands for `what`. What the peer claims: see [`Self::is_consistent`].
    pub hash: FullNameHash,
    /// Namespace or track.
    pub what: Published,
}

impl PublishInfo {
    /// What `source` says of `what`.
    #[must_use]
    pub fn new(source: NodeId, what: Published) -> Self {
        Self {
            source,
            hash: what.hash().full,
            what,
        }
    }

    /// Whether the hash is that of the name.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.hash == self.what.hash().full
    }
}

pub(super) fn read(r: &mut FieldReader<'_>, dialect: Dialect) -> Result<PublishInfo, DecodeError> {
    let source = r.node_id()?;
    let hash = r.full_name_hash()?;
    let namespace = read_namespace(r)?;
    let name_len = usize::from(r.u16()?);
    let name = r.bytes(name_len)?;
    let is_namespace = match dialect {
        // As laps does: PUBLISH_NAMESPACE is what has no name.
        Dialect::Laps14 => name.is_empty(),
        Dialect::Laps16 | Dialect::Own => match r.u8()? {
            publish_flag::TRACK => false,
            publish_flag::NAMESPACE if name.is_empty() => true,
            publish_flag::NAMESPACE => {
                return Err(r.breach("a namespace with the name of a track".to_owned()));
            }
            flags => return Err(r.breach(format!("publish flags {flags} are not defined"))),
        },
    };
    let what = if is_namespace {
        Published::Namespace(namespace)
    } else {
        let track = FullTrackName::new(namespace, name).map_err(|error| r.breach(error.to_string()))?;
        Published::Track(track)
    };
    Ok(PublishInfo { source, hash, what })
}

pub(super) fn put(info: &PublishInfo, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u64(info.source.0);
    out.put_u64(info.hash.get());
    put_namespace(info.what.namespace(), out)?;
    let name = info.what.name();
    put_name(name, out)?;
    let is_namespace = matches!(info.what, Published::Namespace(_));
    match dialect {
        Dialect::Laps14 if name.is_empty() && !is_namespace => {
            return Err(EncodeError::NoCodepoint("a track with an empty name"));
        }
        Dialect::Laps14 => {}
        Dialect::Laps16 | Dialect::Own => out.put_u8(if is_namespace {
            publish_flag::NAMESPACE
        } else {
            publish_flag::TRACK
        }),
    }
    Ok(())
}

pub(super) fn read_namespace(r: &mut FieldReader<'_>) -> Result<TrackNamespace, DecodeError> {
    let count = r.u8()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let len = usize::from(r.u16()?);
        fields.push(r.bytes(len)?);
    }
    TrackNamespace::new(fields).map_err(|error| r.breach(error.to_string()))
}

pub(super) fn put_namespace(namespace: &TrackNamespace, out: &mut BytesMut) -> Result<(), EncodeError> {
    let fields = namespace.fields();
    out.put_u8(u8::try_from(fields.len()).map_err(|_| EncodeError::TooLarge {
        what: "fields of a namespace",
        size: fields.len(),
        max: usize::from(u8::MAX),
    })?);
    for field in fields {
        put_name(field, out)?;
    }
    Ok(())
}

fn put_name(name: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u16(u16::try_from(name.len()).map_err(|_| EncodeError::TooLarge {
        what: "bytes of a name",
        size: name.len(),
        max: usize::from(u16::MAX),
    })?);
    out.extend_from_slice(name);
    Ok(())
}
