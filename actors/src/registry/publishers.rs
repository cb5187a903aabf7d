//! Who sent PUBLISH for which track.

use super::making::Making;
use super::{
    Arrival, PublisherLost, RegisterPublisher, RegistryActor, State, TrackReply, Whose, WithdrawPublisher,
    overloaded,
};
use crate::reply::Reply;
use crate::supervise::mailbox::{self, AskError};
use crate::track::{AddSource, Joined, Source, SourceGone, SourceId, TrackRef, Unavailable, Upstream};
use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use laps_protocol::moqt::message::RequestErrorReason;
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;

/// How long a track may take to say whether it takes a further publisher.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);

impl RegistryActor {
    /// The track gets a publisher. Answered when a life of the track has taken it.
    pub(super) fn publish(&mut self, ctx: &mut Context<Self>, msg: RegisterPublisher, reply: TrackReply) {
        if reply.is_abandoned() {
            return;
        }
        let by = publisher(&msg.source).cloned();
        match self.tracks.get_mut(&msg.name).map(|entry| &mut entry.state) {
            Some(State::Running(track)) => {
                let track = track.clone();
                self.join(ctx, track, msg, reply);
            }
            Some(State::Creating { sources, .. }) => {
                let (id, name) = (msg.id, msg.name.clone());
                sources.push(Arrival::Published(msg, reply));
                if let (Some(entry), Some(by)) = (self.tracks.get_mut(&name), by) {
                    entry.published.insert(id, by);
                }
            }
            None => {
                let waiters = self.waiting.take(&msg.name, by.as_ref());
                let making = Making {
                    sources: vec![Arrival::First(msg.id, Some(reply))],
                    first: (msg.id, msg.source),
                    name: msg.name,
                    shard: msg.shard,
                    waiters,
                };
                self.create(ctx, making);
            }
        }
    }

    /// Asks a life of the track to take a further publisher. One that is ending takes nobody, and the publisher gets
    /// a new life: it may be the very one whose session was lost a moment ago. [D14-NS-13]
    pub(super) fn join(
        &mut self,
        ctx: &mut Context<Self>,
        track: TrackRef,
        msg: RegisterPublisher,
        reply: TrackReply,
    ) {
        let add = AddSource {
            id: msg.id,
            source: msg.source.clone(),
        };
        let asked = mailbox::ask(&track.home, add, JOIN_DEADLINE);
        ctx.spawn(
            asked
                .into_actor(self)
                .map(move |answer, actor, ctx| match answer {
                    Ok(Joined::Taken) => actor.joined(&track, &msg, reply),
                    Ok(Joined::Refused(why)) => {
                        actor.withdraw(&msg.name, msg.id, Some(track.epoch));
                        reply.send(Err(Unavailable::new(RequestErrorReason::InternalError, why)));
                    }
                    Ok(Joined::Ended) | Err(AskError::MailboxClosed) => {
                        actor.forget(&track.name, track.epoch);
                        actor.publish(ctx, msg, reply);
                    }
                    Err(AskError::Deadline) => {
                        // It may take the publisher all the same.
                        mailbox::signal(&track.home, SourceGone { source: msg.id });
                        reply.send(Err(overloaded()));
                    }
                }),
        );
    }

    fn joined(&mut self, track: &TrackRef, msg: &RegisterPublisher, reply: TrackReply) {
        let entry = self.tracks.get_mut(&msg.name);
        if let Some(entry) = entry.filter(|entry| entry.epoch == track.epoch)
            && let Some(by) = publisher(&msg.source)
            // It may have been withdrawn while it was being taken.
            && !reply.is_abandoned()
        {
            entry.published.insert(msg.id, by.clone());
            for waiter in self.waiting.take(&msg.name, Some(by)) {
                waiter.reply.send(Ok(track.clone()));
            }
            self.publishers_changed(&msg.name);
        }
        reply.send(Ok(track.clone()));
    }

    /// Somebody began or ceased to publish the track by PUBLISH, or a life of it began or ended.
    pub(super) fn publishers_changed(&mut self, name: &FullTrackName) {
        let published = |entry: &super::Entry| entry.track().is_some() && !entry.published.is_empty();
        if self.tracks.get(name).is_some_and(published) {
            self.published.insert(name.namespace(), name.clone(), ());
        } else if self.published.remove(name.namespace(), name).is_none() {
            return;
        }
        // MOQT-14 §8.4 [D14-NS-8]
        self.watchers.track_changed(name);
    }

    /// The track, when it runs and somebody who counts sent PUBLISH for it.
    pub(super) fn published_track(&self, name: &FullTrackName, whose: &Whose) -> Option<&TrackRef> {
        let entry = self.tracks.get(name)?;
        let counts = entry.published.values().any(|upstream| whose.counts(upstream));
        entry.track().filter(|_| counts)
    }

    /// A publisher is gone that may or may not have been taken.
    pub(super) fn withdraw_publisher(&mut self, msg: &WithdrawPublisher) {
        match self.tracks.get_mut(&msg.name).map(|entry| &mut entry.state) {
            Some(State::Running(track)) => {
                mailbox::signal(&track.home, SourceGone { source: msg.id });
            }
            Some(State::Creating { sources, .. }) => {
                sources.retain_mut(|arrival| match arrival {
                    Arrival::Published(other, _) => other.id != msg.id,
                    // The one that the track is being made with is taken from it when it runs.
                    Arrival::First(id, reply) => {
                        if *id == msg.id {
                            *reply = None;
                        }
                        true
                    }
                    Arrival::Announced(..) => true,
                });
            }
            None => {}
        }
        self.withdraw(&msg.name, msg.id, None);
    }

    fn withdraw(&mut self, name: &FullTrackName, id: SourceId, epoch: Option<u64>) {
        let entry = self.tracks.get_mut(name);
        let Some(entry) = entry.filter(|entry| epoch.is_none_or(|epoch| epoch == entry.epoch)) else {
            return;
        };
        if entry.published.remove(&id).is_some() && entry.track().is_some() {
            self.publishers_changed(name);
        }
    }
}

/// Who sent PUBLISH.
const fn publisher(source: &Source) -> Option<&Upstream> {
    match source {
        Source::Published { upstream, .. } => Some(upstream),
        Source::Announced { .. } | Source::Local { .. } => None,
    }
}

impl Handler<RegisterPublisher> for RegistryActor {
    type Result = Reply<Result<TrackRef, Unavailable>>;

    fn handle(&mut self, msg: RegisterPublisher, ctx: &mut Self::Context) -> Self::Result {
        self.faults.check_named("registry", &msg.name);
        let (answer, reply) = Reply::later();
        match &mut self.muster {
            Some(muster) => muster.publish(msg, reply),
            None => self.publish(ctx, msg, reply),
        }
        answer
    }
}

impl Handler<WithdrawPublisher> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: WithdrawPublisher, _: &mut Self::Context) {
        match &mut self.muster {
            Some(muster) => muster.withdraw(msg),
            None => self.withdraw_publisher(&msg),
        }
    }
}

impl Handler<PublisherLost> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: PublisherLost, _: &mut Self::Context) {
        self.withdraw(&msg.name, msg.id, Some(msg.epoch));
    }
}
