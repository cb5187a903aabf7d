//! Which links need a subscription to which track, and what becomes of it when routes and wishes change.

use super::OriginActor;
use super::ascending::{has, without};
use super::slot::{Plan, Slot};
use super::track::{Track, together};
use super::wish::Wish;
use crate::limits::Kind;
use crate::metrics::restarts;
use crate::peering::plane::{LinkOut, OutRoute, TrackRerouted};
use crate::session::egress::{Heads, Rank};
use crate::subscription::{Origin, Spec};
use crate::supervise::ChildDown;
use crate::supervise::policy::Decision;
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::forward::node_sets::JoinCause;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use slog::warn;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

/// How long laps lets objects be under way whose publisher says nothing; as laps does.
const LAPS_TTL_MS: u32 = 5000;

impl OriginActor {
    /// Does what follows from the wishes and the route of a track. Those of `asks` want a new group.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>, hash: FullNameHash, asks: &[NodeId]) {
        self.aim(hash);
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        if track.nodes.is_empty() {
            // What is under way has nobody left.
            let links: Vec<_> = track.slots.keys().copied().collect();
            for link in links {
                drop(self.take_slot((hash, link)));
            }
            drop(self.end_asides(hash, |_| true));
            self.tracks.remove(&hash);
            return;
        }
        let routes = self.outlets.route(hash);
        self.end_others(hash, &routes);
        for route in routes {
            self.serve(ctx, hash, route, asks);
        }
        self.leave_others(hash);
        self.prioritise_rest(hash);
        self.welcome(hash, None);
        self.take_up(ctx, hash);
        self.aim(hash);
    }

    /// What is still open on links that others have taken over from, and aside, is as urgent as it is by now to those whom
    /// it is for. MOQT-14 §7.1 [D14-PRIO-4]
    fn prioritise_rest(&mut self, hash: FullNameHash) {
        if let Some(Track { nodes, slots, .. }) = self.tracks.get_mut(&hash) {
            for slot in slots.values_mut().filter(|slot| slot.leaving) {
                if let Some(wish) = together(nodes, &slot.nodes) {
                    slot.prioritise(wish.priority());
                }
            }
        }
        self.prioritise_asides(hash);
    }

    /// Tells the plane who is to get a track.
    fn aim(&mut self, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let live = track.urgent();
        if live != track.targets {
            track.targets.clone_from(&live);
            self.outlets.set_targets(hash, live);
        }
    }

    /// Takes a subscription out, to end it.
    pub(super) fn take_slot(&mut self, (hash, link): (FullNameHash, LinkId)) -> Option<Slot> {
        let slot = self.tracks.get_mut(&hash)?.slots.remove(&link)?;
        self.requests.remove(&slot.request);
        self.children.remove(&slot.child);
        Some(slot)
    }

    /// Links that are in the route no more, and that are gone or lead to nobody who wants the track.
    fn end_others(&mut self, hash: FullNameHash, routes: &[OutRoute]) {
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        let mut over = Vec::new();
        for (link, slot) in &track.slots {
            if routes.iter().any(|route| route.link == *link) {
                continue;
            }
            if self.outlets.link(*link).is_none() || !track.wants(&slot.nodes) {
                over.push(*link);
            }
        }
        for link in over {
            self.has_left((hash, link));
        }
        self.notice_cuts(hash);
    }

    /// The links that are in the route no more begin nothing from now on, once those that are in it have their places in the
    /// track: what began in between would be nobody's. What begins meanwhile goes by both, and is taken once.
    pub(super) fn leave_others(&mut self, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let routes = self.outlets.route(hash);
        let has_place = |route: &OutRoute| match track.slots.get(&route.link) {
            Some(slot) => slot.accepted.is_some(),
            // It is about to begin, or has nobody to begin for.
            None => !track.wants(&route.nodes),
        };
        if !routes.iter().all(has_place) {
            return;
        }
        let live = track.live();
        // For a moment after another link died no route leads to some: until one does, this link has a set that does.
        let elsewhere =
            |node: &NodeId| !live.contains(node) || routes.iter().any(|route| has(&route.nodes, node));
        for (link, slot) in &mut track.slots {
            if !routes.iter().any(|route| route.link == *link) && slot.nodes.iter().all(elsewhere) {
                // laps peering, "FIB": what is open on a link goes on there, if the link lives.
                slot.leave(true);
            }
        }
    }

    /// A link that is in the route.
    fn serve(&mut self, ctx: &mut Context<Self>, hash: FullNameHash, route: OutRoute, asks: &[NodeId]) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let wish = track.wish(&route.nodes);
        let new_group = asks.iter().any(|node| has(&route.nodes, node));
        let Some(slot) = track.slots.get_mut(&route.link) else {
            // One that others take over from begins nothing.
            if let Some(wish) = wish
                && let Some(link) = self.outlets.link(route.link)
            {
                self.begin(ctx, hash, link, route, wish, new_group);
            }
            return;
        };
        slot.set_sns(route.sns);
        slot.leave(false);
        // While another link takes over, what its nodes wanted holds to the end.
        if let Some(wish) = wish {
            let before = std::mem::replace(&mut slot.nodes, route.nodes);
            slot.change(wish, new_group);
            let (begins, continues) = (slot.accepted.is_none(), slot.spec.continues);
            let nodes = slot.nodes.clone();
            track.cuts.leave(route.link, without(&before, &nodes));
            track.moves(without(&nodes, &before));
            // One that begins with what is open gives it to them too.
            let mut lacking = track.lacking(&nodes);
            if begins {
                track.begins(route.link, &nodes, &before);
            }
            if begins && continues {
                lacking.clear();
            }
            if !route.laps {
                lacking.extend(track.joined(route.link, &before));
                self.join(ctx, hash, &lacking);
            }
        }
    }

    fn begin(
        &mut self,
        ctx: &mut Context<Self>,
        hash: FullNameHash,
        link: LinkOut,
        route: OutRoute,
        wish: Wish,
        new_group: bool,
    ) {
        let id = route.link;
        let place = match link.account.request(Kind::Subscriptions) {
            Ok(place) => place,
            Err(full) => {
                self.counters.refused += 1;
                link.account.note(&self.log, full);
                self.refuse_nodes(hash, &route.nodes, full.phrase());
                return;
            }
        };
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.counters.subscriptions += 1;
        let (mut spec, heads) = spec(
            request,
            (&track.name, hash),
            &route,
            &wish,
            new_group,
            &self.stubs,
        );
        track.moves(route.nodes.iter().copied());
        // What is open goes on at the link that had it before, if that lives.
        let lacking = track.lacking(&route.nodes);
        spec.continues = route.cause != JoinCause::Moved || !lacking.is_empty();
        spec.rewinds = spec.continues && !route.laps && track.rewinds(&route.nodes, &self.elsewhere);
        let plan = Plan {
            request,
            spec,
            heads,
            wish,
            nodes: route.nodes,
            place,
        };
        track.begins(id, &plan.nodes, &[]);
        let slot = Slot::start(ctx, &self.env, link, plan);
        self.requests.insert(request, (hash, id));
        self.children.insert(slot.child, (hash, id));
        track.slots.insert(id, slot);
    }

    pub(super) fn subscription_down(&mut self, ctx: &mut Context<Self>, down: ChildDown) {
        let Some((hash, link)) = self.children.remove(&down.id) else {
            return;
        };
        let slot = self
            .tracks
            .get_mut(&hash)
            .and_then(|track| track.slots.get_mut(&link));
        let Some(slot) = slot else { return };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } => {
                self.counters.restarts += 1;
                restarts::restarted(down.kind);
                warn!(self.log, "a subscription on a link failed and is restarted"; "link" => link.0);
                // What the failed actor left open has lost its place; the new one goes on at the next group.
                slot.streams.reset_all(ResetCode::InternalError);
                ctx.run_later(after, move |actor, ctx| actor.restart(ctx, (hash, link), down));
            }
            Decision::GiveUp => {
                warn!(self.log, "a subscription on a link failed too often"; "link" => link.0);
                self.give_up(ctx, (hash, link), "the subscription failed in the relay");
            }
            Decision::Forget => self.give_up(ctx, (hash, link), "the subscription ended in the relay"),
        }
    }

    fn restart(&mut self, ctx: &Context<Self>, (hash, link): (FullNameHash, LinkId), down: ChildDown) {
        let slot = self
            .tracks
            .get_mut(&hash)
            .and_then(|track| track.slots.get_mut(&link));
        if let Some(slot) = slot.filter(|slot| slot.child == down.id) {
            slot.restart(ctx, &self.env);
            self.children.insert(slot.child, (hash, link));
        }
    }
}

