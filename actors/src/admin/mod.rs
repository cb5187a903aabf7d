//! The admin port: how an operator's tools, and what runs the relay, learn how it is.
//!
//! ```text
//! [http]  GET /healthz ──▶ Board                                      every thread of the relay has run of late
//! [http]  GET /readyz  ⇢⇢▶ RootActor.Health, then Pressure            it takes new sessions
//! [http]  GET /metrics ⇢⇢▶ [admin] AdminActor.Scrape ⇢⇢▶ RootActor.TakeCensus ⇢⇢▶ each child
//! ```
//!
//! HTTP has a thread of its own, and the actor another: whatever a request does, no thread that carries objects waits for
//! it. Children are asked at most once a second, however often the page is read.

mod http;
mod port;
#[cfg(test)]
mod tests;

pub use port::{Listen, Port, PortError};

use crate::metrics::{Sources, page};
use crate::root::{RootHandle, StopChild};
use crate::supervise::{ChildGuard, Faults, mailbox};
use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, WrapFuture,
};
use actix_web::dev::ServerHandle;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a part of the relay may take to say how full its tables are; one that is stuck is counted as silent.
const CENSUS_DEADLINE: Duration = Duration::from_secs(1);
/// How old a page may be: whoever reads more often reads it again.
const FRESH: Duration = Duration::from_secs(1);
/// Requests that may wait for the actor; as many as there can be connections.
const MAILBOX: usize = http::MAX_CONNECTIONS;

/// Asks for the page of metrics.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Arc<str>")]
pub struct Scrape;

/// The HTTP server has ended by itself.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct ServerEnded;

/// What gathers the metrics, and owns the HTTP server.
///
/// Parent: root. Arbiter: its own. Restart: permanent with back-off, without limit; the relay goes on without it. In:
/// [`Scrape`], `StopChild`. Out: `TakeCensus` to the root. Lost on death: requests that are being answered; the port is
/// kept by the composition.
pub struct AdminActor {
    root: RootHandle,
    sources: Sources,
    page: Option<(Instant, Arc<str>)>,
    server: ServerHandle,
    faults: Faults,
    _guard: ChildGuard,
}

impl AdminActor {
    /// Starts serving on this thread's arbiter. What is returned asks it to stop.
    ///
    /// # Errors
    /// The system refuses to listen there.
    pub fn serve(
        listener: TcpListener,
        root: RootHandle,
        sources: Sources,
        faults: Faults,
        guard: ChildGuard,
    ) -> std::io::Result<actix::Recipient<StopChild>> {
        let context = Context::<Self>::new();
        let addr = context.address();
        let state = http::State {
            admin: addr.clone(),
            root: root.clone(),
            board: sources.board.clone(),
            pressure: Arc::clone(&sources.pressure),
        };
        let server = http::server(listener, state)?;
        let actor = Self {
            root,
            sources,
            page: None,
            server: server.handle(),
            faults,
            _guard: guard,
        };
        context.run(actor);
        let stop = addr.clone().recipient();
        // Ends with the arbiter, or when the actor stops it.
        drop(actix_rt::spawn(async move {
            drop(server.await);
            mailbox::signal(&addr, ServerEnded);
        }));
        Ok(stop)
    }
}

impl Actor for AdminActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Scrape> for AdminActor {
    type Result = AtomicResponse<Self, Arc<str>>;

    fn handle(&mut self, _: Scrape, _: &mut Self::Context) -> Self::Result {
        self.faults.check("admin");
        let fresh = self.page.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        if let Some((_, page)) = fresh {
            let page = Arc::clone(page);
            return AtomicResponse::new(Box::pin(async { page }.into_actor(self)));
        }
        let root = self.root.clone();
        // One at a time: whoever asks meanwhile gets the same page.
        let gather = async move { root.census(CENSUS_DEADLINE).await }.into_actor(self);
        AtomicResponse::new(Box::pin(gather.map(|census, actor, _| {
            // Without an answer of the root, what can be read without it is still told.
            let census = census.unwrap_or_else(|_| crate::census::Census {
                silent: vec!["root".to_owned()],
                ..crate::census::Census::default()
            });
            let page: Arc<str> = page::write(&actor.sources, &census).unwrap_or_default().into();
            actor.page = Some((Instant::now(), Arc::clone(&page)));
            page
        })))
    }
}

impl Handler<StopChild> for AdminActor {
    type Result = ();

    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<ServerEnded> for AdminActor {
    type Result = ();

    fn handle(&mut self, _: ServerEnded, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Drop for AdminActor {
    fn drop(&mut self) {
        // Told at once; nobody waits for the answer.
        drop(self.server.stop(false));
    }
}
