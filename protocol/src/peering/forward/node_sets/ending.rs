//! Sets that their peers have withdrawn: how long they are kept for what is still on its way.

use super::NodeSets;
use crate::peering::forward::route::{LinkId, Routes, Source};
use crate::peering::message::SnsId;
use crate::relay::draining::{Draining, Progress};
use std::time::Instant;

impl<R: Routes> NodeSets<R> {
    /// A peer withdrew a set. laps peering, "SNS Withdrawal". Its last streams may still be on their way, behind the word
    /// that they were the last, so what they need is kept for a while (`end_grace`), and longer where
    /// [`Self::still_carries`] is called. When the peer tells the same id again before that, it stands for another track, and
    /// the old one ends at once.
    pub fn withdrawn(&mut self, link: LinkId, sns: SnsId, now: Instant) {
        let source = Source::Ingress(link, sns);
        let Some(set) = self.sets.get_mut(&source).filter(|set| set.ends_at.is_none()) else {
            self.counters.sets_unknown += 1;
            return;
        };
        let at = now.checked_add(self.limits.end_grace).unwrap_or(now);
        set.ends_at = Some(at);
        self.due.insert((at, source));
        if let Some(state) = self.links.get_mut(&link) {
            state.ending.insert((at, sns));
            state.unsaid.remove(&sns);
        }
    }

    /// The sets that [`Self::poll_output`] ends at `now`, since their last streams have had their time.
    #[must_use]
    pub fn ending(&self, now: Instant) -> Vec<(LinkId, SnsId)> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let ending = due.filter_map(|(at, source)| match source {
            Source::Ingress(link, sns) => {
                let set = self.sets.get(source)?;
                (set.ends_at == Some(*at)).then_some((*link, *sns))
            }
            Source::Track(_) => None,
        });
        ending.collect()
    }

    /// How far the data is of a set that is [ending](Self::ending). While some of it is open and moves, the set is kept for
    /// another `end_grace`, so that peers further on do not forget it before that has come to them.
    pub fn still_carries(&mut self, link: LinkId, sns: SnsId, progress: Progress, now: Instant) {
        let source = Source::Ingress(link, sns);
        let Some(set) = self.sets.get_mut(&source) else {
            return;
        };
        let Some(due) = set.ends_at.filter(|at| *at <= now) else {
            return;
        };
        let goes_on = match &mut set.draining {
            Some(draining) => draining.goes_on(progress),
            none => {
                *none = Some(Draining::new(progress));
                progress.open > 0
            }
        };
        if !goes_on {
            return;
        }
        let at = now.checked_add(self.limits.end_grace).unwrap_or(now);
        set.ends_at = Some(at);
        self.due.remove(&(due, source));
        self.due.insert((at, source));
        if let Some(state) = self.links.get_mut(&link) {
            state.ending.remove(&(due, sns));
            state.ending.insert((at, sns));
        }
    }

    /// What is due at `now`: sets whose last streams have had their time end, others are worked out.
    pub(super) fn come_due(&mut self, now: Instant) {
        while let Some((at, source)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            match self.sets.get(&source).and_then(|set| set.ends_at) {
                Some(end) if end == at => self.end_ingress(source),
                _ => drop(self.dirty.insert(source)),
            }
        }
    }

    /// Forgets a set that a peer told.
    pub(super) fn end_ingress(&mut self, source: Source) {
        if let Source::Ingress(link, sns) = source
            && let (Some(set), Some(state)) = (self.sets.get(&source), self.links.get_mut(&link))
        {
            state.in_sets -= 1;
            state.in_nodes -= set.wanted.len();
            let ending = set.ends_at.map(|at| (at, sns));
            ending.map(|ending| state.ending.remove(&ending));
        }
        self.end(source);
    }

    /// Ends what only waits for its end on a link until a set with so many nodes has room there, or nothing of that is left.
    pub(super) fn make_room(&mut self, link: LinkId, nodes: usize) {
        while let Some(state) = self.links.get(&link)
            && (state.in_sets >= self.limits.max_sets_per_link
                || state.in_nodes + nodes > self.limits.max_nodes_per_link)
            && let Some((_, sns)) = state.ending.first().copied()
        {
            self.end_ingress(Source::Ingress(link, sns));
        }
    }
}
