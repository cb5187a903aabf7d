//! Where the objects of a track come from, as its home and the registry know it.

use crate::peering::mesh::remote::{AskStatus, NoStatus, NodeActor};
use crate::session::SessionActor;
use crate::supervise::mailbox::{self, AskError};
use crate::track::Description;
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use futures::future::Either;
use std::time::Duration;

/// Who publishes: it is asked for tracks, and told what becomes of them, by one set of messages, whatever it is.
///
/// `SubscribeUpstream`, `AcceptPublish`, `UpdateUpstream`, `ReleaseUpstream`, `FetchUpstream` and `CancelFetch` of
/// [`crate::session`]. Two are equal when they are the same publisher. Cheap to clone. Its variants are known here and
/// to whoever makes one: all others only send to it and compare it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// The peer of a session.
    Session(Addr<SessionActor>),
    /// Another node of the mesh.
    Node(Addr<NodeActor>),
    /// A stub of this relay, which stands for it in the mesh: nobody else knows of it.
    Stub(Addr<NodeActor>),
}

impl Upstream {
    /// Sends `message` and waits for the answer, as [`mailbox::ask`] does. It is placed when this is called.
    pub(crate) fn ask<M>(
        &self,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Result, AskError>> + use<M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        SessionActor: Handler<M>,
        <SessionActor as Actor>::Context: ToEnvelope<SessionActor, M>,
        NodeActor: Handler<M>,
        <NodeActor as Actor>::Context: ToEnvelope<NodeActor, M>,
    {
        match self {
            Self::Session(session) => Either::Left(mailbox::ask(session, message, deadline)),
            Self::Node(node) | Self::Stub(node) => Either::Right(mailbox::ask(node, message, deadline)),
        }
    }

    /// Sends `message`, as [`mailbox::signal`] does; the value is whether it was still there.
    pub(crate) fn signal<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        SessionActor: Handler<M>,
        <SessionActor as Actor>::Context: ToEnvelope<SessionActor, M>,
        NodeActor: Handler<M>,
        <NodeActor as Actor>::Context: ToEnvelope<NodeActor, M>,
    {
        match self {
            Self::Session(session) => mailbox::signal(session, message),
            Self::Node(node) | Self::Stub(node) => mailbox::signal(node, message),
        }
    }

    /// Asks a node how a track stands there. A session's peer is subscribed to instead.
    pub(crate) async fn ask_status(
        &self,
        ask: AskStatus,
        deadline: Duration,
    ) -> Result<Description, NoStatus> {
        match self {
            Self::Session(_) => Err(NoStatus::NotAsked),
            Self::Node(node) | Self::Stub(node) => {
                let answer = mailbox::ask(node, ask, deadline).await;
                answer.unwrap_or_else(|error| Err(NoStatus::Silent(error)))
            }
        }
    }

    /// It publishes at this relay, and not at another one of the mesh.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Session(_) => true,
            Self::Node(_) | Self::Stub(_) => false,
        }
    }

    /// What it publishes is this relay's to give to others of the mesh.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        match self {
            Self::Session(_) | Self::Stub(_) => true,
            Self::Node(_) => false,
        }
    }

    /// It has not ended.
    pub(crate) fn connected(&self) -> bool {
        match self {
            Self::Session(session) => session.connected(),
            Self::Node(node) | Self::Stub(node) => node.connected(),
        }
    }
}

impl From<Addr<SessionActor>> for Upstream {
    fn from(session: Addr<SessionActor>) -> Self {
        Self::Session(session)
    }
}
