//! Starting tracks on shards.

use super::waiting::Waiter;
use super::{Announcer, Arrival, CreateTrack, Entry, RegistryActor, ShardRef, State, overloaded};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{AddSource, Gather, ReaderId, Source, SourceGone, SourceId, TrackRef, Unavailable};
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
    /// Starts the track on the first announcer's shard, with all announcers.
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
        let source = Source::Announced {
            upstream: first.upstream.clone(),
        };
        let first_source = (SourceId::next(), source);
        let mut known = vec![first.upstream];
        let mut others = Vec::new();
        for Announcer { upstream, .. } in announcers {
            // MOQT-14 §6.2 [D14-NS-14]: one that announced a prefix as well is one publisher.
            if !known.contains(&upstream) {
                known.push(upstream.clone());
                others.push(Arrival::Announced(SourceId::next(), upstream));
            }
        }
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
            Source::Published { upstream, .. } => BTreeMap::from([(id, upstream.clone())]),
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
        ctx.spawn(created.into_actor(self).map(move |answer, actor, ctx| {
            let track = answer.map(|home| TrackRef {
                name: name.clone(),
                shard: shard_index,
                home,
                epoch,
            });
            actor.created(ctx, &name, epoch, track);
        }));
    }

    fn created(
        &mut self,
        ctx: &mut Context<Self>,
        name: &FullTrackName,
        epoch: u64,
        track: Result<TrackRef, AskError>,
    ) {
        if self.tracks.get(name).is_none_or(|entry| entry.epoch != epoch) {
            return;
        }
        let Some(entry) = self.tracks.remove(name) else {
            return;
        };
        let (published, State::Creating { waiters, sources }) = (entry.published, entry.state) else {
            return;
        };
        let track = match track {
            Ok(track) => track,
            Err(why) => return self.not_created(ctx, name, why, (waiters, sources)),
        };
        let mut withdrawn = None;
        for arrival in sources {
            match arrival {
                Arrival::First(_, Some(reply)) => reply.send(Ok(track.clone())),
                Arrival::First(id, None) => withdrawn = Some(id),
                Arrival::Published(msg, reply) => self.join(ctx, track.clone(), msg, reply),
                Arrival::Announced(id, upstream) => {
                    let source = Source::Announced { upstream };
                    mailbox::signal(&track.home, AddSource { id, source });
                }
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
        if let Some(source) = withdrawn {
            mailbox::signal(&track.home, SourceGone { source });
        }
        let entry = Entry {
            published,
            ..Entry::running(track)
        };
        self.tracks.insert(name.clone(), entry);
        self.publishers_changed(name);
    }

    /// The shard did not start the track, in time or because it failed itself.
    fn not_created(
        &mut self,
        ctx: &mut Context<Self>,
        name: &FullTrackName,
        why: AskError,
        (waiters, sources): (Vec<Waiter>, Vec<Arrival>),
    ) {
        warn!(self.log, "no shard started the track"; "track" => %name, "why" => %why);
        // A shard that failed is not the only one: whoever waits looks again, and who publishes elsewhere gets the track.
        let lost = why == AskError::MailboxClosed;
        for waiter in waiters {
            let why = if lost { shard_lost() } else { overloaded() };
            waiter.reply.send(Err(why));
        }
        for arrival in sources {
            match arrival {
                Arrival::Published(msg, reply) if lost => self.publish(ctx, msg, reply),
                Arrival::First(_, Some(reply)) | Arrival::Published(_, reply) => {
                    reply.send(Err(overloaded()))
                }
                Arrival::First(_, None) | Arrival::Announced(..) => {}
            }
        }
    }
}

fn shard_lost() -> Unavailable {
    Unavailable::for_now("the publisher was lost with a part of the relay")
}
