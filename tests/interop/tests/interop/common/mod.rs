//! The instruments: a relay process, a raw quinn peer, a `moq-transport` peer, our own command line, a bystander pair,
//! a track with a past.

pub(crate) mod bystander;
pub(crate) mod cli;
pub(crate) mod fetch;
pub(crate) mod moq;
pub(crate) mod quic;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod scripted;
pub(crate) mod stage;
pub(crate) mod stream;
pub(crate) mod wire;

use std::future::Future;
use std::time::Duration;

/// Longest any single awaited event may take. Generous, because two busy cores stall a process for seconds; a test that
/// works never comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits one event and fails with its name when it does not come.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain: {what}"),
    }
}

/// The payload of one object: text without line ends, so that `--format lines` can carry it, of a length that differs
/// from its neighbours'.
pub(crate) fn payload(group: u64, object: u64) -> String {
    let filler = "x".repeat(usize::try_from(object % 3).unwrap_or(0) * 1_500);
    format!("group {group} object {object} {filler}.")
}

/// As [`payload`], short enough for a datagram on any path.
pub(crate) fn small_payload(group: u64, object: u64) -> String {
    format!("datagram {group}/{object}")
}
