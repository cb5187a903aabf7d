//! The relays that this one dials: can they be reached, and do they take its certificate?

use super::Finding;
use crate::config::Config;
use laps_actors::peering::{Dialer, PeerKind, PeerTarget};
use laps_actors::transport::{Conn, PeerTls};
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::node::NodeId;
use std::time::Duration;

/// How long a peer may take to find our proof good once the handshake is over here, and how often that is looked at.
const CONFIRMED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// One finding for each configured peer. Nothing stays of the visits.
pub(super) fn checks(config: &Config) -> Vec<Finding> {
    let peers = &config.peering.peers.0;
    if peers.is_empty() {
        return Vec::new();
    }
    actix::System::new().block_on(async {
        let asked = peers
            .iter()
            .map(async |target| (target, lets_in(config, target).await));
        let answers = futures::future::join_all(asked).await;
        let found = answers.into_iter().map(|(target, answer)| match answer {
            Ok(Some(node)) => Finding::ok("peer", format!("{target} is node {node} and lets us in")),
            Ok(None) => Finding::ok("peer", format!("{target} answers")),
            // The relay runs without it, and dials again.
            Err(why) => Finding::warn("peer", format!("{target}: {why}"), advice(&why)),
        });
        found.collect()
    })
}

/// What to do about what is in the way.
fn advice(why: &str) -> &'static str {
    if why.contains("look up") || why.contains("has no address") {
        return "write its address in peering.peers, or mend its name in DNS";
    }
    if why.contains("certificate") || why.contains("turns us away") {
        return "both sides need certificates of one CA that name their node ids: `laps cert ca`";
    }
    if why.contains("prove ourselves") {
        return "make certificates with `laps cert ca` and name them in peering.ca, peering.cert and peering.key";
    }
    "see that it runs, that its peering.port is the one named here, and that UDP passes between the two"
}

/// A peer that the configuration names lets us in: its name is known, it answers, and both sides take the other's
/// certificate for good. No link comes of it. Gives who it is, where certificates say so.
///
/// # Errors
/// What is in the way, for a person.
async fn lets_in(config: &Config, peer: &PeerTarget) -> Result<Option<NodeId>, String> {
    let Some(tls) = tls(config, peer.kind, node(config)?)? else {
        return Err(
            "there is nothing to prove ourselves with: neither peering.ca nor peering.insecure".to_owned(),
        );
    };
    let conn = dial(config, &tls, &peer.at.to_string()).await?;
    let handle = conn.handle();
    let confirmed = async {
        let mut pace = tokio::time::interval(LOOK);
        loop {
            pace.tick().await;
            let stats = handle.stats();
            if stats.is_closed() || stats.traffic().is_confirmed() {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(CONFIRMED, confirmed).await.is_ok();
    if let Some(close) = handle.peer_close() {
        return Err(format!("it turns us away: {} ({})", close.reason, close.code));
    }
    let node = handle.peer_node();
    handle.close(ErrorCode::Close.number(), "it was only asked whether it is there");
    if in_time && !handle.stats().is_closed() || handle.stats().traffic().is_confirmed() {
        return Ok(node);
    }
    Err("it does not say whether it takes our certificate".to_owned())
}

async fn dial(config: &Config, tls: &PeerTls, at: &str) -> Result<Conn, String> {
    let at = at.parse().map_err(|error| format!("{at}: {error}"))?;
    let peering = &config.peering;
    let mut dialer = Dialer::new(tls.client().clone(), peering.settings(), peering.times().connect);
    dialer.dial(&at).await.map_err(|error| error.to_string())
}

fn node(config: &Config) -> Result<NodeId, String> {
    config.relay.node_id().map_err(|error| error.to_string())
}

fn tls(config: &Config, kind: PeerKind, node: NodeId) -> Result<Option<PeerTls>, String> {
    let tls = match kind {
        PeerKind::Ours => config.peering.tls(node),
        PeerKind::Laps => crate::config::peering::Peering::laps_tls().map(Some),
    };
    tls.map_err(|failure| failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_peer_that_is_not_there_is_a_warning_with_what_to_do() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        assert_eq!(checks(&config), []);
        config.peering.insecure = true;
        config.peering.connect_ms = 200;
        config.peering.peers =
            toml::from_str::<toml::Table>(&format!("p = '{}'", silent.local_addr().unwrap())).unwrap()["p"]
                .clone()
                .try_into()
                .unwrap();
        let found = checks(&config);
        assert_eq!((found.len(), found[0].state), (1, State::Warn), "{found:?}");
        assert!(found[0].advice.contains("UDP"), "{found:?}");
        config.peering.insecure = false;
        assert!(checks(&config)[0].advice.contains("laps cert ca"));
        assert!(advice("cannot look up x: no").contains("DNS"));
        assert!(advice("it turns us away: bad certificate (42)").contains("one CA"));
    }
}
