//! `laps health` and `laps doctor`, beside a relay and without one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on fails its test"
)]

mod cli_common;

use cli_common::{Relay, Running, laps, scratch};
use laps_actors::transport::{Buffers, TransportConfig};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

/// A port that nobody has, or had at that moment.
fn free_port() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port().to_string()
}

#[test]
fn a_relay_that_answers_is_well_and_one_that_does_not_is_told() {
    let secret = (
        "LAPS_AUTH__SECRET",
        "a secret of more than thirty-two bytes, it is",
    );
    let mut relay = Relay::start(&[secret], &[]);
    let port = relay.url.rsplit(':').next().unwrap().to_owned();
    let by_url = laps(&[], &["health", "--url", &relay.url]);
    assert_eq!((by_url.code, by_url.err.as_str()), (0, ""));
    assert!(
        by_url.out.starts_with("ok: ") && by_url.out.lines().count() == 1,
        "{}",
        by_url.out
    );
    let by_configuration = laps(&[("LAPS_RELAY__PORT", &port), secret], &["health"]);
    assert_eq!(by_configuration.code, 0, "{}", by_configuration.err);
    // It looks at the certificate when it is told which one to expect.
    let hash = "00".repeat(32);
    let other = laps(&[], &["health", "--url", &relay.url, "--cert-hash", &hash]);
    assert_eq!(other.code, 1, "{}", other.out);
    // The relay notes the visits, for a developer only.
    let line = relay.process.err_line("health check");
    assert!(line.contains("DEBG"), "{line}");
    relay.process.signal("INT");
    let (ran, _) = relay.process.finish();
    let told = |line: &&str| line.contains("INFO") && !line.contains("shard") && line.contains("conn");
    assert_eq!(ran.err.lines().filter(told).count(), 0, "{}", ran.err);
    let gone = laps(&[("LAPS_RELAY__PORT", &port)], &["health"]);
    assert_eq!(
        (gone.code, gone.out.as_str(), gone.err.lines().count()),
        (1, "", 1),
        "{}",
        gone.err
    );
}

/// Issue 7, "Docker": on a Via, which takes no clients, CONNECT on the port for relays with its own certificate.
#[test]
fn a_via_is_asked_as_relays_ask_it() {
    let dir = scratch("a_via_is_asked_as_relays_ask_it");
    let out = dir.to_string_lossy().into_owned();
    for (ca, node) in [("mesh", "1:1"), ("other", "1:1")] {
        let made = laps(
            &[],
            &["cert", "ca", "--out", &format!("{out}/{ca}"), "--node", node],
        );
        assert_eq!(made.code, 0, "{}", made.err);
    }
    let port = free_port();
    let files = |ca: &str| ["ca", "node-1-1", "node-1-1-key"].map(|name| format!("{out}/{ca}/{name}.pem"));
    let (ours, others) = (files("mesh"), files("other"));
    let env = |[ca, cert, key]: &[String; 3]| {
        let set = [
            ("LAPS_PEERING__CA", ca.clone()),
            ("LAPS_PEERING__CERT", cert.clone()),
            ("LAPS_PEERING__KEY", key.clone()),
            ("LAPS_PEERING__NODE_TYPE", "via".to_owned()),
            ("LAPS_PEERING__BIND", "127.0.0.1".to_owned()),
            ("LAPS_PEERING__PORT", port.clone()),
            ("LAPS_RELAY__ENDPOINT_ID", "1:1".to_owned()),
        ];
        set.to_vec()
    };
    let ask = |files: &[String; 3]| {
        let env = env(files);
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        laps(&env, &["health"])
    };
    let set = env(&ours);
    let set: Vec<_> = set.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let relay = Relay::start(&set, &[]);
    let well = ask(&ours);
    assert_eq!((well.code, well.err.as_str()), (0, ""));
    assert!(well.out.contains("takes links"), "{}", well.out);
    // What cannot prove to be the via is not let in, and so cannot say that it is well.
    let stranger = ask(&others);
    assert_eq!(
        (stranger.code, stranger.out.as_str()),
        (1, ""),
        "{}",
        stranger.err
    );
    relay.process.signal("INT");
    let (ran, _) = relay.process.finish();
    // A health check's link is none: it never stands, it is gone with its answer, and none is left to end.
    for line in ["link stands", "link closes", "WARN"] {
        assert!(!ran.err.contains(line), "{line}: {}", ran.err);
    }
    assert!(ran.err.contains("go around this relay, links: 0"), "{}", ran.err);
    assert_eq!(ask(&ours).code, 1);
}

