//! Starting tracks on shards.

use super::waiting::Waiter;
use super::{Arrival, CreateTrack, Entry, RegistryActor, ShardRef, State, overloaded};
use crate::supervise::mailbox;
use crate::track::{AddSource, Gather, ReaderId, Source, SourceGone, SourceId, TrackRef};
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use laps_protocol::moqt::name::FullTrackName;
use slog::{debug, warn};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a shard may take to start an actor.
const CREATE_DEADLINE: Duration = Duration::from_secs(5);

/// What a new track is made of.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) name: FullTrackName,
    pub(super) shard: ShardRef,
    /// Its first publisher.
    pub(super) first: (SourceId, Source),
    pub(super) waiters: Vec<Waiter>,
    pub(super) sources: Vec<Arrival>,
}

impl RegistryActor {
    /// Starts the track on the first announcer's shard; the others stand by.
    pub(super) fn create_announced(
        &mut self,
        ctx: &mut Context<Self>,
        name: FullTrackName,
        waiters: Vec<Waiter>,
    ) {
        let mut announcers = self.announcers(&name).into_iter();
        let Some(first) = announcers.next() else {
            return;
        };
        // Numbered first, which is what makes it the one that is asked first.
        let source = Source::Announced {
            session: first.session,
        };
        let first_source = (SourceId::next(), source);
        let others = announcers
            .map(|announcer| {
                let source = Source::Announced {
                    session: announcer.session,
                };
                (SourceId::next(), Some(source), None)
            })
            .collect();
        let making = Making {
            name,
            shard: first.shard,
            first: first_source,
            waiters,
            sources: others,
        };
        self.create(ctx, making);
    }

    pub(super) fn create(&mut self, ctx: &mut Context<Self>, making: Making) {
        let Making {
            name,
            shard,
            first: (id, source),
            waiters,
            sources,
        } = making;
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        debug!(self.log, "track starts"; "track" => %name, "epoch" => epoch, "shard" => shard.index);
        let published = match &source {
            Source::Published { session, .. } => BTreeMap::from([(id, session.clone())]),
            Source::Announced { .. } | Source::Local { .. } => BTreeMap::new(),
        };
        let state = State::Creating { waiters, sources };
        let entry = Entry {
            epoch,
            published,
            state,
        };
        self.tracks.insert(name.clone(), entry);
        let (tracks, shard_index) = (shard.tracks, shard.index);
        let order = CreateTrack {
            name: name.clone(),
            epoch,
            id,
            source,
        };
        let created = async move { mailbox::ask(&tracks, order, CREATE_DEADLINE).await };
        ctx.spawn(created.into_actor(self).map(move |answer, actor, _| {
            let home = answer.map(|home| TrackRef {
                name: name.clone(),
                shard: shard_index,
                home,
                epoch,
            });
            actor.created(&name, epoch, home.ok());
        }));
    }

    fn created(&mut self, name: &FullTrackName, epoch: u64, track: Option<TrackRef>) {
        if self.tracks.get(name).is_none_or(|entry| entry.epoch != epoch) {
            return;
        }
        let Some(entry) = self.tracks.remove(name) else {
            return;
        };
        let (published, State::Creating { waiters, sources }) = (entry.published, entry.state) else {
            return;
        };
        let Some(track) = track else {
            warn!(self.log, "no shard started the track"; "track" => %name);
            for waiter in waiters {
                waiter.reply.send(Err(overloaded()));
            }
            for reply in sources.into_iter().filter_map(|(_, _, reply)| reply) {
                reply.send(Err(overloaded()));
            }
            return;
        };
        let mut withdrawn = Vec::new();
        for (id, source, reply) in sources {
            if let Some(source) = source {
                mailbox::signal(&track.home, AddSource { id, source });
            } else if reply.is_none() {
                withdrawn.push(id);
            }
            if let Some(reply) = reply {
                reply.send(Ok(track.clone()));
            }
        }
        let waiters: Vec<_> = waiters
            .into_iter()
            .filter(|waiter| !waiter.reply.is_abandoned())
            .collect();
        let readers: Vec<ReaderId> = waiters.iter().map(|waiter| waiter.reader).collect();
        mailbox::signal(&track.home, Gather { readers });
        for waiter in waiters {
            waiter.reply.send(Ok(track.clone()));
        }
        for source in withdrawn {
            mailbox::signal(&track.home, SourceGone { source });
        }
        let entry = Entry {
            published,
            ..Entry::running(track)
        };
        self.tracks.insert(name.clone(), entry);
        self.publishers_changed(name);
    }
}
