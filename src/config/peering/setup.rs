//! The section as what the peering of a relay is made of.

use super::Peering;
use crate::exit::Failure;
use crate::relay;
use bytes::Bytes;
use laps_actors::peering::{HostPort, MAX_FOUND, PeerKind, Setup, local_users, plane};
use laps_actors::transport::{Listen, PeerTls};
use laps_protocol::peering::damping;
use laps_protocol::peering::info_base::{Limits, Settings};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use std::net::ToSocketAddrs;
use std::time::Duration;

impl Peering {
    /// How the relay `node`, which calls itself `name`, is part of a mesh; none when it is not.
    ///
    /// # Errors
    /// When a certificate cannot be used, or the address for laps relays is none of this machine.
    pub fn relay(&self, node: NodeId, name: &str) -> Result<Option<relay::Peering>, Failure> {
        if !self.is_on() {
            return Ok(None);
        }
        Ok(Some(relay::Peering {
            setup: self.setup(node, name, self.tls(node)?)?,
            listen: self.listen(),
            laps_listen: self.laps_place()?,
        }))
    }

    /// Where laps relays dial this one, looked up; none when they cannot.
    ///
    /// # Errors
    /// When that is the name of nothing.
    pub fn laps_place(&self) -> Result<Option<(Listen, u16)>, Failure> {
        self.laps_listen().as_ref().map(resolve).transpose()
    }

    /// What the peering of the relay is made of, with this proof towards relays of ours.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn setup(&self, node: NodeId, name: &str, tls: Option<PeerTls>) -> Result<Setup, Failure> {
        let takes_laps = !self.laps_listen.is_empty();
        let meets_laps = takes_laps || self.peers.0.iter().any(|peer| peer.kind == PeerKind::Laps);
        Ok(Setup {
            own: self.own(node, name),
            targets: self.targets(),
            data_links_one_way: self.data_links_one_way,
            tls,
            laps_tls: meets_laps.then(Self::laps_tls).transpose()?,
            laps_from: self.laps_from(),
            transport: self.settings(),
            times: self.times(),
            backoff: self.backoff(),
            damping: damping::Settings::default(),
            settings: self.times_of_bases(),
            limits: self.limits_of_bases(),
            found: None,
            max_inbound: super::count(self.max_links),
            plane: self.plane(),
            // Issue 6, "Roles": a Via takes no client.
            mesh: (self.node_type.0 != NodeType::Via).then_some(local_users as fn(_) -> _),
        })
    }

    fn times_of_bases(&self) -> Settings {
        let mut settings = Settings::default();
        settings.node_advert_interval = Duration::from_millis(self.node_advert_interval_ms);
        // A dead link is noticed after three keep-alives or so, here as elsewhere in the mesh.
        let noticed = Duration::from_millis(self.keep_alive_ms.saturating_mul(8));
        settings.twins_hold = settings.twins_hold.max(noticed);
        settings.unsubscribe_hold = Duration::from_millis(self.unsubscribe_hold_ms);
        settings
    }

    /// Of links there may be those that peers dial, and all that are dialled from here.
    fn limits_of_bases(&self) -> Limits {
        let dialled = self
            .targets()
            .into_iter()
            .map(|(_, links)| super::count(links.into()));
        let mut limits = Limits::default();
        limits.max_links = dialled
            .chain([MAX_FOUND])
            .fold(super::count(self.max_links), usize::saturating_add);
        limits
    }

    /// As many streams of a link are handed on, and read here, as the transport lets its peer open.
    fn plane(&self) -> plane::Config {
        let mut config = plane::Config::default();
        config.forward.max_streams = super::count(self.max_uni_streams);
        config.per_link.streams = self.max_uni_streams;
        config
    }

    fn own(&self, node: NodeId, name: &str) -> NodeInfo {
        let contact = if self.contact.is_empty() {
            name
        } else {
            &self.contact
        };
        NodeInfo {
            longitude: self.longitude.0,
            latitude: self.latitude.0,
            ..NodeInfo::new(node, self.node_type.0, Bytes::copy_from_slice(contact.as_bytes()))
        }
    }

    /// Whom to dial, and over how many links: laps relays know no links for data alone.
    fn targets(&self) -> Vec<(laps_actors::peering::PeerTarget, u32)> {
        let data_links = u32::try_from(self.data_links).unwrap_or(u32::MAX);
        let links = |kind| match kind {
            PeerKind::Ours => data_links.saturating_add(1),
            PeerKind::Laps => 1,
        };
        self.peers
            .0
            .iter()
            .map(|peer| (peer.clone(), links(peer.kind)))
            .collect()
    }
}

/// The address of this machine that a name stands for. It is looked up once, before anybody is served.
fn resolve(at: &HostPort) -> Result<(Listen, u16), Failure> {
    let key = "peering.laps_listen";
    let mut found = at.to_string().to_socket_addrs().map_err(|error| {
        Failure::config(key, format!("{at}: {error}"), "write an address of this machine")
    })?;
    let found = found.next();
    found
        .map(|addr| (Listen::Ip(addr.ip()), addr.port()))
        .ok_or_else(|| {
            Failure::config(
                key,
                format!("{at} has no address"),
                "write an address of this machine",
            )
        })
}
