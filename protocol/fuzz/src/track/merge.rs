//! Publishers of one track that begin, stall, break off and come back; and sometimes contradict each other.

use crate::downstream::{Begin, Subscription};
use crate::feed::Feed;
use crate::truth::{GROUPS, PRIORITY, Truth};
use crate::wire::{Got, Wire};
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::relay::behind::Policy;
use laps_protocol::relay::merge::{Merge, MergeLimits, PublisherKey};
use laps_protocol::relay::track_log::{Append, Appended, Limits, StreamEnd, TrackLog};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Publishers at a time.
const PUBLISHERS: usize = 3;
/// What a log may hold beside its budget and one chunk.
const SLACK: usize = 8 * 1024;

/// A stream of a publisher.
#[derive(Debug)]
struct Stream {
    key: u64,
    group: u64,
    subgroup: u64,
    /// The object that it is in, and what is left of it.
    now: Option<(Location, Bytes)>,
    next: u64,
    /// It began with the first object of its subgroup and left none out.
    all: bool,
}

struct World {
    now: Instant,
    log: TrackLog,
    merge: Merge,
    replica: Option<TrackLog>,
    limits: Limits,
    versions: [Truth; PUBLISHERS],
    keys: [u64; PUBLISHERS],
    streams: Vec<Vec<Stream>>,
    next_key: u64,
    malformed: bool,
    /// Something was given up for reasons that no publisher has.
    waited: bool,
    /// What some publisher brought whole.
    brought: BTreeSet<Location>,
    merge_limits: MergeLimits,
}

/// Several publishers make one track.
pub(crate) fn merge(data: &[u8]) {
    let mut feed = Feed::new(data);
    let scale = [1, 8, 40][feed.below(3)];
    let lies = feed.u8() % 4 == 3;
    let version = |n: u8| Truth {
        version: if lies { n * u8::from(n > 1) } else { 0 },
        scale,
    };
    let limits = Limits {
        max_bytes: [1 << 20, 4_000, 30_000][feed.below(3)],
        max_age: Duration::from_secs(60),
        max_groups: [100, 2][feed.below(2)],
        max_object: [1 << 20, 500][feed.below(2)],
    };
    let merge_limits = match feed.below(3) {
        0 => MergeLimits::default(),
        1 => MergeLimits {
            max_stream_bytes: 200,
            max_bytes: 300,
        },
        _ => MergeLimits {
            max_stream_bytes: 0,
            max_bytes: 0,
        },
    };
    let log = TrackLog::new(limits);
    let everything = |request| Begin {
        request: RequestId(request),
        alias: request,
        filter: ResolvedFilter {
            start: Location::ZERO,
            end_group: None,
        },
        forward: true,
        priority: 1,
        policy: Policy::NewestGroup,
        max_behind: u64::MAX,
        max_wait: None,
        timeout: None,
    };
    // One who reads everything at once, and one who is slow.
    let mut readers = vec![
        (
            Subscription::new(everything(0), &log),
            Wire::new(usize::MAX, usize::MAX),
        ),
        (Subscription::new(everything(1), &log), Wire::new(100, 3)),
    ];
    let mut world = World {
        now: crate::base(),
        log,
        merge: Merge::new(merge_limits),
        replica: None,
        limits,
        versions: [version(0), version(1), version(2)],
        keys: [0, 1, 2],
        streams: (0..PUBLISHERS).map(|_| Vec::new()).collect(),
        next_key: 0,
        malformed: false,
        waited: false,
        brought: BTreeSet::new(),
        merge_limits,
    };
    let mut of_replica = None;
    let mut steps = 0;
    while !feed.is_over() && !world.malformed && steps < 400 {
        steps += 1;
        match feed.u8() {
            0..=231 => world.publish(&mut feed),
            232..=239 => world.wait(&mut feed),
            240..=245 if world.replica.is_none() => {
                let mut replica = TrackLog::replica(limits);
                for chunk in world.log.snapshot() {
                    replica.append(world.now, chunk);
                }
                if let Some(largest) = world.log.largest() {
                    replica.seed_largest(largest);
                }
                assert_eq!(replica.largest(), world.log.largest());
                let reader = Subscription::new(everything(2), &replica);
                of_replica = Some((reader, Wire::new(usize::MAX, usize::MAX)));
                world.replica = Some(replica);
            }
            246..=250 => readers[1].1.room += 10 * usize::from(feed.u8()),
            _ => {
                world.log.evict(world.now);
                if feed.u8() > 250 {
                    world.waited = true;
                    world.log.give_up(usize::from(feed.u8()) * 50);
                }
            }
        }
        for (reader, wire) in &mut readers {
            reader.pump(world.now, &world.log, wire);
        }
        if let (Some((reader, wire)), Some(replica)) = (&mut of_replica, &world.replica) {
            reader.pump(world.now, replica, wire);
        }
        world.check();
    }
    let is_whole = !world.malformed;
    for publisher in 0..PUBLISHERS {
        world.lose(publisher);
    }
    world.check();
    if is_whole {
        // Nothing waits when nobody is there.
        assert_eq!(world.merge.poll_timeout(), None, "somebody waits for nobody");
        assert_eq!(world.merge.stats().waiting_bytes, 0);
        assert!(
            !world.log.has_open_streams(),
            "a stream of the log that nobody ends"
        );
    }
    readers[1].1.room = usize::MAX;
    readers[1].1.max_open = usize::MAX;
    readers.extend(of_replica);
    for (number, (reader, wire)) in readers.iter_mut().enumerate() {
        let log = if number == 2 {
            world.replica.as_ref().unwrap()
        } else {
            &world.log
        };
        for _ in 0..20 {
            reader.pump(world.now, log, wire);
        }
        if is_whole {
            assert!(reader.is_settled(), "reader {number} is not at an end");
        }
        world.judge(number, wire);
    }
    // Where nobody had to wait, and nothing was evicted, nothing is lost.
    let plenty = merge_limits == MergeLimits::default() && !world.waited;
    if plenty
        && is_whole
        && !lies
        && limits.max_bytes == 1 << 20
        && limits.max_groups == 100
        && limits.max_object == 1 << 20
    {
        let had: BTreeSet<Location> = readers[0].1.whole().map(|(_, got)| got.at).collect();
        let missing: Vec<_> = world.brought.difference(&had).collect();
        assert!(
            missing.is_empty(),
            "brought whole by somebody and read by nobody: {missing:?}"
        );
    }
}

