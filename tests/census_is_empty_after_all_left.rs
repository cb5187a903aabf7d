//! When everybody has left, whatever they had asked for and however they went, no table of the relay has an entry.
//!
//! The relay is a process of its own, because some tables are of the process; so are the clients, to be killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its other self talks to it"
)]

mod cli_common;
mod common;

use cli_common::{PATIENT, Relay};
use common::raw::{Raw, RawStream, raw_at, subscribe};
use common::{run, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, FetchRange, GroupOrderRequest, SubscribeFilter};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Tells this program that it is to be the clients of the relay at this address.
const ROLE: &str = "CENSUS_TEST_RELAY";
const READY: &str = "all requests are open";
const ALIAS: u64 = 7;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// Longer than the clients take to open everything on a busy machine, and short enough to wait for.
const IDLE: [(&str, &str); 2] = [
    ("LAPS_TRANSPORT__IDLE_TIMEOUT_MS", "3000"),
    ("LAPS_TRANSPORT__KEEP_ALIVE_MS", "500"),
];

/// What the clients hold.
#[derive(Default)]
struct Everything {
    clients: Vec<Raw>,
    streams: Vec<RawStream>,
}

impl Everything {
    /// Opens every kind of request, those that the relay makes in turn included, and leaves all of them open.
    async fn open(addr: SocketAddr) -> Self {
        let (announced, published) = (track("announced", "video"), track("published", "audio"));
        let mut all = Self::default();
        let mut announcer = raw_at(addr).await;
        announcer.announce(announced.namespace()).await;
        let mut watcher = raw_at(addr).await;
        watcher.watched("test").await;
        let mut publisher = raw_at(addr).await;
        let request = publisher.publish(&published, ALIAS, true).await;
        publisher.publish_ok(request).await;
        // PUBLISH of the relay, accepted.
        let (offer, _) = watcher.offered(0).await;
        watcher.accept_offer(offer, true).await;
        all.streams
            .push(publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await);

        let mut subscriber = raw_at(addr).await;
        let first = subscriber.subscribe(&announced, NEWEST).await;
        announcer.serve(&announced, ALIAS).await;
        subscriber.answer(first).await.unwrap();
        announcer.group(ALIAS, 0, 3).await;
        let mut open = announcer.open(ALIAS, 1, SubgroupIdMode::Zero).await;
        open.object(0, b"the group goes on").await;
        all.streams.push(open);
        subscriber
            .wait(|log| (Raw::objects(log).len() >= 4).then_some(()))
            .await;
        // A datagram and a stream whose aliases nobody has explained.
        announcer.datagram(ALIAS + 2, Location::new(2, 0), b"a datagram");
        all.streams
            .push(announcer.open(ALIAS + 1, 0, SubgroupIdMode::Zero).await);

        // A FETCH that its publisher does not answer, one that joins, TRACK_STATUS and SUBSCRIBE that wait.
        subscriber.fetch_range(&announced, (0, 0), (0, 9)).await;
        announcer.fetch_asked(0).await;
        let joining = FetchRange::RelativeJoining {
            subscription: first,
            groups: 0,
        };
        subscriber.fetch(joining, GroupOrderRequest::Publisher).await;
        let status = subscriber.id();
        let waits = subscribe(&track("nobody", "y"), NEWEST);
        subscriber.say(ControlMessage::TrackStatus(status, waits)).await;
        for filter in filters() {
            all.clients
                .push(Self::other(addr, filter, [&announced, &published]).await);
        }
        subscriber.settled().await;
        all.clients.extend([announcer, publisher, watcher, subscriber]);
        all
    }

    async fn other(addr: SocketAddr, filter: SubscribeFilter, tracks: [&FullTrackName; 2]) -> Raw {
        let mut client = raw_at(addr).await;
        for name in tracks {
            client.subscribed(name, filter).await;
        }
        client.subscribe(&track("nobody", "x"), NEWEST).await;
        client.settled().await;
        client
    }
}

