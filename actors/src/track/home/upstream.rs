//! The home copy's side towards its publishers: which one feeds it, and what happens when that one is lost.

use super::{Phase, TrackActor};
use crate::registry::PublisherLost;
use crate::session::{AcceptPublish, ReleaseUpstream, SessionActor, SubscribeUpstream};
use crate::supervise::mailbox;
use crate::track::messages::{Source, SourceId, TrackGone, TrackMeta, Unavailable};
use crate::track::sources::release;
use actix::{ActorFutureExt, Addr, AsyncContext, Context, WrapFuture};
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::moqt::session::CommandError;
use slog::info;
use std::time::Duration;

/// How many times `done_wait` a stream that is still open is waited for after PUBLISH_DONE.
const OPEN_STREAM_PATIENCE: u32 = 15;

impl TrackActor {
    /// Turns to the oldest publisher there is.
    pub(super) fn engage(&mut self, ctx: &mut Context<Self>) {
        let (wanted, largest_here) = (self.wants_objects(), self.fanout.largest());
        let window = self.config.dampen;
        let Some((id, publisher)) = self.sources.elect() else {
            let gone = TrackGone::new(PublishDoneStatus::InternalError, "the track has no publisher");
            self.finish(ctx, &gone);
            return;
        };
        match publisher.source.clone() {
            Source::Announced { session } => {
                if !self.has_readers() {
                    // Nobody is left of those who asked, or they only fetch; the next reader starts over.
                    self.sources.rest();
                    self.idle(ctx);
                    return;
                }
                self.subscribe(ctx, id, session);
            }
            Source::Published {
                session,
                request,
                largest,
                meta,
            } => {
                // MOQT-14 §8.4 [D14-SUB-26]: Forward is 1 as soon as one subscriber wants objects. One that stood by
                // was accepted with Forward 0, and is told when the track is live with it.
                let told = if std::mem::replace(&mut publisher.accepted, true) {
                    self.demand.accept(window, false, None);
                    session.connected()
                } else {
                    let new_group = self.demand.accept(window, wanted, largest_here.max(largest));
                    mailbox::signal(
                        &session,
                        AcceptPublish {
                            request,
                            // MOQT-14 §9.13 [D14-SUB-25]: taken, and with Forward 0 while nobody wants it.
                            forward: wanted,
                            new_group,
                            track: ctx.address(),
                            source: id,
                        },
                    )
                };
                if !told {
                    self.lose(ctx, id, &session_ended());
                    return;
                }
                self.live(ctx, meta, largest);
            }
            Source::Local { .. } => self.live(ctx, TrackMeta::default(), None),
        }
    }

    fn subscribe(&mut self, ctx: &mut Context<Self>, id: SourceId, session: Addr<SessionActor>) {
        self.phase = Phase::Subscribing;
        let new_group = self.demand.subscribe(self.fanout.largest());
        let ask = SubscribeUpstream {
            new_group,
            source: id,
            track: ctx.address(),
            name: self.name.clone(),
            terms: self.terms.clone(),
        };
        let deadline = self.config.upstream_timeout;
        let asked = mailbox::ask(&session, ask, deadline);
        ctx.spawn(
            asked
                .into_actor(self)
                .map(move |answer, actor, ctx| match answer {
                    Ok(Ok(request)) => match actor.sources.get_mut(id) {
                        Some(publisher) if actor.phase != Phase::Ended => publisher.request = Some(request),
                        // It was given up in the meantime; the subscription must not outlive that.
                        _ => {
                            mailbox::signal(&session, ReleaseUpstream { request });
                        }
                    },
                    // MOQT-14 §9.4 [D14-GOAWAY-1]: it will publish elsewhere, so here the track is not to be had.
                    Ok(Err(CommandError::GoingAway)) => {
                        let leaving = RequestErrorReason::TrackDoesNotExist;
                        actor.lose(ctx, id, &Unavailable::new(leaving, "the publisher is leaving"));
                    }
                    Ok(Err(error)) => actor.lose(ctx, id, &unavailable(error.to_string())),
                    Err(error) => actor.lose(ctx, id, &unavailable(error.to_string())),
                }),
        );
        ctx.run_later(deadline, move |actor, ctx| {
            if actor.phase == Phase::Subscribing && actor.sources.is_active(id) {
                let late = Unavailable::new(RequestErrorReason::Timeout, "the publisher did not answer");
                actor.lose(ctx, id, &late);
            }
        });
    }

    /// A publisher is of no use any more: turn to the next, or end.
    pub(super) fn lose(&mut self, ctx: &mut Context<Self>, id: SourceId, why: &Unavailable) {
        if self.phase == Phase::Ended {
            return;
        }
        let was_active = self.sources.is_active(id);
        let Some(mut publisher) = self.sources.remove(id) else {
            return;
        };
        if was_active {
            self.demand.lost(ctx);
        }
        release(&publisher.source, publisher.request);
        if matches!(publisher.source, Source::Published { .. }) && !self.sources.is_empty() {
            let (name, epoch) = (self.name.clone(), self.epoch);
            mailbox::signal(&self.registry, PublisherLost { name, epoch, id });
        }
        let abandoned = publisher.abandon();
        if !abandoned.is_empty() {
            self.append(ctx, id, abandoned);
        }
        let status = publisher
            .done
            .as_ref()
            .map_or(PublishDoneStatus::InternalError, |done| done.status);
        if matches!(publisher.source, Source::Local { .. }) {
            // Its writer waits until the last reader has left, which is when this actor and with it the sender goes.
            self.parting.push(publisher);
        }
        if self.sources.is_empty() {
            self.finish_with(
                ctx,
                &TrackGone {
                    status,
                    phrase: why.phrase.clone(),
                },
                why,
            );
        } else if was_active && matches!(self.phase, Phase::Subscribing | Phase::Live) {
            info!(self.log, "another publisher takes over"; "track" => %self.name, "lost" => %why);
            self.engage(ctx);
        }
    }

    /// The publisher said PUBLISH_DONE: the track goes on without it when its streams are in.
    ///
    /// MOQT-14 §9.12 [D14-SUB-21]: the count of streams says when, or else time does; a stream that is still open is
    /// waited for longer, because its objects were promised.
    pub(super) fn settle_done(&mut self, ctx: &mut Context<Self>, id: SourceId, waited: Duration) {
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        if publisher.done.is_none() || self.phase != Phase::Live {
            return;
        }
        let wait = self.config.done_wait;
        let patience = if publisher.has_open_streams() {
            wait.saturating_mul(OPEN_STREAM_PATIENCE)
        } else {
            wait
        };
        if publisher.is_drained() || waited >= patience {
            self.done(ctx, id);
        } else {
            ctx.run_later(wait, move |actor, ctx| actor.settle_done(ctx, id, waited + wait));
        }
    }

    fn done(&mut self, ctx: &mut Context<Self>, id: SourceId) {
        let why = Unavailable::new(
            RequestErrorReason::TrackDoesNotExist,
            "the publisher ended the track",
        );
        self.lose(ctx, id, &why);
    }

    pub(super) fn release_all(&mut self) {
        for (_, publisher) in self.sources.iter() {
            release(&publisher.source, publisher.request);
        }
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
