//! A relay with a secret, and its clients with and without tokens, as one types it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{Ran, Relay, Running, laps, scratch};
use std::fs;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn line(text: &str) -> String {
    text.trim_end().to_owned()
}

/// What `laps token` prints.
fn token(words: &[&str]) -> String {
    let words: Vec<&str> = ["token"].iter().chain(words).copied().collect();
    let ran = laps(&[("LAPS_AUTH__SECRET", SECRET)], &words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    line(&ran.out)
}

/// A client with these variables and words in front of its names.
fn client(relay: &Relay, env: &[(&str, &str)], verb: &str, words: &[&str], names: &[&str]) -> Ran {
    let mut all = vec![verb, "--cert-hash", &relay.hash];
    all.extend(words);
    all.push(&relay.url);
    all.extend(names);
    laps(env, &all)
}

/// D14-AUTH-11 D14-SETUP-24 D14-LIB-6
#[test]
fn clients_need_a_token_that_allows_what_they_do() {
    let dir = scratch("cli_token");
    let secret_file = dir.join("secret");
    fs::write(&secret_file, format!("{SECRET}\n")).unwrap();
    let file = secret_file.to_str().unwrap();
    let relay = Relay::start(&[("LAPS_AUTH__SECRET_FILE", file)], &[]);
    let publisher = token(&["--publish", "live/cam1"]);
    let publishing = |words: &[&str]| -> Running {
        let mut all = vec!["pub", "--cert-hash", &relay.hash];
        all.extend(words);
        all.extend([relay.url.as_str(), "live/cam1", "video", "clock"]);
        Running::start(&[], &all)
    };
    let sending = publishing(&["--token", &publisher]);

    // Good ones: the secret itself from its file, a signed one from the environment.
    let names = ["live/cam1", "video"];
    let got = client(
        &relay,
        &[],
        "sub",
        &["--token-file", file, "--count", "1"],
        &names,
    );
    assert_eq!(got.code, 0, "{}", got.err);
    let viewer = token(&["--subscribe", "live"]);
    let mine = [("LAPS_TOKEN", viewer.as_str())];
    let got = client(&relay, &mine, "sub", &["--count", "1"], &names);
    assert_eq!(got.code, 0, "{}", got.err);
    let got = client(&relay, &mine, "ns", &["--once"], &["live"]);
    assert_eq!(
        (got.code, line(&got.out).as_str()),
        (0, "+ live/cam1"),
        "{}",
        got.err
    );
    let got = client(&relay, &mine, "fetch", &[], &["live/cam1", "video", "0-"]);
    assert!(!got.err.contains("refused"), "{}", got.err);

    // None, or one for something else.
    let other = token(&["--allow", "fetch:archive"]);
    let unauthorized = "unauthorized";
    let remedy = "pass a token that allows it with --token or --token-file";
    for words in [&[][..], &["--token", &other]] {
        for (verb, names) in [
            ("sub", &["live/cam1", "video"][..]),
            ("ns", &["live"]),
            ("fetch", &["live/cam1", "video", "0-"]),
            ("pub", &["live/cam2", "video", "clock"]),
        ] {
            let got = client(&relay, &[], verb, words, names);
            assert_eq!(got.code, 1, "{verb}: {}", got.err);
            assert_eq!(
                got.err.lines().last().map(|last| last.matches(&remedy).count()),
                Some(1),
                "{}",
                got.err
            );
            assert!(got.err.contains(unauthorized), "{}", got.err);
        }
    }
    // A prefix that is shorter than what the token covers; a namespace beside it.
    let got = client(
        &relay,
        &[],
        "ns",
        &["--token", &token(&["--subscribe", "live/cam1"])],
        &["live"],
    );
    assert!(got.code == 1 && got.err.contains(unauthorized), "{}", got.err);
    // One that is none: the session ends.
    let got = client(&relay, &[], "sub", &["--token", "sesame"], &names);
    assert_eq!(got.code, 1);
    assert!(
        got.err.contains("the relay refused the token") && got.err.contains("pass another token"),
        "{}",
        got.err
    );
    drop(sending);
    relay.process.signal("INT");
    let (ended, _) = relay.process.finish();
    // D14-AUTH-10: not even at debug level.
    for secret in [SECRET, &publisher, &viewer, &other, "sesame"] {
        assert!(!ended.err.contains(secret) && !ended.out.contains(secret));
    }
}

/// D14-LIM-2: who is refused says goodbye, so that the next from the same address finds its place free.
#[test]
fn a_refused_client_leaves_nothing_behind() {
    let env = [
        ("LAPS_AUTH__SECRET", SECRET),
        ("LAPS_LIMITS__PREFIX_CONNECTIONS", "1"),
    ];
    let relay = Relay::start(&env, &[]);
    for (verb, names) in [
        ("sub", &["live/cam1", "video"][..]),
        ("ns", &["live"]),
        ("fetch", &["live/cam1", "video", "0-"]),
        ("pub", &["live/cam2", "video", "clock"]),
        ("sub", &["live/cam1", "video"]),
    ] {
        // The relay takes note of a goodbye a moment after it was said.
        let mut tries = (0..20).map(|_| client(&relay, &[], verb, &[], names));
        let refused = tries.any(|got| got.err.contains("unauthorized"));
        assert!(refused, "{verb}");
    }
}

/// The line is for relays that are open, and only for those.
#[test]
fn open_relay_is_said_of_open_relays() {
    let starts = |env: &[(&str, &str)]| {
        // Nobody on the network of whoever runs the tests is to find it.
        let env = [env, &[("LAPS_DISCOVERY__MDNS", "off")]].concat();
        let mut relay = Running::start(&env, &["relay", "-b", "0.0.0.0", "-p", "0"]);
        relay.out_line("certificate SHA-256");
        relay.signal("INT");
        relay.finish().0.out
    };
    assert!(starts(&[]).contains("OPEN RELAY"));
    assert!(!starts(&[("LAPS_AUTH__SECRET", SECRET)]).contains("OPEN RELAY"));
}

/// Whatever is wrong with a secret, the relay does not start without one.
#[test]
fn a_secret_that_is_none_opens_nothing() {
    let dir = scratch("cli_token_secrets");
    let short = dir.join("short");
    fs::write(&short, "short\n").unwrap();
    let short = short.to_str().unwrap();
    for (env, named) in [
        (("LAPS_AUTH__SECRET", ""), "LAPS_AUTH__SECRET: is set to nothing"),
        (
            ("LAPS_AUTH__SECRET_FILE", ""),
            "LAPS_AUTH__SECRET_FILE: is set to nothing",
        ),
        (
            ("LAPS_AUTH__SECRET", "hunter2"),
            "LAPS_AUTH__SECRET: auth.secret: 7 bytes are too few",
        ),
        (
            ("LAPS_AUTH__SECRET_FILE", "/nowhere"),
            "auth.secret_file /nowhere: No such file",
        ),
        (("LAPS_AUTH__SECRET_FILE", short), "5 bytes are too few"),
    ] {
        let ran = laps(&[env], &["relay", "-b", "127.0.0.1", "-p", "0"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(
            ran.err.contains(named) && !ran.err.contains("hunter2"),
            "{}",
            ran.err
        );
    }
}

/// D14-AUTH-10: a dump has everything but the secret, and cannot be taken for a configuration without one.
#[test]
fn a_secret_is_never_shown() {
    let dir = scratch("cli_token_dump");
    let ran = laps(&[("LAPS_AUTH__SECRET", SECRET)], &["config", "dump"]);
    assert_eq!(ran.code, 0);
    assert!(
        !ran.out.contains(SECRET) && ran.out.contains("secret = \"(not shown)\""),
        "{}",
        ran.out
    );
    let dumped = dir.join("dump.toml");
    fs::write(&dumped, &ran.out).unwrap();
    let ran = laps(&[], &["config", "check", dumped.to_str().unwrap()]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("auth.secret") && ran.err.contains("was not filled in"),
        "{}",
        ran.err
    );
    // Faults of a file name the line and do not repeat it.
    for text in [
        format!("[auth]\nsecret = \"{SECRET}\n"),
        format!("[auth]\nsecret = {SECRET}\n"),
        format!("[auth]\nsecret = [\"{SECRET}\"]\n"),
        format!("[auth]\nsecret = \"\"\"\n{SECRET}\\q\n\"\"\"\n"),
        format!("auth = {{ secret = \"{SECRET}\n"),
        format!("[auth]\nsecret = 77{}\n", "7".repeat(10)),
    ] {
        let broken = dir.join("broken.toml");
        fs::write(&broken, &text).unwrap();
        let ran = laps(&[], &["config", "check", broken.to_str().unwrap()]);
        assert_eq!(ran.code, 3, "{text}");
        assert!(
            ran.err.contains("line ") && !ran.err.contains("0123456789") && !ran.err.contains("777"),
            "{}",
            ran.err
        );
    }
}

/// What `laps token` says of itself, and of what it cannot do.
#[test]
fn a_token_is_one_line() {
    let made = token(&["--publish", "live", "--expires", "12h"]);
    assert_eq!((made.lines().count(), made.split('.').count()), (1, 3));
    assert!(!made.contains(' '));
    let help = laps(&[], &["token", "--help"]).out;
    for part in [
        "--secret-file",
        "--publish",
        "--subscribe",
        "--expires",
        "SCOPES",
        "EXAMPLES",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    for (env, words, named) in [
        (&[][..], &["--publish", "a"][..], "no secret to sign it with"),
        (&[("LAPS_AUTH__SECRET", SECRET)], &[], "it would allow nothing"),
        (
            &[("LAPS_AUTH__SECRET", "x")],
            &["--publish", "a"],
            "1 bytes are too few",
        ),
        (
            &[],
            &["--publish", "a", "--secret-file", "/nowhere"],
            "--secret-file /nowhere: ",
        ),
    ] {
        let words: Vec<&str> = ["token"].iter().chain(words).copied().collect();
        let ran = laps(env, &words);
        assert!(ran.code != 0 && ran.err.contains(named), "{}", ran.err);
    }
}
