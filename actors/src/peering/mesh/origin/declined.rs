//! Nodes that were told that a track is not to be had here, and that have it from others: when somebody more announces its
//! namespace here, they may ask again. MOQT-14 §8.4 [D14-NS-7] across the mesh: what this relay publishes is told by
//! namespaces, and this one is told already.

use super::OriginActor;
use crate::peering::mesh::SendToNode;
use crate::supervise::mailbox;
use actix::{Context, Handler, Message};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::message::MorePublishers;
use laps_protocol::peering::node::NodeId;
use slog::debug;
use std::collections::{BTreeMap, BTreeSet};

/// Tracks and nodes that are remembered. Beyond that who was refused first does without.
const MOST: usize = 65_536;

/// From who watches what is published here: these namespaces were announced already, and something about who announces them
/// has changed.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(super) struct Announcers(pub(super) Vec<TrackNamespace>);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Declined {
    by_track: BTreeMap<FullTrackName, BTreeSet<NodeId>>,
    pairs: usize,
}

impl Declined {
    pub(super) const fn len(&self) -> usize {
        self.pairs
    }

    /// A node does not get a track, or no more.
    pub(super) fn insert(&mut self, track: &FullTrackName, node: NodeId) {
        if self.pairs < MOST {
            let nodes = self.by_track.entry(track.clone()).or_default();
            self.pairs += usize::from(nodes.insert(node));
        }
    }

    /// Who may ask again for something in this namespace.
    fn take_below(&mut self, namespace: &TrackNamespace) -> BTreeSet<NodeId> {
        let first = FullTrackName::first_below(namespace.clone());
        let below = self.by_track.range(first..).map(|(track, _)| track);
        let below = below.take_while(|track| namespace.is_prefix_of(track.namespace()));
        let below: Vec<_> = below.cloned().collect();
        let mut all = BTreeSet::new();
        for track in below {
            let nodes = self.by_track.remove(&track).unwrap_or_default();
            self.pairs -= nodes.len();
            all.extend(nodes);
        }
        all
    }
}

impl Handler<Announcers> for OriginActor {
    type Result = ();

    fn handle(&mut self, Announcers(namespaces): Announcers, _: &mut Context<Self>) {
        for namespace in namespaces {
            let nodes = self.declined.take_below(&namespace);
            let Some(bases) = self.nodes.as_ref().filter(|_| !nodes.is_empty()) else {
                continue;
            };
            let Ok(body) = MorePublishers(namespace.clone()).encode() else {
                continue;
            };
            debug!(self.log, "nodes may ask again for what they were refused"; "namespace" => %namespace,
                "nodes" => nodes.len());
            for target in nodes {
                let say = SendToNode {
                    target,
                    kind: MorePublishers::KIND,
                    request_id: 0,
                    body: body.clone(),
                };
                mailbox::signal(bases, say);
            }
        }
    }
}
