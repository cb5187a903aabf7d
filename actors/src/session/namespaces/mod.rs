//! What a peer that watches is told: other sessions' namespaces by PUBLISH_NAMESPACE, their tracks by PUBLISH.
//!
//! `protocol::relay::told` holds what there is and what was said; here it is said, as fast as the peer takes it: while
//! its window of request ids has room and its control stream is not behind.

mod telling;
mod watched;

pub(super) use watched::Watched;

use super::children::{WatchSlot, supervisor};
use super::messages::Heard;
use super::{Listed, SessionActor, SessionNews};
use crate::limits::Kind;
use crate::metrics::restarts;
use crate::namespace::{self, NamespaceSubscriptionActor};
use crate::supervise::guard::{ChildDown, ChildGuard, ChildId};
use crate::supervise::mailbox;
use crate::supervise::policy::Decision;
use actix::{Addr, AsyncContext, Context, Handler};
use laps_protocol::auth::{Action, Resource};
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::{NamespaceRequest, RequestErrorReason, RequestId};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::moqt::session::Command;
use slog::{debug, warn};
use std::borrow::Cow;
use std::time::Instant;

/// Names that stay said though nobody watches any more; see [`SessionActor::unwatch`].
const MAX_MUTED: usize = 1024;

impl SessionActor {
    pub(super) fn peer_watch(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        mut request: NamespaceRequest,
    ) {
        if !self.env.session.accepts_publishers {
            let why = "this client announces nothing to its relay's peers";
            self.refuse(ctx, id, RequestErrorReason::NotSupported, why);
            return;
        }
        let Some(place) = self.admit(ctx, id, Kind::Watches) else {
            return;
        };
        debug!(self.log, "SUBSCRIBE_NAMESPACE"; "request" => id.0, "prefix" => %request.namespace);
        let (prefix, params) = (Resource::Namespace(&request.namespace), &mut request.params);
        let Some(shown) = self.authorise(ctx, id, Action::SubscribeNamespace, prefix, params) else {
            return;
        };
        if !self.watched.grant(&request.namespace, shown) {
            self.denied = self.denied.saturating_add(1);
            let why = "the tokens of this session's watches have too many scopes";
            self.refuse(ctx, id, RequestErrorReason::InternalError, why);
            return;
        }
        let child = ChildId::fresh();
        let addr = self.spawn_watch(ctx, child, id, &request.namespace, false);
        let slot = WatchSlot {
            _place: place,
            addr,
            child,
            prefix: request.namespace,
            answered: false,
            supervisor: supervisor(id),
        };
        self.children.watches.insert(id, slot);
    }

    fn spawn_watch(
        &self,
        ctx: &Context<Self>,
        child: ChildId,
        id: RequestId,
        prefix: &TrackNamespace,
        answered: bool,
    ) -> Addr<NamespaceSubscriptionActor> {
        namespace::Birth {
            request: id,
            prefix: prefix.clone(),
            answered,
            env: self.env.clone(),
            session: ctx.address(),
            asking: self.account.questions().ask(),
            log: self.log.clone(),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "namespace")),
        }
        .start()
    }

    /// The peer stops watching.
    ///
    /// MOQT-14 §9.31 [D14-NS-10]: nothing more is said, and subscriptions that came about stay. What was said stays
    /// said, too: it is still true, and §9.28 [D14-NS-2] wants it not to be repeated when the peer watches again. Of
    /// that the session keeps so many names; the others are taken back.
    pub(super) fn unwatch(&mut self, ctx: &mut Context<Self>, id: RequestId) {
        let Some(slot) = self.children.watches.remove(&id) else {
            return;
        };
        mailbox::signal(&slot.addr, namespace::Stop);
        self.watched.revoke(&slot.prefix);
        self.watched.mute(&slot.prefix);
        self.watched.namespaces.trim(MAX_MUTED);
        self.watched.tracks.trim(MAX_MUTED);
        self.tell_peer(ctx);
    }

    pub(super) fn watch_down(&mut self, ctx: &mut Context<Self>, id: RequestId, down: ChildDown) {
        let Some(slot) = self.children.watches.get_mut(&id) else {
            return;
        };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } => {
                restarts::restarted(down.kind);
                warn!(self.log, "namespace subscription failed and is restarted"; "request" => id.0);
                ctx.run_later(after, move |actor, ctx| {
                    let slot = actor.children.watches.get(&id);
                    let Some(slot) = slot.filter(|slot| slot.child == down.id) else {
                        return;
                    };
                    let child = ChildId::fresh();
                    let addr = actor.spawn_watch(ctx, child, id, &slot.prefix, slot.answered);
                    if let Some(slot) = actor.children.watches.get_mut(&id) {
                        (slot.addr, slot.child) = (addr, child);
                    }
                });
            }
            Decision::GiveUp => {
                let why = "a namespace subscription keeps failing in the relay";
                // MOQT-14 §3.4 [D14-TERM-3]: nothing ends one that was accepted, and silence would be a lie.
                if !slot.answered {
                    self.watched.revoke(&slot.prefix);
                    self.children.watches.remove(&id);
                    self.refuse(ctx, id, RequestErrorReason::InternalError, why);
                    self.gave_up(ctx);
                    return;
                }
                self.close(ctx, CloseCode::InternalError, Cow::Borrowed(why));
            }
            Decision::Forget => {
                let answered = slot.answered;
                self.watched.revoke(&slot.prefix);
                self.children.watches.remove(&id);
                if !answered {
                    // [D14-REQ-8]: one that stopped without a word is answered now.
                    let why = "the namespace subscription ended in the relay";
                    self.refuse(ctx, id, RequestErrorReason::InternalError, why);
                }
            }
        }
    }

    /// A client that lists namespaces takes note of one.
    pub(super) fn list_namespace(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        request: NamespaceRequest,
    ) {
        self.say(ctx, Command::AcceptNamespace(id));
        self.tell(SessionNews::Listed(Listed::Announced(id, request.namespace)));
    }
}

impl Handler<Heard> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: Heard, ctx: &mut Self::Context) {
        let Some(slot) = self.children.watches.get_mut(&msg.request) else {
            return;
        };
        let answered = std::mem::replace(&mut slot.answered, true);
        let prefix = slot.prefix.clone();
        if !answered {
            // MOQT-14 §6.1 [D14-NS-15]: one answer, and OK also while nothing matches.
            self.say(ctx, Command::AcceptNamespace(msg.request));
        }
        if msg.begins {
            self.watched.begin(&prefix);
        }
        self.watched.hear(msg.changes);
        if msg.complete {
            self.watched.complete(&prefix);
        }
        self.tell_peer(ctx);
    }
}
