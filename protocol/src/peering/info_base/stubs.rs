//! What an edge does for its stubs. laps peering, "Stub".
//!
//! To the mesh the edge itself has what its stubs have: see `own`. To a stub it is the source of everything, and tells it
//! only of
//! - subscriptions of others to what the stub publishes, one for each track however many there are;
//! - what others publish that the stub subscribes to, as a track or by a namespace that it is in, and the same for a prefix
//!   that somebody watches there, with what lies below it. A laps stub, which cannot say what it watches, is told of everything published.
//!
//! A stub needs no more: what it subscribes to it asks of its edge, whether it knows a publisher or not.

use super::infos::source_of;
use super::names::Name;
use super::own::{Owner, Wanted};
use super::subscribes::name_in;
use super::{InfoBase, InfoKey, LinkId, Output, OwnMessage, ReportKind, Stamp};
use crate::peering::hash::{FullNameHash, TrackHash};
use crate::peering::message::{Message, PublishInfo, Published, Sequence, SubscribeInfo};
use crate::peering::node::NodeId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

/// One stub.
#[derive(Debug, Default)]
pub(super) struct Stub {
    published: BTreeMap<InfoKey, Published>,
    namespaces: BTreeSet<Name>,
    subscribed: BTreeMap<FullNameHash, Name>,
    subscribed_names: BTreeSet<Name>,
    watched: BTreeSet<Name>,
    /// Of the last statement to it; it gets all of them in order.
    sequence: Sequence,
    told_tracks: BTreeMap<FullNameHash, (TrackHash, Bytes)>,
    told_publishes: BTreeMap<InfoKey, Published>,
}

impl Stub {
    fn publishes(&self, track: FullNameHash, name: &Name) -> bool {
        self.published.contains_key(&InfoKey::track(track))
            || name.prefixes().any(|prefix| self.namespaces.contains(prefix))
    }

    fn needs(&self, key: InfoKey, what: &Published) -> bool {
        let watched = |name: &Name| name.prefixes().any(|prefix| self.watched.contains(prefix));
        let below = |names: &BTreeSet<Name>, name: &Name| {
            let from = (Bound::Included(name), Bound::Unbounded);
            let first = names.range::<Name, _>(from).next();
            first.is_some_and(|first| first.is_below(name))
        };
        match what {
            Published::Track(track) => self.subscribed.contains_key(&key.hash()) || watched(&Name::of(track)),
            Published::Namespace(namespace) => {
                let name = Name::of_namespace(namespace);
                // Somebody who seeks a track in `a/b` finds it with whoever publishes `a`. MOQT-14 §8.4 [D14-NS-5]
                below(&self.subscribed_names, &name) || watched(&name) || below(&self.watched, &name)
            }
        }
    }
}

impl InfoBase {
    fn stub(&mut self, link: LinkId) -> Option<&mut Stub> {
        self.links.get_mut(link)?.stub.as_deref_mut()
    }

    /// A stub said something, which is about itself alone.
    pub(super) fn stub_said(&mut self, now: Instant, from: LinkId, message: Message) {
        let Some(peer) = self.links.get(from).map(|link| link.peer) else {
            return;
        };
        // Node infos of stubs go nowhere; the rest is the business of the session.
        let Some(source) = source_of(&message) else {
            self.counters.out_of_place += 1;
            return;
        };
        if source != peer {
            self.forged_hash(from);
            return;
        }
        match message {
            Message::SubscribeInfoAdvertise(info) => self.stub_subscribes(from, info),
            Message::SubscribeInfoWithdraw(info) => self.stub_unsubscribes(now, from, info.track.full),
            Message::PublishInfoAdvertise(info) if info.is_consistent() => self.stub_publishes(from, info),
            Message::PublishInfoWithdraw(info) => {
                self.stub_unpublishes(now, from, InfoKey::published(&info.what))
            }
            Message::PublishInfoAdvertise(_)
            | Message::NodeInfoAdvertise(_)
            | Message::NodeInfoWithdraw(_)
            | Message::Connect(_)
            | Message::ConnectResponse(_)
            | Message::NodeSetAdvertise(_)
            | Message::NodeSetWithdraw(_)
            | Message::Stamped(_)
            | Message::Relayed(_)
            | Message::Own(_)
            | Message::Ping(_)
            | Message::Pong(_) => self.forged_hash(from),
        }
    }

