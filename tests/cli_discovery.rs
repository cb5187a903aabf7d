//! A relay that is told to keep off multicast DNS opens nothing for it. That one which is not told does is seen in
//! `scripts/test-discovery`, in a network of its own: here it would speak to that of whoever runs the tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{Running, laps};
use std::collections::BTreeSet;
use std::fs;

/// The UDP ports that a process has open.
fn ports(pid: u32) -> BTreeSet<u16> {
    let open: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    ["udp", "udp6"]
        .iter()
        .flat_map(|table| {
            fs::read_to_string(format!("/proc/{pid}/net/{table}"))
                .unwrap()
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The address with its port, and the number of the socket.
            let (local, inode) = (words.get(1)?, words.get(9)?);
            let port = local.rsplit(':').next()?;
            open.contains(*inode)
                .then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

/// What its threads are called.
fn threads(pid: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// It listens on all addresses, and is not advertised.
#[test]
fn a_relay_told_to_be_off_speaks_no_multicast_dns() {
    let env = [("LAPS_DISCOVERY__MDNS", "off"), ("LAPS_ADMIN__PORT", "off")];
    let mut relay = Running::start(&env, &["relay", "-b", "0.0.0.0", "-p", "0"]);
    let line = relay.out_line("listening on ");
    let port = line
        .split("listening on ")
        .nth(1)
        .unwrap()
        .split([',', ' '])
        .next()
        .unwrap();
    let port: u16 = port.rsplit(':').next().unwrap().parse().unwrap();
    // It serves, so all of it has started.
    let health = laps(&[("LAPS_RELAY__PORT", &port.to_string())], &["health"]);
    assert_eq!(health.code, 0, "{}", health.err);

    let open = ports(relay.pid());
    assert!(open.contains(&port), "{open:?}");
    assert!(!open.contains(&5353), "{open:?}");
    let threads = threads(relay.pid());
    assert!(
        !threads.iter().any(|name| name.contains("discovery")),
        "{threads:?}"
    );
    relay.signal("INT");
    let said = relay.finish().0;
    assert!(!said.err.contains("local network"), "{}", said.err);
}
