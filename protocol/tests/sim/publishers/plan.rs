//! What a seed stands for: the objects of one track, who publishes them, and who listens.

use super::lives::{self, Attempt, Life};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader};
use laps_protocol::relay::merge::MergeLimits;
use laps_protocol::relay::track_log::Limits;
use laps_protocol::sim::{Rng, Weather};
use std::collections::BTreeMap;
use std::time::Duration;

/// One object as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) subgroup: u64,
    pub(crate) priority: u8,
    pub(crate) header: ObjectHeader,
    pub(crate) payload: Bytes,
    /// Said by a datagram.
    pub(crate) end_of_group: bool,
}

/// One subgroup.
#[derive(Clone, Debug)]
pub(crate) struct Subgroup {
    pub(crate) number: u64,
    pub(crate) priority: u8,
    pub(crate) has_extensions: bool,
    pub(crate) end_of_group: bool,
    pub(crate) ids: Vec<u64>,
}

/// What one of the publishers says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    Payload,
    Length,
    Status,
    /// An object behind the last one.
    Extra,
}

/// What a subscriber does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whim {
    Join,
    Leave,
    /// Refuses the newest stream.
    Stop,
}

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) filter: SubscribeFilter,
    pub(crate) weather: Weather,
    pub(crate) window: usize,
    pub(crate) max_streams: usize,
    /// The replica that serves it, once that is there.
    pub(crate) replica: usize,
    pub(crate) whims: Vec<(u64, Whim)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) datagrams: bool,
    pub(crate) first: u64,
    pub(crate) objects: BTreeMap<Location, Object>,
    pub(crate) groups: BTreeMap<u64, Vec<Subgroup>>,
    /// Virtual time from one group to the next.
    pub(crate) group_ms: u64,
    /// What the publisher that disagrees has in place of an object.
    pub(crate) lies: BTreeMap<Location, Object>,
    pub(crate) lie: Option<Lie>,
    pub(crate) publishers: u64,
    pub(crate) lives: Vec<Life>,
    pub(crate) limits: Limits,
    pub(crate) is_tight: bool,
    pub(crate) merge: MergeLimits,
    /// The merge may have no room for what should wait.
    pub(crate) is_narrow: bool,
    /// When replicas are made.
    pub(crate) replicas: Vec<u64>,
    pub(crate) listeners: Vec<Listener>,
}

