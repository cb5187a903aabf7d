//! What the mesh's actor does with what it is told.

use super::remote::messages::{
    Announces, Answered, FetchAnswered, IsOurs, NodeAway, NodeLost, NodeTells, StatusTold, Telling, WayCut,
};
use super::{BasesBegan, FAILURES, FromNode, GIVEN_UP, MeshActor, MeshNews, News, PAUSE, SendToNode};
use crate::metrics::restarts;
use crate::peering::plane::WaysCut;
use crate::registry::Reregister;
use crate::supervise::mailbox;
use crate::supervise::{ChildDown, Decision, Restart, Supervisor};
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::message::{RequestError, RequestId, SubscribeOk};
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{
    FetchMessage, FetchStep, LostNodes, MorePublishers, Published, TrackAnswer,
};
use laps_protocol::peering::node::{NodeId, NodeType};
use slog::{debug, info, warn};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long new bases have to tell what the ones before them had told: links come up and relays tell each other what they
/// have in that time.
const CONFIRM: Duration = Duration::from_secs(10);

/// What nodes publish, or no longer, by node and in order.
type Told = BTreeMap<NodeId, Vec<(Published, bool)>>;

impl MeshActor {
    /// One piece of news; what it says of publications is added to `told`. The value is whether it is for the other part.
    fn hear(&mut self, news: &News, told: &mut Told) -> bool {
        match news {
            News::NodeReachable {
                node,
                ours,
                node_type,
            } => {
                self.inlets.set_laps(*node, !*ours);
                let known = self.node(*node);
                known.reachable = true;
                known.stub = *node_type == NodeType::Stub;
                if std::mem::replace(&mut known.ours, *ours) != *ours {
                    self.tell(*node, IsOurs(*ours));
                }
                true
            }
            // Its infos stay until their end is told: what takes another way is back before that.
            News::NodeUnreachable { node } => {
                self.node(*node).reachable = false;
                self.tell(*node, NodeAway);
                told.entry(*node).or_default();
                true
            }
            News::Publish { source, what } => {
                let node = self.node(*source);
                node.unconfirmed.remove(what);
                if node.publishes.insert(what.clone()) {
                    told.entry(*source).or_default().push((what.clone(), true));
                }
                true
            }
            News::PublishGone { source, what } => {
                let node = self.node(*source);
                node.unconfirmed.remove(what);
                node.publishes.remove(what);
                told.entry(*source).or_default().push((what.clone(), false));
                true
            }
            News::Subscribe { .. } | News::SubscribeGone { .. } => true,
        }
    }

    /// The actors of nodes hear what they publish.
    fn pass_on(&mut self, ctx: &Context<Self>, told: Told) {
        for (id, changes) in told {
            let Some(node) = self.nodes.get(&id) else {
                continue;
            };
            match &node.child {
                // What it has to say does not come any more.
                Some((_, child)) if node.publishes.is_empty() && !node.reachable => {
                    mailbox::signal(child, NodeLost);
                }
                Some((_, child)) => drop(mailbox::signal(child, NodeTells(changes))),
                None => self.serve(ctx, id),
            }
            self.tidy(id);
        }
    }

    /// What earlier bases told, and these have not, is over.
    fn confirm(&mut self, ctx: &Context<Self>, life: u64) {
        if self.lives != life {
            return;
        }
        let mut told = Told::new();
        for (id, node) in &mut self.nodes {
            for what in std::mem::take(&mut node.unconfirmed) {
                node.publishes.remove(&what);
                told.entry(*id).or_default().push((what, false));
            }
        }
        self.pass_on(ctx, told);
    }

    /// A node answers the SUBSCRIBE of some number, or says again what it answered.
    fn answered(&self, source: NodeId, answered: TrackAnswer, telling: Telling) {
        let TrackAnswer {
            track,
            request,
            answer,
        } = answered;
        debug!(self.log, "a node answers"; "node" => %source, "answer" => answer.name(), "telling" => ?telling,
            "request" => request.0);
        // Decision 0029: what was asked before and is not wanted any more, or was asked anew, is answered in vain.
        if self.asking.is_answer(track, source, request) {
            let answered = Answered {
                track,
                number: request,
                answer,
                telling,
            };
            self.tell(source, answered);
        }
    }

    /// A node says something of a FETCH or TRACK_STATUS of one of both; the value is whether it asks.
    fn fetch_said(&self, source: NodeId, said: FetchMessage) -> bool {
        let fetch = said.request;
        match said.step {
            FetchStep::Ok(ok) => self.tell(
                source,
                FetchAnswered {
                    fetch,
                    answer: Ok(ok),
                },
            ),
            FetchStep::Error(error) => {
                let answer = Err(error);
                self.tell(source, FetchAnswered { fetch, answer });
            }
            FetchStep::StatusOk(ok) => self.status_told(source, fetch, Ok(ok)),
            FetchStep::StatusError(error) => self.status_told(source, fetch, Err(error)),
            FetchStep::Fetch(_) | FetchStep::Cancel | FetchStep::Status(_) => return true,
        }
        false
    }

    fn status_told(&self, source: NodeId, status: RequestId, answer: Result<SubscribeOk, RequestError>) {
        self.tell(source, StatusTold { status, answer });
    }

