//! The home copy's side towards its publishers: who is asked, who feeds it, and what happens when one is lost.

use super::publisher::{Fate, Standing};
use super::{Phase, TrackActor};
use crate::registry::PublisherLost;
use crate::session::{AcceptPublish, NotAsked, ReleaseUpstream, SubscribeUpstream};
use crate::supervise::mailbox::AskError;
use crate::track::messages::{Source, SourceId, TrackGone, TrackMeta, Unavailable};
use crate::track::wants::Wants;
use crate::track::{Upstream, UpstreamTerms};
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::moqt::session::CommandError;
use slog::{info, warn};
use std::time::{Duration, Instant};

/// How many times `done_wait` a stream that is still open is waited for after PUBLISH_DONE.
const OPEN_STREAM_PATIENCE: u32 = 15;

/// Why a track ends that has nobody left: what its readers are told, and what those are who wait for it.
pub(super) type End = (TrackGone, Unavailable);

impl TrackActor {
    /// Turns to every publisher there is.
    pub(super) fn engage(&mut self, ctx: &mut Context<Self>) {
        let phrase = "the track has no publisher";
        let gone = TrackGone::new(PublishDoneStatus::InternalError, phrase);
        self.engage_or(ctx, (gone, Unavailable::for_now(phrase)));
    }

    /// Turns to every publisher that is not turned to yet; without any the track rests, or ends like this.
    pub(super) fn engage_or(&mut self, ctx: &mut Context<Self>, end: End) {
        if self.phase == Phase::Ended {
            return;
        }
        // MOQT-14 §8.4 [D14-NS-6]: SUBSCRIBE goes to every publisher whose namespace matches, and PUBLISH is accepted of
        // every one, up to the bound. [D14-PUB-2]
        while let Some(id) = self.sources.next_to_ask(self.subscribes(), self.has_own()) {
            self.ask_publisher(ctx, id);
        }
        self.await_room(ctx);
        if self.sources.any_serving() {
            if self.phase == Phase::Live {
                self.restate();
                self.readers_changed(ctx);
            } else {
                self.live(ctx);
            }
        } else if self.sources.any_active() {
            self.phase = Phase::Subscribing;
        } else if !self.has_own() && self.sources.any_resting() {
            // Nobody is left of those who asked, or they only fetch; the next reader starts over. Or only links are left,
            // for which other nodes are not asked.
            self.phase = Phase::Idle;
            self.settle_links(ctx, Some(&end));
            self.fanout.rest();
            self.idle(ctx);
        } else if !self.fanout.is_live() && self.sources.insist() {
            // MOQT-14 §5.1 [D14-SUB-22]: nobody but its readers publishes the track.
            self.engage_or(ctx, end);
        } else {
            // MOQT-14 §8.4 [D14-PUB-4]: readers are told how the track ended, and that is not for those to say who never fed
            // it, or are late at its end.
            let live = self.fanout.is_live();
            let told = self.ending.take().or_else(|| self.left.take()).filter(|_| live);
            let (gone, why) = told.unwrap_or(end);
            self.finish_with(ctx, &gone, &why);
        }
    }

    /// Announcers are asked for the track while somebody reads it, or another one of them is.
    fn subscribes(&self) -> bool {
        self.has_readers() || self.sources.any_subscribed()
    }

    fn ask_publisher(&mut self, ctx: &mut Context<Self>, id: SourceId) {
        let (audience, here) = (self.audience(), self.fanout.largest());
        let (window, wish) = (self.config.dampen, (self.group_wanted, self.group_wanted_here));
        let priority = self.terms.priority;
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        let wants = publisher.told_of(audience, priority);
        let wanted = wants.objects();
        if wish.1 || (wish.0 && publisher.is_here()) {
            publisher.demand.want_group();
        }
        match publisher.source.clone() {
            Source::Announced { upstream } => self.subscribe(ctx, id, upstream, wants),
            Source::Published {
                upstream,
                request,
                largest,
                meta,
            } => {
                let new_group = publisher.demand.accept(window, wants, here.max(largest));
                publisher.serves(Instant::now(), meta, largest);
                publisher.word.told(wanted);
                let accept = AcceptPublish {
                    request,
                    // MOQT-14 §8.4 [D14-SUB-26]: Forward is 1 as soon as one subscriber wants objects. §9.13
                    // [D14-SUB-25]: taken, and with Forward 0 while nobody does.
                    forward: wanted,
                    priority: wants.priority(),
                    new_group,
                    track: ctx.address(),
                    source: id,
                };
                if upstream.signal(accept) {
                    self.tell_joined();
                } else {
                    self.forget_publisher(id);
                }
            }
            Source::Local { .. } => publisher.serves(Instant::now(), TrackMeta::default(), None),
        }
    }

    pub(super) fn tell_joined(&self) {
        info!(self.log, "a publisher feeds the track"; "track" => %self.name, "publishers" => self.sources.count());
    }

