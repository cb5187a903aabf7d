//! How the information bases speak through a link, and how much waits there.

use super::messages::{EndLink, RoomAgain, Say};
use crate::supervise::Wake;
use actix::Recipient;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Messages that may wait for a peer before greetings and answers to it pause: enough for a link to be busy while the
/// bases do something else.
const PAUSE: usize = 256;

/// Messages that wait when they go on.
const GO_ON: usize = 64;

/// Messages that wait when those of other nodes are not handed on any more: who does not get an answer asks again.
const BUSY: usize = 16_384;

/// Messages that may wait for a peer at all; with one more it is given up. As many as the session of a link takes.
const MOST: usize = 65_536;

/// Messages on their way out of one link. Clones mean the same one.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    /// The bases paused for this link.
    paused: AtomicBool,
}

impl Gauge {
    /// One message has left for the peer. True when those who paused are to be told that there is room.
    pub fn left(&self) -> bool {
        // Only the bases add, and they do so before the link hears of the message.
        let before = self.0.waiting.fetch_sub(1, Relaxed);
        before <= GO_ON + 1 && self.0.paused.swap(false, Relaxed)
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Relaxed)
    }
}

/// One link, as the bases hold it.
#[derive(Debug)]
pub struct Mouth {
    say: Recipient<Say>,
    end: Recipient<EndLink>,
    gauge: Gauge,
}

impl Mouth {
    /// Speaks through a link that counts what left in `gauge`.
    #[must_use]
    pub const fn new(say: Recipient<Say>, end: Recipient<EndLink>, gauge: Gauge) -> Self {
        Self { say, end, gauge }
    }

    /// Whether more of what can wait may be said; where not, the link tells when that changes.
    pub(super) fn has_room(&self) -> bool {
        let room = self.gauge.waiting() < PAUSE;
        if !room {
            self.gauge.0.paused.store(true, Relaxed);
        }
        room
    }

    /// Whether what nodes say to each other by this link goes on.
    pub(super) fn hands_on(&self) -> bool {
        self.gauge.waiting() < BUSY
    }

    /// Counts a message that is to be said; false when it is one too many.
    pub(super) fn take(&self) -> bool {
        self.gauge.0.waiting.fetch_add(1, Relaxed) < MOST
    }

    pub(super) const fn say(&self) -> &Recipient<Say> {
        &self.say
    }

    pub(super) const fn end(&self) -> &Recipient<EndLink> {
        &self.end
    }
}

/// What a link wakes the bases with.
pub type RoomBell = Wake<RoomAgain>;

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};

    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Self>;
    }

    impl Handler<Say> for Deaf {
        type Result = ();
        fn handle(&mut self, _: Say, _: &mut Self::Context) {}
    }

    impl Handler<EndLink> for Deaf {
        type Result = ();
        fn handle(&mut self, _: EndLink, _: &mut Self::Context) {}
    }

    #[test]
    fn who_paused_is_told_once_and_not_too_early() {
        actix::System::new().block_on(async {
            let deaf = Deaf.start();
            let gauge = Gauge::default();
            let mouth = Mouth::new(deaf.clone().recipient(), deaf.recipient(), gauge.clone());
            for _ in 0..PAUSE {
                assert!(mouth.has_room() && mouth.take());
            }
            assert!(!mouth.has_room());
            let told: Vec<_> = (0..PAUSE).map(|_| gauge.left()).collect();
            assert_eq!(told.iter().filter(|told| **told).count(), 1);
            assert_eq!(told.iter().position(|told| *told), Some(PAUSE - GO_ON - 1));
            assert_eq!(gauge.waiting(), 0);
            assert!((0..MOST).all(|_| mouth.take()) && !mouth.take());
        });
    }
}
