//! The time between the wish to end and the end: those who are served are asked to leave, and most of them do.

use std::collections::HashMap;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, SpawnHandle};
use slog::{info, warn};
use tokio::time::Instant;

use super::messages::{Outcome, Remaining, Retire, RootStatus, SendAway};
use super::{Life, Phase, RootActor};
use crate::supervise::{ChildId, mailbox};

/// How often the log says how many sessions are left.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What the root knows while it waits.
pub(super) struct Retiring {
    retire: Retire,
    began: Instant,
    /// Sessions left, by child; none until the child has said.
    left: HashMap<ChildId, Option<usize>>,
    said: Instant,
    /// Ends the wait for children that do not answer.
    pub(super) timer: SpawnHandle,
}

impl RootActor {
    fn begin_retire(&mut self, retire: Retire, ctx: &mut Context<Self>) {
        info!(self.options.log, "everybody is asked to leave"; "uri" => %String::from_utf8_lossy(&retire.uri),
            "grace_ms" => %retire.grace.as_millis());
        // A child cuts off who is left when the grace is over, and needs a moment for it.
        let timer = ctx.run_later(retire.grace + retire.deadline, |root, ctx| {
            warn!(root.options.log, "not everybody has left in time");
            root.leave(ctx);
        });
        let now = Instant::now();
        self.phase = Phase::Retiring(Retiring {
            retire,
            began: now,
            left: HashMap::new(),
            said: now,
            timer,
        });
        self.status.send_replace(RootStatus::Retiring { sessions: 0 });
        for index in 0..self.children.len() {
            self.send_away(index);
        }
        self.check_left(ctx);
    }

    /// Child number `index` is up: while the relay retires, it asks those it serves to leave.
    pub(super) fn send_away(&mut self, index: usize) {
        let (Phase::Retiring(retiring), Some(child)) = (&mut self.phase, self.children.get(index)) else {
            return;
        };
        let Life::Up { id, running } = &child.life else {
            return;
        };
        let Some(away) = &running.away else {
            return;
        };
        let grace = retiring.retire.grace.saturating_sub(retiring.began.elapsed());
        // MOQT-14 §3.5 [D14-GOAWAY-4]: all children are told before any of them can have lost a subscriber by it, so
        // everybody downstream knows before anything is unsubscribed upstream.
        let told = mailbox::signal(
            away,
            SendAway {
                child: *id,
                uri: retiring.retire.uri.clone(),
                grace,
                report: self.remaining.clone(),
            },
        );
        if told {
            retiring.left.insert(*id, None);
        }
    }

    /// So many sessions are left of this child; none when the child itself is gone.
    pub(super) fn remaining(&mut self, child: ChildId, sessions: Option<usize>, ctx: &mut Context<Self>) {
        let Phase::Retiring(retiring) = &mut self.phase else {
            return;
        };
        match sessions {
            Some(sessions) => {
                if let Some(left) = retiring.left.get_mut(&child) {
                    *left = Some(sessions);
                }
            }
            None => {
                retiring.left.remove(&child);
            }
        }
        self.check_left(ctx);
    }

    fn check_left(&mut self, ctx: &mut Context<Self>) {
        let Phase::Retiring(retiring) = &mut self.phase else {
            return;
        };
        // Until all have said there is no sum to tell.
        let Some(sessions) = retiring.left.values().copied().sum::<Option<usize>>() else {
            return;
        };
        self.status.send_replace(RootStatus::Retiring { sessions });
        if sessions == 0 {
            info!(self.options.log, "everybody has left"; "after_ms" => %retiring.began.elapsed().as_millis());
            self.leave(ctx);
        } else if retiring.said.elapsed() >= SAY_EVERY {
            retiring.said = Instant::now();
            info!(self.options.log, "waiting for sessions to leave"; "sessions" => sessions);
        }
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        if let Phase::Retiring(retiring) = &self.phase {
            let deadline = retiring.retire.deadline;
            self.begin_drain(Outcome::Drained, deadline, ctx);
        }
    }
}

impl Handler<Retire> for RootActor {
    type Result = ();

    fn handle(&mut self, retire: Retire, ctx: &mut Self::Context) {
        match self.phase {
            Phase::Running => self.begin_retire(retire, ctx),
            // Before everything is up there is nobody to ask; asked again, whoever asks has lost patience.
            Phase::Starting { .. } | Phase::Retiring(_) => {
                self.begin_drain(Outcome::Drained, retire.deadline, ctx);
            }
            Phase::Draining { .. } => self.finish(ctx),
            Phase::Ended => {}
        }
    }
}

impl Handler<Remaining> for RootActor {
    type Result = ();

    fn handle(&mut self, msg: Remaining, ctx: &mut Self::Context) {
        self.remaining(msg.child, Some(msg.sessions), ctx);
    }
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
