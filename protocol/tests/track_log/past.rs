//! What readers of the past may rely on, whatever streams, answers, joins and evictions come before and between.
//!
//! The model is a *world*: all objects that were ever made, and so all that exist. Streams and answers tell parts of
//! it, truthfully. A log may know less than the world, never other than it.

use crate::live_edge::origin;
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::subscribe::GroupOrder;
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus};
use laps_protocol::relay::track_log::{
    Append, Fill, FillEnd, FillKey, Limits, Past, PastCursor, PastRange, StreamEnd, TrackLog,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Groups and ids of a world are below these.
const GROUPS: u64 = 5;
const IDS: u64 = 9;

#[derive(Clone, Debug)]
struct World {
    /// Subgroups of each group; an object is in the one that its id leaves as remainder.
    subgroups: u64,
    objects: BTreeSet<Location>,
}

impl World {
    fn payload(at: Location) -> Bytes {
        let len = (at.group * 5 + at.object * 3) % 7;
        let byte = |i| u8::try_from((at.group * 89 + at.object * 31 + i * 7) % 256).unwrap();
        (0..len).map(byte).collect()
    }

    /// The objects of a range, in the order of a fetch.
    fn read(&self, range: PastRange, order: GroupOrder) -> Vec<Location> {
        let mut objects: Vec<_> = self
            .objects
            .iter()
            .copied()
            .filter(|&at| range.contains(at))
            .collect();
        if order == GroupOrder::Descending {
            objects.sort_by_key(|at| (u64::MAX - at.group, at.object));
        }
        objects
    }

    /// The chunks of each stream, one for each subgroup that has objects.
    fn streams(&self, piece: usize) -> Vec<Vec<Append>> {
        let mut streams: BTreeMap<(u64, u64), Vec<Append>> = BTreeMap::new();
        for &at in &self.objects {
            let place = (at.group, at.object % self.subgroups);
            let stream = place.0 * 100 + place.1;
            let chunks = streams.entry(place).or_insert_with(|| {
                vec![Append::SubgroupOpened {
                    stream,
                    group: place.0,
                    subgroup: place.1,
                    priority: 7,
                    has_extensions: false,
                    end_of_group: false,
                }]
            });
            let payload = Self::payload(at);
            chunks.push(Append::ObjectStarted {
                stream,
                header: ObjectHeader {
                    id: at.object,
                    status: ObjectStatus::Normal,
                    extensions: Bytes::new(),
                    payload_len: payload.len() as u64,
                },
            });
            for from in (0..payload.len()).step_by(piece) {
                let bytes = payload.slice(from..payload.len().min(from + piece));
                chunks.push(Append::Payload { stream, bytes });
            }
        }
        streams.into_values().collect()
    }

    fn header(&self, at: Location) -> FetchObjectHeader {
        FetchObjectHeader {
            location: at,
            subgroup: at.object % self.subgroups,
            priority: 7,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: Self::payload(at).len() as u64,
        }
    }

    /// What an upstream that knows everything answers.
    fn answer(&self, range: PastRange, order: GroupOrder) -> Vec<Fill> {
        let mut chunks = Vec::new();
        for at in self.read(range, order) {
            chunks.push(Fill::Object(self.header(at)));
            let payload = Self::payload(at);
            chunks.extend((0..payload.len()).map(|i| Fill::Payload(payload.slice(i..=i))));
        }
        chunks
    }
}

fn world() -> impl Strategy<Value = World> {
    let places = prop::collection::btree_set((0..GROUPS, 0..IDS), 1..30);
    (1u64..4, places).prop_map(|(subgroups, places)| World {
        subgroups,
        objects: places
            .into_iter()
            .map(|(group, object)| Location::new(group, object))
            .collect(),
    })
}

fn asked() -> impl Strategy<Value = (PastRange, GroupOrder)> {
    let ends = (0..GROUPS + 1, 0..IDS + 1, 0..GROUPS + 1, 0..IDS + 1);
    let order = prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)];
    (ends, order).prop_map(|((a, b, c, d), order)| {
        let (start, end) = (Location::new(a, b), Location::new(c, d));
        let range = PastRange::new(start, end).or_else(|| PastRange::new(end, start));
        (range.unwrap(), order)
    })
}

