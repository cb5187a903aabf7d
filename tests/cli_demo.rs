//! `laps demo` is a check of its own: it ends with 0 only when every viewer got everything through three relays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cli_common;

use cli_common::{Running, laps};

/// How many objects the last line tells of.
fn sent(out: &str) -> u64 {
    let last = out.lines().last().expect("a line");
    let number = last.split(' ').next().and_then(|word| word.parse().ok());
    assert!(
        last.ends_with("objects sent, and each of 3 viewers got each of them once"),
        "{last}"
    );
    number.expect("a number")
}

#[test]
fn a_demo_ends_by_itself() {
    let ran = laps(&[], &["demo", "--seconds", "3"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    // A busy machine makes fewer ticks; none is made up for.
    assert!(sent(&ran.out) > 0, "{}", ran.out);
    for said in [
        "clock > edge-1 127.0.0.1:",
        "> via > edge-2 127.0.0.1:",
        "join in from another terminal:",
    ] {
        assert!(ran.out.contains(said), "{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "this is no terminal: {}", ran.out);
}

#[test]
fn whoever_joins_in_sees_the_clock_and_a_signal_ends_the_demo() {
    let mut demo = Running::start(&[], &["demo"]);
    let line = demo.out_line("laps sub ");
    // A line each second says that it runs.
    demo.out_line("viewer at edge-2 ");
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let ran = laps(&[], &[&words[..], &["--count", "2"]].concat());
    assert_eq!(
        (ran.code, ran.out.lines().count()),
        (0, 2),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(
        ran.out
            .lines()
            .all(|time| time.starts_with("20") && time.ends_with('Z')),
        "{}",
        ran.out
    );
    demo.signal("INT");
    let (ran, _) = demo.finish();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(sent(&ran.out) > 0);
}