#[test]
fn the_admin_port_is_told_and_a_named_one_that_is_taken_ends_the_start() {
    let mut relay = Relay::start(&[("LAPS_ADMIN__PORT", "0")], &[]);
    let line = relay.process.out_line("admin port http://");
    let addr = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ready\n"),
        "{answer}"
    );
    let port = addr.rsplit(':').next().unwrap();
    let second = laps(
        &[("LAPS_ADMIN__PORT", port)],
        &["relay", "-b", "127.0.0.1", "-p", "0"],
    );
    assert_eq!(second.code, 1, "{}", second.err);
    let last = second.err.lines().last().unwrap();
    assert!(
        last.starts_with("laps: relay: ") && last.contains("admin.port"),
        "{last}"
    );
}

/// As large as it asks for or not depends on the machine; what it says has to fit.
#[test]
fn small_buffers_of_the_kernel_are_told_once() {
    let asked = TransportConfig::default().kernel_buffer;
    let given = Buffers::granted(asked).unwrap();
    let expected = usize::from(given.receive < asked || given.send < asked);
    let relay = Relay::start(&[("LAPS_WORKERS__THREADS", "2")], &[]);
    relay.process.signal("INT");
    let (ran, _) = relay.process.finish();
    assert_eq!(
        ran.err.matches("smaller UDP buffers").count(),
        expected,
        "{}",
        ran.err
    );
    assert_eq!(
        ran.err.matches("net.core.rmem_max").count(),
        expected,
        "{}",
        ran.err
    );
}

#[test]
fn what_cannot_be_asked_says_why() {
    let unnamed = laps(&[("LAPS_RELAY__PORT", "0")], &["health"]);
    assert_eq!(unnamed.code, 3);
    assert!(unnamed.err.contains("--url"), "{}", unnamed.err);
    assert_eq!(laps(&[], &["health", "--url", "nonsense"]).code, 2);
}

