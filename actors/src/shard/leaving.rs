//! A shard whose relay retires: nobody new comes in, everybody is asked to leave, and who stays is cut off.

use super::ShardActor;
use crate::connection::Leave;
use crate::root::{Remaining, SendAway};
use crate::session::AskToLeave;
use crate::supervise::{ChildId, mailbox};
use actix::{AsyncContext, Context, Handler, Recipient};
use laps_protocol::moqt::error::CloseCode;
use slog::{info, warn};

/// Who wants to know how many are left.
#[derive(Debug)]
pub(super) struct Leaving {
    child: ChildId,
    report: Recipient<Remaining>,
}

impl ShardActor {
    pub(super) fn refuse_newcomers(&self) {
        if let Some(serving) = &self.serving {
            serving.door.refuse(true);
        }
    }

    /// Says how many connections are left, to whoever asked that they leave.
    pub(super) fn tell_remaining(&self) {
        if let Some(leaving) = &self.leaving {
            // Links that others still need are one more.
            let links = self.seat.as_ref().is_some_and(|seat| !seat.is_free());
            let remaining = Remaining {
                child: leaving.child,
                sessions: self.connections().count() + usize::from(links),
            };
            mailbox::signal(&leaving.report, remaining);
        }
    }

    /// MOQT-14 §3.5 [D14-GOAWAY-3]: the grace is over, so who is left is closed with GOAWAY_TIMEOUT.
    fn overdue(&mut self, _: &mut Context<Self>) {
        self.links_are_free();
        let left = self.connections().count();
        if left > 0 {
            warn!(self.log, "sessions did not leave in time"; "sessions" => left);
        }
        for connection in self.connections() {
            mailbox::signal(
                connection,
                Leave {
                    code: CloseCode::GoawayTimeout,
                    reason: "the time to leave after GOAWAY is over",
                },
            );
        }
    }
}

impl Handler<SendAway> for ShardActor {
    type Result = ();

    fn handle(&mut self, msg: SendAway, ctx: &mut Self::Context) {
        info!(self.log, "connections are asked to leave"; "connections" => self.connections().count());
        self.refuse_newcomers();
        for connection in self.connections() {
            mailbox::signal(connection, AskToLeave { uri: msg.uri.clone() });
        }
        self.leaving = Some(Leaving {
            child: msg.child,
            report: msg.report,
        });
        self.leave_mesh(ctx);
        ctx.run_later(msg.grace, Self::overdue);
        self.tell_remaining();
    }
}
