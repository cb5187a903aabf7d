//! What is known of one group.

use super::SubgroupSeq;
use super::chunk::StreamKey;
use super::ranges::IdRanges;
use crate::moqt::location::{ObjectId, SubgroupId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) subgroups: BTreeMap<SubgroupId, Record>,
    /// Its entries, open and closed.
    pub(super) seqs: BTreeSet<SubgroupSeq>,
    /// How many of them are open.
    pub(super) open: usize,
    /// Objects that were started and not cut short, kept or evicted.
    pub(super) known: IdRanges,
    /// The largest id of an object that exists.
    pub(super) largest: Option<ObjectId>,
    /// First id at which no object may stand any more.
    pub(super) end: Option<ObjectId>,
    /// The objects that are kept, datagrams included.
    pub(super) index: BTreeMap<ObjectId, Place>,
    /// Streams of it that ended with FIN, and brought something.
    pub(super) fins: u64,
    /// Some stream of it did not end with FIN, or was evicted before it ended.
    pub(super) cut: bool,
    /// For an origin: objects that were begun and cut short.
    pub(super) cut_ids: IdRanges,
    /// What goes first when the group alone fills the log: order of arrival.
    pub(super) arrivals: VecDeque<Arrival>,
    /// When its last object began.
    pub(super) touched: Instant,
    /// Its key in the log's index of ages.
    pub(super) filed: Instant,
}

/// Where an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a subgroup, by its number there.
    Object(SubgroupSeq, u64),
    /// Among the datagrams.
    Datagram(u64),
}

/// One thing that can be evicted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// An object of a subgroup, by its number there.
    Object(SubgroupSeq, u64),
    /// What is left of a closed subgroup when its objects are gone.
    Closed(SubgroupSeq),
    /// A datagram.
    Datagram(u64),
}

/// One subgroup, over all streams that brought it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The entry that was written last.
    pub(super) seq: SubgroupSeq,
    /// The stream that brings it now; one at a time.
    pub(super) active: Option<StreamKey>,
    /// The object with which it began here.
    pub(super) first: ObjectId,
    /// The last object that was complete.
    pub(super) last: Option<ObjectId>,
    /// The lowest and the highest object that another stream brought and that was not taken in: lost, unless the
    /// active stream brings them too.
    pub(super) passed: Option<(ObjectId, ObjectId)>,
    /// An object before `last` may be missing, and can no longer come.
    pub(super) gapped: bool,
    /// It was finished: nothing comes after `last`.
    pub(super) finished: bool,
    /// The object behind which a stream of it ended with FIN, whether or not all that comes before is there.
    pub(super) end: Option<ObjectId>,
}

impl Record {
    /// Something of the subgroup was lost, when its stream ends behind `last`.
    pub(super) fn misses_any(&self, last: Option<ObjectId>) -> bool {
        let outside = |(low, high)| low < self.first || last.is_none_or(|last| high > last);
        self.gapped || self.passed.is_some_and(outside)
    }
}

impl Group {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            subgroups: BTreeMap::new(),
            seqs: BTreeSet::new(),
            open: 0,
            known: IdRanges::default(),
            largest: None,
            end: None,
            index: BTreeMap::new(),
            fins: 0,
            cut: false,
            cut_ids: IdRanges::default(),
            arrivals: VecDeque::new(),
            touched: now,
            filed: now,
        }
    }

    /// Takes an object out of the index, unless another copy stands there.
    pub(super) fn forget(&mut self, id: ObjectId, place: Place) {
        if self.index.get(&id) == Some(&place) {
            self.index.remove(&id);
        }
    }
}
