//! What goes into a [`super::Session`] and what comes out of it.
//!
//! Requests are shaped as in draft 18: every request is a small conversation of its own, named by its
//! [`RequestId`]. Draft 14 carries all of them over one control stream and names some of them by namespace; the
//! session maps those back to their request.

use crate::moqt::error::CloseCode;
use crate::moqt::location::Location;
use crate::moqt::message::{
    ControlMessage, Fetch, FetchOk, GroupOrderRequest, MessageParams, NamespaceRequest, Publish, PublishDone,
    PublishOk, RequestError, RequestId, RequestKind, Subscribe, SubscribeOk, SubscribeUpdate,
};
use crate::moqt::name::FullTrackName;
use crate::moqt::version::Version;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;

/// Which side of the session this is. MOQT-14 §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opened the connection: sends CLIENT_SETUP and uses even request ids.
    Client,
    /// Accepted the connection: sends SERVER_SETUP and uses odd request ids.
    Server,
}

/// A bidirectional stream of the connection, by a number that the caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlStream(pub u64);

/// One thing that happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A bidirectional stream of ours exists, as an [`Action::OpenControl`] asked.
    StreamOpened(ControlStream),
    /// The peer opened a bidirectional stream.
    StreamAccepted(ControlStream),
    /// Bytes arrived on a bidirectional stream, in order.
    StreamBytes(ControlStream, Bytes),
    /// The peer finished a bidirectional stream.
    StreamFin(ControlStream),
    /// The peer reset a bidirectional stream, or refuses to read it.
    StreamReset(ControlStream),
    /// A time given by `poll_timeout` has come.
    Timeout,
}

/// Something for the connection to do. Done in the order in which they come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a bidirectional stream and report it as [`Input::StreamOpened`].
    OpenControl,
    /// Write these bytes. The caller bounds what waits there (`Config::max_control_backlog`).
    Write(ControlStream, Bytes),
    /// Close the connection; nothing more comes out.
    Close {
        /// Why, for the wire.
        code: CloseCode,
        /// Why, for a person; short enough for a CONNECTION_CLOSE frame.
        reason: Cow<'static, str>,
    },
}

/// What the peer said in its SETUP.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerSetup {
    /// The version both sides speak from now on.
    pub version: Version,
    /// PATH, from a raw QUIC client that sent one.
    pub path: Option<Bytes>,
    /// AUTHORITY, from a raw QUIC client that sent one.
    pub authority: Option<Bytes>,
    /// Name and version of the peer's software.
    pub implementation: Option<Bytes>,
    /// Undecoded authorization tokens, each shown by value, also where it was registered. [D14-SETUP-20]
    pub authorization_tokens: Vec<Bytes>,
}

impl fmt::Debug for PeerSetup {
    /// Shows that there are tokens, never what they are. [D14-AUTH-10]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSetup")
            .field("version", &self.version)
            .field("path", &self.path)
            .field("authority", &self.authority)
            .field("implementation", &self.implementation)
            .field("authorization_tokens", &self.authorization_tokens.len())
            .finish()
    }
}

/// What a FETCH of the peer wants, whether it said so itself or joined a subscription. MOQT-14 §9.16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFetch {
    /// The track.
    pub track: FullTrackName,
    /// First place.
    pub start: Location,
    /// End, as on the wire: object 0 for a whole group, else last object plus one. Not before `start`, but perhaps
    /// after the largest object. MOQT-14 §9.16.1 [D14-FETCH-3].
    pub end: Location,
    /// It joins a subscription: the range ends with the largest place that SUBSCRIBE_OK (or our PUBLISH) reported,
    /// however many objects came since, so that both are contiguous. MOQT-14 §9.16.2.1 [D14-FETCH-12].
    pub joining: bool,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Order of groups.
    pub group_order: GroupOrderRequest,
    /// Parameters. Unknown ones are not kept for a fetch that joins.
    pub params: MessageParams,
}

