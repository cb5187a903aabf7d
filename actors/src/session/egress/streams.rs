//! The open downstream streams of one subscription.
//!
//! Kept by the session, not by the subscription's actor, so that a restarted actor finds what its predecessor left
//! open and the count for PUBLISH_DONE stays exact.

use super::waker::KeptWaker;
use crate::metrics::{Count, tally};
use crate::supervise::mailbox::Wake;
use crate::track::Taker;
use crate::track::handle::{self, LogId};
use crate::transport::ConnStats;
use actix::Message;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::GroupId;
use laps_protocol::relay::behind::{Behind, Open, Policy, Reading, Standing, Waits};
use laps_protocol::relay::draining::Progress;
use laps_protocol::relay::expiry::{Age, Path};
use laps_protocol::relay::track_log::{Position, SubgroupSeq, TrackLog};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What an acknowledgement may take longer than a round trip. RFC 9000 §18.2: max_ack_delay.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// The round trip that is assumed before the first is measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);

/// A downstream stream of the subscription was closed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LanesChanged;

/// What the subscription can do to one of its lanes.
#[derive(Debug)]
pub(super) struct LaneControl {
    group: GroupId,
    pub(super) reset: Cell<Option<ResetCode>>,
    /// True while the lane waits for the log, and for nothing else.
    hungry: Cell<bool>,
    /// All of the subgroup is with the transport.
    closing: Cell<bool>,
    /// What comes next for it from the log.
    position: Cell<Position>,
    /// Bytes of payload that it has taken and that wait for their turn, and since when the log has had the first.
    held: Cell<u64>,
    /// Objects that were begun in what it holds.
    held_objects: Cell<u64>,
    held_since: Cell<Option<Instant>>,
    /// When it was last seen to have taken all that the log had for it.
    had_all: Cell<Option<Instant>>,
    /// When that came which the transport has had for longest and may still have.
    pub(super) handed: Cell<Option<Instant>>,
    /// That has had its time: the lane looks whether it has left.
    pub(super) overdue: Cell<bool>,
    pub(super) waker: KeptWaker,
}

impl LaneControl {
    /// It has taken all that the log had for it.
    fn has_all(&self) -> bool {
        self.hungry.get() || self.closing.get()
    }

    /// It looks for something to send.
    pub(super) fn looks(&self) {
        self.hungry.set(false);
    }

    fn waits(&self) -> Waits {
        match (self.closing.get(), self.hungry.get()) {
            (true, _) => Waits::Nothing,
            (false, true) => Waits::Log,
            (false, false) => Waits::Peer,
        }
    }

    /// It began so many objects and took `bytes` of payload, the first of which came at `since`, and goes on at
    /// `position`.
    pub(super) fn take(&self, position: Position, (objects, bytes): (u64, usize), since: Option<Instant>) {
        self.position.set(position);
        self.held_objects.set(self.held_objects.get() + objects);
        self.held.set(self.held.get() + bytes as u64);
        self.held_since.set(self.held_since.get().or(since));
    }

    /// It will take what it holds again, from `position` on.
    pub(super) fn give_back(&self, position: Position) {
        self.position.set(position);
        self.held.set(0);
        self.held_objects.set(0);
        self.held_since.set(None);
    }

    /// Nothing that waits for its turn at `now` came before this.
    fn since(&self, now: Instant) -> Option<Instant> {
        if self.hungry.get() {
            // What came since it was last woken is not late: its turn has yet to come.
            self.had_all.set(Some(now));
        }
        self.held_since.get().max(self.had_all.get())
    }

    /// When that came which waits for its turn, here or in the log.
    fn waits_since(&self, log: &TrackLog, seq: SubgroupSeq) -> Option<Instant> {
        let here = self.held_since.get();
        here.or_else(|| log.waiting_since(seq, &self.position.get()))
    }