    fn stub_subscribes(&mut self, from: LinkId, info: SubscribeInfo) {
        let named = name_in(&info.data).filter(|(_, hash)| *hash == info.track);
        let Some((name, _)) = named else {
            self.forged_hash(from);
            return;
        };
        let (track, data) = (info.track, info.data);
        let key = InfoKey::subscription(track.full);
        if self.stub(from).is_none() {
            return;
        }
        let wanted = Wanted::Subscribe(track, data.clone());
        if self.want(key, Owner::Stub(from), wanted).is_err() {
            self.report(from, ReportKind::TooManyInfos);
            return;
        }
        let namespaces = self.published_above(&name);
        let Some(stub) = self.stub(from) else { return };
        let before = stub.subscribed.insert(track.full, name.clone());
        if let Some(before) = &before {
            stub.subscribed_names.remove(before);
        }
        stub.subscribed_names.insert(name.clone());
        if let Some(before) = before {
            self.stubs.forget(&before, from);
        }
        self.stubs.care(&name, from);
        self.out.push_back(Output::RemoteSubscribe {
            source: info.source,
            track,
            data,
        });
        self.tell_stub_of_publish(from, InfoKey::track(track.full));
        for namespace in namespaces {
            self.tell_stub_of_publish(from, namespace);
        }
    }

    /// The namespaces that a name is in, as far as somebody publishes them.
    fn published_above(&self, name: &Name) -> Vec<InfoKey> {
        let hashes = name
            .prefixes()
            .filter_map(|name| self.publishes.namespaces.hash_of(name));
        hashes.map(InfoKey::namespace).collect()
    }

    fn stub_unsubscribes(&mut self, now: Instant, from: LinkId, track: FullNameHash) {
        let Some(stub) = self.stub(from) else { return };
        let Some(name) = stub.subscribed.remove(&track) else {
            return;
        };
        stub.subscribed_names.remove(&name);
        self.stubs.forget(&name, from);
        let namespaces = self.published_above(&name);
        self.unwant(now, InfoKey::subscription(track), Owner::Stub(from));
        if let Some(source) = self.links.get(from).map(|link| link.peer) {
            self.out.push_back(Output::RemoteSubscribeGone { source, track });
        }
        self.tell_stub_of_publish(from, InfoKey::track(track));
        for namespace in namespaces {
            self.tell_stub_of_publish(from, namespace);
        }
    }

    fn stub_publishes(&mut self, from: LinkId, info: PublishInfo) {
        let key = InfoKey::published(&info.what);
        let Some(stub) = self.stub(from) else { return };
        if stub.published.contains_key(&key) {
            self.counters.duplicates += 1;
            return;
        }
        let wanted = Wanted::Publish(info.what.clone());
        if self.want(key, Owner::Stub(from), wanted).is_err() {
            self.report(from, ReportKind::TooManyInfos);
            return;
        }
        let Some(stub) = self.stub(from) else { return };
        stub.published.insert(key, info.what.clone());
        if let Published::Namespace(namespace) = &info.what {
            stub.namespaces.insert(Name::of_namespace(namespace));
        }
        let name = name_of(&info.what);
        self.stubs.care(&name, from);
        let tracks = self.tracks_of(&info.what, &name);
        self.out.push_back(Output::RemotePublish {
            source: info.source,
            what: info.what,
        });
        for track in tracks {
            self.tell_stub_of_track(from, track);
        }
    }

    /// The tracks that something published may have.
    fn tracks_of(&self, what: &Published, name: &Name) -> Vec<FullNameHash> {
        match what {
            Published::Track(_) => vec![what.hash().full],
            Published::Namespace(_) => self.subscribes.tracks.below(name).collect(),
        }
    }

