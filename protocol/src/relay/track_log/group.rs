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
    /// What goes first when the group alone fills the log: order of arrival.
    pub(super) arrivals: VecDeque<Arrival>,
    /// When its last object began.
    pub(super) touched: Instant,
    /// Its key in the log's index of ages.
    pub(super) filed: Instant,
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
    /// The last object that was complete.
    pub(super) last: Option<ObjectId>,
    /// An object before `last` may be missing, and can no longer come.
    pub(super) gapped: bool,
    /// It was finished: nothing comes after `last`.
    pub(super) finished: bool,
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
            arrivals: VecDeque::new(),
            touched: now,
            filed: now,
        }
    }
}
