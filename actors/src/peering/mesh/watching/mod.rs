//! A stub hears of no publisher that it does not watch, so it watches for what its clients seek. laps peering, "Stub".
//!
//! ```text
//!  registry ──▶ SoughtChanged ──▶ MeshActor ⇢⇢▶ registry.TakeSought        what clients look for
//!  MeshActor ⇢⇢▶ InfoBaseActor.Want(Watch, Unwatch)                       merged by prefix, bounded, held a while
//! ```

mod table;

use super::{MeshActor, WANT_DEADLINE, Want};
use crate::limits::Seldom;
use crate::registry::{Sought, SoughtChanged, TakeSought, WatchSought};
use crate::supervise::mailbox::{self, AskError, Credit, Wake};
use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use futures::future::join_all;
use slog::{debug, warn};
use std::time::{Duration, Instant};
use table::Table;

/// How long the registry may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause before it is asked again when it gave none, and between two answers: what many clients begin to seek at once
/// is watched at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the registry is asked what nobody seeks any more.
const CHECK: Duration = Duration::from_secs(5);

/// What a stub watches.
#[derive(Debug)]
pub(super) struct Watching {
    table: Table,
    credit: Credit,
    /// The registry is being asked, or was a moment ago.
    busy: bool,
    /// It said meanwhile that there is more.
    again: bool,
    /// It knows nothing of this actor yet.
    anew: bool,
    warnings: Seldom,
}

impl MeshActor {
    /// Begins to watch for what clients seek.
    pub(super) fn begin_watching(&mut self, ctx: &mut Context<Self>) {
        let (_, credit) = Wake::<SoughtChanged>::new(ctx.address().recipient());
        self.watching = Some(Watching {
            table: Table::default(),
            credit,
            busy: false,
            again: false,
            anew: true,
            warnings: Seldom::default(),
        });
        self.take_sought(ctx);
        ctx.run_interval(CHECK, |actor, ctx| actor.take_sought(ctx));
    }

    /// There is another registry, which knows nothing of this actor.
    pub(super) fn watch_anew(&mut self, ctx: &mut Context<Self>) {
        if let Some(watching) = &mut self.watching {
            watching.anew = true;
            self.take_sought(ctx);
        }
    }

    /// There are other bases, which know nothing of what is watched.
    pub(super) fn tell_watches_again(&mut self, ctx: &mut Context<Self>) {
        if let Some(watching) = &mut self.watching {
            watching.table.forget_told();
            self.tell_watches(ctx);
        }
    }

    fn take_sought(&mut self, ctx: &mut Context<Self>) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        if std::mem::replace(&mut watching.busy, true) {
            watching.again = true;
            return;
        }
        watching.again = false;
        let registry = self.env.registry.now();
        let wake = Wake::sharing(ctx.address().recipient(), &watching.credit);
        let anew = std::mem::take(&mut watching.anew);
        let known = watching.table.known();
        let asked = async move {
            if anew {
                let all = mailbox::ask(&registry, WatchSought { wake }, DEADLINE).await;
                all.map(Some)
            } else {
                mailbox::ask(&registry, TakeSought { known }, DEADLINE).await
            }
        };
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| {
            actor.sought(ctx, answer);
            // Whatever it was, the registry has rest until then.
            ctx.run_later(PAUSE, |actor, ctx| {
                if let Some(watching) = &mut actor.watching {
                    watching.busy = false;
                    if watching.again {
                        actor.take_sought(ctx);
                    }
                }
            });
        }));
    }

    fn sought(&mut self, ctx: &mut Context<Self>, answer: Result<Option<Sought>, AskError>) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        let sought = match answer {
            Ok(Some(sought)) => sought,
            // What a late answer took with it is lost, and a new registry knows nothing of this actor.
            Ok(None) | Err(AskError::Deadline | AskError::MailboxClosed) => {
                (watching.anew, watching.again) = (true, true);
                return;
            }
        };
        watching.table.idle(now(), &sought.idle);
        let mut refused = false;
        for namespace in sought.new {
            refused |= !watching.table.seek(namespace);
        }
        if refused {
            let so_far = watching.table.refused();
            match watching.warnings.tells() {
                Some(others) => {
                    warn!(self.log, "clients look for more namespaces than a stub watches, some are not found";
                    "refused" => so_far, "not_told_of" => others)
                }
                None => debug!(self.log, "a namespace is not watched"; "refused" => so_far),
            }
        }
        self.tell_watches(ctx);
    }

    /// Has the bases watch what they do not.
    fn tell_watches(&mut self, ctx: &mut Context<Self>) {
        let (Some(watching), Some(bases)) = (&mut self.watching, &self.bases) else {
            return;
        };
        let commands = watching.table.flush();
        if commands.is_empty() {
            return;
        }
        debug!(self.log, "a stub watches"; "prefixes" => watching.table.watched(), "changed" => commands.len());
        let lives = self.lives;
        let asked: Vec<_> = commands
            .into_iter()
            .map(|command| mailbox::ask(&bases.want, Want(command), WANT_DEADLINE))
            .collect();
        ctx.spawn(join_all(asked).into_actor(self).map(move |answers, actor, ctx| {
            // Bases that are gone are followed by others, which are told everything.
            let late = answers
                .iter()
                .any(|answer| matches!(answer, Err(AskError::Deadline)));
            if late && actor.lives == lives {
                actor.tell_watches_again(ctx);
            }
        }));
    }
}

impl Handler<SoughtChanged> for MeshActor {
    type Result = ();
    fn handle(&mut self, _: SoughtChanged, ctx: &mut Self::Context) {
        if let Some(watching) = &self.watching {
            watching.credit.consumed();
        }
        self.take_sought(ctx);
    }
}

/// tokio's clock, so that virtual time reaches the table too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
