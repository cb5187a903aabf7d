//! The publish information base: which nodes have publishers of what. laps peering, "Publish Information".

use super::infos::Arrival;
use super::ledger::{Ledger, Verdict, Weight, judge};
use super::names::{Collision, Name, Names};
use super::{InfoBase, InfoKey, Output, ReportKind, Stamp, after};
use crate::peering::message::{Message, PublishInfo, Published};
use crate::peering::node::{NodeId, NodeType};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Publications of other nodes.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    /// Without a value where it is withdrawn.
    pub(super) ledger: Ledger<Option<Arc<Published>>>,
    by_key: BTreeSet<(InfoKey, NodeId)>,
    /// Names of all namespaces that are published, by anybody.
    pub(super) namespaces: Names,
}

impl Weight for Option<Arc<Published>> {
    fn bytes(&self) -> usize {
        self.as_deref().map_or(0, bytes_of)
    }
}

/// Bytes of a name.
pub(super) fn bytes_of(what: &Published) -> usize {
    match what {
        Published::Track(track) => track.namespace().byte_len() + track.name().len(),
        Published::Namespace(namespace) => namespace.byte_len(),
    }
}

impl Publishes {
    /// The nodes that publish something, ascending.
    pub(super) fn sources(&self, key: InfoKey) -> impl Iterator<Item = NodeId> + '_ {
        let all = self.by_key.range((key, NodeId(0))..=(key, NodeId(u64::MAX)));
        all.map(|(_, source)| *source)
    }

    /// All that is published.
    pub(super) fn keys(&self) -> Vec<InfoKey> {
        let mut keys: Vec<_> = self.by_key.iter().map(|(key, _)| *key).collect();
        keys.dedup();
        keys
    }

    /// What it is that somebody publishes.
    pub(super) fn what(&self, key: InfoKey) -> Option<&Arc<Published>> {
        let source = self.sources(key).next()?;
        self.ledger.get(source, key)?.value.as_ref()
    }
}

impl InfoBase {
    pub(super) fn publish_said(&mut self, now: Instant, mut info: PublishInfo, arrival: Arrival) {
        let (said, source) = (arrival.said, info.source);
        if !self.is_from_elsewhere(source) {
            return;
        }
        if !info.is_consistent() {
            self.forged_hash(said.from);
            return;
        }
        let key = InfoKey::published(&info.what);
        let stamp = if self.role == NodeType::Via {
            self.seen(now, source, key, 0, &said)
        } else {
            self.keep_publish(now, key, &mut info, &arrival)
        };
        let Some(stamp) = stamp else { return };
        let message = |info| {
            if said.alive {
                Message::PublishInfoAdvertise(info)
            } else {
                Message::PublishInfoWithdraw(info)
            }
        };
        let what = info.what.clone();
        self.flood(source, Some(&arrival), stamp, &message(info));
        if self.role != NodeType::Via {
            self.tell_publish(source, key, what);
            self.stubs_want_publish(key);
        }
    }

    fn keep_publish(
        &mut self,
        now: Instant,
        key: InfoKey,
        info: &mut PublishInfo,
        arrival: &Arrival,
    ) -> Option<Stamp> {
        let (said, source) = (arrival.said, info.source);
        let pull = self.sync.pull_of(source);
        let known = self.publishes.ledger.get(source, key);
        let via_is_up = known.is_some_and(|known| self.links.get(known.via).is_some());
        let was_alive = known.is_some_and(|known| known.alive);
        // What is published is all that is said of it; the same hash with another name is found out below.
        let value = known.and_then(|known| known.value.as_deref());
        let same = value.is_some_and(|value| *value == info.what);
        let verdict = judge(known, via_is_up, same, &said);
        if let Some(record) = self.publishes.ledger.get_mut(source, key) {
            record.pull = pull;
        }
        let bytes = if said.alive { bytes_of(&info.what) } else { 0 };
        let room = self.limits.room(self.limits.max_publishes);
        let takes = || self.publishes.ledger.takes(source, key, bytes, &room);
        if matches!(verdict, Verdict::New(_)) && !takes() {
            self.over_limit(said.from, ReportKind::TooManyInfos);
            return None;
        }
        let stamp = self.count(verdict)?;
        let mut value = None;
        if said.alive {
            if let Err(collision) = self.take_name(&info.what) {
                self.collided(info.hash, source, collision.first);
                return None;
            }
            if was_alive {
                self.give_name_back(key);
            }
            let known = self.publishes.what(key).filter(|known| ***known == info.what);
            value = Some(known.map_or_else(|| Arc::new(info.what.clone()), Arc::clone));
            self.publishes.by_key.insert((key, source));
        } else if was_alive {
            self.give_name_back(key);
            self.publishes.by_key.remove(&(key, source));
        }
        let before = self
            .publishes
            .ledger
            .enter(source, key, &said, stamp, value, pull);
        if let Some(known) = before.flatten().filter(|_| !said.alive) {
            // A withdrawal may name what is not known and has the same hash; who was told of a name hears of its end.
            info.what = Arc::unwrap_or_clone(known);
        }
        if !said.alive {
            let forget_at = after(now, self.settings.convergence_window);
            self.publishes.ledger.bury(source, key, forget_at);
        }
        self.alive_by(now, source, said.from);
        Some(stamp)
    }

    /// One more user of the name of what is published.
    pub(super) fn take_name(&mut self, what: &Published) -> Result<(), Collision> {
        match what {
            Published::Track(track) => self.subscribes.tracks.take(&what.hash(), Some(Name::of(track))),
            Published::Namespace(namespace) => {
                let name = Name::of_namespace(namespace);
                self.publishes.namespaces.take(&what.hash(), Some(name))
            }
        }
    }

    /// One user less of a name.
    pub(super) fn give_name_back(&mut self, key: InfoKey) {
        if key.is_namespace() {
            self.publishes.namespaces.give_back(key.hash());
        } else {
            self.subscribes.tracks.give_back(key.hash());
        }
    }

    /// Tells local users, who keep no more of it than they need.
    fn tell_publish(&mut self, source: NodeId, key: InfoKey, what: Published) {
        let Some(record) = self.publishes.ledger.get_mut(source, key) else {
            return;
        };
        if record.alive && !std::mem::replace(&mut record.told, true) {
            self.out.push_back(Output::RemotePublish { source, what });
        } else if !record.alive && std::mem::replace(&mut record.told, false) {
            self.out.push_back(Output::RemotePublishGone { source, what });
        }
    }

    /// Takes a publication out without a trace.
    pub(super) fn drop_publish(&mut self, source: NodeId, key: InfoKey) {
        let Some(record) = self
            .publishes
            .ledger
            .remove(source, key)
            .filter(|record| record.alive)
        else {
            return;
        };
        self.counters.purged += 1;
        self.publishes.by_key.remove(&(key, source));
        self.give_name_back(key);
        let Some(what) = record.value else { return };
        if record.told {
            let what = Published::clone(&what);
            self.out.push_back(Output::RemotePublishGone { source, what });
        }
        let info = PublishInfo::new(source, Arc::unwrap_or_clone(what));
        self.flood_to_laps(
            source,
            record.via,
            record.stamp,
            &Message::PublishInfoWithdraw(info),
        );
        self.stubs_want_publish(key);
    }
}
