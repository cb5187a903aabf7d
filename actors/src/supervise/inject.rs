//! Faults on demand, for tests of a whole relay: an actor panics, or holds its thread.
//!
//! A relay that is started by its command line carries [`Faults::default`], which holds nothing, and nothing that
//! comes from the network or from a file can put something into it: a test builds a [`FaultPlan`] in its own
//! process, passes the [`Faults`] along with the configuration and keeps the [`Trigger`]s. The feature `chaos` of the
//! program, which no release has, does the same behind a socket, with a plan that is [`FaultPlan::live`].

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context};
use tokio::sync::watch;

/// How often an actor of a live plan asks whether it should fail.
const BEAT: Duration = Duration::from_millis(20);
/// How often a thread that is held asks whether it may go on.
const HELD: Duration = Duration::from_millis(2);

/// The points of a relay at which a test may make it fail. Cheap to clone; empty by default.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Plan>>);

impl Faults {
    /// Fails if a test armed the point `kind` ("subscription") and gave it no name.
    pub fn check(&self, kind: &str) {
        self.fire(kind, None);
    }

    /// Fails if a test armed the point `kind`, for every name or for this one. `name` is only formatted when some
    /// point of that kind is armed.
    pub fn check_named(&self, kind: &str, name: &dyn Display) {
        self.fire(kind, Some(name));
    }

    /// Under a plan that is [`FaultPlan::live`], has the actor check its point again and again, so that it can be made
    /// to fail while nothing happens to it. `name` is asked for only then. Does nothing otherwise.
    pub fn attend<A, N>(&self, ctx: &mut Context<A>, kind: &'static str, name: impl FnOnce() -> N)
    where
        A: Actor<Context = Context<A>>,
        N: Display,
    {
        if !self.0.as_ref().is_some_and(|plan| plan.live) {
            return;
        }
        let (faults, name) = (self.clone(), name().to_string());
        ctx.run_interval(BEAT, move |_, _| faults.check_named(kind, &name));
    }

    /// Under a plan that is [`FaultPlan::live`], checks the point `kind` again and again, for a task that has nothing to wake
    /// it. Never ends.
    pub async fn attended(&self, kind: &str) -> Infallible {
        if self.0.as_ref().is_some_and(|plan| plan.live) {
            let mut beat = tokio::time::interval(BEAT);
            loop {
                beat.tick().await;
                self.check(kind);
            }
        }
        std::future::pending().await
    }

    /// The point `kind` under this name, for who checks it often. `name` is only asked for in tests.
    #[must_use]
    pub fn at(&self, kind: &'static str, name: impl FnOnce() -> String) -> FaultPoint {
        FaultPoint(self.0.as_ref().map(|_| (self.clone(), kind, name())))
    }

    fn fire(&self, kind: &str, name: Option<&dyn Display>) {
        let Some(plan) = &self.0 else { return };
        // A panic while the thread unwinds would abort the process.
        if std::thread::panicking() {
            return;
        }
        let met = |point: &Arc<Point>| Some((Arc::clone(point), point.fires(kind, name)?));
        match plan.read(|points| points.iter().find_map(met)) {
            Some((point, Fault::Panic)) => {
                point.count();
                fail(kind);
            }
            Some((point, Fault::Hold)) => {
                point.count();
                // A thread that is stuck runs nothing that could wake it, so it looks.
                while point.holds.load(Ordering::Acquire) {
                    std::thread::sleep(HELD);
                }
            }
            None => {}
        }
    }
}

/// One point at which a test may make a relay fail; see [`Faults::at`]. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct FaultPoint(Option<(Faults, &'static str, String)>);

impl FaultPoint {
    /// Fails if a test armed this point.
    pub fn check(&self) {
        if let Some((faults, kind, name)) = &self.0 {
            faults.check_named(kind, name);
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

/// The points of one relay, while it is set up and later. Clones share the points.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(Arc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    live: bool,
    points: RwLock<Vec<Arc<Point>>>,
}

impl Plan {
    fn read<T>(&self, look: impl FnOnce(&[Arc<Point>]) -> T) -> T {
        // Nothing fails while it is held, so that it is poisoned would mean nothing.
        look(&self.points.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FaultPlan {
    /// A plan without points.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A plan without points under which idle actors check their points too, as [`Faults::attend`] says.
    #[must_use]
    pub fn live() -> Self {
        Self(Arc::new(Plan {
            live: true,
            ..Plan::default()
        }))
    }

    /// Adds a point that meets every check of `kind`. It is not armed yet.
    pub fn point(&mut self, kind: impl Into<String>) -> Trigger {
        self.add(kind.into(), None)
    }

    /// Adds a point that meets the checks of `kind` whose name reads `name`. It is not armed yet.
    pub fn point_named(&mut self, kind: impl Into<String>, name: impl Into<String>) -> Trigger {
        self.add(kind.into(), Some(name.into()))
    }

    /// What the relay is given. Points that are added later count too.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults(Some(Arc::clone(&self.0)))
    }

    fn add(&self, kind: String, name: Option<String>) -> Trigger {
        let point = Arc::new(Point {
            kind,
            name,
            armed: AtomicU32::new(0),
            holds: AtomicBool::new(false),
            fired: watch::Sender::new(0),
        });
        self.0
            .points
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&point));
        Trigger(point)
    }
}

/// The test's hold on one point.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<Point>);

impl Trigger {
    /// The next `times` checks that meet this point panic; replaces what was armed before, and lets go who is held.
    pub fn arm(&self, times: u32) {
        self.0.holds.store(false, Ordering::Release);
        self.0.armed.store(times, Ordering::Release);
    }

    /// The next `times` checks that meet this point hold their thread, with every actor on it, until
    /// [`Trigger::release`]; replaces what was armed before.
    pub fn arm_hold(&self, times: u32) {
        self.0.holds.store(true, Ordering::Release);
        self.0.armed.store(times, Ordering::Release);
    }

    /// Lets the threads go on that are held here, and disarms the point.
    pub fn release(&self) {
        self.0.armed.store(0, Ordering::Release);
        self.0.holds.store(false, Ordering::Release);
    }

    /// How many faults are still to come.
    #[must_use]
    pub fn armed(&self) -> u32 {
        self.0.armed.load(Ordering::Acquire)
    }

    /// How many faults this point has caused.
    #[must_use]
    pub fn fired(&self) -> u32 {
        *self.0.fired.borrow()
    }

    /// Waits until this point has caused `times` faults in all. A panicking actor may still be unwinding then.
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
    /// Armed to hold the thread, not to panic; who is held goes on when it is no more.
    holds: AtomicBool,
    fired: watch::Sender<u32>,
}

/// What a check does.
enum Fault {
    Panic,
    Hold,
}

impl Point {
    /// What this check does, if it meets the point and takes one of its charges.
    fn fires(&self, kind: &str, name: Option<&dyn Display>) -> Option<Fault> {
        if self.kind != kind || self.armed.load(Ordering::Acquire) == 0 {
            return None;
        }
        if let Some(wanted) = &self.name
            && name.is_none_or(|name| name.to_string() != *wanted)
        {
            return None;
        }
        let holds = self.holds.load(Ordering::Acquire);
        self.armed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1))
            .is_ok()
            .then_some(if holds { Fault::Hold } else { Fault::Panic })
    }

    fn count(&self) {
        self.fired.send_modify(|count| *count += 1);
    }
}
