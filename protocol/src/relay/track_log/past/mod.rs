//! The past: objects that came because somebody asked for them (FETCH), and what is known not to exist.
//!
//! Subscriptions never see any of it (MOQT-14 §9.7 [D14-SUB-6]); [`super::TrackLog::read_past`] merges it with the live
//! entries. Every place of a track is in one of three states [D14-CACHE-7]: *known* (an object is kept, here or live),
//! *absent* (somebody who must know said that none stands there), or *unknown*. What is evicted or forgotten becomes
//! unknown, never absent.
//!
//! | file | what it holds |
//! |---|---|
//! | `range` | ranges as FETCH says them, and a reader's place in one |
//! | `read` | how past objects are read |
//! | `hole` | what nobody here knows: what is still arriving, and what should be asked upstream |
//! | `fill` | what an answer from upstream brings, and how it is checked |
//! | `absence` | what is known not to exist, and who says so |
//! | `gaps` | what extension headers of objects say about places that stay empty |
//! | `budget` | what of the past goes first |

mod absence;
mod budget;
pub(super) mod fill;
mod gaps;
mod hole;
mod range;
mod read;

pub use fill::{Fill, FillEnd, FillError, FillKey};
pub use range::{PastCursor, PastRange};
pub(super) use read::Live;
pub use read::Past;

use super::evict::{CHUNK_OVERHEAD, OBJECT_OVERHEAD};
use super::ranges::{IdRanges, Ranges};
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::FetchObjectHeader;
use bytes::Bytes;
use fill::Filling;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// What is kept beside the live entries.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) groups: BTreeMap<GroupId, PastGroup>,
    /// When each group is next looked at for its age; at or before its last activity. Groups that were made before
    /// any time was known come first.
    pub(super) ages: BTreeSet<(Option<Instant>, GroupId)>,
    /// Groups that a publisher said will never exist. MOQT-14 §11.1.
    pub(super) told_groups: Ranges,
    /// Groups of which an answer showed that they do not exist.
    pub(super) absent_groups: Ranges,
    /// First place at which nothing may stand any more, by an END_OF_TRACK that came by FETCH.
    pub(super) end: Option<Location>,
    /// When either of them last grew.
    pub(super) absence_at: Option<Instant>,
    /// Answers that are coming in.
    pub(super) fills: HashMap<FillKey, Filling>,
    /// This process makes the objects.
    pub(super) origin: bool,
    /// For an origin: groups of which something was made that is not kept.
    pub(super) gone: IdRanges,
    /// The number that the next object gets.
    next_serial: u64,
    /// What all of it counts.
    pub(super) bytes: usize,
    /// The latest time that the log was told.
    pub(super) now: Option<Instant>,
}

impl Store {
    pub(super) fn knows_absent_groups(&self) -> bool {
        self.told_groups.len() + self.absent_groups.len() > 0
    }
}

/// What is kept of one group.
#[derive(Debug, Default)]
pub(super) struct PastGroup {
    pub(super) objects: BTreeMap<ObjectId, PastObject>,
    /// What goes first: order of arrival, by id and serial number. Entries of objects that are gone are passed over.
    pub(super) arrivals: VecDeque<(ObjectId, u64)>,
    /// Ids that a publisher said will never exist. MOQT-14 §11.3.
    pub(super) told: Ranges,
    /// Ids of which an answer showed that they do not exist.
    pub(super) absent: Ranges,
    /// What objects of the group, live ones included, say about groups before it.
    pub(super) prior_gap: Option<u64>,
    /// The place of its END_OF_GROUP.
    pub(super) end: Option<ObjectId>,
    /// The largest id of an object that exists.
    pub(super) largest: Option<ObjectId>,
    /// When its last object began.
    pub(super) touched: Option<Instant>,
    /// Its key in the index of ages.
    pub(super) filed: Option<Instant>,
}

/// One object that came by FETCH.
#[derive(Debug)]
pub(super) struct PastObject {
    pub(super) header: FetchObjectHeader,
    /// When its first byte came.
    pub(super) at: Instant,
    /// Tells it from another object at the same place.
    pub(super) serial: u64,
    pub(super) chunks: VecDeque<Bytes>,
    /// Number of the front of `chunks`.
    pub(super) first_chunk: u64,
    /// Bytes of payload that came, and bytes that are gone again.
    pub(super) received: u64,
    pub(super) lost: u64,
}

impl PastObject {
    pub(super) const fn is_complete(&self) -> bool {
        self.received == self.header.payload_len
    }

    pub(super) fn end_chunk(&self) -> u64 {
        self.first_chunk + self.chunks.len() as u64
    }

    /// What it counts, and how much of that is payload.
    pub(super) fn cost(&self) -> (usize, usize) {
        let payload: usize = self.chunks.iter().map(Bytes::len).sum();
        let fixed = OBJECT_OVERHEAD + self.header.extensions.len() + self.chunks.len() * CHUNK_OVERHEAD;
        (fixed + payload, payload)
    }
}

/// What an open answer from upstream counts, in bytes.
pub const FILL_OVERHEAD: usize = 256;
