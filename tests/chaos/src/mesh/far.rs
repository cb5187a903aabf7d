//! Links that are long and lossy, machines that are busy, and deaths: what is noticed, and what is not mistaken for one.

use super::cases::{DIAMOND, carrier, everybody_at, gap_under};
use super::look::until;
use super::node::edge;
use super::relay::LOOK;
use super::world::{START, World};
use crate::Failure;
use crate::record;
use crate::road::Side;
use crate::scene::Tools;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// A death is noticed within max(900 ms, 3 keep-alives + 4 sRTT).
const NOTICED: Duration = Duration::from_millis(900);
const KEEP_ALIVES: Duration = Duration::from_millis(3 * 75);
/// A side that stands still for so long is not dead.
const STILL: Duration = Duration::from_millis(700);
/// Between two of those.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// The diamond with 40 ms and 2 % loss on each link.
pub(super) fn via_killed(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &DIAMOND.map(|node| node.over(20, 2)), number)?;
    everybody_at(&mut world, &[0, 3, 3])?;
    let at = carrier(&mut world)?;
    let begun = record::now();
    world.relay(at)?.process()?.kill()?;
    let last = world.settle()?;
    gap_under(&world, last, (begun, begun), 1_500)
}

/// Two pairs of relays, near and far; one of each is killed.
pub(super) fn dead_link(tools: &Tools, number: usize) -> Result<String, Failure> {
    let pairs = [edge(&[]), edge(&[0]), edge(&[]), edge(&[2]).over(75, 0)];
    let mut world = World::begin(tools, &pairs, number)?;
    for (dialled, dialler) in [(0, 1), (2, 3)] {
        world.relay(dialler)?.logs(&["link stands"])?;
        world.relay(dialled)?.logs(&["link stands"])?;
    }
    for dialler in [1, 3] {
        let relay = world.relay(dialler)?;
        until("the round trip is measured", START, || {
            Ok(!relay.round_trips()?.is_empty())
        })?;
    }
    let mut figures = Vec::new();
    for (name, dialled, dialler) in [("near", 0, 1), ("150 ms away", 2, 3)] {
        let lateness = Lateness::watch();
        let begun = Instant::now();
        world.relay(dialled)?.process()?.kill()?;
        world.relay(dialler)?.logs(&["link is dead"])?;
        let (took, late) = (begun.elapsed(), lateness.most());
        // As the survivor measured it: two busy machines are further apart than their wire.
        let srtt = srtt_in(&world.relay(dialler)?.text())?;
        let (took_ms, srtt_ms, late_ms) = (took.as_millis(), srtt.as_millis(), late.as_millis());
        let said = format!("{name} after {took_ms} ms, with {srtt_ms} ms of sRTT");
        let promised = NOTICED.max(KEEP_ALIVES + 4 * srtt);
        if took > promised + LOOK + late || took < STILL {
            return Err(format!("a death is noticed {said}, on a machine that is {late_ms} ms late").into());
        }
        figures.push(said);
    }
    Ok(format!("noticed {}", figures.join(", ")))
}

/// The round trip in the line of a link that is dead.
fn srtt_in(log: &str) -> Result<Duration, Failure> {
    #[derive(serde::Deserialize)]
    struct Line {
        srtt_ms: String,
    }
    let line = log.lines().find(|line| line.contains("link is dead"));
    let line: Line = serde_json::from_str(line.ok_or("nobody is dead")?)?;
    Ok(Duration::from_millis(line.srtt_ms.parse()?))
}

/// The two ways of a diamond are the nearer one in turn.
pub(super) fn ways_change(tools: &Tools, number: usize) -> Result<String, Failure> {
    const NEAR: Duration = Duration::from_millis(5);
    const FAR: Duration = Duration::from_millis(40);
    const TURNS: usize = 5;
    let mut world = World::begin(tools, &DIAMOND.map(|node| node.over(5, 0)), number)?;
    everybody_at(&mut world, &[0, 3, 3])?;
    for turn in 0..TURNS {
        let (near, far) = (turn % 2, (turn + 1) % 2);
        for path in [near, near + 2] {
            world.path(path)?.set(NEAR, 0)?;
        }
        for path in [far, far + 2] {
            world.path(path)?.set(FAR, 0)?;
        }
        // What the round trip is takes a few of them to know, and a node is told of anew every two seconds.
        until("the track takes the nearer way", START, || {
            Ok(carrier(&mut world)? == near + 1)
        })?;
    }
    world.everything_once()?;
    Ok(format!(
        "the track took the nearer way in each of {TURNS} turns, nothing lost, nothing twice"
    ))
}

/// At full load: loss at a long round trip, then sides that stand still. No link is given up for that.
pub(super) fn no_false_alarm(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &[edge(&[]), edge(&[0]).over(75, 5)], number)?;
    everybody_at(&mut world, &[0, 1])?;
    let load = Load::begin();
    thread::sleep(tools.watched / 2);
    world.path(0)?.set(Duration::from_millis(75), 0)?;
    thread::sleep(BETWEEN);
    let (half, mut turn, mut longest) = (Instant::now() + tools.watched / 2, 0, Duration::ZERO);
    while Instant::now() < half {
        match turn % 4 {
            0 => world.path(0)?.stall(Side::Dialled, STILL)?,
            2 => world.path(0)?.stall(Side::Dialler, STILL)?,
            at => {
                let process = world.relay(at / 2)?.process()?;
                let begun = Instant::now();
                process.signal("STOP")?;
                // The word to go on takes its time too.
                thread::sleep(STILL.saturating_sub(begun.elapsed() + LOOK));
                process.signal("CONT")?;
                longest = longest.max(begun.elapsed());
            }
        }
        turn += 1;
        thread::sleep(STILL + BETWEEN);
    }
    drop(load);
    for index in 0..2 {
        let text = world.relay(index)?.text();
        let stood = text.matches("link stands").count();
        if stood != 1 || text.contains("link is dead") {
            let longest = longest.as_millis();
            return Err(format!("relay {index} gave its link up; one stood still for {longest} ms").into());
        }
    }
    world.everything_once()?;
    Ok(format!(
        "{:.1} minutes, the second half with {turn} times {} ms of silence, {} ms at most: no link lost, no object",
        tools.watched.as_secs_f64() / 60.0,
        STILL.as_millis(),
        longest.as_millis()
    ))
}

/// Keeps every core busy until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..cores {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How late the machine lets a thread run that wanted to sleep for a moment.
struct Lateness {
    over: Arc<AtomicBool>,
    most_us: Arc<AtomicU64>,
}

impl Lateness {
    fn watch() -> Self {
        let watch = Self {
            over: Arc::default(),
            most_us: Arc::default(),
        };
        let (over, most_us) = (Arc::clone(&watch.over), Arc::clone(&watch.most_us));
        thread::spawn(move || {
            while !over.load(Relaxed) {
                let before = Instant::now();
                thread::sleep(LOOK);
                let late = before.elapsed().saturating_sub(LOOK).as_micros();
                most_us.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Relaxed);
            }
        });
        watch
    }

    fn most(self) -> Duration {
        self.over.store(true, Relaxed);
        Duration::from_micros(self.most_us.load(Relaxed))
    }
}
