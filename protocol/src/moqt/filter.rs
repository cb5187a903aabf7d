//! Subscription filters: which objects a subscription lets pass.

use super::location::{GroupId, Location};
use super::message::subscribe::{SubscribeFilter, SubscribeUpdate};

/// The range asked for is over, or empty, or beyond what a location can say: INVALID_RANGE. MOQT-14 §9.9 [D14-SUB-7].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range holds no object to come")]
pub struct RangeOver;

/// A filter with its places worked out: from `start` to the end of `end_group`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedFilter {
    /// First place that passes.
    pub start: Location,
    /// Last group that passes; none for an open end.
    pub end_group: Option<GroupId>,
}

/// Works out where `filter` begins and ends, `largest` being the largest place published when it is processed.
///
/// # Errors
/// When the range ends before it begins or before `largest`: nothing that is still to come can lie in it.
pub fn resolve(filter: &SubscribeFilter, largest: Option<Location>) -> Result<ResolvedFilter, RangeOver> {
    // MOQT-14 §9.7 [D14-SUB-3]: with nothing published the relative filters begin at the first place.
    let (start, end_group) = match (*filter, largest) {
        (SubscribeFilter::NextGroupStart | SubscribeFilter::LargestObject, None) => (Location::ZERO, None),
        (SubscribeFilter::NextGroupStart, Some(largest)) => {
            let group = largest.group.checked_add(1).ok_or(RangeOver)?;
            (Location::new(group, 0), None)
        }
        (SubscribeFilter::LargestObject, Some(largest)) => {
            let object = largest.object.checked_add(1).ok_or(RangeOver)?;
            (Location::new(largest.group, object), None)
        }
        // MOQT-14 §9.7 [D14-SUB-6]: a start before `largest` is legal; what lies between is not sent anyway.
        (SubscribeFilter::AbsoluteStart(start), _) => (start, None),
        (SubscribeFilter::AbsoluteRange { start, end_group }, _) => (start, Some(end_group)),
    };
    let resolved = ResolvedFilter { start, end_group };
    // MOQT-14 §9.7 [D14-VAL-6] [D14-SUB-7].
    if resolved.is_empty() || resolved.is_over(largest) {
        return Err(RangeOver);
    }
    Ok(resolved)
}

impl ResolvedFilter {
    /// True when an object at `location` passes. MOQT-14 §9.7 [D14-SUB-5]: also when it is late.
    #[must_use]
    pub fn admits(&self, location: Location) -> bool {
        location >= self.start && self.end_group.is_none_or(|end| location.group <= end)
    }

    /// True when some object of `group` can pass.
    #[must_use]
    pub fn admits_group(&self, group: GroupId) -> bool {
        group >= self.start.group && self.end_group.is_none_or(|end| group <= end)
    }

    /// True when the track has gone past the last group. Objects of it may still be on their way.
    #[must_use]
    pub fn is_over(&self, largest: Option<Location>) -> bool {
        match (self.end_group, largest) {
            (Some(end), Some(largest)) => largest.group > end,
            (None, _) | (_, None) => false,
        }
    }