impl World {
    fn publish(&mut self, feed: &mut Feed<'_>) {
        let who = feed.below(PUBLISHERS);
        let action = feed.u8();
        let count = self.streams[who].len();
        match action {
            0..=39 => self.open(who, feed),
            40..=47 => {
                self.lose(who);
                // The same publisher comes back under another key.
                self.keys[who] += 3;
            }
            _ if count == 0 => self.open(who, feed),
            48..=79 => {
                let stream = feed.below(count);
                self.close(who, stream, feed.u8() >= 64);
            }
            _ => {
                let number = feed.below(count);
                self.go_on(who, number, feed);
            }
        }
    }

    fn open(&mut self, who: usize, feed: &mut Feed<'_>) {
        let group = u64::from(feed.u8()) % GROUPS;
        let subgroup = u64::from(feed.u8()) % Truth::subgroups(group);
        if self.streams[who]
            .iter()
            .any(|stream| (stream.group, stream.subgroup) == (group, subgroup))
        {
            return;
        }
        let from = if feed.u8() % 4 == 3 {
            u64::from(feed.u8()) % Truth::size(group)
        } else {
            0
        };
        let first = Truth::next(group, subgroup, 0);
        let Some(next) = Truth::next(group, subgroup, from) else {
            return;
        };
        let key = self.next_key;
        self.next_key += 1;
        let stream = Stream {
            key,
            group,
            subgroup,
            now: None,
            next,
            all: Some(next) == first,
        };
        self.append(
            who,
            Append::SubgroupOpened {
                stream: key,
                group,
                subgroup,
                priority: PRIORITY,
                has_extensions: Truth::has_extensions(group),
                end_of_group: false,
            },
        );
        self.streams[who].push(stream);
        let number = self.streams[who].len() - 1;
        self.go_on(who, number, feed);
    }

    /// The next piece of a stream.
    fn go_on(&mut self, who: usize, number: usize, feed: &mut Feed<'_>) {
        let truth = self.versions[who];
        let stream = &mut self.streams[who][number];
        let key = stream.key;
        if let Some((at, left)) = &mut stream.now {
            let take = match feed.u8() {
                0..=127 => left.len(),
                some => (usize::from(some) - 127).min(left.len()),
            };
            let piece = left.split_to(take);
            if left.is_empty() {
                self.brought.insert(*at);
                stream.now = None;
            }
            if !piece.is_empty() {
                self.append(
                    who,
                    Append::Payload {
                        stream: key,
                        bytes: piece,
                    }
                    .settled(),
                );
            }
            return;
        }
        let Some(id) = Truth::next(stream.group, stream.subgroup, stream.next) else {
            return self.close(who, number, true);
        };
        let at = Location::new(stream.group, id);
        stream.next = id + 1;
        let (header, payload) = (truth.header(at), truth.payload(at));
        if payload.is_empty() {
            self.brought.insert(at);
        } else {
            stream.now = Some((at, payload));
        }
        self.append(who, Append::ObjectStarted { stream: key, header });
    }