#[derive(Clone, Debug)]
enum Op {
    /// The next chunk of a stream.
    Step(usize),
    /// Ends a stream where it is.
    Reset(usize),
    /// An answer, and how many chunks of it come at all.
    Answer((PastRange, GroupOrder), usize),
    Wait(u64),
    GiveUp(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => any::<usize>().prop_map(Op::Step),
        1 => any::<usize>().prop_map(Op::Reset),
        4 => (asked(), prop_oneof![Just(usize::MAX), 0usize..40]).prop_map(|(asked, cut)| Op::Answer(asked, cut)),
        1 => (0u64..50).prop_map(Op::Wait),
        1 => (0usize..3000).prop_map(Op::GiveUp),
    ]
}

/// A log, what it was told so far, and what it was not.
struct Play {
    world: World,
    log: TrackLog,
    now: Instant,
    /// What streams still have to tell, by stream key; a stream that is over has nothing.
    streams: Vec<std::vec::IntoIter<Append>>,
    keys: Vec<u64>,
    next_key: u64,
    /// Objects that came whole, one way or the other.
    whole: BTreeSet<Location>,
}

impl Play {
    fn new(world: World, limits: Limits, piece: usize) -> Self {
        let streams = world.streams(piece);
        Self {
            log: TrackLog::new(limits),
            now: origin(),
            keys: streams.iter().map(|chunks| chunks[0].stream().unwrap()).collect(),
            streams: streams.into_iter().map(Vec::into_iter).collect(),
            next_key: 1,
            whole: BTreeSet::new(),
            world,
        }
    }

    fn append(&mut self, chunk: Append) {
        self.log.append(self.now, chunk);
    }

    fn step(&mut self, pick: usize) {
        let index = pick % self.streams.len();
        let group = self.keys[index] / 100;
        match self.streams[index].next() {
            Some(chunk) => {
                self.append(chunk);
                if self.streams[index].len() == 0 {
                    let (stream, end) = (self.keys[index], StreamEnd::Fin);
                    self.append(Append::SubgroupClosed { stream, end });
                    let subgroup = self.keys[index] % 100;
                    let of =
                        |at: &&Location| at.group == group && at.object % self.world.subgroups == subgroup;
                    self.whole.extend(self.world.objects.iter().filter(of));
                }
            }
            None => drop(self.streams[index].next()),
        }
    }

    fn reset(&mut self, pick: usize) {
        let index = pick % self.streams.len();
        if self.streams[index].len() > 0 {
            self.streams[index] = Vec::new().into_iter();
            let (stream, end) = (self.keys[index], StreamEnd::Reset(ResetCode::Cancelled));
            self.append(Append::SubgroupClosed { stream, end });
        }
    }

