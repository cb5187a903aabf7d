//! A registry that has just begun again: it gathers what everybody says is theirs, and answers when it has everything.
//!
//! Answered before, a question for a track would make a second home of one that runs, and a watcher would be told that
//! namespaces are gone that are only late to be told of. So questions wait until all shards have told, or for a bounded
//! time; everything else is entered as it comes.

use super::messages::{AllTold, ReregisterTrack};
use super::{
    Announcer, Changes, Entry, RegisterPublisher, RegistryActor, ResolveTrack, State, TrackReply, WatchId,
    WatchNamespace, WithdrawPublisher, overloaded,
};
use crate::reply::ReplyTo;
use crate::supervise::mailbox;
use crate::track::{
    AddSource, Gather, ReaderId, Source, SourceId, Superseded, TrackRef, Upstream, WithdrawAnnouncer,
};
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::name::FullTrackName;
use slog::{info, warn};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a new registry waits for those who have not told it what is theirs: far longer than a shard that works takes,
/// and shorter than anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that wait for that, of all sessions: as many as wait in the mailbox of a registry that is busy.
const MAX_QUESTIONS: usize = 16_384;

/// A message that waits, in the order in which they came.
#[derive(Debug)]
enum Deferred {
    Resolve(ResolveTrack, TrackReply),
    Publish(RegisterPublisher, TrackReply),
    Withdraw(WithdrawPublisher),
}

/// What a registry gathers before it answers.
#[derive(Debug, Default)]
pub(super) struct Muster {
    deferred: Vec<Deferred>,
    watches: BTreeMap<WatchId, (WatchNamespace, ReplyTo<Changes>)>,
    questions: usize,
    refused: u64,
    /// Whom the homes of tracks know as announcers.
    announcers: BTreeMap<FullTrackName, Vec<Upstream>>,
}

impl Muster {
    /// What waits.
    pub(super) fn len(&self) -> usize {
        self.deferred.len() + self.watches.len()
    }

    fn is_full(&mut self) -> bool {
        let full = self.questions >= MAX_QUESTIONS;
        if full {
            self.refused += 1;
        } else {
            self.questions += 1;
        }
        full
    }

    pub(super) fn resolve(&mut self, msg: ResolveTrack, reply: TrackReply) {
        if self.is_full() {
            reply.send(Err(overloaded()));
        } else {
            self.deferred.push(Deferred::Resolve(msg, reply));
        }
    }

    pub(super) fn publish(&mut self, msg: RegisterPublisher, reply: TrackReply) {
        if self.is_full() {
            reply.send(Err(overloaded()));
        } else {
            self.deferred.push(Deferred::Publish(msg, reply));
        }
    }

    /// Follows the PUBLISH that it takes back, so there are no more of these than of those.
    pub(super) fn withdraw(&mut self, msg: WithdrawPublisher) {
        self.deferred.push(Deferred::Withdraw(msg));
    }

    /// A watch that finds no room is not answered, so that whoever made it asks again.
    pub(super) fn watch(&mut self, msg: WatchNamespace, reply: ReplyTo<Changes>) {
        self.unwatch(msg.id);
        if !self.is_full() {
            self.watches.insert(msg.id, (msg, reply));
        }
    }

    pub(super) fn unwatch(&mut self, id: WatchId) {
        if self.watches.remove(&id).is_some() {
            self.questions -= 1;
        }
    }

    /// Who of those that ask will attach to which track, if it is theirs to have.
    fn readers(&self) -> BTreeMap<FullTrackName, Vec<ReaderId>> {
        let mut readers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for deferred in &self.deferred {
            if let Deferred::Resolve(msg, reply) = deferred
                && !reply.is_abandoned()
            {
                readers.entry(msg.name.clone()).or_default().push(msg.reader);
            }
        }
        readers
    }
}

impl RegistryActor {
    /// The registry in its life number `epoch`. Every life but the first waits for what the others had before it answers.
    #[must_use]
    pub fn in_life(mut self, epoch: u32) -> Self {
        // Above all that an earlier life can have given out, so that no late answer of it is taken for one of this life.
        self.next_epoch = (u64::from(epoch) << 40) + 1;
        self.muster = (epoch > 0).then(Muster::default);
        self
    }

