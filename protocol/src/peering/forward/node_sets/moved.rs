//! Sets that peers told on a control stream that another one has replaced.

use super::{NodeSets, of_link};
use crate::peering::forward::route::{LinkId, Routes, Source};
use crate::peering::message::SnsId;
use std::time::Instant;

impl<R: Routes> NodeSets<R> {
    /// The control stream of a link is another one, and what was under way on the old one may be lost. A relay of ours tells
    /// all its sets again then; the withdrawal of one that it does not tell was lost, see [`Self::take_unsaid`]. Whether a
    /// laps relay tells its own again is not known, so those stay.
    pub fn control_moved(&mut self, link: LinkId, now: Instant) {
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.laps) else {
            return;
        };
        let sets = self.sets.range(of_link(link));
        let live = sets.filter(|(_, set)| set.ends_at.is_none());
        let ids = live.filter_map(|(source, _)| match source {
            Source::Ingress(_, sns) => Some(*sns),
            Source::Track(_) => None,
        });
        state.unsaid = ids.collect();
        state.said_since = false;
        self.moved.retain(|(_, moved)| *moved != link);
        if !state.unsaid.is_empty() {
            let at = now.checked_add(self.limits.end_grace).unwrap_or(now);
            self.moved.insert((at, link));
        }
    }

    /// Sets that their peers have not told again since the control stream was replaced, each once, to be given to
    /// [`Self::withdrawn`]. A peer has `end_grace` for that, and as long again as often as it has told some of them meanwhile: a
    /// link may be slow, and have many.
    pub fn take_unsaid(&mut self, now: Instant) -> Vec<(LinkId, SnsId)> {
        let mut unsaid = Vec::new();
        while let Some((at, link)) = self.moved.first().copied().filter(|(at, _)| *at <= now) {
            self.moved.remove(&(at, link));
            let Some(state) = self.links.get_mut(&link) else {
                continue;
            };
            if std::mem::take(&mut state.said_since) && !state.unsaid.is_empty() {
                let at = now.checked_add(self.limits.end_grace).unwrap_or(now);
                // One without grace has waited long enough.
                if at > now {
                    self.moved.insert((at, link));
                    continue;
                }
            }
            let ids = std::mem::take(&mut state.unsaid);
            unsaid.extend(ids.into_iter().map(|sns| (link, sns)));
        }
        unsaid
    }
}
