//! One relay of the mesh.

use bytes::Bytes;
use laps_protocol::peering::data_header::StreamHeader;
use laps_protocol::peering::forward::ingress::{self, InStream, Ingress};
use laps_protocol::peering::forward::node_sets;
use laps_protocol::peering::forward::pipeline::{self, Pipeline};
use laps_protocol::peering::forward::{Counters, Limits, LinkId, NodeSets, Route, Target};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::{NodeId, NodeType};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub(crate) type Table = BTreeMap<NodeId, Vec<LinkId>>;

/// A stream that a relay passes on: one of its own, or one that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Own(u64),
    In(LinkId, InStream),
}

/// What a relay says.
#[derive(Debug)]
pub(crate) enum Did {
    Sets(node_sets::Output),
    In(LinkId, ingress::Output),
    Own(u64, pipeline::Output),
}

pub(crate) struct Relay {
    pub(crate) kind: NodeType,
    pub(crate) limits: Limits,
    pub(crate) sets: NodeSets<Table>,
    pub(crate) ingress: BTreeMap<LinkId, Ingress>,
    /// Where what it has itself goes.
    pub(crate) tracks: HashMap<FullNameHash, Arc<Route>>,
    pub(crate) own: BTreeMap<u64, Pipeline>,
    /// The numbers of streams on the links out, and what they carry.
    pub(crate) out: HashMap<(LinkId, Key), u64>,
    pub(crate) back: HashMap<(LinkId, u64), Key>,
    pub(crate) next: u64,
    /// What came for its own subscribers.
    pub(crate) sink: HashMap<(LinkId, InStream), Vec<u8>>,
    /// What it hands to its stubs of that.
    pub(crate) copies: HashMap<(LinkId, InStream), u64>,
    pub(crate) counters: Counters,
}

impl Relay {
    pub(crate) fn new(id: NodeId, kind: NodeType, limits: Limits) -> Self {
        Self {
            kind,
            sets: NodeSets::new(id, kind, limits.clone(), Table::new()),
            limits,
            ingress: BTreeMap::new(),
            tracks: HashMap::new(),
            own: BTreeMap::new(),
            out: HashMap::new(),
            back: HashMap::new(),
            next: 0,
            sink: HashMap::new(),
            copies: HashMap::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Did> {
        if let Some(output) = self.sets.poll_output(now) {
            return Some(Did::Sets(output));
        }
        for (link, ingress) in &mut self.ingress {
            if let Some(output) = ingress.poll_output(now) {
                return Some(Did::In(*link, output));
            }
        }
        for (number, pipeline) in &mut self.own {
            pipeline.on_time(now, &mut self.counters);
            if let Some(output) = pipeline.poll_output() {
                return Some(Did::Own(*number, output));
            }
        }
        self.own.retain(|_, pipeline| !pipeline.is_over());
        None
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let own = self.own.values().filter_map(Pipeline::poll_timeout);
        let ingress = self.ingress.values().filter_map(Ingress::poll_timeout);
        own.chain(ingress).chain(self.sets.poll_timeout()).min()
    }

    /// A stream of a track that it has itself begins; none when nobody gets it.
    pub(crate) fn begin(&mut self, number: u64, header: StreamHeader, first: Bytes, now: Instant) {
        let Some(route) = self.tracks.get(&header.track) else {
            return;
        };
        let pipeline = Pipeline::open(header, route, first, &self.limits, now, &mut self.counters);
        self.own.insert(number, pipeline);
    }

    pub(crate) fn taken(&mut self, key: Key, target: Target, bytes: u64) {
        match key {
            Key::Own(number) => {
                if let Some(pipeline) = self.own.get_mut(&number) {
                    pipeline.taken(&[(target, bytes)]);
                }
            }
            Key::In(link, stream) => {
                if let Some(ingress) = self.ingress.get_mut(&link) {
                    ingress.taken(stream, &[(target, bytes)]);
                }
            }
        }
    }

    pub(crate) fn stopped(&mut self, key: Key, target: Target) {
        match key {
            Key::Own(number) => {
                if let Some(pipeline) = self.own.get_mut(&number) {
                    pipeline.stopped(target, &mut self.counters);
                }
            }
            Key::In(link, stream) => {
                if let Some(ingress) = self.ingress.get_mut(&link) {
                    ingress.target_stopped(stream, target);
                }
            }
        }
    }

    /// A link of it died.
    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.sets.link_down(link);
        for ingress in self.ingress.values_mut() {
            ingress.link_down(link);
        }
        for pipeline in self.own.values_mut() {
            pipeline.link_down(link, &mut self.counters);
        }
        if let Some(ingress) = self.ingress.get_mut(&link) {
            ingress.closed();
        }
    }

    /// What happened in all of it.
    pub(crate) fn all_counters(&self) -> Counters {
        let mut all = self.counters;
        all += *self.sets.counters();
        for ingress in self.ingress.values() {
            all += *ingress.counters();
        }
        all
    }
}