/// Something the peer said, already checked against the rules of the session.
///
/// Ids in `Peer…` events were chosen by the peer, in the others by us. The authorization tokens in their parameters are
/// undecoded, and all of them shown by value: what an alias stood for when the message came. [D14-AUTH-9]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// SETUP is complete; requests may flow.
    Established(PeerSetup),
    /// The peer subscribes. Answer with `accept_subscribe` or `reject`.
    PeerSubscribe(RequestId, Subscribe),
    /// The peer changes a subscription that it has, whether it came about by SUBSCRIBE or by our PUBLISH. The id is
    /// the subscription's. Narrowing was checked, and parameters that the update leaves out are those from before
    /// (tokens and the wish for a new group stand for themselves). MOQT-14 §9.10 [D14-PARAM-6].
    PeerSubscribeUpdate(RequestId, SubscribeUpdate),
    /// The peer ends a subscription; its state is gone here. MOQT-14 §9.11.
    PeerUnsubscribe(RequestId),
    /// The peer publishes a track. Answer with `accept_publish` or `reject`. Its alias is registered already, since
    /// objects may come before the answer. MOQT-14 §5.1 [D14-SUB-24].
    PeerPublish(RequestId, Publish),
    /// The peer ends a subscription that we have, whether it came about by our SUBSCRIBE or by its PUBLISH. The
    /// alias stays known until `forget_alias`. MOQT-14 §9.12.
    PublishDone(RequestId, PublishDone),
    /// The peer announces a namespace. Answer with `accept_namespace` or `reject`.
    PeerPublishNamespace(RequestId, NamespaceRequest),
    /// A namespace that the peer announced under this request is withdrawn, or was announced again under a newer
    /// one (whose event came first, so that the namespace is never gone in between). [D14-NS-14]
    PeerPublishNamespaceDone(RequestId),
    /// The peer watches a prefix. Answer with `accept_namespace` or `reject`.
    PeerSubscribeNamespace(RequestId, NamespaceRequest),
    /// The peer stops watching.
    PeerUnsubscribeNamespace(RequestId),
    /// The peer fetches. Answer with `accept_fetch` or `reject`. One that joins a subscription comes once its SUBSCRIBE
    /// is accepted.
    PeerFetch(RequestId, PeerFetch),
    /// The peer cancels a fetch.
    PeerFetchCancel(RequestId),
    /// The peer asks for the status of a track. Answer with `accept_track_status` or `reject`.
    PeerTrackStatus(RequestId, Subscribe),
    /// Our SUBSCRIBE was accepted; its alias is registered.
    SubscribeOk(RequestId, SubscribeOk),
    /// Our PUBLISH was accepted.
    PublishOk(RequestId, PublishOk),
    /// Our FETCH was accepted.
    FetchOk(RequestId, FetchOk),
    /// Our TRACK_STATUS was answered.
    TrackStatusOk(RequestId, SubscribeOk),
    /// Our PUBLISH_NAMESPACE or SUBSCRIBE_NAMESPACE was accepted.
    NamespaceOk(RequestId, RequestKind),
    /// A request of ours was refused, or a namespace of ours cancelled after it was accepted.
    Rejected(RequestId, RequestKind, RequestError),
    /// The peer wants the session to move, to this URI if it is not empty.
    Goaway(Bytes),
    /// Something the log should mention: a compatibility rule was used, or an oddity ignored.
    Note(Note),
}

/// An oddity that does not end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// A raw QUIC client sent neither PATH nor AUTHORITY, or not both. [D14-SETUP-17]
    MissingPathOrAuthority,
    /// PUBLISH_OK with group order 0, taken as "keep the publisher's". [D14-VAL-2]
    PublishOkGroupOrderZero,
    /// UNSUBSCRIBE_NAMESPACE with a request id instead of a prefix. [D14-MSG-30]
    UnsubscribeNamespaceById,
    /// DONE or CANCEL for a namespace that is not announced. [D14-NS-9]
    UnknownNamespace,
    /// REQUESTS_BLOCKED from the peer.
    PeerBlocked,
}