    /// A stream ends; with FIN only where it is over.
    fn close(&mut self, who: usize, number: usize, fin: bool) {
        let stream = self.streams[who].remove(number);
        let over = stream.now.is_none() && Truth::next(stream.group, stream.subgroup, stream.next).is_none();
        let end = if fin && over && stream.all {
            StreamEnd::Fin
        } else {
            StreamEnd::Reset(ResetCode::Cancelled)
        };
        self.append(
            who,
            Append::SubgroupClosed {
                stream: stream.key,
                end,
            },
        );
    }

    fn append(&mut self, who: usize, chunk: Append) {
        if self.malformed {
            return;
        }
        let from = PublisherKey(self.keys[who]);
        let mut told = Vec::new();
        let now = self.now;
        self.merge
            .append(&mut self.log, now, from, chunk, &mut |appended, chunk| {
                told.push((appended, chunk))
            });
        self.tell(told);
    }

    fn tell(&mut self, told: Vec<(Appended, Append)>) {
        for (appended, chunk) in told {
            if let Appended::Malformed(why) = appended {
                assert!(
                    self.versions.iter().any(|truth| truth.version > 0),
                    "malformed: {why}"
                );
                self.malformed = true;
            }
            if let (Some(replica), Some(chunk)) = (&mut self.replica, appended.for_replica(chunk)) {
                let copied = replica.append(self.now, chunk);
                assert!(
                    self.malformed || !matches!(copied, Appended::Malformed(_)),
                    "{copied:?} in a replica"
                );
            }
        }
    }

    fn lose(&mut self, who: usize) {
        self.streams[who].clear();
        let mut told = Vec::new();
        let (now, from) = (self.now, PublisherKey(self.keys[who]));
        self.merge.lost(&mut self.log, now, from, &mut |appended, chunk| {
            told.push((appended, chunk))
        });
        self.tell(told);
    }

    fn wait(&mut self, feed: &mut Feed<'_>) {
        self.now += Duration::from_millis(u64::from(feed.u8()) * 10);
        self.waited = true;
        if let Some(due) = self.merge.poll_timeout().filter(|_| feed.flag()) {
            self.now = self.now.max(due);
        }
        let mut told = Vec::new();
        let now = self.now;
        self.merge
            .handle_timeout(&mut self.log, now, &mut |appended, chunk| {
                told.push((appended, chunk))
            });
        self.tell(told);
        assert!(
            self.merge.poll_timeout().is_none_or(|due| due > now),
            "a deadline that stays"
        );
    }

    fn check(&self) {
        //
        let chunk = 1_600;
        for log in std::iter::once(&self.log).chain(&self.replica) {
            assert!(
                log.bytes() <= self.limits.max_bytes + chunk + SLACK,
                "the log holds {} bytes",
                log.bytes()
            );
        }
        let waiting = self.merge.stats().waiting_bytes;
        assert!(
            waiting <= self.merge_limits.max_bytes + chunk,
            "{waiting} bytes wait"
        );
    }

    /// What a reader got: everything as somebody made it, nothing twice.
    fn judge(&self, number: usize, wire: &Wire) {
        let mut seen: BTreeMap<Location, usize> = BTreeMap::new();
        for (_, got) in wire.whole() {
            let made = self.versions.iter().any(|truth| truth.made(got));
            assert!(made, "reader {number}: nobody made {got:?}");
            *seen.entry(got.at).or_default() += 1;
        }
        for (at, times) in seen {
            assert_eq!(times, 1, "reader {number} got {at} twice");
        }
        for came in wire.streams.values() {
            let Some(header) = came.header else { continue };
            let in_order = came.objects.is_sorted_by(|a, b| a.at < b.at);
            assert!(in_order && came.objects.iter().all(|got| got.at.group == header.group));
            // Who came later, or lost a whole stream to eviction, cannot tell.
            if came.end == Some(StreamEnd::Fin) && !self.malformed && number == 0 {
                let first = came.objects.first().map(|got| (got.at, got.subgroup));
                let Some((at, subgroup)) = first else { continue };
                // FIN says that nothing is missing between here and the end of the subgroup.
                let mut wanted = Vec::new();
                let mut next = Truth::next(at.group, subgroup, at.object);
                while let Some(id) = next {
                    wanted.push(Location::new(at.group, id));
                    next = Truth::next(at.group, subgroup, id + 1);
                }
                let others = wire.whole().map(|(_, got)| got.at).collect::<BTreeSet<_>>();
                let lacks = wanted.iter().any(|at| !others.contains(at));
                assert!(
                    !lacks,
                    "reader {number}: FIN over a gap in {header:?}: {:?}",
                    ids(&came.objects)
                );
            }
        }
    }
}

fn ids(objects: &[Got]) -> Vec<u64> {
    objects.iter().map(|got| got.at.object).collect()
}
