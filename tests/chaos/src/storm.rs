//! Session panics by the thousand, while a publisher and subscribers go on at full traffic.

use crate::Failure;
use crate::record;
use crate::scene::{Scene, Tools, Wants};
use serde_json::Value;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// How often the relay is asked what it holds.
const LOOK: Duration = Duration::from_secs(1);
/// Panics in one round before the first look, and for how long there are such rounds: what the relay keeps is there then.
const WARM: u64 = 100;
const WARM_FOR: Duration = Duration::from_secs(15);
/// What the median of the last quarter may be above that of the first: 4 MiB, and a twentieth.
const SLACK: u64 = 4 << 20;
/// How long the relay may take to have forgotten those who are gone.
const FORGETS: Duration = Duration::from_secs(60);

const SCENE: Wants = Wants {
    subscribers: 4,
    size: 5_000,
    env: &[
        // The peers that panic come as fast as they can from one address.
        ("LAPS_LIMITS__PREFIX_HANDSHAKES_PER_S", "0"),
        // Full before the first look, so that growth is nothing else's.
        ("LAPS_CACHE__DURATION", "10"),
    ],
    ..Wants::PLAIN
};

/// One look at the relay.
#[derive(Clone, Debug)]
struct Look {
    rss: u64,
    descriptors: u64,
    tables: Value,
}

/// Runs it and prints the figures.
pub(crate) fn run(tools: &Tools, sessions: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut scene = Scene::begin(tools, &SCENE, 0)?;
    let place = scene.place()?;
    let to = format!("{}:{}", place.gateway, scene.relay.port());
    let point = format!("session {}", place.address);
    scene.hook().say(&format!("arm {point} {}", u32::MAX))?;
    let hammer = |scene: &Scene, many: u64| {
        scene.start_part(&place, &["peer", &to, "hammer", "--sessions", &many.to_string()])
    };
    let begun = record::now();
    let warm = Instant::now();
    while warm.elapsed() < WARM_FOR {
        hammer(&scene, WARM)?.wait(FORGETS)?;
    }
    let before = settled(&mut scene, None)?;
    let since = Instant::now();
    let fired = |scene: &Scene| scene.hook().fired("session", &place.address);
    let first = fired(&scene)?;
    let mut looks = Vec::new();
    let mut busy = Vec::new();
    // Sessions that end before the point is met count for nothing, so there may be more of them.
    while fired(&scene)? < first + sessions {
        let left = first + sessions - fired(&scene)?;
        let mut process = hammer(&scene, left)?;
        while process.ended()?.is_none() {
            std::thread::sleep(LOOK);
            looks.push(look(&mut scene)?);
        }
        let mut said = String::new();
        process.output()?.read_to_string(&mut said)?;
        busy.push(said.trim().to_owned());
    }
    let took = since.elapsed();
    let panics = fired(&scene)? - first;
    let after = settled(&mut scene, Some(&before))?;
    let last = scene.settle(None)?;
    let losses = scene.losses(last, begun, record::now())?;
    let (rss_first, rss_last) = quarters(&looks);
    writeln!(
        out,
        "{panics} session panics in {:.0} s, {:.0} a second",
        took.as_secs_f64(),
        rate(panics, took)
    )?;
    writeln!(
        out,
        "objects of others: lost {}, twice or wrong {}; longest pause {} ms",
        losses.iter().map(|losses| losses.lost).sum::<u64>(),
        losses
            .iter()
            .map(|losses| losses.duplicated + losses.wrong)
            .sum::<u64>(),
        losses.iter().map(|losses| losses.pause_ms).max().unwrap_or(0)
    )?;
    writeln!(
        out,
        "RSS: median of the first quarter {:.1} MiB, of the last {:.1} MiB",
        mib(rss_first),
        mib(rss_last)
    )?;
    writeln!(
        out,
        "descriptors: {} before, {} after",
        before.descriptors, after.descriptors
    )?;
    let mut wrong = Vec::new();
    if losses
        .iter()
        .any(|losses| losses.lost + losses.duplicated + losses.wrong > 0)
    {
        wrong.push(format!("others lost objects or got some twice: {losses:?}"));
    }
    if rss_last > rss_first + SLACK + rss_first / 20 {
        wrong.push("the relay grew".to_owned());
    }
    if after.descriptors != before.descriptors {
        wrong.push("descriptors leaked".to_owned());
    }
    let left = left_behind(&mut scene)?;
    writeln!(out, "tables after everybody left: {left}")?;
    if left != "empty" {
        wrong.push("tables are not empty".to_owned());
    }
    if wrong.is_empty() {
        writeln!(out, "test result: ok. 1 passed; 0 failed; 0 ignored")?;
        return Ok(());
    }
    Err(wrong.join("; ").into())
}

