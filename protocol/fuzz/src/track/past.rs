//! Fetches of a log that knows a part of its track, and a publisher that knows all of it.
// LENGTH: one desk, and all that stands around it

use crate::feed::Feed;
use crate::truth::{GROUPS, PRIORITY, Truth};
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{FetchOk, GroupOrder, MessageParams, RequestErrorReason};
use laps_protocol::relay::fetch::{
    Batch, Chunk, FetchDesk, FetchLimits, Output, ReaderKey, Settled, Standing, Then,
};
use laps_protocol::relay::track_log::{Append, Fill, FillKey, Limits, PastRange, StreamEnd, TrackLog};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

struct Fetcher {
    range: PastRange,
    order: GroupOrder,
    hungry: bool,
    got: Vec<(Location, Vec<u8>, u64)>,
    settled: Option<Settled>,
    over: Option<Then>,
}

/// What an upstream FETCH will bring.
struct Coming {
    range: PastRange,
    rest: VecDeque<Fill>,
    answered: bool,
    held: bool,
}

struct World {
    now: Instant,
    log: TrackLog,
    desk: FetchDesk,
    truth: Truth,
    limits: FetchLimits,
    fetchers: BTreeMap<ReaderKey, Fetcher>,
    coming: BTreeMap<FillKey, Coming>,
    /// Some publisher failed on purpose: what is not known may be taken for absent.
    failed: bool,
    budget: usize,
    /// Live streams that stall.
    open: BTreeSet<u64>,
}

/// Fetches of every range and order, while live objects come and upstream answers, is silent, or breaks off.
pub(crate) fn past(data: &[u8]) {
    let mut feed = Feed::new(data);
    let budget = [1 << 20, 20_000, 6_000][feed.below(3)];
    let limits = Limits {
        max_bytes: budget,
        max_groups: [100, 2][feed.below(2)],
        ..Limits::default()
    };
    let desk = FetchLimits {
        wait: Duration::from_millis(100),
        upstream: Duration::from_secs(1),
        max_fills: [4, 1][feed.below(2)],
        max_readers: 3,
        batch_bytes: [64, 1, 4096][feed.below(3)],
    };
    let mut log = TrackLog::new(limits);
    log.seed_largest(Truth::largest());
    let mut world = World {
        now: crate::base(),
        log,
        desk: FetchDesk::new(desk, false),
        truth: Truth {
            version: 0,
            scale: [1, 30][feed.below(2)],
        },
        limits: desk,
        fetchers: BTreeMap::new(),
        coming: BTreeMap::new(),
        failed: false,
        budget,
        open: BTreeSet::new(),
    };
    let mut steps = 0;
    while !feed.is_over() && steps < 300 {
        steps += 1;
        match feed.u8() {
            0..=31 => world.open(&mut feed),
            32..=99 => world.read(&mut feed),
            100..=139 => world.publish(&mut feed),
            140..=223 => world.answer(&mut feed),
            224..=235 => world.wait(&mut feed),
            236..=243 => {
                if let Some((&key, _)) = world.fetchers.first_key_value() {
                    world.fetchers.remove(&key);
                    world.desk.close(world.now, &mut world.log, key);
                }
            }
            244..=247 => {
                let before = world.log.bytes();
                let evicted = world
                    .log
                    .evict(world.now + Duration::from_secs(u64::from(feed.u8())));
                assert_eq!(world.log.bytes() + evicted.bytes, before);
            }
            248 => {
                world.failed = true;
                world.coming.clear();
                world.desk.detach(world.now, &mut world.log);
            }
            249 => world.desk.publishers_changed(),
            _ => world.misbehave(&mut feed),
        }
        world.carry_out();
    }
    world.finish();
}

impl World {
    fn open(&mut self, feed: &mut Feed<'_>) {
        let start = Location::new(u64::from(feed.u8()) % GROUPS, u64::from(feed.u8() % 5));
        let end = Location::new(start.group + u64::from(feed.u8() % 4), u64::from(feed.u8() % 5));
        let Some(range) = PastRange::new(start, end) else {
            return;
        };
        let order = if feed.flag() {
            GroupOrder::Ascending
        } else {
            GroupOrder::Descending
        };
        let standing = if feed.flag() {
            Standing::Live
        } else {
            Standing::Idle
        };
        let key = ReaderKey(self.fetchers.last_key_value().map_or(0, |(key, _)| key.0 + 1));
        let open = self
            .fetchers
            .values()
            .filter(|fetcher| fetcher.over.is_none())
            .count();
        match self.desk.open(self.now, &self.log, standing, key, range, order) {
            Ok(()) => {
                assert!(open < self.limits.max_readers, "more fetches than may be open");
                let fetcher = Fetcher {
                    range,
                    order,
                    hungry: false,
                    got: Vec::new(),
                    settled: None,
                    over: None,
                };
                self.fetchers.insert(key, fetcher);
            }
            Err(RequestErrorReason::InternalError) => assert_eq!(open, self.limits.max_readers),
            Err(reason) => {
                assert_eq!(reason, RequestErrorReason::InvalidRange);
                assert!(start > Truth::largest());
            }
        }
    }

