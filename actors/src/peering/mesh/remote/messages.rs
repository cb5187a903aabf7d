//! What the actors of nodes and the mesh say to each other.

use crate::supervise::mailbox::AskError;
use crate::track::Description;
use actix::Message;
use laps_protocol::moqt::message::{
    FetchOk, GroupOrderRequest, RequestError, RequestId, Subscribe, SubscribeFilter, SubscribeOk,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{Answer, Published};
use laps_protocol::peering::node::NodeId;

/// What a track wants of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Wish {
    /// Objects are wanted.
    pub(in super::super) forward: bool,
    /// Subscriber priority, 0 the most urgent.
    pub(in super::super) priority: u8,
    /// Order of groups.
    pub(in super::super) group_order: GroupOrderRequest,
    /// Which objects.
    pub(in super::super) filter: SubscribeFilter,
}

/// To the mesh: what is wanted of a node changes.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct Wished {
    /// The node.
    pub(in super::super) node: NodeId,
    /// The track.
    pub(in super::super) track: FullTrackName,
    /// What is wanted of the node; none when nothing is any more.
    pub(in super::super) wish: Option<Wish>,
    /// The node is to answer, though it may have been asked before.
    pub(in super::super) anew: bool,
    /// A new group is wanted, with this value for the parameter.
    pub(in super::super) new_group: Option<u64>,
}

/// To the actor of a node: it publishes this, or no longer, in this order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct NodeTells(pub(in super::super) Vec<(Published, bool)>);

/// To the actor of a node: whether it is one of ours, which answers.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct IsOurs(pub(in super::super) bool);

/// To the actor of a node: it cannot be reached just now. What it says when it can be may be said in another life, which
/// knows nothing of this one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct NodeAway;

/// To the actor of a node: a link died by which something of it came.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct WayCut;

/// To the actor of a node: it cannot be reached, and its infos are over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct NodeLost;

/// To the actor of a node: more publishers announce this namespace there, which it announces already.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct Announces(pub(in super::super) TrackNamespace);

/// To the actor of a node: it answers the SUBSCRIBE for a track, or cannot be asked.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct Answered {
    /// The track.
    pub(in super::super) track: FullNameHash,
    /// Which SUBSCRIBE; 0 for one that could not be said.
    pub(in super::super) number: RequestId,
    /// What it says.
    pub(in super::super) answer: Answer,
    /// Whether it has said so before.
    pub(in super::super) telling: Telling,
}

/// Whether an answer of a node is one that it has given before, in the same life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Telling {
    /// It is not.
    Once,
    /// It says so since a link on the way died: [`TrackAnswer::AGAIN`](laps_protocol::peering::message::TrackAnswer::AGAIN).
    Again,
    /// It says so in case that was not heard:
    /// [`TrackAnswer::REPEATED`](laps_protocol::peering::message::TrackAnswer::REPEATED).
    Repeated,
}

/// To the actor of a node: it answers a FETCH.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct FetchAnswered {
    /// Which.
    pub(in super::super) fetch: RequestId,
    /// FETCH_OK or FETCH_ERROR.
    pub(in super::super) answer: Result<FetchOk, RequestError>,
}

/// To the actor of a node: how does a track stand there, as who subscribes like this would be told?
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Description, NoStatus>")]
pub(crate) struct AskStatus(pub(crate) Subscribe);

/// Why a node does not say how a track stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoStatus {
    /// It is none that can be asked: a laps relay, which answers nothing, or no node at all. It is subscribed to.
    NotAsked,
    /// Who subscribes would be refused so.
    Refused(RequestError),
    /// It has not answered.
    Silent(AskError),
}

/// To the actor of a node: it says how a track stands, or that it does not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in super::super) struct StatusTold {
    /// Which question.
    pub(in super::super) status: RequestId,
    /// What SUBSCRIBE would be answered.
    pub(in super::super) answer: Result<SubscribeOk, RequestError>,
}