    fn stub_unpublishes(&mut self, now: Instant, from: LinkId, key: InfoKey) {
        let Some(stub) = self.stub(from) else { return };
        let Some(what) = stub.published.remove(&key) else {
            return;
        };
        if let Published::Namespace(namespace) = &what {
            stub.namespaces.remove(&Name::of_namespace(namespace));
        }
        let name = name_of(&what);
        self.stubs.forget(&name, from);
        let tracks = self.tracks_of(&what, &name);
        self.unwant(now, key, Owner::Stub(from));
        if let Some(source) = self.links.get(from).map(|link| link.peer) {
            self.out.push_back(Output::RemotePublishGone { source, what });
        }
        for track in tracks {
            self.tell_stub_of_track(from, track);
        }
    }

    /// The link to a stub is down: it wants nothing any more.
    pub(super) fn stub_gone(&mut self, now: Instant, from: LinkId, source: NodeId, stub: Stub) {
        self.stubs.laps(from, false);
        let names = stub.published.values().map(name_of);
        let names = names.chain(stub.subscribed.values().cloned()).chain(stub.watched);
        for name in names {
            self.stubs.forget(&name, from);
        }
        let tracks = stub.told_tracks.into_keys().map(InfoKey::subscription);
        for key in tracks.chain(stub.told_publishes.into_keys()) {
            self.stubs.told(key, from, false);
        }
        for (key, what) in stub.published {
            self.unwant(now, key, Owner::Stub(from));
            self.out.push_back(Output::RemotePublishGone { source, what });
        }
        for track in stub.subscribed.into_keys() {
            self.unwant(now, InfoKey::subscription(track), Owner::Stub(from));
            self.out.push_back(Output::RemoteSubscribeGone { source, track });
        }
    }

    /// Tells stubs of the subscriptions of others to a track of theirs, as far as that has changed.
    pub(super) fn stubs_want_track(&mut self, track: FullNameHash) {
        let name = self.subscribes.tracks.name(track);
        for link in self.stubs.of_track(InfoKey::subscription(track), name) {
            self.tell_stub_of_track(link, track);
        }
    }

    fn tell_stub_of_track(&mut self, link: LinkId, track: FullNameHash) {
        #[cfg(test)]
        {
            self.stubs.looks += 1;
        }
        let name = self.subscribes.tracks.name(track);
        let here = self.own.get(InfoKey::subscription(track));
        let here = here.and_then(|entry| entry.wanted_beside(Owner::Stub(link)));
        let here = here.and_then(|wanted| match wanted {
            Wanted::Subscribe(_, data) => Some(data),
            Wanted::Publish(_) => None,
        });
        let data = here.or_else(|| self.subscribes.first(track)).cloned();
        let Some(stub) = self.links.get(link).and_then(|link| link.stub.as_deref()) else {
            return;
        };
        let data = data.filter(|_| name.is_some_and(|name| stub.publishes(track, name)));
        let hash = self.subscribes.tracks.track_hash(track);
        let source = self.node;
        let Some(stub) = self.stub(link) else { return };
        let told = stub.told_tracks.get(&track);
        let info = |(track, data), sequence| SubscribeInfo {
            sequence,
            source,
            track,
            data,
        };
        let sequence = stub.sequence.next();
        let message = match (data.zip(hash), told) {
            (Some((data, _)), Some((_, told))) if data == *told => return,
            (Some((data, hash)), _) => {
                stub.told_tracks.insert(track, (hash, data.clone()));
                Message::SubscribeInfoAdvertise(info((hash, data), sequence))
            }
            (None, _) => {
                let Some(told) = stub.told_tracks.remove(&track) else {
                    return;
                };
                Message::SubscribeInfoWithdraw(info(told, sequence))
            }
        };
        stub.sequence = sequence;
        let there = matches!(message, Message::SubscribeInfoAdvertise(_));
        self.stubs.told(InfoKey::subscription(track), link, there);
        self.send_to_stub(link, message, sequence);
    }

    /// Tells stubs of what others publish and they need, as far as that has changed.
    pub(super) fn stubs_want_publish(&mut self, key: InfoKey) {
        let name = if key.is_namespace() {
            self.publishes.namespaces.name(key.hash())
        } else {
            self.subscribes.tracks.name(key.hash())
        };
        for link in self.stubs.of_publish(key, name) {
            self.tell_stub_of_publish(link, key);
        }
    }

