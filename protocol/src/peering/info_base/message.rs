//! What goes in and out.

use super::links::{LinkId, RefuseReason};
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::peering::fib::{Fib, mix};
use crate::peering::hash::{FullNameHash, TrackHash, combine};
use crate::peering::message::{Message, Published, Stamp};
use crate::peering::node::{NodeId, NodeType};
use bytes::Bytes;
use std::fmt;

/// One info of a node: what it is about, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoKey(u64);

impl InfoKey {
    pub(super) const FIRST: Self = Self(0);
    pub(super) const LAST: Self = Self(u64::MAX);
    // A hash has 62 bits.
    const TRACK: u64 = 1 << 62;
    const NAMESPACE: u64 = 1 << 63;

    /// A subscription to a track.
    #[must_use]
    pub const fn subscription(track: FullNameHash) -> Self {
        Self(track.get())
    }

    /// A published track.
    #[must_use]
    pub const fn track(track: FullNameHash) -> Self {
        Self(track.get() | Self::TRACK)
    }

    /// A published namespace.
    #[must_use]
    pub const fn namespace(namespace: FullNameHash) -> Self {
        Self(namespace.get() | Self::NAMESPACE)
    }

    /// Whatever is published.
    #[must_use]
    pub fn published(what: &Published) -> Self {
        let hash = what.hash().full;
        match what {
            Published::Track(_) => Self::track(hash),
            Published::Namespace(_) => Self::namespace(hash),
        }
    }

    pub(super) const fn is_namespace(self) -> bool {
        self.0 & Self::NAMESPACE != 0
    }

    pub(super) fn hash(self) -> FullNameHash {
        FullNameHash::new(self.0 & !(Self::TRACK | Self::NAMESPACE)).unwrap_or(FullNameHash::MAX)
    }
}

/// All infos of a node in two numbers: two relays with the same one have the same infos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many.
    pub count: u32,
    /// A sum over what they are and their stamps.
    pub sum: u64,
}

impl Digest {
    fn of(key: InfoKey, stamp: Stamp) -> u64 {
        mix(combine(
            combine(mix(key.0), mix(stamp.epoch)),
            u64::from(stamp.sequence.0),
        ))
    }

    pub(super) fn add(&mut self, key: InfoKey, stamp: Stamp) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(Self::of(key, stamp));
    }

    pub(super) fn remove(&mut self, key: InfoKey, stamp: Stamp) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(Self::of(key, stamp));
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

/// What relays of ours say on their links beside the messages of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnMessage {
    /// What a node has as a whole. Flooded, through Vias too.
    Summary {
        /// The node.
        source: NodeId,
        /// Its life.
        epoch: u64,
        /// Grows with each summary of a life.
        serial: u32,
        /// All that it publishes and subscribes to.
        digest: Digest,
    },
    /// From a stub to its edge: somebody there watches namespaces with this prefix.
    Watch(TrackNamespace),
    /// From a stub to its edge: nobody does any more.
    Unwatch(TrackNamespace),
    /// The sender is about to end, and is a way to others only for whom there is no better one. What is open goes on.
    Leaving,
}

/// What one relay of ours says to another, with any number of relays of ours between them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeMessage {
    /// The sender wants what the receiver publishes and subscribes to.
    Pull {
        /// The sender.
        from: NodeId,
        /// Which of its questions it is, never 0. What answers it has the same number.
        number: u8,
        /// What it holds of the receiver.
        have: Digest,
        /// It has just heard of the receiver, and wants what the receiver knows from laps relays beside it as well.
        fresh: bool,
    },
    /// One info in answer to a pull: an advertisement.
    Info {
        /// The sender.
        from: NodeId,
        /// That of the pull; 0 from a relay that does not know of numbers.
        number: u8,
        /// The info.
        message: Message,
        /// Its stamp.
        stamp: Stamp,
    },
    /// The end of an answer.
    PullEnd {
        /// The sender.
        from: NodeId,
        /// That of the pull; 0 from a relay that does not know of numbers.
        number: u8,
        /// How many infos were sent.
        sent: u32,
        /// What the sender has now.
        digest: Digest,
        /// All that the sender has was sent; otherwise the receiver had it.
        whole: bool,
    },
}

/// What local users want.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// There is a publisher. Said again it changes nothing.
    Publish(Published),
    /// There is none any more.
    Unpublish(Published),
    /// There are subscribers. Said again with other data it replaces the data.
    Subscribe {
        /// The track.
        track: FullTrackName,
        /// The SUBSCRIBE as relays exchange it: [`crate::peering::message::encode_subscribe_data`].
        data: Bytes,
    },
    /// There are none any more.
    Unsubscribe(FullTrackName),
    /// On a stub: namespaces with this prefix are watched. Elsewhere all are told of anyway.
    Watch(TrackNamespace),
    /// On a stub: they are not any more.
    Unwatch(TrackNamespace),
    /// Local users were started anew. They say again what they want; what none of them has said again after
    /// [`super::Settings::unsubscribe_hold`] is over.
    BeginEpoch,
}

