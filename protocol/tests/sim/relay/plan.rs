//! What a seed stands for: the objects of one track, how its publisher sends them, and who listens how.

use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest, SubscribeFilter};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use laps_protocol::relay::fetch::FetchLimits;
use laps_protocol::relay::track_log::{Limits, StreamEnd};
use laps_protocol::sim::{Rng, Weather};
use std::collections::BTreeMap;
use std::time::Duration;

/// One object as its publisher made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) subgroup: u64,
    pub(crate) priority: u8,
    pub(crate) header: ObjectHeader,
    pub(crate) payload: Bytes,
    /// Said by a datagram.
    pub(crate) end_of_group: bool,
}

/// One stream of the publisher.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) header: SubgroupHeader,
    pub(crate) subgroup: u64,
    pub(crate) ids: Vec<u64>,
    /// It stops after so many bytes.
    pub(crate) cut: usize,
    /// How it ends then; none when the publisher just falls silent.
    pub(crate) end: Option<StreamEnd>,
}

/// How the publisher ends the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finale {
    /// PUBLISH_DONE with the number of streams.
    Done,
    /// PUBLISH_DONE without it.
    DoneUncounted,
    /// The connection breaks after so many writes.
    Dies(u64),
}

/// What a subscriber does while it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whim {
    /// Narrows its range to so many groups after the largest it saw, from an object on.
    Narrow {
        skip: u64,
        object: u64,
        last: Option<u64>,
    },
    /// Wants no objects for so many milliseconds.
    Pause(u64),
    Resume,
    Unsubscribe,
    Resubscribe,
    /// Refuses the newest stream.
    Stop,
    /// Asks for some of the past.
    Fetch(Span, GroupOrderRequest),
    /// Gives a fetch up, or refuses its stream.
    CancelFetch,
    StopFetch,
}

/// Where a range of the past lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Inside,
    Across,
    Beyond,
    Inverted,
    One,
    Empty,
    All,
}

/// A FETCH that is sent in one breath with SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    Relative(u64),
    Absolute(u64),
}

/// How the publisher answers FETCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// As it should.
    Good,
    /// Late, broken off, refused, or not at all.
    Bad,
    /// It cannot.
    Unable,
}

impl Object {
    /// Made to break the rules.
    pub(crate) const fn is_rogue(&self) -> bool {
        self.subgroup == ROGUE
    }
}

/// The subgroup of an object that should not be.
const ROGUE: u64 = 77;

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) joins_ms: u64,
    pub(crate) filter: SubscribeFilter,
    pub(crate) past: Option<(Join, GroupOrderRequest)>,
    pub(crate) forward: bool,
    pub(crate) weather: Weather,
    pub(crate) window: usize,
    pub(crate) max_streams: usize,
    /// How many bytes the relay lets it be behind, and whether it skips then.
    pub(crate) max_behind: u64,
    pub(crate) max_wait_ms: Option<u64>,
    pub(crate) skips: bool,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) whims: Vec<(u64, Whim)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) datagrams: bool,
    pub(crate) objects: BTreeMap<Location, Object>,
    /// Streams in the order in which they are opened; a second one of a subgroup waits for the first to end.
    pub(crate) attempts: Vec<Attempt>,
    /// Datagrams in the order of sending, some of them twice.
    pub(crate) sends: Vec<Location>,
    pub(crate) end_of_track: Option<Location>,
    /// It breaks the rules for tracks at the end.
    pub(crate) is_rogue: bool,
    pub(crate) finale: Finale,
    pub(crate) at_once: usize,
    pub(crate) pace_ms: u64,
    /// How long the track goes on when everything is written.
    pub(crate) lingers_ms: u64,
    /// No gaps, and nothing cut short.
    is_plain: bool,
    /// Fetches by a subscriber before anybody subscribed.
    pub(crate) early: Vec<(usize, u64, Span, GroupOrderRequest)>,
    pub(crate) weather: Weather,
    pub(crate) limits: Limits,
    pub(crate) is_tight: bool,
    /// The last object that was made before anybody subscribed.
    pub(crate) made: Option<Location>,
    pub(crate) manners: Manners,
    /// The publisher remembers nothing of the groups before this one.
    pub(crate) forgets: u64,
    pub(crate) desk: FetchLimits,
    pub(crate) listeners: Vec<Listener>,
}