    fn read(&mut self, feed: &mut Feed<'_>) {
        let waiting: Vec<ReaderKey> = self
            .fetchers
            .iter()
            .filter(|(_, fetcher)| !fetcher.hungry && fetcher.over.is_none())
            .map(|(key, _)| *key)
            .collect();
        if let Some(key) = waiting.get(feed.below(waiting.len())) {
            self.read_on(*key);
        }
    }

    fn read_on(&mut self, key: ReaderKey) {
        if let Some(fetcher) = self.fetchers.get_mut(&key) {
            fetcher.hungry = true;
        }
        self.desk.read(self.now, &mut self.log, key);
        self.carry_out();
    }

    /// A live stream of one subgroup: all of it, or its beginning.
    fn publish(&mut self, feed: &mut Feed<'_>) {
        let group = u64::from(feed.u8()) % GROUPS;
        let subgroup = u64::from(feed.u8()) % Truth::subgroups(group);
        let stream = 1 << 20 | group << 8 | subgroup;
        let mut batch = vec![Append::SubgroupOpened {
            stream,
            group,
            subgroup,
            priority: PRIORITY,
            has_extensions: Truth::has_extensions(group),
            end_of_group: false,
        }];
        let mut next = Truth::next(group, subgroup, 0);
        let mut end = Some(StreamEnd::Fin);
        while let Some(id) = next {
            let at = Location::new(group, id);
            batch.push(Append::ObjectStarted {
                stream,
                header: self.truth.header(at),
            });
            let payload = self.truth.payload(at);
            let cut = feed.u8();
            if cut >= 240 {
                let part = payload.slice(..payload.len() / 2);
                batch.push(Append::Payload { stream, bytes: part });
                end = (cut < 248).then_some(StreamEnd::Reset(ResetCode::Cancelled));
                break;
            }
            batch.push(Append::Payload {
                stream,
                bytes: payload,
            });
            next = Truth::next(group, subgroup, id + 1);
        }
        if end.is_none() {
            self.open.insert(stream);
        }
        if let Some(end) = end {
            batch.push(Append::SubgroupClosed { stream, end });
        }
        for chunk in batch {
            self.log.append(self.now, chunk);
        }
        self.desk.advanced(self.now, &mut self.log);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.desk.poll_output() {
            match output {
                Output::Answer(key, batch) => self.batch(key, batch),
                Output::Ask { fill, range, order } => {
                    assert!(
                        !range.is_empty() && self.coming.len() < self.limits.max_fills,
                        "too many fills"
                    );
                    let rest = self.all_of(range, order);
                    let coming = Coming {
                        range,
                        rest,
                        answered: false,
                        held: false,
                    };
                    assert!(self.coming.insert(fill, coming).is_none());
                }
                Output::Take(fill) => {
                    if let Some(coming) = self.coming.get_mut(&fill) {
                        coming.held = false;
                    }
                }
                Output::Cancel(fill) => _ = self.coming.remove(&fill),
                Output::AssumedFinished(_) => assert!(self.failed, "assumed of a publisher that answers"),
            }
        }
        assert!(
            self.desk
                .poll_timeout()
                .is_none_or(|due| due > self.now || self.now < due + Duration::from_secs(600))
        );
        let size = self.log.bytes();
        assert!(
            size <= self.budget + 16 * 1024,
            "the log holds {size} bytes of {}",
            self.budget
        );
    }

    /// The objects of a range, as the publisher has them.
    fn all_of(&self, range: PastRange, order: GroupOrder) -> VecDeque<Fill> {
        let mut places: Vec<Location> = Truth::places().filter(|at| range.contains(*at)).collect();
        if order == GroupOrder::Descending {
            places.sort_by_key(|at| (u64::MAX - at.group, at.object));
        }
        let object = |at: Location| {
            let payload = self.truth.payload(at);
            let half = payload.len() / 2;
            let pieces = [payload.slice(..half), payload.slice(half..)];
            let pieces = pieces
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .map(Fill::Payload);
            std::iter::once(Fill::Object(self.truth.fetched(at))).chain(pieces)
        };
        places.into_iter().flat_map(object).collect()
    }

