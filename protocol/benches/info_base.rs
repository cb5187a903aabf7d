//! What a million subscriptions and ten thousand nodes cost in the information bases, and how that grows.
//!
//! ```text
//! cargo bench -p laps-protocol --bench info_base [-- ENTRIES]
//! ```
//!
//! Four sizes up to ENTRIES are measured, each with a hundredth as many nodes, which two neighbours tell of, and a tenth as
//! many tracks. Times are for one entry, so what grows with n log n grows here with log n; the run fails when a time at the
//! largest size is more than `WORST` times that at the smallest. What counts is the time of the processor. Memory is what the process has more than before.

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
    Dialect, Message, PeerMode, Sequence, SubscribeInfo, encode_subscribe_data, laps_subscribe,
};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use std::time::{Duration, Instant};

/// log n grows by a fifth over the sizes, caches are left behind, and machines are shared.
const WORST: f64 = 4.0;
/// Messages that are made before the clock runs.
const BATCH: usize = 10_000;
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
    let track = track(number);
    let subscribe = laps_subscribe(track.clone(), 128, None);
    let data = encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).expect("a short message");
    SubscribeInfo {
        sequence: Sequence(sequence),
        source: node((number + entry / tracks * 7) % nodes),
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

/// Says to a process of its own what to measure.
const ONE: &str = "--one";

/// What is timed, in this order; for one subscription or one node.
const WHAT: [&str; 7] = [
    "add a node",
    "add",
    "withdraw",
    "recompute a node",
    "lose a link, a node",
    "lose the last, a node",
    "purge",
];

struct Row {
    /// For a subscription, and for a node.
    bytes: [f64; 2],
    /// Nanoseconds.
    times: Vec<(&'static str, f64)>,
}

fn measure(entries: usize) -> Row {
    let (nodes, tracks) = (entries / 100, entries / 10);
    let mut times = Vec::new();
    let mut note =
        |what, time: Duration, count: usize| times.push((what, time.as_secs_f64() * 1e9 / count as f64));
    let mut now = Instant::now();
    let mut base = InfoBase::new(
        NodeId(9),
        NodeType::Edge,
        1,
        Settings::default(),
        Limits::default(),
        now,
    );
    for low in NEIGHBOURS {
        let up = LinkUp {
            node: NodeInfo::new(NodeId(low), NodeType::Edge, Bytes::new()),
            mode: PeerMode::Both,
            kin: Kin::Ours(1),
            srtt_us: 10_000 * low,
        };
        base.link_up(now, LinkId(u32::try_from(low).unwrap_or(1)), up);
        drain(&mut base);
    }
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
        base.handle_message(
            now,
            link,
            Message::NodeInfoAdvertise(info),
            Stamp {
                epoch: 1,
                ..Stamp::default()
            },
        );
        drain(&mut base);
    });
    note("add a node", time, nodes);
    let node_bytes = resident().saturating_sub(before) / nodes;
    let before = resident();
    let stamp = Stamp {
        epoch: 1,
        ..Stamp::default()
    };
    let mut flooded = 0;
    let time = timed(
        entries,
        |entry| subscription(entry, tracks, nodes, 1),
        |info| {
            base.handle_message(now, LinkId(1), Message::SubscribeInfoAdvertise(info), stamp);
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
            base.handle_message(now, LinkId(2), Message::SubscribeInfoWithdraw(info), stamp);
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
    once(&mut base, "purge", left, &mut |base| base.handle_timeout(now));
    let sizes = base.sizes();
    assert_eq!((sizes.subscribes, sizes.nodes), (0, 0));
    Row {
        bytes: [bytes as f64, node_bytes as f64],
        times,
    }
}

/// The best of some runs, each in a process of its own: memory that a run gave back would hide what the next one takes,
/// and what else the machine does only ever makes a time longer.
fn best_of(runs: usize, entries: usize) -> Row {
    let this = std::env::current_exe().expect("a benchmark knows where it is");
    let mut best: Option<Row> = None;
    for _ in 0..runs {
        let child = std::process::Command::new(&this)
            .args([ONE, &entries.to_string()])
            .output();
        let output = child.expect("it can be run again");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let (bytes, times) = numbers.split_at(2);
        let least = |at: usize| best.as_ref().map_or(f64::MAX, |best| best.times[at].1);
        let times = WHAT.iter().zip(times).enumerate();
        let times = times
            .map(|(at, (what, time))| (*what, time.min(least(at))))
            .collect();
        best = Some(Row {
            bytes: [bytes[0], bytes[1]],
            times,
        });
    }
    best.expect("one run at least")
}

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != ONE).skip(1);
    if let Some(entries) = args.next().and_then(|arg| arg.parse().ok()) {
        let row = measure(entries);
        println!("{} {}", row.bytes[0], row.bytes[1]);
        row.times.iter().for_each(|(_, time)| println!("{time}"));
        return;
    }
    let most = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000_usize);
    let sizes = [8, 4, 2, 1].map(|part| (most / part / 1000 * 1000).max(1000));
    let rows = sizes.map(|entries| best_of(3, entries));
    let line = |what: &str, numbers: [f64; 4]| {
        println!(
            "{what:<24}{}",
            numbers.map(|number| format!("{number:>12.0}")).concat()
        );
    };
    line("subscriptions", sizes.map(|size| size as f64));
    line("nodes", sizes.map(|size| (size / 100) as f64));
    line("bytes a subscription", rows.each_ref().map(|row| row.bytes[0]));
    line("bytes a node", rows.each_ref().map(|row| row.bytes[1]));
    let mut worst: f64 = 0.0;
    for (at, what) in WHAT.iter().enumerate() {
        let all = rows.each_ref().map(|row| row.times[at].1);
        line(&format!("ns {what}"), all);
        worst = worst.max(all[3] / all[0]);
    }
    let times = sizes[3] / sizes[0];
    println!("a time for one grew by a factor of {worst:.2} at most, while there were {times} times as many");
    assert!(worst < WORST, "that is more than n log n");
    let [first, last] = [rows[0].bytes[0], rows[3].bytes[0]];
    assert!(last < 1.5 * first, "memory grows faster than what is in it");
}