const MAX_STREAMS: usize = 64;
/// About how long a track lasts.
const TRACK_MS: u64 = 900;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let is_tight = rng.one_in(2);
        let mut plan = Self {
            datagrams: rng.one_in(6),
            objects: BTreeMap::new(),
            attempts: Vec::new(),
            sends: Vec::new(),
            end_of_track: None,
            is_rogue: rng.one_in(10),
            finale: match rng.below(5) {
                0 => Finale::DoneUncounted,
                1 => Finale::Dies(rng.below(250)),
                _ => Finale::Done,
            },
            at_once: usize(1 + rng.below(5)),
            pace_ms: 1 + rng.below(12),
            lingers_ms: if rng.one_in(2) { rng.below(2 * TRACK_MS) } else { 0 },
            is_plain: rng.one_in(4),
            early: Vec::new(),
            weather: weather(rng, false),
            limits: limits(rng, is_tight),
            is_tight,
            made: None,
            manners: match rng.below(8) {
                0 => Manners::Unable,
                1..=3 => Manners::Bad,
                _ => Manners::Good,
            },
            forgets: 0,
            desk: FetchLimits::default(),
            listeners: Vec::new(),
        };
        // Only of such tracks can be said where groups end when nobody can be asked.
        plan.is_plain |= plan.manners == Manners::Unable;
        let first = rng.below(3);
        let groups = 2 + rng.below(6);
        for group in first..first + groups {
            plan.add_group(rng, group, group + 1 == first + groups);
        }
        plan.forget_some(rng, first, groups);
        plan.desk = desk(rng, plan.manners);
        if plan.is_rogue {
            plan.add_rogue();
        }
        let listeners = 2 + rng.below(4);
        plan.listeners = (0..listeners).map(|_| listener(rng, first)).collect();
        if rng.one_in(8) {
            plan.listeners
                .iter_mut()
                .for_each(|listener| listener.joins_ms += 250);
            for _ in 0..=rng.below(3) {
                let conn = usize(rng.below(listeners));
                let span = [Span::All, Span::Inside, Span::Across][usize(rng.below(3))];
                plan.early.push((conn, rng.below(150), span, order(rng)));
            }
        }
        plan
    }

    /// The first groups were made before anybody subscribed, and may be forgotten.
    fn forget_some(&mut self, rng: &mut Rng, first: u64, groups: u64) {
        let past = match self.manners {
            Manners::Unable if rng.one_in(2) => 0,
            _ => rng.below(4).min(groups - 1),
        };
        let live = first + past;
        self.attempts.retain(|attempt| attempt.header.group >= live);
        self.sends.retain(|at| at.group >= live);
        self.made = self
            .objects
            .range(..Location::new(live, 0))
            .next_back()
            .map(|(at, _)| *at);
        if rng.one_in(6) {
            self.forgets = first + rng.below(past + 2);
        }
    }

    fn add_group(&mut self, rng: &mut Rng, group: u64, is_last: bool) {
        let subgroups = 1 + rng.below(3);
        let has_extensions = rng.one_in(2);
        let count = 3 + rng.below(16);
        let mut members = BTreeMap::<u64, Vec<u64>>::new();
        let mut id = 0;
        for k in 0..count {
            if k > 0 && rng.one_in(8) && !self.is_plain {
                id += 1 + rng.below(3);
            }
            let subgroup = if k == 0 { 0 } else { rng.below(subgroups) };
            members.entry(subgroup).or_default().push(id);
            let absent = k > 0 && rng.one_in(15) && !self.datagrams && !self.is_plain;
            self.add_object(rng, Location::new(group, id), absent, has_extensions);
            id += 1;
        }
        let mut bit = None;
        let said = match rng.below(3) {
            _ if is_last && rng.one_in(2) => Some(ObjectStatus::EndOfTrack),
            0 => Some(ObjectStatus::EndOfGroup),
            1 => {
                bit = Some(id - 1);
                None
            }
            _ => None,
        };
        if let Some(status) = said {
            members.entry(0).or_default().push(id);
            let at = Location::new(group, id);
            self.objects.insert(at, bare(id, status));
            if status == ObjectStatus::EndOfTrack {
                self.end_of_track = Some(at);
            }
        }
        if self.datagrams {
            self.send_group(rng, group, bit);
            return;
        }
        let by_first = rng.one_in(2);
        for (number, ids) in members {
            let subgroup = match number {
                0 => 0,
                _ if by_first => ids[0],
                number => number,
            };
            let header = SubgroupHeader {
                alias: 0,
                group,
                subgroup: match subgroup {
                    0 => SubgroupIdMode::Zero,
                    _ if by_first => SubgroupIdMode::FirstObject,
                    id => SubgroupIdMode::Explicit(id),
                },
                priority: u8::try_from(rng.below(256)).unwrap(),
                has_extensions,
                end_of_group: bit.is_some_and(|last| ids.contains(&last)),
            };
            for id in &ids {
                let object = self.objects.get_mut(&Location::new(group, *id)).unwrap();
                (object.subgroup, object.priority) = (subgroup, header.priority);
            }
            self.add_attempts(rng, header, subgroup, ids);
        }
    }

    fn add_object(&mut self, rng: &mut Rng, at: Location, absent: bool, has_extensions: bool) {
        let len = match rng.below(10) {
            _ if absent => 0,
            0 => 0,
            1..=6 => rng.below(100),
            7..=8 => rng.below(800),
            _ if self.datagrams => rng.below(900),
            _ => rng.below(4000),
        };
        let payload: Bytes = (0..len).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
        let mut object = bare(
            at.object,
            if absent {
                ObjectStatus::DoesNotExist
            } else {
                ObjectStatus::Normal
            },
        );
        if has_extensions && !absent && !rng.one_in(3) {
            let value = u8::try_from(rng.below(64)).unwrap();
            // An even type with a number, an odd one with bytes; nobody knows either.
            object.header.extensions = Bytes::from(vec![0x34, value, 0x07, 3, value, 1, 2]);
        }
        object.header.payload_len = len;
        object.payload = payload;
        self.objects.insert(at, object);
    }

    fn add_attempts(&mut self, rng: &mut Rng, header: SubgroupHeader, subgroup: u64, ids: Vec<u64>) {
        let code = |rng: &mut Rng| {
            StreamEnd::Reset(match rng.below(4) {
                0 => ResetCode::InternalError,
                1 => ResetCode::DeliveryTimeout,
                2 => ResetCode::Unknown(99),
                _ => ResetCode::Cancelled,
            })
        };
        let whole = Attempt {
            header,
            subgroup,
            ids: ids.clone(),
            cut: usize::MAX,
            end: Some(StreamEnd::Fin),
        };
        let (bytes, ends) = self.encode(&whole, 0);
        let cut = usize(rng.below(bytes.len() as u64 + 1));
        let cut_short = Attempt { cut, ..whole.clone() };
        match rng.below(10) {
            _ if self.is_plain => self.attempts.push(whole),
            0..=5 => self.attempts.push(whole),
            6 => {
                let end = Some(code(rng));
                self.attempts.push(Attempt { end, ..cut_short });
            }
            7..=8 => {
                let end = Some(code(rng));
                self.attempts.push(Attempt { end, ..cut_short });
                let done = ends.iter().filter(|end| **end <= cut).count();
                let from = match rng.below(4) {
                    0 | 1 => done,
                    2 => done.saturating_sub(usize(1 + rng.below(2))),
                    _ => done + usize(1 + rng.below(2)),
                };
                let from = from.min(ids.len() - 1);
                let end = if rng.one_in(5) { code(rng) } else { StreamEnd::Fin };
                self.attempts.push(Attempt {
                    header: SubgroupHeader {
                        subgroup: match subgroup {
                            0 => SubgroupIdMode::Zero,
                            id => SubgroupIdMode::Explicit(id),
                        },
                        ..header
                    },
                    ids: ids[from..].to_vec(),
                    end: Some(end),
                    ..whole
                });
            }
            _ => self.attempts.push(Attempt {
                end: None,
                ..cut_short
            }),
        }
    }

    fn send_group(&mut self, rng: &mut Rng, group: u64, bit: Option<u64>) {
        let places: Vec<_> = self
            .objects
            .range(Location::new(group, 0)..Location::new(group + 1, 0))
            .map(|(at, _)| *at)
            .collect();
        for at in places {
            if bit == Some(at.object) {
                self.objects.get_mut(&at).unwrap().end_of_group = true;
            }
            self.sends.push(at);
            if rng.one_in(8) {
                self.sends.push(at);
            }
        }
    }

    /// One object more, after the end of the track, or of its first group.
    fn add_rogue(&mut self) {
        let last = self
            .end_of_track
            .or_else(|| {
                let ends = |object: &Object| object.header.status == ObjectStatus::EndOfGroup;
                self.objects
                    .iter()
                    .find(|(_, object)| ends(object))
                    .map(|(at, _)| *at)
            })
            .filter(|_| !self.datagrams);
        let Some(last) = last else {
            self.is_rogue = false;
            return;
        };
        let at = Location::new(last.group, last.object + 3);
        let mut object = bare(at.object, ObjectStatus::Normal);
        object.subgroup = ROGUE;
        object.payload = Bytes::from_static(b"beyond");
        object.header.payload_len = 6;
        self.objects.insert(at, object);
        self.attempts.push(Attempt {
            header: SubgroupHeader {
                alias: 0,
                group: at.group,
                subgroup: SubgroupIdMode::Explicit(ROGUE),
                priority: 0,
                has_extensions: false,
                end_of_group: false,
            },
            subgroup: ROGUE,
            ids: vec![at.object],
            cut: usize::MAX,
            end: Some(StreamEnd::Fin),
        });
    }

    /// The bytes of a stream that carries all of `attempt`, and where each object ends.
    pub(crate) fn encode(&self, attempt: &Attempt, alias: u64) -> (Bytes, Vec<usize>) {
        let codec = Codec::Draft14;
        let header = SubgroupHeader {
            alias,
            ..attempt.header
        };
        let mut bytes = BytesMut::new();
        codec.encode_subgroup_header(&header, &mut bytes).unwrap();
        let mut previous = None;
        let mut ends = Vec::new();
        for id in &attempt.ids {
            let object = &self.objects[&Location::new(header.group, *id)];
            codec
                .encode_object_header(header.has_extensions, previous, &object.header, &mut bytes)
                .unwrap();
            bytes.extend_from_slice(&object.payload);
            ends.push(bytes.len());
            previous = Some(*id);
        }
        (bytes.freeze(), ends)
    }
}

