//! The machine around the relay: its clock, its disk, a thread that is stuck, and a peer that is slow on purpose.

use super::panics::moment;
use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record;
use crate::scene::{Scene, Wants};
use crate::seed::Chance;
use std::time::{Duration, Instant};

/// How long what is to be seen in the relay's log may take.
const LOGS: Duration = Duration::from_secs(5);
/// Newcomers that a full disk may take to show.
const MOST: usize = 20;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "clock-forward-1h",
        what: "the relay's clock jumps an hour forward",
        wants: Wants {
            clock: true,
            ..Wants::PLAIN
        },
        strike: |scene, chance| jump(scene, chance, 3_600),
        lost: 0,
        recovers_ms: 1_000,
    },
    Fault {
        name: "clock-back-1h",
        what: "the relay's clock jumps an hour back",
        wants: Wants {
            clock: true,
            ..Wants::PLAIN
        },
        strike: |scene, chance| jump(scene, chance, -3_600),
        lost: 0,
        recovers_ms: 1_000,
    },
    Fault {
        name: "log-disk-full",
        what: "the disk of the relay's log is full, and then it is not",
        wants: Wants {
            small_log: true,
            ..Wants::PLAIN
        },
        strike: log_full,
        lost: 0,
        recovers_ms: 2_000,
    },
    Fault {
        name: "slow-peer",
        what: "peers do everything right at a byte a second: in SETUP, in a request, in the headers of streams",
        wants: Wants {
            env: &[
                ("LAPS_SESSION__MESSAGE_TIMEOUT_MS", "2000"),
                ("LAPS_SESSION__HEADER_TIMEOUT_MS", "2000"),
            ],
            ..Wants::PLAIN
        },
        strike: slow_peer,
        lost: 0,
        recovers_ms: 10_000,
    },
];

/// Seconds of the day at which a line was logged.
fn logged_at(line: &str) -> Option<i64> {
    let time = line.split_once("\"ts\":\"")?.1.split_once('T')?.1;
    let mut parts = time.get(..8)?.split(':').map(str::parse::<i64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3600 + next()? * 60 + next()?)
}

/// Waits until the relay has logged that somebody new was accepted; gives the last line before and the new one.
fn newcomer(scene: &mut Scene, name: &str) -> Result<(String, String), Failure> {
    let before = scene.relay.logged();
    let client = scene.client(&["fetch"], &["nobody", "nothing", "0"], name, false)?;
    let until = Instant::now() + LOGS;
    let line = loop {
        let logged = scene.relay.logged();
        let fresh = logged.get(before.len()..).unwrap_or_default();
        if let Some(line) = fresh.lines().find(|line| line.contains("connection accepted")) {
            break line.to_owned();
        }
        if Instant::now() > until {
            return Err("the relay logs no newcomer".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(client);
    Ok((before.lines().last().unwrap_or_default().to_owned(), line))
}

fn jump(scene: &mut Scene, chance: &mut Chance, seconds: i64) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let (_, before) = newcomer(scene, "newcomer-1")?;
    let begun = record::now();
    scene.relay.set_clock(seconds)?;
    // Newcomers are served whatever the time is, and the log shows that the clock did jump.
    let (_, after) = newcomer(scene, "newcomer-2")?;
    let (before, after) = logged_at(&before)
        .zip(logged_at(&after))
        .ok_or("the log tells no time")?;
    let jumped = (after - before).rem_euclid(86_400);
    if !(0..60).contains(&(jumped - seconds).rem_euclid(86_400)) {
        return Err(format!("the relay's clock went {jumped} s on").into());
    }
    Ok(Struck::at(begun, Met::Everybody))
}

fn log_full(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    newcomer(scene, "newcomer-1")?;
    let begun = record::now();
    scene.relay.fill_log()?;
    // The last page of the file takes some more lines.
    let mut written = (1..).map(|number| newcomer(scene, &format!("newcomer-full-{number}")).is_ok());
    if written.by_ref().take(MOST).all(|ok| ok) {
        return Err("the disk is not full".into());
    }
    drop(written);
    let over = record::now();
    let since = Instant::now();
    scene.relay.empty_log()?;
    newcomer(scene, "newcomer-last")?;
    let took = u64::try_from(since.elapsed().as_millis())?;
    Ok(Struck {
        begun,
        over,
        met: Met::Everybody,
        other: Some(("what was logged meanwhile".to_owned(), took)),
    })
}

fn slow_peer(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    let place = scene.place()?;
    let to = format!("{}:{}", place.gateway, scene.relay.port());
    let since = Instant::now();
    let said = scene.part(&place, &["peer", &to, "slow"])?;
    let took = u64::try_from(since.elapsed().as_millis())?;
    if !said.starts_with("cut after") {
        return Err(said.into());
    }
    Ok(Struck {
        other: Some(("the slow peers: each is cut off by its timeout".to_owned(), took)),
        ..Struck::at(begun, Met::Nobody)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_read() {
        let line = r#"{"msg":"x","level":"INFO","ts":"2026-11-22T16:52:08.123456789Z"}"#;
        assert_eq!(logged_at(line), Some(16 * 3600 + 52 * 60 + 8));
        assert_eq!(logged_at("{}"), None);
    }
}