    pub(super) fn expect_everybody(&self, ctx: &mut Context<Self>) {
        if self.muster.is_some() {
            ctx.run_later(PATIENCE, |actor, ctx| {
                if actor.muster.is_some() {
                    warn!(actor.log, "not everybody has told the new registry in time");
                    actor.settle(ctx);
                }
            });
        }
    }

    /// Everything that there is was told: answers who waits for that.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let Some(muster) = self.muster.take() else {
            return;
        };
        info!(self.log, "the registry is whole again"; "tracks" => self.tracks.len(),
            "announced" => self.namespaces.len(), "watches" => muster.watches.len(),
            "questions" => muster.deferred.len(), "refused" => muster.refused);
        let mut readers = muster.readers();
        for (name, known) in muster.announcers {
            let readers = readers.remove(&name).unwrap_or_default();
            self.rejoin(&name, &known, readers);
        }
        for deferred in muster.deferred {
            match deferred {
                Deferred::Resolve(_, reply) if reply.is_abandoned() => {}
                Deferred::Resolve(msg, reply) => self.resolve(ctx, msg, reply),
                Deferred::Publish(msg, reply) => self.publish(ctx, msg, reply),
                Deferred::Withdraw(msg) => self.withdraw_publisher(&msg),
            }
        }
        for (watch, reply) in muster.watches.into_values() {
            reply.send(self.watch(watch));
        }
    }

    /// A track that an earlier life made is one of this life: it gets the announcers that it has missed, and loses those
    /// that have withdrawn meanwhile.
    fn rejoin(&mut self, name: &FullTrackName, known: &[Upstream], readers: Vec<ReaderId>) {
        let Some(track) = self.tracks.get(name).and_then(Entry::track).cloned() else {
            return;
        };
        let mut there = Vec::new();
        for Announcer { upstream, .. } in self.announcers(name) {
            if there.contains(&upstream) {
                continue;
            }
            // Whoever it knows is not offered again: one that refused would be asked a second time. [D14-SUB-10]
            if !known.contains(&upstream) {
                let (id, source) = (
                    SourceId::next(),
                    Source::Announced {
                        upstream: upstream.clone(),
                    },
                );
                mailbox::signal(&track.home, AddSource { id, source });
            }
            there.push(upstream);
        }
        for upstream in known.iter().filter(|upstream| !there.contains(upstream)).cloned() {
            mailbox::signal(&track.home, WithdrawAnnouncer { upstream });
        }
        // One that was being made when the registry was lost still waits to be told who wants it.
        mailbox::signal(&track.home, Gather { readers });
        self.publishers_changed(name);
    }

    /// Two homes of a track say that they are it; this one ends.
    fn supersede(&self, track: &TrackRef) {
        warn!(self.log, "a track has two homes, and one of them ends"; "track" => %track.name,
            "epoch" => track.epoch, "shard" => track.shard);
        mailbox::signal(&track.home, Superseded);
    }
}

impl Handler<AllTold> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: AllTold, ctx: &mut Context<Self>) {
        if msg.epoch > 0 {
            self.settle(ctx);
        }
    }
}

impl Handler<ReregisterTrack> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: ReregisterTrack, _: &mut Context<Self>) {
        let ReregisterTrack {
            track,
            published,
            announcers,
        } = msg;
        // A shard may have been so late that its track was made anew in the meantime.
        match self.tracks.get(&track.name) {
            Some(entry) if entry.epoch > track.epoch => return self.supersede(&track),
            Some(Entry {
                state: State::Running(other),
                ..
            }) if other.epoch < track.epoch => self.supersede(other),
            Some(Entry {
                state: State::Creating { .. },
                ..
            }) => return,
            Some(_) | None => {}
        }
        let name = track.name.clone();
        let entry = Entry {
            published: published.into_iter().collect(),
            ..Entry::running(track.clone())
        };
        self.tracks.insert(name.clone(), entry);
        if let Some(muster) = &mut self.muster {
            muster.announcers.insert(name, announcers);
            return;
        }
        let waiters = self.waiting.take(&name, None);
        let readers = waiters.iter().map(|waiter| waiter.reader).collect();
        self.rejoin(&name, &announcers, readers);
        for waiter in waiters {
            waiter.reply.send(Ok(track.clone()));
        }
    }
}

#[cfg(test)]
#[path = "muster_tests.rs"]
mod tests;
