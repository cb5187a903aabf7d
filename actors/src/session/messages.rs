//! What a session accepts from its children, from tracks, and from its own tasks.

use crate::fetch::FetchSink;
use crate::registry::Changes;
use crate::track::{SourceId, TrackActor, TrackRef, UpstreamTerms};
use actix::{Addr, Message};
use bytes::Bytes;
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{Fetch, PublishDone, PublishOk, RequestError, RequestId, RequestKind};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::TrackAlias;
use laps_protocol::moqt::session::{Command, CommandError, PeerSetup};
use laps_protocol::relay::track_log::StreamEnd;
use std::sync::Arc;
use tokio::sync::watch;

/// Say this to the peer. Sent by children about their own request, once per step of its life.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Say(pub Command);

/// Make a request of the peer; the answer is its id, or why it could not be made.
#[derive(Debug, Message)]
#[rtype(result = "Result<RequestId, CommandError>")]
pub struct Request(pub Command);

/// A subscription is over; its streams are closed. Sends PUBLISH_DONE and forgets it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscriptionOver {
    /// The subscription.
    pub request: RequestId,
    /// What the peer is told.
    pub done: PublishDone,
}

/// Why a session does not ask its peer for a track.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// The peer reads the track itself.
    #[error("the publisher reads the track")]
    Reads,
    /// It cannot be asked.
    #[error(transparent)]
    Failed(#[from] CommandError),
}

/// A track wants its objects from this session's peer.
#[derive(Debug, Message)]
#[rtype(result = "Result<RequestId, NotAsked>")]
pub struct SubscribeUpstream {
    /// The publisher's number in the track.
    pub source: SourceId,
    /// The track.
    pub track: Addr<TrackActor>,
    /// Its name.
    pub name: FullTrackName,
    /// On what terms.
    pub terms: UpstreamTerms,
    /// The peer is not asked when it reads the track itself. [D14-PUB-7]
    pub unless_read: bool,
    /// A new group is wanted, with this value for the parameter.
    pub new_group: Option<u64>,
}

/// A track takes the peer's PUBLISH. When the session cannot accept it, the track is told `SourceGone`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AcceptPublish {
    /// The PUBLISH.
    pub request: RequestId,
    /// Somebody wants objects.
    pub forward: bool,
    /// Subscriber priority, 0 the most urgent. A session says its own.
    pub priority: u8,
    /// A new group is wanted, with this value for the parameter.
    pub new_group: Option<u64>,
    /// The track.
    pub track: Addr<TrackActor>,
    /// The publisher's number in it.
    pub source: SourceId,
}

/// A track starts or stops wanting objects, or wants them more or less urgently, or wants a new group.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UpdateUpstream {
    /// Our SUBSCRIBE or the peer's PUBLISH.
    pub request: RequestId,
    /// Somebody wants objects.
    pub forward: bool,
    /// Subscriber priority, 0 the most urgent; for a session as it was.
    pub priority: u8,
    /// A new group is wanted, with this value for the parameter.
    pub new_group: Option<u64>,
}

/// A track no longer wants this subscription.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReleaseUpstream {
    /// Our SUBSCRIBE or the peer's PUBLISH.
    pub request: RequestId,
}

/// Fetch something of this session's peer; the answer is the request's id, or why it could not be made.
#[derive(Debug, Message)]
#[rtype(result = "Result<RequestId, CommandError>")]
pub struct FetchUpstream {
    /// Who gets what it brings.
    pub sink: FetchSink,
    /// What is wanted.
    pub fetch: Fetch,
}

/// What a fetch of ours brings is not wanted any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CancelFetch {
    /// Our FETCH.
    pub request: RequestId,
}

/// Where the objects of a fetch of ours go; none when nobody wants them.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<FetchSink>")]
pub struct ResolveFetch(pub RequestId);

/// The stream of a fetch of ours has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct FetchStreamOver {
    /// Our FETCH.
    pub request: RequestId,
    /// How it ended.
    pub end: StreamEnd,
}

/// Where the objects of an alias go. Answered when the alias is known; `None` when it will not be.
#[derive(Debug, Message)]
#[rtype(result = "Option<Binding>")]
pub struct ResolveAlias {
    /// The alias.
    pub alias: TrackAlias,
    /// Bytes that the stream holds in memory while it waits, beside those that its transport holds.
    pub held: u64,
}

/// The track behind an alias.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Where chunks go.
    pub track: Addr<TrackActor>,
    /// As whose.
    pub source: SourceId,
    /// True once the request that carries it was let go of, so that nothing more of it is wanted.
    pub released: Arc<watch::Sender<bool>>,
}

impl Binding {
    /// The binding of a request that stands.
    pub(crate) fn new(track: Addr<TrackActor>, source: SourceId) -> Self {
        Self {
            track,
            source,
            released: Arc::new(watch::Sender::new(false)),
        }
    }
}

/// A data stream broke a rule that ends the session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Breach(pub DecodeError);

/// Offer a track of this process to the peer by PUBLISH.
#[derive(Debug, Message)]
#[rtype(result = "Result<RequestId, CommandError>")]
pub struct PublishTrack {
    /// The track.
    pub track: TrackRef,
    /// The largest place written so far.
    pub largest: Option<Location>,
}

/// How things are below a prefix that the peer watches.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Heard {
    /// The SUBSCRIBE_NAMESPACE.
    pub request: RequestId,
    /// What has changed.
    pub changes: Changes,
    /// The registry was asked anew: what is not heard of from here to `complete` is not there.
    pub begins: bool,
    /// With this, everything that was there when the watch began has been told.
    pub complete: bool,
}

/// The control stream has room again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drained;

/// End the session once the peer has what was said before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// Why, for the peer.
    pub code: CloseCode,
    /// What the peer is told, for a person.
    pub reason: &'static str,
}

/// What a client that lists namespaces is told.
#[derive(Clone, Debug)]
pub enum Listed {
    /// The peer announced a namespace by this request, and we accepted.
    Announced(RequestId, TrackNamespace),
    /// A namespace that was announced by this request is withdrawn, or was announced again by a newer one.
    Withdrawn(RequestId),
    /// The peer offered a track, and we refused it as uninteresting.
    Offered(FullTrackName),
}

/// What a client of ours is told of its session.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum SessionNews {
    /// SETUP is complete.
    Established(PeerSetup),
    /// A PUBLISH_NAMESPACE or SUBSCRIBE_NAMESPACE was accepted.
    NamespaceOk(RequestId),
    /// A PUBLISH was accepted.
    PublishOk(RequestId, PublishOk),
    /// A request was refused.
    Rejected(RequestId, RequestKind, RequestError),
    /// The peer subscribed to a track of ours.
    Subscribed(FullTrackName),
    /// The peer tells what it has, in answer to our SUBSCRIBE_NAMESPACE.
    Listed(Listed),
    /// The peer asks us to leave.
    Goaway(Bytes),
    /// The session is over.
    Closed {
        /// Who ended it, how and why, for a person.
        why: String,
        /// It ended as it should.
        clean: bool,
        /// With which code the peer ended it, when it was the peer.
        code: Option<CloseCode>,
        /// With which code we ended it, when it was us.
        ours: Option<CloseCode>,
    },
}
