//! A token that the relay refuses is not shown again and again: whatever `--retry` says, the command ends with its code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{PATIENT, Relay, Running, laps, scratch};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ANOTHER: &str = "another secret of thirty-two bytes";
/// Longer than a test may take: whoever tries again fails it.
const LONG: [&str; 2] = ["--retry", "100000"];

/// Every command that comes back, with what it is to do.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("sub", &["--json", "live", "video"]),
    ("ns", &["live"]),
    ("pub", &["live", "video", "clock"]),
];

/// D14-AUTH-11
#[test]
fn at_its_start() {
    // One that is none, and one for something else.
    let other = ["token", "--subscribe", "archive"];
    let other = laps(&[("LAPS_AUTH__SECRET", SECRET)], &other).out;
    for token in ["sesame", other.trim_end()] {
        for (verb, names) in COMMANDS {
            let relay = Relay::start(&[("LAPS_AUTH__SECRET", SECRET)], &[]);
            let words = [
                &[verb, "--insecure", "--token", token],
                &LONG[..],
                &[&relay.url],
                names,
            ]
            .concat();
            let (refused, _) = Running::start(&[], &words).finish();
            assert_eq!(refused.code, 1, "{verb}: {}", refused.err);
            assert!(!refused.err.contains("trying again"), "{verb}: {}", refused.err);
            relay.process.signal("INT");
            let (relay, _) = relay.process.finish();
            let came = relay.err.matches("connection accepted").count();
            assert_eq!(came, 1, "{verb}: {}", relay.err);
        }
    }
}

/// The relay is killed, and the next one has another secret: whoever comes back is refused, and does not come again.
/// D14-AUTH-11
#[test]
fn when_it_comes_back() {
    // With a certificate that stays, the next relay can say that it knows nothing of the sessions of this one.
    let dir = scratch("cli_token_refused_again");
    let made = laps(&[], &["cert", "--out", dir.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.err);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let pair = ["-c", cert.to_str().unwrap(), "-k", key.to_str().unwrap()];
    let relay = Relay::start(&[("LAPS_AUTH__SECRET", SECRET), PATIENT], &pair);
    let url = relay.url.clone();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let mut clients = COMMANDS.map(|(verb, names)| {
        let words = [verb, "--ca", pair[1], "--token", SECRET];
        (
            verb,
            Running::start(&[], &[&words, &LONG[..], &[&url], names].concat()),
        )
    });
    for (verb, client) in &mut clients {
        match *verb {
            "sub" => drop(client.out_line("group")),
            "ns" => drop(client.out_line("+ live")),
            _ => {}
        }
    }
    relay.process.signal("KILL");
    drop(relay);
    let words = [&["relay", "-b", "127.0.0.1", "-p", &port][..], &pair].concat();
    let mut next = Running::start(&[("LAPS_AUTH__SECRET", ANOTHER)], &words);
    next.out_line("listening on ");
    for (verb, mut client) in clients {
        client.err_line("trying again");
        let (refused, _) = client.finish();
        assert_eq!(
            refused.err.matches("trying again").count(),
            1,
            "{verb}: {}",
            refused.err
        );
        assert_eq!(refused.code, 1, "{verb}: {}", refused.err);
        assert!(
            refused.err.contains("the relay refused the token"),
            "{verb}: {}",
            refused.err
        );
    }
}
