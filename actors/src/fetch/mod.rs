//! FETCH: one actor for each that a peer makes, between a track's cache and one stream.
//!
//! ```text
//! FetchActor ⇢⇢▶ Registry.ResolveTrack ; ⇢⇢▶ TrackActor.OpenPast        whichever shard it lives on
//! FetchActor ⇢⇢▶ TrackActor.ReadPast ──▶ FetchDesk ──▶ TrackLog         one batch at a time: a slow peer costs a cursor
//! TrackActor ⇢⇢▶ SessionActor.FetchUpstream                             what the log does not know, once for all
//! [upstream] stream task ⇢⇢▶ TrackActor.Fetched(batch), awaited         taken when somebody has read the last one
//! FetchActor ──▶ Ticket.poll_write ──▶ SendStream                          payload shared, one stream, when it is its turn
//! ```

mod course;
mod messages;
mod response;
mod serve;

pub use course::Course;
pub use messages::{FetchNews, FetchProgress, FetchSink, Fetched};

use crate::owner::Owner;
use crate::session::egress::Egress;
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::session::PeerFetch;
use slog::Logger;
use std::rc::Rc;

/// The peer cancelled the fetch.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What a fetch's actor is made of.
#[derive(Clone, Debug)]
pub struct Birth {
    /// The FETCH.
    pub request: RequestId,
    /// What it wants.
    pub fetch: PeerFetch,
    /// What the shard shares.
    pub env: Env,
    /// Its parent.
    pub owner: Owner,
    /// What stands before the MOQT bytes of its stream; nothing in a session.
    pub prefix: Bytes,
    /// Who fetches belongs to this relay; see [`crate::track::Attach::own`].
    pub own: bool,
    /// The owner's writer, which opens its stream and says when that has its turn.
    pub egress: Egress,
    /// How far it has come, in the hands of earlier actors that failed.
    pub course: Rc<Course>,
    /// The draft that the owner speaks.
    pub codec: Codec,
    /// Where it logs.
    pub log: Logger,
}

/// One FETCH of the peer.
///
/// Parent: its owner. Arbiter: the owner's shard. Restart: transient; the owner keeps the [`Course`], which has
/// the place at the track, what was taken from there and the one stream, and a new actor goes on where that stands.
/// In: [`Stop`]. Out: `ResolveTrack` to the registry, `OpenPast`, `ReadPast`, `ClosePast` to the track's home, `Say` to
/// the owner. Lost on death: nothing; or the fetch, when it fails in the midst of a write, after which nobody knows
/// what the peer has: the stream is reset and the owner answers what is unanswered.
#[derive(Debug)]
pub struct FetchActor {
    birth: Birth,
    _guard: Option<ChildGuard>,
}

impl FetchActor {
    /// An actor that serves its fetch when it starts.
    #[must_use]
    pub const fn new(birth: Birth, guard: Option<ChildGuard>) -> Self {
        Self { birth, _guard: guard }
    }
}

impl Actor for FetchActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        let faults = &self.birth.env.faults;
        faults.check_named("fetch", &self.birth.fetch.track);
        faults.attend(ctx, "fetch", || &self.birth.fetch.track);
        let served = serve::serve(self.birth.clone());
        ctx.spawn(served.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl Handler<Stop> for FetchActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // MOQT-14 §9.19 [D14-FETCH-16]: its stream is dropped with the actor, which resets it.
        ctx.stop();
    }
}
