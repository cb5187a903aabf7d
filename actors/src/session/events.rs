//! What the peer said, turned into work for children and tracks.

use super::messages::{Binding, Listed, SessionNews};
use super::{Config, HEALTH_CHECK, SessionActor, withdraw};
use crate::limits::Kind;
use crate::registry::RegisterPublisher;
use crate::subscription::{Origin, Spec};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{
    Source, SourceId, TrackMeta, TrackRef, Unavailable, UpstreamDone, UpstreamOk, UpstreamRejected,
};
use crate::words;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use laps_protocol::auth::{Action, Resource};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{
    MessageParams, NamespaceRequest, Publish, PublishDone, PublishDoneStatus, PublishOk, RequestError,
    RequestErrorReason, RequestId, RequestKind, Subscribe, SubscribeOk,
};
use laps_protocol::moqt::session::{Command, Event, Note, PeerSetup};
use slog::{debug, info};
use std::borrow::Cow;
use std::time::Duration;

/// How long the registry may take to place a published track, and its publisher waits for an answer. [D14-REQ-10]
const REGISTER_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a reason phrase. MOQT-14 §1.4.3 [D14-ENC-6]
const MAX_REASON: usize = 1024;

impl SessionActor {
    pub(super) fn event(&mut self, ctx: &mut Context<Self>, event: Event) {
        // MOQT-14 §4 [D14-MSG-32]: every request that the draft knows is served.
        match event {
            Event::Established(peer) => self.established(ctx, peer),
            Event::PeerSubscribe(id, subscribe) => self.peer_subscribe(ctx, id, subscribe),
            Event::PeerSubscribeUpdate(id, update) => self.update_subscription(ctx, id, update),
            Event::PeerUnsubscribe(id) => self.end_subscription(id),
            Event::PeerPublish(id, publish) => self.peer_publish(ctx, id, publish),
            Event::PublishDone(id, done) => self.upstream_done(id, done),
            Event::PeerPublishNamespace(id, request) => self.peer_announce(ctx, id, request),
            Event::PeerPublishNamespaceDone(id) => self.end_announce(id),
            Event::PeerTrackStatus(id, subscribe) => self.start_status(ctx, id, subscribe),
            Event::PeerSubscribeNamespace(id, request) => self.peer_watch(ctx, id, request),
            Event::PeerUnsubscribeNamespace(id) => self.unwatch(ctx, id),
            Event::PeerFetch(id, fetch) => self.peer_fetch(ctx, id, fetch),
            Event::PeerFetchCancel(id) => self.end_fetch(id),
            Event::SubscribeOk(id, ok) => self.subscribe_ok(ctx, id, ok),
            Event::PublishOk(id, ok) => self.publish_ok(ctx, id, ok),
            Event::FetchOk(id, ok) => self.fetch_ok(id, ok),
            Event::TrackStatusOk(..) => {}
            Event::NamespaceOk(id, _) => self.tell(SessionNews::NamespaceOk(id)),
            Event::Rejected(id, kind, error) => self.rejected(id, kind, error),
            Event::Goaway(uri) => self.asked_to_leave(uri),
            Event::Note(note) => self.note(note),
            _ => {}
        }
    }

    fn established(&mut self, ctx: &mut Context<Self>, mut peer: PeerSetup) {
        if !self.authorise_session(ctx, &std::mem::take(&mut peer.authorization_tokens)) {
            return;
        }
        let implementation = peer.implementation.as_deref().map(words::shown);
        let implementation = implementation.unwrap_or_default();
        self.is_health_check = self.is_on_loopback() && implementation.ends_with(HEALTH_CHECK);
        if self.is_health_check {
            debug!(self.log, "health check"; "implementation" => %implementation);
        } else {
            info!(self.log, "session established"; "version" => %peer.version, "implementation" => %implementation);
        }
        self.tell(SessionNews::Established(peer));
    }

    fn is_on_loopback(&self) -> bool {
        let peer = self.conn.remote_addr();
        peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }

    fn note(&mut self, note: Note) {
        // Some of them a peer can bring about with each message.
        if self.noted.contains(&note) {
            debug!(self.log, "compatibility rule used again"; "rule" => ?note);
            return;
        }
        self.noted.push(note);
        info!(self.log, "compatibility rule used"; "rule" => ?note);
    }

    pub(super) fn refuse(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        reason: RequestErrorReason,
        phrase: &'static str,
    ) {
        let refused = self.command(ctx, Command::Reject(id, RequestError::new(reason, phrase)));
        if let Err(error) = refused {
            debug!(self.log, "request was gone before its answer"; "request" => id.0, "error" => %error);
        }
    }