    fn subscribe(&mut self, ctx: &mut Context<Self>, id: SourceId, upstream: Upstream, wants: Wants) {
        self.attempts += 1;
        let (attempt, largest) = (self.attempts, self.fanout.largest());
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        (publisher.standing, publisher.attempt) = (Standing::Asked, attempt);
        let ask = SubscribeUpstream {
            new_group: publisher.demand.subscribe(wants, largest),
            source: id,
            track: ctx.address(),
            name: self.name.clone(),
            terms: UpstreamTerms {
                priority: if wants.objects() {
                    wants.priority()
                } else {
                    self.terms.priority
                },
                ..self.terms.clone()
            },
            unless_read: !publisher.insisted,
        };
        let deadline = self.config.upstream_timeout;
        let asked = upstream.ask(ask, deadline);
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            let why = match answer {
                Ok(Ok(request)) => {
                    // The peer's answer may have overtaken this one.
                    let asked = actor.sources.get_mut(id);
                    match asked.filter(|publisher| publisher.attempt == attempt) {
                        Some(publisher) => publisher.request = Some(request),
                        // It was given up in the meantime; the subscription must not outlive that.
                        None => drop(upstream.signal(ReleaseUpstream { request })),
                    }
                    return;
                }
                Ok(Err(NotAsked::Reads)) => {
                    let why = Unavailable::for_now("the track is published by its readers only");
                    actor.not_asked(ctx, id, attempt, &why, Fate::Reads);
                    return;
                }
                // MOQT-14 §9.4 [D14-GOAWAY-1]: it will publish elsewhere, so here the track is not to be had.
                Ok(Err(NotAsked::Failed(CommandError::GoingAway))) => {
                    let leaving = RequestErrorReason::TrackDoesNotExist;
                    Unavailable::new(leaving, "the publisher is leaving")
                }
                Ok(Err(NotAsked::Failed(error))) => unavailable(error.to_string()),
                // Whoever wants the track looks for it again: somebody else may publish it.
                Err(AskError::MailboxClosed) => session_ended(),
                Err(AskError::Deadline) => unavailable(AskError::Deadline.to_string()),
            };
            actor.not_asked(ctx, id, attempt, &why, Fate::Over);
        }));
        // [D14-PUB-3]: each has a deadline of its own.
        ctx.run_later(deadline, move |actor, ctx| {
            let late = Unavailable::new(RequestErrorReason::Timeout, "the publisher did not answer");
            actor.not_asked(ctx, id, attempt, &late, Fate::Over);
        });
    }

    /// A SUBSCRIBE of ours came to nothing, unless it has been decided already.
    fn not_asked(
        &mut self,
        ctx: &mut Context<Self>,
        id: SourceId,
        attempt: u64,
        why: &Unavailable,
        fate: Fate,
    ) {
        let asked = self.sources.get(id);
        if asked
            .is_some_and(|publisher| publisher.standing == Standing::Asked && publisher.attempt == attempt)
        {
            self.lose(ctx, id, why, fate);
        }
    }

    /// The track goes on without a publisher that has left before it was taken, or for good.
    fn forget_publisher(&mut self, id: SourceId) {
        let Some(publisher) = self.sources.remove(id) else {
            return;
        };
        if publisher.is_published() {
            let (name, epoch) = (self.name.clone(), self.epoch);
            self.registry.signal(PublisherLost { name, epoch, id });
        }
        if publisher.is_local() {
            // Its writer waits until the last reader has left, which is when this actor and with it the sender goes.
            self.parting.push(publisher);
        }
    }

    /// A publisher is of no use any more: the others go on, and without any the track ends.
    ///
    /// MOQT-14 §8.4 [D14-PUB-4]: readers hear of it only when it was the last.
    pub(super) fn lose(&mut self, ctx: &mut Context<Self>, id: SourceId, why: &Unavailable, fate: Fate) {
        if self.phase == Phase::Ended {
            return;
        }
        let window = self.config.dampen;
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        let (was_active, served) = (publisher.is_active(), publisher.is_serving());
        let status = publisher.done.as_ref().map(|done| done.status);
        let standing = match fate {
            Fate::Shunned => Standing::Shunned,
            Fate::Reads => Standing::Reads,
            Fate::Quiet => Standing::Quiet,
            Fate::Over | Fate::Gone => Standing::Over,
        };
        publisher.let_go(standing, window);
        let kept = publisher.is_announced() && !publisher.withdrawn && fate != Fate::Gone;
        let published = publisher.is_published();
        if fate == Fate::Shunned {
            if published {
                let (name, epoch) = (self.name.clone(), self.epoch);
                self.registry.signal(PublisherLost { name, epoch, id });
            }
        } else if !kept {
            self.forget_publisher(id);
        }
        if was_active {
            self.publisher_ends(ctx, id);
            if self.phase == Phase::Ended {
                return;
            }
            info!(self.log, "a publisher is lost"; "track" => %self.name, "lost" => %why,
                "fate" => ?fate, "others" => self.sources.count());
        }
        if matches!(fate, Fate::Gone | Fate::Shunned) {
            self.fetch_elsewhere(ctx, id);
        }
        let gone = TrackGone {
            status: status.unwrap_or(PublishDoneStatus::InternalError),
            phrase: why.phrase.clone(),
        };
        if served {
            self.left = Some((gone.clone(), why.clone()));
        }
        // MOQT-14 §8.4 [D14-PUB-4]: the end of the track that one publisher tells is believed when it is known where that
        // is; what others are in the middle of is waited for.
        let ended = status == Some(PublishDoneStatus::TrackEnded) && self.fanout.end_of_track().is_some();
        if ended {
            self.ending = Some((gone, why.clone()));
            self.end_when_read(ctx, Duration::ZERO);
        } else {
            let end = (gone, why.clone());
            self.settle_links(ctx, Some(&end));
            self.carry_on(ctx, end);
        }
    }

    /// Turns to whoever there is instead of one that is lost.
    fn carry_on(&mut self, ctx: &mut Context<Self>, end: End) {
        match self.phase {
            Phase::Created | Phase::Gathering(_) if self.sources.any_resting() => {}
            Phase::Created | Phase::Gathering(_) => self.finish_with(ctx, &end.0, &end.1),
            Phase::Idle => self.rest_is_over(ctx),
            Phase::Subscribing | Phase::Live | Phase::Ended => self.engage_or(ctx, end),
        }
    }

    /// The track has ended, and nothing stands behind its end: it is over when no stream is open.
    pub(super) fn end_when_read(&mut self, ctx: &mut Context<Self>, waited: Duration) {
        let wait = self.config.done_wait;
        if self.sources.any_open_streams() && waited < wait.saturating_mul(OPEN_STREAM_PATIENCE) {
            ctx.run_later(wait, move |actor, ctx| actor.end_when_read(ctx, waited + wait));
        } else {
            self.end_now(ctx);
        }
    }

    /// Ends the track if its end is due.
    pub(super) fn end_now(&mut self, ctx: &mut Context<Self>) {
        if let Some((gone, why)) = self.ending.take() {
            self.finish_with(ctx, &gone, &why);
        }
    }

    /// The publisher said PUBLISH_DONE: the track goes on without it when its streams are in.
    ///
    /// MOQT-14 §9.12 [D14-SUB-21]: the count of streams says when, or else time does, in which nothing comes any more: what
    /// was on its way behind PUBLISH_DONE may be much. A stream that is still open is waited for longer, because its objects
    /// were promised.
    pub(super) fn settle_done(&mut self, ctx: &mut Context<Self>, id: SourceId) {
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        if publisher.done.is_none() || self.phase != Phase::Live {
            return;
        }
        let wait = self.config.done_wait;
        let repairs = self.repairs.is_under_way(id);
        let patience = if publisher.has_open_streams() || repairs {
            wait.saturating_mul(OPEN_STREAM_PATIENCE)
        } else {
            wait
        };
        let quiet = publisher.quiet_since_done();
        if (publisher.is_drained() && !repairs) || quiet >= patience {
            let why = Unavailable::new(
                RequestErrorReason::TrackDoesNotExist,
                "the publisher ended the track",
            );
            self.lose(ctx, id, &why, Fate::Over);
        } else if !std::mem::replace(&mut publisher.watched, true) {
            // A stream may end meanwhile, which makes the wait shorter.
            ctx.run_later(wait.saturating_sub(quiet).max(wait / 8), move |actor, ctx| {
                if let Some(publisher) = actor.sources.get_mut(id) {
                    publisher.watched = false;
                }
                actor.settle_done(ctx, id);
            });
        }
    }

    /// A publisher broke the rules for tracks on its own, and others go on: it is let go of, for good.
    ///
    /// MOQT-14 §2.5 [D14-MAL-1]: UNSUBSCRIBE and FETCH_CANCEL towards that publisher; its session lives on.
    pub(super) fn shun(&mut self, ctx: &mut Context<Self>, id: SourceId, fault: &str) {
        self.shunned += 1;
        warn!(self.log, "a publisher breaks the rules for tracks and is not used any more";
            "track" => %self.name, "why" => fault, "shunned" => self.shunned);
        self.lose(ctx, id, &malformed(), Fate::Shunned);
    }

    /// The whole track breaks the rules for tracks.
    ///
    /// MOQT-14 §2.5 [D14-MAL-1]: readers are told, fetches fail, every publisher is let go of, and no session ends for it.
    pub(super) fn is_malformed(&mut self, ctx: &mut Context<Self>, fault: &str) {
        warn!(self.log, "track is malformed"; "track" => %self.name, "why" => fault);
        self.desk(ctx, |desk, now, log| desk.condemn(now, log));
        let phrase = "the track breaks the rules for tracks";
        self.finish(ctx, &TrackGone::new(PublishDoneStatus::MalformedTrack, phrase));
    }
}

/// The upstream will not serve us, and nobody downstream can mend it.
fn unavailable(why: String) -> Unavailable {
    Unavailable {
        phrase: why.into(),
        ..Unavailable::new(RequestErrorReason::InternalError, "")
    }
}

/// The publisher's session is gone.
pub(super) fn session_ended() -> Unavailable {
    Unavailable::for_now("the publisher's session ended")
}

fn malformed() -> Unavailable {
    Unavailable::new(
        RequestErrorReason::MalformedTrack,
        "the publisher breaks the rules for tracks",
    )
}
