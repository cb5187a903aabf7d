//! The information bases of the relay: one machine, fed by all links and by local users.
//!
//! ```text
//!  PeerLinkActor ⇢⇢▶ InfoBaseActor.PeerSaid, awaited       one message of a peer at a time: back-pressure
//!  InfoBaseActor ──▶ InfoBase ──▶ Say to links, Fib to all who forward
//!                             ──▶ MeshNews, FromNode to the mesh; PeerSaid is answered when it has taken them
//!  greetings and answers to pulls pause for links on which 256 messages wait; changes do not, and 65,536 end the link
//! ```

mod handlers;
mod messages;
mod mouth;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]
mod tests;

pub use handlers::{TakeView, View};
pub use messages::{
    Admits, EndBases, EndLink, LeaveMesh, LinkMeasured, LinkOver, LinkStands, PeerSaid, RoomAgain, Say,
};
pub use mouth::{Gauge, Mouth, RoomBell};

use super::mesh::{BasesBegan, FromNode, MeshNews, News};
use crate::census::Count;
use crate::registry::Reregister;
use crate::root::StopChild;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox::{Credit, signal};
use crate::supervise::{ChildGuard, Faults, Wake};
use actix::{Actor, AsyncContext, Context, Recipient, SpawnHandle};
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::info_base::{
    InfoBase, Limits, LinkId, NodeMessage, Output, RefuseReason, Settings, Stamp,
};
use laps_protocol::peering::limits;
use laps_protocol::peering::message::{Message, Relayed};
use laps_protocol::peering::node::{NodeId, NodeType};
use slog::{Logger, debug, warn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long the mesh may take for what a peer said.
const TAKEN: Duration = Duration::from_secs(30);

/// Who serves local users.
#[derive(Clone, Debug)]
pub struct Ears {
    /// Is told that new bases have begun.
    pub began: Recipient<BasesBegan>,
    /// What other nodes have and want.
    pub news: Recipient<MeshNews>,
    /// What they say to this one.
    pub nodes: Recipient<FromNode>,
    /// What else they hear; nothing in some tests.
    pub life: Option<Life>,
}

/// What those who serve local users hear of the relay they are part of.
#[derive(Clone, Debug)]
pub struct Life {
    /// There is a new registry, which is to be told everything.
    pub reregister: Recipient<Reregister>,
    /// The peering ends, and so do they. They and the plane know each other, so nothing else would end them.
    pub end: Vec<Recipient<StopChild>>,
    /// Who says how full their tables are.
    pub counting: Vec<Recipient<Count>>,
}

/// What the bases are made of.
#[derive(Debug)]
pub struct Birth {
    /// The relay.
    pub node: NodeId,
    /// What it does in the mesh.
    pub role: NodeType,
    /// This life of the bases: greater than that of any earlier ones, see [`InfoBase::new`].
    pub epoch: u64,
    /// Times.
    pub settings: Settings,
    /// Bounds.
    pub limits: Limits,
    /// Where data is sent, for all who forward. It outlives the bases: with a table that is a little old, data still
    /// goes on.
    pub fib: Arc<watch::Sender<Fib>>,
    /// Who serves local users; nobody on a Via.
    pub mesh: Option<Ears>,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Where it logs.
    pub log: Logger,
    /// None in a test.
    pub guard: Option<ChildGuard>,
}

/// What happened beside what the machine counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages for nodes further away that were handed on.
    pub relayed: u64,
    /// Messages for nodes that cannot be reached, that came back on their way, that went through too many relays, or for
    /// whose link too much waits already.
    pub undeliverable: u64,
    /// Messages for nodes that could not be read or written.
    pub malformed: u64,
    /// Links that were given up because their peer does not take what it is told.
    pub overflowed: u64,
    /// What local users did not take.
    pub untaken: u64,
}

