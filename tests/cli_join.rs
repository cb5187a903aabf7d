//! `laps sub --join` writes what came before the subscription, then what comes live, each object once and in order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on fails its test"
)]

mod cli_common;

use cli_common::{PATIENT, Relay, Running};

const GROUP: u32 = 4;

/// A relay with a track of so many lines, four to a group, that is still being published, and one who reads it all.
struct Scene {
    relay: Relay,
    publisher: Running,
    first: Running,
}

fn scene(lines: std::ops::Range<u32>) -> Scene {
    let mut relay = Relay::start(&[("LAPS_WORKERS__THREADS", "2"), PATIENT], &[]);
    let url = relay.url.clone();
    let mut first = Running::start(
        &[],
        &["sub", "--insecure", "--format", "lines", &url, "test/j", "track"],
    );
    relay.subscribed(1);
    let gop = GROUP.to_string();
    let mut publisher = Running::start(
        &[],
        &[
            "pub",
            "--insecure",
            "--format",
            "lines",
            "--gop",
            &gop,
            &url,
            "test/j",
            "track",
            "-",
        ],
    );
    publisher.write(&text(lines.clone()));
    // What one subscriber has, the relay has.
    for line in lines {
        first.out_line(&format!("line {line}"));
    }
    Scene {
        relay,
        publisher,
        first,
    }
}

impl Scene {
    /// Starts a subscriber, and waits until the relay knows what it wants.
    fn join(&mut self, words: &[&str], fetches: bool) -> Running {
        let url = self.relay.url.clone();
        let all = [&["sub", "--insecure"], words, &[&url, "test/j", "track"]].concat();
        let subscriber = Running::start(&[], &all);
        self.relay.subscribed(1);
        if fetches {
            self.relay.process.err_line(" FETCH,");
        }
        subscriber
    }

    /// Publishes these lines, and waits until they have arrived.
    fn publish(&mut self, lines: std::ops::Range<u32>) {
        self.publisher.write(&text(lines.clone()));
        for line in lines {
            self.first.out_line(&format!("line {line}"));
        }
    }
}

fn text(lines: std::ops::Range<u32>) -> String {
    lines.map(|line| format!("line {line}\n")).collect()
}

/// D14-FETCH-11 D14-FETCH-12 D14-FETCH-13
#[test]
fn the_past_comes_first_then_the_present() {
    let mut scene = scene(0..10);
    // The current group is that of lines 8 and 9.
    for (words, from) in [
        (&["--join"][..], 8),
        (&["--join=1"], 4),
        (&["--join=2"], 0),
        // Further back than the track goes.
        (&["--join-from", "0"], 0),
    ] {
        let mut subscriber = scene.join(&[words, &["--format", "lines"]].concat(), true);
        subscriber.out_line("line 9");
        subscriber.signal("INT");
        let (got, _) = subscriber.finish();
        assert_eq!(
            (got.code, got.out.as_str(), got.err.as_str()),
            (0, text(from..10).as_str(), ""),
            "{words:?}"
        );
    }

    let mut late = scene.join(&["--join=1", "--format", "lines"], true);
    late.out_line("line 4");
    scene.publish(10..14);
    late.out_line("line 13");
    let mut counted = scene.join(&["--join=1", "--json", "--count", "8"], true);
    // What came before is there; the end of the track is no part of this.
    for _ in 8..14 {
        counted.out_line("\"source\":\"fetch\"");
    }
    scene.publish(14..17);
    scene.publisher.end_input();
    let (got, _) = late.finish();
    assert_eq!(
        (got.code, got.out.as_str(), got.err.as_str()),
        (0, text(4..17).as_str(), "")
    );
    // Lines 8 to 13 were there, the other two came.
    let (got, _) = counted.finish();
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let objects: Vec<serde_json::Value> = got
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let fetched = objects
        .iter()
        .filter(|object| object["source"] == "fetch")
        .count();
    assert_eq!((objects.len(), fetched), (8, 6));
    let places: Vec<_> = objects
        .iter()
        .map(|object| {
            (
                object["group"].as_u64().unwrap(),
                object["object"].as_u64().unwrap(),
            )
        })
        .collect();
    assert!(places.windows(2).all(|two| two[0] < two[1]), "{places:?}");
    assert_eq!(scene.publisher.finish().0.code, 0);
}

/// D14-FETCH-11
#[test]
fn a_track_without_a_past_is_just_subscribed_to() {
    let mut scene = scene(0..0);
    let mut early = scene.join(&["-d", "--join", "--format", "lines"], false);
    early.err_line("subscribed, largest: none");
    scene.publish(0..6);
    scene.publisher.end_input();
    let (got, _) = early.finish();
    assert_eq!((got.code, got.out.as_str()), (0, text(0..6).as_str()));
    assert!(!got.err.contains("laps: "), "{}", got.err);
    // A group that has not begun has no past either.
    let mut scene = self::scene(0..2);
    let words = ["-d", "--join-from", "4611686018427387903", "--format", "lines"];
    let mut ahead = scene.join(&words, false);
    ahead.err_line("subscribed, largest: ");
    scene.publish(2..3);
    scene.publisher.end_input();
    let (got, _) = ahead.finish();
    assert_eq!((got.code, got.out.as_str()), (0, text(2..3).as_str()));
    assert!(!got.err.contains("laps: "), "{}", got.err);
}

/// D14-FETCH-16: what cannot be had is given up, and what is live comes all the same.
#[test]
fn a_past_that_does_not_come_is_said_once_and_ends_with_4() {
    let mut scene = scene(0..10);
    // Only the publisher knows whether the four objects of the group before are all.
    scene.publisher.signal("STOP");
    let mut late = scene.join(&["--join=1", "--timeout", "0.5", "--format", "lines"], true);
    let said = late.err_line("laps: ");
    assert!(
        said.contains(
            "track test/j/track: the fetch of what came before: nothing came for 0.5 s; going on live"
        ),
        "{said}"
    );
    scene.publisher.signal("CONT");
    scene.publish(10..13);
    scene.publisher.end_input();
    let (got, _) = late.finish();
    assert_eq!(
        (got.code, got.out.as_str()),
        (4, (text(4..8) + &text(10..13)).as_str()),
        "{}",
        got.err
    );
    let said: Vec<_> = got.err.lines().collect();
    assert_eq!(said.len(), 2, "{}", got.err);
    assert!(
        said[1].ends_with("the fetch of what came before: nothing came for 0.5 s"),
        "{}",
        got.err
    );
}