    fn batch(&mut self, key: ReaderKey, batch: Batch) {
        let Some(fetcher) = self.fetchers.get_mut(&key) else {
            return;
        };
        let asked = std::mem::take(&mut fetcher.hungry);
        assert!(
            asked || matches!(batch.then, Then::Failed(_)),
            "an answer that nobody asked for"
        );
        let mut bytes = 0;
        for chunk in batch.chunks {
            match chunk {
                Chunk::Object { header, .. } => {
                    let at = header.location;
                    assert_eq!(header, self.truth.fetched(at));
                    fetcher.got.push((at, Vec::new(), header.payload_len));
                }
                Chunk::Payload(piece) => {
                    bytes += piece.len();
                    fetcher.got.last_mut().unwrap().1.extend_from_slice(&piece);
                }
            }
        }
        assert!(
            bytes <= 2 * self.limits.batch_bytes + 1200,
            "a batch of {bytes} bytes"
        );
        if let Some(settled) = batch.settled {
            assert!(
                fetcher.settled.replace(settled).is_none(),
                "the end is said twice"
            );
            assert!(settled.end.group <= fetcher.range.end.group);
        }
        if batch.then != Then::More {
            fetcher.over = Some(batch.then);
            let fetcher = self.fetchers.remove(&key).unwrap();
            self.judge(&fetcher);
        }
    }

    fn judge(&self, fetcher: &Fetcher) {
        let range = fetcher.range;
        for (at, payload, len) in &fetcher.got {
            assert!(range.contains(*at), "{at} is outside {range:?}");
            let is_last = fetcher.got.last().is_some_and(|(last, ..)| last == at);
            let whole = self.truth.payload(*at);
            assert!(
                payload.len() as u64 == *len || (is_last && matches!(fetcher.over, Some(Then::Failed(_))))
            );
            assert!(whole.starts_with(payload), "{at} is not as it was made");
        }
        let places: Vec<Location> = fetcher.got.iter().map(|(at, ..)| *at).collect();
        let sorted = match fetcher.order {
            GroupOrder::Ascending => places.is_sorted_by(|a, b| a < b),
            GroupOrder::Descending => {
                places.is_sorted_by(|a, b| b.group < a.group || (a.group == b.group && a < b))
            }
        };
        assert!(sorted, "{places:?} in {:?}", fetcher.order);
        if fetcher.over == Some(Then::Done) && !self.failed {
            let settled = fetcher.settled.unwrap();
            let said = PastRange::new(range.start, settled.end);
            let wanted = Truth::places().filter(|at| said.is_some_and(|said| said.contains(*at)));
            let missing: Vec<_> = wanted.filter(|at| !places.contains(at)).collect();
            assert!(
                missing.is_empty(),
                "{missing:?} missing of {range:?}, end {settled:?}, got {places:?}"
            );
            let beyond = Truth::places()
                .filter(|at| range.contains(*at) && !places.contains(at))
                .count();
            assert_eq!(beyond, 0, "the end {settled:?} is too early for {range:?}");
        }
    }

    /// The publisher goes on with one of its answers.
    fn answer(&mut self, feed: &mut Feed<'_>) {
        let keys: Vec<FillKey> = self.coming.keys().copied().collect();
        let Some(&key) = keys.get(feed.below(keys.len())) else {
            return;
        };
        if feed.u8() < 32 {
            self.say_ok(key);
        } else {
            self.bring(key, 1 + feed.below(6));
        }
    }

    fn say_ok(&mut self, key: FillKey) {
        let Some(coming) = self.coming.get_mut(&key).filter(|coming| !coming.answered) else {
            return;
        };
        coming.answered = true;
        let range = coming.range;
        let last = Truth::largest();
        let ends = range.contains(last) && Truth::places().last() == Some(last);
        let after = Location::new(last.group, last.object + 1);
        // MOQT-14 §9.17: not behind what is published.
        let end = if ends { after } else { range.end };
        if Truth::places().all(|at| !range.contains(at)) {
            self.coming.remove(&key);
            self.desk
                .refused(self.now, &mut self.log, key, RequestErrorReason::NoObjects);
        } else {
            let ok = FetchOk {
                group_order: GroupOrder::Ascending,
                end_of_track: false,
                end,
                params: MessageParams::default(),
            };
            self.desk.answered(self.now, &mut self.log, key, ok);
        }
        self.carry_out();
    }

