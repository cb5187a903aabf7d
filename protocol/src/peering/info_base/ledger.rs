//! What other nodes said of their publications or subscriptions: the newest of each, and for a while that it is over.

use super::{Digest, InfoKey, LinkId, Stamp};
use crate::peering::node::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Instant;

/// What is known of one info.
#[derive(Clone, Debug)]
pub(super) struct Record<V> {
    pub(super) stamp: Stamp,
    /// The link on which it came.
    pub(super) via: LinkId,
    /// False: withdrawn, and remembered so that what is older does not bring it back.
    pub(super) alive: bool,
    /// Whether local users were told.
    pub(super) told: bool,
    /// The number of the last pull that confirmed it.
    pub(super) pull: u8,
    /// Tells burials of one record apart.
    burial: u8,
    pub(super) value: V,
}

/// One statement about one info.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// None where the dialect has no number for it.
    pub(super) stamp: Option<Stamp>,
    /// False: it is withdrawn.
    pub(super) alive: bool,
    pub(super) from: LinkId,
    pub(super) how: How,
}

/// What the order of statements tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing: they come over several ways, and their stamps alone tell which is newer.
    Stamped,
    /// The link has all of them in order, but its stamps may be missing, or differ from those that others get: a real
    /// laps relay.
    InOrder,
    /// The same, and the relay speaks of itself.
    InOrderByOrigin,
    /// It is the word of the node itself, asked for.
    Origin,
}

/// What to do with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new; this is its stamp from now on.
    New(Stamp),
    /// It says what is known.
    Known,
    /// It says what was true before.
    Old,
}

/// What is kept of an info, and how large it is.
pub(super) trait Weight {
    /// Its bytes, as its node says it: what several nodes say alike is kept once, and counts for each of them.
    fn bytes(&self) -> usize;
}

/// How much is kept in all, and of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) records_of_one: usize,
    pub(super) bytes: usize,
    pub(super) bytes_of_one: usize,
}

/// What one node has.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Of what is not withdrawn.
    digest: Digest,
    records: usize,
    bytes: usize,
}

/// All infos of one kind, by node.
#[derive(Debug)]
pub(super) struct Ledger<V> {
    records: BTreeMap<(NodeId, InfoKey), Record<V>>,
    held: BTreeMap<NodeId, Held>,
    bytes: usize,
    graves: VecDeque<(Instant, NodeId, InfoKey, u8)>,
    alive: usize,
}

impl<V> Default for Ledger<V> {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            held: BTreeMap::new(),
            bytes: 0,
            graves: VecDeque::new(),
            alive: 0,
        }
    }
}

impl<V: Weight> Ledger<V> {
    /// Records, those of withdrawn infos included.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Infos that are not withdrawn.
    pub(super) const fn alive(&self) -> usize {
        self.alive
    }

    pub(super) fn get(&self, source: NodeId, key: InfoKey) -> Option<&Record<V>> {
        self.records.get(&(source, key))
    }

    pub(super) fn get_mut(&mut self, source: NodeId, key: InfoKey) -> Option<&mut Record<V>> {
        self.records.get_mut(&(source, key))
    }

    /// The count and sum over what a node has.
    pub(super) fn digest(&self, source: NodeId) -> Digest {
        self.held.get(&source).map(|held| held.digest).unwrap_or_default()
    }

    /// Whether there is room for an info of this many bytes, in the place of what is known of it. Room is shared by nodes,
    /// so that one that says more than all others leaves them theirs.
    pub(super) fn takes(&self, source: NodeId, key: InfoKey, bytes: usize, room: &Room) -> bool {
        let held = self.held.get(&source).copied().unwrap_or_default();
        let known = self.records.get(&(source, key)).map(|known| known.value.bytes());
        let before = known.unwrap_or_default();
        let more = bytes.saturating_sub(before);
        // What needs no more than before is taken whatever there is.
        let fits =
            known.is_some() || (self.records.len() < room.records && held.records < room.records_of_one);
        fits && (more == 0
            || (self.bytes.saturating_add(more) <= room.bytes
                && held.bytes.saturating_add(more) <= room.bytes_of_one))
    }

    /// Whether there is anything of this node, be it withdrawn.
    pub(super) fn has(&self, source: NodeId) -> bool {
        let first = self.records.range((source, InfoKey::FIRST)..).next();
        first.is_some_and(|((of, _), _)| *of == source)
    }

    /// The first info from this place on, of all nodes.
    pub(super) fn next(&self, at: Bound<(NodeId, InfoKey)>) -> Option<(NodeId, InfoKey, &Record<V>)> {
        let mut rest = self.records.range((at, Bound::Unbounded));
        rest.find(|(_, record)| record.alive)
            .map(|((source, key), record)| (*source, *key, record))
    }

    /// The infos of one node that are not withdrawn.
    pub(super) fn of(&self, source: NodeId) -> impl Iterator<Item = (InfoKey, &Record<V>)> {
        let all = self
            .records
            .range((source, InfoKey::FIRST)..=(source, InfoKey::LAST));
        all.filter(|(_, record)| record.alive)
            .map(|((_, key), record)| (*key, record))
    }