fn look(scene: &mut Scene) -> Result<Look, Failure> {
    let census = scene.relay.census()?;
    let held = |what: &str| census.pointer(&format!("/held/{what}")).and_then(Value::as_u64);
    Ok(Look {
        rss: held("rss_bytes").ok_or("no RSS")?,
        descriptors: held("descriptors").ok_or("no descriptors")?,
        tables: census.get("tables").cloned().unwrap_or_default(),
    })
}

/// The relay once it has as many sessions as before, or, the first time, as many as there are clients.
fn settled(scene: &mut Scene, before: Option<&Look>) -> Result<Look, Failure> {
    let clients = scene.publishers.len() + scene.subscribers.len() + scene.bystanders.len();
    let until = Instant::now() + FORGETS;
    loop {
        let now = look(scene)?;
        let count = |look: &Look, table: &str| look.tables.get(table).and_then(Value::as_u64);
        let sessions = count(&now, "process.session_actors");
        let as_before = before.is_none_or(|before| {
            [
                "process.connection_actors",
                "process.subscription_actors",
                "process.track_actors",
            ]
            .iter()
            .all(|table| count(&now, table) == count(before, table))
        });
        if sessions == Some(clients as u64) && as_before {
            return Ok(now);
        }
        if Instant::now() > until {
            return Err(format!("{clients} clients, and the relay has {}", now.tables).into());
        }
        std::thread::sleep(LOOK);
    }
}

/// What the relay's tables hold when all clients are gone.
fn left_behind(scene: &mut Scene) -> Result<String, Failure> {
    let clients = scene.publishers.iter_mut().chain(&mut scene.subscribers);
    for client in clients.chain(&mut scene.bystanders) {
        client.process()?.signal("INT")?;
    }
    let until = Instant::now() + FORGETS;
    loop {
        let tables = look(scene)?.tables;
        let full: Vec<String> = tables
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(table, count)| format!("{table} {count}"))
            .collect();
        if full.is_empty() {
            return Ok("empty".to_owned());
        }
        if Instant::now() > until {
            return Ok(full.join(", "));
        }
        std::thread::sleep(LOOK);
    }
}

/// Medians of the first and the last quarter.
fn quarters(looks: &[Look]) -> (u64, u64) {
    let median = |looks: &[Look]| {
        let mut all: Vec<u64> = looks.iter().map(|look| look.rss).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    };
    let quarter = looks.len().div_ceil(4);
    let (first, last) = (looks.get(..quarter), looks.get(looks.len() - quarter..));
    (
        median(first.unwrap_or_default()),
        median(last.unwrap_or_default()),
    )
}

#[expect(clippy::cast_precision_loss, reason = "figures for a person")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "figures for a person")]
fn rate(many: u64, took: Duration) -> f64 {
    many as f64 / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_compared_by_their_medians() {
        let look = |rss| Look {
            rss,
            descriptors: 0,
            tables: Value::Null,
        };
        let looks: Vec<Look> = [1, 9, 2, 5, 5, 5, 7, 8, 6].map(look).to_vec();
        assert_eq!(quarters(&looks), (2, 7));
        assert_eq!(quarters(&[]), (0, 0));
    }
}
