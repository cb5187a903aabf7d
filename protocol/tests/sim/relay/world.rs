//! One publisher, one relay and some subscribers on virtual time.

use super::desk::{Desk, Serving};
use super::downstream::Subscription;
use super::fetch_verdict;
use super::plan::{Finale, Plan, Whim};
use super::publisher::Publisher;
use super::subscriber::Receiving;
use super::truth::{Arrivals, FetchTruth, SubTruth, Tick};
use super::upstream::Upstream;
use super::verdict;
use crate::common::{C, S, base, config};
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::session::{Command, Event, Role};
use laps_protocol::relay::fetch::{FetchDesk, FetchLimits};
use laps_protocol::relay::merge::{Merge, MergeLimits};
use laps_protocol::relay::track_log::{FillKey, TrackLog};
use laps_protocol::sim::{Link, Rng, SessionPair, StreamId, Weather};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A rule that the relay of a run breaks on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Ends a stream with FIN where a reset is due.
    FinForReset,
    /// Ends a stream with FIN when the log lost what was to follow.
    FinForLost,
    /// Starts over when it is updated.
    Repeats,
    /// Does not look at the filter.
    Unfiltered,
    /// Gives late subscribers what was open before from its start.
    Replays,
    /// Drops an object now and then, in the middle of a stream.
    Skips,
    /// Says PUBLISH_DONE while streams are open.
    EarlyDone,
    /// Counts streams from 1.
    Miscounts,
    /// Goes on when what was not sent is gone.
    PassesOver,
    /// Looks at no time.
    Late,
    /// Ends a fetch that failed with FIN.
    FetchFinForFailure,
    /// Takes a stream of the publisher's that was reset for a whole answer.
    FetchResetIsFin,
    /// Takes what it does not have for absent.
    FetchGapNotAsked,
    /// Asks for holes without their first object.
    FetchFillOff,
    /// Says an End one further.
    FetchEndOff,
    /// Fetches for a joiner one object more.
    FetchOverlaps,
    /// Does not hear FETCH_CANCEL.
    FetchCancelIgnored,
    /// Groups in ascending order, whatever was asked for.
    FetchWrongOrder,
    /// Drops an object.
    FetchSkips,
    /// Sends an object twice.
    FetchRepeats,
    /// Forgets FETCH_OK.
    FetchNeverOk,
    /// Asks for as many holes at a time as there are.
    FetchUnbounded,
}

/// Something that happens by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Publish,
    SourceGone,
    DoneWait(Duration),
    AliasWait(StreamId),
    Housekeeping,
    Join(usize),
    Whim(usize, Whim),
    Look(usize),
    Grace(usize, usize),
    Drain(usize, usize),
    Due(usize, usize),
    Desk,
    Take(FillKey),
    Archive(RequestId),
    ReadPast(usize, RequestId),
}

/// One subscriber's connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) pair: SessionPair,
    pub(crate) link: Link,
    /// The relay's state of each subscription, by number; none before it is accepted and after its end.
    pub(crate) subs: Vec<Option<Subscription>>,
    pub(crate) truths: Vec<SubTruth>,
    /// Which subscription opened a stream, and whether its reader is at work.
    pub(crate) owners: BTreeMap<StreamId, usize>,
    pub(crate) receiving: BTreeMap<StreamId, Receiving>,
    /// The subscriber's own request.
    pub(crate) asked: Option<RequestId>,
    /// What it asked for last, once that was accepted.
    pub(crate) range: Option<(ResolvedFilter, bool)>,
    /// Requests that it ended itself.
    pub(crate) gave_up: BTreeSet<RequestId>,
    pub(crate) rejected: u64,
    pub(crate) looks: bool,
    /// Fetches, as the subscriber sees them and as the relay serves them.
    pub(crate) fetched: BTreeMap<RequestId, FetchTruth>,
    pub(crate) serving: BTreeMap<RequestId, Serving>,
    /// Which fetch opened a stream.
    pub(crate) fetch_streams: BTreeMap<StreamId, RequestId>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) sabotage: Sabotage,
    pub(crate) now: Instant,
    base: Instant,
    pub(crate) rng: Rng,
    pub(crate) tick: Tick,
    pub(crate) up: SessionPair,
    pub(crate) uplink: Link,
    pub(crate) publisher: Publisher,
    pub(crate) relay: Upstream,
    pub(crate) log: TrackLog,
    pub(crate) merge: Merge,
    pub(crate) desk: Desk,
    pub(crate) arrivals: Arrivals,
    pub(crate) conns: Vec<Conn>,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_timer: u64,
    pub(crate) fault: Option<String>,
    trace: Option<Vec<String>>,
}

