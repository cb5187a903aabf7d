//! Whose request an actor of ours serves.

use crate::peering::mesh::origin::{NodeSay, OriginActor};
use crate::session::{Say, SessionActor, SubscriptionOver};
use crate::shard::Env;
use crate::supervise::mailbox;
use crate::track::Upstream;
use actix::Addr;
use laps_protocol::moqt::message::{PublishDone, RequestId};
use laps_protocol::moqt::session::Command;
use laps_protocol::peering::node::NodeId;

/// Who has asked for a subscription, a FETCH or a TRACK_STATUS: it hears what becomes of the request, by the number that
/// it gave that. The actor's parent, which stops it and starts it again. Cheap to clone. Its variants are known here and
/// to whoever makes one.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A session, whose peer it is.
    Session(Addr<SessionActor>),
    /// The origin part of the mesh, for the relays behind one link.
    Mesh(Addr<OriginActor>),
    /// The same for one other node, which fetches.
    Node(Addr<OriginActor>, NodeId),
}

impl Owner {
    /// One step in the life of a request: its answer, or its end.
    pub(crate) fn say(&self, command: Command) {
        match self {
            Self::Session(session) => mailbox::signal(session, Say(command)),
            Self::Mesh(origin) => mailbox::signal(origin, Say(command)),
            Self::Node(origin, node) => {
                let node = *node;
                mailbox::signal(origin, NodeSay { node, command })
            }
        };
    }

    /// A subscription is over, and its streams are closed.
    pub(crate) fn subscription_over(&self, request: RequestId, done: PublishDone) {
        let over = SubscriptionOver { request, done };
        match self {
            Self::Session(session) => mailbox::signal(session, over),
            Self::Mesh(origin) | Self::Node(origin, _) => mailbox::signal(origin, over),
        };
    }

    /// A client of this relay: what it asks for may be published anywhere in the mesh, and what other nodes ask for is
    /// published here or not at all.
    pub(crate) const fn is_client(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// It as a publisher, when it may not have what it alone publishes; see [`Env::except`].
    pub(crate) fn except(&self, env: &Env) -> Option<Upstream> {
        match self {
            Self::Session(session) => env.except(session),
            Self::Mesh(_) | Self::Node(..) => None,
        }
    }
}

impl From<Addr<OriginActor>> for Owner {
    fn from(origin: Addr<OriginActor>) -> Self {
        Self::Mesh(origin)
    }
}

impl From<Addr<SessionActor>> for Owner {
    fn from(session: Addr<SessionActor>) -> Self {
        Self::Session(session)
    }
}
