//! What a million subscriptions and ten thousand nodes cost in the information bases, and how that grows.
//!
//! ```text
//! cargo bench -p laps-protocol --bench info_base [-- ENTRIES]
//! ```
//!
//! Four sizes up to ENTRIES are measured, each with a hundredth as many nodes, which two neighbours tell of, and a tenth as
//! many tracks, each published by one of the nodes; and an edge with a thousandth as many stubs, each of which subscribes to
//! a hundred tracks. Times are for one entry. For each the exponent is fitted with which the time for all of them grows: the
//! run fails where one is above `STEEPEST`. What counts is the time of the processor. Memory is what the process has more
//! than before; what takes some is measured in a process of its own, since memory that was given back would hide it.

#![expect(clippy::print_stdout, reason = "a table for a person")]
#![expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on ends"
)]

use bytes::Bytes;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::info_base::{InfoBase, Kin, Limits, LinkId, LinkUp, Output, Settings, Stamp};
use laps_protocol::peering::message::{
    Dialect, Message, PeerMode, PublishInfo, Published, Sequence, SubscribeInfo, encode_subscribe_data,
    laps_subscribe,
};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use std::time::{Duration, Instant};

/// n log n has 1.08 over the sizes; caches are left behind, and machines are shared.
const STEEPEST: f64 = 1.4;
/// Tracks that a stub subscribes to.
const OF_A_STUB: usize = 100;
/// Messages that are made before the clock runs: few, since they take memory, too.
const BATCH: usize = 1000;
const NEIGHBOURS: [u64; 2] = [1, 2];

fn node(number: usize) -> NodeId {
    NodeId(1_000_000 + number as u64)
}

fn track(number: usize) -> FullTrackName {
    let fields = [
        "example.org".to_owned(),
        format!("room-{}", number / 10),
        "camera".to_owned(),
    ];
    let namespace = TrackNamespace::new(fields.map(Bytes::from)).expect("a short namespace");
    FullTrackName::new(namespace, Bytes::from(format!("video-{}", number % 10))).expect("a short name")
}

/// The statement `sequence` of one node about one track.
fn subscription(entry: usize, tracks: usize, nodes: usize, sequence: u16) -> SubscribeInfo {
    let number = entry % tracks;
    subscription_of(node((number + entry / tracks * 7) % nodes), number, sequence)
}

fn subscription_of(source: NodeId, number: usize, sequence: u16) -> SubscribeInfo {
    let track = track(number);
    let subscribe = laps_subscribe(track.clone(), 128, None);
    let data = encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).expect("a short message");
    SubscribeInfo {
        sequence: Sequence(sequence),
        source,
        track: TrackHash::of(&track),
        data,
    }
}

/// Resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

fn drain(base: &mut InfoBase) -> usize {
    std::iter::from_fn(|| base.poll_output())
        .map(|output| usize::from(matches!(output, Output::Send { .. })))
        .sum()
}

