//! How a session starts its children, and starts them again when they fail.

use super::children::{AnnounceSlot, StatusSlot, SubscriptionSlot, supervisor};
use super::egress::Streams;
use super::{Listed, SessionActor, SessionNews};
use crate::announce::{self, AnnounceActor};
use crate::limits::{Kind, Place};
use crate::metrics::restarts;
use crate::status;
use crate::subscription::{self, Spec, SubscriptionActor};
use crate::supervise::guard::{ChildDown, ChildGuard, ChildId, Exit};
use crate::supervise::mailbox;
use crate::supervise::policy::Decision;
use crate::track::ReadsItself;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use bytes::Bytes;
use laps_protocol::auth::{Action, Resource};
use laps_protocol::moqt::error::{CloseCode, ResetCode};
use laps_protocol::moqt::message::{
    NamespaceRequest, PublishDone, PublishDoneStatus, RequestError, RequestErrorReason, RequestId, Subscribe,
    SubscribeUpdate,
};
use laps_protocol::moqt::session::Command;
use slog::warn;
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

impl SessionActor {
    pub(super) fn start_subscription(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        spec: Spec,
        place: Place,
    ) {
        let upstream = self.core.request_for(&spec.subscribe.track);
        if let Some(binding) = upstream.and_then(|request| self.bindings.get(request)) {
            // [D14-PUB-7]: the track may do without a publisher that reads it.
            let source = binding.source;
            mailbox::signal(&binding.track, ReadsItself { source });
        }
        let streams = Rc::new(Streams::default());
        let child = ChildId::fresh();
        let addr = self.spawn_subscription(ctx, child, &spec, &streams, false);
        let slot = SubscriptionSlot {
            _place: place,
            addr,
            child,
            spec,
            streams,
            supervisor: supervisor(id),
        };
        self.children.subscriptions.insert(id, slot);
    }

