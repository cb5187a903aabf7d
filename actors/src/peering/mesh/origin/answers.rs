//! What nodes are told of the tracks that they subscribe to.

use super::OriginActor;
use super::ascending::has;
use super::track::Told;
use crate::peering::mesh::SendToNode;
use crate::session::{Say, SubscriptionOver};
use crate::supervise::mailbox;
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::message::{
    PublishDone, PublishDoneStatus, RequestError, RequestErrorReason, RequestId, SubscribeOk,
};
use laps_protocol::moqt::session::Command;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{Answer, TrackAnswer};
use laps_protocol::peering::node::NodeId;
use slog::{debug, info};
use std::collections::BTreeSet;
use std::time::Duration;

/// The pause before a subscription begins anew that was too far behind.
const CATCH_UP: Duration = Duration::from_secs(1);

impl OriginActor {
    /// Tells a node, unless it is one that understands nothing.
    pub(super) fn answer(&mut self, target: NodeId, track: FullNameHash, request: RequestId, answer: Answer) {
        self.answer_as(TrackAnswer::KIND, target, track, request, answer);
    }

    pub(super) fn answer_as(
        &mut self,
        kind: u8,
        target: NodeId,
        track: FullNameHash,
        request: RequestId,
        answer: Answer,
    ) {
        let Some(nodes) = self.nodes.as_ref().filter(|_| !self.strangers.contains(&target)) else {
            return;
        };
        let answer = TrackAnswer {
            track,
            request,
            answer,
        };
        match answer.encode() {
            Ok(body) => {
                self.counters.answers += 1;
                let known = self.tracks.get_mut(&track);
                let known = known.and_then(|track| track.nodes.get_mut(&target));
                if let Some(known) = known.filter(|known| known.request == request) {
                    known.sent |= matches!(answer.answer, Answer::Ok(_));
                }
                debug!(self.log, "a node is answered"; "node" => %target, "answer" => answer.answer.name(),
                    "kind" => kind, "request" => request.0);
                let request_id = request.0;
                mailbox::signal(
                    nodes,
                    SendToNode {
                        target,
                        kind,
                        request_id,
                        body,
                    },
                );
            }
            Err(error) => {
                debug!(self.log, "an answer cannot be said"; "node" => %target, "why" => %error);
            }
        }
    }

    /// Tells who waits for it that the track is there. `at_once`: its subscription was accepted just now, and whatever has
    /// come since is on its way already. Who comes later is told of the track as it is by then.
    ///
    /// Who lost its link and has a place on another one is told so again: it fetches what it lacks up to there.
    pub(super) fn welcome(&mut self, hash: FullNameHash, at_once: Option<LinkId>) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let mut answers = Vec::new();
        for (link, slot) in &track.slots {
            let Some(ok) = &slot.accepted else { continue };
            let stands = !slot.leaving && self.outlets.link(*link).is_some();
            let largest = if at_once == Some(*link) {
                ok.largest
            } else {
                slot.spec.largest().or(ok.largest)
            };
            for id in &slot.nodes {
                if track.aside.is_awaited_by(*id) {
                    continue;
                }
                let Some(node) = track.nodes.get_mut(id) else {
                    continue;
                };
                let kind = match node.told {
                    Told::Nothing => TrackAnswer::KIND,
                    Told::Ok if stands && track.cuts.is_to_be_told(*id) => TrackAnswer::AGAIN,
                    Told::Ok | Told::Over => continue,
                };
                node.told = Told::Ok;
                self.declined.remove(&track.name, *id);
                track.cuts.told(*id);
                let ok = SubscribeOk {
                    largest,
                    ..ok.clone()
                };
                answers.push((*id, kind, node.request, ok));
            }
        }
        for (node, kind, request, ok) in answers {
            self.answer_as(kind, node, hash, request, Answer::Ok(ok));
        }
    }

    /// These nodes have the track from now on; those of them that have yet to be told, and under which number.
    pub(super) fn accept_nodes(
        &mut self,
        hash: FullNameHash,
        nodes: &BTreeSet<NodeId>,
    ) -> Vec<(NodeId, RequestId)> {
        let declined = &mut self.declined;
        let Some(track) = self.tracks.get_mut(&hash) else {
            return Vec::new();
        };
        let waiting = track.nodes.iter_mut();
        let waiting = waiting.filter(|(id, node)| node.told == Told::Nothing && nodes.contains(id));
        let accepted = waiting.map(|(id, node)| {
            node.told = Told::Ok;
            declined.remove(&track.name, *id);
            (*id, node.request)
        });
        accepted.collect()
    }

    /// The subscription on a link is over: those behind it are told how.
    fn farewell(&mut self, ctx: &mut Context<Self>, at: (FullNameHash, LinkId), end: &End) {
        let Some(slot) = self.take_slot(at) else {
            return;
        };
        self.dismiss(at.0, &slot.nodes, end, (!slot.left).then_some(at.1));
        drop(slot);
        self.settle(ctx, at.0, &[]);
    }

    /// Tells nodes that they do not get the track, but for those that get it by another link. What `end` counts are the
    /// streams of the link `counted`.
    fn dismiss(&mut self, hash: FullNameHash, nodes: &[NodeId], end: &End, counted: Option<LinkId>) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let mut answers = Vec::new();
        let elsewhere = self.elsewhere.has(&track.name);
        for id in nodes {
            let mut others = track.slots.values();
            let served = others.any(|slot| !slot.leaving && has(&slot.nodes, id));
            let Some(node) = track.nodes.get_mut(id).filter(|_| !served) else {
                continue;
            };
            let told = std::mem::replace(&mut node.told, Told::Over);
            let answer = match told {
                Told::Nothing => Answer::Error(end.error.clone()),
                // Others got streams of others too, or not all of these.
                Told::Ok => Answer::Done(PublishDone {
                    stream_count: end
                        .done
                        .stream_count
                        .filter(|_| counted.is_some() && node.whole == counted),
                    ..end.done.clone()
                }),
                Told::Over => continue,
            };
            node.farewell = Some(Box::new(answer.clone()));
            // Who has nobody else to ask has nobody left who reads.
            if elsewhere && !node.parting && !self.strangers.contains(id) {
                self.declined.insert(&track.name, *id);
            }
            answers.push((*id, node.request, answer));
        }
        track
            .nodes
            .retain(|_, node| !(node.parting && node.told == Told::Over));
        for (node, request, answer) in answers {
            self.answer(node, hash, request, answer);
        }
    }

    /// No subscription could be begun for nodes.
    pub(super) fn refuse_nodes(&mut self, hash: FullNameHash, nodes: &[NodeId], phrase: &'static str) {
        let error = RequestError::new(RequestErrorReason::InternalError, phrase);
        self.dismiss(hash, nodes, &End::of_error(error), None);
    }

    /// A subscription fails for good.
    pub(super) fn give_up(
        &mut self,
        ctx: &mut Context<Self>,
        at: (FullNameHash, LinkId),
        phrase: &'static str,
    ) {
        let error = RequestError::new(RequestErrorReason::InternalError, phrase);
        self.farewell(ctx, at, &End::of_error(error));
    }
}