/// What this thread has computed, as Linux counts it: on a machine that does other things too the clock says less.
fn computed() -> Duration {
    // It is counted up to now when the thread stops for a moment.
    std::thread::sleep(Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux counts what a thread computes"))
}

/// Runs `step` for each of `count` entries with its message; only the steps are timed.
fn timed<M>(count: usize, make: impl Fn(usize) -> M, mut step: impl FnMut(M)) -> Duration {
    let mut time = Duration::ZERO;
    for start in (0..count).step_by(BATCH) {
        let batch: Vec<_> = (start..count.min(start + BATCH)).map(&make).collect();
        let begin = computed();
        for message in batch {
            step(message);
        }
        time += computed().saturating_sub(begin);
    }
    time
}

/// Says to a process of its own what to measure: how many entries, and which of the [`PARTS`].
const ONE: &str = "--one";
/// Begins a line of what it says of memory; others are times in nanoseconds.
const BYTES: &str = "bytes";

/// What is measured together.
const PARTS: [fn(usize) -> Row; 3] = [subscriptions, publications, stubs];

/// What takes memory, in this order.
const TAKES: [&str; 3] = ["bytes a subscription", "bytes a node", "bytes a publication"];

/// What is timed, in this order; for one subscription or one node.
const WHAT: [&str; 12] = [
    "add a node",
    "add",
    "withdraw",
    "recompute a node",
    "lose a link, a node",
    "lose the last, a node",
    "purge",
    "publish",
    "unpublish",
    "a stub subscribes",
    "publish beside stubs",
    "a stub unsubscribes",
];

/// What was timed, and how long one took in nanoseconds.
type Times = Vec<(&'static str, f64)>;

#[derive(Default)]
struct Row {
    /// For one of [`TAKES`], in their order.
    bytes: Vec<f64>,
    times: Times,
}

/// An edge with its two neighbours.
fn edge(now: Instant) -> InfoBase {
    let (settings, limits) = (Settings::default(), Limits::default());
    let mut base = InfoBase::new(NodeId(9), NodeType::Edge, 1, settings, limits, now);
    for low in NEIGHBOURS {
        join(&mut base, now, low, NodeType::Edge);
    }
    base
}

/// A link with the number of the node at its end.
fn join(base: &mut InfoBase, now: Instant, low: u64, kind: NodeType) {
    let up = LinkUp {
        node: NodeInfo::new(NodeId(low), kind, Bytes::new()),
        mode: PeerMode::Both,
        kin: Kin::Ours(1),
        srtt_us: 10_000 * low,
    };
    base.link_up(now, LinkId(u32::try_from(low).unwrap_or(1)), up);
    drain(base);
}

const STAMP: Stamp = Stamp {
    epoch: 1,
    sequence: Sequence(0),
};

/// Publications of all nodes, one for each track.
fn publications(entries: usize) -> Row {
    let (now, tracks) = (Instant::now(), entries / 10);
    let (mut base, mut times) = (edge(now), Vec::new());
    let info = |number| PublishInfo::new(node(number % (tracks / 10)), Published::Track(track(number)));
    let before = resident();
    let mut say = |what, make: fn(PublishInfo) -> Message, sequence| {
        let stamp = Stamp {
            sequence: Sequence(sequence),
            ..STAMP
        };
        let time = timed(
            tracks,
            |number| make(info(number)),
            |message| {
                base.handle_message(now, LinkId(1), message, stamp);
                drain(&mut base);
            },
        );
        times.push((what, time.as_secs_f64() * 1e9 / tracks as f64));
        (base.sizes().publishes, resident())
    };
    let (there, after) = say("publish", Message::PublishInfoAdvertise, 1);
    assert_eq!(there, tracks);
    let (left, _) = say("unpublish", Message::PublishInfoWithdraw, 2);
    assert_eq!(left, 0);
    let bytes = vec![(after.saturating_sub(before) / tracks) as f64];
    Row { bytes, times }
}

/// Stubs that subscribe to tracks, others that publish as many, and the end of that.
fn stubs(entries: usize) -> Row {
    const FIRST: usize = 1000;
    let (now, stubs) = (Instant::now(), (entries / 1000).max(1));
    let (mut base, mut times) = (edge(now), Vec::new());
    (0..stubs).for_each(|stub| join(&mut base, now, (FIRST + stub) as u64, NodeType::Stub));
    let count = stubs * OF_A_STUB;
    // One after the other, so that all of them have some at any time.
    let wish = |entry: usize, sequence| {
        let stub = FIRST + entry % stubs;
        let link = LinkId(u32::try_from(stub).unwrap_or(1));
        (link, subscription_of(NodeId(stub as u64), entry, sequence))
    };
    let mut told = 0;
    let mut note = |what, time: Duration| times.push((what, time.as_secs_f64() * 1e9 / count as f64));
    let time = timed(
        count,
        |entry| wish(entry, 1),
        |(link, info)| {
            base.handle_message(now, link, Message::SubscribeInfoAdvertise(info), STAMP);
            drain(&mut base);
        },
    );
    note("a stub subscribes", time);
    let time = timed(
        count,
        |number| PublishInfo::new(node(number % 100), Published::Track(track(number))),
        |info| {
            base.handle_message(now, LinkId(1), Message::PublishInfoAdvertise(info), STAMP);
            told += drain(&mut base);
        },
    );
    note("publish beside stubs", time);
    assert_eq!(told, 2 * count, "the other neighbour, and the stub");
    let time = timed(
        count,
        |entry| wish(entry, 2),
        |(link, info)| {
            base.handle_message(now, link, Message::SubscribeInfoWithdraw(info), STAMP);
            drain(&mut base);
        },
    );
    note("a stub unsubscribes", time);
    let bytes = Vec::new();
    Row { bytes, times }
}

/// Nodes and their subscriptions, and the end of both.
fn subscriptions(entries: usize) -> Row {
    let (nodes, tracks) = (entries / 100, entries / 10);
    let mut times = Vec::new();
    let mut note =
        |what, time: Duration, count: usize| times.push((what, time.as_secs_f64() * 1e9 / count as f64));
    let mut now = Instant::now();
    let mut base = edge(now);
    let tell = |number: usize| {
        let neighbour = NEIGHBOURS[number % 2];
        let info = NodeInfo::new(
            node(number / 2),
            NodeType::Edge,
            Bytes::from_static(b"relay.example.org"),
        );
        let hop = |id, srtt_us| PathItem {
            node: NodeId(id),
            srtt_us,
        };
        (
            neighbour,
            info.via(hop(500 + neighbour, 3000)).via(hop(neighbour, 4000)),
        )
    };
    let before = resident();
    let time = timed(2 * nodes, tell, |(neighbour, info)| {
        let link = LinkId(u32::try_from(neighbour).unwrap_or(1));
        base.handle_message(now, link, Message::NodeInfoAdvertise(info), STAMP);
        drain(&mut base);
    });
    note("add a node", time, nodes);
    let node_bytes = resident().saturating_sub(before) / nodes;
    let before = resident();
    let mut flooded = 0;
    let time = timed(
        entries,
        |entry| subscription(entry, tracks, nodes, 1),
        |info| {
            base.handle_message(now, LinkId(1), Message::SubscribeInfoAdvertise(info), STAMP);
            flooded += drain(&mut base);
        },
    );
    note("add", time, entries);
    let bytes = resident().saturating_sub(before) / entries;
    assert_eq!(
        (base.sizes().subscribes, base.sizes().nodes, flooded),
        (entries, nodes + 2, entries)
    );
    let time = timed(
        entries / 10,
        |entry| subscription(entry * 10, tracks, nodes, 2),
        |info| {
            base.handle_message(now, LinkId(2), Message::SubscribeInfoWithdraw(info), STAMP);
            drain(&mut base);
        },
    );
    note("withdraw", time, entries / 10);
    let mut once = |base: &mut InfoBase, what, count, step: &mut dyn FnMut(&mut InfoBase)| {
        let begin = computed();
        step(base);
        drain(base);
        note(what, computed().saturating_sub(begin), count);
    };
    once(&mut base, "recompute a node", nodes, &mut |base| {
        base.link_srtt(now, LinkId(1), 90_000)
    });
    once(&mut base, "lose a link, node", nodes, &mut |base| {
        base.link_down(now, LinkId(1))
    });
    let left = base.sizes().subscribes;
    assert_eq!(left, entries - entries / 10, "what takes another way stays");
    once(&mut base, "lose the last, node", nodes, &mut |base| {
        base.link_down(now, LinkId(2))
    });
    now += Settings::default().unreachable_hold;
    // In turns, so that none of them holds up the shard.
    once(&mut base, "purge", left, &mut |base| {
        while base.poll_timeout().is_some_and(|due| due <= now) {
            base.handle_timeout(now);
            drain(base);
        }
    });
    let sizes = base.sizes();
    assert_eq!((sizes.subscribes, sizes.nodes), (0, 0));
    let bytes = vec![bytes as f64, node_bytes as f64];
    Row { bytes, times }
}

/// One run, each part of it in a process of its own.
fn run_of(entries: usize) -> Row {
    let this = std::env::current_exe().expect("a benchmark knows where it is");
    let mut row = Row::default();
    for part in 0..PARTS.len() {
        let child = std::process::Command::new(&this)
            .args([ONE, &entries.to_string(), &part.to_string()])
            .output();
        let output = child.expect("it can be run again");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (kind, number) = line.split_once(' ').expect("what it is, and how much");
            let number = number.parse().expect("a number");
            match kind {
                BYTES => row.bytes.push(number),
                _ => row.times.push((WHAT[row.times.len()], number)),
            }
        }
    }
    assert_eq!((row.bytes.len(), row.times.len()), (TAKES.len(), WHAT.len()));
    row
}

/// The best of some runs: what else the machine does only ever makes a time longer, or takes memory.
fn best_of(runs: usize, entries: usize) -> Row {
    let least = |best: Row, next: Row| Row {
        bytes: best.bytes.iter().zip(next.bytes).map(|(a, b)| a.min(b)).collect(),
        times: best
            .times
            .iter()
            .zip(next.times)
            .map(|((what, a), (_, b))| (*what, a.min(b)))
            .collect(),
    };
    let runs = (0..runs).map(|_| run_of(entries));
    runs.reduce(least).expect("one run at least")
}

/// The exponent of the straight line through the logarithms: how the time for `n` entries grows, where one takes `one`
/// of them.
fn exponent(sizes: [usize; 4], one: [f64; 4]) -> f64 {
    let points = sizes.map(|size| size as f64);
    let points: Vec<_> = points
        .iter()
        .zip(one)
        .map(|(n, one)| (n.ln(), (n * one).ln()))
        .collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along = points.iter().map(|point| (point.0 - x) * (point.1 - y));
    let square = points.iter().map(|point| (point.0 - x).powi(2));
    along.sum::<f64>() / square.sum::<f64>()
}

fn main() {
    let one = std::env::args().skip_while(|arg| arg != ONE).skip(1);
    if let [entries, part] = one.filter_map(|arg| arg.parse().ok()).collect::<Vec<usize>>()[..] {
        let row = PARTS[part](entries);
        row.bytes.iter().for_each(|bytes| println!("{BYTES} {bytes}"));
        row.times.iter().for_each(|(_, time)| println!("ns {time}"));
        return;
    }
    let most = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000_usize);
    let sizes = [8, 4, 2, 1].map(|part| (most / part / 1000 * 1000).max(1000));
    let rows = sizes.map(|entries| best_of(3, entries));
    let row = |what: &str, numbers: [f64; 4]| {
        let numbers = numbers.map(|number| format!("{number:>12.0}")).concat();
        format!("{what:<26}{numbers}")
    };
    let line = |what: &str, numbers| println!("{}", row(what, numbers));
    line("subscriptions", sizes.map(|size| size as f64));
    line("nodes", sizes.map(|size| (size / 100) as f64));
    for (at, what) in TAKES.iter().enumerate() {
        let bytes = rows.each_ref().map(|row| row.bytes[at]);
        line(what, bytes);
        assert!(bytes.iter().all(|bytes| *bytes > 0.0), "nothing takes no memory");
    }
    // What is let pass and what is not.
    let of = |grows: fn(f64) -> f64| exponent(sizes, sizes.map(|size| grows(size as f64)));
    assert!(of(f64::ln) < STEEPEST && of(|n| n.powf(0.67)) > STEEPEST);
    let mut worst: f64 = 0.0;
    for (at, what) in WHAT.iter().enumerate() {
        let all = rows.each_ref().map(|row| row.times[at].1);
        let exponent = exponent(sizes, all);
        println!("{} n^{exponent:.2}", row(&format!("ns {what}"), all));
        worst = worst.max(exponent);
    }
    println!("the time for all of something grows with n^{worst:.2} at most");
    assert!(worst < STEEPEST, "that is more than n log n");
    let [first, last] = [rows[0].bytes[0], rows[3].bytes[0]];
    assert!(last < 1.5 * first, "memory grows faster than what is in it");
}
