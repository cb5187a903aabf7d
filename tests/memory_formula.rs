//! README says of memory what the code says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use laps_actors::census::bound::{
    BASE, CACHE_PERCENT, CONNECTION, Frame, Load, REQUEST, SHARD, SLOW_READER, STREAM, TRACK, bound,
};

const README: &str = include_str!("../README.md");

/// The bytes in the row of README that begins with this cell.
fn told(cell: &str) -> u64 {
    let row = README
        .lines()
        .find(|line| line.starts_with(&format!("| {cell} |")));
    let row = row.unwrap_or_else(|| panic!("README has no row for {cell}"));
    let mut words = row.split('|').nth(2).unwrap().split_whitespace();
    let (number, unit): (u64, _) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
    match unit {
        "KiB" => number << 10,
        "MiB" => number << 20,
        other => panic!("{cell}: {other}"),
    }
}

/// House rule: what is stated and what is checked cannot diverge.
#[test]
fn the_constants_are_those_of_the_code() {
    for (cell, constant) in [
        ("base", BASE),
        ("shard (`workers.threads`)", SHARD),
        ("connection", CONNECTION),
        ("request", REQUEST),
        ("track", TRACK),
        ("stream", STREAM),
        ("slow reader", SLOW_READER),
    ] {
        assert_eq!(told(cell), constant, "{cell}");
    }
    let share = format!("| cache | {} % of `cache.max_mb` |", CACHE_PERCENT);
    assert!(README.contains(&share), "{share}");
}

/// The example that README reckons.
#[test]
fn the_example_is_right() {
    let frame = Frame {
        shards: 2,
        cache: 256 << 20,
        window: 8 << 20,
    };
    let load = Load {
        connections: 1000,
        requests: 1000,
        tracks: 10,
        streams: 3000,
        slow_readers: 10,
        floods: 0,
    };
    let example = format!("{} MiB for 1000 viewers", bound(frame, load).div_ceil(1 << 20));
    assert!(README.contains(&example), "{example}");
}
