//! What relays of ours say to one another beside laps' messages: NODE_MESSAGE, SUMMARY, WATCH, UNWATCH and LEAVING. Decision 0029.

use super::codepoints::node_message;
use super::fields::FieldReader;
use super::publish_info::{put_namespace, read_namespace};
use super::{Dialect, Header, Message, MessageKind};
use crate::moqt::name::TrackNamespace;
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::info_base::{Digest, NodeMessage, OwnMessage};
use crate::peering::limits::Limits;
use crate::peering::node::NodeId;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// NODE_MESSAGE: one node says something to another, with any number of relays of ours between them. Each of them hands
/// it on towards `target` and takes one from the hop limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// For whom it is.
    pub target: NodeId,
    /// Who said it. What the neighbour claims.
    pub source: NodeId,
    /// How many more relays may hand it on: news of a change reach relays one after the other, and until then the ways
    /// of two of them may lead to each other.
    pub hop_limit: u8,
    /// What the body is.
    pub kind: u8,
    /// Tells answers apart, by the number that the question had; 0 where none is expected. Chosen by who asks.
    pub request_id: u64,
    /// The rest. Owns its memory.
    pub body: Bytes,
}

impl Relayed {
    /// As many relays as a way may have: [`Limits::max_path_items`].
    pub const HOP_LIMIT: u8 = 64;

    /// What the information bases of one node say to those of `target`.
    ///
    /// # Errors
    /// When an info in it cannot be written.
    pub fn of_infos(target: NodeId, message: &NodeMessage) -> Result<Self, EncodeError> {
        let mut body = BytesMut::new();
        let (source, number, kind) = match message {
            NodeMessage::Pull {
                from,
                number,
                have,
                fresh,
            } => {
                put_digest(*have, &mut body);
                body.put_u8(u8::from(*fresh));
                (*from, *number, node_message::PULL)
            }
            NodeMessage::Info {
                from,
                number,
                message,
                stamp,
            } => {
                message.clone().stamped(*stamp).encode(Dialect::Own, &mut body)?;
                (*from, *number, node_message::INFO)
            }
            NodeMessage::PullEnd {
                from,
                number,
                sent,
                digest,
                whole,
            } => {
                body.put_u32(*sent);
                put_digest(*digest, &mut body);
                body.put_u8(u8::from(*whole));
                (*from, *number, node_message::PULL_END)
            }
        };
        Ok(Self {
            target,
            source,
            hop_limit: Self::HOP_LIMIT,
            kind,
            request_id: u64::from(number),
            body: body.freeze(),
        })
    }

    /// What the information bases of `source` say; none when the body is of another kind.
    ///
    /// # Errors
    /// When it is not what it claims to be. The link is not at fault: who handed it on did not look.
    pub fn infos(&self, limits: &Limits) -> Result<Option<NodeMessage>, DecodeError> {
        let r = &mut FieldReader::new(&self.body, limits, SECTION);
        let from = self.source;
        // 0 is said by relays that do not know of numbers.
        let number = u8::try_from(self.request_id).unwrap_or(0);
        let message = match self.kind {
            node_message::PULL => NodeMessage::Pull {
                from,
                number,
                have: read_digest(r)?,
                fresh: read_flag(r)?,
            },
            node_message::INFO => return info(from, number, self.body.clone(), limits).map(Some),
            node_message::PULL_END => NodeMessage::PullEnd {
                from,
                number,
                sent: r.u32()?,
                digest: read_digest(r)?,
                whole: read_flag(r)?,
            },
            _ => return Ok(None),
        };
        r.finish()?;
        Ok(Some(message))
    }
}

const SECTION: &str = "NODE_MESSAGE";

/// A whole message with its header.
fn info(from: NodeId, number: u8, mut body: Bytes, limits: &Limits) -> Result<NodeMessage, DecodeError> {
    let broken = || DecodeError::encoding("no info where one has to be", SECTION);
    let header = Header::read(&body, Dialect::Own, limits)?.ok_or_else(broken)?;
    body.advance(super::HEADER_BYTES);
    let kind = header.kind.filter(|kind| is_info(*kind)).ok_or_else(broken)?;
    if body.len() != header.length as usize {
        return Err(broken());
    }
    match Message::decode(kind, &body, Dialect::Own, limits)?.unstamped() {
        (message, Some(stamp)) => Ok(NodeMessage::Info {
            from,
            number,
            message,
            stamp,
        }),
        (_, None) => Err(broken()),
    }
}

/// What an answer to a pull may hold. Nothing in it can hold another answer.
const fn is_info(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::SubscribeInfoAdvertise
            | MessageKind::SubscribeInfoWithdraw
            | MessageKind::PublishInfoAdvertise
            | MessageKind::PublishInfoWithdraw
    )
}

pub(super) fn read(r: &mut FieldReader<'_>) -> Result<Relayed, DecodeError> {
    Ok(Relayed {
        target: r.node_id()?,
        source: r.node_id()?,
        hop_limit: r.u8()?,
        kind: r.u8()?,
        request_id: r.u64()?,
        body: {
            let left = r.remaining();
            r.bytes(left)?
        },
    })
}

pub(super) fn put(relayed: &Relayed, out: &mut BytesMut) {
    out.put_u64(relayed.target.0);
    out.put_u64(relayed.source.0);
    out.put_u8(relayed.hop_limit);
    out.put_u8(relayed.kind);
    out.put_u64(relayed.request_id);
    out.extend_from_slice(&relayed.body);
}

pub(super) fn read_summary(r: &mut FieldReader<'_>) -> Result<OwnMessage, DecodeError> {
    Ok(OwnMessage::Summary {
        source: r.node_id()?,
        epoch: r.u64()?,
        serial: r.u32()?,
        digest: read_digest(r)?,
    })
}

pub(super) fn read_prefix(r: &mut FieldReader<'_>) -> Result<TrackNamespace, DecodeError> {
    read_namespace(r)
}

pub(super) fn put_own(message: &OwnMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
    match message {
        OwnMessage::Summary {
            source,
            epoch,
            serial,
            digest,
        } => {
            out.put_u64(source.0);
            out.put_u64(*epoch);
            out.put_u32(*serial);
            put_digest(*digest, out);
            Ok(())
        }
        OwnMessage::Watch(prefix) | OwnMessage::Unwatch(prefix) => put_namespace(prefix, out),
        OwnMessage::Leaving => Ok(()),
    }
}

fn read_digest(r: &mut FieldReader<'_>) -> Result<Digest, DecodeError> {
    Ok(Digest {
        count: r.u32()?,
        sum: r.u64()?,
    })
}

fn put_digest(digest: Digest, out: &mut BytesMut) {
    out.put_u32(digest.count);
    out.put_u64(digest.sum);
}

fn read_flag(r: &mut FieldReader<'_>) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(r.breach(format!("flag {other} is not defined"))),
    }
}

#[cfg(test)]
mod tests;
