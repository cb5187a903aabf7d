//! What this relay wants of the mesh: one SUBSCRIBE for each track, whatever the number of nodes that publish it.

use super::messages::Wish;
use super::numbers;
use bytes::Bytes;
use laps_protocol::moqt::message::{MessageParams, RequestId, Subscribe};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::error::SubscribeDataError;
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::info_base::Command;
use laps_protocol::peering::message::{Dialect, encode_subscribe_data};
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What is wanted of one node.
#[derive(Debug)]
struct Part {
    wish: Wish,
    /// The SUBSCRIBE that asked it first; none when that has yet to be said.
    asked: Option<RequestId>,
}

/// One track that is wanted of at least one node.
#[derive(Debug)]
struct Asked {
    track: FullTrackName,
    parts: BTreeMap<NodeId, Part>,
    /// The SUBSCRIBE that was said last.
    number: RequestId,
    new_group: Option<u64>,
    /// What was said last.
    told: Option<Bytes>,
}

/// What follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Said {
    /// Say this.
    Command {
        /// The track that it is about.
        track: FullNameHash,
        /// What.
        command: Command,
    },
    /// These nodes cannot be asked for this track.
    Unsayable {
        /// The track.
        track: FullNameHash,
        /// Who was to be asked.
        nodes: Vec<NodeId>,
        /// Why not.
        why: SubscribeDataError,
    },
}

/// All tracks that are wanted. What is told of it is gathered until [`Self::flush`]: a track asks all its publishers in
/// one turn, and that is to be one statement.
#[derive(Debug)]
pub(in super::super) struct Asking {
    epoch: u64,
    tracks: BTreeMap<FullNameHash, Asked>,
    changed: BTreeSet<FullNameHash>,
}

impl Asking {
    /// Nothing is wanted, in this life of the relay.
    pub(in super::super) const fn new(epoch: u64) -> Self {
        Self {
            epoch,
            tracks: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// How many tracks are wanted.
    pub(in super::super) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// A node is asked for a track, anew if it was before, or its part changes; false when another track has its hash.
    pub(in super::super) fn wish(
        &mut self,
        track: &FullTrackName,
        node: NodeId,
        wish: Wish,
        anew: bool,
        new_group: Option<u64>,
    ) -> bool {
        let hash = TrackHash::of(track).full;
        let asked = self.tracks.entry(hash).or_insert_with(|| Asked {
            track: track.clone(),
            parts: BTreeMap::new(),
            number: RequestId(0),
            new_group: None,
            told: None,
        });
        if asked.track != *track {
            return false;
        }
        let before = asked.parts.get(&node).and_then(|part| part.asked);
        let asked_by = before.filter(|_| !anew);
        asked.parts.insert(
            node,
            Part {
                wish,
                asked: asked_by,
            },
        );
        // The newest wish holds; of an older one the group has begun, or is on its way.
        asked.new_group = new_group.or(asked.new_group);
        self.changed.insert(hash);
        true
    }

    /// A node is not asked for a track any more.
    pub(in super::super) fn drop_part(&mut self, track: FullNameHash, node: NodeId) {
        if let Some(asked) = self.tracks.get_mut(&track)
            && asked.parts.remove(&node).is_some()
        {
            self.changed.insert(track);
        }
    }

    /// A node is not asked for anything any more.
    pub(in super::super) fn drop_node(&mut self, node: NodeId) {
        for (hash, asked) in &mut self.tracks {
            if asked.parts.remove(&node).is_some() {
                self.changed.insert(*hash);
            }
        }
    }

    /// What was said of a track may not have been heard.
    pub(in super::super) fn forget_told_of(&mut self, track: FullNameHash) {
        if let Some(asked) = self.tracks.get_mut(&track) {
            asked.told = None;
            self.changed.insert(track);
        }
    }

    /// Nobody has been told anything.
    pub(in super::super) fn forget_told(&mut self) {
        for asked in self.tracks.values_mut() {
            asked.told = None;
        }
        self.changed.extend(self.tracks.keys());
    }

    /// Whether an answer of this node is one to what it was asked last.
    pub(in super::super) fn is_answer(&self, track: FullNameHash, node: NodeId, number: RequestId) -> bool {
        let asked = self.tracks.get(&track);
        let part = asked.and_then(|asked| asked.parts.get(&node));
        part.and_then(|part| part.asked)
            .is_some_and(|asked| asked <= number)
    }

    /// Who is asked for a track.
    pub(in super::super) fn nodes(&self, track: FullNameHash) -> Vec<NodeId> {
        let asked = self.tracks.get(&track);
        asked.map_or_else(Vec::new, |asked| asked.parts.keys().copied().collect())
    }

    /// Something changed that has yet to be said.
    pub(in super::super) fn is_due(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Says what changed since the last time.
    pub(in super::super) fn flush(&mut self) -> Vec<Said> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|hash| self.say(hash)).collect()
    }

    fn say(&mut self, hash: FullNameHash) -> Option<Said> {
        let asked = self.tracks.get_mut(&hash)?;
        let Some(subscribe) = asked.merged() else {
            let asked = self.tracks.remove(&hash)?;
            let command = Command::Unsubscribe(asked.track);
            return asked.told.map(|_| Said::Command { track: hash, command });
        };
        // Who is asked is to answer, and answers each number once. A new group is one request too: the same value may be
        // asked for twice.
        if asked.new_group.is_some() || asked.parts.values().any(|part| part.asked.is_none()) {
            asked.number = numbers::next(self.epoch);
            for part in asked.parts.values_mut() {
                part.asked.get_or_insert(asked.number);
            }
        }
        asked.new_group = None;
        let data = match encode_subscribe_data(Dialect::Laps14, asked.number, &subscribe) {
            Ok(data) => data,
            Err(why) => {
                let nodes = asked.parts.keys().copied().collect();
                let track = hash;
                return Some(Said::Unsayable { track, nodes, why });
            }
        };
        if asked.told.as_ref() == Some(&data) {
            return None;
        }
        asked.told = Some(data.clone());
        let command = Command::Subscribe {
            track: asked.track.clone(),
            data,
        };
        Some(Said::Command { track: hash, command })
    }
}

impl Asked {
    /// What all nodes are asked for together; none when nothing is asked of any.
    fn merged(&self) -> Option<Subscribe> {
        let wishes = || self.parts.values().map(|part| &part.wish);
        let first = wishes().next()?;
        let forward = wishes().any(|wish| wish.forward);
        // Who is asked for nothing just now was told no priority of anybody's. MOQT-14 §7.2 [D14-PRIO-1]: 0 is the most urgent.
        let urgent = wishes().filter(|wish| wish.forward == forward);
        Some(Subscribe {
            track: self.track.clone(),
            priority: urgent.map(|wish| wish.priority).min()?,
            // These are the same for all that this relay asks for: see `track::UpstreamTerms`.
            group_order: first.group_order,
            filter: first.filter,
            forward,
            params: MessageParams {
                new_group_request: self.new_group,
                ..MessageParams::default()
            },
        })
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
