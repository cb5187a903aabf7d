//! What other nodes publish: a track of this relay that others have too is read of all of them.

use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::message::Published;
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What other nodes publish. Who asks several nodes for a track was told of each before it asked, and passed that on before
/// what it asks: so each of them knows of the others by then. It is as large as the information bases let it be.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    by: BTreeMap<Published, BTreeSet<NodeId>>,
}

impl Elsewhere {
    pub(super) fn insert(&mut self, node: NodeId, what: Published) {
        self.by.entry(what).or_default().insert(node);
    }

    pub(super) fn remove(&mut self, node: NodeId, what: &Published) {
        if let Some(nodes) = self.by.get_mut(what) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.by.remove(what);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.by.clear();
    }

    /// How many things others publish.
    pub(super) fn len(&self) -> usize {
        self.by.len()
    }

    /// Somebody else publishes the track, or a namespace that it is in.
    pub(super) fn has(&self, track: &FullTrackName) -> bool {
        let mut prefixes = track.namespace().prefixes();
        self.by.contains_key(&Published::Track(track.clone()))
            || prefixes.any(|prefix| self.by.contains_key(&Published::Namespace(prefix)))
    }
}
