//! What discovery tells the rest of a relay.

use laps_protocol::discovery::{Instance, MAX_RELAYS};
use laps_protocol::peering::node::{NodeId, NodeType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// A relay that says it takes other relays. All of it is hearsay: mutual TLS decides who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFound {
    /// Which node it says it is.
    pub node: Option<NodeId>,
    /// What it says it does among relays.
    pub node_type: Option<NodeType>,
    /// Where it says it takes relays, the best first; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// All relays that are advertised now and take relays, by what they are called where they are found.
pub type Found = Arc<BTreeMap<Instance, PeerFound>>;

/// Who is found, for whoever dials them. Clones share it, on all threads; it outlives both who finds and who dials, so that
/// neither has to tell the other again after a failure.
#[derive(Clone, Debug, Default)]
pub struct Introductions(Arc<watch::Sender<Found>>);

impl Introductions {
    /// What is found, and what changes about it.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<Found> {
        self.0.subscribe()
    }

    /// One is found, or something about it is new. There are no more of them than are found at all.
    pub(crate) fn found(&self, via: Instance, peer: PeerFound) {
        self.0.send_if_modified(|found| {
            let room = found.len() < MAX_RELAYS || found.contains_key(&via);
            let news = room && found.get(&via) != Some(&peer);
            if news {
                Arc::make_mut(found).insert(via, peer);
            }
            news
        });
    }

    /// It is not advertised any more. A link to it may work on.
    pub(crate) fn lost(&self, via: &Instance) {
        self.0.send_if_modified(|found| {
            let known = found.contains_key(via);
            if known {
                Arc::make_mut(found).remove(via);
            }
            known
        });
    }

    /// Who finds begins again, and finds them all anew.
    pub(crate) fn clear(&self) {
        self.0.send_if_modified(|found| {
            let any = !found.is_empty();
            *found = Found::default();
            any
        });
    }
}