/// The information bases.
///
/// Parent: the peering. Arbiter: that of the links. Restart: permanent; links that stand belong to the bases that they
/// were told to, so the parent ends them, and their peers dial again. In: [`Admits`], [`LinkStands`], [`LinkOver`], [`EndBases`],
/// [`LinkMeasured`], [`PeerSaid`], [`RoomAgain`], [`Want`](super::mesh::Want),
/// [`SendToNode`](super::mesh::SendToNode), [`TakeView`]. Out: [`Say`] and [`EndLink`] to
/// links; [`BasesBegan`], [`MeshNews`] and [`FromNode`] to the mesh. Lost on death: all that was learned, and what local
/// users want, who say it again to those that begin.
#[derive(Debug)]
pub struct InfoBaseActor {
    base: InfoBase,
    node: NodeId,
    mouths: BTreeMap<LinkId, Mouth>,
    /// What is said to links at the end of this turn.
    said: BTreeMap<LinkId, Vec<Message>>,
    untold: Vec<News>,
    refused: Option<(LinkId, RefuseReason)>,
    counters: Counters,
    fib: Arc<watch::Sender<Fib>>,
    mesh: Option<Ears>,
    faults: Faults,
    credit: Option<Credit>,
    timer: Option<(std::time::Instant, SpawnHandle)>,
    log: Logger,
    _guard: Option<ChildGuard>,
}

