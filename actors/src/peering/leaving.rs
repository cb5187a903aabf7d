//! A peering that is about to end: others are told to go around this relay, and what is on its way here goes on meanwhile.

use super::bases::LeaveMesh;
use super::link::LinkConn;
use super::supervisor::{PeeringActor, now};
use super::{LeavePeering, LinksFree, Reach};
use crate::supervise::mailbox::signal;
use actix::{AsyncContext, Context, Handler, Recipient};
use slog::info;
use std::time::{Duration, Instant};

/// How often it is looked whether links are needed still.
const LOOK: Duration = Duration::from_millis(10);

/// How long peers have at least to hear of it, and to send something else another way, beside four of their round trips: as
/// the timers of a busy machine are late.
const NOTICE: Duration = Duration::from_millis(300);

/// How long nothing may have been under way, beside two round trips: the last word of whoever left here takes a few
/// messages from actor to actor, and what was lost on the way comes once more.
const QUIET: Duration = Duration::from_millis(50);

/// Who wants to know that the links are needed no more.
pub(super) struct Leaving {
    began: Instant,
    /// When they were needed last, as far as one knows.
    busy: Instant,
    report: Option<Recipient<LinksFree>>,
}

impl<R: Reach> PeeringActor<R> {
    pub(super) const fn leaves(&self) -> bool {
        self.leaving.is_some()
    }

    /// New bases, or those of now.
    pub(super) fn leave_mesh(&self) {
        if let (Some((_, bases, _)), true) = (&self.bases, self.leaves()) {
            signal(bases, LeaveMesh);
        }
    }

    fn look_whether_free(&mut self, ctx: &mut Context<Self>) {
        let (carries, round_trip) = self
            .options
            .plane
            .as_ref()
            .map_or_else(Default::default, |plane| {
                (plane.carries_for_others(), plane.longest_round_trip())
            });
        let none_left = self.peers() == 0;
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.report.is_some()) else {
            return;
        };
        let now = now();
        if carries {
            leaving.busy = now;
        }
        let heard = now >= leaving.began + NOTICE + 4 * round_trip;
        let quiet = now >= leaving.busy + QUIET + 2 * round_trip;
        if none_left || (heard && quiet) {
            info!(self.options.log, "nothing goes over the links any more";
                "after_ms" => %now.saturating_duration_since(leaving.began).as_millis());
            if let Some(report) = leaving.report.take() {
                signal(&report, LinksFree);
            }
            return;
        }
        ctx.run_later(LOOK, Self::look_whether_free);
    }
}

impl<R: Reach> Handler<LeavePeering> for PeeringActor<R>
where
    R::Conn: LinkConn,
{
    type Result = ();

    fn handle(&mut self, LeavePeering(report): LeavePeering, ctx: &mut Self::Context) {
        let now = now();
        let looks = match &mut self.leaving {
            Some(leaving) => {
                leaving.busy = now;
                leaving.report.replace(report).is_some()
            }
            None => {
                info!(self.options.log, "others are asked to go around this relay"; "links" => self.peers());
                self.leaving = Some(Leaving {
                    began: now,
                    busy: now,
                    report: Some(report),
                });
                self.leave_mesh();
                false
            }
        };
        if !looks {
            self.look_whether_free(ctx);
        }
    }
}
