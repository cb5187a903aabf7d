//! `laps fetch` writes exactly the objects of the range, in the order that was asked for, and says how many.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on fails its test"
)]

mod cli_common;

use cli_common::{PATIENT, Ran, Relay, Running, laps, scratch};
use std::time::Duration;

/// A relay with a track of three groups of three lines, and one line of a fourth, that is still being published.
struct Scene {
    relay: Relay,
    /// Its first group: what comes from standard input is numbered by the time.
    first: u64,
    publisher: Running,
    _subscriber: Running,
}

fn scene() -> Scene {
    let mut relay = Relay::start(&[("LAPS_WORKERS__THREADS", "2"), PATIENT], &[]);
    let url = relay.url.clone();
    let mut subscriber = Running::start(&[], &["sub", "--insecure", "--json", &url, "test/a", "track"]);
    relay.subscribed(1);
    let mut publisher = Running::start(
        &[],
        &[
            "pub",
            "--insecure",
            "--format",
            "lines",
            "--gop",
            "3",
            &url,
            "test/a",
            "track",
            "-",
        ],
    );
    publisher.write(&(0..10).map(|line| format!("line {line}\n")).collect::<String>());
    // What one subscriber has, the relay has.
    let groups: Vec<u64> = (0..10)
        .map(|_| {
            let line = subscriber.out_line("group");
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            object["group"].as_u64().unwrap()
        })
        .collect();
    let first = *groups.iter().min().unwrap();
    Scene {
        relay,
        first,
        publisher,
        _subscriber: subscriber,
    }
}

impl Scene {
    /// Fetches a range of the track; what it says is told in groups from 0 on, too.
    fn fetch(&self, range: &str, words: &[&str]) -> Ran {
        let mut ran = self.fetch_of("track", &[&[self.range(range).as_str()], words].concat());
        for group in 0..10 {
            ran.err = ran
                .err
                .replace(&(self.first + group).to_string(), &group.to_string());
        }
        ran
    }

    /// A range of groups as they are counted here, from 0 on, as the track has them.
    fn range(&self, range: &str) -> String {
        let place = |place: &str| match place.split_once('/') {
            _ if place.is_empty() => String::new(),
            None => (self.first + place.parse::<u64>().unwrap()).to_string(),
            Some((group, object)) => format!("{}/{object}", self.first + group.parse::<u64>().unwrap()),
        };
        range.split('-').map(place).collect::<Vec<_>>().join("-")
    }

    fn fetch_of(&self, track: &str, words: &[&str]) -> Ran {
        let before = [
            "fetch",
            "--cert-hash",
            &self.relay.hash,
            &self.relay.url,
            "test/a",
            track,
        ];
        laps(&[], &[&before, words].concat())
    }
}

fn lines(numbers: &[u32]) -> String {
    numbers.iter().map(|line| format!("line {line}\n")).collect()
}

/// D14-FETCH-3 D14-FETCH-4 D14-FETCH-9
#[test]
fn each_form_of_a_range_gives_its_objects() {
    let scene = scene();
    for (range, more, want, says) in [
        (
            "1",
            &[][..],
            &[3, 4, 5][..],
            "fetched 3 objects of 1 group, 18 bytes; up to the end of group 1\n",
        ),
        (
            "0-1",
            &[],
            &[0, 1, 2, 3, 4, 5],
            "fetched 6 objects of 2 groups, 36 bytes; up to the end of group 1\n",
        ),
        (
            "1/1-2/0",
            &[],
            &[4, 5, 6],
            "fetched 3 objects of 2 groups, 18 bytes; up to 2/0\n",
        ),
        (
            "2/2",
            &[],
            &[8],
            "fetched 1 object of 1 group, 6 bytes; up to 2/2\n",
        ),
        (
            "1/2-",
            &[],
            &[5, 6, 7, 8, 9],
            "fetched 5 objects of 3 groups, 30 bytes; up to 3/0\n",
        ),
        (
            "0-",
            &["--descending"],
            &[9, 6, 7, 8, 3, 4, 5, 0, 1, 2],
            "fetched 10 objects of 4 groups, 60 bytes; up to 3/0\n",
        ),
    ] {
        let got = scene.fetch(range, &[&["--format", "lines"], more].concat());
        assert_eq!(
            (got.code, got.out.as_str(), got.err.as_str()),
            (0, lines(want).as_str(), says),
            "{range}"
        );
    }

    let file = scratch("fetched").join("raw");
    let got = scene.fetch("0/1-1/0", &["-o", file.to_str().unwrap()]);
    assert_eq!((got.code, got.out.as_str()), (0, ""), "{}", got.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "line 1line 2line 3");
}

