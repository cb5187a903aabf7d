//! Nodes that lose a link: what they had of a track by it did not all arrive.
//!
//! That may be a link of this relay, or one further on: the relay before that one says so, or no link leads to a node for a
//! while.
//!
//! What is open comes to them again, from its start: from the subscription that begins for them in its place, or aside where
//! the one that has them from now on runs already. What was over by then is not sent again. They are told once more that
//! they have the track, and up to where it is made, and fetch what they lack of it (`track/home/repair.rs`).

use super::OriginActor;
use super::ascending::of_both;
use super::track::{Told, Track};
use actix::Context;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use slog::debug;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a link is remembered that nodes have left: one that is dead is noticed in this time, and what had been written
/// on it by then was lost.
const REMEMBERED: Duration = Duration::from_secs(5);

/// How long a node is taken to lack what is open whenever it gets another link, after a link beyond died by which it had the
/// track: the word of that may be here before the word that another way leads to it, or that none does.
const SHAKY: Duration = Duration::from_secs(5);

/// Nodes of one track that lost a link.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Who has yet to be told.
    untold: BTreeSet<NodeId>,
    /// Who lacks what is open.
    lacking: BTreeSet<NodeId>,
    /// Links that nodes had before they had others, whose they were, and until when that matters.
    left: BTreeMap<LinkId, (BTreeSet<NodeId>, Instant)>,
    /// Who lost a link further on, and until when that matters.
    shaky: BTreeMap<NodeId, Instant>,
}

impl Cuts {
    /// It had a place, and has yet to hear that it has another one.
    pub(super) fn is_to_be_told(&self, node: NodeId) -> bool {
        self.untold.contains(&node)
    }

    /// It is told.
    pub(super) fn told(&mut self, node: NodeId) {
        self.untold.remove(&node);
    }

    /// These nodes have another link from now on.
    pub(super) fn leave(&mut self, link: LinkId, nodes: impl IntoIterator<Item = NodeId>) {
        let mut nodes = nodes.into_iter().peekable();
        if nodes.peek().is_some() {
            let until = Instant::now() + REMEMBERED;
            let left = self.left.entry(link).or_insert((BTreeSet::new(), until));
            left.0.extend(nodes);
            left.1 = until;
        }
    }

    /// It wants the track no more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.untold.remove(&node);
        self.lacking.remove(&node);
        self.shaky.remove(&node);
    }
}

impl Track {
    /// Those of these nodes that lack what is open, and are given it now.
    pub(super) fn lacking(&mut self, nodes: &[NodeId]) -> Vec<NodeId> {
        let all = &mut self.cuts.lacking;
        nodes.iter().copied().filter(|node| all.remove(node)).collect()
    }

    /// These nodes get a link that they did not have.
    pub(super) fn moves(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        if self.cuts.shaky.is_empty() {
            return;
        }
        let now = Instant::now();
        self.cuts.shaky.retain(|_, until| *until > now);
        let shaky = nodes.into_iter();
        let shaky: Vec<_> = shaky.filter(|node| self.cuts.shaky.contains_key(node)).collect();
        self.cut(shaky);
    }

    fn cut(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            // Who has not been told that it has the track has been promised nothing of it.
            let known = self.nodes.get(&node).filter(|known| known.told == Told::Ok);
            if let Some(known) = known {
                self.cuts.untold.insert(node);
                if known.wish.forward() {
                    self.cuts.lacking.insert(node);
                }
            }
        }
    }
}

impl OriginActor {
    /// The subscription of a track on a link has come to its end, or the link has.
    pub(super) fn has_left(&mut self, at: (FullNameHash, LinkId)) {
        let Some(slot) = self.take_slot(at) else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&at.0) {
            track.cuts.leave(at.1, slot.nodes.iter().copied());
        }
    }

    /// A relay in between says that something of this relay's tracks did not get further, and for whom it was.
    pub(super) fn lost_beyond(&mut self, ctx: &mut Context<Self>, by: NodeId, nodes: &[NodeId]) {
        debug!(self.log, "a relay on the way has lost something"; "by" => %by, "nodes" => nodes.len());
        let nodes: BTreeSet<_> = nodes.iter().copied().collect();
        let until = Instant::now() + SHAKY;
        let mut cut = Vec::new();
        for (hash, track) in &mut self.tracks {
            let known = of_both(&track.nodes, &nodes);
            if !known.is_empty() {
                track.cuts.shaky.extend(known.iter().map(|node| (*node, until)));
                track.cut(known);
                cut.push(*hash);
            }
        }
        for hash in cut {
            self.settle(ctx, hash, &[]);
        }
    }

    /// Looks which nodes of a track have lost their links.
    pub(super) fn notice_cuts(&mut self, hash: FullNameHash) {
        let back = self.outlets.take_back(hash);
        let outlets = Rc::clone(&self.outlets);
        let is_gone = |link: LinkId| outlets.link(link).is_none();
        let aside = self.end_asides(hash, is_gone);
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let (now, slots) = (Instant::now(), &track.slots);
        let left = &mut track.cuts.left;
        // What is open on one that others have still may be open for those who left it, too.
        left.retain(|link, (_, until)| *until > now || slots.contains_key(link));
        let gone = left.extract_if(.., |link, _| is_gone(*link));
        let mut nodes: Vec<_> = gone.flat_map(|(_, (nodes, _))| nodes).collect();
        nodes.extend(aside);
        nodes.extend(back);
        track.cut(nodes);
    }
}
