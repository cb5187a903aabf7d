//! What relays tell one another, and its bytes. One file per family. laps peering, "Control Messages".

mod answer;
pub(super) mod codepoints;
mod connect;
mod fetch;
mod fields;
mod lost;
mod more;
mod node_info;
mod node_set;
mod own;
mod publish_info;
mod stamped;
mod subscribe_data;
mod subscribe_info;

pub use answer::{Answer, TrackAnswer};
pub use connect::{Connect, ConnectResponse, PeerMode, ResponseCode};
pub use fetch::{FetchMessage, FetchStep, PlainFetch};
pub use lost::LostNodes;
pub use more::MorePublishers;
pub(super) use node_set::sorted;
pub use node_set::{NodeSet, Priorities, SnsId};
pub use own::Relayed;
pub use publish_info::{PublishInfo, Published};
pub use stamped::{Stamp, Stamped};
pub use subscribe_data::{encode_subscribe_data, laps_subscribe, parse_subscribe_data};
pub use subscribe_info::{Sequence, SubscribeInfo};

use super::error::{DecodeError, EncodeError, ErrorCode};
use super::info_base::OwnMessage;
use super::limits::Limits;
use super::node::NodeInfo;
use bytes::{BufMut, Bytes, BytesMut};
use fields::FieldReader;
use std::fmt;

/// Bytes in front of the body of every control message. laps peering, "Common Control Headers".
pub const HEADER_BYTES: usize = 7;

/// Which relays are spoken to, and so how some messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// laps relays that speak MOQT draft 14 to their clients.
    Laps14,
    /// laps relays that speak MOQT draft 16: publish infos say what they announce, and subscribe infos carry a
    /// SUBSCRIBE of that draft.
    Laps16,
    /// Relays of ours: the layouts of [`Self::Laps16`], a [`Stamp`] before all that is said of a node, and messages that
    /// laps does not have. Decision 0029.
    Own,
}

impl Dialect {
    /// The ALPN token of a link in this dialect. laps relays have none of their own for peers.
    #[must_use]
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::Laps14 => "moq-00",
            Self::Laps16 => "moqt-16",
            Self::Own => "laps/1",
        }
    }

    /// Its name in configurations and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Laps14 => "laps-14",
            Self::Laps16 => "laps-16",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One control message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// The first message of who dialled. laps peering, "Connect Message".
    Connect(Connect),
    /// The first message of who accepted. laps peering, "Connect Response Message".
    ConnectResponse(ConnectResponse),
    /// A node can be reached. laps peering, "Node Information Advertisement Message".
    NodeInfoAdvertise(NodeInfo),
    /// A node cannot be reached any more in this way. laps peering, "Node Information Withdraw Message".
    NodeInfoWithdraw(NodeInfo),
    /// A relay has subscribers. laps peering, "Subscribe Information Advertisement Message".
    SubscribeInfoAdvertise(SubscribeInfo),
    /// It has none any more. laps peering, "Subscribe Information Withdraw Message".
    SubscribeInfoWithdraw(SubscribeInfo),
    /// A relay has a publisher. laps peering, "Publish Information Advertisement Message".
    PublishInfoAdvertise(PublishInfo),
    /// It has none any more. laps peering, "Publish Information Withdraw Message".
    PublishInfoWithdraw(PublishInfo),
    /// Who is to get the data that comes under an id. laps peering, "Subscribe Node Set Advertisement Message".
    NodeSetAdvertise(NodeSet),
    /// No more data comes under this id. laps peering, "Subscribe Node Set Withdraw Message".
    NodeSetWithdraw(SnsId),
    /// One of the above as relays of ours say it. Its kind is that of the message in it.
    Stamped(Box<Stamped>),
    /// To a node further away. Between relays of ours.
    Relayed(Relayed),
    /// What a node has as a whole, and what a stub watches. Between relays of ours.
    Own(OwnMessage),
    /// Asks for a [`Self::Pong`] with the same number. Between relays of ours.
    Ping(u64),
    /// Answers a [`Self::Ping`]. Between relays of ours.
    Pong(u64),
}

