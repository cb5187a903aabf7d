//! Two relays with one id, which say the same of themselves. laps peering, "Node ID": only the first (oldest) will work.
//!
//! What tells them apart is when they began. But a relay that was killed and comes back has begun twice as well, and for a
//! moment both lives of it are told of: until its neighbours notice, and all others have heard. Who comes back is not to be
//! taken for a stranger. So nothing is done until two lives have been told of side by side for longer than that takes, the
//! same older one all the time. From then on ways to the older one alone count, as long as there is one, so that who is next
//! to the younger one hears of the older one too; and a relay that has links to the younger one ends them.

use super::{InfoBase, Output, RefuseReason};
use crate::peering::node::NodeId;
use std::time::{Duration, Instant};

/// The lives of a node that ways lead to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lives {
    /// The oldest one, where there are several, and since when.
    several: Option<(u64, Instant)>,
    /// There are two nodes, and this is the one that counts.
    elder: Option<u64>,
}

/// What a look at them has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// When to look again, if nothing changes.
    pub(super) look_at: Option<Instant>,
    /// They are two nodes, which was not known yet: the elder, and the youngest.
    pub(super) twins: Option<[u64; 2]>,
}

impl Lives {
    /// The life that alone counts; none where any does.
    pub(super) const fn elder(&self) -> Option<u64> {
        self.elder
    }

    /// These are the lives that ways lead to now, 0 where that is not told.
    pub(super) fn see(&mut self, now: Instant, hold: Duration, epochs: impl Iterator<Item = u64>) -> Seen {
        let (mut oldest, mut youngest, mut has_elder) = (u64::MAX, 0, false);
        for epoch in epochs.filter(|epoch| *epoch != 0) {
            (oldest, youngest) = (oldest.min(epoch), youngest.max(epoch));
            has_elder |= self.elder == Some(epoch);
        }
        let mut seen = Seen::default();
        // As long as it is there, also when nobody tells of the other one any more: that one knocks again.
        if has_elder {
            return seen;
        }
        if oldest >= youngest {
            *self = Self::default();
            return seen;
        }
        let since = match self.several {
            Some((before, since)) if before == oldest => since,
            _ => {
                *self = Self::default();
                self.several = Some((oldest, now));
                now
            }
        };
        match since.checked_add(hold) {
            Some(at) if at > now => seen.look_at = Some(at),
            _ => {
                self.elder = Some(oldest);
                seen.twins = Some([oldest, youngest]);
            }
        }
        seen
    }
}

impl InfoBase {
    /// Ends the links to a relay that has the id of another one.
    pub(super) fn end_links_to_twin(&mut self, node: NodeId) {
        let links = self.links.to(node);
        let younger = links.filter(|(_, link)| self.nodes.is_younger_twin(node, link.kin.epoch()));
        let ends = younger.map(|(link, _)| Output::EndLink {
            link,
            reason: RefuseReason::DuplicateNodeId,
        });
        self.out.extend(ends);
    }

    /// What was told of this node may be its twin's, whose word is the newer one: it is asked for all that it has, and what it
    /// does not name goes. What it does name stays as it is meanwhile, and so do its tracks.
    pub(super) fn ask_elder(&mut self, now: Instant, node: NodeId) {
        let Some(best) = self.nodes.best(node) else { return };
        let (node_type, life) = (best.way.info.node_type, self.life(node));
        self.sync.forget_summary(node);
        self.appeared(now, node, node_type, life);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn who_comes_back_is_no_twin() {
        let (start, hold) = (Instant::now(), Duration::from_secs(60));
        let mut lives = Lives::default();
        let mut see = |secs, epochs: &[u64]| {
            let now = start + Duration::from_secs(secs);
            let seen = lives.see(now, hold, epochs.iter().copied());
            (
                seen.look_at.map(|at| (at - start).as_secs()),
                seen.twins,
                lives.elder(),
            )
        };
        let nothing = (None, None, None);
        assert_eq!(see(0, &[5, 0, 5]), nothing);
        // Killed again and again: the older life is another one each time.
        assert_eq!(see(1, &[5, 6]), (Some(61), None, None));
        assert_eq!(see(60, &[6, 5]), (Some(61), None, None));
        assert_eq!(see(60, &[6]), nothing);
        assert_eq!(see(60, &[6, 7, 0]), (Some(120), None, None));
        assert_eq!(see(119, &[7, 8]), (Some(179), None, None));
        // Two.
        assert_eq!(see(178, &[9, 7, 8]), (Some(179), None, None));
        assert_eq!(see(179, &[9, 7]), (None, Some([7, 9]), Some(7)));
        for epochs in [&[9, 7, 10][..], &[7], &[10, 7]] {
            assert_eq!(see(200, epochs), (None, None, Some(7)));
        }
        assert_eq!(see(201, &[9, 10]), (Some(261), None, None));
        assert_eq!(see(202, &[10]), nothing);
    }
}
