//! The three relays: an edge for the publisher, an edge for the viewers far away, and a via between them.

use super::super::relay::settings;
use super::Options;
use crate::config::Config;
use crate::config::list::List;
use crate::config::peering::Role;
use crate::exit::Failure;
use crate::logging::Logging;
use crate::names::parse_full_name;
use crate::relay::{Peering, Relay, Settings};
use laps_actors::auth::Auth;
use laps_actors::client::{Moving, Target};
use laps_actors::transport::{Listen, PeerCa, PeerTls, Pem, ServerTls, TlsError, Verify, cert, moqt_alpn};
use laps_actors::{session, track as track_actor};
use laps_protocol::discovery::hex;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::node::{NodeId, NodeType};
use slog::{Logger, o};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The namespace and the name of the track.
const TRACK: (&str, &str) = ("demo", "clock");
/// A relay that starts after who dials it is dialled again so soon.
const REDIAL_MS: u64 = 50;
/// A viewer may come before the mesh has heard of the publisher.
const WAIT_MS: u64 = 30_000;

/// The track that is shown.
///
/// # Errors
/// Never: the name is one.
pub(super) fn track() -> Result<FullTrackName, Failure> {
    parse_full_name(TRACK.0, TRACK.1).map_err(|error| Failure::run("demo", error.to_string(), ""))
}

/// A relay of the mesh that takes clients.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// What it is called.
    pub(super) name: &'static str,
    /// Which relays an object has passed when it is there.
    pub(super) way: &'static str,
    /// How clients reach it.
    pub(super) target: Target,
}

/// The relays that run.
pub(super) struct Mesh {
    near: Edge,
    far: Edge,
    relays: [Relay; 3],
    tls: ServerTls,
    log: Logger,
}

impl Mesh {
    /// Starts them: each is dialled by the next one, and proves who it is with a certificate of a CA that nobody else has.
    ///
    /// # Errors
    /// When one of them does not start.
    pub(super) async fn start(logging: &Logging) -> Result<Self, Failure> {
        let ca = PeerCa::generate().map_err(impossible)?;
        let own = cert::generate::<&str>(&[]).map_err(impossible)?;
        let tls = ServerTls::load(&Pem::Text(own.cert_pem), &Pem::Text(own.key_pem), &moqt_alpn());
        let tls = tls.map_err(impossible)?;
        let maker = Maker {
            ca: &ca,
            tls: &tls,
            logging,
        };
        let far = maker.start(3, "edge-2", NodeType::Edge, None).await?;
        let via = maker.start(2, "via", NodeType::Via, Some(&far)).await?;
        let near = maker.start(1, "edge-1", NodeType::Edge, Some(&via)).await?;
        Ok(Self {
            near: edge("edge-1", "edge-1", &near),
            far: edge("edge-2", "edge-1 > via > edge-2", &far),
            relays: [near, via, far],
            tls,
            log: logging.logger.clone(),
        })
    }

    /// Where the publisher is.
    pub(super) const fn near(&self) -> &Edge {
        &self.near
    }

    /// The other end.
    pub(super) const fn far(&self) -> &Edge {
        &self.far
    }

    /// Settings of its clients.
    pub(super) fn options(&self) -> Options {
        Options {
            verify: Verify::CertSha256(self.tls.known_by().key),
            token: None,
            transport: Config::default().transport.settings(),
            session: session::Config::default(),
            track: track_actor::Config {
                upstream_timeout: Duration::from_millis(WAIT_MS),
                ..track_actor::Config::default()
            },
            moving: Moving::default(),
            log: self.log.clone(),
        }
    }

    /// What it is, and how somebody else joins in, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let key = hex(&self.tls.known_by().key);
        let (near, far, (namespace, track)) = (self.near.target.addr, self.far.target.addr, TRACK);
        vec![
            format!("clock > edge-1 {near} > via > edge-2 {far} > viewers; Ctrl-C ends it"),
            "join in from another terminal:".to_owned(),
            format!("  laps sub --cert-hash {key} --format lines moqt://{far} {namespace} {track}"),
        ]
    }

    /// Ends them in an orderly way.
    pub(super) async fn end(self, deadline: Duration) {
        for relay in &self.relays {
            let _ended_already: bool = !relay.drain(deadline);
        }
        for relay in self.relays {
            drop(relay.ended().await);
        }
    }
}

/// What the three have in common.
struct Maker<'a> {
    ca: &'a PeerCa,
    tls: &'a ServerTls,
    logging: &'a Logging,
}

impl Maker<'_> {
    async fn start(
        &self,
        low: u64,
        name: &'static str,
        role: NodeType,
        dials: Option<&Relay>,
    ) -> Result<Relay, Failure> {
        let node = NodeId(1 << 32 | low);
        let own = self.ca.certify(node).map_err(impossible)?;
        let text = |pem: &str| Pem::Text(pem.to_owned());
        let (ca, cert, key) = (text(self.ca.cert_pem()), text(&own.cert_pem), text(&own.key_pem));
        let links = PeerTls::mutual(&ca, &cert, &key, node).map_err(impossible)?;
        let config = config(role, dials)?;
        let (setup, laps_listen) = (config.peering.setup(node, name, Some(links))?, None);
        let settings = Settings {
            listen: Listen::Ip(HERE),
            peering: Some(Peering {
                setup,
                listen: Some((Listen::Ip(HERE), 0)),
                laps_listen,
            }),
            admin: None,
            log: self.logging.logger.new(o!("relay" => name)),
            ..settings(&config, self.logging, self.tls.clone(), Auth::default())
        };
        let started = Relay::start(settings).await;
        started.map_err(|error| Failure::run(name, error.to_string(), ""))
    }
}

/// On a port that the system chooses, with one shard.
fn config(role: NodeType, dials: Option<&Relay>) -> Result<Config, Failure> {
    let mut config = Config::default();
    (config.relay.bind, config.relay.port) = (HERE, 0);
    config.workers.threads = 1;
    config.subscribe.wait = WAIT_MS;
    config.peering.node_type = Role(role);
    config.peering.backoff_first_ms = REDIAL_MS;
    let at = dials.and_then(|relay| relay.peer_addrs().into_iter().flatten().next());
    let peers: Result<Vec<_>, _> = at.into_iter().map(|addr| addr.to_string().parse()).collect();
    config.peering.peers = List(peers.map_err(|error| Failure::run("demo", format!("{error}"), ""))?);
    Ok(config)
}

fn edge(name: &'static str, way: &'static str, relay: &Relay) -> Edge {
    let addr = relay.local_addr();
    Edge {
        name,
        way,
        target: Target {
            addr,
            server_name: "localhost".to_owned(),
            authority: addr.to_string(),
            path: "/".to_owned(),
        },
    }
}

fn impossible(error: TlsError) -> Failure {
    Failure::run("certificate", error.to_string(), "")
}
