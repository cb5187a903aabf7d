//! The subscribe information base: which nodes subscribe to which tracks. laps peering, "Subscribe Information".

use super::infos::Arrival;
use super::ledger::{Ledger, Verdict, Weight, judge};
use super::names::{Name, Names};
use super::{InfoBase, InfoKey, LinkId, Output, ReportKind, Stamp, after};
use crate::peering::hash::{self, FullNameHash, TrackHash};
use crate::peering::message::{Dialect, Message, SubscribeInfo, parse_subscribe_data};
use crate::peering::node::{NodeId, NodeType};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Instant;

/// Subscriptions of other nodes.
#[derive(Debug, Default)]
pub(super) struct Subscribes {
    pub(super) ledger: Ledger<Bytes>,
    by_track: BTreeSet<(FullNameHash, NodeId)>,
    /// Names of all tracks that are subscribed to or published, by anybody.
    pub(super) tracks: Names,
}

impl Weight for Bytes {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Subscribes {
    /// The nodes that subscribe to a track, ascending.
    pub(super) fn sources(&self, track: FullNameHash) -> impl Iterator<Item = NodeId> + '_ {
        let all = self
            .by_track
            .range((track, NodeId(0))..=(track, NodeId(u64::MAX)));
        all.map(|(_, source)| *source)
    }

    /// The subscription of the first node to a track.
    pub(super) fn first(&self, track: FullNameHash) -> Option<&Bytes> {
        let source = self.sources(track).next()?;
        Some(&self.ledger.get(source, InfoKey::subscription(track))?.value)
    }

    /// The same bytes, shared with another subscription to the track where that is possible.
    fn share(&self, track: FullNameHash, data: Bytes) -> Bytes {
        self.first(track)
            .filter(|known| **known == data)
            .cloned()
            .unwrap_or(data)
    }
}

/// The name that stands in the data of a subscription; none where it cannot be read.
pub(super) fn name_in(data: &Bytes) -> Option<(Name, TrackHash)> {
    let (_, subscribe) = parse_subscribe_data(Dialect::Laps14, data).ok()?;
    Some((Name::of(&subscribe.track), TrackHash::of(&subscribe.track)))
}

impl InfoBase {
    pub(super) fn subscribe_said(&mut self, now: Instant, mut info: SubscribeInfo, arrival: Arrival) {
        let (said, source, track) = (arrival.said, info.source, info.track);
        if !self.is_from_elsewhere(source) {
            return;
        }
        if !track.is_consistent() {
            self.forged_hash(said.from);
            return;
        }
        let key = InfoKey::subscription(track.full);
        let stamp = if self.role == NodeType::Via {
            self.seen(now, source, key, hash::hash(&info.data), &said)
        } else {
            self.keep_subscribe(now, &mut info, &arrival)
        };
        let Some(stamp) = stamp else { return };
        info.sequence = stamp.sequence;
        let message = if said.alive {
            Message::SubscribeInfoAdvertise(info)
        } else {
            Message::SubscribeInfoWithdraw(info)
        };
        self.flood(source, Some(&arrival), stamp, &message);
        if self.role != NodeType::Via {
            self.tell_subscribe(source, track.full);
            self.stubs_want_track(track.full);
        }
    }

