//! `laps pub --sync` twice: one of the two is killed and started again, and the subscriber misses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{PATIENT, Relay, Running};

const GOP: u64 = 10;
const OBJECTS: usize = 200;

fn publisher(relay: &mut Relay) -> Running {
    let gop = GOP.to_string();
    let words = [
        "pub",
        "--cert-hash",
        &relay.hash,
        "--sync",
        "--rate",
        "100",
        "--gop",
        &gop,
        "--size",
        "3000",
        &relay.url,
        "test/a",
        "track",
        "synth",
    ];
    let running = Running::start(&[], &words);
    relay.process.err_line("a publisher feeds the track");
    running
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6: by a signal that it honours and by one that it cannot.
#[test]
fn a_spare_publisher_leaves_no_gap() {
    let mut relay = Relay::start(&[("LAPS_WORKERS__THREADS", "2"), PATIENT], &[]);
    let count = OBJECTS.to_string();
    let words = [
        "sub",
        "--cert-hash",
        &relay.hash,
        "--json",
        "--count",
        &count,
        &relay.url,
        "test/a",
        "track",
    ];
    let mut subscriber = Running::start(&[], &words);
    relay.subscribed(1);
    let mut publishers = [publisher(&mut relay), publisher(&mut relay)];
    let mut lines = Vec::new();
    for (round, signal) in ["KILL", "TERM", "INT", "KILL"].into_iter().enumerate() {
        // Both have begun a group before one of them goes.
        for _ in 0..3 * GOP {
            lines.push(subscriber.out_line("group"));
        }
        let mortal = publishers.get_mut(round % 2).unwrap();
        mortal.signal(signal);
        *mortal = publisher(&mut relay);
    }
    while lines.len() < OBJECTS {
        lines.push(subscriber.out_line("group"));
    }
    let (ended, _) = subscriber.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let mut places: Vec<u64> = lines
        .iter()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["group"].as_u64().unwrap() * GOP + object["object"].as_u64().unwrap()
        })
        .collect();
    places.sort_unstable();
    // The last ones may have overtaken others, on other streams.
    let settled = OBJECTS - 2 * usize::try_from(GOP).unwrap();
    let first = *places.first().unwrap();
    let expected: Vec<u64> = (first..).take(settled).collect();
    assert_eq!(
        places.get(..settled).unwrap(),
        expected,
        "each once, and none is missing"
    );
    places.dedup();
    assert_eq!(places.len(), OBJECTS);
}
