//! Object ids as ranges.

use crate::moqt::location::ObjectId;
use std::collections::BTreeMap;

/// Most ranges kept of one group: more than a minute of three interleaved layers at 60 per second of which one
/// comes a minute late. Beyond that the lowest gap counts as filled, so that a sparse group stays bounded.
pub(super) const MAX_RANGES: usize = 4096;

/// A set of object ids as disjoint, non-adjacent ranges (first -> last).
#[derive(Debug, Default)]
pub(super) struct IdRanges(BTreeMap<ObjectId, ObjectId>);

impl IdRanges {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: ObjectId) -> bool {
        self.0
            .range(..=id)
            .next_back()
            .is_some_and(|(_, &last)| id <= last)
    }

    /// Adds one id, joining what it touches.
    pub(super) fn insert(&mut self, id: ObjectId) {
        let mut last = id;
        if let Some(next) = id.checked_add(1)
            && let Some(end) = self.0.remove(&next)
        {
            last = end;
        }
        match self.0.range_mut(..=id).next_back() {
            Some((_, end)) if *end >= last => {}
            Some((_, end)) if *end >= id || end.checked_add(1) == Some(id) => *end = last,
            _ => {
                self.0.insert(id, last);
            }
        }
        while self.0.len() > MAX_RANGES {
            self.fill_lowest_gap();
        }
    }

    /// Takes one id out.
    pub(super) fn remove(&mut self, id: ObjectId) {
        let Some((&first, &last)) = self.0.range(..=id).next_back() else {
            return;
        };
        if id > last {
            return;
        }
        if first == id {
            self.0.remove(&first);
        } else {
            self.0.insert(first, id - 1);
        }
        if id < last {
            self.0.insert(id + 1, last);
        }
    }

    /// Joins the two lowest ranges.
    fn fill_lowest_gap(&mut self) {
        let mut starts = self.0.keys();
        let (Some(&first), Some(&second)) = (starts.next(), starts.next()) else {
            return;
        };
        if let Some(last) = self.0.remove(&second) {
            self.0.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shape(ranges: &IdRanges) -> Vec<(u64, u64)> {
        ranges.0.iter().map(|(&a, &b)| (a, b)).collect()
    }

    #[test]
    fn neighbours_join_and_removals_split() {
        let mut r = IdRanges::default();
        for id in [5, 3, 4, 9, u64::MAX, u64::MAX - 1] {
            r.insert(id);
        }
        assert_eq!(shape(&r), [(3, 5), (9, 9), (u64::MAX - 1, u64::MAX)]);
        r.remove(4);
        r.remove(100);
        assert_eq!(shape(&r), [(3, 3), (5, 5), (9, 9), (u64::MAX - 1, u64::MAX)]);
        r.fill_lowest_gap();
        assert_eq!(shape(&r)[0], (3, 5));
    }

    #[test]
    fn a_sparse_group_stays_bounded() {
        let mut r = IdRanges::default();
        for id in 0..2 * MAX_RANGES as u64 {
            r.insert(2 * id);
        }
        assert_eq!(r.len(), MAX_RANGES);
        assert!(r.contains(1));
        assert!(!r.contains(4 * MAX_RANGES as u64 - 3));
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40), 0..200)) {
            let (mut r, mut model) = (IdRanges::default(), BTreeSet::new());
            for (insert, id) in steps {
                if insert { r.insert(id); model.insert(id); } else { r.remove(id); model.remove(&id); }
                for id in 0..42 {
                    prop_assert_eq!(r.contains(id), model.contains(&id));
                }
                let shape = shape(&r);
                prop_assert!(shape.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{:?}", shape);
            }
        }
    }
}
