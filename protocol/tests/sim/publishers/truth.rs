//! What happened, as somebody sees who sees everything.

use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::ObjectHeader;
use laps_protocol::relay::track_log::StreamEnd;
use laps_protocol::sim::StreamId;
use std::collections::{BTreeMap, BTreeSet};

/// A place in the order of events at the relay.
pub(crate) type Tick = u64;

/// A stream of a life.
pub(crate) type Source = (usize, StreamId);

/// An object that reached the relay, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) source: Source,
    pub(crate) began: Tick,
    pub(crate) completed: Option<Tick>,
    /// It is the version of the publisher that disagrees.
    pub(crate) is_lie: bool,
}

/// A stream that reached the relay.
#[derive(Clone, Debug)]
pub(crate) struct Inflow {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    /// Objects that began on it.
    pub(crate) ids: Vec<u64>,
    pub(crate) end: Option<(Tick, StreamEnd)>,
}

impl Inflow {
    pub(crate) const fn is_finished(&self) -> bool {
        matches!(self.end, Some((_, StreamEnd::Fin)))
    }
}

/// All that reached the relay.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) objects: BTreeMap<Location, Vec<Arrival>>,
    pub(crate) streams: BTreeMap<Source, Inflow>,
    /// When each began to be in the log, last.
    pub(crate) appeared: BTreeMap<Location, Tick>,
    /// Publishers were found to disagree.
    pub(crate) is_malformed: bool,
    /// Lives that were dropped for a fault of their own.
    pub(crate) dropped: u64,
    /// Lives of which the end was noticed.
    pub(crate) lost: u64,
    /// The most that waited in the merge.
    pub(crate) max_waiting: usize,
    pub(crate) timeouts: u64,
}

/// One downstream stream.
#[derive(Debug)]
pub(crate) struct StreamTruth {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    /// Objects begun on it, each with the bytes that were not taken from the log.
    pub(crate) taken: Vec<(u64, u64)>,
    /// How the relay ended it.
    pub(crate) end: Option<(Tick, StreamEnd)>,
    /// What the subscriber got.
    pub(crate) got: Vec<Got>,
    /// True for FIN, false for a reset.
    pub(crate) got_fin: Option<bool>,
    /// The subscriber refused it.
    pub(crate) stopped: bool,
}

impl StreamTruth {
    pub(crate) const fn new(group: u64, subgroup: u64) -> Self {
        Self {
            group,
            subgroup,
            taken: Vec::new(),
            end: None,
            got: Vec::new(),
            got_fin: None,
            stopped: false,
        }
    }

    /// Whether all of this object was taken from the log for this stream.
    pub(crate) fn took(&self, id: u64) -> bool {
        self.taken.contains(&(id, 0))
    }

    pub(crate) const fn was_finished(&self) -> bool {
        matches!(self.end, Some((_, StreamEnd::Fin)))
    }
}

/// One object as a subscriber got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) header: ObjectHeader,
    pub(crate) payload: Vec<u8>,
}

impl Got {
    pub(crate) fn is_complete(&self) -> bool {
        self.payload.len() as u64 == self.header.payload_len
    }
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct SubTruth {
    pub(crate) began: Tick,
    pub(crate) filter: ResolvedFilter,
    pub(crate) streams: BTreeMap<StreamId, StreamTruth>,
    pub(crate) sent: BTreeSet<Location>,
    pub(crate) datagrams: BTreeMap<Location, u32>,
    pub(crate) lagged: u64,
    /// When the subscriber left.
    pub(crate) left: Option<Tick>,
    /// Its streams took too long to end.
    pub(crate) drained: bool,
}

impl SubTruth {
    pub(crate) const fn new(began: Tick, filter: ResolvedFilter) -> Self {
        Self {
            began,
            filter,
            streams: BTreeMap::new(),
            sent: BTreeSet::new(),
            datagrams: BTreeMap::new(),
            lagged: 0,
            left: None,
            drained: false,
        }
    }

    pub(crate) fn of(&self, group: u64, subgroup: u64) -> impl Iterator<Item = &StreamTruth> {
        let of = move |stream: &&StreamTruth| (stream.group, stream.subgroup) == (group, subgroup);
        self.streams.values().filter(of)
    }
}