/// What a run was like, to see that the runs together do what they should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) trace: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, trace: bool) -> Self {
        let plan = Plan::new(seed);
        let base = base();
        let mut rng = Rng::new(seed ^ 0x5eed);
        let pair = |rng: &mut Rng, weather: Weather| {
            let mut pair = SessionPair::established(rng.next(), base, config(), config());
            while pair.next_event().is_some() {}
            pair.set_weather(weather);
            pair
        };
        let up = pair(&mut rng, plan.weather);
        let uplink = Link::new(rng.next(), plan.weather, usize::MAX, usize::MAX);
        let conns: Vec<_> = plan
            .listeners
            .iter()
            .map(|listener| Conn {
                pair: pair(&mut rng, listener.weather),
                link: Link::new(
                    rng.next(),
                    listener.weather,
                    listener.window,
                    listener.max_streams,
                ),
                subs: Vec::new(),
                truths: Vec::new(),
                owners: BTreeMap::new(),
                receiving: BTreeMap::new(),
                asked: None,
                range: None,
                gave_up: BTreeSet::new(),
                rejected: 0,
                looks: false,
                fetched: BTreeMap::new(),
                serving: BTreeMap::new(),
                fetch_streams: BTreeMap::new(),
            })
            .collect();
        let start = conns
            .iter()
            .map(|conn| conn.pair.elapsed())
            .max()
            .unwrap_or_default()
            .max(up.elapsed());
        let mut world = Self {
            log: TrackLog::new(plan.limits),
            merge: Merge::new(MergeLimits::default()),
            desk: Desk::new(FetchDesk::new(
                match sabotage {
                    Sabotage::FetchUnbounded => FetchLimits {
                        max_fills: usize::MAX,
                        ..plan.desk
                    },
                    _ => plan.desk,
                },
                false,
            )),
            publisher: Publisher::new(plan.made),
            relay: Upstream::default(),
            plan,
            sabotage,
            now: base + start,
            base,
            rng,
            tick: 0,
            up,
            uplink,
            arrivals: Arrivals::default(),
            conns,
            timers: BTreeMap::new(),
            next_timer: 0,
            fault: None,
            trace: trace.then(Vec::new),
        };
        world.after(Duration::ZERO, Timer::Housekeeping);
        for (conn, ms, span, order) in world.plan.early.clone() {
            let whim = Whim::Fetch(span, order);
            world.after(Duration::from_millis(ms), Timer::Whim(conn, whim));
        }
        for (conn, listener) in world.plan.listeners.clone().into_iter().enumerate() {
            let joins = Duration::from_millis(listener.joins_ms);
            world.after(joins, Timer::Join(conn));
            for (ms, whim) in listener.whims {
                world.after(joins + Duration::from_millis(ms), Timer::Whim(conn, whim));
            }
        }
        world
    }

    /// Runs to the end, and says what was wrong.
    pub(crate) fn run(mut self) -> Result<Summary, (String, Vec<String>)> {
        let mut steps = 0;
        while self.fault.is_none() && self.step() {
            steps += 1;
            if steps > MAX_STEPS {
                self.fail("it does not end".into());
            }
        }
        if self.fault.is_none() {
            verdict::judge(&mut self);
            fetch_verdict::judge(&mut self);
        }
        let mut counts = verdict::count(&self);
        fetch_verdict::count(&self, &mut counts);
        counts.insert("steps", steps);
        let trace = self.trace.unwrap_or_default();
        match self.fault {
            Some(fault) => Err((fault, trace)),
            None => Ok(Summary { counts, trace }),
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.note(|| format!("FAULT: {why}"));
        self.fault.get_or_insert(why);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let ms = self.now.saturating_duration_since(self.base).as_micros();
            trace.push(format!("{:>9}.{:03} {}", ms / 1000, ms % 1000, what()));
        }
    }

    pub(crate) fn after(&mut self, wait: Duration, timer: Timer) -> (Instant, u64) {
        let key = (self.now + wait, self.next_timer);
        self.timers.insert(key, timer);
        self.next_timer += 1;
        key
    }

    pub(crate) fn forget_timer(&mut self, key: (Instant, u64)) {
        self.timers.remove(&key);
    }

    /// The relay looks after this subscriber soon: news waits in a mailbox for a while.
    pub(crate) fn wake(&mut self, conn: usize) {
        if !std::mem::replace(&mut self.conns[conn].looks, true) {
            let wait = Duration::from_micros(self.rng.below(3000));
            self.after(wait, Timer::Look(conn));
        }
    }

    pub(crate) fn wake_all(&mut self) {
        (0..self.conns.len()).for_each(|conn| self.wake(conn));
    }

    /// Says something on a control stream.
    pub(crate) fn say(&mut self, conn: Option<usize>, role: Role, command: Command) -> Option<RequestId> {
        self.note(|| format!("{} {role:?} says {command:?}", name(conn)));
        let now = self.now;
        let pair = self.pair(conn);
        pair.advance_to(now);
        match pair.command(role, command) {
            Ok(id) => id,
            Err(error) => {
                self.note(|| format!("  refused: {error}"));
                None
            }
        }
    }

    pub(crate) fn pair(&mut self, conn: Option<usize>) -> &mut SessionPair {
        match conn {
            None => &mut self.up,
            Some(conn) => &mut self.conns[conn].pair,
        }
    }

    /// Lets the next thing happen; false when nothing is left.
    fn step(&mut self) -> bool {
        enum Source {
            Timer,
            Control(Option<usize>),
            Data(Option<usize>),
        }
        let mut next: Option<(Instant, Source)> = None;
        let mut offer = |at: Option<Instant>, source| {
            if let Some(at) = at
                && next.as_ref().is_none_or(|(earliest, _)| at < *earliest)
            {
                next = Some((at, source));
            }
        };
        offer(self.up.due(), Source::Control(None));
        offer(self.uplink.due(), Source::Data(None));
        for (number, conn) in self.conns.iter().enumerate() {
            offer(conn.pair.due(), Source::Control(Some(number)));
            offer(conn.link.due(), Source::Data(Some(number)));
        }
        let busy = next.is_some() || self.timers.values().any(|timer| *timer != Timer::Housekeeping);
        let mut offer = |at: Option<Instant>, source| {
            if let Some(at) = at
                && next.as_ref().is_none_or(|(earliest, _)| at < *earliest)
            {
                next = Some((at, source));
            }
        };
        if busy {
            offer(self.timers.keys().next().map(|(at, _)| *at), Source::Timer);
        }
        let Some((at, source)) = next else {
            return false;
        };
        self.now = self.now.max(at);
        match source {
            Source::Timer => {
                if let Some((_, timer)) = self.timers.pop_first() {
                    self.fire(timer);
                }
            }
            Source::Control(conn) => {
                let now = self.now;
                let pair = self.pair(conn);
                pair.advance_to(now);
                pair.step();
                while let Some((role, event)) = self.pair(conn).next_event() {
                    self.note(|| format!("{} {role:?} hears {event:?}", name(conn)));
                    self.hear(conn, role, event);
                }
                // A connection that is gone leaves half a message behind, which is given up some time.
                let is_gone = conn.is_none() && self.arrivals.is_dead;
                let pair = self.pair(conn);
                if let Some(why) = pair
                    .closed(C)
                    .or_else(|| pair.closed(S))
                    .filter(|_| !is_gone)
                    .map(|why| format!("{why:?}"))
                {
                    self.fail(format!("{}: a session was closed: {why}", name(conn)));
                }
            }
            Source::Data(None) => {
                let now = self.now;
                while let Some(delivery) = self.uplink.poll(now) {
                    self.arrive(delivery);
                }
            }
            Source::Data(Some(conn)) => {
                let now = self.now;
                while let Some(delivery) = self.conns[conn].link.poll(now) {
                    self.deliver(conn, delivery);
                }
            }
        }
        true
    }

    fn hear(&mut self, conn: Option<usize>, role: Role, event: Event) {
        match (conn, role) {
            (None, C) => self.publisher_hears(event),
            (None, S) => self.relay_hears_publisher(event),
            (Some(conn), S) => self.relay_hears(conn, event),
            (Some(conn), C) => self.subscriber_hears(conn, event),
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Publish => self.publish(),
            Timer::SourceGone => self.source_gone(),
            Timer::DoneWait(waited) => self.settle_done(waited),
            Timer::AliasWait(stream) => self.give_up_alias(stream),
            Timer::Housekeeping => {
                let now = self.now;
                self.log.evict(now);
                if self.merge.poll_timeout().is_some_and(|at| at <= now) {
                    self.overtake();
                }
                self.after(Duration::from_millis(100), Timer::Housekeeping);
            }
            Timer::Join(conn) => self.join(conn),
            Timer::Whim(conn, whim) => self.follow_whim(conn, whim),
            Timer::Look(conn) => {
                self.conns[conn].looks = false;
                self.look_all(conn);
            }
            Timer::Grace(conn, sub) => self.grace_over(conn, sub),
            Timer::Drain(conn, sub) => self.drain_over(conn, sub),
            Timer::Due(conn, sub) => self.expire(conn, sub),
            Timer::Desk => self.desk_timeout(),
            Timer::Take(fill) => self.take_fill(fill),
            Timer::Archive(request) => self.archive_step(request),
            Timer::ReadPast(conn, request) => self.read_past(conn, request),
        }
    }

    pub(crate) const fn publisher_dies(&self, writes: u64) -> bool {
        matches!(self.plan.finale, Finale::Dies(after) if writes >= after)
    }
}

/// Far more than the longest run takes.
const MAX_STEPS: u64 = 200_000;

pub(crate) fn name(conn: Option<usize>) -> String {
    conn.map_or_else(|| "up".into(), |conn| format!("sub{conn}"))
}