    fn keep_subscribe(&mut self, now: Instant, info: &mut SubscribeInfo, arrival: &Arrival) -> Option<Stamp> {
        let (said, source, track) = (arrival.said, info.source, info.track);
        let key = InfoKey::subscription(track.full);
        let pull = self.sync.pull_of(source);
        let known = self.subscribes.ledger.get(source, key);
        let via_is_up = known.is_some_and(|known| self.links.get(known.via).is_some());
        let same = known.is_some_and(|known| known.value == info.data);
        let was_alive = known.is_some_and(|known| known.alive);
        let verdict = judge(known, via_is_up, same, &said);
        if let Some(record) = self.subscribes.ledger.get_mut(source, key) {
            record.pull = pull;
        }
        let bytes = if said.alive { info.data.len() } else { 0 };
        let room = self.limits.room(self.limits.max_subscribes);
        let takes = || self.subscribes.ledger.takes(source, key, bytes, &room);
        if matches!(verdict, Verdict::New(_)) && !takes() {
            self.over_limit(said.from, ReportKind::TooManyInfos);
            return None;
        }
        let stamp = self.count(verdict)?;
        let mut data = Bytes::new();
        if said.alive {
            let name = name_in(&info.data);
            if name.as_ref().is_some_and(|(_, hash)| *hash != track) {
                self.forged_hash(said.from);
                return None;
            }
            let name = name.map(|(name, _)| name);
            // The name is held by the record; a second hold shows whether it is still the same one.
            if let Err(collision) = self.subscribes.tracks.take(&track, name) {
                self.collided(track.full, source, collision.first);
                return None;
            }
            if was_alive {
                self.subscribes.tracks.give_back(track.full);
            }
            data = self.subscribes.share(track.full, info.data.clone());
            info.data = data.clone();
            self.subscribes.by_track.insert((track.full, source));
        } else if was_alive {
            self.subscribes.tracks.give_back(track.full);
            self.subscribes.by_track.remove(&(track.full, source));
        }
        self.subscribes
            .ledger
            .enter(source, key, &said, stamp, data, pull);
        if !said.alive {
            let forget_at = after(now, self.settings.convergence_window);
            self.subscribes.ledger.bury(source, key, forget_at);
        }
        self.alive_by(now, source, said.from);
        Some(stamp)
    }

    /// Tells local users of a subscription to what they publish, or that it is over.
    /// laps peering, "Matching Subscribes to Announcements and Publishes".
    pub(super) fn tell_subscribe(&mut self, source: NodeId, track: FullNameHash) {
        let matches = self.is_published_here(track);
        let key = InfoKey::subscription(track);
        let Some(record) = self.subscribes.ledger.get_mut(source, key) else {
            return;
        };
        if record.alive && matches {
            record.told = true;
            let data = record.value.clone();
            if let Some(track) = self.subscribes.tracks.track_hash(track) {
                self.out
                    .push_back(Output::RemoteSubscribe { source, track, data });
            }
        } else if std::mem::replace(&mut record.told, false) {
            self.out.push_back(Output::RemoteSubscribeGone { source, track });
        }
    }

    /// The same for all who subscribe to a track, after something was published here or is no longer.
    pub(super) fn tell_subscribes(&mut self, track: FullNameHash) {
        let matches = self.is_published_here(track);
        let sources: Vec<_> = self.subscribes.sources(track).collect();
        for source in sources {
            let record = self.subscribes.ledger.get(source, InfoKey::subscription(track));
            if record.is_some_and(|record| record.told != matches) {
                self.tell_subscribe(source, track);
            }
        }
    }

    /// Whether somebody here, or a stub of ours, publishes this track or a namespace that it is in.
    pub(super) fn is_published_here(&self, track: FullNameHash) -> bool {
        let Some(name) = self.subscribes.tracks.name(track) else {
            return false;
        };
        self.own.is_live(InfoKey::track(track))
            || name.prefixes().any(|prefix| self.own.namespaces.contains(prefix))
    }

    /// Takes a subscription out without a trace.
    pub(super) fn drop_subscribe(&mut self, source: NodeId, key: InfoKey) {
        let hash = key.hash();
        let track = self.subscribes.tracks.track_hash(hash);
        let Some(record) = self
            .subscribes
            .ledger
            .remove(source, key)
            .filter(|record| record.alive)
        else {
            return;
        };
        self.counters.purged += 1;
        self.subscribes.by_track.remove(&(hash, source));
        self.subscribes.tracks.give_back(hash);
        if record.told {
            self.out
                .push_back(Output::RemoteSubscribeGone { source, track: hash });
        }
        if let Some(track) = track {
            // Relays of ours know by themselves that the node is gone; a laps relay does not look at that.
            let info = SubscribeInfo {
                sequence: record.stamp.sequence,
                source,
                track,
                data: record.value,
            };
            self.flood_to_laps(
                source,
                record.via,
                record.stamp,
                &Message::SubscribeInfoWithdraw(info),
            );
        }
        self.stubs_want_track(hash);
    }

    /// To laps relays alone.
    pub(super) fn flood_to_laps(&mut self, source: NodeId, from: LinkId, stamp: Stamp, message: &Message) {
        let said = super::ledger::Said {
            stamp: Some(stamp),
            alive: false,
            from,
            how: super::ledger::How::Stamped,
        };
        let arrival = Arrival {
            said,
            only_to_laps: true,
        };
        self.flood(source, Some(&arrival), stamp, message);
    }
}