    /// True when no place passes, as an update can bring about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end_group.is_some_and(|end| end < self.start.group)
    }

    /// What passes both this filter and the update.
    ///
    /// MOQT-14 §9.10 [D14-VAL-9] [D14-SUB-17]: an update only narrows. The session refuses one that widens what the
    /// peer said before; against a start that was worked out here a smaller one has no effect.
    #[must_use]
    pub fn narrow(&self, update: &SubscribeUpdate) -> Self {
        let end_group = match (self.end_group, update.end_group) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        Self {
            start: self.start.max(update.start),
            end_group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::message::request::RequestId;

    const fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    const fn range(start: Location, end_group: u64) -> SubscribeFilter {
        SubscribeFilter::AbsoluteRange { start, end_group }
    }

    const fn resolved(start: Location, end_group: Option<u64>) -> ResolvedFilter {
        ResolvedFilter { start, end_group }
    }

    /// D14-SUB-3 D14-SUB-6 D14-SUB-7 D14-VAL-6
    #[test]
    fn filters_resolve_against_the_largest_place() {
        // MOQT-14 §9.7 [D14-SUB-3] [D14-SUB-6] [D14-SUB-7] [D14-VAL-6]
        use SubscribeFilter::{AbsoluteStart, LargestObject, NextGroupStart};
        let max = u64::MAX;
        let cases = [
            (NextGroupStart, None, Ok(resolved(at(0, 0), None))),
            (LargestObject, None, Ok(resolved(at(0, 0), None))),
            (NextGroupStart, Some(at(7, 3)), Ok(resolved(at(8, 0), None))),
            (LargestObject, Some(at(7, 3)), Ok(resolved(at(7, 4), None))),
            (
                AbsoluteStart(at(9, 1)),
                Some(at(7, 3)),
                Ok(resolved(at(9, 1), None)),
            ),
            (
                AbsoluteStart(at(0, 0)),
                Some(at(7, 3)),
                Ok(resolved(at(0, 0), None)),
            ),
            (
                range(at(2, 5), 9),
                Some(at(7, 3)),
                Ok(resolved(at(2, 5), Some(9))),
            ),
            (
                range(at(2, 5), 7),
                Some(at(7, 3)),
                Ok(resolved(at(2, 5), Some(7))),
            ),
            (range(at(2, 5), 6), Some(at(7, 3)), Err(RangeOver)),
            (range(at(2, 5), 2), None, Ok(resolved(at(2, 5), Some(2)))),
            (range(at(2, 5), 1), None, Err(RangeOver)),
            (NextGroupStart, Some(at(max, 0)), Err(RangeOver)),
            (LargestObject, Some(at(0, max)), Err(RangeOver)),
        ];
        for (filter, largest, expected) in cases {
            assert_eq!(resolve(&filter, largest), expected, "{filter:?} {largest:?}");
        }
    }

    /// D14-SUB-5
    #[test]
    fn both_ends_are_included() {
        // MOQT-14 §9.7 [D14-SUB-5]
        let filter = resolved(at(2, 5), Some(4));
        for (location, passes) in [
            (at(1, 9), false),
            (at(2, 4), false),
            (at(2, 5), true),
            (at(4, u64::MAX), true),
            (at(5, 0), false),
        ] {
            assert_eq!(filter.admits(location), passes, "{location}");
        }
        for (group, passes) in [(1, false), (2, true), (4, true), (5, false)] {
            assert_eq!(filter.admits_group(group), passes, "{group}");
        }
        assert!(!filter.is_over(None));
        assert!(!filter.is_over(Some(at(4, 99))));
        assert!(filter.is_over(Some(at(5, 0))));
        assert!(!resolved(at(2, 5), None).is_over(Some(at(99, 0))));
    }

    /// D14-VAL-9
    #[test]
    fn an_update_only_narrows() {
        // MOQT-14 §9.10 [D14-VAL-9]
        let update = |start, end_group| SubscribeUpdate {
            subscription: RequestId(0),
            start,
            end_group,
            priority: 128,
            forward: true,
            params: crate::moqt::message::MessageParams::default(),
        };
        let old = resolved(at(2, 5), Some(4));
        for (start, end_group, expected) in [
            (at(0, 0), None, old),
            (at(3, 0), Some(9), resolved(at(3, 0), Some(4))),
            (at(2, 6), Some(2), resolved(at(2, 6), Some(2))),
        ] {
            assert_eq!(old.narrow(&update(start, end_group)), expected);
        }
        let open = resolved(at(2, 5), None);
        assert_eq!(
            open.narrow(&update(at(0, 0), Some(3))),
            resolved(at(2, 5), Some(3))
        );
        assert!(old.narrow(&update(at(5, 0), None)).is_empty());
    }
}