/// How a subscription ended: for those who were told that it is there, and for the others.
pub(super) struct End {
    pub(super) done: PublishDone,
    error: RequestError,
}

impl End {
    pub(super) fn of_error(error: RequestError) -> Self {
        let done = PublishDone {
            status: PublishDoneStatus::InternalError,
            stream_count: None,
            phrase: error.phrase.clone(),
        };
        Self { done, error }
    }

    fn of_done(done: PublishDone) -> Self {
        let error = RequestError {
            reason: RequestErrorReason::InternalError,
            phrase: done.phrase.clone(),
        };
        Self { done, error }
    }
}

impl Handler<Say> for OriginActor {
    type Result = ();

    fn handle(&mut self, Say(command): Say, ctx: &mut Self::Context) {
        // A subscription says no more than these two.
        if let Command::AcceptSubscribe(request, ok) = command {
            if self.asides.contains_key(&request) {
                return self.aside_accepted(ctx, request, ok);
            }
            let Some(&(hash, link)) = self.requests.get(&request) else {
                return;
            };
            let slot = self
                .tracks
                .get_mut(&hash)
                .and_then(|track| track.slots.get_mut(&link));
            if let Some(slot) = slot {
                slot.accepted = Some(ok);
                self.welcome(hash, Some(link));
                self.leave_others(hash);
            }
        } else if let Command::Reject(request, error) = command {
            if let Some(&at) = self.requests.get(&request) {
                self.farewell(ctx, at, &End::of_error(error));
            } else {
                self.aside_over(ctx, request);
            }
        }
    }
}

impl Handler<SubscriptionOver> for OriginActor {
    type Result = ();

    fn handle(&mut self, msg: SubscriptionOver, ctx: &mut Self::Context) {
        let SubscriptionOver { request, done } = msg;
        let Some(&(hash, link)) = self.requests.get(&request) else {
            return self.aside_over(ctx, request);
        };
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        let Some(slot) = track.slots.get(&link) else {
            return;
        };
        let wish = track.wish(&slot.nodes);
        let wider = wish.as_ref().is_some_and(|wish| *wish != slot.wish);
        // The end was that of a link that is not in the route, or was not for a time, or of nodes that have left since.
        let ended = done.status == PublishDoneStatus::SubscriptionEnded;
        if slot.leaving || (ended && (slot.left || wider)) {
            self.forget(ctx, hash, link);
        } else if done.status == PublishDoneStatus::TooFarBehind {
            // The nodes lose some groups, as they do by each that is given up, and not the track.
            self.counters.behind += 1;
            info!(self.log, "a subscription on a link was too far behind and begins anew"; "link" => link.0,
                "track" => %track.name, "times" => self.counters.behind);
            drop(self.take_slot((hash, link)));
            ctx.run_later(CATCH_UP, move |actor, ctx| actor.settle(ctx, hash, &[]));
        } else {
            self.farewell(ctx, (hash, link), &End::of_done(done));
        }
    }
}

impl OriginActor {
    /// A subscription has done what it had to; whoever still needs the link gets another one.
    fn forget(&mut self, ctx: &mut Context<Self>, hash: FullNameHash, link: LinkId) {
        self.has_left((hash, link));
        self.settle(ctx, hash, &[]);
    }
}
