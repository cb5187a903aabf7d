//! Publications and subscriptions of this relay: of its local users, and of its stubs, for which it stands.
//! laps peering, "Stub".

mod shares;

use super::ledger::Weight;
use super::names::Name;
use super::{Command, CommandError, Digest, InfoBase, InfoKey, LinkId, Output, OwnMessage, Stamp, after};
use crate::moqt::name::TrackNamespace;
use crate::peering::hash::TrackHash;
use crate::peering::message::{Message, PublishInfo, Published, Sequence, SubscribeInfo};
use crate::peering::node::{NodeId, NodeType};
use bytes::Bytes;
use shares::Shares;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Local users, who are one.
    Local,
    /// A stub.
    Stub(LinkId),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Publish(Published),
    Subscribe(TrackHash, Bytes),
}

/// Where it stands with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Others know it.
    Advertised,
    /// Nobody wants it any more, and others are told at this time.
    Held(Instant),
    /// Others were told that it is over; its number is remembered until this time.
    Withdrawn(Instant),
}

#[derive(Debug)]
pub(super) struct OwnEntry {
    /// Of its latest statement.
    sequence: Sequence,
    state: State,
    owners: BTreeMap<Owner, Wanted>,
    /// The last of them, where there is none any more: it counts as theirs until it is forgotten.
    left: Option<Owner>,
    /// What others are told: what local users say, or else what was said last.
    pub(super) wanted: Wanted,
    /// Said since the last [`Command::BeginEpoch`].
    confirmed: bool,
    /// What it may have others keep.
    bytes: usize,
}

impl OwnEntry {
    /// What anybody but this one wants; none when nobody does.
    pub(super) fn wanted_beside(&self, owner: Owner) -> Option<&Wanted> {
        let mut others = self.owners.iter().filter(|(other, _)| **other != owner);
        match self.state {
            State::Advertised if others.clone().any(|(_, wanted)| *wanted == self.wanted) => {
                Some(&self.wanted)
            }
            State::Advertised => others.next().map(|(_, wanted)| wanted),
            // Who wanted it may come back.
            State::Held(_) => Some(&self.wanted),
            State::Withdrawn(_) => None,
        }
    }

    fn is_live(&self) -> bool {
        !matches!(self.state, State::Withdrawn(_))
    }
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Own {
    entries: BTreeMap<InfoKey, OwnEntry>,
    shares: Shares,
    /// Namespaces that are published.
    pub(super) namespaces: BTreeSet<Name>,
    pub(super) digest: Digest,
    due: BTreeSet<(Instant, InfoKey)>,
    /// When local users have to have said again what they want.
    confirm_by: Option<Instant>,
    /// On a stub: prefixes that are watched, and the link to the edge that it belongs to.
    watched: BTreeSet<TrackNamespace>,
    pub(super) parent: Option<LinkId>,
}

impl Own {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = InfoKey> + '_ {
        self.entries.keys().copied()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.due.first().map(|(at, _)| *at);
        [first, self.confirm_by].into_iter().flatten().min()
    }

    pub(super) fn get(&self, key: InfoKey) -> Option<&OwnEntry> {
        self.entries.get(&key).filter(|entry| entry.is_live())
    }

    pub(super) fn is_live(&self, key: InfoKey) -> bool {
        self.get(key).is_some()
    }

    /// What others know, behind this place.
    pub(super) fn after(&self, place: Option<InfoKey>) -> Option<(InfoKey, Sequence, &Wanted)> {
        let start = place.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.entries.range((start, Bound::Unbounded));
        rest.find(|(_, entry)| entry.is_live())
            .map(|(key, entry)| (*key, entry.sequence, &entry.wanted))
    }
}