    fn tell_stub_of_publish(&mut self, id: LinkId, key: InfoKey) {
        #[cfg(test)]
        {
            self.stubs.looks += 1;
        }
        let here = self.own.get(key);
        let here = here.and_then(|entry| entry.wanted_beside(Owner::Stub(id)));
        let here = here.and_then(|wanted| match wanted {
            Wanted::Publish(what) => Some(what),
            Wanted::Subscribe(..) => None,
        });
        let what = here.or_else(|| self.publishes.what(key).map(|what| &**what));
        let Some(link) = self.links.get(id) else { return };
        let Some(stub) = link.stub.as_deref() else { return };
        let what = what
            .filter(|what| !link.kin.is_ours() || stub.needs(key, what))
            .cloned();
        let source = self.node;
        let Some(stub) = self.stub(id) else { return };
        let message = match what {
            Some(_) if stub.told_publishes.contains_key(&key) => return,
            Some(what) => {
                stub.told_publishes.insert(key, what.clone());
                Message::PublishInfoAdvertise(PublishInfo::new(source, what))
            }
            None => {
                let Some(told) = stub.told_publishes.remove(&key) else {
                    return;
                };
                Message::PublishInfoWithdraw(PublishInfo::new(source, told))
            }
        };
        stub.sequence = stub.sequence.next();
        let sequence = stub.sequence;
        let there = matches!(message, Message::PublishInfoAdvertise(_));
        self.stubs.told(key, id, there);
        self.send_to_stub(id, message, sequence);
    }

    fn send_to_stub(&mut self, link: LinkId, message: Message, sequence: Sequence) {
        self.counters.sent += 1;
        self.out.push_back(Output::Send {
            link,
            message,
            stamp: Stamp {
                epoch: self.epoch,
                sequence,
            },
        });
    }

    /// A stub of ours says what is watched there.
    pub(super) fn stub_watches(&mut self, from: LinkId, message: OwnMessage) {
        let max = self.limits.max_watches;
        let Some(stub) = self.stub(from) else {
            self.counters.out_of_place += 1;
            return;
        };
        match message {
            OwnMessage::Watch(prefix) => {
                let prefix = Name::of_namespace(&prefix);
                if stub.watched.len() >= max && !stub.watched.contains(&prefix) {
                    self.over_limit(from, ReportKind::TooManyInfos);
                    return;
                }
                if stub.watched.insert(prefix.clone()) {
                    self.stubs.care(&prefix, from);
                }
                self.tell_stub_around(from, &prefix);
            }
            OwnMessage::Unwatch(prefix) => {
                let prefix = Name::of_namespace(&prefix);
                if stub.watched.remove(&prefix) {
                    self.stubs.forget(&prefix, from);
                }
                self.tell_stub_around(from, &prefix);
            }
            OwnMessage::Summary { .. } | OwnMessage::Leaving => self.counters.out_of_place += 1,
        }
    }

    /// What is published below a prefix and above it, as far as that has changed.
    fn tell_stub_around(&mut self, link: LinkId, prefix: &Name) {
        let tracks = self.subscribes.tracks.below(prefix).map(InfoKey::track);
        let namespaces = self.publishes.namespaces.below(prefix).map(InfoKey::namespace);
        let above = self.published_above(prefix);
        let concerned: Vec<_> = tracks.chain(namespaces).chain(above).collect();
        for key in concerned {
            self.tell_stub_of_publish(link, key);
        }
    }

    /// All that is published, to a stub that cannot say what it needs.
    pub(super) fn tell_laps_stub(&mut self, link: LinkId) {
        self.stubs.laps(link, true);
        let mut keys = self.publishes.keys();
        keys.extend(self.own.keys());
        for key in keys {
            self.tell_stub_of_publish(link, key);
        }
    }
}

fn name_of(what: &Published) -> Name {
    match what {
        Published::Track(track) => Name::of(track),
        Published::Namespace(namespace) => Name::of_namespace(namespace),
    }
}
