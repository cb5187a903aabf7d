//! The open downstream streams of one subscription.
//!
//! Kept by the session, not by the subscription's actor, so that a restarted actor finds what its predecessor left
//! open and the count for PUBLISH_DONE stays exact.

use super::waker::KeptWaker;
use crate::supervise::mailbox::Wake;
use crate::track::Taker;
use crate::track::handle::{self, LogId};
use actix::Message;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::GroupId;
use laps_protocol::relay::track_log::SubgroupSeq;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;

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
    pub(super) hungry: Cell<bool>,
    /// The peer stopped some stream; a hungry lane looks whether it was its own.
    pub(super) stopped: Cell<bool>,
    pub(super) waker: KeptWaker,
}

/// All lanes of one subscription, and how many streams it has opened since it began.
#[derive(Debug, Default)]
pub struct Streams {
    opened: Cell<u64>,
    lagged: Cell<u64>,
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

    /// Resets every open lane.
    pub fn reset_all(&self, code: ResetCode) {
        self.reset_groups(code, |_| true);
    }

    /// Resets and counts the open lanes whose subgroup is not kept any more.
    pub fn reset_lost(&self, is_kept: impl Fn(SubgroupSeq) -> bool) {
        for (_, lane) in self.lanes.borrow().iter().filter(|(seq, _)| !is_kept(**seq)) {
            if lane.reset.replace(Some(ResetCode::DeliveryTimeout)).is_none() {
                self.count_lagged();
            }
            lane.waker.wake();
        }
    }

    /// Resets the open lanes of some groups.
    pub fn reset_groups(&self, code: ResetCode, which: impl Fn(GroupId) -> bool) {
        for lane in self.lanes.borrow().values().filter(|lane| which(lane.group)) {
            lane.reset.set(Some(code));
            lane.waker.wake();
        }
    }

    pub(super) fn add(&self, seq: SubgroupSeq, group: GroupId) -> Rc<LaneControl> {
        let control = Rc::new(LaneControl {
            group,
            reset: Cell::default(),
            hungry: Cell::default(),
            stopped: Cell::default(),
            waker: KeptWaker::default(),
        });
        self.lanes.borrow_mut().insert(seq, Rc::clone(&control));
        control
    }

    pub(super) fn count_opened(&self) {
        self.opened.set(self.opened.get() + 1);
    }

    /// Counts objects that were passed over because the log no longer had them.
    pub fn count_lagged(&self) {
        self.lagged.set(self.lagged.get() + 1);
    }

    /// Forgets a lane, unless another has taken its place.
    pub(super) fn closed(&self, seq: SubgroupSeq, control: &Rc<LaneControl>) {
        let mut lanes = self.lanes.borrow_mut();
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
        if let Some(changed) = &*self.changed.borrow() {
            changed.wake(LanesChanged);
        }
    }
}