fn bare(id: u64, status: ObjectStatus) -> Object {
    Object {
        subgroup: 0,
        priority: 0,
        header: ObjectHeader {
            id,
            status,
            extensions: Bytes::new(),
            payload_len: 0,
        },
        payload: Bytes::new(),
        end_of_group: false,
    }
}

fn limits(rng: &mut Rng, is_tight: bool) -> Limits {
    if !is_tight {
        return Limits::default();
    }
    Limits {
        max_bytes: usize(3000 + rng.below(20_000)),
        max_age: Duration::from_millis(150 + rng.below(2000)),
        max_groups: usize(1 + rng.below(6)),
        max_object: 200 + rng.below(8000),
    }
}

fn weather(rng: &mut Rng, may_be_slow: bool) -> Weather {
    Weather {
        delay: Duration::from_millis(rng.below(30)),
        jitter: Duration::from_millis(rng.below(60)),
        lost_one_in: [0, 50, 10, 4][usize(rng.below(4))],
        recovery: Duration::from_millis(30 + rng.below(300)),
        bytes_per_ms: if may_be_slow && rng.one_in(3) {
            1 + rng.below(20)
        } else {
            0
        },
    }
}

fn desk(rng: &mut Rng, manners: Manners) -> FetchLimits {
    FetchLimits {
        wait: Duration::from_millis(100 + rng.below(500)),
        upstream: match manners {
            Manners::Good => Duration::from_secs(20),
            _ => Duration::from_millis(400 + rng.below(2000)),
        },
        max_fills: usize(1 + rng.below(4)),
        max_readers: if rng.one_in(8) { 2 } else { 100 },
        batch_bytes: usize(1 + rng.below(4000)),
    }
}

