//! Numbers (object ids, group ids) as ranges.

use crate::moqt::location::ObjectId;
use std::collections::BTreeMap;

/// Most ranges kept in one set: more than a minute of three interleaved layers at 60 per second of which one comes
/// a minute late.
pub(super) const MAX_RANGES: usize = 4096;

/// A set of numbers as disjoint, non-adjacent ranges (first -> last).
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.cover(id).is_some()
    }

    /// The range that `id` is in.
    pub(super) fn cover(&self, id: u64) -> Option<(u64, u64)> {
        let (&first, &last) = self.0.range(..=id).next_back()?;
        (id <= last).then_some((first, last))
    }

    /// The first member at or after `id`.
    pub(super) fn at_or_after(&self, id: u64) -> Option<u64> {
        if self.contains(id) {
            return Some(id);
        }
        self.0.range(id..).next().map(|(&first, _)| first)
    }

    /// The last member at or before `id`.
    pub(super) fn at_or_before(&self, id: u64) -> Option<u64> {
        let (_, &last) = self.0.range(..=id).next_back()?;
        Some(last.min(id))
    }

    /// The largest member.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, &last)| last)
    }

    /// Adds one number, joining what it touches.
    pub(super) fn insert(&mut self, id: u64) {
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
    }

    /// Adds `first..=last`, joining what it touches. Nothing when `last` is before `first`.
    pub(super) fn insert_range(&mut self, mut first: u64, mut last: u64) {
        if last < first {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.0.range(first..=last.saturating_add(1)).next() {
            self.0.remove(&start);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// Takes one number out.
    pub(super) fn remove(&mut self, id: u64) {
        let Some((first, last)) = self.cover(id) else {
            return;
        };
        if first == id {
            self.0.remove(&first);
        } else {
            self.0.insert(first, id - 1);
        }
        if id < last {
            self.0.insert(id + 1, last);
        }
    }

    /// Takes ranges out until no more than [`MAX_RANGES`] are left: whichever end of the set lies farther from
    /// `near`, where the set is being added to and read.
    pub(super) fn forget_far_from(&mut self, near: u64) {
        while self.0.len() > MAX_RANGES {
            let first = self.0.keys().next().map_or(0, |&first| near.abs_diff(first));
            let last = self.last().map_or(0, |last| near.abs_diff(last));
            if first > last {
                self.0.pop_first();
            } else {
                self.0.pop_last();
            }
        }
    }
}

/// The object ids that began, of one group. Beyond [`MAX_RANGES`] the lowest gap counts as begun, so that a sparse
/// group stays bounded: a copy may then be taken for a duplicate, but never the other way round.
#[derive(Debug, Default)]
pub(super) struct IdRanges(Ranges);

impl IdRanges {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: ObjectId) -> bool {
        self.0.contains(id)
    }

    /// The members as ranges.
    pub(super) const fn ranges(&self) -> &Ranges {
        &self.0
    }

    /// Adds one id, joining what it touches.
    pub(super) fn insert(&mut self, id: ObjectId) {
        self.0.insert(id);
        while self.0.len() > MAX_RANGES {
            self.fill_lowest_gap();
        }
    }

    /// Takes one id out.
    pub(super) fn remove(&mut self, id: ObjectId) {
        self.0.remove(id);
    }

    /// Adds all of another set.
    pub(super) fn join(&mut self, other: Self) {
        if self.len() == 0 {
            self.0 = other.0;
            return;
        }
        for (first, last) in other.0.0 {
            self.0.insert_range(first, last);
        }
        while self.0.len() > MAX_RANGES {
            self.fill_lowest_gap();
        }
    }

    /// Joins the two lowest ranges.
    fn fill_lowest_gap(&mut self) {
        let ranges = &mut self.0.0;
        let mut starts = ranges.keys();
        let (Some(&first), Some(&second)) = (starts.next(), starts.next()) else {
            return;
        };
        if let Some(last) = ranges.remove(&second) {
            ranges.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shape(ranges: &IdRanges) -> Vec<(u64, u64)> {
        ranges.0.0.iter().map(|(&a, &b)| (a, b)).collect()
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

    #[test]
    fn whole_ranges_join_what_they_touch() {
        type Shape = &'static [(u64, u64)];
        let cases: [(Shape, (u64, u64), Shape); 7] = [
            (&[], (3, 5), &[(3, 5)]),
            (&[(3, 5)], (6, 9), &[(3, 9)]),
            (&[(3, 5)], (0, 2), &[(0, 5)]),
            (&[(3, 5), (8, 9)], (6, 7), &[(3, 9)]),
            (&[(3, 5), (8, 9), (20, u64::MAX)], (0, u64::MAX), &[(0, u64::MAX)]),
            (&[(3, 9)], (4, 5), &[(3, 9)]),
            (&[(3, 9)], (5, 4), &[(3, 9)]),
        ];
        for (before, (first, last), after) in cases {
            let mut r = Ranges::default();
            before.iter().for_each(|&(a, b)| r.insert_range(a, b));
            r.insert_range(first, last);
            let shape: Vec<_> = r.0.iter().map(|(&a, &b)| (a, b)).collect();
            assert_eq!(shape, after);
        }
    }

    /// What is forgotten is unknown again, never the other way round, and what was just learnt stays. D14-CACHE-7
    #[test]
    fn absence_is_forgotten_far_from_where_it_is_learnt() {
        let mut r = Ranges::default();
        for id in 0..2 * MAX_RANGES as u64 {
            r.insert_range(2 * id, 2 * id);
            r.forget_far_from(2 * id);
        }
        assert_eq!(r.len(), MAX_RANGES);
        assert!(!r.contains(0) && !r.contains(1) && r.contains(4 * MAX_RANGES as u64 - 2));
        for id in 0..MAX_RANGES as u64 {
            r.insert_range(2 * id, 2 * id);
            r.forget_far_from(0);
        }
        assert!(r.contains(0) && !r.contains(1) && !r.contains(4 * MAX_RANGES as u64 - 2));
    }

    #[test]
    fn neighbours_are_found() {
        let mut r = Ranges::default();
        r.insert_range(3, 5);
        r.insert_range(8, 9);
        for (id, after, before) in [
            (0, Some(3), None),
            (4, Some(4), Some(4)),
            (6, Some(8), Some(5)),
            (10, None, Some(9)),
        ] {
            assert_eq!((r.at_or_after(id), r.at_or_before(id)), (after, before), "{id}");
        }
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