/// Why a command was refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A Via has no clients.
    #[error("a via takes neither publishers nor subscribers")]
    NotOnAVia,
    /// The name has the hash of another name.
    #[error("another name has the same hash")]
    NameCollision,
    /// More than [`super::Limits::max_own`], or than [`super::Limits::max_info_bytes_of_node`].
    #[error("too many publications and subscriptions")]
    TooMany,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// To the peer of a link.
    Send {
        /// The link.
        link: LinkId,
        /// The message.
        message: Message,
        /// Goes along on links to relays of ours, for [`super::InfoBase::handle_message`]. For a node: its life.
        stamp: Stamp,
    },
    /// To the peer of a link, which is a relay of ours.
    SendOwn {
        /// The link.
        link: LinkId,
        /// The message.
        message: OwnMessage,
    },
    /// To a relay of ours anywhere in the mesh, see [`super::InfoBase::control_link`]. It may be lost.
    ToNode {
        /// The node.
        node: NodeId,
        /// The message, for [`super::InfoBase::handle_node_message`].
        message: NodeMessage,
    },
    /// Where data is sent from now on.
    Fib(Fib),
    /// A link is refused: it is to be closed.
    Refused {
        /// The link.
        link: LinkId,
        /// Why.
        reason: RefuseReason,
    },
    /// A node can be reached. Said again when `ours` changes.
    NodeReachable {
        /// The node.
        node: NodeId,
        /// What it is. A stub is known to its edge alone.
        node_type: NodeType,
        /// Relays of ours all the way, itself included: a message for it arrives, see [`super::InfoBase::control_link`].
        ours: bool,
    },
    /// It cannot any more. Its infos are over only when that is said.
    NodeUnreachable {
        /// The node.
        node: NodeId,
    },
    /// A node, or a stub of ours, has a publisher.
    RemotePublish {
        /// The node.
        source: NodeId,
        /// What is published.
        what: Published,
    },
    /// It has none any more.
    RemotePublishGone {
        /// The node.
        source: NodeId,
        /// What was published.
        what: Published,
    },
    /// A node subscribes to what is published here; said again when the data changes. Of a stub of ours: to anything.
    RemoteSubscribe {
        /// The node.
        source: NodeId,
        /// The track.
        track: TrackHash,
        /// The SUBSCRIBE, for [`crate::peering::message::parse_subscribe_data`].
        data: Bytes,
    },
    /// It does not any more, or what it subscribes to is no longer published here.
    RemoteSubscribeGone {
        /// The node.
        source: NodeId,
        /// The track.
        track: FullNameHash,
    },
    /// A link that stood is to be ended, and its peer told why. The caller says that it is down.
    EndLink {
        /// The link.
        link: LinkId,
        /// Why.
        reason: RefuseReason,
    },
    /// Something for the log.
    Report(Report),
}

impl Output {
    /// The link that has to have room for it.
    pub(super) fn waits_for(&self) -> Option<LinkId> {
        match self {
            Self::Send { link, .. } => Some(*link),
            // Ways around a relay that is about to end are wanted at once.
            Self::SendOwn { link, message } => (*message != OwnMessage::Leaving).then_some(*link),
            Self::ToNode { .. }
            | Self::Fib(_)
            | Self::Refused { .. }
            | Self::NodeReachable { .. }
            | Self::NodeUnreachable { .. }
            | Self::RemotePublish { .. }
            | Self::RemotePublishGone { .. }
            | Self::RemoteSubscribe { .. }
            | Self::RemoteSubscribeGone { .. }
            | Self::EndLink { .. }
            | Self::Report(_) => None,
        }
    }
}

/// Something for the log, said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A peer did something that was refused. Once for each link and kind.
    Link {
        /// The link.
        link: LinkId,
        /// What.
        kind: ReportKind,
    },
    /// Relays tell of two different nodes with one id; the one that was known first stays. laps peering, "Node ID".
    DuplicateNode {
        /// The id.
        node: NodeId,
    },
    /// The same, and all that tells them apart is when they began; the older one stays.
    Twins {
        /// The id.
        node: NodeId,
        /// The life of the one that stays.
        elder: u64,
        /// That of the other one, or of the youngest of the others.
        younger: u64,
    },
    /// Two names have one hash; the one that was known first stays.
    NameCollision {
        /// The hash.
        hash: FullNameHash,
        /// The node that has the second one.
        source: NodeId,
    },
}

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReportKind {
    /// It told of more nodes, or longer paths, than are taken.
    TooManyNodes,
    /// It told of more infos than are taken.
    TooManyInfos,
    /// It told of a node with a path that cannot be true.
    ForgedPath,
    /// It told of a track whose hashes contradict one another, or its name.
    ForgedHash,
    /// It told of a node with this relay on the path.
    Loop,
    /// It said something to a node in the name of another one, or, being a stub, to another one than its edge.
    ForgedSource,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { link, kind } => write!(f, "link {}: {kind}", link.0),
            Self::DuplicateNode { node } => {
                write!(
                    f,
                    "two nodes have the id {node}; the one that was known first stays"
                )
            }
            Self::Twins { node, elder, younger } => {
                write!(
                    f,
                    "two relays have the id {node}; the one that began first, at {elder} us, stays, and not the one of {younger} us"
                )
            }
            Self::NameCollision { hash, source } => {
                let hash = hash.get();
                write!(
                    f,
                    "a name of node {source} has the hash of another name, {hash:016x}, which stays"
                )
            }
        }
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyNodes => "it tells of more nodes, or of longer paths, than are taken",
            Self::TooManyInfos => "it tells of more publications or subscriptions than are taken",
            Self::ForgedPath => "it tells of a node with a path that cannot be true",
            Self::ForgedHash => "it tells of a name with the hash of another one",
            Self::Loop => "it tells of a node that it has by way of this relay",
            Self::ForgedSource => "it speaks to nodes in the name of another one",
        })
    }
}
