//! What is kept of a track, and how it is read.
//!
//! One [`TrackLog`] per track and shard, with one owner. Writers append [`Append`] chunks; whoever reads holds only
//! positions: a [`Cursor`] into the order in which subgroups and datagrams arrived, and one [`Position`] per subgroup
//! that it is in the middle of. The log is thereby cache and send queue in one: a slow reader costs nothing but its
//! positions, and when eviction passes one of them the reader is told ([`Next::Lagged`], [`Read::Evicted`]).
//!
//! ```text
//!  entries   seq 0: group 7 subgroup 0   [obj 0][obj 1][obj 2 ..            <- Position (object, chunk)
//!            seq 1: group 7 subgroup 1   [obj 3][obj 5] Fin
//!            seq 2: group 8 subgroup 0   [obj 0 ..                          <- Cursor.subgroup = 3: all seen
//!  datagrams seq 0, 1, 2, ...                                               <- Cursor.datagram
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `chunk` | what goes in, and what the log answers |
//! | `subgroup` | one subgroup as it came over one stream: objects and their payload chunks |
//! | `group` | what is known of a group: its subgroups, its end, the object ids seen (`ranges`) |
//! | `append` | how chunks become part of the log |
//! | `rules` | what is accepted, ignored or malformed |
//! | `read` | cursors, positions, the live edge, the snapshot for replicas |
//! | `waiting` | what a reader has not read, and since when |
//! | `evict` | the budget: what counts, and what goes first |
//! | `gone` | the object ids of groups that were evicted, so that copies that come late are recognised |
//! | `compare` | what a stage that joins several streams into one must see: tails, and whether bytes are the same |
//! | `past` | what came by FETCH, what is known not to exist, and how all of the past is read |

mod append;
mod chunk;
mod compare;
mod evict;
mod gone;
mod group;
mod past;
mod ranges;
mod read;
mod rules;
mod subgroup;
#[cfg(test)]
mod tests;
mod waiting;

pub use chunk::{
    Append, Appended, COPY_BELOW_BYTES, Dispute, Ignored, LogDatagram, Malformed, StreamEnd, StreamKey,
};
pub use compare::{CopyHint, StreamTail};
pub use evict::{
    CHUNK_OVERHEAD, Evicted, GROUP_OVERHEAD, OBJECT_OVERHEAD, RANGE_OVERHEAD, SUBGROUP_OVERHEAD,
};
pub use past::{FILL_OVERHEAD, Fill, FillEnd, FillError, FillKey, Past, PastCursor, PastRange};
pub use read::{Cursor, LiveEdge, Next, ObjectView, Position, Read};
pub use subgroup::{EncodedHead, MAX_CACHED_HEAD_BYTES, SubgroupInfo};

use crate::moqt::location::{GroupId, Location, ObjectId, SubgroupId};
use group::Group;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};
use subgroup::Subgroup;

/// How much a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes kept, as [`TrackLog::bytes`] counts them; one chunk more for a moment. The bare state of the
    /// newest group stays in any case: [`GROUP_OVERHEAD`], and what it knows of object ids, at most 128 KiB.
    pub max_bytes: usize,
    /// How long a group is kept after its last object began.
    pub max_age: Duration,
    /// Most groups kept, of the live ones and of those that came by FETCH alike; at least one always is.
    pub max_groups: usize,
    /// The longest payload, in bytes, of an object that is kept. A longer one is streamed through: no more of it stays
    /// than [`WINDOW_BYTES`], for readers that are in the middle of it. MOQT-14 §12 [D14-LIM-8].
    pub max_object: u64,
}

/// What stays of an object that is too large to keep, in bytes: a quarter of a second of 64 Mbit/s.
pub const WINDOW_BYTES: u64 = 2 << 20;

impl Limits {
    /// How many bytes of an object with so long a payload may be kept.
    fn window_of(&self, payload_len: u64) -> u64 {
        if payload_len > self.max_object {
            WINDOW_BYTES.min(self.max_object)
        } else {
            u64::MAX
        }
    }
}

impl Default for Limits {
    /// 32 MiB: ten seconds of 25 Mbit/s video. 60 s. 4096 groups: a minute of audio with a group per 20 ms frame.
    /// Objects of 64 MiB.
    fn default() -> Self {
        Self {
            max_bytes: 32 << 20,
            max_age: Duration::from_secs(60),
            max_groups: 4096,
            max_object: 64 << 20,
        }
    }
}

/// The place of a subgroup in the order of arrival. A subgroup that is continued on another stream gets another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubgroupSeq(u64);

/// What happened in a log since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects ignored because they were known. MOQT-14 §8.2 [D14-PUB-1].
    pub duplicate_objects: u64,
    /// Chunks for a stream that was never opened here, or is closed.
    pub unknown_stream: u64,
    /// Chunks that came for something already evicted.
    pub after_eviction: u64,
    /// Chunks that broke a rule for tracks.
    pub malformed: u64,
    /// Groups evicted whole.
    pub evicted_groups: u64,
    /// Objects and datagrams evicted, alone or with their group.
    pub evicted_objects: u64,
}

