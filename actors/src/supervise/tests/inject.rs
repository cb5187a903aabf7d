//! The panic injector: fires when told, where told, and never by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::inject::{FaultPlan, Faults};

fn fails(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[test]
fn nothing_fires_by_default() {
    let faults = Faults::default();
    faults.check("subscription");
    faults.check_named("subscription", &"ns/track");
    // A point that is set up but not armed is as silent.
    let mut plan = FaultPlan::new();
    let trigger = plan.point("subscription");
    let faults = plan.faults();
    faults.check("subscription");
    assert_eq!((trigger.armed(), trigger.fired()), (0, 0));
}

#[test]
fn an_armed_point_fires_as_often_as_told() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point("subscription");
    let faults = plan.faults();
    trigger.arm(2);
    faults.check("track");
    assert!(fails(|| faults.check("subscription")));
    assert!(fails(|| faults.check_named("subscription", &"any")));
    faults.check("subscription");
    assert_eq!((trigger.armed(), trigger.fired()), (0, 2));
}

#[test]
fn a_named_point_fires_for_its_name_only() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("track", "ns/video");
    let faults = plan.faults().clone();
    trigger.arm(1);
    faults.check("track");
    faults.check_named("track", &"ns/audio");
    assert!(fails(|| faults.check_named("track", &"ns/video")));
    faults.check_named("track", &"ns/video");
    assert_eq!(trigger.fired(), 1);
}

#[test]
fn nothing_fires_while_a_thread_unwinds() {
    struct ChecksInDrop(Faults);
    impl Drop for ChecksInDrop {
        fn drop(&mut self) {
            self.0.check("track");
        }
    }
    let mut plan = FaultPlan::new();
    let trigger = plan.point("track");
    let faults = plan.faults();
    trigger.arm(2);
    let checks = ChecksInDrop(faults.clone());
    assert!(fails(move || {
        let _checks = checks;
        faults.check("track");
    }));
    assert_eq!((trigger.armed(), trigger.fired()), (1, 1));
}

#[actix_rt::test]
async fn a_test_can_wait_for_the_panic() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point("track");
    let faults = plan.faults();
    trigger.arm(1);
    let waits = trigger.clone();
    let waiter = actix_rt::spawn(async move { waits.wait_fired(1).await });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    assert!(fails(|| faults.check("track")));
    waiter.await.unwrap();
}

#[test]
fn points_come_while_the_relay_runs() {
    let mut plan = FaultPlan::live();
    let faults = plan.faults();
    faults.check("track");
    let trigger = plan.point("track");
    trigger.arm(1);
    assert!(fails(|| faults.check("track")));
    // A second point of the same kind has charges of its own.
    let other = plan.clone().point_named("track", "ns/video");
    other.arm(1);
    faults.check_named("track", &"ns/audio");
    assert!(fails(|| faults.check_named("track", &"ns/video")));
    assert_eq!((trigger.fired(), other.fired()), (1, 1));
}

#[actix_rt::test]
async fn a_held_thread_goes_on_when_released() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point("shard");
    let faults = plan.faults();
    trigger.arm_hold(1);
    let held = std::thread::spawn(move || {
        faults.check("shard");
        faults.check("shard");
    });
    trigger.wait_fired(1).await;
    assert!(!held.is_finished());
    trigger.release();
    held.join().unwrap();
    assert_eq!((trigger.armed(), trigger.fired()), (0, 1));
    // What was released does not stay open.
    trigger.arm_hold(1);
    assert_eq!(trigger.armed(), 1);
}

#[actix_rt::test]
async fn a_task_that_nothing_wakes_can_fail() {
    tokio::time::pause();
    let mut plan = FaultPlan::live();
    let (live, still) = (plan.faults(), FaultPlan::new().faults());
    let trigger = plan.point("task");
    let task = actix_rt::spawn(async move { live.attended("task").await });
    let patient = actix_rt::spawn(async move { still.attended("task").await });
    trigger.arm(1);
    assert!(task.await.unwrap_err().is_panic());
    assert!(trigger.fired() == 1 && !patient.is_finished());
}

/// An actor to which nothing ever happens.
struct Idle(Faults, Option<tokio::sync::oneshot::Sender<()>>);

impl actix::Actor for Idle {
    type Context = actix::Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        self.0.attend(ctx, "idle", || "a");
    }
    fn stopped(&mut self, _: &mut Self::Context) {
        drop(self.1.take());
    }
}

#[actix_rt::test]
async fn an_idle_actor_of_a_live_plan_can_fail() {
    use actix::Actor;
    tokio::time::pause();
    let mut plan = FaultPlan::live();
    let (told, over) = tokio::sync::oneshot::channel();
    let addr = Idle(plan.faults(), Some(told)).start();
    let other = plan.point_named("idle", "b");
    other.arm(1);
    let trigger = plan.point_named("idle", "a");
    trigger.arm(1);
    // Its drop while it unwinds closes the channel.
    assert!(over.await.is_err());
    assert_eq!((trigger.fired(), other.fired()), (1, 0));
    assert!(!addr.connected());
}
