//! TRACK_STATUS: what SUBSCRIBE would be answered, without the subscription. MOQT-14 §9.20.
//!
//! ```text
//! StatusActor ⇢⇢▶ Registry.ResolveTrack ; ⇢⇢▶ TrackActor.WhoKnows
//!   it knows, or clients publish here:  ⇢⇢▶ TrackActor.Attach          for a moment
//!   other nodes publish it:             ⇢⇢▶ NodeActor.AskStatus ──▶ TRACK_STATUS in a NODE_MESSAGE (decision 0029)
//! ```

mod asking;

use crate::limits::Account;
use crate::owner::Owner;
use crate::shard::Env;
use crate::subscription::locate::Search;
use crate::subscription::{accept_message, accept_without_content};
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::mailbox::{Credit, Wake};
use crate::track::{TrackAdvanced, TrackGone, Unavailable};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use asking::Asker;
use laps_protocol::moqt::filter;
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId, Subscribe, SubscribeOk};
use laps_protocol::moqt::session::Command;
use slog::{Logger, debug};
use std::time::Duration;

/// How long a publisher is waited for where subscriptions wait without limit: nobody can take a TRACK_STATUS back.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Its owner is gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What it is made of.
#[derive(Debug)]
pub struct Birth {
    /// The TRACK_STATUS.
    pub request: RequestId,
    /// What a SUBSCRIBE would have asked for.
    pub subscribe: Subscribe,
    /// What the shard shares.
    pub env: Env,
    /// Its parent.
    pub owner: Owner,
    /// Who asks belongs to this relay; see [`crate::track::Attach::own`].
    pub own: bool,
    /// What the owner has.
    pub account: Account,
    /// Where it logs.
    pub log: Logger,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// One TRACK_STATUS.
///
/// It attaches to the track's home for a moment, as a reader that wants no objects, so that a live track answers from
/// what it knows and one that is not live is subscribed to as for a SUBSCRIBE. What other nodes of the mesh publish they
/// are asked for: nobody subscribes across the mesh for it, but to laps relays, which know no such question.
///
/// Parent: its owner. Arbiter: the owner's shard. Restart: temporary; the owner refuses what it leaves
/// unanswered. In: [`Stop`], `TrackGone`. Out: `ResolveTrack` to the registry, `WhoKnows`, `Attach` and `Detach` to the
/// track, `AskStatus` to nodes, `Say` to the owner. Lost on death: the answer.
#[derive(Debug)]
pub struct StatusActor {
    birth: Birth,
    credit: Credit,
}

impl Birth {
    /// Starts the actor on this arbiter; it looks for the track at once and ends when it has answered.
    #[must_use]
    pub fn start(self) -> Addr<StatusActor> {
        StatusActor::create(|ctx| StatusActor {
            birth: self,
            credit: Wake::<TrackAdvanced>::new(ctx.address().recipient()).1,
        })
    }
}

impl StatusActor {
    fn ask(&self, ctx: &mut Context<Self>) {
        let env = &self.birth.env;
        let client = self.birth.owner.is_client();
        // MOQT-14 §9.20 [D14-SUB-28]: treated as a SUBSCRIBE, which nobody waits for where it is accepted at once.
        let wait = if !client {
            // Who asks has seen that the track is published here, and waits there for others.
            Duration::ZERO
        } else if env.session.detached {
            env.session.seek_wait
        } else {
            env.session.subscribe_wait.unwrap_or(LONGEST_WAIT)
        };
        let search = Search {
            wait: Some(wait),
            ..Search::new(
                env,
                &self.birth.subscribe.track,
                &self.birth.account,
                &self.birth.owner,
                &self.birth.log,
            )
        };
        let asker = Asker {
            env: env.clone(),
            subscribe: self.birth.subscribe.clone(),
            own: self.birth.own,
            wake: Wake::sharing(ctx.address().recipient(), &self.credit),
            gone: ctx.address().recipient(),
        };
        // Each part of the search has its own deadline; this one is for all of them together.
        let deadline = wait + env.track.answer_deadline().saturating_mul(3);
        let found = tokio::time::timeout(deadline, asker.find(search));
        ctx.spawn(found.into_actor(self).map(move |found, actor, ctx| {
            let late = Unavailable::new(RequestErrorReason::Timeout, "the track was not found in time");
            let answer = found.unwrap_or(Err(late)).and_then(|track| {
                let subscribe = &actor.birth.subscribe;
                // MOQT-14 §9.7 [D14-SUB-7]
                filter::resolve(&subscribe.filter, track.largest).map_err(|_| {
                    Unavailable::new(RequestErrorReason::InvalidRange, "the range is already over")
                })?;
                // MOQT-14 §9.21 [D14-SUB-28] [D14-VAL-14]: the alias is 0, there are no objects for it.
                Ok(accept_message(subscribe, 0, &track))
            });
            let answer = match answer {
                Err(why) if why.for_now && actor.birth.env.session.detached => {
                    Ok(accept_without_content(&actor.birth.subscribe, 0))
                }
                answer => answer,
            };
            actor.answer(answer);
            ctx.stop();
        }));
    }

    fn answer(&self, answer: Result<SubscribeOk, Unavailable>) {
        let request = self.birth.request;
        let command = match answer {
            Ok(ok) => Command::AcceptTrackStatus(request, ok),
            Err(why) => {
                debug!(self.birth.log, "no status"; "request" => request.0, "why" => %why);
                let error = RequestError {
                    reason: why.reason,
                    phrase: why.phrase,
                };
                Command::Reject(request, error)
            }
        };
        self.birth.owner.say(command);
    }
}

impl Actor for StatusActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if has_runtime() {
            self.birth
                .env
                .faults
                .check_named("status", &self.birth.subscribe.track);
            self.ask(ctx);
        }
    }
}

impl Handler<TrackAdvanced> for StatusActor {
    type Result = ();
    fn handle(&mut self, _: TrackAdvanced, _: &mut Self::Context) {
        self.credit.consumed();
    }
}

// What becomes of the track after it was asked is no news.
impl Handler<TrackGone> for StatusActor {
    type Result = ();
    fn handle(&mut self, _: TrackGone, _: &mut Self::Context) {}
}

impl Handler<Stop> for StatusActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
