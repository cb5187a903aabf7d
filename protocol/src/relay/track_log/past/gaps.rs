//! What extension headers of objects say about places that stay empty. MOQT-14 §11.1, §11.3 [D14-DATA-10].

use crate::moqt::extensions;
use crate::moqt::location::{Location, ObjectId};
use crate::moqt::object::ObjectStatus;
use crate::relay::track_log::group::Place;
use crate::relay::track_log::{Malformed, RANGE_OVERHEAD, SubgroupSeq, TrackLog};
use bytes::Bytes;

/// The gaps that stand beside one object; checked.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::relay::track_log) struct Gaps {
    groups: Option<u64>,
    objects: u64,
}

impl TrackLog {
    /// Reads the gaps in `extensions`, the block of the object at `at`.
    ///
    /// Only objects at hand can contradict a gap: of those that were evicted it is not kept what they were.
    pub(in crate::relay::track_log) fn read_gaps(
        &self,
        at: Location,
        extensions: &Bytes,
    ) -> Result<Gaps, Malformed> {
        if extensions.is_empty() {
            return Ok(Gaps::default());
        }
        let known = extensions::inspect(extensions).map_err(|_| Malformed::Extensions)?;
        let objects = known.prior_object_gap.unwrap_or(0);
        if objects > at.object || known.prior_group_gap.is_some_and(|gap| gap > at.group) {
            return Err(Malformed::GapTooLarge);
        }
        let group = self.past.groups.get(&at.group);
        let said = group.and_then(|group| group.prior_gap);
        match (said, known.prior_group_gap) {
            (Some(before), Some(now)) if before != now => return Err(Malformed::TwoGaps),
            (None, Some(gap)) if gap > 0 && self.any_group_exists(at.group - gap, at.group - 1) => {
                return Err(Malformed::GapOverObject);
            }
            _ => {}
        }
        if objects > 0 {
            let first = at.object - objects;
            let told = group.and_then(|group| group.told.cover(first));
            if told.is_none_or(|(_, last)| last + 1 < at.object)
                && self.any_object_exists(at.group, first, at.object - 1)
            {
                return Err(Malformed::GapOverObject);
            }
        }
        Ok(Gaps {
            groups: known.prior_group_gap,
            objects,
        })
    }

    /// Malformed when an object at `at` lies inside a gap that a publisher told.
    pub(in crate::relay::track_log) fn check_gaps(
        &self,
        at: Location,
        status: ObjectStatus,
    ) -> Result<(), Malformed> {
        // Saying once more that nothing is there is no contradiction. MOQT-14 §11.1: a gap equals END_OF_GROUP at 0.
        let empty_group = status == ObjectStatus::EndOfGroup && at.object == 0;
        let absent = status == ObjectStatus::DoesNotExist;
        let told_group = self.past.told_groups.contains(at.group);
        let told_object = || {
            let group = self.past.groups.get(&at.group);
            group.is_some_and(|group| group.told.contains(at.object))
        };
        if !absent && ((told_group && !empty_group) || told_object()) {
            return Err(Malformed::InsideGap);
        }
        Ok(())
    }

    /// Takes note of gaps that were read.
    pub(in crate::relay::track_log) fn note_gaps(&mut self, at: Location, gaps: Gaps) {
        if gaps.groups.is_none() && gaps.objects == 0 {
            return;
        }
        self.with_group(at.group, |group| {
            if gaps.objects > 0 {
                group.told.insert_range(at.object - gaps.objects, at.object - 1);
                group.told.forget_far_from(at.object);
            }
            group.prior_gap = group.prior_gap.or(gaps.groups);
        });
        if let Some(gap @ 1..) = gaps.groups {
            let told = &mut self.past.told_groups;
            let before = told.len() * RANGE_OVERHEAD;
            told.insert_range(at.group - gap, at.group - 1);
            told.forget_far_from(at.group);
            let after = told.len() * RANGE_OVERHEAD;
            self.recount(before, after);
            self.past.absence_at = self.past.now.or(self.past.absence_at);
        }
    }

    /// Whether an object is known in one of these groups that says more than that the group is empty.
    fn any_group_exists(&self, first: u64, last: u64) -> bool {
        let says_more = |end: Option<ObjectId>, largest: Option<ObjectId>| match largest {
            None => false,
            Some(0) => end != Some(0),
            Some(_) => true,
        };
        self.groups
            .range(first..=last)
            .any(|(_, group)| says_more(group.end, group.largest))
            || self
                .past
                .groups
                .range(first..=last)
                .any(|(_, group)| says_more(group.end, group.largest))
    }

    /// Whether an object is kept that exists and stands in `group` from `first` to `last`.
    fn any_object_exists(&self, group: u64, first: ObjectId, last: ObjectId) -> bool {
        let exists = |status: Option<ObjectStatus>| status.is_some_and(|s| s != ObjectStatus::DoesNotExist);
        let live = self.groups.get(&group).is_some_and(|group| {
            let mut places = group.index.range(first..=last);
            places.any(|(_, &place)| exists(self.status(place)))
        });
        let past = self.past.groups.get(&group);
        live || past.is_some_and(|group| {
            let mut objects = group.objects.range(first..=last);
            objects.any(|(_, object)| exists(Some(object.header.status)))
        })
    }

    fn status(&self, place: Place) -> Option<ObjectStatus> {
        match place {
            Place::Object(seq, number) => self.live_status(seq, number),
            Place::Datagram(number) => self.datagrams.get(&number).map(|(_, datagram)| datagram.status),
        }
    }

    fn live_status(&self, seq: SubgroupSeq, number: u64) -> Option<ObjectStatus> {
        let object = self.entries.get(&seq)?.object(number)?;
        Some(object.header.status)
    }
}