    /// When the first of what it carries has had its time, in the log and with the transport.
    fn due(&self, log: &TrackLog, seq: SubgroupSeq, timeout: Duration, rtt: Duration) -> Option<Instant> {
        if self.reset.get().is_some() || self.overdue.get() {
            return None;
        }
        let waits = self.waits_since(log, seq).map(|at| at + timeout);
        waits
            .into_iter()
            .chain(self.handed.get().map(|at| at + timeout + rtt))
            .min()
    }
}

/// All lanes of one subscription, and how many streams it has opened since it began.
#[derive(Debug, Default)]
pub struct Streams {
    opened: Cell<u64>,
    lagged: Cell<u64>,
    expired: Cell<u64>,
    /// Bytes of payload that the transport was given.
    taken: Cell<u64>,
    /// The log dropped something before it was taken, and nobody has asked since.
    lost: Cell<bool>,
    /// DELIVERY_TIMEOUT.
    timeout: Cell<Option<Duration>>,
    /// Whoever looks after it wants to know since when something waits.
    timed: Cell<bool>,
    /// Whoever looks after it wants to know when a lane has taken all that there is for it.
    attended: Cell<bool>,
    lanes: RefCell<BTreeMap<SubgroupSeq, Rc<LaneControl>>>,
    changed: RefCell<Option<Wake<LanesChanged>>>,
    empty: Notify,
    taker: RefCell<Option<Rc<Taker>>>,
}

