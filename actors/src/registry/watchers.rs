//! Who watches which prefix, and what of it has changed since it was last told.
//!
//! A change marks its name at every watcher and wakes those that sleep; a watcher takes the state of what is marked,
//! in parts. So nothing is queued for a watcher that is slow: it has a set of names, which is as large as what there
//! is, and changes that undo each other are never told. [D14-LIM-3]

use super::{Changes, RegistryActor, TakeChanges, UnwatchNamespace, WatchId, WatchNamespace, Whose};
use crate::namespace::NamespacesChanged;
use crate::reply::Reply;
use crate::supervise::mailbox::Wake;
use actix::{Handler, MessageResult};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::namespace_tree::NamespaceTree;
use std::collections::{BTreeSet, HashMap};

/// Names that a watcher takes at once: enough for most prefixes, and a few hundred microseconds of work.
const MAX_TAKEN: usize = 1024;

#[derive(Debug)]
struct Watcher {
    prefix: Option<TrackNamespace>,
    whose: Whose,
    wake: Wake<NamespacesChanged>,
    namespaces: BTreeSet<TrackNamespace>,
    tracks: BTreeSet<FullTrackName>,
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    tree: NamespaceTree<WatchId, ()>,
    /// Those who watch everything.
    of_all: BTreeSet<WatchId>,
    by_id: HashMap<WatchId, Watcher>,
}

impl Watchers {
    /// Marks a namespace at everybody who watches a prefix of it.
    pub(super) fn namespace_changed(&mut self, namespace: &TrackNamespace) {
        self.mark(namespace, |watcher| {
            watcher.namespaces.insert(namespace.clone());
        });
    }

    /// Marks a track at everybody who watches a prefix of its namespace.
    pub(super) fn track_changed(&mut self, name: &FullTrackName) {
        self.mark(name.namespace(), |watcher| {
            watcher.tracks.insert(name.clone());
        });
    }

    fn mark(&mut self, namespace: &TrackNamespace, mark: impl Fn(&mut Watcher)) {
        let below = self.tree.matches(namespace);
        let below = below.into_iter().map(|entry| entry.owner);
        for id in below.chain(&self.of_all) {
            if let Some(watcher) = self.by_id.get_mut(id) {
                mark(watcher);
                watcher.wake.wake(NamespacesChanged);
            }
        }
    }

    /// How many there are, in the table and in the tree.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_id.len(), self.tree.len() + self.of_all.len())
    }

    /// Prefixes that clients watch.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &TrackNamespace> {
        let clients = self
            .by_id
            .values()
            .filter(|watcher| watcher.whose.is_of_a_client());
        clients.filter_map(|watcher| watcher.prefix.as_ref())
    }

    /// Whether a client watches this very prefix.
    pub(super) fn watches(&self, prefix: &TrackNamespace) -> bool {
        let fields = prefix.fields().len();
        let entries = self.tree.matches(prefix).into_iter();
        let mut here = entries.take_while(|entry| entry.fields == fields);
        here.any(|entry| {
            let watcher = self.by_id.get(entry.owner);
            watcher.is_some_and(|watcher| watcher.whose.is_of_a_client())
        })
    }

    fn remove(&mut self, id: WatchId) {
        let Some(watcher) = self.by_id.remove(&id) else {
            return;
        };
        match watcher.prefix {
            Some(prefix) => drop(self.tree.remove(&prefix, &id)),
            None => drop(self.of_all.remove(&id)),
        }
    }
}

impl RegistryActor {
    /// Enters a watcher; the answer is the first part of what there is.
    pub(super) fn watch(&mut self, msg: WatchNamespace) -> Changes {
        let WatchNamespace {
            id,
            prefix,
            whose,
            wake,
        } = msg;
        if let Some(prefix) = prefix.as_ref().filter(|_| whose.is_of_a_client()) {
            self.seekers.seek(prefix);
        }
        // MOQT-14 §9.28 [D14-NS-2]: everything that is there already comes first.
        let (announced, published) = prefix.as_ref().map_or_else(
            || (self.namespaces.all(), self.published.all()),
            |prefix| (self.namespaces.below(prefix), self.published.below(prefix)),
        );
        let (announced, published) = (announced.into_iter(), published.into_iter());
        let watcher = Watcher {
            namespaces: announced.map(|entry| entry.value.namespace.clone()).collect(),
            tracks: published.map(|entry| entry.owner.clone()).collect(),
            prefix,
            whose,
            wake,
        };
        match &watcher.prefix {
            Some(prefix) => drop(self.watchers.tree.insert(prefix, id, ())),
            None => drop(self.watchers.of_all.insert(id)),
        }
        self.watchers.by_id.insert(id, watcher);
        self.take_changes(id).unwrap_or_default()
    }

    /// The state of the next names that are marked at a watcher.
    fn take_changes(&mut self, id: WatchId) -> Option<Changes> {
        let watcher = self.watchers.by_id.get_mut(&id)?;
        let namespaces: Vec<_> = std::iter::from_fn(|| watcher.namespaces.pop_first())
            .take(MAX_TAKEN)
            .collect();
        let tracks: Vec<_> = std::iter::from_fn(|| watcher.tracks.pop_first())
            .take(MAX_TAKEN - namespaces.len())
            .collect();
        let more = !watcher.namespaces.is_empty() || !watcher.tracks.is_empty();
        // MOQT-14 §6.1 [D14-NS-3]: what the watcher publishes itself counts too, unless the operator said otherwise.
        let whose = watcher.whose.clone();
        let announced = |namespace| {
            let there = self.is_announced(&namespace, &whose);
            (namespace, there)
        };
        let published = |name| {
            let track = self.published_track(&name, &whose).cloned();
            (name, track)
        };
        Some(Changes {
            namespaces: namespaces.into_iter().map(announced).collect(),
            tracks: tracks.into_iter().map(published).collect(),
            more,
        })
    }
}

impl Handler<WatchNamespace> for RegistryActor {
    type Result = Reply<Changes>;

    fn handle(&mut self, msg: WatchNamespace, _: &mut Self::Context) -> Self::Result {
        if let Some(prefix) = &msg.prefix {
            self.faults.check_named("registry", prefix);
        }
        let Some(muster) = &mut self.muster else {
            return Reply::Now(self.watch(msg));
        };
        let (answer, reply) = Reply::later();
        muster.watch(msg, reply);
        answer
    }
}

impl Handler<TakeChanges> for RegistryActor {
    type Result = MessageResult<TakeChanges>;

    fn handle(&mut self, msg: TakeChanges, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.take_changes(msg.0))
    }
}

impl Handler<UnwatchNamespace> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: UnwatchNamespace, _: &mut Self::Context) {
        if let Some(muster) = &mut self.muster {
            muster.unwatch(msg.0);
        }
        self.watchers.remove(msg.0);
    }
}
