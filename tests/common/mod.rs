//! A relay in this process, and clients of it, for the tests of whole promises.
#![allow(dead_code, unreachable_pub, reason = "each test file uses the part it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

pub mod apart;
pub mod bystander;
pub mod counted;
pub mod feeding;
pub mod fetching;
pub mod laps_peer;
pub mod lines;
pub mod mesh;
pub mod nat;
pub mod own_peer;
pub mod paced;
pub mod race;
pub mod raw;
pub mod reading;
pub mod shards;
pub mod status;
pub mod tokens;
pub mod watch;
pub mod whole;

use bytes::Bytes;
use laps::relay::{Relay, Settings};
use laps_actors::client::{self, Publisher, Subscriber, Target};
use laps_actors::limits::Gauge;
use laps_actors::supervise::Faults;
use laps_actors::transport::{Listen, Pem, ServerTls, TransportConfig, Verify, cert, moqt_alpn};
use laps_actors::{session, track};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::load::Terms;
use slog::{Drain, Logger, o};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than any machine needs; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test in an actix system of its own.
pub fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + 'static) {
    let done = actix::System::new().block_on(async move { tokio::time::timeout(PATIENCE, test()).await });
    done.expect("the test did not end in time");
}

/// Logs to standard error when LAPS_TEST_LOG is set, which cargo shows for failed tests.
pub fn logger() -> Logger {
    if std::env::var_os("LAPS_TEST_LOG").is_none() {
        return Logger::root(slog::Discard, o!());
    }
    let decorator = slog_term::PlainSyncDecorator::new(std::io::stderr());
    Logger::root(slog_term::FullFormat::new(decorator).build().fuse(), o!())
}

/// Settings of a relay on loopback with a certificate of its own.
pub fn settings(shards: usize) -> Settings {
    let made = cert::generate(&["localhost"]).unwrap();
    let tls = ServerTls::load(&Pem::Text(made.cert_pem), &Pem::Text(made.key_pem), &moqt_alpn()).unwrap();
    Settings {
        listen: Listen::Ip([127, 0, 0, 1].into()),
        port: 0,
        shards,
        tls,
        transport: TransportConfig::default(),
        session: session::Config::default(),
        track: track::Config::default(),
        max_waiting: 1000,
        peering: None,
        // A machine that is busy with other tests is not the load of this relay.
        load: (Gauge::default(), Terms::default()),
        // The network of whoever runs the tests is none of theirs.
        discovery: None,
        admin: None,
        log: logger(),
        faults: Faults::default(),
    }
}

/// Starts a relay.
pub async fn relay(settings: Settings) -> Relay {
    Relay::start(settings).await.unwrap()
}

/// How clients reach a relay.
pub fn target(addr: SocketAddr) -> Target {
    Target {
        addr,
        server_name: "localhost".to_owned(),
        authority: addr.to_string(),
        path: "/".to_owned(),
    }
}

/// Settings of a client that believes every certificate.
pub fn options() -> client::Options {
    client::Options {
        verify: Verify::Insecure,
        transport: TransportConfig::default(),
        session: session::Config::default(),
        track: track::Config {
            linger: Duration::ZERO,
            ..track::Config::default()
        },
        token: None,
        moving: client::Moving::default(),
        log: logger(),
    }
}

pub async fn publisher(relay: &Relay) -> Publisher {
    Publisher::connect(&target(relay.local_addr()), options())
        .await
        .unwrap()
}

pub async fn subscriber(relay: &Relay) -> Subscriber {
    Subscriber::connect(&target(relay.local_addr()), options())
        .await
        .unwrap()
}

/// The track `name` in the namespace `test/NAMESPACE`.
pub fn track(namespace: &str, name: &str) -> FullTrackName {
    let fields = ["test", namespace].map(|field| Bytes::from(field.to_owned()));
    FullTrackName::new(TrackNamespace::new(fields).unwrap(), Bytes::from(name.to_owned())).unwrap()
}