    fn answer(&mut self, (range, order): (PastRange, GroupOrder), cut: usize) {
        let key = FillKey(self.next_key);
        self.next_key += 1;
        self.log.fill_opened(key, range, order);
        let chunks = self.world.answer(range, order);
        let complete = cut >= chunks.len();
        for chunk in chunks.into_iter().take(cut) {
            self.log.fill(self.now, key, chunk).unwrap();
        }
        let end = if complete {
            self.whole.extend(self.world.read(range, order));
            FillEnd::Complete { end: range.end }
        } else {
            FillEnd::Broken
        };
        self.log.fill_closed(key, end);
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Step(pick) => self.step(pick),
            Op::Reset(pick) => self.reset(pick),
            Op::Answer(asked, cut) => self.answer(asked, cut),
            Op::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.log.evict(self.now);
            }
            Op::GiveUp(bytes) => {
                self.log.give_up(bytes);
            }
        }
    }

    /// Reads as far as it goes: the objects that were given, whether the last is whole, and why it ended.
    fn read(&self, cursor: &mut PastCursor) -> (Vec<(Location, Vec<u8>)>, Past) {
        let mut seen: Vec<(Location, Vec<u8>)> = Vec::new();
        loop {
            match self.log.read_past(self.now, cursor) {
                Past::Object { header, .. } => {
                    assert_eq!(header, self.world.header(header.location));
                    seen.push((header.location, Vec::new()));
                }
                Past::Payload(bytes) => seen.last_mut().unwrap().1.extend_from_slice(&bytes),
                end @ (Past::Arriving | Past::Unknown(_) | Past::Broken | Past::End) => return (seen, end),
            }
        }
    }

    /// One look at a range: what is given is the beginning of what the world holds, and a hole is what it says.
    fn look(&self, range: PastRange, order: GroupOrder, nothing_evicted: bool) {
        let mut cursor = PastCursor::new(range, order);
        let (seen, end) = self.read(&mut cursor);
        let all = self.world.read(range, order);
        let places: Vec<_> = seen.iter().map(|(at, _)| *at).collect();
        assert!(all.starts_with(&places), "{places:?} of {all:?}");
        let whole = seen.len() - usize::from(cursor.inside_object());
        for (at, payload) in &seen[..whole] {
            assert_eq!(payload, &World::payload(*at), "{at}");
        }
        let at = cursor.at();
        match end {
            Past::End => assert_eq!(places, all),
            Past::Arriving => assert!(range.contains(at)),
            Past::Unknown(hole) => {
                // The next object that is wanted is not passed over, and what is asked for is wanted.
                assert!(hole.contains(at) && !hole.is_empty(), "{hole:?} at {at}");
                assert!(range.contains(hole.start));
                assert!(
                    all.get(places.len())
                        .is_none_or(|&next| key(next, order) >= key(at, order))
                );
                if order == GroupOrder::Ascending || hole.start.group == at.group {
                    assert_eq!(hole.start, at);
                }
                for place in self.world.read(hole, order) {
                    assert!(range.contains(place));
                    assert!(
                        !(nothing_evicted && self.whole.contains(&place)),
                        "{place} is known: {hole:?}"
                    );
                }
            }
            Past::Broken | Past::Object { .. } | Past::Payload(_) => panic!("{end:?}"),
        }
    }
}