    fn peer_subscribe(&mut self, ctx: &mut Context<Self>, id: RequestId, mut subscribe: Subscribe) {
        let Some(place) = self.admit(ctx, id, Kind::Subscriptions) else {
            return;
        };
        debug!(self.log, "SUBSCRIBE"; "request" => id.0, "track" => %subscribe.track);
        let (track, params) = (Resource::Track(&subscribe.track), &mut subscribe.params);
        if self
            .authorise(ctx, id, Action::Subscribe, track, params)
            .is_none()
        {
            return;
        }
        self.tell(SessionNews::Subscribed(subscribe.track.clone()));
        let alias = self.core.new_alias();
        let spec = Spec::new(id, alias, subscribe, Origin::PeerSubscribe);
        self.start_subscription(ctx, id, spec, place);
    }

    fn publish_ok(&mut self, ctx: &mut Context<Self>, id: RequestId, ok: PublishOk) {
        self.tell(SessionNews::PublishOk(id, ok.clone()));
        if let Some(mut spec) = self.children.offers.remove(&id) {
            let name = &spec.subscribe.track;
            let mut others = self.children.subscriptions.values();
            if others.any(|slot| slot.spec.subscribe.track == *name) {
                // Its SUBSCRIBE crossed our PUBLISH; nobody has a track twice. [D14-VAL-15]
                let why = "the track is subscribed already";
                self.end_offer(ctx, id, PublishDoneStatus::SubscriptionEnded, why);
                return;
            }
            match self.account.request(Kind::Subscriptions) {
                Ok(place) => {
                    spec.accepted_by_peer(&ok);
                    self.start_subscription(ctx, id, spec, place);
                }
                Err(full) => {
                    self.account.note(&self.log, full);
                    self.end_offer(ctx, id, PublishDoneStatus::InternalError, full.phrase());
                }
            }
        }
    }

