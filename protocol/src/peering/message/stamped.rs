//! The life and the number that relays of ours put before what they say of themselves and others.

use super::fields::FieldReader;
use super::{Message, MessageKind, Sequence};
use crate::peering::error::DecodeError;
use bytes::{BufMut, BytesMut};

/// Which statement of a node is the newer one: that of a later life, or within one life that with the newer number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The life of the node; 0 where a laps relay was on the way, or is the node.
    pub epoch: u64,
    /// Which of the node's statements about one info it is.
    pub sequence: Sequence,
}

impl Stamp {
    /// Of an info that has none.
    pub(in crate::peering) const FIRST: Self = Self {
        epoch: 0,
        sequence: Sequence(1),
    };

    pub(in crate::peering) const fn of_life(epoch: u64) -> Self {
        Self {
            epoch,
            sequence: Sequence(0),
        }
    }

    pub(in crate::peering) const fn next(self) -> Self {
        Self {
            epoch: self.epoch,
            sequence: self.sequence.next(),
        }
    }

    /// Whether this was said after `other`. laps peering, "Subscribe Information".
    #[must_use]
    pub const fn is_newer_than(self, other: Self) -> bool {
        if self.epoch != 0 && other.epoch != 0 && self.epoch != other.epoch {
            self.epoch > other.epoch
        } else {
            self.sequence.is_newer_than(other.sequence)
        }
    }
}

/// A message with its stamp, as it goes between relays of ours; see [`Message::stamped`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    message: Message,
    stamp: Stamp,
}

impl Stamped {
    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Its stamp.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Message {
    /// The same with a stamp, where messages of its kind have one; laps relays are not told the stamp.
    #[must_use]
    pub fn stamped(self, stamp: Stamp) -> Self {
        let (message, _) = self.unstamped();
        if message.kind().is_stamped() {
            Self::Stamped(Box::new(Stamped { message, stamp }))
        } else {
            message
        }
    }

    /// The message itself, and its stamp if it had one.
    #[must_use]
    pub fn unstamped(self) -> (Self, Option<Stamp>) {
        if let Self::Stamped(stamped) = self {
            let Stamped { message, stamp } = *stamped;
            (message, Some(stamp))
        } else {
            (self, None)
        }
    }
}

impl MessageKind {
    /// Whether messages of this kind have a stamp between relays of ours: all that is said of a node.
    #[must_use]
    pub const fn is_stamped(self) -> bool {
        match self {
            Self::Connect
            | Self::ConnectResponse
            | Self::NodeInfoAdvertise
            | Self::NodeInfoWithdraw
            | Self::SubscribeInfoAdvertise
            | Self::SubscribeInfoWithdraw
            | Self::PublishInfoAdvertise
            | Self::PublishInfoWithdraw => true,
            Self::NodeSetAdvertise
            | Self::NodeSetWithdraw
            | Self::Relayed
            | Self::Summary
            | Self::Watch
            | Self::Unwatch
            | Self::Leaving
            | Self::Ping
            | Self::Pong => false,
        }
    }
}

/// The number has 32 bits on the wire and 16 here, where a statement may have to pass laps relays, whose field is that
/// narrow: it wraps there.
pub(super) fn read(r: &mut FieldReader<'_>) -> Result<Stamp, DecodeError> {
    let epoch = r.u64()?;
    let number = r.u32()?;
    let sequence = u16::try_from(number)
        .map_err(|_| r.breach(format!("sequence number {number} has more than 16 bits")))?;
    Ok(Stamp {
        epoch,
        sequence: Sequence(sequence),
    })
}

pub(super) fn put(stamp: Stamp, out: &mut BytesMut) {
    out.put_u64(stamp.epoch);
    out.put_u32(u32::from(stamp.sequence.0));
}
