//! What the scenarios share.

use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::TrackAlias;
use laps_protocol::moqt::session::{Config, Role};
use laps_protocol::sim::SessionPair;
use std::time::Instant;

pub(crate) const C: Role = Role::Client;
pub(crate) const S: Role = Role::Server;

/// Runs a scenario over many seeds, and names the one that fails. `LAPS_SEED` is the only one; `LAPS_SEEDS` is where
/// they end, and `LAPS_FROM` where they begin.
pub(crate) fn seeds(count: u64, scenario: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let range = match (number("LAPS_SEED"), number("LAPS_SEEDS")) {
        (Some(only), _) => only..only + 1,
        (None, end) => number("LAPS_FROM").unwrap_or(0)..end.unwrap_or(count),
    };
    for seed in range {
        let named = NameSeed(seed);
        scenario(seed);
        drop(named);
    }
}

struct NameSeed(u64);

impl Drop for NameSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!("replay with: scripts/replay-seed {} {test}", self.0);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test may read the clock once, for a base of virtual time"
)]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn config() -> Config {
    Config {
        implementation: Bytes::from_static(b"laps sim"),
        path: Some(Bytes::from_static(b"/")),
        authority: Some(Bytes::from_static(b"localhost:4433")),
        ..Config::default()
    }
}

pub(crate) fn established(seed: u64) -> SessionPair {
    SessionPair::established(seed, base(), config(), config())
}

pub(crate) fn never_closed(pair: &SessionPair) {
    assert_eq!((pair.closed(C), pair.closed(S)), (None, None));
}

pub(crate) fn namespace(n: u64) -> TrackNamespace {
    TrackNamespace::new([Bytes::from_static(b"live"), Bytes::from(n.to_string())]).unwrap()
}

pub(crate) fn announce(n: u64) -> NamespaceRequest {
    NamespaceRequest {
        namespace: namespace(n),
        params: MessageParams::default(),
    }
}

pub(crate) fn track(n: u64) -> FullTrackName {
    FullTrackName::new(namespace(n), Bytes::from_static(b"video")).unwrap()
}

pub(crate) fn subscribe(n: u64, filter: SubscribeFilter) -> Subscribe {
    Subscribe {
        track: track(n),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter,
        params: MessageParams::default(),
    }
}

pub(crate) fn subscribe_ok(alias: TrackAlias, largest: Option<Location>) -> SubscribeOk {
    SubscribeOk {
        alias,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest,
        params: MessageParams::default(),
    }
}

pub(crate) fn update(subscription: RequestId, start: Location) -> SubscribeUpdate {
    SubscribeUpdate {
        subscription,
        start,
        end_group: None,
        priority: 3,
        forward: true,
        params: MessageParams::default(),
    }
}

pub(crate) fn publish(n: u64, alias: TrackAlias) -> Publish {
    Publish {
        track: track(n),
        alias,
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(3, 1)),
        forward: true,
        params: MessageParams::default(),
    }
}

pub(crate) fn publish_ok() -> PublishOk {
    PublishOk {
        forward: true,
        priority: 128,
        group_order: Some(GroupOrder::Ascending),
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    }
}

pub(crate) fn fetch(n: u64) -> Fetch {
    Fetch {
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        range: FetchRange::Standalone {
            track: track(n),
            start: Location::ZERO,
            end: Location::new(9, 0),
        },
        params: MessageParams::default(),
    }
}

pub(crate) fn fetch_ok() -> FetchOk {
    FetchOk {
        group_order: GroupOrder::Ascending,
        end_of_track: false,
        end: Location::new(9, 0),
        params: MessageParams::default(),
    }
}

pub(crate) fn done() -> PublishDone {
    PublishDone {
        status: PublishDoneStatus::TrackEnded,
        stream_count: Some(2),
        phrase: Bytes::new(),
    }
}

pub(crate) fn error() -> RequestError {
    RequestError::new(RequestErrorReason::NotSupported, "not here")
}
