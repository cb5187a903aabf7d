//! Which stubs a change concerns, without asking each of them.

use super::names::Name;
use super::{InfoKey, LinkId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// By name and by hash. What it finds may be more than is concerned, and is never less: whether a stub is told anything is
/// decided by what the stub itself holds.
#[derive(Debug, Default)]
pub(super) struct StubIndex {
    /// What stubs publish, subscribe to and watch, and how many reasons a stub has to care for a name.
    cares: BTreeMap<Name, BTreeMap<LinkId, u32>>,
    /// Who was told of something, whose name may be known no longer when that goes.
    told: BTreeMap<InfoKey, BTreeSet<LinkId>>,
    /// Stubs that cannot say what they watch, and are told of everything published.
    laps: BTreeSet<LinkId>,
    /// How often a stub was looked at.
    #[cfg(test)]
    pub(super) looks: u64,
}

impl StubIndex {
    /// A stub has one more reason to care for a name.
    pub(super) fn care(&mut self, name: &Name, link: LinkId) {
        let links = self.cares.entry(name.clone()).or_default();
        *links.entry(link).or_default() += 1;
    }

    /// And one less.
    pub(super) fn forget(&mut self, name: &Name, link: LinkId) {
        let Some(links) = self.cares.get_mut(name) else {
            return;
        };
        if let Some(reasons) = links.get_mut(&link) {
            *reasons -= 1;
            if *reasons == 0 {
                links.remove(&link);
            }
        }
        if links.is_empty() {
            self.cares.remove(name);
        }
    }

    /// A stub was told of something, or that it is over.
    pub(super) fn told(&mut self, key: InfoKey, link: LinkId, there: bool) {
        if there {
            self.told.entry(key).or_default().insert(link);
        } else if let Some(links) = self.told.get_mut(&key) {
            links.remove(&link);
            if links.is_empty() {
                self.told.remove(&key);
            }
        }
    }

    /// A stub of laps is there, or is not any more.
    pub(super) fn laps(&mut self, link: LinkId, there: bool) {
        if there {
            self.laps.insert(link);
        } else {
            self.laps.remove(&link);
        }
    }

    /// Stubs that a change to a subscription may concern.
    pub(super) fn of_track(&self, key: InfoKey, name: Option<&Name>) -> BTreeSet<LinkId> {
        let mut found = self.told.get(&key).cloned().unwrap_or_default();
        if let Some(name) = name {
            found.extend(self.above(name));
        }
        found
    }

    /// Stubs that a change to a publication may concern.
    pub(super) fn of_publish(&self, key: InfoKey, name: Option<&Name>) -> BTreeSet<LinkId> {
        let mut found = self.of_track(key, name);
        found.extend(&self.laps);
        if let Some(name) = name.filter(|_| key.is_namespace()) {
            let from = (Bound::Included(name), Bound::Unbounded);
            let below = self.cares.range::<Name, _>(from);
            let below = below.take_while(|(other, _)| other.is_below(name));
            found.extend(below.flat_map(|(_, links)| links.keys()));
        }
        found
    }

    /// Who cares for this name, or a namespace that it is in.
    fn above(&self, name: &Name) -> impl Iterator<Item = LinkId> {
        let namespaces = name.prefixes().filter_map(|prefix| self.cares.get(prefix));
        let links = namespaces.chain(self.cares.get(name));
        links.flat_map(|links| links.keys().copied())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.cares.is_empty() && self.told.is_empty() && self.laps.is_empty()
    }
}