impl Streams {
    /// Streams opened for the subscription so far. MOQT-14 §9.12 [D14-SUB-20]
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// Lanes that ended because the log no longer had what they were to send.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.lagged.get()
    }

    /// Lanes that were given up, and datagrams that were not sent, because DELIVERY_TIMEOUT was over.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.get()
    }

    /// Bytes of payload that the transport was given so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// What was taken so far, and what is still to come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            taken: self.taken(),
            open: self.open(),
        }
    }

    /// Whether the log dropped something before it was taken, since this was last asked.
    pub fn take_lost(&self) -> bool {
        self.lost.take()
    }

    /// DELIVERY_TIMEOUT of the subscription; none when it has none.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.get()
    }

    /// From here on it is noted since when something waits, or not.
    pub fn times(&self, timed: bool) {
        self.timed.set(timed);
    }

    /// From here on whoever looks after it is told when a lane has taken all that there is for it, or not.
    pub fn attend(&self, attended: bool) {
        self.attended.set(attended);
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.timed.get()
    }

    /// Sets DELIVERY_TIMEOUT from here on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.set(timeout);
    }

    /// What is to be known of the time and of the path for reading `log`. The clock is asked only where objects grow too
    /// old to send. MOQT-14 §9.2.1.3 [D14-CACHE-4], §9.2.1.2 [D14-TO-4].
    pub fn age(&self, log: &TrackLog, path: &ConnStats) -> Age {
        let timeout = self.timeout.get();
        Age {
            now: (timeout.is_some() || log.max_cache().is_some()).then(Instant::now),
            timeout,
            path: timeout.and_then(|_| {
                Some(Path {
                    window: path.congestion_window(),
                    in_flight: path.bytes_in_flight(),
                    rtt: path.rtt()?,
                })
            }),
        }
    }

    /// How long what left in time may take to be acknowledged.
    pub(super) fn grace(path: &ConnStats) -> Duration {
        path.rtt().map_or(UNKNOWN_RTT, |rtt| rtt.saturating_mul(2)) + ACK_DELAY
    }

    /// Where the subscription stands.
    pub fn stand(&self, behind: &mut Behind, policy: Policy, at: &Reading<'_>) -> Standing {
        let lanes = self.lanes.borrow();
        behind.look(policy, at, || {
            let open = lanes.iter().filter(|(_, lane)| lane.reset.get().is_none());
            open.map(|(seq, lane)| Open {
                group: lane.group,
                seq: *seq,
                position: lane.position.get(),
                held: lane.held.get(),
                since: lane.since(at.now),
                waits: lane.waits(),
            })
        })
    }

    /// When the first of what the open lanes carry has had its time.
    #[must_use]
    pub fn due(&self, log: &TrackLog, path: &ConnStats) -> Option<Instant> {
        let (timeout, grace) = (self.timeout.get()?, Self::grace(path));
        let lanes = self.lanes.borrow();
        let due = lanes
            .iter()
            .filter_map(|(seq, lane)| lane.due(log, *seq, timeout, grace));
        due.min()
    }

    /// Resets the lanes of which something has had its time at `now`.
    ///
    /// MOQT-14 §9.2.1.2 [D14-TO-2]: whether it waits in the log, for its turn, or in the transport for a peer that takes
    /// nothing.
    pub fn expire(&self, now: Instant, log: &TrackLog, path: &ConnStats) {
        let Some(timeout) = self.timeout.get() else {
            return;
        };
        let grace = Self::grace(path);
        for (seq, lane) in self.lanes.borrow().iter() {
            if lane.due(log, *seq, timeout, grace).is_none_or(|due| due > now) {
                continue;
            }
            let waits = lane.waits_since(log, *seq);
            if waits.is_some_and(|at| at + timeout <= now) {
                lane.reset.set(Some(ResetCode::DeliveryTimeout));
                self.count_expired();
            } else {
                // Only the lane knows what the peer has.
                lane.overdue.set(true);
            }
            lane.waker.wake();
        }
    }

    /// Lanes that are not closed yet.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lanes.borrow().len()
    }

    /// Resolves when no lane is open.
    pub(in crate::session) async fn emptied(self: Rc<Self>) {
        while self.open() > 0 {
            // Nothing else runs between the question and the wait: both are on one thread.
            self.empty.notified().await;
        }
    }

    /// Who is told when a lane closes.
    pub fn tell(&self, changed: Wake<LanesChanged>) {
        *self.changed.borrow_mut() = Some(changed);
    }

    /// The subscription takes from this log, whose writer waits for it from here on.
    pub fn takes(&self, log: LogId) -> Option<Rc<Taker>> {
        let mut taker = self.taker.borrow_mut();
        *taker = handle::taker(log, taker.take());
        taker.clone()
    }

    /// The subscription takes nothing for now: only the lanes that are open count.
    pub fn rests(&self) {
        self.taker.take();
    }

    /// Wakes the lanes that wait for the log.
    pub fn advance(&self) {
        for lane in self.lanes.borrow().values() {
            if lane.hungry.get() {
                lane.waker.wake();
            }
        }
    }

    /// The request stands elsewhere in the order; what waits takes its new place. MOQT-14 §7.1 [D14-PRIO-4]
    pub fn reorder(&self) {
        for lane in self.lanes.borrow().values() {
            lane.waker.wake();
        }
    }

    /// Resets every open lane.
    pub fn reset_all(&self, code: ResetCode) {
        self.reset_groups(code, |_| true);
    }

    /// Resets the open lanes that the transport does not have all of.
    pub fn reset_unfinished(&self, code: ResetCode) {
        for lane in self.lanes.borrow().values().filter(|lane| !lane.closing.get()) {
            lane.reset.set(Some(code));
            lane.waker.wake();
        }
    }

    /// Resets and counts the open lanes whose subgroup is not kept any more.
    pub fn reset_lost(&self, is_kept: impl Fn(SubgroupSeq) -> bool) {
        for (_, lane) in self.lanes.borrow().iter().filter(|(seq, _)| !is_kept(**seq)) {
            if lane.reset.replace(Some(ResetCode::DeliveryTimeout)).is_none() {
                // One that had taken everything is not behind: its publisher's stream was open for too long.
                if lane.has_all() {
                    self.count_lagged();
                } else {
                    self.lose();
                }
            }
            lane.waker.wake();
        }
    }

    /// Every open lane has taken all that the log has for it.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.lanes.borrow().values().all(|lane| lane.has_all())
    }

    /// Resets the open lanes of what all of these bring too, and whatever its readers lack of that.
    pub fn give_way(&self, to: &[Rc<Self>]) {
        for (seq, lane) in &*self.lanes.borrow() {
            let brings = |streams: &Rc<Self>| {
                let lanes = streams.lanes.borrow();
                let same = lanes.get(seq).filter(|other| other.group == lane.group);
                same.is_some_and(|other| other.reset.get().is_none())
            };
            if to.iter().all(brings) {
                lane.reset.set(Some(ResetCode::Cancelled));
                lane.waker.wake();
            }
        }
    }

    /// Resets the open lanes of some groups.
    pub fn reset_groups(&self, code: ResetCode, which: impl Fn(GroupId) -> bool) {
        for lane in self.lanes.borrow().values().filter(|lane| which(lane.group)) {
            lane.reset.set(Some(code));
            lane.waker.wake();
        }
    }

    pub(super) fn add(&self, seq: SubgroupSeq, group: GroupId, position: Position) -> Rc<LaneControl> {
        let control = Rc::new(LaneControl {
            group,
            reset: Cell::default(),
            hungry: Cell::default(),
            closing: Cell::default(),
            position: Cell::new(position),
            held: Cell::default(),
            held_objects: Cell::default(),
            held_since: Cell::default(),
            had_all: Cell::default(),
            handed: Cell::default(),
            overdue: Cell::default(),
            waker: KeptWaker::default(),
        });
        self.lanes.borrow_mut().insert(seq, Rc::clone(&control));
        control
    }

    pub(super) fn count_opened(&self) {
        self.opened.set(self.opened.get() + 1);
        tally::count(Count::StreamsOut, 1);
    }

    /// What a lane has taken from the log is with the transport.
    pub(super) fn sent(&self, lane: &LaneControl) {
        lane.held_since.set(None);
        let bytes = lane.held.take();
        self.taken.set(self.taken.get() + bytes);
        tally::count(Count::StreamObjectsOut, lane.held_objects.take());
        tally::count(Count::StreamBytesOut, bytes);
    }

    /// A lane has taken all that its log has for now.
    pub(super) fn hungers(&self, lane: &LaneControl) {
        lane.hungry.set(true);
        self.took_all();
    }

    /// A lane has taken all of its subgroup, and waits until the peer has it.
    pub(super) fn closes(&self, lane: &LaneControl) {
        lane.closing.set(true);
        self.took_all();
    }

    fn took_all(&self) {
        if self.attended.get() {
            self.looked();
        }
    }

    /// Something changed about a lane that the subscription looks after.
    pub(super) fn looked(&self) {
        if let Ok(changed) = self.changed.try_borrow()
            && let Some(changed) = &*changed
        {
            changed.wake(LanesChanged);
        }
    }

    /// The log dropped something before it was taken.
    pub(super) fn lose(&self) {
        self.lost.set(true);
        self.count_lagged();
    }

    /// Counts what was not sent because its time was over.
    pub fn count_expired(&self) {
        self.expired.set(self.expired.get() + 1);
        tally::count(Count::DropExpired, 1);
    }

    /// Counts objects that were passed over because the log no longer had them.
    pub fn count_lagged(&self) {
        self.lagged.set(self.lagged.get() + 1);
        tally::count(Count::DropEvicted, 1);
    }

    /// Forgets a lane, unless another has taken its place. Lanes call it as they are dropped, so it cannot fail.
    pub(super) fn closed(&self, seq: SubgroupSeq, control: &Rc<LaneControl>) {
        let Ok(mut lanes) = self.lanes.try_borrow_mut() else {
            return;
        };
        if lanes
            .get(&seq)
            .is_some_and(|current| Rc::ptr_eq(current, control))
        {
            lanes.remove(&seq);
        }
        if lanes.is_empty() {
            self.empty.notify_waiters();
        }
        drop(lanes);
        self.looked();
    }
}