/// The subscription of a track, by name and hash, on the link of a route, and what stands before its streams.
pub(super) fn spec(
    request: RequestId,
    (name, hash): (&FullTrackName, FullNameHash),
    route: &OutRoute,
    wish: &Wish,
    new_group: bool,
    stubs: &BTreeSet<NodeId>,
) -> (Spec, Heads) {
    let endless_ms = if route.laps { LAPS_TTL_MS } else { 0 };
    let heads = Heads::new(hash, route.sns, endless_ms);
    let subscribe = wish.subscribe(name.clone(), new_group);
    // On links a track's alias is its hash, which has room in it.
    let mut spec = Spec::new(request, hash.get(), subscribe, Origin::PeerSubscribe);
    // Streams that come in by other links and leave by this one stand under the ids of their sets as well.
    let rank = RequestId(u64::from(route.sns.get()));
    spec.rank = Rc::new(Rank::new(rank, wish.priority(), GroupOrder::default()));
    spec.heads = Some(heads.clone());
    // Who is behind a stub is asked for by its edge, here.
    spec.own = route.nodes.iter().any(|node| stubs.contains(node));
    (spec, heads)
}

impl Handler<TrackRerouted> for OriginActor {
    type Result = ();

    fn handle(&mut self, TrackRerouted(track): TrackRerouted, ctx: &mut Self::Context) {
        if self.tracks.contains_key(&track) {
            self.settle(ctx, track, &[]);
        } else {
            // Whoever tells goes on telling only when it was asked.
            drop(self.outlets.route(track));
        }
    }
}