impl InfoBase {
    /// A local user wants something.
    ///
    /// # Errors
    /// When it cannot be; nothing has changed then.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        if self.role == NodeType::Via {
            return Err(CommandError::NotOnAVia);
        }
        match command {
            Command::Publish(what) => {
                let key = InfoKey::published(&what);
                self.want(key, Owner::Local, Wanted::Publish(what))?;
            }
            Command::Unpublish(what) => self.unwant(now, InfoKey::published(&what), Owner::Local),
            Command::Subscribe { track, data } => {
                let hash = TrackHash::of(&track);
                // The name in the data is what publishers are asked for.
                let name = Name::of(&track);
                let key = InfoKey::subscription(hash.full);
                let known = self.subscribes.tracks.name(hash.full);
                if known.is_some_and(|known| *known != name) {
                    let first = self.subscribes.tracks.is_news(hash.full);
                    self.collided(hash.full, self.node, first);
                    return Err(CommandError::NameCollision);
                }
                self.want_named(key, Owner::Local, Wanted::Subscribe(hash, data), Some(name))?;
            }
            Command::Unsubscribe(track) => {
                let hash = TrackHash::of(&track).full;
                self.unwant(now, InfoKey::subscription(hash), Owner::Local);
            }
            Command::Watch(prefix) => self.watch(prefix),
            Command::Unwatch(prefix) => {
                if self.own.watched.remove(&prefix) {
                    self.tell_parent(OwnMessage::Unwatch(prefix));
                }
            }
            Command::BeginEpoch => {
                for entry in self.own.entries.values_mut() {
                    entry.confirmed = false;
                }
                self.own.confirm_by = after(now, self.settings.unsubscribe_hold);
            }
        }
        Ok(())
    }

    fn watch(&mut self, prefix: TrackNamespace) {
        if self.role == NodeType::Stub && self.own.watched.insert(prefix.clone()) {
            self.tell_parent(OwnMessage::Watch(prefix));
        }
    }

    fn tell_parent(&mut self, message: OwnMessage) {
        let parent = self
            .own
            .parent
            .and_then(|link| Some((link, self.links.get(link)?)));
        if let Some((link, _)) = parent.filter(|(_, link)| link.kin.is_ours()) {
            self.counters.sent += 1;
            self.out.push_back(Output::SendOwn { link, message });
        }
    }

    pub(super) fn want(&mut self, key: InfoKey, owner: Owner, wanted: Wanted) -> Result<(), CommandError> {
        let name = match &wanted {
            Wanted::Publish(_) => None,
            Wanted::Subscribe(_, data) => super::subscribes::name_in(data).map(|(name, _)| name),
        };
        self.want_named(key, owner, wanted, name)
    }

    fn want_named(
        &mut self,
        key: InfoKey,
        owner: Owner,
        wanted: Wanted,
        name: Option<Name>,
    ) -> Result<(), CommandError> {
        if !self.own.takes(key, owner, &wanted, &self.limits) {
            self.counters.over_limit += 1;
            return Err(CommandError::TooMany);
        }
        if !self.own.is_live(key) {
            let taken = match &wanted {
                Wanted::Publish(what) => self.take_name(what),
                Wanted::Subscribe(hash, _) => self.subscribes.tracks.take(hash, name),
            };
            if let Err(collision) = taken {
                self.collided(key.hash(), self.node, collision.first);
                return Err(CommandError::NameCollision);
            }
        } else if let (Wanted::Publish(what), Some(entry)) = (&wanted, self.own.get(key)) {
            // The same hash, but other fields.
            if entry.wanted != Wanted::Publish(what.clone()) {
                let names = if key.is_namespace() {
                    &mut self.publishes.namespaces
                } else {
                    &mut self.subscribes.tracks
                };
                let first = names.is_news(key.hash());
                self.collided(key.hash(), self.node, first);
                return Err(CommandError::NameCollision);
            }
        }
        let before = self.own.entries.get(&key).map(|entry| entry.state);
        let entry = self.own.entries.entry(key).or_insert_with(|| OwnEntry {
            sequence: Sequence(0),
            state: State::Advertised,
            owners: BTreeMap::new(),
            left: None,
            wanted: wanted.clone(),
            confirmed: true,
            bytes: 0,
        });
        let bytes = wanted.bytes();
        if let Some(left) = entry.left.take() {
            self.own.shares.give_back(left, &entry.wanted, entry.bytes);
        }
        if let Some(said) = entry.owners.insert(owner, wanted.clone()) {
            self.own.shares.give_back(owner, &said, said.bytes());
        }
        self.own.shares.take(owner, &wanted, bytes);
        entry.confirmed |= owner == Owner::Local;
        // Local users subscribe to what stubs subscribe to, and what they say has the stubs' wishes in it.
        let wanted = entry.owners.get(&Owner::Local).cloned().unwrap_or(wanted);
        let same = entry.wanted == wanted;
        entry.wanted = wanted;
        let tell = match before {
            None => true,
            Some(State::Advertised) => !same,
            Some(State::Held(at)) => {
                // laps peering, "Unsubscribe/Subscribe Misuse": as if there was no unsubscribe.
                self.own.due.remove(&(at, key));
                self.counters.held_back += 1;
                !same
            }
            Some(State::Withdrawn(at)) => {
                self.own.due.remove(&(at, key));
                true
            }
        };
        entry.state = State::Advertised;
        self.own.shares.weigh(entry, bytes);
        if tell {
            let was_live = before.is_some_and(|state| !matches!(state, State::Withdrawn(_)));
            self.advertise(key, was_live);
        }
        self.own_changed(key);
        Ok(())
    }

    /// This owner does not want it any more.
    pub(super) fn unwant(&mut self, now: Instant, key: InfoKey, owner: Owner) {
        let hold = after(now, self.settings.unsubscribe_hold);
        let Some(entry) = self.own.entries.get_mut(&key) else {
            return;
        };
        let Some(said) = entry.owners.remove(&owner) else {
            return;
        };
        self.own.shares.give_back(owner, &said, said.bytes());
        if let Some(rest) = entry.owners.values().next() {
            // Whose data went out last may have left.
            let tell = !entry.owners.values().any(|wanted| *wanted == entry.wanted);
            if tell {
                entry.wanted = rest.clone();
            }
            self.own.shares.weigh(entry, 0);
            if tell {
                self.advertise(key, true);
            }
        } else {
            entry.left = Some(owner);
            self.own.shares.take(owner, &entry.wanted, entry.bytes);
            match (&entry.wanted, hold) {
                (Wanted::Subscribe(..), Some(at)) => {
                    entry.state = State::Held(at);
                    self.own.due.insert((at, key));
                }
                _ => self.withdraw(now, key),
            }
        }
        self.own_changed(key);
    }

    /// The one number of a new statement, for all links. (A real laps relay counts once for each.)
    fn advertise(&mut self, key: InfoKey, was_live: bool) {
        let Some(entry) = self.own.entries.get_mut(&key) else {
            return;
        };
        let stamp = |sequence| Stamp {
            epoch: self.epoch,
            sequence,
        };
        if was_live {
            self.own.digest.remove(key, stamp(entry.sequence));
        }
        entry.sequence = entry.sequence.next();
        let stamp = stamp(entry.sequence);
        self.own.digest.add(key, stamp);
        if let Wanted::Publish(Published::Namespace(namespace)) = &entry.wanted {
            self.own.namespaces.insert(Name::of_namespace(namespace));
        }
        let message = own_message(self.node, &entry.wanted, stamp.sequence, true);
        self.flood(self.node, None, stamp, &message);
    }

    fn withdraw(&mut self, now: Instant, key: InfoKey) {
        let Some(entry) = self.own.entries.get_mut(&key) else {
            return;
        };
        let stamp = Stamp {
            epoch: self.epoch,
            sequence: entry.sequence,
        };
        self.own.digest.remove(key, stamp);
        let stamp = stamp.next();
        entry.sequence = stamp.sequence;
        let wanted = entry.wanted.clone();
        // Its number is known until everybody has forgotten the withdrawal, who hear of it up to a window later: otherwise what
        // begins anew, with the first number, is older than that.
        let forget_at = after(now, self.settings.convergence_window.saturating_mul(2));
        entry.state = State::Withdrawn(forget_at.unwrap_or(now));
        self.own.shares.weigh(entry, 0);
        if let Some(at) = forget_at {
            self.own.due.insert((at, key));
        } else {
            self.own.forget(key);
        }
        if let Wanted::Publish(Published::Namespace(namespace)) = &wanted {
            self.own.namespaces.remove(&Name::of_namespace(namespace));
        }
        let message = own_message(self.node, &wanted, stamp.sequence, false);
        self.flood(self.node, None, stamp, &message);
        self.own_changed(key);
        self.give_name_back(key);
    }

    /// What is published here decides which subscriptions count, and stubs get what they match.
    fn own_changed(&mut self, key: InfoKey) {
        let Some(entry) = self.own.entries.get(&key) else {
            return;
        };
        match entry.wanted.clone() {
            Wanted::Subscribe(track, _) => self.stubs_want_track(track.full),
            Wanted::Publish(what) => {
                match &what {
                    Published::Track(_) => self.tell_subscribes(key.hash()),
                    Published::Namespace(namespace) => {
                        let prefix = Name::of_namespace(namespace);
                        let below: Vec<_> = self.subscribes.tracks.below(&prefix).collect();
                        for track in below {
                            self.tell_subscribes(track);
                        }
                    }
                }
                self.stubs_want_publish(key);
            }
        }
    }

    /// Holds and memories that are over.
    pub(super) fn own_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.own.due.first().copied().filter(|(at, _)| *at <= now) {
            self.own.due.remove(&(at, key));
            match self.own.entries.get(&key).map(|entry| entry.state) {
                Some(State::Held(_)) => self.withdraw(now, key),
                Some(State::Withdrawn(_)) => self.own.forget(key),
                _ => {}
            }
        }
        if self.own.confirm_by.is_some_and(|at| at <= now) {
            self.own.confirm_by = None;
            let entries = self.own.entries.iter();
            let stale =
                entries.filter(|(_, entry)| !entry.confirmed && entry.owners.contains_key(&Owner::Local));
            let stale: Vec<_> = stale.map(|(key, _)| *key).collect();
            for key in stale {
                self.unwant(now, key, Owner::Local);
            }
        }
    }

    /// A stub belongs to one edge, or its tracks would come twice. When that one goes another takes its place: the
    /// nearest of those that stay, then the one with the lowest id. laps peering, "Stub".
    pub(super) fn choose_parent(&mut self, now: Instant) {
        let edges = self.links.for_infos();
        let nearest = edges.min_by_key(|(id, link)| (link.leaving, link.srtt_us, link.peer, *id));
        self.own.parent = nearest.map(|(id, _)| id);
        if let Some(parent) = self.own.parent {
            self.sync.answers.greet_link(parent);
            self.sweep_later(now, parent);
            let watched: Vec<_> = self.own.watched.iter().cloned().collect();
            for prefix in watched {
                self.tell_parent(OwnMessage::Watch(prefix));
            }
        }
    }
}

/// What is said of an entry.
pub(super) fn own_message(source: NodeId, wanted: &Wanted, sequence: Sequence, alive: bool) -> Message {
    match (wanted.clone(), alive) {
        (Wanted::Publish(what), true) => Message::PublishInfoAdvertise(PublishInfo::new(source, what)),
        (Wanted::Publish(what), false) => Message::PublishInfoWithdraw(PublishInfo::new(source, what)),
        (Wanted::Subscribe(track, data), alive) => {
            let info = SubscribeInfo {
                sequence,
                source,
                track,
                data,
            };
            if alive {
                Message::SubscribeInfoAdvertise(info)
            } else {
                Message::SubscribeInfoWithdraw(info)
            }
        }
    }
}
