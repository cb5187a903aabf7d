//! What the peer said, turned into work for children and tracks.

use super::messages::{Binding, SessionNews};
use super::{Config, SessionActor};
use crate::registry::RegisterPublisher;
use crate::subscription::{Origin, Spec};
use crate::supervise::mailbox;
use crate::track::{Source, SourceId, TrackMeta, UpstreamDone, UpstreamOk, UpstreamRejected};
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{
    NamespaceRequest, Publish, PublishOk, RequestError, RequestErrorReason, RequestId, RequestKind,
    Subscribe, SubscribeOk,
};
use laps_protocol::moqt::session::{Command, Event, Note, PeerSetup};
use slog::{debug, info};
use std::time::Duration;

/// How long the registry may take to place a published track.
const REGISTER_DEADLINE: Duration = Duration::from_secs(10);

impl SessionActor {
    pub(super) fn event(&mut self, ctx: &mut Context<Self>, event: Event) {
        match event {
            Event::Established(peer) => self.established(peer),
            Event::PeerSubscribe(id, subscribe) => self.peer_subscribe(ctx, id, subscribe),
            Event::PeerSubscribeUpdate(id, update) => self.update_subscription(id, update),
            Event::PeerUnsubscribe(id) => self.end_subscription(id),
            Event::PeerPublish(id, publish) => self.peer_publish(ctx, id, publish),
            Event::PublishDone(id, done) => {
                if let Some(binding) = self.bindings.get(id) {
                    mailbox::signal(
                        &binding.track,
                        UpstreamDone {
                            source: binding.source,
                            done,
                        },
                    );
                }
            }
            Event::PeerPublishNamespace(id, request) => self.peer_announce(ctx, id, request),
            Event::PeerPublishNamespaceDone(id) => self.end_announce(id),
            Event::PeerFetch(id, _)
            | Event::PeerTrackStatus(id, _)
            | Event::PeerSubscribeNamespace(id, _) => {
                // MOQT-14 §4 [D14-MSG-32]: what is not served is refused, not ignored.
                self.refuse(
                    ctx,
                    id,
                    RequestErrorReason::NotSupported,
                    "not supported by this relay",
                );
            }
            Event::PeerFetchCancel(_) | Event::PeerUnsubscribeNamespace(_) => {}
            Event::SubscribeOk(id, ok) => self.subscribe_ok(ctx, id, ok),
            Event::PublishOk(id, ok) => self.publish_ok(ctx, id, ok),
            Event::FetchOk(..) | Event::TrackStatusOk(..) => {}
            Event::NamespaceOk(id, _) => self.tell(SessionNews::NamespaceOk(id)),
            Event::Rejected(id, kind, error) => self.rejected(id, kind, error),
            Event::Goaway(uri) => {
                info!(self.log, "the peer asks us to leave"; "uri" => %String::from_utf8_lossy(&uri));
                self.tell(SessionNews::Goaway(uri));
            }
            Event::Note(note) => self.note(note),
            _ => {}
        }
    }

    fn established(&self, peer: PeerSetup) {
        let implementation = peer
            .implementation
            .as_deref()
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        info!(self.log, "session established"; "version" => %peer.version, "implementation" => %implementation);
        self.tell(SessionNews::Established(peer));
    }

