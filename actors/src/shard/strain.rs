//! A shard that keeps an eye on how loaded it is, and tells of the newcomers that were refused.

use super::ShardActor;
use crate::limits::{EVERY, Kind};
use actix::{AsyncContext, Context};
use slog::warn;
use std::time::Duration;

/// How often an operator is told of newcomers that were refused in their handshake.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// Refused newcomers of which an operator was told, of all shards.
#[derive(Debug, Default)]
pub(super) struct Told {
    full: u64,
    hasty: u64,
    loaded: u64,
}

impl ShardActor {
    pub(super) fn watch_load(&self, ctx: &mut Context<Self>) {
        ctx.run_interval(EVERY, |actor, _| actor.look_at_load());
        if self.env.shard.index == 0 {
            ctx.run_interval(REFUSED_EVERY, |actor, _| actor.tell_refused());
        }
    }

    fn look_at_load(&mut self) {
        let budget = &self.env.track.budget;
        let max = u64::try_from(budget.max()).unwrap_or(u64::MAX);
        let is_empty = self.env.prefixes.is_empty();
        let keep = self.observer.observe(&self.log, is_empty, max);
        // The cache gives back before anybody is refused, on a shard where nothing is written too.
        budget.keep(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// The endpoints refuse newcomers where nothing is logged, and count them for the whole process.
    fn tell_refused(&mut self) {
        let prefixes = &self.env.prefixes;
        let process = self.env.strain.process();
        for (told, refused, why, limit) in [
            (
                &mut self.told.full,
                prefixes.refused(Kind::Connections),
                "newcomers of full address prefixes are refused",
                "limits.prefix_connections",
            ),
            (
                &mut self.told.hasty,
                prefixes.too_many_handshakes(),
                "newcomers of address prefixes that begin too many handshakes are refused",
                "limits.prefix_handshakes_per_s",
            ),
            (
                &mut self.told.loaded,
                process.refused_connections(),
                "newcomers are refused, the relay is overloaded",
                "limits.memory_mb",
            ),
        ] {
            let more = refused.saturating_sub(*told);
            if more > 0 {
                *told = refused;
                warn!(self.log, "{}", why; "limit" => limit, "refused" => more);
            }
        }
    }
}
