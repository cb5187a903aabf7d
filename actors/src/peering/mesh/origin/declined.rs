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
    /// When it was, by track and node.
    by_track: BTreeMap<FullTrackName, BTreeMap<NodeId, u64>>,
    in_order: BTreeMap<u64, (FullTrackName, NodeId)>,
    next: u64,
}

impl Declined {
    pub(super) fn len(&self) -> usize {
        self.in_order.len()
    }

    /// A node does not get a track, or no more.
    pub(super) fn insert(&mut self, track: &FullTrackName, node: NodeId) {
        let nodes = self.by_track.entry(track.clone()).or_default();
        if nodes.contains_key(&node) {
            return;
        }
        let at = self.next;
        self.next += 1;
        nodes.insert(node, at);
        self.in_order.insert(at, (track.clone(), node));
        if self.in_order.len() > MOST
            && let Some((&first, _)) = self.in_order.first_key_value()
        {
            self.forget(first);
        }
    }

    /// A node has the track, or wants it no more. One that is gone wants nothing.
    pub(super) fn remove(&mut self, track: &FullTrackName, node: NodeId) {
        let nodes = self.by_track.get(track);
        if let Some(&at) = nodes.and_then(|nodes| nodes.get(&node)) {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: u64) {
        let Some((track, node)) = self.in_order.remove(&at) else {
            return;
        };
        if let Some(nodes) = self.by_track.get_mut(&track) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.by_track.remove(&track);
            }
        }
    }

    /// Who may ask again for something in this namespace.
    fn take_below(&mut self, namespace: &TrackNamespace) -> BTreeSet<NodeId> {
        let first = FullTrackName::first_below(namespace.clone());
        let below = self.by_track.range(first..);
        let below = below.take_while(|(track, _)| namespace.is_prefix_of(track.namespace()));
        let below = below.flat_map(|(_, nodes)| nodes);
        let below: Vec<_> = below.map(|(node, at)| (*node, *at)).collect();
        below.iter().for_each(|(_, at)| self.forget(*at));
        below.into_iter().map(|(node, _)| node).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn ns(field: &'static str) -> TrackNamespace {
        TrackNamespace::new([Bytes::from_static(field.as_bytes())]).unwrap()
    }

    fn track(namespace: &'static str, number: u64) -> FullTrackName {
        FullTrackName::new(ns(namespace), number.to_be_bytes().to_vec().into()).unwrap()
    }

    fn sizes(declined: &Declined) -> [usize; 3] {
        let by_track = declined.by_track.values().map(BTreeMap::len).sum();
        [declined.len(), by_track, declined.by_track.len()]
    }

    #[test]
    fn who_was_refused_first_gives_way() {
        let mut declined = Declined::default();
        let most = MOST as u64;
        for number in 0..most {
            declined.insert(&track("a", number), NodeId(number % 7));
        }
        // Once is enough.
        declined.insert(&track("a", most - 1), NodeId((most - 1) % 7));
        assert_eq!(sizes(&declined), [MOST; 3]);
        declined.insert(&track("b", 0), NodeId(8));
        assert_eq!(sizes(&declined), [MOST; 3]);
        assert_eq!(declined.take_below(&ns("b")), [NodeId(8)].into());
        assert!(!declined.by_track.contains_key(&track("a", 0)));
        assert!(declined.by_track.contains_key(&track("a", 1)));
        assert_eq!(declined.take_below(&ns("a")).len(), 7);
        assert_eq!(sizes(&declined), [0; 3]);
    }
}