    /// Enters what was judged to be new. The value of what is withdrawn goes, and is returned.
    pub(super) fn enter(
        &mut self,
        source: NodeId,
        key: InfoKey,
        said: &Said,
        stamp: Stamp,
        value: V,
        pull: u8,
    ) -> Option<V> {
        let old = self.records.remove(&(source, key));
        let Held {
            digest,
            records,
            bytes,
        } = self.held.entry(source).or_default();
        let before = old.as_ref().map_or(0, |old| old.value.bytes());
        *records += usize::from(old.is_none());
        *bytes = *bytes + value.bytes() - before;
        self.bytes = self.bytes + value.bytes() - before;
        let (mut told, mut burial) = (false, 0);
        let mut before = None;
        if let Some(old) = old {
            burial = old.burial;
            if old.alive {
                told = old.told;
                digest.remove(key, old.stamp);
                self.alive -= 1;
                before = Some(old.value);
            }
        }
        if said.alive {
            digest.add(key, stamp);
            self.alive += 1;
        }
        let record = Record {
            stamp,
            via: said.from,
            alive: said.alive,
            told,
            pull,
            burial,
            value,
        };
        self.records.insert((source, key), record);
        before
    }

    /// Forgets the record at this time, unless it is buried again.
    pub(super) fn bury(&mut self, source: NodeId, key: InfoKey, at: Option<Instant>) {
        let Some((at, record)) = at.zip(self.records.get_mut(&(source, key))) else {
            return;
        };
        record.burial = record.burial.wrapping_add(1);
        self.graves.push_back((at, source, key, record.burial));
    }

    /// When something is forgotten next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.graves.front().map(|(at, ..)| *at)
    }

    /// Forgets what is due, or the oldest where `all_but` records are too many. What is alive goes as well where it was
    /// buried alive, as a Via does.
    pub(super) fn forget(&mut self, now: Instant, all_but: usize, buried_alive: bool) {
        while let Some((at, source, key, burial)) = self.graves.front().copied() {
            if at > now && self.graves.len() <= all_but {
                break;
            }
            self.graves.pop_front();
            let record = self.records.get(&(source, key));
            if record.is_some_and(|record| record.burial == burial && (buried_alive || !record.alive)) {
                self.remove(source, key);
            }
        }
    }

    /// Takes a record out, as if it had never been.
    pub(super) fn remove(&mut self, source: NodeId, key: InfoKey) -> Option<Record<V>> {
        let record = self.records.remove(&(source, key))?;
        let bytes = record.value.bytes();
        self.bytes -= bytes;
        self.alive -= usize::from(record.alive);
        if let Some(held) = self.held.get_mut(&source) {
            if record.alive {
                held.digest.remove(key, record.stamp);
            }
            held.records -= 1;
            held.bytes -= bytes;
            if held.records == 0 {
                self.held.remove(&source);
            }
        }
        Some(record)
    }

    /// The first record of a node, be it withdrawn.
    pub(super) fn first_of(&self, source: NodeId) -> Option<InfoKey> {
        let first = self.records.range((source, InfoKey::FIRST)..).next();
        first
            .filter(|((of, _), _)| *of == source)
            .map(|((_, key), _)| *key)
    }
}

/// What a statement is worth beside what is known. `same`: it would change nothing but the stamp.
///
/// Relays of ours give each statement of a node one stamp for all, so the newer one wins wherever they meet. A real laps
/// relay counts for each of its peers by itself, sends no number with a publication, and takes a withdrawal whatever its
/// number; what it says over one link is in order, though. There a statement that changes something counts if it is newer
/// by its number, or comes from whom the last one came, or from the node itself; any other may be an old one that took a
/// longer way. It gets the stamp that makes every relay of ours agree.
pub(super) fn judge<V>(known: Option<&Record<V>>, via_is_up: bool, same: bool, said: &Said) -> Verdict {
    let Some(known) = known else {
        return Verdict::New(said.stamp.unwrap_or(Stamp::FIRST));
    };
    let changes = known.alive != said.alive || (said.alive && !same);
    let newer = said.stamp.filter(|stamp| stamp.is_newer_than(known.stamp));
    match said.how {
        How::Origin => match said.stamp {
            Some(stamp) if stamp != known.stamp || changes => Verdict::New(stamp),
            _ => Verdict::Known,
        },
        How::InOrder | How::InOrderByOrigin if !changes => Verdict::Known,
        How::InOrder | How::InOrderByOrigin => {
            let in_order = said.how == How::InOrderByOrigin || known.via == said.from || !via_is_up;
            match newer {
                // The life of the node stays known, though a laps relay does not tell it.
                Some(stamp) => Verdict::New(Stamp {
                    epoch: known.stamp.epoch,
                    ..stamp
                }),
                None if in_order => Verdict::New(known.stamp.next()),
                None => Verdict::Old,
            }
        }
        How::Stamped => match (newer, said.stamp) {
            (Some(stamp), _) => Verdict::New(stamp),
            // A real laps relay gives its withdrawal the number of what it withdraws, and a Via between may have
            // forgotten it.
            (None, Some(stamp))
                if stamp.epoch == 0 && known.stamp.epoch == 0 && known.alive && !said.alive =>
            {
                if stamp == known.stamp || known.via == said.from {
                    Verdict::New(known.stamp)
                } else {
                    Verdict::Old
                }
            }
            (None, Some(stamp)) if stamp == known.stamp => Verdict::Known,
            _ => Verdict::Old,
        },
    }
}