/// A request or answer of ours. Requests that start a conversation return their id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Ask for a track.
    Subscribe(Subscribe),
    /// Change a subscription of ours.
    SubscribeUpdate(SubscribeUpdate),
    /// End a subscription of ours.
    Unsubscribe(RequestId),
    /// Offer a track. The alias must come from [`super::Session::new_alias`].
    Publish(Publish),
    /// Announce a namespace.
    PublishNamespace(NamespaceRequest),
    /// Withdraw an announced namespace.
    PublishNamespaceDone(RequestId),
    /// Refuse, after all, a namespace of the peer that was accepted.
    PublishNamespaceCancel(RequestId, RequestError),
    /// Watch a prefix.
    SubscribeNamespace(NamespaceRequest),
    /// Stop watching.
    UnsubscribeNamespace(RequestId),
    /// Fetch past objects.
    Fetch(Fetch),
    /// Cancel a fetch of ours.
    FetchCancel(RequestId),
    /// The data stream of a fetch, ours or the peer's, has ended. Nothing is sent; the request can be forgotten once
    /// it is answered too. MOQT-14 §5.1 [D14-FETCH-16].
    FetchDone(RequestId),
    /// Ask for the status of a track.
    TrackStatus(Subscribe),
    /// Accept the peer's SUBSCRIBE.
    AcceptSubscribe(RequestId, SubscribeOk),
    /// Accept the peer's PUBLISH.
    AcceptPublish(RequestId, PublishOk),
    /// Accept the peer's FETCH.
    AcceptFetch(RequestId, FetchOk),
    /// Answer the peer's TRACK_STATUS.
    AcceptTrackStatus(RequestId, SubscribeOk),
    /// Accept the peer's PUBLISH_NAMESPACE or SUBSCRIBE_NAMESPACE.
    AcceptNamespace(RequestId),
    /// Refuse a request of the peer, of whatever kind. The alias of a refused PUBLISH is forgotten.
    Reject(RequestId, RequestError),
    /// End a subscription that the peer has, by its SUBSCRIBE (accepted) or by our PUBLISH. All its streams are
    /// closed already. MOQT-14 §9.12 [D14-SUB-19].
    PublishDone(RequestId, PublishDone),
    /// Ask the peer to leave, for this URI if it is not empty.
    Goaway(Bytes),
    /// Close the session.
    Close(CloseCode, Cow<'static, str>),
}

/// One output: drain them all after every input and command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// For the connection.
    Action(Action),
    /// For the relay or client.
    Event(Box<Event>),
    /// For the log, when `Config::trace` asks for it. A message of ours is traced when it is made, which is before
    /// it is written when it has to wait for the peer's MAX_REQUEST_ID.
    Trace(Box<Traced>),
}

/// Why a command was not carried out; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// SETUP is not complete, or the session is closed.
    #[error("the session is not established")]
    NotEstablished,
    /// No such request, or not in a state in which this can be said.
    #[error("request {0} is not open for this")]
    NoSuchRequest(RequestId),
    /// The peer does not let us make requests fast enough, and the queue for them is full.
    #[error("the peer's MAX_REQUEST_ID keeps {0} requests waiting already")]
    Blocked(usize),
    /// The peer asked us to leave; new requests are not for this session. MOQT-14 §9.4 [D14-GOAWAY-1].
    #[error("the peer sent GOAWAY")]
    GoingAway,
    /// The same was asked before, and that request is still open: a subscription to this track, this namespace, or
    /// an overlapping prefix.
    #[error("request {0} asks for this already")]
    Duplicate(RequestId),
    /// The draft does not allow this, and the peer would close the session for it.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The message cannot be written.
    #[error(transparent)]
    Encode(#[from] crate::moqt::error::EncodeError),
}

/// For the log: a message that went out or came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// True when the peer sent it.
    pub inbound: bool,
    /// The message.
    pub message: ControlMessage,
}