fn order(rng: &mut Rng) -> GroupOrderRequest {
    match rng.below(3) {
        0 => GroupOrderRequest::Publisher,
        1 => GroupOrderRequest::Fixed(GroupOrder::Ascending),
        _ => GroupOrderRequest::Fixed(GroupOrder::Descending),
    }
}

/// Fetches at any time of the track's life, and perhaps soon given up.
fn fetches(rng: &mut Rng, whims: &mut Vec<(u64, Whim)>) {
    for _ in 0..rng.below(4) {
        let span = match rng.below(10) {
            0..=2 => Span::Inside,
            3 | 4 => Span::Across,
            5 => Span::Beyond,
            6 => Span::One,
            7 if rng.one_in(2) => Span::Inverted,
            7 => Span::Empty,
            _ => Span::All,
        };
        let at = rng.below(TRACK_MS / 2);
        whims.push((at, Whim::Fetch(span, order(rng))));
        if rng.one_in(4) {
            let whim = if rng.one_in(4) {
                Whim::StopFetch
            } else {
                Whim::CancelFetch
            };
            whims.push((at + rng.below(200), whim));
        }
    }
}

fn listener(rng: &mut Rng, first: u64) -> Listener {
    let start = Location::new(first + rng.below(4), rng.below(6));
    let mut whims = Vec::new();
    for _ in 0..rng.below(4) {
        let whim = match rng.below(8) {
            0..=2 => Whim::Narrow {
                skip: rng.below(3),
                object: rng.below(8),
                last: rng.one_in(2).then(|| rng.below(3)),
            },
            3..=4 => Whim::Pause(rng.below(TRACK_MS / 2)),
            5 => Whim::Unsubscribe,
            6 => Whim::Resubscribe,
            _ => Whim::Stop,
        };
        whims.push((rng.below(2 * TRACK_MS), whim));
    }
    fetches(rng, &mut whims);
    let past = rng.one_in(2).then(|| match rng.below(3) {
        0 => Join::Absolute(rng.below(4)),
        groups => Join::Relative(groups - 1 + rng.below(2)),
    });
    if past.is_some() && rng.one_in(6) {
        whims.push((rng.below(100), Whim::CancelFetch));
    }
    let mut listener = Listener {
        past: past.map(|past| (past, order(rng))),
        joins_ms: if rng.one_in(3) { 0 } else { rng.below(TRACK_MS) },
        filter: match rng.below(6) {
            0 => SubscribeFilter::NextGroupStart,
            1 => SubscribeFilter::AbsoluteStart(start),
            2 => SubscribeFilter::AbsoluteRange {
                start,
                end_group: start.group + rng.below(3),
            },
            _ => SubscribeFilter::LargestObject,
        },
        forward: !rng.one_in(10),
        weather: weather(rng, true),
        window: usize(200 + rng.below(8000)),
        max_streams: if rng.one_in(5) {
            usize(1 + rng.below(3))
        } else {
            MAX_STREAMS
        },
        max_behind: if rng.one_in(3) {
            500 + rng.below(8000)
        } else {
            1 << 30
        },
        skips: rng.one_in(3),
        max_wait_ms: None,
        timeout_ms: rng.one_in(6).then(|| rng.below(400)),
        whims,
    };
    // Drawn from what is drawn already, so that the seeds of old findings still mean the same.
    let window = listener.window as u64;
    listener.max_wait_ms = (window % 4 == 1).then_some(20 + window % 300);
    listener
}

pub(crate) fn usize(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