fn filters() -> [SubscribeFilter; 3] {
    let start = Location::new(9, 0);
    let end_group = 12;
    [
        SubscribeFilter::NextGroupStart,
        SubscribeFilter::AbsoluteStart(start),
        SubscribeFilter::AbsoluteRange { start, end_group },
    ]
}

/// How full the tables of the relay are.
fn census(relay: &mut Relay) -> Value {
    relay.process.signal("USR2");
    let line = relay.process.out_line("census ");
    let census: Value = serde_json::from_str(line.strip_prefix("census ").unwrap()).unwrap();
    assert!(census["silent"].as_array().unwrap().is_empty(), "{census}");
    census
}

/// The tables with an entry.
fn occupied(census: &Value) -> Vec<(&str, u64)> {
    let tables = census["tables"].as_object().unwrap();
    let counts = tables
        .iter()
        .map(|(name, count)| (name.as_str(), count.as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// A relay with several shards whose cache and tracks without readers do not outlive the test.
fn relay() -> (Relay, SocketAddr) {
    let short = ("LAPS_CACHE__DURATION", "1");
    let relay = Relay::start(
        &[PATIENT, short, ("LAPS_WORKERS__THREADS", "2"), IDLE[0], IDLE[1]],
        &[],
    );
    let addr = relay.url.strip_prefix("moqt://").unwrap().parse().unwrap();
    (relay, addr)
}

fn full_then_empty(relay: &mut Relay, leave: impl FnOnce()) {
    let full = census(relay);
    for table in [
        "registry.tracks",
        "registry.namespaces",
        "registry.published",
        "registry.watchers",
        "registry.waiting",
        "shard-0.prefixes",
        "shard-0.cache_bytes",
        "process.session_actors",
        "process.subscription_actors",
        "process.announce_actors",
        "process.namespace_actors",
        "process.status_actors",
        "process.fetch_actors",
        "process.track_actors",
        "process.logs",
        "process.send_streams",
        "process.recv_streams",
    ] {
        assert!(full["tables"][table].as_u64().unwrap() > 0, "{table}: {full}");
    }
    leave();
    let begun = Instant::now();
    loop {
        // Each answer is an event of the relay; what is left of it leaves when timers of the relay say so.
        let now = census(relay);
        if occupied(&now).is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < common::PATIENCE,
            "left over: {:?}",
            occupied(&now)
        );
    }
}

/// The other process: clients until its standard input ends.
fn clients(addr: SocketAddr) {
    run(move || async move {
        let all = Everything::open(addr).await;
        println!("{READY}");
        let mut line = String::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        drop(all);
    });
}

/// Starts this test once more, as the clients, and waits until they have everything open.
fn start_clients(test: &str, addr: SocketAddr) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = out.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(READY)), "the clients failed");
    // It says more at its end, to whoever still listens.
    (child, lines)
}

/// True in the process that is to be the clients, when it is done.
fn played() -> bool {
    let addr = std::env::var(ROLE).ok();
    let addr = addr.map(|addr| addr.parse().unwrap());
    addr.map(clients).is_some()
}

/// House rule: what was taken is given back. D14-TERM-3 D14-LIM-2
#[test]
fn after_everybody_closed_the_connection() {
    if played() {
        return;
    }
    let (mut relay, addr) = relay();
    for _ in 0..2 {
        let (mut child, lines) = start_clients("after_everybody_closed_the_connection", addr);
        full_then_empty(&mut relay, || {
            drop(child.stdin.take());
            lines.for_each(drop);
            assert!(child.wait().unwrap().success());
        });
    }
}

/// House rule: what was taken is given back. D14-TERM-3 D14-LIM-2
#[test]
fn after_everybody_was_killed() {
    if played() {
        return;
    }
    let (mut relay, addr) = relay();
    let (mut child, _lines) = start_clients("after_everybody_was_killed", addr);
    full_then_empty(&mut relay, || {
        child.kill().unwrap();
        child.wait().unwrap();
    });
}
