//! The session's message handlers: what arrives, what tracks ask of it, and what goes back to the peer.

use super::bindings::Held;
use super::control::{self, ControlWriter, Failing};
use super::ingress::Ingress;
use super::messages::{
    AcceptPublish, Binding, Breach, NotAsked, ReleaseUpstream, Request, ResolveAlias, Say, SubscribeUpstream,
    SubscriptionOver, UpdateUpstream,
};
use super::{ControlEvent, Incoming, SessionActor};
use crate::limits::Kind;
use crate::reply::Reply;
use crate::supervise::mailbox;
use crate::track::SourceGone;
use crate::transport::{ConnError, RecvGuard, SendGuard};
use actix::{ActorFutureExt, AsyncContext, Context, Handler, StreamHandler, WrapFuture};
use bytes::Bytes;
use laps_protocol::moqt::message::{
    GroupOrder, MessageParams, PublishOk, RequestError, RequestErrorReason, RequestId, Subscribe,
    SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::session::{Command, CommandError, ControlStream, Input};
use slog::{debug, info};
use std::time::Instant;

/// Subscriber priority of the relay's own subscriptions: the middle. MOQT-14 §7.3 [D14-SUB-13]
pub(super) const UPSTREAM_PRIORITY: u8 = 128;

impl SessionActor {
    pub(super) fn open_control(&mut self, ctx: &mut Context<Self>) {
        let mut conn = self.conn.clone();
        let opened = async move { conn.open_bidi().await };
        ctx.spawn(opened.into_actor(self).map(|opened, actor, ctx| match opened {
            Ok((send, recv)) => actor.control_opened(ctx, send, recv, Input::StreamOpened),
            Err(error) => actor.ended(ctx, error),
        }));
    }

    fn control_opened(
        &mut self,
        ctx: &mut Context<Self>,
        send: SendGuard,
        recv: RecvGuard,
        input: impl FnOnce(ControlStream) -> Input,
    ) {
        let id = ControlStream(self.next_control);
        self.next_control += 1;
        let limit = self.env.session.max_control_backlog;
        let failing = || {
            Failing::new(
                self.conn.clone(),
                ctx.address(),
                self.env.faults.clone(),
                self.codec,
            )
        };
        let (writer, task) = ControlWriter::start(send, id, failing(), limit);
        let reading = actix_rt::spawn(control::read(recv, id, failing()));
        self.controls.push((id, writer));
        self.tasks.extend([task, reading]);
        self.input(ctx, input(id));
    }

    /// A track lets go of what this session's peer sends it.
    pub(super) fn release_upstream(&mut self, ctx: &mut Context<Self>, request: RequestId) {
        let why = "the track is not wanted any more";
        self.give_back(
            ctx,
            request,
            RequestError::new(RequestErrorReason::Uninterested, why),
        );
    }

    /// Ends our SUBSCRIBE or the peer's PUBLISH, which is refused for this reason when it is not accepted yet.
    pub(super) fn give_back(&mut self, ctx: &mut Context<Self>, request: RequestId, why: RequestError) {
        self.bindings.release(request);
        if let Err(error) = self.command(ctx, Command::Unsubscribe(request)) {
            debug!(self.log, "not unsubscribed"; "request" => request.0, "error" => %error);
            // It has ended by itself already, or is a PUBLISH that still needs its answer. [D14-REQ-8]
            self.say(ctx, Command::Reject(request, why));
        }
        if let Some(forgotten) = self.bindings.end(request) {
            self.core.forget_alias(forgotten);
            self.bindings.forget(forgotten);
        }
    }

    /// The connection is gone.
    fn ended(&mut self, ctx: &mut Context<Self>, error: ConnError) {
        let peer = self.conn.peer_close();
        let reason = peer.map(|close| close.reason.clone()).unwrap_or_default();
        if let ConnError::Peer { code } = error {
            self.peer_code = self.codec.close_code_from(code);
        }
        let clean = match error {
            ConnError::Ended => true,
            ConnError::Peer { code } | ConnError::Local { code } => code == 0,
            ConnError::Transport { .. }
            | ConnError::IdleTimeout
            | ConnError::HandshakeTimeout
            | ConnError::StatelessReset
            | ConnError::Stack { .. } => false,
        };
        let why = if reason.is_empty() {
            error.to_string()
        } else {
            format!("{error}: {reason}")
        };
        if self.is_health_check {
            debug!(self.log, "connection ended"; "why" => &why);
        } else {
            info!(self.log, "connection ended"; "why" => &why);
        }
        self.end(ctx, why, clean);
    }

    /// What waits in vain for its alias is given up, though nothing more comes that would make one look. [D14-LIM-4]
    fn sweep_later(&mut self, ctx: &mut Context<Self>) {
        let wait = self.env.session.alias_wait;
        if self.sweeping || !self.bindings.is_waited_for() {
            return;
        }
        self.sweeping = true;
        ctx.run_later(wait, move |actor, ctx| {
            actor.sweeping = false;
            actor.bindings.sweep(Instant::now(), wait);
            actor.sweep_later(ctx);
        });
    }

    fn uni(&mut self, ctx: &mut Context<Self>, stream: RecvGuard) {
        // MOQT-14 §3.3 [D14-SETUP-22]: a stream that overtakes SETUP waits, unread, like one that overtakes its alias.
        let ingress = Ingress {
            inlet: ctx.address().into(),
            codec: self.codec,
            limits: self.env.session.data,
            header_timeout: self.env.session.header_timeout,
            alias_wait: self.env.session.alias_wait,
            inbound: self.inbound.clone(),
            fault: self.env.faults.at("ingress", || self.conn.peer_name()),
        };
        while self.ingress_tasks.try_join_next().is_some() {}
        self.ingress_tasks.spawn_local(ingress.run(stream, Bytes::new()));
    }

    fn datagram(&mut self, ctx: &mut Context<Self>, bytes: Bytes) {
        let object = match self.codec.decode_datagram(bytes, &self.env.session.data) {
            Ok(object) => object,
            Err(error) => {
                self.close(ctx, error.code, error.what);
                return;
            }
        };
        let request = self.core.peer_alias(object.alias);
        match request {
            Some(request) if self.bindings.get(request).is_some() => {
                self.bindings.offer(request, object);
            }
            // MOQT-14 §5.1 [D14-SUB-18]: what comes for a subscription that has ended is of no use to anybody.
            Some(request) if self.bindings.is_over(request) => self.bindings.refused += 1,
            Some(_) | None => {
                self.bindings
                    .keep(Instant::now(), self.env.session.alias_wait, object);
                self.sweep_later(ctx);
            }
        }
    }
}

impl StreamHandler<Incoming> for SessionActor {
    fn handle(&mut self, incoming: Incoming, ctx: &mut Context<Self>) {
        self.env.faults.check("session");
        match incoming {
            Incoming::Uni(stream) => self.uni(ctx, stream),
            Incoming::Bidi(send, recv) => self.control_opened(ctx, send, recv, Input::StreamAccepted),
            Incoming::Datagram(bytes) => self.datagram(ctx, bytes),
            Incoming::Ended(error) => self.ended(ctx, error),
        }
    }

    // One acceptor's end is not the session's: the connection's end is reported as such.
    fn finished(&mut self, _: &mut Context<Self>) {}
}

impl Handler<ControlEvent> for SessionActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: ControlEvent, ctx: &mut Self::Context) -> Self::Result {
        self.input(ctx, msg.0);
        // The peer may have given us room for more requests.
        self.tell_peer(ctx);
        self.account.questions().leave()
    }
}

