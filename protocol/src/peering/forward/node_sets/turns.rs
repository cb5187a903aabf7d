//! What new links and routes change, and room on links, a part at a time.

use super::NodeSets;
use crate::peering::forward::route::{Routes, Source};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Sources that are to be looked at because links or routes are others, or because there is room on a link. None hurries: the
/// route of each leads where it led.
#[derive(Debug, Default)]
pub(super) struct Later {
    sources: BTreeSet<Source>,
    /// The one that was taken last. Routes may change again before all have been: then it goes on from there, so that no
    /// source waits for ever.
    last: Option<Source>,
}

impl Later {
    pub(super) fn extend(&mut self, sources: impl Iterator<Item = Source>) {
        self.sources.extend(sources);
    }

    pub(super) fn remove(&mut self, source: Source) {
        self.sources.remove(&source);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn next(&mut self) -> Option<Source> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.sources.range((behind, Bound::Unbounded)).next();
        let next = next.or_else(|| self.sources.first()).copied()?;
        self.sources.remove(&next);
        self.last = Some(next);
        Some(next)
    }
}

impl<R: Routes> NodeSets<R> {
    /// From now on, [`Self::poll_output`] works out no more of what new links and routes, and room on links, change than sets
    /// with so many nodes together, and the one with which there are more; the rest is left to the next call of this.
    /// Everything else is worked out at once all the same, and a set that is asks for the routes of today.
    ///
    /// With thousands of sets of thousands of nodes that takes seconds, in which whoever calls does nothing else.
    pub fn allow(&mut self, nodes: usize) {
        self.allowance = Some(nodes);
    }

    /// Whether some of that was not worked out yet.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.later.is_empty()
    }

    /// The source that is worked out next, if one may be.
    pub(super) fn next_source(&mut self) -> Option<Source> {
        if let Some(source) = self.dirty.pop_first() {
            return Some(source);
        }
        if self.allowance == Some(0) {
            return None;
        }
        let source = self.later.next()?;
        if let Some(allowance) = &mut self.allowance {
            // One without nodes is looked at too.
            let nodes = self.sets.get(&source).map_or(0, |set| set.wanted.len());
            *allowance = allowance.saturating_sub(nodes.max(1));
        }
        Some(source)
    }
}
