//! How much is said for whom, in bytes as other nodes count them. Those bound what they keep of one node, and refuse what
//! comes last, whoever it is for: so it is bounded here, where who says too much is the one that hears of it.

use super::super::ledger::Weight;
use super::super::publishes::bytes_of;
use super::super::{InfoKey, Limits, LinkId};
use super::{Own, OwnEntry, Owner, Wanted};
use std::collections::BTreeMap;

impl Weight for Wanted {
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(what) => bytes_of(what),
            Self::Subscribe(_, data) => data.len(),
        }
    }
}

/// Bytes of publications and of subscriptions, which are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    publishes: usize,
    subscribes: usize,
}

impl Load {
    /// Those of one kind.
    const fn of(&mut self, kind: &Wanted) -> &mut usize {
        match kind {
            Wanted::Publish(_) => &mut self.publishes,
            Wanted::Subscribe(..) => &mut self.subscribes,
        }
    }
}

/// What one stub has, what it had last and is remembered included: whoever lets go of what it says can say no more for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    entries: usize,
    load: Load,
}

/// What all have.
#[derive(Debug, Default)]
pub(super) struct Shares {
    load: Load,
    stubs: BTreeMap<LinkId, Share>,
}

impl Shares {
    fn of(&self, stub: LinkId) -> Share {
        self.stubs.get(&stub).copied().unwrap_or_default()
    }

    /// Somebody has something of this kind that has so many bytes.
    pub(super) fn take(&mut self, owner: Owner, kind: &Wanted, bytes: usize) {
        let Owner::Stub(link) = owner else { return };
        let share = self.stubs.entry(link).or_default();
        share.entries += 1;
        *share.load.of(kind) += bytes;
    }

    /// Somebody has it no longer.
    pub(super) fn give_back(&mut self, owner: Owner, kind: &Wanted, bytes: usize) {
        let Owner::Stub(link) = owner else { return };
        let Some(share) = self.stubs.get_mut(&link) else {
            return;
        };
        share.entries -= 1;
        *share.load.of(kind) -= bytes;
        if share.entries == 0 {
            self.stubs.remove(&link);
        }
    }

    /// Weighs an entry anew, of which somebody said so many bytes, or nothing more.
    pub(super) fn weigh(&mut self, entry: &mut OwnEntry, said: usize) {
        let bytes = entry.weigh(entry.bytes.max(said));
        let all = self.load.of(&entry.wanted);
        *all = *all + bytes - entry.bytes;
        if let Some(Owner::Stub(left)) = entry.left
            && let Some(share) = self.stubs.get_mut(&left)
        {
            let of_stub = share.load.of(&entry.wanted);
            *of_stub = *of_stub + bytes - entry.bytes;
        }
        entry.bytes = bytes;
    }
}

impl OwnEntry {
    /// The bytes that count as this owner's; none where it is not theirs.
    fn said_by(&self, owner: Owner) -> Option<usize> {
        let left = (self.left == Some(owner)).then_some(self.bytes);
        self.owners.get(&owner).map(Wanted::bytes).or(left)
    }

    /// The bytes of the longest that is said of it: others are told of that when the rest is over. It has no more than
    /// `most`, so what has as many is the longest.
    fn weigh(&self, most: usize) -> usize {
        if !self.is_live() {
            return 0;
        }
        let mut bytes = self.wanted.bytes();
        for wanted in self.owners.values() {
            if bytes >= most {
                break;
            }
            bytes = bytes.max(wanted.bytes());
        }
        bytes
    }
}

impl Own {
    /// An entry is over and told, and remembered no longer.
    pub(super) fn forget(&mut self, key: InfoKey) {
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        if let Some(left) = entry.left {
            self.shares.give_back(left, &entry.wanted, entry.bytes);
        }
    }

    /// Whether there is room for what somebody wants, in the place of what is there of it. What needs no more than before is
    /// taken whatever there is.
    pub(super) fn takes(&self, key: InfoKey, owner: Owner, wanted: &Wanted, limits: &Limits) -> bool {
        let bytes = wanted.bytes();
        let fits = |more: usize, mut load: Load, most: usize| {
            more == 0 || load.of(wanted).saturating_add(more) <= most
        };
        let known = self.entries.get(&key);
        let more = bytes.saturating_sub(known.map_or(0, |known| known.bytes));
        let (most, most_bytes) = (limits.max_own, limits.max_info_bytes_of_node);
        let Owner::Stub(link) = owner else {
            return (known.is_some() || self.entries.len() < most)
                && fits(more, self.shares.load, most_bytes);
        };
        if (known.is_none() && self.entries.len() >= Limits::of_stubs(most))
            || !fits(more, self.shares.load, Limits::of_stubs(most_bytes))
        {
            return false;
        }
        let share = self.shares.of(link);
        let said = known.and_then(|known| known.said_by(owner));
        let more = bytes.saturating_sub(said.unwrap_or_default());
        (said.is_some() || share.entries < Limits::of_one_stub(most))
            && fits(more, share.load, Limits::of_one_stub(most_bytes))
    }
}

#[cfg(test)]
impl Own {
    /// What is counted is what there is.
    pub(in super::super) fn check_shares(&self) {
        let mut load = Load::default();
        let mut stubs = BTreeMap::<_, Share>::new();
        for entry in self.entries.values() {
            let said = std::iter::once(&entry.wanted).chain(entry.owners.values());
            let longest = said.map(Wanted::bytes).max().unwrap();
            let bytes = if entry.is_live() { longest } else { 0 };
            assert_eq!(entry.bytes, bytes);
            *load.of(&entry.wanted) += bytes;
            assert_eq!(entry.left.is_some(), entry.owners.is_empty());
            let owners = entry.owners.iter().map(|(owner, wanted)| (owner, wanted.bytes()));
            for (owner, bytes) in owners.chain(entry.left.iter().map(|left| (left, bytes))) {
                let Owner::Stub(link) = owner else { continue };
                let share = stubs.entry(*link).or_default();
                share.entries += 1;
                *share.load.of(&entry.wanted) += bytes;
            }
        }
        assert_eq!((self.shares.load, &self.shares.stubs), (load, &stubs));
    }
}