    fn note(&self, note: Note) {
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

    fn peer_subscribe(&mut self, ctx: &mut Context<Self>, id: RequestId, subscribe: Subscribe) {
        debug!(self.log, "SUBSCRIBE"; "request" => id.0, "track" => %subscribe.track);
        self.tell(SessionNews::Subscribed(subscribe.track.clone()));
        let alias = self.core.new_alias();
        self.start_subscription(ctx, id, Spec::new(id, alias, subscribe, Origin::PeerSubscribe));
    }

    fn publish_ok(&mut self, ctx: &mut Context<Self>, id: RequestId, ok: PublishOk) {
        self.tell(SessionNews::PublishOk(id, ok.clone()));
        if let Some(mut spec) = self.children.offers.remove(&id) {
            spec.accepted_by_peer(&ok);
            self.start_subscription(ctx, id, spec);
        }
    }

    /// A publisher offers a track: it goes to the track's home, which says whether objects are wanted.
    fn peer_publish(&mut self, ctx: &mut Context<Self>, id: RequestId, publish: Publish) {
        let config: &Config = &self.env.session;
        if !config.accepts_publishers {
            self.refuse(
                ctx,
                id,
                RequestErrorReason::Uninterested,
                "this client takes no tracks",
            );
            return;
        }
        debug!(self.log, "PUBLISH"; "request" => id.0, "track" => %publish.track);
        let source = Source::Published {
            session: ctx.address(),
            request: id,
            largest: publish.largest,
            meta: TrackMeta {
                group_order: publish.group_order,
                delivery_timeout_ms: publish.params.delivery_timeout_ms,
                max_cache_duration_ms: publish.params.max_cache_duration_ms,
                expires_ms: 0,
            },
        };
        let source_id = SourceId::next();
        self.bindings.begin(id, publish.largest);
        let register = RegisterPublisher {
            name: publish.track,
            id: source_id,
            source,
            shard: self.env.shard.clone(),
        };
        let asked = mailbox::ask(&self.env.registry, register, REGISTER_DEADLINE);
        let alias = publish.alias;
        ctx.spawn(
            asked
                .into_actor(self)
                .map(move |answer, actor, ctx| match answer {
                    Ok(Ok(track)) => {
                        actor.bind(
                            id,
                            alias,
                            Binding {
                                track: track.home,
                                source: source_id,
                            },
                        );
                    }
                    Ok(Err(_)) | Err(_) => {
                        actor.refuse(
                            ctx,
                            id,
                            RequestErrorReason::InternalError,
                            "the relay could not take the track",
                        );
                    }
                }),
        );
    }

    /// The objects of an alias have a place to go: whatever waited goes there.
    pub(super) fn bind(&mut self, id: RequestId, alias: u64, binding: Binding) {
        let early = self.bindings.known(alias, &binding);
        self.bindings.bind(id, binding.clone());
        for object in early {
            self.forward_datagram(&binding, object);
        }
    }

    fn peer_announce(&mut self, ctx: &mut Context<Self>, id: RequestId, request: NamespaceRequest) {
        if !self.env.session.accepts_publishers {
            self.refuse(
                ctx,
                id,
                RequestErrorReason::Uninterested,
                "this client takes no namespaces",
            );
            return;
        }
        self.start_announce(ctx, id, request);
    }

    fn subscribe_ok(&mut self, ctx: &mut Context<Self>, id: RequestId, ok: SubscribeOk) {
        let Some(binding) = self.bindings.get(id).cloned() else {
            // Its track gave up while the answer was on its way.
            drop(self.command(ctx, Command::Unsubscribe(id)));
            return;
        };
        let meta = TrackMeta {
            group_order: ok.group_order,
            delivery_timeout_ms: ok.params.delivery_timeout_ms,
            max_cache_duration_ms: ok.params.max_cache_duration_ms,
            expires_ms: ok.expires_ms,
        };
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
                if let Some(binding) = self.bindings.release(id) {
                    mailbox::signal(
                        &binding.track,
                        UpstreamRejected {
                            source: binding.source,
                            error: error.clone(),
                        },
                    );
                }
            }
            RequestKind::Publish => drop(self.children.offers.remove(&id)),
            RequestKind::Fetch
            | RequestKind::TrackStatus
            | RequestKind::PublishNamespace
            | RequestKind::SubscribeNamespace => {}
        }
        self.tell(SessionNews::Rejected(id, kind, error));
    }

    /// The peer has UNSUBSCRIBEd.
    fn end_subscription(&mut self, id: RequestId) {
        // MOQT-14 §5.1 [D14-SUB-18]: every open stream of the subscription is reset.
        if let Some(slot) = self.children.subscriptions.remove(&id) {
            slot.streams.reset_all(ResetCode::Cancelled);
            mailbox::signal(&slot.addr, crate::subscription::Stop);
        }
    }
}
