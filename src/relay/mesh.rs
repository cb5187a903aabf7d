//! How a relay is part of a mesh, and what it proves with who it is.

use super::Settings;
use laps_actors::metrics::Certificates;
use laps_actors::peering;
use laps_actors::transport::{Listen, PeerTls, ServerTls};
use laps_protocol::peering::node::NodeType;

/// How a relay is part of a mesh.
#[derive(Clone, Debug)]
pub struct Peering {
    /// What it is made of.
    pub setup: peering::Setup,
    /// Where relays of ours dial; none where they do not.
    pub listen: Option<(Listen, u16)>,
    /// Where laps relays dial; none where they do not.
    pub laps_listen: Option<(Listen, u16)>,
}

impl Peering {
    /// It takes no clients.
    pub(super) fn is_via(&self) -> bool {
        self.setup.own.node_type == NodeType::Via
    }

    /// What it proves with who it is, where it does.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerTls> {
        let tls = self.setup.tls.as_ref().filter(|tls| tls.is_mutual());
        tls.map(PeerTls::server)
    }

    /// It hears of publishers only from its edge, and only when it asks.
    pub(super) fn is_stub(&self) -> bool {
        self.setup.own.node_type == NodeType::Stub
    }
}

/// What proves who the relay is: to its clients, and to the relays that it peers with.
pub(super) fn certificates(settings: &Settings) -> Certificates {
    let peering = settings.peering.as_ref().and_then(Peering::tls);
    let clients = ("tls", settings.tls.clone());
    Certificates::of(std::iter::once(clients).chain(peering.map(|tls| ("peering", tls.clone()))))
}
