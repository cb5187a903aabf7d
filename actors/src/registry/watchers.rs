//! Who watches which prefix, and what of it has changed since it was last told.
//!
//! A change marks its name at every watcher and wakes those that sleep; a watcher takes the state of what is marked,
//! in parts. So nothing is queued for a watcher that is slow: it has a set of names, which is as large as what there
//! is, and changes that undo each other are never told. [D14-LIM-3]

use super::{Changes, RegistryActor, TakeChanges, UnwatchNamespace, WatchId, WatchNamespace};
use crate::namespace::NamespacesChanged;
use crate::reply::Reply;
use crate::supervise::mailbox::Wake;
use crate::track::Upstream;
use actix::{Handler, MessageResult};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::namespace_tree::NamespaceTree;
use std::collections::{BTreeSet, HashMap};

/// Names that a watcher takes at once: enough for most prefixes, and a few hundred microseconds of work.
const MAX_TAKEN: usize = 1024;

#[derive(Debug)]
struct Watcher {
    prefix: TrackNamespace,
    except: Option<Upstream>,
    wake: Wake<NamespacesChanged>,
    namespaces: BTreeSet<TrackNamespace>,
    tracks: BTreeSet<FullTrackName>,
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    tree: NamespaceTree<WatchId, ()>,
    by_id: HashMap<WatchId, Watcher>,
}

impl Watchers {
    /// Marks a namespace at everybody who watches a prefix of it.
    pub(super) fn namespace_changed(&mut self, namespace: &TrackNamespace) {
        for entry in self.tree.matches(namespace) {
            if let Some(watcher) = self.by_id.get_mut(entry.owner) {
                watcher.namespaces.insert(namespace.clone());
                watcher.wake.wake(NamespacesChanged);
            }
        }
    }

    /// Marks a track at everybody who watches a prefix of its namespace.
    pub(super) fn track_changed(&mut self, name: &FullTrackName) {
        for entry in self.tree.matches(name.namespace()) {
            if let Some(watcher) = self.by_id.get_mut(entry.owner) {
                watcher.tracks.insert(name.clone());
                watcher.wake.wake(NamespacesChanged);
            }
        }
    }

    /// How many there are, in the table and in the tree.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_id.len(), self.tree.len())
    }

    fn remove(&mut self, id: WatchId) {
        if let Some(watcher) = self.by_id.remove(&id) {
            self.tree.remove(&watcher.prefix, &id);
        }
    }
}

impl RegistryActor {
    /// Enters a watcher; the answer is the first part of what there is.
    pub(super) fn watch(&mut self, msg: WatchNamespace) -> Changes {
        let WatchNamespace {
            id,
            prefix,
            except,
            wake,
        } = msg;
        // MOQT-14 §9.28 [D14-NS-2]: everything that is there already comes first.
        let announced = self.namespaces.below(&prefix).into_iter();
        let published = self.published.below(&prefix).into_iter();
        let watcher = Watcher {
            namespaces: announced.map(|entry| entry.value.namespace.clone()).collect(),
            tracks: published.map(|entry| entry.owner.clone()).collect(),
            prefix,
            except,
            wake,
        };
        self.watchers.tree.insert(&watcher.prefix, id, ());
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
        let except = watcher.except.clone();
        let announced = |namespace| {
            let there = self.is_announced(&namespace, except.as_ref());
            (namespace, there)
        };
        let published = |name| {
            let track = self.published_track(&name, except.as_ref()).cloned();
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
        self.faults.check_named("registry", &msg.prefix);
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