/// Asks the doctor, and takes what it says as JSON: its code, and the state and the advice of a check.
fn doctor(env: &[(&str, &str)], check: &str) -> (i32, String, String) {
    let ran = laps(env, &["doctor", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
    let text = |name: &str| finding[name].as_str().unwrap().to_owned();
    (ran.code, text("state"), text("advice"))
}

#[test]
fn the_doctor_looks_at_ports_and_certificate() {
    let (udp, tcp) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let admin = tcp.local_addr().unwrap().port().to_string();
    let env = |admin| {
        [
            ("LAPS_RELAY__BIND", "127.0.0.1"),
            ("LAPS_RELAY__PORT", udp.as_str()),
            ("LAPS_ADMIN__PORT", admin),
        ]
    };
    let (code, state, advice) = doctor(&env(&admin), "admin port");
    assert_eq!((code, state.as_str()), (1, "fail"), "{advice}");
    let all_well = laps(&env("off"), &["doctor"]);
    assert_eq!(all_well.code, 0, "{}{}", all_well.out, all_well.err);
    assert!(all_well.out.contains("ok    UDP port"), "{}", all_well.out);
    // Somebody else is there, and then a relay is.
    let held = UdpSocket::bind(("127.0.0.1", udp.parse().unwrap())).unwrap();
    let (code, state, advice) = doctor(&env("off"), "UDP port");
    assert_eq!((code, state.as_str()), (1, "fail"));
    assert!(advice.contains("ss -ulpn"), "{advice}");
    drop(held);
    let mut relay = Running::start(&env("off"), &["relay"]);
    relay.out_line("listening on ");
    assert_eq!(doctor(&env("off"), "UDP port").1, "ok");
    drop(relay);
    let mut with_certificate = env("off").to_vec();
    with_certificate.extend([
        ("LAPS_TLS__CERT", "missing.pem"),
        ("LAPS_TLS__KEY", "missing.pem"),
    ]);
    assert_eq!(doctor(&with_certificate, "certificate").1, "fail");
    let mut without_state = env("off").to_vec();
    without_state.push(("XDG_STATE_HOME", "/dev/null"));
    let (code, state, advice) = doctor(&without_state, "state folder");
    assert_eq!((code, state.as_str()), (0, "warn"));
    assert!(advice.contains("XDG_STATE_HOME"), "{advice}");
    let (code, state, _) = doctor(&[("LAPS_RELAY__PORT", "many")], "configuration");
    assert_eq!((code, state.as_str()), (1, "fail"));
}

/// Certificates for the nodes 1:1 and 1:2, of a CA of their own, and how a relay is configured with them.
fn members(name: &str) -> impl Fn(u8) -> Vec<(&'static str, String)> {
    let dir = scratch(name);
    let out = dir.to_str().unwrap();
    let made = laps(
        &[],
        &["cert", "ca", "--out", out, "--node", "1:1", "--node", "1:2"],
    );
    assert_eq!(made.code, 0, "{}", made.err);
    move |number| {
        let file = |name: String| dir.join(name).to_str().unwrap().to_owned();
        vec![
            ("LAPS_RELAY__BIND", "127.0.0.1".to_owned()),
            ("LAPS_RELAY__ENDPOINT_ID", format!("1:{number}")),
            ("LAPS_ADMIN__PORT", "off".to_owned()),
            ("LAPS_PEERING__BIND", "127.0.0.1".to_owned()),
            ("LAPS_PEERING__CA", file("ca.pem".to_owned())),
            ("LAPS_PEERING__CERT", file(format!("node-1-{number}.pem"))),
            ("LAPS_PEERING__KEY", file(format!("node-1-{number}-key.pem"))),
        ]
    }
}

fn borrowed<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    env.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Issue 7, "First aid": reachability of configured peers.
#[test]
fn the_doctor_asks_peers_whether_they_let_us_in() {
    let (ours, strangers) = (members("health-mesh"), members("health-other-mesh"));
    let (clients, relays) = (free_port(), free_port());
    let mut via = ours(1);
    via.extend([
        ("LAPS_RELAY__PORT", clients),
        ("LAPS_PEERING__PORT", relays.clone()),
        ("LAPS_PEERING__NODE_TYPE", "via".to_owned()),
    ]);
    let mut relay = Running::start(&borrowed(&via), &["relay", "-d"]);
    relay.out_line("listening on ");
    let at = format!("127.0.0.1:{relays}");
    let asks = |mut env: Vec<(&'static str, String)>| {
        env.extend([
            ("LAPS_RELAY__PORT", free_port()),
            ("LAPS_PEERING__PORT", free_port()),
            ("LAPS_PEERING__PEERS", at.clone()),
        ]);
        doctor(&borrowed(&env), "peer")
    };
    let (_, state, advice) = asks(ours(2));
    assert_eq!((state.as_str(), advice.as_str()), ("ok", ""));
    // Of another CA.
    let (_, state, advice) = asks(strangers(2));
    assert_eq!(state, "warn");
    assert!(advice.contains("one CA"), "{advice}");
    drop(relay);
    let (_, state, advice) = asks(ours(2));
    assert_eq!(state, "warn");
    assert!(advice.contains("UDP"), "{advice}");
}
