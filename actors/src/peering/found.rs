//! Relays that are found on the local network are dialled like those that are named; mutual TLS decides who they are.
//!
//! One that is not advertised any more keeps the link that it has, and is not dialled again when that ends.

use super::options::Reach;
use super::supervisor::{PeeringActor, Wanted};
use super::target::PeerTarget;
use super::tries;
use crate::discovery::{Found, PeerFound};
use actix::{ActorFutureExt, AsyncContext, Context};
use laps_protocol::discovery::Instance;
use laps_protocol::peering::message::PeerMode;
use laps_protocol::peering::node::NodeType;
use slog::{info, warn};
use std::collections::VecDeque;
use tokio::sync::watch;

/// Relays that are dialled because they were found: a local network has few, and whoever is on it can advertise many.
pub const MAX_FOUND: usize = 64;

/// How a relay was found that is dialled.
#[derive(Debug)]
pub(super) struct Meeting {
    via: Instance,
    /// Where it is dialled, one address after the other.
    ways: VecDeque<PeerTarget>,
    /// It is not advertised any more.
    gone: bool,
    /// And nobody dials it.
    rests: bool,
}

impl Meeting {
    /// Whether it is to be left alone, which it is from now on then.
    pub(super) const fn rests(&mut self) -> bool {
        self.rests |= self.gone;
        self.rests
    }
}

/// Where it can be dialled. An address that is one only together with an interface is left out.
fn ways(peer: &PeerFound) -> VecDeque<PeerTarget> {
    let addresses = peer.addresses.iter();
    addresses
        .filter_map(|address| address.to_string().parse().ok())
        .collect()
}

impl<R: Reach> PeeringActor<R> {
    /// Dials who is found from now on.
    pub(super) fn begin_meeting(&mut self, ctx: &mut Context<Self>) {
        if let Some(mut found) = self.options.found.clone() {
            let now = Found::clone(&found.borrow_and_update());
            self.meet(&now, ctx);
            Self::await_found(found, ctx);
        }
    }

    fn await_found(mut found: watch::Receiver<Found>, ctx: &mut Context<Self>) {
        let changed = async move { found.changed().await.ok().map(|()| found) };
        ctx.spawn(
            actix::fut::wrap_future::<_, Self>(changed).map(|found, peering, ctx| {
                if let Some(mut found) = found {
                    let now = Found::clone(&found.borrow_and_update());
                    peering.meet(&now, ctx);
                    Self::await_found(found, ctx);
                }
            }),
        );
    }

    /// These are found now, and nobody else.
    fn meet(&mut self, found: &Found, ctx: &mut Context<Self>) {
        for meeting in self.wanted.iter_mut().filter_map(|wanted| wanted.found.as_mut()) {
            meeting.gone = !found.contains_key(&meeting.via);
        }
        for (via, peer) in found.iter() {
            if !self.may_dial(peer) {
                continue;
            }
            let ways = ways(peer);
            let Some(target) = ways.front().cloned() else {
                continue;
            };
            let known = self
                .wanted
                .iter()
                .position(|wanted| wanted.found.as_ref().is_some_and(|meeting| meeting.via == *via));
            let meeting = Meeting {
                via: via.clone(),
                ways,
                gone: false,
                rests: false,
            };
            if let Some(index) = known {
                self.meet_again(index, meeting, target, ctx);
                continue;
            }
            let wanted = Wanted {
                target,
                mode: PeerMode::Both,
                tries: tries(self.options.backoff),
                node: peer.node,
                found: Some(meeting),
            };
            if let Some(index) = self.place(wanted) {
                info!(self.options.log, "a relay that was found is dialled"; "relay" => %via);
                self.dial(index, ctx);
            }
        }
    }

    /// One that was known is still there, may be elsewhere.
    fn meet_again(&mut self, index: usize, meeting: Meeting, target: PeerTarget, ctx: &mut Context<Self>) {
        let Some(wanted) = self.wanted.get_mut(index) else {
            return;
        };
        let Some(known) = &mut wanted.found else { return };
        let rested = known.rests;
        if !meeting.ways.iter().all(|way| known.ways.contains(way)) || meeting.ways.len() != known.ways.len()
        {
            wanted.target = target;
            known.ways = meeting.ways;
        }
        (known.gone, known.rests) = (false, false);
        if rested {
            self.dial(index, ctx);
        }
    }

    /// Whether a relay that says so is one to dial.
    fn may_dial(&self, peer: &PeerFound) -> bool {
        let own = &self.options.own;
        // laps peering, "Stub": must peer directly with Edge relays.
        let edge = peer.node_type.is_none_or(|kind| kind == NodeType::Edge);
        peer.node != Some(own.id) && (own.node_type != NodeType::Stub || edge)
    }

    /// A place for one more: a new one, or that of one that is gone.
    fn place(&mut self, wanted: Wanted) -> Option<usize> {
        let met = self.wanted.iter().filter(|wanted| wanted.found.is_some()).count();
        if met < MAX_FOUND {
            self.wanted.push(wanted);
            return Some(self.wanted.len() - 1);
        }
        let rests = |wanted: &Wanted| wanted.found.as_ref().is_some_and(|meeting| meeting.rests);
        let free = self.wanted.iter().position(rests);
        let Some((index, place)) = free.and_then(|index| Some((index, self.wanted.get_mut(index)?))) else {
            warn!(self.options.log, "a relay that was found is not dialled: there are too many"; "most" => MAX_FOUND);
            return None;
        };
        *place = wanted;
        Some(index)
    }

    /// One that was not reached may be at another of its addresses.
    pub(super) fn next_address(&mut self, index: usize) {
        let Some(wanted) = self.wanted.get_mut(index) else {
            return;
        };
        if let Some(meeting) = &mut wanted.found {
            meeting.ways.rotate_left(usize::from(!meeting.ways.is_empty()));
            if let Some(next) = meeting.ways.front() {
                wanted.target = next.clone();
            }
        }
    }
}
