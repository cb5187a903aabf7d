//! `laps ns` as one types it: lists and watches what a relay knows below a prefix.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{Relay, Running, laps};

fn publisher(relay: &Relay, namespace: &str, track: &str, flow: &str) -> Running {
    let words = [
        "pub",
        "--flow",
        flow,
        "--cert-hash",
        &relay.hash,
        &relay.url,
        namespace,
        track,
        "clock",
    ];
    Running::start(&[], &words)
}

/// D14-NS-2 D14-NS-13
#[test]
fn it_shows_what_is_there_and_every_change() {
    let relay = Relay::start(&[], &[]);
    let mut watching = Running::start(&[], &["ns", "--cert-hash", &relay.hash, &relay.url, "live"]);
    let first = publisher(&relay, "live/cam%2f1", "video", "announce");
    assert_eq!(watching.out_line("cam"), "+ live/cam%2f1");
    let second = publisher(&relay, "live", "audio", "publish");
    assert_eq!(watching.out_line("audio"), "+ live audio");
    let elsewhere = publisher(&relay, "lively", "x", "announce");
    drop(first);
    // A process that is killed says no goodbye, so this one is asked to end.
    second.signal("INT");
    assert_eq!(second.finish().0.code, 0);
    let third = publisher(&relay, "live/z", "video", "announce");
    assert_eq!(watching.out_line("/z"), "+ live/z");
    third.signal("INT");
    assert_eq!(third.finish().0.code, 0);
    assert_eq!(watching.out_line("/z"), "- live/z");
    watching.signal("INT");
    let (ended, _) = watching.finish();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(!ended.out.contains("lively"), "{}", ended.out);
    drop(elsewhere);
}

/// D14-NS-2: the list is whole when it ends, and says nothing when there is nothing.
#[test]
fn once_ends_with_the_list() {
    let relay = Relay::start(&[], &[]);
    let list = |more: &[&str]| {
        let words = ["ns", "--once", "--cert-hash", &relay.hash, &relay.url, "live"];
        let words: Vec<&str> = words.iter().chain(more).copied().collect();
        let ran = laps(&[], &words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(list(&[]), [""; 0]);
    let mut running = Vec::new();
    let mut watching = Running::start(&[], &["ns", "--cert-hash", &relay.hash, &relay.url, "live"]);
    for n in 0..3 {
        running.push(publisher(&relay, &format!("live/{n}"), "video", "announce"));
        watching.out_line(&format!("live/{n}"));
    }
    running.push(publisher(&relay, "live", "audio", "publish"));
    watching.out_line("audio");
    assert_eq!(list(&[]), ["+ live audio", "+ live/0", "+ live/1", "+ live/2"]);
    let json: Vec<serde_json::Value> = list(&["--json"])
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json.len(), 4);
    assert!(json.contains(&serde_json::json!({"change": "+", "namespace": "live", "track": "audio"})));
    assert!(json.contains(&serde_json::json!({"change": "+", "namespace": "live/1"})));
}

/// What is wrong is named, with the exit code of its kind.
#[test]
fn faults_are_named() {
    let relay = Relay::start(&[], &[]);
    let wrong = laps(&[], &["ns", &relay.url, "live/%"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.starts_with("laps: PREFIX: "), "{}", wrong.err);
    let nobody = laps(&[], &["ns", "--once", "--insecure", "moqt://127.0.0.1:9", "live"]);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.starts_with("laps: moqt://127.0.0.1:9: "),
        "{}",
        nobody.err
    );
    // With --retry 0 the end of the relay is the end of the watching, and is told.
    let url = relay.url.clone();
    let words = [
        "ns",
        "--retry",
        "0",
        "--cert-hash",
        &relay.hash,
        &relay.url,
        "live",
    ];
    let mut watching = Running::start(&[], &words);
    let shown = publisher(&relay, "live/a", "video", "announce");
    watching.out_line("+ live/a");
    relay.process.signal("INT");
    let (ended, _) = watching.finish();
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with(&format!("laps: {url}: ")), "{}", ended.err);
    drop(shown);
}

/// D14-GOAWAY-1 D14-GOAWAY-2: it does not move, and says where the relay sends it.
#[test]
fn it_ends_when_the_relay_asks_it_to_leave() {
    let next = ("LAPS_DRAIN__URI", "moqt://elsewhere:1");
    let relay = Relay::start(&[next, ("LAPS_DRAIN__GRACE", "3600")], &[]);
    let url = relay.url.clone();
    let mut watching = Running::start(&[], &["ns", "--cert-hash", &relay.hash, &relay.url, "live"]);
    let shown = publisher(&relay, "live/a", "video", "announce");
    watching.out_line("+ live/a");
    relay.process.signal("TERM");
    let (ended, _) = watching.finish();
    let says = format!(
        "laps: {url}: the relay asked to leave, its new address is moqt://elsewhere:1; ask there again\n"
    );
    assert_eq!((ended.code, ended.err), (4, says));
    drop(shown);
}

/// D14-NS-2: what the next relay knows is compared with what was shown.
#[test]
fn it_is_back_when_the_relay_is_started_again() {
    let relay = Relay::start(&[], &[]);
    let url = relay.url.clone();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let mut watching = Running::start(&[], &["ns", "--insecure", &url, "live"]);
    let gone = publisher(&relay, "live/gone", "video", "announce");
    watching.out_line("+ live/gone");
    gone.signal("KILL");
    relay.process.signal("KILL");
    drop((gone, relay));
    let mut again = Running::start(&[], &["relay", "-b", "127.0.0.1", "-p", &port]);
    again.out_line("listening on ");
    watching.err_line(&format!("connection to {url}/ lost ("));
    watching.err_line(&format!("back at {url}/ after "));
    assert_eq!(watching.out_line("/gone"), "- live/gone");
    let words = ["pub", "--insecure", &url, "live/new", "video", "clock"];
    let new = Running::start(&[], &words);
    assert_eq!(watching.out_line("/new"), "+ live/new");
    watching.signal("INT");
    let (ended, _) = watching.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
    drop((new, again));
}
