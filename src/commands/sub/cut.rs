//! Which streams did not come to their end.

use laps_protocol::moqt::location::{GroupId, SubgroupId};
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::BTreeSet;

/// Most subgroups that are remembered; what is cut beyond that stays cut.
const MAX_REMEMBERED: usize = 4096;

/// Subgroups whose stream was cut short. One may come again later, from another publisher or because the relay fetched what
/// it had lost, and is whole then.
#[derive(Debug, Default)]
pub(super) struct Cut {
    remembered: BTreeSet<(GroupId, SubgroupId)>,
    others: u64,
}

impl Cut {
    /// A stream of this subgroup ended.
    pub(super) fn closed(&mut self, subgroup: (GroupId, SubgroupId), end: StreamEnd) {
        match end {
            StreamEnd::Fin => drop(self.remembered.remove(&subgroup)),
            StreamEnd::Reset(_) if self.remembered.len() < MAX_REMEMBERED => {
                self.remembered.insert(subgroup);
            }
            StreamEnd::Reset(_) => self.others += 1,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.remembered.len() as u64 + self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::moqt::error::ResetCode;

    #[test]
    fn what_comes_again_whole_is_not_cut() {
        let mut cut = Cut::default();
        for group in 0..3 {
            cut.closed((group, 0), StreamEnd::Reset(ResetCode::Cancelled));
        }
        cut.closed((1, 0), StreamEnd::Fin);
        cut.closed((2, 1), StreamEnd::Fin);
        assert_eq!(cut.count(), 2);
        for group in 0..10_000 {
            cut.closed((group, 1), StreamEnd::Reset(ResetCode::Cancelled));
        }
        assert_eq!(cut.count(), 10_002);
        assert_eq!(cut.remembered.len(), MAX_REMEMBERED);
    }
}
