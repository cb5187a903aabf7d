//! FETCH, both ways: the actors that serve the peer's, and who gets what ours bring.

use super::SessionActor;
use super::children::{FetchSlot, supervisor};
use super::messages::{CancelFetch, FetchStreamOver, FetchUpstream, ResolveFetch};
use crate::fetch::{self, Course, FetchActor, FetchNews, FetchProgress, FetchSink};
use crate::limits::Kind;
use crate::metrics::restarts;
use crate::supervise::guard::{ChildDown, ChildGuard, ChildId};
use crate::supervise::mailbox;
use crate::supervise::policy::Decision;
use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult};
use bytes::Bytes;
use laps_protocol::auth::{Action, Resource};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{FetchOk, RequestError, RequestErrorReason, RequestId};
use laps_protocol::moqt::session::{Command, CommandError, PeerFetch};
use laps_protocol::relay::track_log::StreamEnd;
use slog::{debug, warn};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

/// A FETCH of ours, until it is answered and its stream has ended. MOQT-14 §9.16.3 [D14-FETCH-1]: in any order.
#[derive(Debug)]
struct Ours {
    sink: FetchSink,
    answered: bool,
    ended: bool,
}

/// The FETCHes of ours that are open. Their number is bounded by those who ask: a few a track.
#[derive(Debug, Default)]
pub(super) struct OurFetches(HashMap<RequestId, Ours>);

impl OurFetches {
    fn tell(&self, request: RequestId, progress: FetchProgress) {
        if let Some(Ours { sink, .. }) = self.0.get(&request) {
            let news = FetchNews {
                key: sink.key,
                progress,
            };
            mailbox::signal(&sink.news, news);
        }
    }

    fn settle(&mut self, request: RequestId) {
        if self
            .0
            .get(&request)
            .is_some_and(|ours| ours.answered && ours.ended)
        {
            self.0.remove(&request);
        }
    }

    /// The session is over: nothing more comes of any of them.
    pub(super) fn abandon(&mut self) {
        for Ours { sink, .. } in self.0.drain().map(|(_, ours)| ours).filter(|ours| !ours.ended) {
            let news = FetchNews {
                key: sink.key,
                progress: FetchProgress::Ended(StreamEnd::Reset(ResetCode::SessionClosed)),
            };
            mailbox::signal(&sink.news, news);
        }
    }
}

impl SessionActor {
    /// The peer fetches.
    pub(super) fn peer_fetch(&mut self, ctx: &mut Context<Self>, id: RequestId, mut fetch: PeerFetch) {
        // [D14-FETCH-20]: each holds a stream and a place at a track.
        let Some(place) = self.admit(ctx, id, Kind::Fetches) else {
            return;
        };
        let (track, params) = (Resource::Track(&fetch.track), &mut fetch.params);
        if self.authorise(ctx, id, Action::Fetch, track, params).is_none() {
            return;
        }
        debug!(self.log, "FETCH"; "request" => id.0, "track" => %fetch.track, "from" => %fetch.start,
            "to" => %fetch.end);
        let (child, course) = (ChildId::fresh(), Rc::default());
        let addr = self.spawn_fetch(ctx, child, id, &fetch, &course);
        let slot = FetchSlot {
            _place: place,
            addr,
            child,
            fetch,
            course,
            supervisor: supervisor(id),
        };
        self.children.fetches.insert(id, slot);
    }

    fn spawn_fetch(
        &self,
        ctx: &Context<Self>,
        child: ChildId,
        id: RequestId,
        fetch: &PeerFetch,
        course: &Rc<Course>,
    ) -> Addr<FetchActor> {
        let birth = fetch::Birth {
            request: id,
            log: self
                .log
                .new(slog::o!("req" => id.0, "track" => fetch.track.to_string())),
            fetch: fetch.clone(),
            course: Rc::clone(course),
            env: self.env.clone(),
            owner: ctx.address().into(),
            prefix: Bytes::new(),
            own: true,
            egress: self.egress.clone(),
            codec: self.codec,
        };
        let guard = ChildGuard::new(ctx.address().recipient(), child, "fetch");
        FetchActor::new(birth, Some(guard)).start()
    }

    /// The peer cancelled a fetch. MOQT-14 §9.19 [D14-FETCH-16]: its stream is reset.
    pub(super) fn end_fetch(&mut self, id: RequestId) {
        if let Some(slot) = self.children.fetches.remove(&id) {
            mailbox::signal(&slot.addr, fetch::Stop);
        }
    }

