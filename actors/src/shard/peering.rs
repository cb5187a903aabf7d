//! The peering of the relay, on the shard that has it: shard 0.

use super::ShardActor;
use crate::metrics::restarts;
use crate::peering::{LinksFree, Seat};
use crate::supervise::{ChildDown, Decision};
use crate::transport::{Conn, Refusal};
use actix::{ActorContext, AsyncContext, Context, Handler, StreamHandler};
use futures::StreamExt;
use laps_protocol::peering::message::Dialect;
use slog::{debug, error, warn};
use std::time::Instant;

/// A peer has dialled.
struct Knock {
    conn: Conn,
    dialect: Dialect,
}

/// A peer was turned away for its certificate or its address.
struct TurnedAway(Refusal);

impl ShardActor {
    /// The shard has the peering of the relay.
    #[must_use]
    pub fn with_peering(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// Whether clients are served: a Via refuses them, and says so. laps peering, "Via".
    #[must_use]
    pub const fn taking_clients(mut self, taking: bool) -> Self {
        if let Some(serving) = &mut self.serving {
            serving.closed = !taking;
        }
        self
    }

    pub(super) fn start_peering(&mut self, ctx: &mut Context<Self>) {
        let Some(seat) = &mut self.seat else { return };
        for listener in seat.take_listeners() {
            let dialect = listener.dialect;
            ctx.add_stream(listener.endpoint.map(move |conn| Knock { conn, dialect }));
            if let Some(refusals) = listener.refusals {
                ctx.add_stream(refusals.map(TurnedAway));
            }
        }
        self.begin_peering(ctx);
    }

    fn begin_peering(&mut self, ctx: &mut Context<Self>) {
        if let Some(seat) = &mut self.seat {
            seat.begin(&self.env, ctx.address().recipient());
        }
    }

    /// Peers are asked to go around this relay.
    pub(super) fn leave_mesh(&mut self, ctx: &Context<Self>) {
        if let Some(seat) = &mut self.seat {
            seat.leave(ctx.address().recipient());
        }
    }

    /// Nobody needs the links any more, or nobody is to be waited for.
    pub(super) fn links_are_free(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.freed();
            self.tell_remaining();
        }
    }

    /// Ends the links of an ending shard when nobody needs them any more, or it is time; true when they have ended. As long
    /// as there are `sessions` here, and a moment longer, somebody may have something to say to other relays.
    pub(super) fn links_ended(&mut self, sessions: bool) -> bool {
        let Some(seat) = &mut self.seat else {
            return true;
        };
        let late = self.links_until.is_none_or(|until| Instant::now() >= until);
        if !seat.is_over() && (late || (seat.is_free() && !sessions)) {
            seat.end();
        }
        seat.is_over()
    }

    /// The end of a child that may have been the peering.
    pub(super) fn peering_down(&mut self, down: ChildDown, ctx: &mut Context<Self>) {
        let decision = self.seat.as_mut().and_then(|seat| seat.down(down));
        match decision {
            Some(Decision::Restart { after }) => {
                restarts::restarted("peering");
                ctx.run_later(after, Self::begin_peering);
            }
            Some(Decision::GiveUp | Decision::Forget) => {
                error!(self.log, "the peering failed too often");
                ctx.stop();
            }
            None => {}
        }
    }
}

impl Handler<LinksFree> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: LinksFree, _: &mut Self::Context) {
        self.links_are_free();
    }
}

impl StreamHandler<Knock> for ShardActor {
    fn handle(&mut self, Knock { conn, dialect }: Knock, _: &mut Context<Self>) {
        if let Some(seat) = &self.seat {
            seat.take(conn, dialect);
        }
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        if !self.stopping {
            error!(self.log, "the QUIC endpoint for peers ended");
            ctx.stop();
        }
    }
}

impl StreamHandler<TurnedAway> for ShardActor {
    fn handle(&mut self, TurnedAway(refusal): TurnedAway, _: &mut Context<Self>) {
        if self.seat.as_mut().is_some_and(|seat| seat.is_news(&refusal)) {
            warn!(self.log, "peer refused"; "from" => %refusal.from, "why" => refusal.fault);
        } else {
            debug!(self.log, "peer refused again"; "from" => %refusal.from, "why" => refusal.fault);
        }
    }

    // The endpoint says so itself.
    fn finished(&mut self, _: &mut Context<Self>) {}
}
