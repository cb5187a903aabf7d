//! The restart decisions, as tables over a clock that is only a number.

use std::time::{Duration, Instant};

use super::super::guard::Exit::{self, Normal, Panicked};
use super::super::policy::{Backoff, Decision, Intensity, Restart, Supervisor};

const AT_ONCE: Decision = Decision::Restart {
    after: Duration::ZERO,
};

const fn after(ms: u64) -> Decision {
    Decision::Restart {
        after: Duration::from_millis(ms),
    }
}

const fn backoff(first_ms: u64, max_ms: u64) -> Backoff {
    Backoff {
        at_once: 0,
        first: Duration::from_millis(first_ms),
        max: Duration::from_millis(max_ms),
        jitter_percent: 0,
    }
}

/// Runs `(time in ms, exit, decision)` rows through one supervisor.
fn table(mut supervisor: Supervisor, rows: &[(u64, Exit, Decision)]) {
    let start = Instant::now();
    for (row, &(ms, exit, wanted)) in rows.iter().enumerate() {
        let now = start + Duration::from_millis(ms);
        assert_eq!(supervisor.child_down(now, exit), wanted, "row {row}");
    }
}

#[test]
fn who_returns_after_what() {
    for (restart, exit, wanted) in [
        (Restart::Permanent, Normal, AT_ONCE),
        (Restart::Permanent, Panicked, AT_ONCE),
        (Restart::Transient, Normal, Decision::Forget),
        (Restart::Transient, Panicked, AT_ONCE),
        (Restart::Temporary, Normal, Decision::Forget),
        (Restart::Temporary, Panicked, Decision::Forget),
    ] {
        let supervisor = Supervisor::new(restart, Intensity::per_secs(5, 10), Backoff::IMMEDIATE, 0);
        table(supervisor, &[(0, exit, wanted)]);
    }
}

#[test]
fn six_panics_are_five_restarts_and_the_end() {
    let supervisor = Supervisor::new(
        Restart::Transient,
        Intensity::per_secs(5, 10),
        Backoff::IMMEDIATE,
        0,
    );
    table(
        supervisor,
        &[
            (0, Panicked, AT_ONCE),
            (1, Panicked, AT_ONCE),
            (2, Panicked, AT_ONCE),
            (3, Panicked, AT_ONCE),
            (4, Panicked, AT_ONCE),
            (5, Panicked, Decision::GiveUp),
        ],
    );
}

#[test]
fn the_window_slides() {
    let supervisor = Supervisor::new(
        Restart::Permanent,
        Intensity::per_secs(2, 10),
        Backoff::IMMEDIATE,
        0,
    );
    table(
        supervisor,
        &[
            (0, Panicked, AT_ONCE),
            (6_000, Panicked, AT_ONCE),
            // The restart at 0 has just left the window, the one at 6 s has not.
            (10_000, Panicked, AT_ONCE),
            (15_999, Panicked, Decision::GiveUp),
            (16_000, Panicked, AT_ONCE),
            (17_000, Panicked, Decision::GiveUp),
        ],
    );
}

#[test]
fn no_restart_allowed_means_none() {
    let supervisor = Supervisor::new(
        Restart::Permanent,
        Intensity::per_secs(0, 10),
        Backoff::IMMEDIATE,
        0,
    );
    table(
        supervisor,
        &[
            (0, Panicked, Decision::GiveUp),
            (60_000, Panicked, Decision::GiveUp),
        ],
    );
}

#[test]
fn the_back_off_doubles_to_its_maximum() {
    let supervisor = Supervisor::new(
        Restart::Permanent,
        Intensity::UNLIMITED,
        backoff(1_000, 60_000),
        0,
    );
    let mut rows = Vec::new();
    let mut now = 0;
    for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        rows.push((now, Panicked, after(wait)));
        // Each life is a second long, whatever the wait before it.
        now += wait + 1_000;
    }
    table(supervisor, &rows);
}

#[test]
fn a_single_failure_is_mended_at_once() {
    let backoff = Backoff {
        at_once: 1,
        ..backoff(250, 1_000)
    };
    let supervisor = Supervisor::new(Restart::Permanent, Intensity::per_secs(3, 30), backoff, 0);
    table(
        supervisor,
        &[
            (0, Panicked, AT_ONCE),
            (100, Panicked, after(250)),
            (1_000, Panicked, after(500)),
            (2_000, Panicked, Decision::GiveUp),
            // The first three have left the window; the last life was as long as that.
            (32_000, Panicked, AT_ONCE),
        ],
    );
}

#[test]
fn the_back_off_survives_any_streak() {
    let mut supervisor = Supervisor::new(Restart::Permanent, Intensity::UNLIMITED, backoff(1, u64::MAX), 0);
    let now = Instant::now();
    for _ in 0..100 {
        assert!(matches!(
            supervisor.child_down(now, Panicked),
            Decision::Restart { .. }
        ));
    }
    assert_eq!(supervisor.child_down(now, Panicked), after(1 << 31));
}

#[test]
fn a_quiet_life_resets_the_back_off() {
    let supervisor = Supervisor::new(
        Restart::Permanent,
        Intensity::per_secs(100, 10),
        backoff(1_000, 4_000),
        0,
    );
    table(
        supervisor,
        &[
            (0, Panicked, after(1_000)),
            (1_000, Panicked, after(2_000)),
            // Born at 3 s, lived 9.999 s: not yet as long as the window of the intensity.
            (12_999, Panicked, after(4_000)),
            // Born at 16.999 s, lived ten seconds.
            (26_999, Panicked, after(1_000)),
        ],
    );
}

#[test]
fn jitter_takes_off_only_and_repeats_with_its_seed() {
    let waits = |seed| {
        let backoff = Backoff {
            jitter_percent: 25,
            ..backoff(1_000, 60_000)
        };
        let mut supervisor = Supervisor::new(Restart::Permanent, Intensity::UNLIMITED, backoff, seed);
        let now = Instant::now();
        (0..50)
            .map(|_| match supervisor.child_down(now, Panicked) {
                Decision::Restart { after } => after,
                other @ (Decision::GiveUp | Decision::Forget) => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let first = waits(7);
    assert_eq!(first, waits(7));
    assert_ne!(first, waits(8));
    let mut full = Duration::from_secs(1);
    for (n, wait) in first.iter().enumerate() {
        assert!(
            *wait <= full && *wait >= full * 3 / 4,
            "wait {n}: {wait:?} of {full:?}"
        );
        full = (full * 2).min(Duration::from_secs(60));
    }
}