const MAX_STREAMS: usize = 64;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed ^ 0x9b5e);
        let has_lie = rng.one_in(6);
        let is_tight = !has_lie && rng.one_in(3);
        let is_narrow = !has_lie && rng.one_in(3);
        let mut plan = Self {
            datagrams: rng.one_in(8),
            first: rng.below(3),
            objects: BTreeMap::new(),
            groups: BTreeMap::new(),
            group_ms: 50 + rng.below(200),
            lies: BTreeMap::new(),
            lie: None,
            publishers: [1, 2, 2, 2, 3, 3][usize(rng.below(6))],
            lives: Vec::new(),
            limits: limits(rng, is_tight),
            is_tight,
            merge: merge_limits(rng, is_narrow),
            is_narrow,
            replicas: Vec::new(),
            listeners: Vec::new(),
        };
        let count = 2 + rng.below(4);
        for group in plan.first..plan.first + count {
            plan.add_group(rng, group, group + 1 == plan.first + count);
        }
        if has_lie {
            plan.add_lie(rng);
        }
        let track_ms = count * plan.group_ms;
        plan.lives = lives::all(rng, &plan, track_ms);
        plan.replicas = (0..rng.below(3)).map(|_| rng.below(track_ms)).collect();
        let listeners = 1 + rng.below(4);
        plan.listeners = (0..listeners).map(|_| listener(rng, &plan, track_ms)).collect();
        plan
    }

    fn add_group(&mut self, rng: &mut Rng, group: u64, is_last: bool) {
        let subgroups = 1 + rng.below(3);
        let count = 1 + rng.below(12);
        let mut members = BTreeMap::<u64, Vec<u64>>::new();
        let mut id = 0;
        for k in 0..count {
            if k > 0 && rng.one_in(8) {
                id += 1 + rng.below(3);
            }
            let subgroup = if k == 0 { 0 } else { rng.below(subgroups) };
            members.entry(subgroup).or_default().push(id);
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
        if said.is_some() {
            members.entry(0).or_default().push(id);
        }
        let by_first = rng.one_in(2);
        for (number, ids) in members {
            let subgroup = Subgroup {
                number: if by_first { ids[0] } else { number },
                priority: u8::try_from(rng.below(256)).unwrap(),
                has_extensions: rng.one_in(2),
                end_of_group: bit.is_some_and(|last| ids.contains(&last)),
                ids,
            };
            for &member in &subgroup.ids {
                let end = said.filter(|_| member == id);
                let mut object = self.object(rng, &subgroup, member, end);
                object.end_of_group = self.datagrams && bit == Some(member);
                self.objects.insert(Location::new(group, member), object);
            }
            self.groups.entry(group).or_default().push(subgroup);
        }
    }

    fn object(&self, rng: &mut Rng, subgroup: &Subgroup, id: u64, end: Option<ObjectStatus>) -> Object {
        let is_absent = end.is_none() && id > 0 && rng.one_in(20) && !self.datagrams;
        let len = match rng.below(10) {
            _ if is_absent || end.is_some() => 0,
            0 => 0,
            1..=4 => rng.below(100),
            5..=7 => rng.below(900),
            _ if self.datagrams => rng.below(900),
            _ => rng.below(4000),
        };
        let status = match end {
            _ if is_absent => ObjectStatus::DoesNotExist,
            Some(end) => end,
            None => ObjectStatus::Normal,
        };
        let exists = status == ObjectStatus::Normal;
        let extensions = if subgroup.has_extensions && exists && !rng.one_in(3) {
            let value = u8::try_from(rng.below(64)).unwrap();
            // An even type with a number, an odd one with bytes; nobody knows either.
            Bytes::from(vec![0x34, value, 0x07, 3, value, 1, 2])
        } else {
            Bytes::new()
        };
        Object {
            subgroup: subgroup.number,
            priority: subgroup.priority,
            header: ObjectHeader {
                id,
                status,
                extensions,
                payload_len: len,
            },
            payload: (0..len).map(|_| u8::try_from(rng.below(256)).unwrap()).collect(),
            end_of_group: false,
        }
    }

    /// The first of the publishers says something otherwise, in all its lives.
    fn add_lie(&mut self, rng: &mut Rng) {
        let lie = match rng.below(5) {
            0 => Lie::Length,
            1 if !self.datagrams => Lie::Extra,
            2 if !self.datagrams => Lie::Status,
            _ => Lie::Payload,
        };
        let group = self.first + rng.below(self.groups.len() as u64);
        let of_group = Location::new(group, 0)..Location::new(group + 1, 0);
        let (&last, last_object) = self.objects.range(of_group.clone()).next_back().unwrap();
        let normal = |object: &Object| object.payload.len() > 1;
        // MOQT-14 §8.1 [D14-CACHE-3]: one that does not exist any more is no contradiction.
        if last_object.header.status == ObjectStatus::DoesNotExist {
            return;
        }
        let (at, object) = match lie {
            Lie::Payload | Lie::Length => {
                let mut places: Vec<_> = self
                    .objects
                    .range(of_group)
                    .filter(|(_, it)| normal(it))
                    .collect();
                if places.is_empty() {
                    return;
                }
                let (at, object) = places.swap_remove(usize(rng.below(places.len() as u64)));
                let mut payload = object.payload.to_vec();
                let flip = usize(rng.below(payload.len() as u64));
                if lie == Lie::Payload {
                    payload[flip] ^= 1;
                } else {
                    payload.truncate(flip);
                }
                (*at, object.with_payload(payload))
            }
            Lie::Status if last_object.header.status == ObjectStatus::Normal => {
                let mut object = last_object.with_payload(Vec::new());
                object.header.status = ObjectStatus::EndOfGroup;
                object.header.extensions = Bytes::new();
                (last, object)
            }
            Lie::Status | Lie::Extra => {
                let mut object = last_object.with_payload(b"beyond".to_vec());
                object.header.status = ObjectStatus::Normal;
                let at = match lie {
                    Lie::Status => last,
                    _ => Location::new(last.group, last.object + 1 + rng.below(2)),
                };
                object.header.id = at.object;
                (at, object)
            }
        };
        self.lie = Some(lie);
        self.lies.insert(at, object);
    }

    /// The object at `at` as an honest publisher has it, or one that lies.
    pub(crate) fn version(&self, lies: bool, at: Location) -> Option<&Object> {
        let lie = self.lies.get(&at).filter(|_| lies);
        lie.or_else(|| self.objects.get(&at))
    }

    /// The objects of a subgroup as an honest publisher has them.
    pub(crate) fn members(&self, group: u64, subgroup: u64) -> &[u64] {
        let found = self.groups.get(&group).into_iter().flatten();
        let mut found = found.filter(|it| it.number == subgroup);
        found.next().map_or(&[], |it| &it.ids)
    }

    /// The bytes of a stream that carries all of `attempt`, and where each object ends.
    pub(crate) fn encode(&self, attempt: &Attempt, lies: bool, alias: u64) -> (Bytes, Vec<usize>) {
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
            let object = self.version(lies, Location::new(header.group, *id)).unwrap();
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

impl Object {
    fn with_payload(&self, payload: Vec<u8>) -> Self {
        let mut object = self.clone();
        object.header.payload_len = payload.len() as u64;
        object.payload = payload.into();
        object
    }
}

fn limits(rng: &mut Rng, is_tight: bool) -> Limits {
    if !is_tight {
        return Limits::default();
    }
    Limits {
        max_bytes: usize(3000 + rng.below(20_000)),
        max_age: Duration::from_millis(150 + rng.below(2000)),
        max_groups: usize(1 + rng.below(4)),
        max_object: 200 + rng.below(8000),
    }
}

fn merge_limits(rng: &mut Rng, is_narrow: bool) -> MergeLimits {
    if !is_narrow {
        return MergeLimits::default();
    }
    // Now the one binds first, now the other.
    MergeLimits {
        max_stream_bytes: usize(rng.below(4000)),
        max_bytes: usize(rng.below(6000)),
    }
}

pub(crate) fn weather(rng: &mut Rng, may_be_slow: bool) -> Weather {
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

fn listener(rng: &mut Rng, plan: &Plan, track_ms: u64) -> Listener {
    let joins = if rng.one_in(2) { 0 } else { rng.below(track_ms) };
    let mut whims = vec![(joins, Whim::Join)];
    if rng.one_in(3) {
        let leaves = joins + 1 + rng.below(track_ms);
        whims.push((leaves, Whim::Leave));
        whims.push((leaves + rng.below(track_ms), Whim::Join));
    }
    if rng.one_in(6) {
        whims.push((rng.below(2 * track_ms), Whim::Stop));
    }
    Listener {
        filter: match rng.below(6) {
            0 => SubscribeFilter::NextGroupStart,
            1 => SubscribeFilter::AbsoluteStart(Location::new(plan.first + rng.below(4), rng.below(6))),
            _ => SubscribeFilter::LargestObject,
        },
        weather: weather(rng, true),
        window: usize(200 + rng.below(8000)),
        max_streams: if rng.one_in(5) {
            usize(1 + rng.below(3))
        } else {
            MAX_STREAMS
        },
        replica: usize(rng.below(plan.replicas.len() as u64 + 2)),
        whims,
    }
}

pub(crate) fn usize(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