    /// The next pieces of an answer, then its end.
    fn bring(&mut self, key: FillKey, pieces: usize) {
        let Some(coming) = self.coming.get_mut(&key).filter(|coming| !coming.held) else {
            return;
        };
        let pieces: Vec<Fill> = (0..pieces)
            .map_while(|_| coming.rest.pop_front())
            .map(Fill::settled)
            .collect();
        if pieces.is_empty() {
            self.say_ok(key);
            if self.coming.remove(&key).is_some() {
                self.desk.ended(self.now, &mut self.log, key, StreamEnd::Fin);
            }
        } else {
            coming.held = true;
            let done = self.desk.filled(self.now, &mut self.log, key, pieces);
            assert_eq!(done, Ok(()));
        }
        self.carry_out();
    }

    /// Whatever a publisher may do wrong.
    fn misbehave(&mut self, feed: &mut Feed<'_>) {
        let Some((&key, coming)) = self.coming.first_key_value() else {
            return;
        };
        let range = coming.range;
        let (now, log) = (self.now, &mut self.log);
        match feed.below(6) {
            0 => {
                self.coming.remove(&key);
                let end = StreamEnd::Reset(ResetCode::InternalError);
                self.desk.ended(now, log, key, end);
            }
            1 => {
                self.coming.remove(&key);
                self.failed = true;
                let reasons = [
                    RequestErrorReason::NotSupported,
                    RequestErrorReason::InternalError,
                    RequestErrorReason::InvalidRange,
                    RequestErrorReason::NoObjects,
                ];
                self.desk.refused(now, log, key, reasons[feed.below(4)]);
            }
            2 => {
                let again = self.desk.renew(now, log, key);
                let old = self.coming.remove(&key);
                assert_eq!(again.is_some(), old.is_some());
            }
            3 => {
                self.coming.remove(&key);
                self.desk.broken(now, log, key);
            }
            4 if feed.u8() > 200 => {
                self.failed = true;
                self.coming.clear();
                self.desk.condemn(now, log);
            }
            _ => {
                // An object that was not asked for.
                let at = Location::new(range.end.group + 1, 0);
                let wrong = Fill::Object(self.truth.fetched(at));
                if self.coming.get(&key).is_some_and(|coming| !coming.held) {
                    let done = self.desk.filled(
                        now,
                        log,
                        key,
                        vec![wrong, Fill::Payload(Bytes::from_static(b"x"))],
                    );
                    assert!(done.is_err(), "what was not asked for is taken");
                    self.coming.remove(&key);
                    self.desk.broken(now, log, key);
                }
            }
        }
        self.carry_out();
    }

    fn wait(&mut self, feed: &mut Feed<'_>) {
        match (feed.below(2), self.desk.poll_timeout()) {
            (0, Some(due)) => self.now = self.now.max(due),
            _ => self.now += Duration::from_millis(u64::from(feed.u8())),
        }
        let overdue = self.desk.overdue(self.now);
        // Who is not heard from in time is taken for one that cannot answer.
        self.failed |= !overdue.is_empty();
        for key in overdue {
            assert!(self.desk.is_open(key));
            if self.desk.is_unheard(key) && feed.flag() {
                self.coming.remove(&key);
                self.desk.renew(self.now, &mut self.log, key);
            }
        }
        self.carry_out();
        self.desk.timeout(self.now, &mut self.log);
        self.carry_out();
        assert!(
            self.desk.poll_timeout().is_none_or(|due| due > self.now),
            "a deadline that stays"
        );
    }

    /// Upstream answers everything now, and every fetch comes to its end.
    fn finish(&mut self) {
        for stream in std::mem::take(&mut self.open) {
            let end = StreamEnd::Reset(ResetCode::Cancelled);
            self.log.append(self.now, Append::SubgroupClosed { stream, end });
        }
        self.desk.advanced(self.now, &mut self.log);
        self.carry_out();
        for _ in 0..400 {
            let hungry: Vec<_> = self
                .fetchers
                .iter()
                .filter(|(_, fetcher)| !fetcher.hungry)
                .map(|(key, _)| *key)
                .collect();
            hungry.into_iter().for_each(|key| self.read_on(key));
            if self.fetchers.is_empty() {
                break;
            }
            let keys: Vec<_> = self.coming.keys().copied().collect();
            for key in keys {
                self.bring(key, 8);
            }
            if self.coming.values().all(|coming| coming.held)
                && let Some(due) = self.desk.poll_timeout()
            {
                self.failed |= !self.desk.overdue(due).is_empty();
                self.now = self.now.max(due);
                self.desk.timeout(self.now, &mut self.log);
                self.carry_out();
            }
        }
        assert!(self.fetchers.is_empty(), "a fetch that does not end");
        assert!(self.desk.is_empty());
        self.desk.detach(self.now, &mut self.log);
        while self.desk.poll_output().is_some() {}
        assert_eq!(self.desk.poll_timeout(), None);
        assert!(self.desk.stats().refused <= 400);
    }
}