fn key(at: Location, order: GroupOrder) -> (u64, u64) {
    match order {
        GroupOrder::Ascending => (at.group, at.object),
        GroupOrder::Descending => (u64::MAX - at.group, at.object),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// What is given is exactly what exists, in order, and nothing that exists is ever passed over.
    /// MOQT-14 §9.16.3. D14-FETCH-4 D14-FETCH-5 D14-CACHE-7
    #[test]
    fn the_past_is_the_world_or_unknown(
        world in world(),
        ops in prop::collection::vec(op(), 0..80),
        looks in prop::collection::vec(asked(), 1..6),
        piece in 1usize..4,
        max_bytes in prop_oneof![Just(1 << 20), 2000usize..9000],
        max_groups in prop_oneof![Just(100), 1usize..5],
    ) {
        let limits = Limits { max_bytes, max_groups, ..Limits::default() };
        let mut play = Play::new(world, limits, piece);
        let mut nothing_evicted = true;
        for op in ops {
            nothing_evicted &= !matches!(op, Op::Wait(_) | Op::GiveUp(_) | Op::Reset(_));
            play.play(op);
            let stats = play.log.stats();
            let kept = nothing_evicted && stats.evicted_groups + stats.evicted_objects + stats.after_eviction == 0;
            for &(range, order) in &looks {
                play.look(range, order, kept);
            }
        }
        prop_assert_eq!(play.log.stats().malformed, 0);
        // All of it can be counted out again.
        for index in 0..play.streams.len() {
            play.reset(index);
        }
        for minutes in [10, 20] {
            play.log.evict(play.now + Duration::from_secs(60 * minutes));
        }
        prop_assert_eq!(play.log.next_eviction(), None);
        prop_assert_eq!((play.log.bytes(), play.log.own_bytes()), (0, 0));
    }

    /// A reader that asks upstream for what nobody knows gets all there is, each object once and whole, however little
    /// the log can keep. MOQT-14 §9.16.3. D14-FETCH-4 D14-FETCH-5 D14-FETCH-6 D14-FETCH-20
    #[test]
    fn who_asks_for_what_is_unknown_gets_everything(
        world in world(),
        ops in prop::collection::vec(op(), 0..60),
        (range, order) in asked(),
        fill_order in prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)],
        cuts in prop::collection::vec(prop_oneof![3 => Just(usize::MAX), 1 => 0usize..20], 1..8),
        max_bytes in prop_oneof![Just(1 << 20), 8000usize..20000],
    ) {
        let limits = Limits { max_bytes, ..Limits::default() };
        let mut play = Play::new(world, limits, 2);
        for op in ops {
            play.play(op);
        }
        let mut cursor = PastCursor::new(range, order);
        let mut seen: Vec<(Location, Vec<u8>)> = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        let take = |play: &Play, cursor: &mut PastCursor, seen: &mut Vec<(Location, Vec<u8>)>| loop {
            match play.log.read_past(play.now, cursor) {
                Past::Object { header, .. } => seen.push((header.location, Vec::new())),
                Past::Payload(bytes) => seen.last_mut().unwrap().1.extend_from_slice(&bytes),
                end @ (Past::Arriving | Past::Unknown(_) | Past::Broken | Past::End) => return end,
            }
        };
        for round in 0.. {
            prop_assert!(round < 800, "no end: {:?} at {}", seen, cursor.at());
            match take(&play, &mut cursor, &mut seen) {
                Past::End => break,
                // A publisher that goes on, or one that goes away.
                Past::Arriving if round % 7 < 5 => (0..play.streams.len()).for_each(|index| play.step(index)),
                Past::Arriving => (0..play.streams.len()).for_each(|index| play.reset(index)),
                Past::Unknown(hole) => {
                    let hole_order = if hole.start.group == hole.end.group { fill_order } else { order };
                    let keyed = FillKey(1000 + round);
                    play.log.fill_opened(keyed, hole, hole_order);
                    let chunks = play.world.answer(hole, hole_order);
                    let cut = if round < 200 { cuts.next().unwrap() } else { usize::MAX };
                    let complete = cut >= chunks.len();
                    for chunk in chunks.into_iter().take(cut) {
                        play.log.fill(play.now, keyed, chunk).unwrap();
                        take(&play, &mut cursor, &mut seen);
                    }
                    let end = if complete { FillEnd::Complete { end: hole.end } } else { FillEnd::Broken };
                    play.log.fill_closed(keyed, end);
                }
                // What was begun is lost: whoever reads starts again behind what it has whole.
                Past::Broken => {
                    let (at, _) = seen.pop().unwrap();
                    prop_assert_eq!(at, cursor.at());
                    let rest = PastRange { start: range.start.max(at), end: range.end };
                    let again = PastCursor::new(if order == GroupOrder::Ascending { rest } else { range }, order);
                    if order == GroupOrder::Descending {
                        seen.clear();
                    }
                    cursor = again;
                }
                end @ (Past::Object { .. } | Past::Payload(_)) => panic!("{end:?}"),
            }
        }
        let all = play.world.read(range, order);
        let all: Vec<_> = all.into_iter().map(|at| (at, World::payload(at).to_vec())).collect();
        prop_assert_eq!(seen, all);
    }
}