    /// A publisher offers a track: it goes to the track's home, which says whether objects are wanted.
    fn peer_publish(&mut self, ctx: &mut Context<Self>, id: RequestId, mut publish: Publish) {
        let config: &Config = &self.env.session;
        if !config.accepts_publishers {
            if config.lists_namespaces {
                self.tell(SessionNews::Listed(Listed::Offered(publish.track)));
            }
            // MOQT-14 §9.13 [D14-SUB-25]: its streams are stopped, since the alias has nowhere to go.
            self.refuse(
                ctx,
                id,
                RequestErrorReason::Uninterested,
                "this client takes no tracks",
            );
            return;
        }
        self.make_room_for_track();
        let Some(place) = self.admit(ctx, id, Kind::Tracks) else {
            return;
        };
        debug!(self.log, "PUBLISH"; "request" => id.0, "track" => %publish.track);
        let (track, params) = (Resource::Track(&publish.track), &mut publish.params);
        if self.authorise(ctx, id, Action::Publish, track, params).is_none() {
            return;
        }
        let source = Source::Published {
            upstream: ctx.address().into(),
            request: id,
            largest: publish.largest,
            meta: TrackMeta {
                group_order: publish.group_order,
                delivery_timeout_ms: timeout(&publish.params),
                max_cache_duration_ms: publish.params.max_cache_duration_ms,
                expires_ms: 0,
            },
        };
        let source_id = SourceId::next();
        self.bindings.begin(id, publish.track.clone(), source_id, place);
        let register = RegisterPublisher {
            name: publish.track,
            id: source_id,
            source,
            shard: self.env.shard.clone(),
        };
        let asked = self.env.registry.ask(register, REGISTER_DEADLINE);
        let asking = self.account.questions().ask();
        let alias = publish.alias;
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            drop(asking);
            actor.placed(ctx, id, alias, answer);
        }));
    }

    /// The registry has answered a PUBLISH.
    fn placed(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        alias: u64,
        answer: Result<Result<TrackRef, Unavailable>, AskError>,
    ) {
        // The track may have let go of it before the registry's answer was here.
        let Some(pending) = self.bindings.placed(id) else {
            return;
        };
        let answer = answer.unwrap_or_else(|_| {
            let why = "the relay could not take the track";
            Err(Unavailable::new(RequestErrorReason::InternalError, why))
        });
        let track = match answer {
            Ok(track) => track,
            Err(why) => {
                // What took too long may still be done.
                withdraw(&self.env, pending);
                let (reason, phrase) = (why.reason, why.phrase);
                self.give_back(ctx, id, RequestError { reason, phrase });
                return;
            }
        };
        let binding = Binding::new(track.home, pending.source);
        self.bind(id, alias, binding);
        if let Some(done) = pending.done {
            self.upstream_done(id, done);
        }
    }

    /// The peer's PUBLISH_DONE goes where its objects go, or waits until that is known.
    fn upstream_done(&mut self, id: RequestId, done: PublishDone) {
        match self.bindings.get(id) {
            Some(binding) => {
                let source = binding.source;
                mailbox::signal(&binding.track, UpstreamDone { source, done });
            }
            None => self.bindings.done_early(id, done),
        }
    }

    /// The objects of an alias have a place to go: whatever waited goes there.
    pub(super) fn bind(&mut self, id: RequestId, alias: u64, binding: Binding) {
        let early = self.bindings.known(alias, &binding);
        self.bindings.bind(id, binding);
        for object in early {
            self.bindings.offer(id, object);
        }
    }

    fn peer_announce(&mut self, ctx: &mut Context<Self>, id: RequestId, mut request: NamespaceRequest) {
        if self.env.session.lists_namespaces {
            self.list_namespace(ctx, id, request);
            return;
        }
        if !self.env.session.accepts_publishers {
            self.refuse(
                ctx,
                id,
                RequestErrorReason::Uninterested,
                "this client takes no namespaces",
            );
            return;
        }
        let (namespace, params) = (Resource::Namespace(&request.namespace), &mut request.params);
        let allowed = self.authorise(ctx, id, Action::PublishNamespace, namespace, params);
        if allowed.is_some() {
            self.start_announce(ctx, id, request);
        }
    }

    fn subscribe_ok(&mut self, ctx: &mut Context<Self>, id: RequestId, ok: SubscribeOk) {
        let Some(binding) = self.bindings.get(id).cloned() else {
            // Its track gave up while the answer was on its way.
            self.say(ctx, Command::Unsubscribe(id));
            return;
        };
        let meta = TrackMeta::of(&ok);
        // Sent before any chunk of the alias can be, so that the track is live when the first one comes.
        let live = UpstreamOk {
            source: binding.source,
            largest: ok.largest,
            meta,
        };
        if mailbox::signal(&binding.track, live) {
            self.bind(id, ok.alias, binding);
        } else {
            // The track died while the answer was on its way; its next life subscribes anew.
            self.release_upstream(ctx, id);
        }
    }

    fn rejected(&mut self, id: RequestId, kind: RequestKind, error: RequestError) {
        match kind {
            RequestKind::Subscribe => {
                // It never had an alias.
                self.bindings.forget(id);
                if let Some(binding) = self.bindings.release(id) {
                    mailbox::signal(
                        &binding.track,
                        UpstreamRejected {
                            source: binding.source,
                            error: RequestError {
                                phrase: passed_on(&error.phrase),
                                ..error.clone()
                            },
                        },
                    );
                }
            }
            // MOQT-14 §9.15, §9.25, §9.27 [D14-NS-9]: not repeated.
            RequestKind::Publish => {
                self.children.offers.remove(&id);
                self.watched.refused(id);
            }
            RequestKind::PublishNamespace => self.watched.refused(id),
            RequestKind::Fetch => {
                let phrase = passed_on(&error.phrase);
                let error = error.clone();
                self.fetch_refused(id, RequestError { phrase, ..error });
            }
            RequestKind::TrackStatus | RequestKind::SubscribeNamespace => {}
        }
        self.tell(SessionNews::Rejected(id, kind, error));
    }

    /// The peer has UNSUBSCRIBEd.
    fn end_subscription(&mut self, id: RequestId) {
        self.children.offers.remove(&id);
        // MOQT-14 §5.1 [D14-SUB-18]: every open stream of the subscription is reset.
        if let Some(slot) = self.children.subscriptions.remove(&id) {
            slot.streams.reset_all(ResetCode::Cancelled);
            mailbox::signal(&slot.addr, crate::subscription::Stop);
            self.check_unread();
        }
    }
}

/// A publisher's DELIVERY_TIMEOUT. [D14-TO-3]: 0 says nothing, and is not passed on.
fn timeout(params: &MessageParams) -> Option<u64> {
    params.delivery_timeout_ms.filter(|ms| *ms > 0)
}

/// A peer's words as another peer may hear them.
///
/// MOQT-14 §9.9 [D14-ENC-6] [D14-MAL-4]: UTF-8, 1024 bytes at most. A peer is free to end its session over words that
/// are not, and it has done nothing to be sent them.
pub(crate) fn passed_on(phrase: &Bytes) -> Bytes {
    let words = String::from_utf8_lossy(phrase);
    if matches!(words, Cow::Borrowed(_)) && words.len() <= MAX_REASON {
        return phrase.clone();
    }
    let end = words.floor_char_boundary(MAX_REASON);
    Bytes::copy_from_slice(words.get(..end).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-ENC-6 D14-MAL-4
    #[test]
    fn words_are_utf8_and_short_when_they_cross_sessions() {
        let good = Bytes::from_static("h\u{fc}".as_bytes());
        assert_eq!(passed_on(&good), good);
        assert_eq!(passed_on(&Bytes::from_static(b"a\xffb")), "a\u{fffd}b");
        // Each of these bytes grows to three, and the last one that would be cut in two is left out.
        let long = passed_on(&Bytes::from(vec![0xff; MAX_REASON]));
        assert_eq!(long.len(), MAX_REASON - MAX_REASON % 3);
        assert!(std::str::from_utf8(&long).is_ok());
    }
}
