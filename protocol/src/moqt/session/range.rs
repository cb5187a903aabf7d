//! The range of a subscription: resolved from its filter, then only ever narrowed.

use crate::moqt::location::{GroupId, Location};
use crate::moqt::message::{MessageParams, SubscribeFilter, SubscribeUpdate};

/// First place and last group of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First place that passes.
    pub(super) start: Location,
    /// Last group that passes; none when open-ended.
    pub(super) end_group: Option<GroupId>,
}

/// What is known of a subscription's range.
///
/// Relative filters have no start before the publisher reports its largest place, so an update that comes first can
/// only be checked against what is known by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    filter: Option<SubscribeFilter>,
    range: Option<Range>,
    largest: Option<Location>,
    delivery_timeout_ms: Option<u64>,
}

impl Wanted {
    /// A SUBSCRIBE with this filter.
    pub(super) fn asked(filter: SubscribeFilter) -> Self {
        Self {
            filter: Some(filter),
            range: absolute(filter),
            largest: None,
            delivery_timeout_ms: None,
        }
    }

    /// A PUBLISH that reported this largest place; its filter comes with PUBLISH_OK.
    pub(super) const fn offered(largest: Option<Location>) -> Self {
        Self {
            filter: None,
            range: None,
            largest,
            delivery_timeout_ms: None,
        }
    }

    /// The subscriber's parameters, of the message that made or accepted the subscription.
    pub(super) const fn set_params(&mut self, params: &MessageParams) {
        self.delivery_timeout_ms = params.delivery_timeout_ms;
    }

    /// The parameters of an update, completed: one that it leaves out keeps its value, and none can be taken away.
    /// MOQT-14 §9.10 [D14-PARAM-6].
    pub(super) fn keep_params(&mut self, update: &mut MessageParams) {
        // [D14-TO-3]: 0 says nothing, so it changes nothing.
        let new = update.delivery_timeout_ms.filter(|ms| *ms > 0);
        self.delivery_timeout_ms = new.or(self.delivery_timeout_ms);
        update.delivery_timeout_ms = self.delivery_timeout_ms;
    }

    /// The publisher accepted and reported its largest place. MOQT-14 §9.8.
    pub(super) fn accepted(&mut self, largest: Option<Location>) {
        self.largest = largest;
        if let Some(filter) = self.filter {
            self.settle(filter);
        }
    }

    /// The subscriber accepted a PUBLISH with this filter. MOQT-14 §9.14 [D14-SUB-27].
    pub(super) fn chosen(&mut self, filter: SubscribeFilter) {
        self.filter = Some(filter);
        self.settle(filter);
    }

    /// Whether the first place is known, so that a narrower one can be told from a wider one.
    pub(super) const fn is_known(&self) -> bool {
        self.range.is_some()
    }

    /// First place and last group, once they are known.
    pub(super) fn range(&self) -> Option<(Location, Option<GroupId>)> {
        self.range.map(|range| (range.start, range.end_group))
    }

    /// The filter, once it is known.
    pub(super) const fn filter(&self) -> Option<SubscribeFilter> {
        self.filter
    }

    /// The largest place that the publisher reported.
    pub(super) const fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// Takes an update over, when it only narrows.
    ///
    /// # Errors
    /// What the update does wrong, for a person.
    pub(super) fn update(&mut self, update: &SubscribeUpdate) -> Result<(), &'static str> {
        let new = Range {
            start: update.start,
            end_group: update.end_group,
        };
        if new.end_group.is_some_and(|end| end < new.start.group) {
            return Err("SUBSCRIBE_UPDATE ends before it starts");
        }
        // MOQT-14 §9.10 [D14-VAL-9]: the start never decreases, the end never increases.
        if let Some(old) = self.range {
            if new.start < old.start {
                return Err("SUBSCRIBE_UPDATE moves the start back");
            }
            let widened = match (old.end_group, new.end_group) {
                (Some(old), Some(new)) => new > old,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if widened {
                return Err("SUBSCRIBE_UPDATE moves the end on");
            }
        }
        self.range = Some(new);
        Ok(())
    }

    fn settle(&mut self, filter: SubscribeFilter) {
        let resolved = resolve(filter, self.largest);
        self.range = Some(match self.range {
            // An update came before the start was known: whichever starts later counts.
            Some(updated) => Range {
                start: updated.start.max(resolved.start),
                end_group: match (updated.end_group, resolved.end_group) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                },
            },
            None => resolved,
        });
    }
}

/// Whether a filter ends before it starts. MOQT-14 §9.7 [D14-VAL-6].
pub(super) fn is_inverted(filter: SubscribeFilter) -> bool {
    match filter {
        SubscribeFilter::AbsoluteRange { start, end_group } => end_group < start.group,
        SubscribeFilter::NextGroupStart
        | SubscribeFilter::LargestObject
        | SubscribeFilter::AbsoluteStart(_) => false,
    }
}