/// What is kept of one track: see the module.
#[derive(Debug)]
pub struct TrackLog {
    limits: Limits,
    /// Another log, which knows more, has judged how subgroups end.
    is_replica: bool,
    /// Ingress streams that are open.
    streams: HashMap<StreamKey, Ingress>,
    /// The same by group.
    open_streams: BTreeSet<(GroupId, StreamKey)>,
    groups: BTreeMap<GroupId, Group>,
    entries: BTreeMap<SubgroupSeq, Subgroup>,
    next_seq: u64,
    /// Entries whose stream is open.
    open: BTreeSet<SubgroupSeq>,
    /// With the time when each came.
    datagrams: BTreeMap<u64, (Instant, LogDatagram)>,
    next_datagram: u64,
    /// Subgroups that were evicted before they were finished, at most [`evict::MAX_UNFINISHED`]: what comes of them
    /// has a beginning that is gone.
    unfinished: BTreeSet<(GroupId, SubgroupId)>,
    /// What is known of object ids of groups that were evicted.
    gone: gone::Gone,
    /// When each group is next looked at for its age; at or before its last activity.
    ages: BTreeSet<(Instant, GroupId)>,
    /// What subscribers are told; may come from upstream.
    largest: Option<Location>,
    /// The largest object stored that exists.
    top: Option<Location>,
    /// First place at which nothing may stand any more.
    end: Option<Location>,
    /// Streams or datagrams, whichever came first. MOQT-14 §10 [D14-DATA-15].
    preference: Option<Preference>,
    bytes: usize,
    /// How many of them are payload, which clones of a chunk share.
    payload_bytes: usize,
    /// Bytes of payload that came in subgroups since the log was made.
    offered: u64,
    /// MAX_CACHE_DURATION of the track.
    max_cache: Option<Duration>,
    past: past::Store,
    stats: Stats,
}

/// How the objects of a track travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preference {
    Subgroup,
    Datagram,
}

/// One open ingress stream.
#[derive(Clone, Copy, Debug)]
struct Ingress {
    info: SubgroupInfo,
    /// The entry that the stream feeds, which may be evicted; none while all its objects were duplicates.
    seq: Option<SubgroupSeq>,
    /// The last object on it that was ignored.
    ignored: Option<ObjectId>,
    /// The payload that comes next belongs to an object that was ignored.
    ignoring: bool,
}

impl TrackLog {
    /// An empty log.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                max_groups: limits.max_groups.max(1),
                ..limits
            },
            streams: HashMap::new(),
            open_streams: BTreeSet::new(),
            groups: BTreeMap::new(),
            entries: BTreeMap::new(),
            next_seq: 0,
            open: BTreeSet::new(),
            datagrams: BTreeMap::new(),
            next_datagram: 0,
            unfinished: BTreeSet::new(),
            gone: gone::Gone::default(),
            ages: BTreeSet::new(),
            largest: None,
            top: None,
            end: None,
            preference: None,
            bytes: 0,
            payload_bytes: 0,
            offered: 0,
            max_cache: None,
            past: past::Store::default(),
            stats: Stats::default(),
            is_replica: false,
        }
    }

    /// An empty log that is to be fed another log's [`TrackLog::snapshot`], its [`TrackLog::largest`], and then what
    /// [`Appended::for_replica`] lets through. What it cannot know, such as what the other ignored, it leaves to the other's judgement.
    #[must_use]
    pub fn replica(limits: Limits) -> Self {
        Self {
            is_replica: true,
            ..Self::new(limits)
        }
    }

    /// The largest place published so far, as far as this log knows.
    ///
    /// MOQT-14 §9.7 [D14-SUB-4]: moves with the header of a larger object, not with its last byte.
    #[must_use]
    pub const fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// Takes note of what an upstream says is published; the larger of both counts. MOQT-14 §8.3 [D14-PUB-3].
    pub fn seed_largest(&mut self, largest: Location) {
        self.largest = self.largest.max(Some(largest));
    }

    /// The place of END_OF_TRACK, once it came: nothing stands there or later.
    #[must_use]
    pub const fn end_of_track(&self) -> Option<Location> {
        self.end
    }

    /// True when some ingress stream is open, whether or not it brought anything new yet.
    #[must_use]
    pub fn has_open_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// The ingress streams that are open, in no particular order.
    pub fn open_streams(&self) -> impl Iterator<Item = StreamKey> {
        self.streams.keys().copied()
    }

    /// Sets how long after its first byte came an object may still be begun by a reader; none for as long as it is
    /// kept. MOQT-14 §9.2.1.3 [D14-CACHE-4].
    pub const fn set_max_cache(&mut self, duration: Option<Duration>) {
        self.max_cache = duration;
    }

    /// What [`TrackLog::set_max_cache`] set: while it is none, [`TrackLog::read_fresh`] needs no time.
    #[must_use]
    pub const fn max_cache(&self) -> Option<Duration> {
        self.max_cache
    }

    /// Counters since the log was made.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What is said of the subgroup at `seq`; none when it is evicted.
    #[must_use]
    pub fn subgroup(&self, seq: SubgroupSeq) -> Option<&SubgroupInfo> {
        self.entries.get(&seq).map(|entry| &entry.info)
    }

    /// Whether something of `group` came live, or is about to come on a stream that is open.
    pub(in crate::relay) fn has_seen(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group) || self.has_open_stream(group) || self.gone.get(group).is_some()
    }

    fn record(&self, group: GroupId, subgroup: SubgroupId) -> Option<&group::Record> {
        self.groups.get(&group)?.subgroups.get(&subgroup)
    }
}