    /// Starts a fetch's actor again, or ends the request when that happened too often, or cannot help.
    pub(super) fn fetch_down(&mut self, ctx: &mut Context<Self>, id: RequestId, down: &ChildDown) {
        let Some(slot) = self.children.fetches.get_mut(&id) else {
            return;
        };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } if !slot.course.is_torn() => {
                restarts::restarted(down.kind);
                warn!(self.log, "fetch failed and is restarted"; "request" => id.0);
                let failed = down.id;
                ctx.run_later(after, move |actor, ctx| actor.restart_fetch(ctx, id, failed));
            }
            Decision::Restart { .. } | Decision::GiveUp => {
                warn!(self.log, "a fetch failed for good"; "request" => id.0);
                self.cut_fetch(ctx, id);
                self.gave_up(ctx);
            }
            Decision::Forget => {
                // [D14-REQ-8]: one that stopped without a word is not left open.
                if slot.course.is_over() {
                    self.children.fetches.remove(&id);
                } else {
                    self.cut_fetch(ctx, id);
                }
            }
        }
    }

    fn restart_fetch(&mut self, ctx: &Context<Self>, id: RequestId, failed: ChildId) {
        let slot = self.children.fetches.get(&id);
        let Some(slot) = slot.filter(|slot| slot.child == failed) else {
            return;
        };
        let (fetch, course, child) = (slot.fetch.clone(), Rc::clone(&slot.course), ChildId::fresh());
        let addr = self.spawn_fetch(ctx, child, id, &fetch, &course);
        if let Some(slot) = self.children.fetches.get_mut(&id) {
            (slot.addr, slot.child) = (addr, child);
        }
    }

    /// Ends a fetch of the peer in the midst of things. MOQT-14 §9.16.3 [D14-FETCH-6]: what was begun is reset.
    fn cut_fetch(&mut self, ctx: &mut Context<Self>, id: RequestId) {
        let Some(slot) = self.children.fetches.remove(&id) else {
            return;
        };
        mailbox::signal(&slot.addr, fetch::Stop);
        slot.course.reset(self.codec.reset_code(ResetCode::InternalError));
        if !slot.course.is_answered() {
            let why = "the fetch failed in the relay";
            self.refuse(ctx, id, RequestErrorReason::InternalError, why);
        }
        self.say(ctx, Command::FetchDone(id));
    }

    pub(super) fn fetch_ok(&mut self, id: RequestId, ok: FetchOk) {
        self.fetches.tell(id, FetchProgress::Accepted(ok));
        if let Some(ours) = self.fetches.0.get_mut(&id) {
            ours.answered = true;
        }
        self.fetches.settle(id);
    }

    pub(super) fn fetch_refused(&mut self, id: RequestId, error: RequestError) {
        self.fetches.tell(id, FetchProgress::Refused(error));
        // Objects may have come before; what comes after is of no use. MOQT-14 §5.1 [D14-FETCH-18]
        self.fetches.0.remove(&id);
    }
}

impl Handler<FetchUpstream> for SessionActor {
    type Result = Result<RequestId, CommandError>;
    fn handle(&mut self, msg: FetchUpstream, ctx: &mut Self::Context) -> Self::Result {
        let id = self
            .command(ctx, Command::Fetch(msg.fetch))?
            .ok_or(CommandError::NotEstablished)?;
        let ours = Ours {
            sink: msg.sink,
            answered: false,
            ended: false,
        };
        self.fetches.0.insert(id, ours);
        Ok(id)
    }
}

impl Handler<CancelFetch> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: CancelFetch, ctx: &mut Self::Context) {
        if self.fetches.0.remove(&msg.request).is_some() {
            // MOQT-14 §5.1 [D14-FETCH-16]: its stream is stopped by the task that reads it.
            self.say(ctx, Command::FetchCancel(msg.request));
        }
    }
}

impl Handler<ResolveFetch> for SessionActor {
    type Result = MessageResult<ResolveFetch>;
    fn handle(&mut self, msg: ResolveFetch, _: &mut Self::Context) -> Self::Result {
        let ours = self.fetches.0.get(&msg.0).filter(|ours| !ours.ended);
        MessageResult(ours.map(|ours| ours.sink.clone()))
    }
}

impl Handler<FetchStreamOver> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: FetchStreamOver, ctx: &mut Self::Context) {
        let FetchStreamOver { request, end } = msg;
        let Some(ours) = self.fetches.0.get_mut(&request) else {
            return;
        };
        ours.ended = true;
        self.fetches.tell(request, FetchProgress::Ended(end));
        self.fetches.settle(request);
        self.say(ctx, Command::FetchDone(request));
    }
}
