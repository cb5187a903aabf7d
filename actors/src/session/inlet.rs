//! Where a data stream has come in.

use super::SessionActor;
use super::messages::{Binding, Breach, FetchStreamOver, ResolveAlias, ResolveFetch};
use crate::fetch::FetchSink;
use crate::peering::plane::LinkInlet;
use crate::supervise::mailbox;
use actix::Addr;
use laps_protocol::moqt::error::DecodeError;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::object::TrackAlias;
use laps_protocol::relay::track_log::StreamEnd;
use std::rc::Rc;
use std::time::Duration;

/// Whose stream it is: who knows what its alias or its request means, and what a breach of the rules ends. Its variants
/// are known here and to whoever makes one.
#[derive(Clone, Debug)]
pub(crate) enum Inlet {
    /// A session's peer opened it.
    Session(Addr<SessionActor>),
    /// It came by a link between relays.
    Link(Rc<LinkInlet>),
}

impl Inlet {
    /// The track behind an alias, when it is known in time. The stream holds so many bytes in memory while it waits.
    pub(super) async fn resolve(&self, alias: TrackAlias, held: u64, wait: Duration) -> Option<Binding> {
        match self {
            Self::Session(session) => {
                let asked = mailbox::ask(session, ResolveAlias { alias, held }, wait).await;
                asked.ok().flatten()
            }
            // Its data header has said which track it is of.
            Self::Link(link) => link.resolve(held, wait).await,
        }
    }

    /// Who wants what a FETCH of ours brings.
    pub(super) async fn resolve_fetch(&self, request: RequestId, wait: Duration) -> Option<FetchSink> {
        match self {
            Self::Session(session) => {
                let asked = mailbox::ask(session, ResolveFetch(request), wait).await;
                asked.ok().flatten()
            }
            // Whoever fetches says so before it asks.
            Self::Link(link) => link.resolve_fetch(request),
        }
    }

    /// The stream of a FETCH of ours has ended.
    pub(super) fn fetch_over(&self, request: RequestId, end: StreamEnd) {
        match self {
            Self::Session(session) => {
                mailbox::signal(session, FetchStreamOver { request, end });
            }
            Self::Link(link) => link.fetch_over(request, end),
        }
    }

    /// The stream broke a rule. That ends a session; on a link, which is of many tracks, it ends the stream.
    pub(super) fn breach(&self, error: DecodeError) {
        match self {
            Self::Session(session) => {
                mailbox::signal(session, Breach(error));
            }
            Self::Link(link) => link.breach(&error),
        }
    }
}

impl From<Rc<LinkInlet>> for Inlet {
    fn from(link: Rc<LinkInlet>) -> Self {
        Self::Link(link)
    }
}

impl From<Addr<SessionActor>> for Inlet {
    fn from(session: Addr<SessionActor>) -> Self {
        Self::Session(session)
    }
}