impl Handler<Say> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: Say, ctx: &mut Self::Context) {
        let refused = if let Command::Reject(request, _) = &msg.0 {
            Some(*request)
        } else {
            None
        };
        self.say(ctx, msg.0);
        if let Some(request) = refused {
            // A PUBLISH that its track refuses, and whose alias is forgotten with that.
            self.bindings.release(request);
            self.bindings.forget(request);
        }
    }
}

impl Handler<Request> for SessionActor {
    type Result = Result<RequestId, CommandError>;
    fn handle(&mut self, msg: Request, ctx: &mut Self::Context) -> Self::Result {
        self.command(ctx, msg.0)?.ok_or(CommandError::NotEstablished)
    }
}

impl Handler<SubscriptionOver> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: SubscriptionOver, ctx: &mut Self::Context) {
        if self.children.subscriptions.remove(&msg.request).is_some() {
            self.say(ctx, Command::PublishDone(msg.request, msg.done));
            self.check_unread();
        }
    }
}

impl Handler<SubscribeUpstream> for SessionActor {
    type Result = Result<RequestId, NotAsked>;
    fn handle(&mut self, msg: SubscribeUpstream, ctx: &mut Self::Context) -> Self::Result {
        // MOQT-14 §6.2 [D14-PUB-7]: PUBLISH_NAMESPACE is no routing protocol. Who reads a track from here may announce it
        // because of what it reads, and is not relied on while somebody else publishes it.
        if msg.unless_read && self.core.is_read_by_peer(&msg.name) {
            return Err(NotAsked::Reads);
        }
        // MOQT-14 §9.7 [D14-SUB-12]: objects are asked for at once. [D14-SUB-14]: no parameter of a subscriber is copied.
        let subscribe = Subscribe {
            track: msg.name,
            priority: msg.terms.priority,
            group_order: msg.terms.group_order,
            forward: true,
            filter: msg.terms.filter,
            params: asking(msg.new_group),
        };
        self.make_room_for_track();
        // Its alias is one of the peer's tracks, though it is we who ask.
        let lease = self.account.take(Kind::Tracks, 1).map_err(|full| {
            self.account.note(&self.log, full);
            CommandError::NotAllowed(full.phrase())
        })?;
        let id = self
            .command(ctx, Command::Subscribe(subscribe))?
            .ok_or(NotAsked::Failed(CommandError::NotEstablished))?;
        self.bindings.bind(id, Binding::new(msg.track, msg.source));
        self.bindings.hold(id, Held::Ours(lease));
        Ok(id)
    }
}

