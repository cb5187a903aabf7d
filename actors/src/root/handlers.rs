//! What the root does with each message.

use actix::{AsyncContext, Handler, MessageResult, ResponseFuture};

use super::messages::{Drain, Health, HealthReport, Outcome, TakeCensus};
use super::{Life, Loss, Phase, RootActor};
use crate::census::{self, Census};
use crate::supervise::ChildDown;
use crate::watchdog::Board;

impl Handler<ChildDown> for RootActor {
    type Result = ();

    fn handle(&mut self, down: ChildDown, ctx: &mut Self::Context) {
        for (index, child) in self.children.iter_mut().enumerate() {
            match &mut child.life {
                Life::Starting { id, died, .. } if *id == down.id => {
                    // The start closure still holds what the child left behind; it resolves soon or is cut off.
                    *died = Some(down.exit);
                    return;
                }
                Life::Up { id, .. } if *id == down.id => {
                    child.life = Life::Idle;
                    self.child_ended(index, down.exit, ctx);
                    return self.remaining(down.id, None, ctx);
                }
                Life::Stopping { id, timer, .. } if *id == down.id => {
                    ctx.cancel_future(*timer);
                    child.life = Life::Idle;
                    return self.stop_next(ctx);
                }
                Life::Idle
                | Life::Starting { .. }
                | Life::Up { .. }
                | Life::BackingOff { .. }
                | Life::Stopping { .. }
                | Life::Done
                | Life::Lost => {}
            }
        }
    }
}

impl Handler<Drain> for RootActor {
    type Result = ();

    fn handle(&mut self, drain: Drain, ctx: &mut Self::Context) {
        match self.phase {
            Phase::Starting { .. } | Phase::Running | Phase::Retiring(_) => {
                self.begin_drain(Outcome::Drained, drain.deadline, ctx);
            }
            // Asked again: whoever asks has lost patience.
            Phase::Draining { .. } => self.finish(ctx),
            Phase::Ended => {}
        }
    }
}

impl Handler<Health> for RootActor {
    type Result = MessageResult<Health>;

    fn handle(&mut self, _: Health, _: &mut Self::Context) -> Self::Result {
        let up = |life: &Life| matches!(life, Life::Up { .. } | Life::Done);
        let down = || self.children.iter().filter(|child| !up(&child.life));
        let missing = down().filter(|child| child.spec.loss == Loss::Escalate);
        MessageResult(HealthReport {
            status: self.status.borrow().clone(),
            missing: missing.map(|child| child.spec.name.clone()).collect(),
            down: down().map(|child| child.spec.name.clone()).collect(),
            late: self.options.board.as_ref().map(Board::late).unwrap_or_default(),
        })
    }
}

impl Handler<TakeCensus> for RootActor {
    type Result = ResponseFuture<Census>;

    fn handle(&mut self, msg: TakeCensus, _: &mut Self::Context) -> Self::Result {
        let children = self.children.iter().filter_map(|child| {
            let counting = match &child.life {
                // One without tables has nothing to say.
                Life::Up { running, .. } => Some(running.counting.clone()?),
                Life::Done => return None,
                Life::Idle
                | Life::Starting { .. }
                | Life::BackingOff { .. }
                | Life::Stopping { .. }
                | Life::Lost => None,
            };
            Some((child.spec.name.clone(), counting))
        });
        Box::pin(census::gather(children.collect(), msg.deadline))
    }
}