/// The kinds of control messages, for tables and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// [`Message::Connect`].
    Connect,
    /// [`Message::ConnectResponse`].
    ConnectResponse,
    /// [`Message::NodeInfoAdvertise`].
    NodeInfoAdvertise,
    /// [`Message::NodeInfoWithdraw`].
    NodeInfoWithdraw,
    /// [`Message::SubscribeInfoAdvertise`].
    SubscribeInfoAdvertise,
    /// [`Message::SubscribeInfoWithdraw`].
    SubscribeInfoWithdraw,
    /// [`Message::PublishInfoAdvertise`].
    PublishInfoAdvertise,
    /// [`Message::PublishInfoWithdraw`].
    PublishInfoWithdraw,
    /// [`Message::NodeSetAdvertise`].
    NodeSetAdvertise,
    /// [`Message::NodeSetWithdraw`].
    NodeSetWithdraw,
    /// [`Message::Relayed`].
    Relayed,
    /// [`OwnMessage::Summary`].
    Summary,
    /// [`OwnMessage::Watch`].
    Watch,
    /// [`OwnMessage::Unwatch`].
    Unwatch,
    /// [`OwnMessage::Leaving`].
    Leaving,
    /// [`Message::Ping`].
    Ping,
    /// [`Message::Pong`].
    Pong,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Connect,
        Self::ConnectResponse,
        Self::NodeInfoAdvertise,
        Self::NodeInfoWithdraw,
        Self::SubscribeInfoAdvertise,
        Self::SubscribeInfoWithdraw,
        Self::PublishInfoAdvertise,
        Self::PublishInfoWithdraw,
        Self::NodeSetAdvertise,
        Self::NodeSetWithdraw,
        Self::Relayed,
        Self::Summary,
        Self::Watch,
        Self::Unwatch,
        Self::Leaving,
        Self::Ping,
        Self::Pong,
    ];

    /// Whether relays of this dialect know it.
    #[must_use]
    pub const fn is_known_to(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Own => true,
            Dialect::Laps14 | Dialect::Laps16 => !matches!(
                self,
                Self::Relayed
                    | Self::Summary
                    | Self::Watch
                    | Self::Unwatch
                    | Self::Leaving
                    | Self::Ping
                    | Self::Pong
            ),
        }
    }

    /// The name that the protocol gives it, for logs and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnectResponse => "CONNECT_RESPONSE",
            Self::NodeInfoAdvertise => "NODE_INFO_ADV",
            Self::NodeInfoWithdraw => "NODE_INFO_WD",
            Self::SubscribeInfoAdvertise => "SUBSCRIBE_INFO_ADV",
            Self::SubscribeInfoWithdraw => "SUBSCRIBE_INFO_WD",
            Self::PublishInfoAdvertise => "PUBLISH_INFO_ADV",
            Self::PublishInfoWithdraw => "PUBLISH_INFO_WD",
            Self::NodeSetAdvertise => "SUBSCRIBE_NODE_SET_ADV",
            Self::NodeSetWithdraw => "SUBSCRIBE_NODE_SET_WD",
            Self::Relayed => "NODE_MESSAGE",
            Self::Summary => "SUMMARY",
            Self::Watch => "WATCH",
            Self::Unwatch => "UNWATCH",
            Self::Leaving => "LEAVING",
            Self::Ping => "PING",
            Self::Pong => "PONG",
        }
    }

    /// The section that defines it.
    const fn section(self) -> &'static str {
        match self {
            Self::Connect => "laps peering, \"Connect Message\"",
            Self::ConnectResponse => "laps peering, \"Connect Response Message\"",
            Self::NodeInfoAdvertise => "laps peering, \"Node Information Advertisement Message\"",
            Self::NodeInfoWithdraw => "laps peering, \"Node Information Withdraw Message\"",
            Self::SubscribeInfoAdvertise => "laps peering, \"Subscribe Information Advertisement Message\"",
            Self::SubscribeInfoWithdraw => "laps peering, \"Subscribe Information Withdraw Message\"",
            Self::PublishInfoAdvertise => "laps peering, \"Publish Information Advertisement Message\"",
            Self::PublishInfoWithdraw => "laps peering, \"Publish Information Withdraw Message\"",
            Self::NodeSetAdvertise => "laps peering, \"Subscribe Node Set Advertisement Message\"",
            Self::NodeSetWithdraw => "laps peering, \"Subscribe Node Set Withdraw Message\"",
            Self::Relayed
            | Self::Summary
            | Self::Watch
            | Self::Unwatch
            | Self::Leaving
            | Self::Ping
            | Self::Pong => "messages between relays of ours",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Message {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Connect(_) => MessageKind::Connect,
            Self::ConnectResponse(_) => MessageKind::ConnectResponse,
            Self::NodeInfoAdvertise(_) => MessageKind::NodeInfoAdvertise,
            Self::NodeInfoWithdraw(_) => MessageKind::NodeInfoWithdraw,
            Self::SubscribeInfoAdvertise(_) => MessageKind::SubscribeInfoAdvertise,
            Self::SubscribeInfoWithdraw(_) => MessageKind::SubscribeInfoWithdraw,
            Self::PublishInfoAdvertise(_) => MessageKind::PublishInfoAdvertise,
            Self::PublishInfoWithdraw(_) => MessageKind::PublishInfoWithdraw,
            Self::NodeSetAdvertise(_) => MessageKind::NodeSetAdvertise,
            Self::NodeSetWithdraw(_) => MessageKind::NodeSetWithdraw,
            Self::Stamped(stamped) => stamped.message().kind(),
            Self::Relayed(_) => MessageKind::Relayed,
            Self::Own(OwnMessage::Summary { .. }) => MessageKind::Summary,
            Self::Own(OwnMessage::Watch(_)) => MessageKind::Watch,
            Self::Own(OwnMessage::Unwatch(_)) => MessageKind::Unwatch,
            Self::Own(OwnMessage::Leaving) => MessageKind::Leaving,
            Self::Ping(_) => MessageKind::Ping,
            Self::Pong(_) => MessageKind::Pong,
        }
    }

    /// Appends the message with its header. [`super::reader::ControlReader`] is the way back.
    ///
    /// # Errors
    /// When the dialect cannot say it; `out` is unchanged then.
    pub fn encode(&self, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        let put = self.put(dialect, out);
        if put.is_err() {
            out.truncate(start);
        }
        put
    }

    fn put(&self, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
        if !self.kind().is_known_to(dialect) {
            return Err(EncodeError::NoCodepoint("a message between relays of ours"));
        }
        out.put_u8(codepoints::VERSION);
        out.put_u16(codepoints::kind_number(self.kind()));
        let length_at = out.len();
        out.put_u32(0);
        let body_at = out.len();
        self.put_body(dialect, out)?;
        let size = out.len() - body_at;
        let length = u32::try_from(size).map_err(|_| EncodeError::TooLarge {
            what: "bytes of a control message",
            size,
            max: u32::MAX as usize,
        })?;
        if let Some(field) = out.get_mut(length_at..body_at) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn put_body(&self, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
        let own = dialect == Dialect::Own;
        if let Self::Stamped(stamped) = self {
            if own {
                stamped::put(stamped.stamp(), out);
            }
            // It holds no other stamped one.
            stamped.message().put_fields(dialect, out)
        } else if own && self.kind().is_stamped() {
            Err(EncodeError::NoCodepoint("an info without the life of its node"))
        } else {
            self.put_fields(dialect, out)
        }
    }

    fn put_fields(&self, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect::put(connect, dialect, out)?,
            Self::ConnectResponse(response) => connect::put_response(response, out)?,
            Self::NodeInfoAdvertise(info) | Self::NodeInfoWithdraw(info) => node_info::put(info, out)?,
            Self::SubscribeInfoAdvertise(info) | Self::SubscribeInfoWithdraw(info) => {
                subscribe_info::put(info, out)?;
            }
            Self::PublishInfoAdvertise(info) | Self::PublishInfoWithdraw(info) => {
                publish_info::put(info, dialect, out)?;
            }
            Self::NodeSetAdvertise(set) => node_set::put(set, dialect, out)?,
            Self::NodeSetWithdraw(id) => out.put_u32(id.get()),
            Self::Stamped(_) => return Err(EncodeError::NoCodepoint("a stamp on a stamp")),
            Self::Relayed(relayed) => own::put(relayed, out),
            Self::Own(message) => own::put_own(message, out)?,
            Self::Ping(number) | Self::Pong(number) => out.put_u64(*number),
        }
        Ok(())
    }

    /// Reads the body of a message.
    pub(super) fn decode(
        kind: MessageKind,
        body: &Bytes,
        dialect: Dialect,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let r = &mut FieldReader::new(body, limits, kind.section());
        let stamp = (dialect == Dialect::Own && kind.is_stamped()).then(|| stamped::read(r));
        let stamp = stamp.transpose()?;
        let message = match kind {
            MessageKind::Connect => Self::Connect(connect::read(r, dialect)?),
            MessageKind::ConnectResponse => Self::ConnectResponse(connect::read_response(r)?),
            MessageKind::NodeInfoAdvertise => Self::NodeInfoAdvertise(node_info::read(r)?),
            MessageKind::NodeInfoWithdraw => Self::NodeInfoWithdraw(node_info::read(r)?),
            MessageKind::SubscribeInfoAdvertise => Self::SubscribeInfoAdvertise(subscribe_info::read(r)?),
            MessageKind::SubscribeInfoWithdraw => Self::SubscribeInfoWithdraw(subscribe_info::read(r)?),
            MessageKind::PublishInfoAdvertise => Self::PublishInfoAdvertise(publish_info::read(r, dialect)?),
            MessageKind::PublishInfoWithdraw => Self::PublishInfoWithdraw(publish_info::read(r, dialect)?),
            MessageKind::NodeSetAdvertise => Self::NodeSetAdvertise(node_set::read(r, dialect)?),
            MessageKind::NodeSetWithdraw => Self::NodeSetWithdraw(r.sns_id()?),
            MessageKind::Relayed => Self::Relayed(own::read(r)?),
            MessageKind::Summary => Self::Own(own::read_summary(r)?),
            MessageKind::Watch => Self::Own(OwnMessage::Watch(own::read_prefix(r)?)),
            MessageKind::Unwatch => Self::Own(OwnMessage::Unwatch(own::read_prefix(r)?)),
            MessageKind::Leaving => Self::Own(OwnMessage::Leaving),
            MessageKind::Ping => Self::Ping(r.u64()?),
            MessageKind::Pong => Self::Pong(r.u64()?),
        };
        r.finish()?;
        Ok(match stamp {
            Some(stamp) => message.stamped(stamp),
            None => message,
        })
    }
}