    fn spawn_subscription(
        &self,
        ctx: &Context<Self>,
        child: ChildId,
        spec: &Spec,
        streams: &Rc<Streams>,
        resumed: bool,
    ) -> actix::Addr<SubscriptionActor> {
        subscription::Birth {
            spec: spec.clone(),
            resumed,
            env: self.env.clone(),
            owner: ctx.address().into(),
            conn: self.conn.clone(),
            codec: self.codec,
            egress: self.egress.clone(),
            streams: Rc::clone(streams),
            account: self.account.clone(),
            log: self
                .log
                .new(slog::o!("req" => spec.request.0, "track" => spec.subscribe.track.to_string())),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "subscription")),
        }
        .start()
    }

    pub(super) fn update_subscription(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        mut update: SubscribeUpdate,
    ) {
        if !self.authorise_update(ctx, id, &mut update) {
            return;
        }
        if let Some(slot) = self.children.subscriptions.get(&id) {
            slot.spec.update(&update);
            mailbox::signal(&slot.addr, subscription::Update(update));
        }
        self.check_unread();
    }

    /// MOQT-14 §9.20 [D14-SUB-28]
    pub(super) fn start_status(&mut self, ctx: &mut Context<Self>, id: RequestId, mut subscribe: Subscribe) {
        let Some(place) = self.admit(ctx, id, Kind::Statuses) else {
            return;
        };
        let (track, params) = (Resource::Track(&subscribe.track), &mut subscribe.params);
        if self
            .authorise(ctx, id, Action::TrackStatus, track, params)
            .is_none()
        {
            return;
        }
        let child = ChildId::fresh();
        let addr = status::Birth {
            request: id,
            subscribe,
            env: self.env.clone(),
            owner: ctx.address().into(),
            own: true,
            account: self.account.clone(),
            log: self.log.clone(),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "status")),
        }
        .start();
        let slot = StatusSlot {
            _place: place,
            addr,
            child,
        };
        self.children.statuses.insert(id, slot);
    }

    pub(super) fn start_announce(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        request: NamespaceRequest,
    ) {
        let Some(place) = self.admit_announce(ctx, id, &request) else {
            return;
        };
        let child = ChildId::fresh();
        let answered = Rc::default();
        let addr = self.spawn_announce(ctx, child, id, &request, &answered);
        self.children.announces.insert(
            id,
            AnnounceSlot {
                place: Some(place),
                addr,
                child,
                request,
                answered,
                supervisor: supervisor(id),
            },
        );
    }

    fn spawn_announce(
        &self,
        ctx: &Context<Self>,
        child: ChildId,
        id: RequestId,
        request: &NamespaceRequest,
        answered: &Rc<Cell<bool>>,
    ) -> actix::Addr<AnnounceActor> {
        AnnounceActor::new(announce::Birth {
            request: id,
            namespace: request.namespace.clone(),
            answered: Rc::clone(answered),
            asking: Some(self.account.questions().ask()),
            env: self.env.clone(),
            session: ctx.address(),
            log: self.log.clone(),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "announce")),
        })
        .start()
    }

    pub(super) fn end_announce(&mut self, id: RequestId) {
        if let Some(slot) = self.children.announces.remove(&id) {
            mailbox::signal(&slot.addr, announce::Stop);
        } else if self.env.session.lists_namespaces {
            self.tell(SessionNews::Listed(Listed::Withdrawn(id)));
        }
    }

    /// Starts a subscription's actor again, or ends the request when that happened too often.
    fn subscription_down(&mut self, ctx: &mut Context<Self>, id: RequestId, down: ChildDown) {
        let Some(slot) = self.children.subscriptions.get_mut(&id) else {
            return;
        };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } => {
                restarts::restarted(down.kind);
                warn!(self.log, "subscription failed and is restarted"; "request" => id.0);
                // What the failed actor left open has lost its place; the new one goes on at the next group.
                slot.streams.reset_all(ResetCode::InternalError);
                ctx.run_later(after, move |actor, ctx| {
                    let Some((spec, streams)) = actor
                        .children
                        .subscriptions
                        .get(&id)
                        .filter(|slot| slot.child == down.id)
                        .map(|slot| (slot.spec.clone(), Rc::clone(&slot.streams)))
                    else {
                        return;
                    };
                    let child = ChildId::fresh();
                    let addr = actor.spawn_subscription(ctx, child, &spec, &streams, true);
                    if let Some(slot) = actor.children.subscriptions.get_mut(&id) {
                        (slot.addr, slot.child) = (addr, child);
                    }
                });
            }
            Decision::GiveUp => {
                warn!(self.log, "subscription failed too often"; "request" => id.0);
                let why = (
                    PublishDoneStatus::InternalError,
                    RequestErrorReason::InternalError,
                );
                let phrase = "the subscription failed in the relay";
                self.cut_subscription(ctx, id, why, phrase);
                self.gave_up(ctx);
            }
            // It ended by itself, as one that was refused does. [D14-REQ-8]: one that said nothing is answered now.
            Decision::Forget => {
                let why = (
                    PublishDoneStatus::InternalError,
                    RequestErrorReason::InternalError,
                );
                self.cut_subscription(ctx, id, why, "the subscription ended in the relay");
            }
        }
        self.check_unread();
    }

    /// Ends a subscription of the peer in the midst of things: by PUBLISH_DONE once its streams are reset, or as what
    /// answers it.
    pub(super) fn cut_subscription(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        (status, reason): (PublishDoneStatus, RequestErrorReason),
        phrase: &'static str,
    ) {
        let Some(slot) = self.children.subscriptions.remove(&id) else {
            return;
        };
        mailbox::signal(&slot.addr, subscription::Stop);
        slot.streams.reset_all(ResetCode::InternalError);
        if !slot.spec.is_accepted() {
            self.refuse(ctx, id, reason, phrase);
            return;
        }
        let done = PublishDone {
            status,
            stream_count: Some(slot.streams.opened()),
            phrase: Bytes::from_static(phrase.as_bytes()),
        };
        // MOQT-14 §9.12 [D14-SUB-19]: the writer closes the streams at its next turn, and this is said after that.
        let emptied = Streams::emptied(Rc::clone(&slot.streams));
        ctx.spawn(emptied.into_actor(self).map(move |(), actor, ctx| {
            actor.say(ctx, Command::PublishDone(id, done));
            actor.check_unread();
        }));
    }

    /// A request was ended because its actor kept failing. MOQT-14 §3.4 [D14-TERM-3]: that is all as long as it happens
    /// now and then; a session in which it goes on and on fails itself.
    pub(super) fn gave_up(&mut self, ctx: &mut Context<Self>) {
        if self.patience.child_down(Instant::now(), Exit::Panicked) == Decision::GiveUp {
            let why = "too many requests failed in the relay";
            self.close(ctx, CloseCode::InternalError, Cow::Borrowed(why));
        }
    }

    fn announce_down(&mut self, ctx: &mut Context<Self>, id: RequestId, down: ChildDown) {
        let Some(slot) = self.children.announces.get_mut(&id) else {
            return;
        };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } => {
                restarts::restarted(down.kind);
                warn!(self.log, "announcement failed and is restarted"; "request" => id.0);
                ctx.run_later(after, move |actor, ctx| {
                    let Some((request, answered)) = actor
                        .children
                        .announces
                        .get(&id)
                        .filter(|slot| slot.child == down.id)
                        .map(|slot| (slot.request.clone(), Rc::clone(&slot.answered)))
                    else {
                        return;
                    };
                    let child = ChildId::fresh();
                    let addr = actor.spawn_announce(ctx, child, id, &request, &answered);
                    if let Some(slot) = actor.children.announces.get_mut(&id) {
                        (slot.addr, slot.child) = (addr, child);
                    }
                });
            }
            // MOQT-14 §3.4 [D14-TERM-3]: the announcement ends, and nothing else of the session.
            Decision::GiveUp => {
                warn!(self.log, "announcement failed too often"; "request" => id.0);
                let answered = slot.answered.get();
                self.children.announces.remove(&id);
                let why = "an announcement keeps failing in the relay";
                let reason = RequestErrorReason::InternalError;
                if answered {
                    // MOQT-14 §9.27 [D14-NS-9]
                    let error = RequestError::new(reason, why);
                    self.say(ctx, Command::PublishNamespaceCancel(id, error));
                } else {
                    self.refuse(ctx, id, reason, why);
                }
                self.gave_up(ctx);
            }
            Decision::Forget => {
                let slot = self.children.announces.remove(&id);
                if slot.is_some_and(|slot| !slot.answered.get()) {
                    // [D14-REQ-8]: one that stopped without a word is answered now.
                    let why = "the announcement ended in the relay";
                    self.refuse(ctx, id, RequestErrorReason::InternalError, why);
                }
            }
        }
    }
}

impl Handler<ChildDown> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        if let Some(id) = self.children.subscription_of(msg.id) {
            self.subscription_down(ctx, id, msg);
        } else if let Some(id) = self.children.announce_of(msg.id) {
            self.announce_down(ctx, id, msg);
        } else if let Some(id) = self.children.watch_of(msg.id) {
            self.watch_down(ctx, id, msg);
        } else if let Some(id) = self.children.status_of(msg.id) {
            self.children.statuses.remove(&id);
            if msg.exit == Exit::Panicked {
                warn!(self.log, "a status failed"; "request" => id.0);
                // [D14-REQ-8]: temporary, so there is no answer but this one.
                let phrase = "the status failed in the relay";
                self.refuse(ctx, id, RequestErrorReason::InternalError, phrase);
                self.gave_up(ctx);
            }
        } else if let Some(id) = self.children.fetch_of(msg.id) {
            self.fetch_down(ctx, id, &msg);
        }
    }
}