fn absolute(filter: SubscribeFilter) -> Option<Range> {
    match filter {
        SubscribeFilter::NextGroupStart | SubscribeFilter::LargestObject => None,
        SubscribeFilter::AbsoluteStart(start) => Some(Range {
            start,
            end_group: None,
        }),
        SubscribeFilter::AbsoluteRange { start, end_group } => Some(Range {
            start,
            end_group: Some(end_group),
        }),
    }
}

/// MOQT-14 §9.7 [D14-SUB-3]: relative filters count from the largest place, and from the very start without one.
fn resolve(filter: SubscribeFilter, largest: Option<Location>) -> Range {
    if let Some(range) = absolute(filter) {
        return range;
    }
    let start = match (filter, largest) {
        (_, None) => Location::ZERO,
        (SubscribeFilter::NextGroupStart, Some(largest)) => Location::new(largest.group.saturating_add(1), 0),
        (_, Some(largest)) => Location::new(largest.group, largest.object.saturating_add(1)),
    };
    Range {
        start,
        end_group: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::message::RequestId;

    fn update(group: u64, object: u64, end_group: Option<u64>) -> SubscribeUpdate {
        SubscribeUpdate {
            subscription: RequestId(0),
            start: Location::new(group, object),
            end_group,
            priority: 128,
            forward: true,
            params: MessageParams::default(),
        }
    }

    /// D14-SUB-3
    #[test]
    fn filters_resolve_as_the_draft_says() {
        let at = Some(Location::new(7, 3));
        let cases = [
            (SubscribeFilter::NextGroupStart, at, Location::new(8, 0), None),
            (SubscribeFilter::LargestObject, at, Location::new(7, 4), None),
            (SubscribeFilter::NextGroupStart, None, Location::ZERO, None),
            (SubscribeFilter::LargestObject, None, Location::ZERO, None),
            (
                SubscribeFilter::AbsoluteStart(Location::new(2, 1)),
                at,
                Location::new(2, 1),
                None,
            ),
            (
                SubscribeFilter::AbsoluteRange {
                    start: Location::new(9, 0),
                    end_group: 9,
                },
                at,
                Location::new(9, 0),
                Some(9),
            ),
        ];
        for (filter, largest, start, end_group) in cases {
            assert_eq!(
                resolve(filter, largest),
                Range { start, end_group },
                "{filter:?} {largest:?}"
            );
        }
        let edge = resolve(
            SubscribeFilter::NextGroupStart,
            Some(Location::new(u64::MAX, u64::MAX)),
        );
        assert_eq!(edge.start.group, u64::MAX);
    }

    /// D14-VAL-9
    #[test]
    fn updates_only_narrow() {
        // (filter, largest, update, allowed)
        let range = SubscribeFilter::AbsoluteRange {
            start: Location::new(2, 5),
            end_group: 9,
        };
        let cases = [
            (range, None, update(2, 5, Some(9)), true),
            (range, None, update(2, 6, Some(8)), true),
            (range, None, update(2, 4, Some(9)), false),
            (range, None, update(1, 9, Some(9)), false),
            (range, None, update(2, 5, Some(10)), false),
            (range, None, update(2, 5, None), false),
            (range, None, update(4, 0, Some(3)), false),
            (
                SubscribeFilter::LargestObject,
                Some(Location::new(7, 3)),
                update(7, 4, None),
                true,
            ),
            (
                SubscribeFilter::LargestObject,
                Some(Location::new(7, 3)),
                update(7, 3, None),
                false,
            ),
            (
                SubscribeFilter::LargestObject,
                Some(Location::new(7, 3)),
                update(8, 0, Some(12)),
                true,
            ),
            (
                SubscribeFilter::NextGroupStart,
                Some(Location::new(7, 3)),
                update(7, 9, None),
                false,
            ),
            (SubscribeFilter::LargestObject, None, update(0, 0, None), true),
        ];
        for (filter, largest, update, allowed) in cases {
            let mut wanted = Wanted::asked(filter);
            wanted.accepted(largest);
            assert_eq!(
                wanted.update(&update).is_ok(),
                allowed,
                "{filter:?} {largest:?} {update:?}"
            );
        }
    }

    /// D14-VAL-9
    #[test]
    fn an_update_before_the_answer_counts_afterwards() {
        let mut wanted = Wanted::asked(SubscribeFilter::LargestObject);
        wanted.update(&update(0, 0, Some(9))).unwrap();
        wanted.accepted(Some(Location::new(7, 3)));
        assert_eq!(
            wanted.range,
            Some(Range {
                start: Location::new(7, 4),
                end_group: Some(9)
            })
        );
        assert!(
            wanted.update(&update(7, 4, None)).is_err(),
            "the end was given up before"
        );
    }

    /// D14-SUB-27
    #[test]
    fn a_publication_takes_its_filter_from_the_answer() {
        let mut wanted = Wanted::offered(Some(Location::new(4, 4)));
        wanted.chosen(SubscribeFilter::LargestObject);
        assert!(wanted.update(&update(4, 4, None)).is_err());
        assert!(wanted.update(&update(4, 5, None)).is_ok());
    }
}