    /// Something that cannot be read, or is of a kind that nobody here knows.
    fn unread(&mut self, source: NodeId, why: &dyn Display) {
        self.malformed = self.malformed.saturating_add(1);
        debug!(self.log, "a node says what cannot be read"; "node" => %source, "why" => %why,
            "so_far" => self.malformed);
    }
}

impl Handler<BasesBegan> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: BasesBegan, ctx: &mut Self::Context) {
        if let Some(origin) = &self.origin {
            mailbox::signal(&origin.began, msg.clone());
        }
        self.bases = Some(msg);
        self.lives += 1;
        let life = self.lives;
        for node in self.nodes.values_mut() {
            node.reachable = false;
            node.unconfirmed = node.publishes.clone();
        }
        if life > 1 {
            // All links ended with the bases before these.
            for node in self.nodes.keys() {
                self.tell(*node, NodeAway);
            }
            info!(self.log, "the mesh begins anew"; "nodes" => self.nodes.len(), "asked" => self.asking.len());
            ctx.run_later(CONFIRM, move |actor, ctx| actor.confirm(ctx, life));
        }
        self.asking.forget_told();
        self.flush_soon(ctx);
        self.tell_watches_again(ctx);
    }
}

impl Handler<MeshNews> for MeshActor {
    type Result = ();
    fn handle(&mut self, MeshNews(news): MeshNews, ctx: &mut Self::Context) {
        self.env.faults.check("mesh");
        let mut told = Told::new();
        let mut others = Vec::new();
        for news in news {
            if self.hear(&news, &mut told) {
                others.push(news);
            }
        }
        self.pass_on(ctx, told);
        if let Some(origin) = self.origin.as_ref().filter(|_| !others.is_empty()) {
            mailbox::signal(&origin.news, MeshNews(others));
        }
    }
}

/// Nodes are told by their actors whose tracks lack what was on its way: they can be reached still, or again in a moment.
impl Handler<WaysCut> for MeshActor {
    type Result = ();
    fn handle(&mut self, WaysCut(nodes): WaysCut, _: &mut Self::Context) {
        for node in nodes {
            self.tell(node, WayCut);
        }
    }
}

impl Handler<FromNode> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: FromNode, _: &mut Self::Context) {
        let source = msg.source;
        match msg.kind {
            kind @ (TrackAnswer::KIND | TrackAnswer::AGAIN | TrackAnswer::REPEATED) => {
                let telling = match kind {
                    TrackAnswer::AGAIN => Telling::Again,
                    TrackAnswer::REPEATED => Telling::Repeated,
                    _ => Telling::Once,
                };
                match TrackAnswer::decode(msg.request_id, &msg.body) {
                    Ok(answered) => self.answered(source, answered, telling),
                    Err(error) => self.unread(source, &error),
                }
            }
            FetchMessage::KIND => match FetchMessage::decode(msg.request_id, &msg.body, &Limits::default()) {
                Ok(said) => {
                    if self.fetch_said(source, said)
                        && let Some(origin) = &self.origin
                    {
                        mailbox::signal(&origin.asked, msg);
                    }
                }
                Err(error) => self.unread(source, &error),
            },
            MorePublishers::KIND => match MorePublishers::decode(&msg.body, &Limits::default()) {
                Ok(MorePublishers(namespace)) => self.tell(source, Announces(namespace)),
                Err(error) => self.unread(source, &error),
            },
            // laps peering, "Stub": nothing goes to others by way of one, so nothing can be lost there.
            LostNodes::KIND if self.nodes.get(&source).is_some_and(|node| node.stub) => {
                self.unread(source, &"a stub hands nothing on");
            }
            LostNodes::KIND => {
                if let Some(origin) = &self.origin {
                    mailbox::signal(&origin.asked, msg);
                }
            }
            kind => self.unread(source, &format_args!("kind {kind}")),
        }
    }
}

/// What a node says leaves by the bases that there are.
impl Handler<SendToNode> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: SendToNode, _: &mut Self::Context) {
        if let Some(bases) = &self.bases {
            mailbox::signal(&bases.nodes, msg);
        }
    }
}

impl Handler<ChildDown> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        let Some(id) = self.children.remove(&msg.id) else {
            return;
        };
        self.asking.drop_node(id);
        self.flush_soon(ctx);
        let node = self.node(id);
        node.child = None;
        let after = match node.supervisor.child_down(Instant::now(), msg.exit) {
            Decision::Restart { after } => after,
            // It ended because it had nothing left, and may have been told of more since.
            Decision::Forget => {
                self.serve(ctx, id);
                self.tidy(id);
                return;
            }
            Decision::GiveUp => {
                node.supervisor = Supervisor::new(Restart::Transient, FAILURES, PAUSE, id.0);
                GIVEN_UP
            }
        };
        warn!(self.log, "the actor of a node failed"; "node" => %id, "again_in_ms" => after.as_millis());
        restarts::restarted("node");
        self.node(id).pausing = true;
        ctx.run_later(after, move |actor, ctx| {
            actor.node(id).pausing = false;
            actor.serve(ctx, id);
            actor.tidy(id);
        });
    }
}

impl Handler<Reregister> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: Reregister, ctx: &mut Self::Context) {
        self.watch_anew(ctx);
        for node in self.nodes.values() {
            if let Some((_, child)) = &node.child {
                mailbox::signal(child, msg.clone());
            }
        }
    }
}
