//! The object ids of groups that were evicted.

use super::ranges::IdRanges;
use crate::moqt::location::GroupId;
use std::collections::BTreeMap;

/// Most evicted groups of which the ids are known, the latest: five seconds of audio with a group per 20 ms frame.
pub(super) const MAX_GONE_GROUPS: usize = 256;
/// Most ranges of ids that are known of all of them together, about 32 bytes each.
pub(super) const MAX_GONE_RANGES: usize = 1024;

/// What began to come of groups that were evicted. Bounded: of groups with the lowest numbers it is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Gone {
    groups: BTreeMap<GroupId, IdRanges>,
    ranges: usize,
    /// The highest group of which it is forgotten that it was evicted.
    forgotten: Option<GroupId>,
}

impl Gone {
    pub(super) fn get(&self, group: GroupId) -> Option<&IdRanges> {
        self.groups.get(&group)
    }

    /// Whether a group may have been evicted: it was, or it is so old that nobody knows any more.
    pub(super) fn may_hold(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group) || self.forgotten >= Some(group)
    }

    /// A group is evicted of which these ids began to come.
    pub(super) fn remember(&mut self, group: GroupId, known: IdRanges) {
        let kept = self.groups.entry(group).or_default();
        self.ranges -= kept.len();
        kept.join(known);
        self.ranges += kept.len();
        while (self.groups.len() > MAX_GONE_GROUPS || self.ranges > MAX_GONE_RANGES)
            && let Some((group, lowest)) = self.groups.pop_first()
        {
            self.ranges -= lowest.len();
            self.forgotten = self.forgotten.max(Some(group));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> IdRanges {
        let mut set = IdRanges::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut gone = Gone::default();
        for group in 0..1000 {
            gone.remember(group, ids([group]));
        }
        assert!(gone.get(1000 - MAX_GONE_GROUPS as u64 - 1).is_none());
        assert!(
            gone.may_hold(1000 - MAX_GONE_GROUPS as u64 - 1) && gone.may_hold(999) && !gone.may_hold(1000)
        );
        let contains =
            |gone: &Gone, group, id| gone.get(group).is_some_and(|ids: &IdRanges| ids.contains(id));
        assert!(contains(&gone, 1000 - MAX_GONE_GROUPS as u64, 744));
        gone.remember(999, ids([3, 5]));
        assert!(contains(&gone, 999, 999) && contains(&gone, 999, 5) && !contains(&gone, 999, 4));
        // One sparse group takes the place of many.
        gone.remember(1000, ids((0..MAX_GONE_RANGES as u64 - 1).map(|id| 2 * id)));
        assert!(contains(&gone, 1000, 2 * MAX_GONE_RANGES as u64 - 4));
        assert_eq!(gone.groups.len(), 1);
        assert_eq!(gone.ranges, MAX_GONE_RANGES - 1);
    }
}
