//! How full the tables of a shard are.

use super::{Child, ShardActor};
use crate::census::{self, Count};
use crate::peering::Seat;
use crate::supervise::mailbox::ask;
use crate::track::handle;
use actix::{Handler, ResponseFuture};
use futures::FutureExt;
use std::time::Duration;

/// How long the peering may take, its parts included: less than the relay waits for the shard.
const COUNTING: Duration = Duration::from_millis(700);

impl Handler<Count> for ShardActor {
    type Result = ResponseFuture<Vec<(&'static str, u64)>>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let of = |kind: fn(&Child) -> bool| self.children.values().filter(|child| kind(child)).count();
        let serving = self.serving.as_ref();
        let mut rows = vec![
            census::row("connections", of(|child| matches!(child, Child::Connection(_)))),
            census::row("tracks", of(|child| matches!(child, Child::Track { .. }))),
            census::row("replicas", of(|child| matches!(child, Child::Replica { .. }))),
            census::row("open_replicas", self.replicas.len()),
            census::row("admitted", serving.map_or(0, |serving| serving.open)),
            census::row(
                "quic_connections",
                serving.map_or(0, |serving| serving.stats.open_connections()),
            ),
            census::row("logs", handle::logs()),
        ];
        // What all shards have in common is counted once. A place or a byte that is still taken keeps its prefix.
        if self.env.shard.index == 0 {
            rows.push(census::row("prefixes", self.env.prefixes.len()));
            rows.push(census::row("cache_bytes", self.env.track.budget.used()));
        }
        let peering = self.seat.as_ref().map(Seat::counting);
        async move {
            match peering {
                None => {}
                Some(Some(peering)) => match ask(&peering, Count, COUNTING).await {
                    Ok(of_peering) => rows.extend(of_peering),
                    Err(_) => rows.push(census::row("peering_silent", 1)),
                },
                // It is away for a moment.
                Some(None) => rows.push(census::row("peering_silent", 1)),
            }
            rows
        }
        .boxed_local()
    }
}
