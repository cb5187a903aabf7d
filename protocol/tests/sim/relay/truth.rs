//! What happened, as somebody sees who sees everything.

use laps_protocol::moqt::data::StreamReader;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{FetchOk, GroupOrder, PublishDoneStatus, RequestErrorReason, RequestId};
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectHeader};
use laps_protocol::relay::behind::Policy;
use laps_protocol::relay::track_log::{PastRange, StreamEnd};
use laps_protocol::sim::StreamId;
use std::collections::BTreeMap;

/// A place in the order of events at the relay.
pub(crate) type Tick = u64;

/// An object that reached the relay, once on one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: StreamId,
    pub(crate) began: Tick,
    pub(crate) completed: Option<Tick>,
}

/// All that reached the relay.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) objects: BTreeMap<Location, Vec<Arrival>>,
    /// When the log took objects in: those that wait for another stream begin only then.
    pub(crate) taken_in: BTreeMap<Location, Vec<Tick>>,
    /// How each upstream stream ended there.
    pub(crate) ends: BTreeMap<StreamId, (Tick, StreamEnd)>,
    /// The track was found to break the rules.
    pub(crate) is_malformed: bool,
    /// The publisher was lost.
    pub(crate) is_dead: bool,
}

/// One downstream stream.
#[derive(Debug)]
pub(crate) struct StreamTruth {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    /// During which time of forwarding it was opened.
    pub(crate) epoch: usize,
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

/// One subscription that was accepted.
#[derive(Debug)]
pub(crate) struct SubTruth {
    pub(crate) request: RequestId,
    pub(crate) alias: u64,
    /// Times during which objects were forwarded.
    pub(crate) epochs: Vec<(Tick, Option<Tick>)>,
    /// Where it began.
    pub(crate) began: Location,
    pub(crate) filter: ResolvedFilter,
    pub(crate) streams: BTreeMap<StreamId, StreamTruth>,
    pub(crate) datagrams: BTreeMap<Location, u32>,
    /// How often the log dropped what was not taken yet.
    pub(crate) lagged: u64,
    /// What becomes of it then.
    pub(crate) policy: Policy,
    pub(crate) too_far: bool,
    pub(crate) skips: u64,
    /// Streams that were given up for their age.
    pub(crate) expired: u64,
    pub(crate) unsubscribed: bool,
    /// It ended because its last group was over.
    pub(crate) ran_out: bool,
    /// Its streams took too long to end.
    pub(crate) drained: bool,
    pub(crate) done_sent: Option<u64>,
    pub(crate) done_got: Option<Option<u64>>,
    pub(crate) status: Option<PublishDoneStatus>,
}

impl StreamTruth {
    pub(crate) const fn new(group: u64, subgroup: u64, epoch: usize) -> Self {
        Self {
            group,
            subgroup,
            epoch,
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

    pub(crate) fn was_reset(&self) -> bool {
        matches!(self.end, Some((_, StreamEnd::Reset(_))))
    }

    pub(crate) fn was_finished(&self) -> bool {
        matches!(self.end, Some((_, StreamEnd::Fin)))
    }
}

impl SubTruth {
    pub(crate) const fn new(
        request: RequestId,
        alias: u64,
        epochs: Vec<(Tick, Option<Tick>)>,
        filter: ResolvedFilter,
        policy: Policy,
    ) -> Self {
        Self {
            request,
            alias,
            epochs,
            began: filter.start,
            filter,
            streams: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            lagged: 0,
            policy,
            too_far: false,
            skips: 0,
            expired: 0,
            unsubscribed: false,
            ran_out: false,
            drained: false,
            done_sent: None,
            done_got: None,
            status: None,
        }
    }

    pub(crate) fn forwards(&self, tick: Tick) -> Option<usize> {
        self.epochs
            .iter()
            .position(|(on, off)| tick > *on && off.is_none_or(|off| tick <= off))
    }
}

/// One FETCH of a subscriber.
#[derive(Debug)]
pub(crate) struct FetchTruth {
    /// The subscription that it joins.
    pub(crate) joins: Option<RequestId>,
    pub(crate) order: GroupOrder,
    /// What it wants, and the largest place that the relay knew, when the relay took it up.
    pub(crate) range: Option<PastRange>,
    pub(crate) largest: Option<Location>,
    /// The track was not subscribed then.
    pub(crate) idle: bool,
    /// The subscriber gave it up, and the relay heard so.
    pub(crate) cancelled: bool,
    pub(crate) cancel_heard: bool,
    /// The subscriber refused its stream.
    pub(crate) stopped: bool,
    /// Why the relay could not serve it, and whether the track was live then.
    pub(crate) failed: Option<(RequestErrorReason, bool)>,
    /// The answers that came.
    pub(crate) ok: Vec<FetchOk>,
    pub(crate) err: Vec<RequestErrorReason>,
    pub(crate) reader: Option<StreamReader>,
    pub(crate) got: Vec<(FetchObjectHeader, Vec<u8>)>,
    /// True for FIN, false for a reset.
    pub(crate) got_end: Option<bool>,
}

impl FetchTruth {
    pub(crate) const fn new(joins: Option<RequestId>, order: GroupOrder) -> Self {
        Self {
            joins,
            order,
            range: None,
            largest: None,
            idle: false,
            cancelled: false,
            cancel_heard: false,
            stopped: false,
            failed: None,
            ok: Vec::new(),
            err: Vec::new(),
            reader: None,
            got: Vec::new(),
            got_end: None,
        }
    }
}