impl InfoBaseActor {
    /// Empty bases.
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        let Birth {
            node,
            role,
            epoch,
            settings,
            limits,
            ..
        } = birth;
        Self {
            base: InfoBase::new(node, role, epoch, settings, limits, now()),
            node,
            mouths: BTreeMap::new(),
            said: BTreeMap::new(),
            untold: Vec::new(),
            refused: None,
            counters: Counters::default(),
            fib: birth.fib,
            mesh: birth.mesh,
            faults: birth.faults,
            credit: None,
            timer: None,
            log: birth.log,
            _guard: birth.guard,
        }
    }

    /// With the credit of the bell that links ring when they have room again.
    #[must_use]
    pub fn answering(self, credit: Credit) -> Self {
        Self {
            credit: Some(credit),
            ..self
        }
    }

    /// A bell for links, to be made once for the life of an actor.
    #[must_use]
    pub fn bell(to: Recipient<RoomAgain>) -> (RoomBell, Credit) {
        Wake::new(to)
    }

    /// Does all that follows from the last input, and tells local users.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        self.drain(ctx);
        if let (Some(news), Some(mesh)) = (self.news(), &self.mesh) {
            signal(&mesh.news, news);
        }
    }

    /// Does all that follows from the last input, and leaves what local users are to know.
    fn drain(&mut self, ctx: &mut Context<Self>) {
        loop {
            let mouths = &self.mouths;
            let has_room = |link| mouths.get(&link).is_none_or(Mouth::has_room);
            let Some(output) = self.base.poll_output_where(has_room) else {
                break;
            };
            self.act(output);
        }
        for (link, messages) in std::mem::take(&mut self.said) {
            if let Some(mouth) = self.mouths.get(&link) {
                signal(mouth.say(), Say(messages));
            }
        }
        self.wind(ctx);
    }

    fn news(&mut self) -> Option<MeshNews> {
        let untold = std::mem::take(&mut self.untold);
        (!untold.is_empty()).then_some(MeshNews(untold))
    }

    /// Sets the one timer.
    fn wind(&mut self, ctx: &mut Context<Self>) {
        let due = self.base.poll_timeout();
        if self.timer.as_ref().map(|(at, _)| *at) == due {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = due.map(|at| {
            let wait = at.saturating_duration_since(now());
            let timer = ctx.run_later(wait, |bases, ctx| {
                bases.timer = None;
                bases.base.handle_timeout(now());
                bases.settle(ctx);
            });
            (at, timer)
        });
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Send { link, message, stamp } => self.say(link, message.stamped(stamp)),
            Output::SendOwn { link, message } => self.say(link, Message::Own(message)),
            Output::ToNode { node, message } => self.say_to_node(node, &message),
            Output::Fib(fib) => {
                self.fib.send_replace(fib);
            }
            Output::Refused { link, reason } => self.refused = Some((link, reason)),
            Output::EndLink { link, reason } => {
                if reason == RefuseReason::TooFarBehind {
                    self.note_overflow(link);
                }
                self.end_link(link, reason.text());
            }
            Output::NodeReachable {
                node,
                node_type,
                ours,
            } => self.untold.push(News::NodeReachable {
                node,
                node_type,
                ours,
            }),
            Output::NodeUnreachable { node } => self.untold.push(News::NodeUnreachable { node }),
            Output::RemotePublish { source, what } => self.untold.push(News::Publish { source, what }),
            Output::RemotePublishGone { source, what } => {
                self.untold.push(News::PublishGone { source, what });
            }
            Output::RemoteSubscribe { source, track, data } => {
                self.untold.push(News::Subscribe { source, track, data });
            }
            Output::RemoteSubscribeGone { source, track } => {
                self.untold.push(News::SubscribeGone { source, track });
            }
            Output::Report(report) => warn!(self.log, "a peer is not believed"; "why" => %report),
            // The machine may learn to say more than this build acts on.
            other => debug!(self.log, "peering: nothing is done"; "output" => ?other),
        }
    }

    /// Puts a message among those that a link is told at the end of the turn.
    fn say(&mut self, link: LinkId, message: Message) {
        let Some(mouth) = self.mouths.get(&link) else {
            return;
        };
        if mouth.take() {
            self.said.entry(link).or_default().push(message);
            return;
        }
        self.note_overflow(link);
        self.end_link(link, RefuseReason::TooFarBehind.text());
    }

    fn note_overflow(&mut self, link: LinkId) {
        self.counters.overflowed += 1;
        warn!(self.log, "a peer does not take what it is told, its link ends"; "link" => link.0);
    }

    /// Gives a link up, and says why.
    fn end_link(&mut self, link: LinkId, why: &'static str) {
        if let Some(mouth) = self.mouths.remove(&link) {
            signal(mouth.end(), EndLink(why));
        }
        self.base.link_down(now(), link);
    }

    fn on_said(&mut self, link: LinkId, message: Message) -> Option<FromNode> {
        // What was under way when the link was given up.
        if !self.mouths.contains_key(&link) {
            return None;
        }
        let (message, stamp) = message.unstamped();
        if let Message::Relayed(relayed) = message {
            return self.on_relayed(link, relayed);
        }
        if let Message::Own(message) = message {
            self.base.handle_own_message(now(), link, message);
        } else {
            let stamp: Stamp = stamp.unwrap_or_default();
            self.base.handle_message(now(), link, message, stamp);
        }
        None
    }

    fn say_to_node(&mut self, node: NodeId, message: &NodeMessage) {
        match (self.base.control_link(node), Relayed::of_infos(node, message)) {
            (Some(link), Ok(relayed)) => self.say(link, Message::Relayed(relayed)),
            (None, _) => self.counters.undeliverable += 1,
            (_, Err(_)) => self.counters.malformed += 1,
        }
    }

    /// A NODE_MESSAGE: for this relay, or on its way to another. Gives what is not for the bases.
    fn on_relayed(&mut self, from: LinkId, mut relayed: Relayed) -> Option<FromNode> {
        if !self.base.may_say(from, relayed.source, relayed.target) {
            return None;
        }
        if relayed.target == self.node {
            match relayed.infos(&limits::Limits::default()) {
                Ok(Some(message)) => self.base.handle_node_message(now(), message),
                Ok(None) => {
                    return Some(FromNode {
                        source: relayed.source,
                        kind: relayed.kind,
                        request_id: relayed.request_id,
                        body: relayed.body,
                    });
                }
                Err(error) => {
                    self.counters.malformed += 1;
                    debug!(self.log, "a node says what cannot be read"; "source" => %relayed.source, "why" => %error);
                }
            }
            return None;
        }
        let next = self
            .base
            .control_link(relayed.target)
            .filter(|next| *next != from)
            .filter(|next| self.mouths.get(next).is_some_and(Mouth::hands_on));
        match (next, relayed.hop_limit.checked_sub(1)) {
            (Some(next), Some(hop_limit)) => {
                relayed.hop_limit = hop_limit;
                self.counters.relayed += 1;
                self.say(next, Message::Relayed(relayed));
            }
            _ => self.counters.undeliverable += 1,
        }
        None
    }
}

impl Actor for InfoBaseActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        self.faults.attend(ctx, "info_base", || self.node);
        if let Some(mesh) = &self.mesh {
            let began = BasesBegan {
                want: ctx.address().recipient(),
                nodes: ctx.address().recipient(),
            };
            signal(&mesh.began, began);
        }
        self.settle(ctx);
    }
}

/// tokio's clock, so that virtual time reaches the machine too.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
