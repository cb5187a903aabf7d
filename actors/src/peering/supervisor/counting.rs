//! How many links there are, and how full the tables of all parts are.

use super::PeeringActor;
use crate::census::{self, Count};
use crate::peering::options::{Counters, Reach, TakeCounters};
use crate::supervise::mailbox::ask;
use actix::{Handler, ResponseFuture};
use futures::FutureExt;
use futures::future::join_all;
use std::time::Duration;

/// How long its parts may take to say how full they are: less than the relay waits for all of them.
const COUNTING: Duration = Duration::from_millis(500);

impl<R: Reach> PeeringActor<R> {
    /// How many links stand, or may. One that is made just now, or that was refused, is nobody's way to anything.
    pub(in crate::peering) fn peers(&self) -> usize {
        self.links.values().filter(|child| child.stood).count()
    }
}

/// The rows of all parts of the peering. A part that does not answer in time is counted as silent.
impl<R: Reach> Handler<Count> for PeeringActor<R> {
    type Result = ResponseFuture<Vec<(&'static str, u64)>>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let mut rows = vec![census::row("peering_links", self.links.len())];
        if let Some(plane) = &self.options.plane {
            rows.extend(plane.census(&self.tally));
        }
        let bases = self.bases.as_ref().map(|(_, bases, _)| bases.clone().recipient());
        let life = self.mesh.as_ref().and_then(|ears| ears.life.as_ref());
        let parts = life.into_iter().flat_map(|life| life.counting.iter().cloned());
        let asked: Vec<_> = bases
            .into_iter()
            .chain(parts)
            .map(|part| async move { ask(&part, Count, COUNTING).await })
            .collect();
        async move {
            let answers = join_all(asked).await;
            let silent = answers.iter().filter(|answer| answer.is_err()).count();
            rows.push(census::row("peering_silent", silent));
            rows.extend(answers.into_iter().flatten().flatten());
            rows
        }
        .boxed_local()
    }
}

impl<R: Reach> Handler<TakeCounters> for PeeringActor<R> {
    type Result = actix::MessageResult<TakeCounters>;

    fn handle(&mut self, _: TakeCounters, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(Counters {
            links: self.links.len(),
            ..self.counters
        })
    }
}