/// The header of one control message. laps peering, "Common Control Headers".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What follows; none for a type that this build does not know.
    pub(super) kind: Option<MessageKind>,
    /// The number of the type.
    pub(super) number: u16,
    /// Bytes that follow.
    pub(super) length: u32,
}

impl Header {
    /// Reads the header at the front of `bytes`; none when it is not there whole.
    ///
    /// # Errors
    /// As soon as the bytes that are there can be no header.
    pub(super) fn read(bytes: &[u8], dialect: Dialect, limits: &Limits) -> Result<Option<Self>, DecodeError> {
        const SECTION: &str = "laps peering, \"Common Control Headers\"";
        if let Some(version) = bytes.first().filter(|version| **version != codepoints::VERSION) {
            return Err(DecodeError::encoding(
                format!("version {version} of the peering protocol is not spoken"),
                SECTION,
            ));
        }
        let Some(&[_, high, low]) = bytes.first_chunk() else {
            return Ok(None);
        };
        let number = u16::from_be_bytes([high, low]);
        if number == codepoints::DATA_OBJECT {
            return Err(DecodeError::new(
                ErrorCode::InvalidMessageType,
                "a data object on a control stream",
                "laps peering, \"Common Header Message Types\"",
            ));
        }
        let Some(&[.., a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        let kinds = MessageKind::ALL.iter().copied();
        let kind = kinds
            .into_iter()
            .find(|kind| codepoints::kind_number(*kind) == number && kind.is_known_to(dialect));
        if length > limits.max_message_bytes {
            let name = kind.map_or_else(|| format!("a message of type {number}"), |kind| kind.to_string());
            let max = limits.max_message_bytes;
            return Err(DecodeError::encoding(
                format!("{name} declares {length} bytes, at most {max} are taken"),
                SECTION,
            ));
        }
        Ok(Some(Self { kind, number, length }))
    }
}
