//! Subscriptions aside of one track that are put together, so that however many nodes join one after the other, in a group
//! that does not end, there are only so many of them.
//!
//! One begins for all whom some of them are for, with what is open from its start. When it is where they are, they give way
//! to it: what comes twice until then is taken once, and what is on its way still comes again. What has ended meanwhile, and
//! it does not bring, they bring to its end themselves.

use super::OriginActor;
use super::aside::{Aside, MOST, TOGETHER};
use actix::{AsyncContext, Context};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// From so many sets on, some are put together: there are places meanwhile for who joins.
const MANY: usize = MOST / 2;
/// How long the one that begins may take to be where the others are. On a link that is slow for longer all wait for it: one
/// stream less is what helps there.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that begins for all whom some are for.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Its set.
    set: FullNameHash,
    /// Theirs.
    of: BTreeSet<FullNameHash>,
    /// Until then it may get to where they are.
    until: Instant,
}

impl Aside {
    /// Sets to put together, and their nodes; none while there are few, or one more than there may be: then some that gave way
    /// have yet to end.
    fn smallest(&self) -> Option<(BTreeSet<FullNameHash>, BTreeSet<NodeId>)> {
        let mut sets = BTreeMap::<_, (BTreeSet<NodeId>, bool)>::new();
        for group in self.groups.values() {
            let (nodes, settled) = sets.entry(group.set).or_insert((BTreeSet::new(), true));
            nodes.extend(&group.nodes);
            *settled &= group.slot.leaving && !group.gave_way;
        }
        if sets.len() < MANY || sets.len() > MOST {
            return None;
        }
        let mut settled: Vec<_> = sets.into_iter().filter(|(_, (_, settled))| *settled).collect();
        settled.sort_by_key(|(_, (nodes, _))| nodes.len());
        let (mut of, mut all) = (BTreeSet::new(), BTreeSet::new());
        for (set, (nodes, _)) in settled {
            // What comes of it is twice as large at least as any of them, if there is a choice: so a node is sent what is open
            // a few times, however many join after it.
            if of.len() >= 2 && nodes.len() > all.len() {
                break;
            }
            of.insert(set);
            all.extend(nodes);
        }
        (of.len() >= 2).then_some((of, all))
    }

    /// Whether the others may give way now, or have ended by themselves.
    fn is_gathered(&self, gathering: &Gathering, now: Instant) -> bool {
        let mut groups = self.groups.values();
        let over = !groups.any(|group| gathering.of.contains(&group.set));
        let mut begun = self.groups.values().filter(|group| group.set == gathering.set);
        let there = begun.clone().next().is_some();
        let there = there && begun.all(|group| group.slot.leaving && group.slot.streams.has_all());
        over || there || now >= gathering.until
    }

    /// Those that are put together end what the new one brings to all of their nodes.
    fn give_way(&mut self, gathering: &Gathering, live: &BTreeSet<NodeId>) {
        let begun = self.groups.values();
        let begun = begun.filter(|group| group.set == gathering.set && group.slot.leaving);
        let begun: Vec<_> = begun
            .map(|group| (group.nodes.clone(), Rc::clone(&group.slot.streams)))
            .collect();
        let all = self.groups.values_mut();
        for group in all.filter(|group| gathering.of.contains(&group.set)) {
            let has =
                |node: &NodeId| !live.contains(node) || begun.iter().any(|(nodes, _)| nodes.contains(node));
            if group.nodes.iter().all(has) {
                let theirs = begun.iter().filter(|(nodes, _)| !nodes.is_disjoint(&group.nodes));
                let theirs: Vec<_> = theirs.map(|(_, streams)| Rc::clone(streams)).collect();
                group.gave_way = true;
                group.slot.streams.give_way(&theirs);
            }
        }
    }
}

impl OriginActor {
    /// Begins to put some together, where there are many.
    pub(super) fn gather(&mut self, ctx: &mut Context<Self>, hash: FullNameHash) {
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        if track.aside.gathering.is_some() {
            return;
        }
        let Some((of, nodes)) = track.aside.smallest() else {
            return;
        };
        let Some(set) = self.begin_asides(ctx, hash, &nodes, true) else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&hash) {
            let until = Instant::now() + PATIENCE;
            track.aside.gathering = Some(Gathering { set, of, until });
            self.watch_gathering(ctx, hash);
        }
    }

    fn watch_gathering(&self, ctx: &mut Context<Self>, hash: FullNameHash) {
        let pause = self.limits.join_overlap.max(TOGETHER);
        ctx.run_later(pause, move |actor, ctx| actor.look_at_gathering(ctx, hash));
    }

    fn look_at_gathering(&mut self, ctx: &mut Context<Self>, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let (live, now) = (track.live(), Instant::now());
        let aside = &mut track.aside;
        match aside.gathering.take() {
            Some(gathering) if aside.is_gathered(&gathering, now) => {
                aside.give_way(&gathering, &live);
                self.take_up(ctx, hash);
            }
            Some(gathering) => {
                aside.gathering = Some(gathering);
                self.watch_gathering(ctx, hash);
            }
            None => {}
        }
    }
}