#[test]
fn json_has_a_line_for_each_object_and_says_where_it_comes_from() {
    let scene = scene();
    let got = scene.fetch("0/2-1/0", &["--json"]);
    assert_eq!(got.code, 0, "{}", got.err);
    let places: Vec<_> = got
        .out
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&object["source"], &object["len"]), (&"fetch".into(), &6.into()));
            assert!(object.get("latency_ms").is_none());
            let place = |key: &str| object[key].as_u64().unwrap();
            (place("group") - scene.first, place("object"))
        })
        .collect();
    assert_eq!(places, [(0, 2), (1, 0)]);
}

/// D14-FETCH-7 D14-FETCH-9
#[test]
fn less_than_was_asked_for_ends_with_4_and_says_what_is_missing() {
    let scene = scene();
    for (range, want, says) in [
        (
            "2/2-5",
            &[8, 9][..],
            "2/2-5 was asked for, it reaches up to 3/0 so far",
        ),
        ("3", &[9], "3/0-3 was asked for, it reaches up to 3/0 so far"),
        ("3/1", &[], "the range starts behind its largest one"),
        ("7-", &[], "the range starts behind its largest one"),
        ("0/7-0/9", &[], "no objects exist in the range"),
    ] {
        let got = scene.fetch(range, &["--format", "lines"]);
        assert_eq!(
            (got.code, got.out.as_str()),
            (4, lines(want).as_str()),
            "{range}: {}",
            got.err
        );
        let (tally, why) = got.err.trim_end().split_once('\n').unwrap();
        assert!(
            tally.starts_with(&format!("fetched {} object", want.len())),
            "{tally}"
        );
        assert!(
            why.starts_with("laps: track test/a:track: ") && why.contains(says) && why.lines().count() == 1,
            "{range}: {why}"
        );
    }
    let got = scene.fetch_of("nothing", &["0-"]);
    assert_eq!(got.code, 4, "{}", got.err);
    assert!(
        got.err.contains("laps: track test/a:nothing: does not exist"),
        "{}",
        got.err
    );
}

#[test]
fn a_wrong_range_is_a_usage_error_before_anything_is_asked() {
    let ran = laps(&[], &["fetch", "moqt://127.0.0.1:1", "a", "b", "5-3"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("`5-3` ends before it starts"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

/// D14-FETCH-6: what the relay does not know it asks of the publisher, who does not answer.
#[test]
fn a_fetch_that_gets_no_further_ends_by_timeout_or_signal_with_what_came() {
    let scene = scene();
    scene.publisher.signal("STOP");
    // The relay has the objects of group 1, but only the publisher knows whether they are all.
    let got = scene.fetch("1-2", &["--format", "lines", "--timeout", "0.5"]);
    assert_eq!(
        (got.code, got.out.as_str()),
        (4, lines(&[3, 4, 5]).as_str()),
        "{}",
        got.err
    );
    let (tally, why) = got.err.trim_end().split_once('\n').unwrap();
    assert_eq!(tally, "fetched 3 objects of 1 group, 18 bytes");
    assert!(
        why.contains("track test/a:track: nothing came for 0.5 s; wait longer with --timeout"),
        "{why}"
    );

    let (url, range) = (&scene.relay.url, scene.range("1-2"));
    let words = [
        "fetch",
        "--insecure",
        "--format",
        "lines",
        "--timeout",
        "60",
        url,
        "test/a",
        "track",
        &range,
    ];
    let mut fetching = Running::start(&[], &words);
    fetching.out_line("line 5");
    fetching.signal("INT");
    let (ended, took) = fetching.finish();
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (0, "fetched 3 objects of 1 group, 18 bytes\n")
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    scene.publisher.signal("CONT");
}

/// D14-FETCH-6
#[test]
fn a_fetch_that_the_relay_gives_up_ends_with_4() {
    let scene = scene();
    scene.publisher.signal("STOP");
    // The group before the first one that the relay has seen: only the publisher can say whether it exists.
    let range = format!("{}-{}", scene.first - 1, scene.first);
    let words = ["--descending", "--format", "lines", "--timeout", "60"];
    let got = scene.fetch_of("track", &[&[range.as_str()], &words[..]].concat());
    assert_eq!(
        (got.code, got.out.as_str()),
        (4, lines(&[0, 1, 2]).as_str()),
        "{}",
        got.err
    );
    let (_, why) = got.err.trim_end().split_once('\n').unwrap();
    assert!(
        why.contains("cut short: ") || why.contains("its publisher did not answer in time"),
        "{why}"
    );
    scene.publisher.signal("CONT");
}
