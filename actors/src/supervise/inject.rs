//! Panics on demand, for tests of a whole relay.
//!
//! A relay that is started by its command line carries [`Faults::default`], which holds nothing, and nothing that
//! comes from the network or from a file can put something into it: a test builds a [`FaultPlan`] in its own
//! process, passes the [`Faults`] along with the configuration and keeps the [`Trigger`]s.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

/// The points of a relay at which a test may make it panic. Cheap to clone; empty by default.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<[Arc<Point>]>>);

impl Faults {
    /// Panics if a test armed the point `kind` ("subscription") and gave it no name.
    pub fn check(&self, kind: &str) {
        self.fire(kind, None);
    }

    /// Panics if a test armed the point `kind`, for every name or for this one. `name` is only formatted when some
    /// point of that kind is armed.
    pub fn check_named(&self, kind: &str, name: &dyn Display) {
        self.fire(kind, Some(name));
    }

    fn fire(&self, kind: &str, name: Option<&dyn Display>) {
        let Some(points) = &self.0 else { return };
        // A panic while the thread unwinds would abort the test's process.
        if !std::thread::panicking() && points.iter().any(|point| point.fires(kind, name)) {
            fail(kind);
        }
    }
}

#[expect(
    clippy::panic,
    reason = "this is the panic that the tests of supervision ask for"
)]
fn fail(kind: &str) -> ! {
    panic!("a test made {kind} fail");
}

/// The points of one test, while it sets them up.
#[derive(Debug, Default)]
pub struct FaultPlan {
    points: Vec<Arc<Point>>,
}

impl FaultPlan {
    /// A plan without points.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a point that meets every check of `kind`. It is not armed yet.
    pub fn point(&mut self, kind: impl Into<String>) -> Trigger {
        self.add(kind.into(), None)
    }

    /// Adds a point that meets the checks of `kind` whose name reads `name`. It is not armed yet.
    pub fn point_named(&mut self, kind: impl Into<String>, name: impl Into<String>) -> Trigger {
        self.add(kind.into(), Some(name.into()))
    }

    /// What the relay is given.
    #[must_use]
    pub fn faults(self) -> Faults {
        Faults(Some(self.points.into()))
    }

    fn add(&mut self, kind: String, name: Option<String>) -> Trigger {
        let point = Arc::new(Point {
            kind,
            name,
            armed: AtomicU32::new(0),
            fired: watch::Sender::new(0),
        });
        self.points.push(Arc::clone(&point));
        Trigger(point)
    }
}

/// The test's hold on one point.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<Point>);

impl Trigger {
    /// The next `times` checks that meet this point panic; replaces what was armed before.
    pub fn arm(&self, times: u32) {
        self.0.armed.store(times, Ordering::Release);
    }

    /// How many panics are still to come.
    #[must_use]
    pub fn armed(&self) -> u32 {
        self.0.armed.load(Ordering::Acquire)
    }

    /// How many panics this point has caused.
    #[must_use]
    pub fn fired(&self) -> u32 {
        *self.0.fired.borrow()
    }

    /// Waits until this point has caused `times` panics in all. The panicking actor may still be unwinding then.
    pub async fn wait_fired(&self, times: u32) {
        let mut fired = self.0.fired.subscribe();
        // The sender lives in the point that `self` holds, so the channel is open.
        let _open = fired.wait_for(|count| *count >= times).await.is_ok();
    }
}

#[derive(Debug)]
struct Point {
    kind: String,
    name: Option<String>,
    armed: AtomicU32,
    fired: watch::Sender<u32>,
}

impl Point {
    /// Whether this check meets the point and takes one of its charges.
    fn fires(&self, kind: &str, name: Option<&dyn Display>) -> bool {
        if self.kind != kind || self.armed.load(Ordering::Acquire) == 0 {
            return false;
        }
        if let Some(wanted) = &self.name
            && name.is_none_or(|name| name.to_string() != *wanted)
        {
            return false;
        }
        let taken = self
            .armed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1))
            .is_ok();
        if taken {
            self.fired.send_modify(|count| *count += 1);
        }
        taken
    }
}
