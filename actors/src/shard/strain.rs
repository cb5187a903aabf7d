//! A shard that keeps an eye on how loaded it is, and tells of the newcomers that were refused.

use super::{Env, ShardActor};
use crate::limits::{EVERY, Kind};
use actix::{Actor, AsyncContext, Context};
use slog::warn;
use std::time::Duration;

/// How often an operator is told of newcomers that were refused in their handshake.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// Refused newcomers of which an operator was told, of all shards.
#[derive(Debug)]
pub(super) struct Told {
    full: u64,
    hasty: u64,
    loaded: u64,
}

impl Told {
    /// What was refused in earlier lives of the shard, an operator was told of then.
    pub(super) fn so_far(env: &Env) -> Self {
        Self {
            full: env.prefixes.refused(Kind::Connections),
            hasty: env.prefixes.too_many_handshakes(),
            loaded: env.strain.process().refused_connections(),
        }
    }
}

impl ShardActor {
    pub(super) fn watch_load(&self, ctx: &mut Context<Self>) {
        every(ctx, EVERY, Self::look_at_load);
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

/// Does `work` again and again, each time `period` after the last one or later.
///
/// An interval of actix catches up on what it missed, at once: of a thread that is later than the period it would tell
/// that it is not late at all, and after a stop of an hour it would look 14,400 times.
fn every<A>(ctx: &mut Context<A>, period: Duration, work: fn(&mut A))
where
    A: Actor<Context = Context<A>>,
{
    ctx.run_later(period, move |actor, ctx| {
        work(actor);
        every(ctx, period, work);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Gauge, Observer, Pressure, Strain};
    use laps_protocol::relay::load::{Level, Sample, Terms};
    use slog::Logger;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    struct Shard(Observer);

    impl Shard {
        fn look(&mut self) {
            let log = Logger::root(slog::Discard, slog::o!());
            self.0.observe(&log, false, 0);
        }
    }

    impl Actor for Shard {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            every(ctx, EVERY, Self::look);
        }
    }

    /// D14-LIM-6: the later a thread is, the more it is late; and it looks once, however much it has missed.
    #[actix_rt::test]
    async fn a_thread_that_is_later_than_its_period_is_late() {
        tokio::time::pause();
        let looks = Arc::new(AtomicU32::new(0));
        let looked = Arc::clone(&looks);
        let gauge = Gauge::given(move |lag| {
            looked.fetch_add(1, Relaxed);
            Sample {
                lag,
                ..Sample::default()
            }
        });
        let strain = Strain::new(&Arc::new(Pressure::new(gauge, Terms::default())));
        let _shard = Shard(Observer::new(strain.clone())).start();
        let others_run = async || {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        };
        for _ in 0..8 {
            others_run().await;
            tokio::time::advance(EVERY + Duration::from_millis(700)).await;
        }
        others_run().await;
        assert_eq!((strain.level(), looks.load(Relaxed)), (Level::NoNewRequests, 8));
    }
}
