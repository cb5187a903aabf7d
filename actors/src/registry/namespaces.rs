//! Who announces which namespace.

use super::{
    AnnounceId, Announcer, Arrival, Entry, RegisterNamespace, RegistryActor, State, UnregisterNamespace,
    Whose,
};
use crate::supervise::mailbox;
use crate::track::{AddSource, Source, SourceId, Upstream, WithdrawAnnouncer};
use actix::{Context, Handler};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use slog::debug;
use std::collections::BTreeMap;

impl RegistryActor {
    /// A namespace is new: whoever waits for a track in it, and every track that runs, gets the publisher.
    fn announced(&mut self, ctx: &mut Context<Self>, namespace: &TrackNamespace, by: &Upstream) {
        // MOQT-14 §8.4 [D14-NS-7]: every track that is subscribed already is asked of the new publisher too.
        for (_, entry) in below(&mut self.tracks, namespace) {
            let id = SourceId::next();
            match &mut entry.state {
                State::Creating { sources, .. } => {
                    if !sources.iter().any(|arrival| is_announced_by(arrival, by)) {
                        sources.push(Arrival::Announced(id, by.clone()));
                    }
                }
                State::Running(track) => {
                    let source = Source::Announced { upstream: by.clone() };
                    mailbox::signal(&track.home, AddSource { id, source });
                }
            }
        }
        for (name, mut waiters) in self.waiting.take_matching(namespace, by) {
            match self.tracks.get_mut(&name).map(|entry| &mut entry.state) {
                None => self.create_announced(ctx, name, waiters),
                // They waited for somebody else than the one publisher that it had.
                Some(State::Creating { waiters: others, .. }) => others.append(&mut waiters),
                Some(State::Running(track)) => {
                    for waiter in waiters {
                        waiter.reply.send(Ok(track.clone()));
                    }
                }
            }
        }
    }

    /// An announcement is over: tracks that are not fed by it do without, and watchers hear of it.
    pub(super) fn unannounce(&mut self, namespace: &TrackNamespace, id: AnnounceId) {
        let Some(announcer) = self.namespaces.remove(namespace, &id) else {
            return;
        };
        let others = &self.namespaces;
        // MOQT-14 §6.2 [D14-NS-14]: announced again, or by a prefix as well, the tracks are still the publisher's.
        let covered = |name: &FullTrackName| {
            let mut matches = others.matches(name.namespace()).into_iter();
            matches.any(|entry| entry.value.upstream == announcer.upstream)
        };
        for (name, entry) in below(&mut self.tracks, namespace) {
            if covered(name) {
                continue;
            }
            match &mut entry.state {
                State::Creating { sources, .. } => {
                    sources.retain(|arrival| !is_announced_by(arrival, &announcer.upstream));
                }
                State::Running(track) => {
                    let upstream = announcer.upstream.clone();
                    mailbox::signal(&track.home, WithdrawAnnouncer { upstream });
                }
            }
        }
        self.watchers.namespace_changed(namespace);
    }

    /// Somebody who counts announces exactly this namespace.
    pub(super) fn is_announced(&self, namespace: &TrackNamespace, whose: &Whose) -> bool {
        let fields = namespace.fields().len();
        self.namespaces
            .matches(namespace)
            .iter()
            .take_while(|entry| entry.fields == fields)
            .any(|entry| whose.counts(&entry.value.upstream))
    }
}

/// The tracks in the namespaces with this prefix.
fn below<'a>(
    tracks: &'a mut BTreeMap<FullTrackName, Entry>,
    prefix: &'a TrackNamespace,
) -> impl Iterator<Item = (&'a FullTrackName, &'a mut Entry)> {
    let from = tracks.range_mut(FullTrackName::first_below(prefix.clone())..);
    from.take_while(|(name, _)| prefix.is_prefix_of(name.namespace()))
}

fn is_announced_by(arrival: &Arrival, upstream: &Upstream) -> bool {
    matches!(arrival, Arrival::Announced(_, other) if other == upstream)
}

impl Handler<RegisterNamespace> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: RegisterNamespace, ctx: &mut Self::Context) {
        self.faults.check_named("registry", &msg.namespace);
        debug!(self.log, "namespace announced"; "namespace" => %msg.namespace);
        let announcer = Announcer {
            namespace: msg.namespace.clone(),
            upstream: msg.upstream.clone(),
            shard: msg.shard,
        };
        if self
            .namespaces
            .insert(&msg.namespace, msg.id, announcer)
            .is_some()
        {
            // Told again to a registry that knows it.
            return;
        }
        if self.muster.is_none() {
            self.announced(ctx, &msg.namespace, &msg.upstream);
        }
        // MOQT-14 §6.2 [D14-NS-1]
        self.watchers.namespace_changed(&msg.namespace);
    }
}

impl Handler<UnregisterNamespace> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: UnregisterNamespace, _: &mut Self::Context) {
        debug!(self.log, "namespace withdrawn"; "namespace" => %msg.namespace);
        self.unannounce(&msg.namespace, msg.id);
    }
}