impl Handler<AcceptPublish> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: AcceptPublish, ctx: &mut Self::Context) {
        let ok = PublishOk {
            forward: msg.forward,
            priority: UPSTREAM_PRIORITY,
            // MOQT-14 §9.14 [D14-VAL-2]: 1 or 2, never 0. Ascending is what the log keeps.
            group_order: Some(GroupOrder::Ascending),
            filter: SubscribeFilter::LargestObject,
            params: asking(msg.new_group),
        };
        if self
            .command(ctx, Command::AcceptPublish(msg.request, ok))
            .is_err()
        {
            // The peer serves the track by our SUBSCRIBE already, or took its PUBLISH back.
            let why = "the track is subscribed already";
            self.refuse(ctx, msg.request, RequestErrorReason::InternalError, why);
            self.bindings.release(msg.request);
            self.bindings.forget(msg.request);
            mailbox::signal(&msg.track, SourceGone { source: msg.source });
        }
    }
}

/// Parameters that ask for a new group, if one is wanted, and say nothing else. [D14-SUB-14]
fn asking(new_group_request: Option<u64>) -> MessageParams {
    MessageParams {
        new_group_request,
        ..MessageParams::default()
    }
}

impl Handler<UpdateUpstream> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: UpdateUpstream, ctx: &mut Self::Context) {
        // MOQT-14 §9.10 [D14-VAL-9]: the range may not widen, and is to stay; the publisher goes on from where it is.
        let Some((start, end_group)) = self.core.subscription_range(msg.request) else {
            debug!(self.log, "nothing to update"; "request" => msg.request.0);
            return;
        };
        let update = SubscribeUpdate {
            subscription: msg.request,
            start,
            end_group,
            priority: msg.priority,
            forward: msg.forward,
            // [D14-PARAM-6]: what is left out keeps its value.
            params: asking(msg.new_group),
        };
        self.say(ctx, Command::SubscribeUpdate(update));
    }
}

impl Handler<ReleaseUpstream> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: ReleaseUpstream, ctx: &mut Self::Context) {
        self.release_upstream(ctx, msg.request);
    }
}

impl Handler<ResolveAlias> for SessionActor {
    type Result = Reply<Option<Binding>>;
    fn handle(&mut self, msg: ResolveAlias, ctx: &mut Self::Context) -> Self::Result {
        if let Some(request) = self.core.peer_alias(msg.alias) {
            if let Some(binding) = self.bindings.get(request) {
                return Reply::Now(Some(binding.clone()));
            }
            if self.bindings.is_over(request) {
                return Reply::Now(None);
            }
        }
        let (reply, to) = Reply::later();
        self.bindings.wait(msg.alias, msg.held, to);
        self.sweep_later(ctx);
        reply
    }
}

impl Handler<Breach> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: Breach, ctx: &mut Self::Context) {
        self.close(ctx, msg.0.code, msg.0.what);
    }
}
