//! The peer is told of what there is below the prefixes that it watches: namespaces by PUBLISH_NAMESPACE, tracks by PUBLISH,
//! as fast as it takes that.

use super::super::messages::{Drained, PublishTrack};
use super::super::{SessionActor, control, handlers};
use crate::subscription::{Origin, Spec};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{Describe, Description};
use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use bytes::Bytes;
use laps_protocol::auth::{Action, Resource};
use laps_protocol::moqt::message::{
    GroupOrderRequest, MessageParams, NamespaceRequest, Publish, PublishDone, PublishDoneStatus, RequestId,
    Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{Command, CommandError};
use laps_protocol::relay::told::{Due, Life};
use slog::debug;
use std::time::Duration;

/// Tracks that are asked at once what they are.
const MAX_DESCRIBING: usize = 64;
/// How long a track may take to say that: as long as it may wait for its readers, and some.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);

impl SessionActor {
    /// Says what there is to say, as long as the peer takes it.
    pub(in crate::session) fn tell_peer(&mut self, ctx: &mut Context<Self>) {
        while self.over.is_none() && !self.is_behind() {
            // One request may wait for the peer's MAX_REQUEST_ID, so that REQUESTS_BLOCKED tells it. What more there
            // is to say waits where it can still change. MOQT-14 §9.6 [D14-REQ-6]
            let may_ask = self.core.queued_requests() == 0;
            if let Some(due) = self.watched.namespaces.next(may_ask) {
                self.tell_of_namespace(ctx, due);
                continue;
            }
            let may_offer = may_ask && self.watched.describing < MAX_DESCRIBING;
            match self.watched.tracks.next(may_offer) {
                Some(Due::Tell(name, life)) => self.describe(ctx, name, life),
                Some(Due::Withdraw(_, request)) => self.withdraw_offer(ctx, request),
                None => return,
            }
        }
    }

    /// The control stream holds more than the peer reads just now. Its writer tells when that is over.
    fn is_behind(&self) -> bool {
        let mut writers = self.controls.iter().map(|(_, writer)| writer);
        writers.any(control::ControlWriter::is_behind)
    }

    /// MOQT-14 §6.2 [D14-NS-1]: messages of our own, with request ids of our own.
    fn tell_of_namespace(&mut self, ctx: &mut Context<Self>, due: Due<TrackNamespace>) {
        let (namespace, life) = match due {
            // MOQT-14 §9.26 [D14-NS-2] [D14-NS-13]: the last of those who announced it is gone.
            Due::Withdraw(_, request) => return self.say(ctx, Command::PublishNamespaceDone(request)),
            Due::Tell(namespace, life) => (namespace, life),
        };
        if !self.may_be_told(Action::SubscribeNamespace, Resource::Namespace(&namespace)) {
            return self.watched.namespaces.declined(&namespace, life);
        }
        let request = NamespaceRequest {
            namespace: namespace.clone(),
            // [D14-AUTH-10]: parameters are between neighbours.
            params: MessageParams::default(),
        };
        match self.command(ctx, Command::PublishNamespace(request)) {
            Ok(Some(request)) => self.watched.namespaces.said(&namespace, life, request),
            Err(CommandError::Blocked(_)) => self.watched.namespaces.put_back(&namespace),
            refused => {
                debug!(self.log, "namespace not told of"; "namespace" => %namespace, "why" => ?refused);
                self.watched.namespaces.declined(&namespace, life);
            }
        }
    }

    /// Asks the track what its PUBLISH is to say.
    fn describe(&mut self, ctx: &mut Context<Self>, name: FullTrackName, life: Life) {
        // A PUBLISH makes a subscription, so it takes no less than a SUBSCRIBE does.
        let allowed = self.may_be_told(Action::Subscribe, Resource::Track(&name));
        let place = self.watched.places.get(&name).filter(|place| place.epoch == life);
        let Some(track) = place.filter(|_| allowed).cloned() else {
            self.watched.tracks.declined(&name, life);
            return;
        };
        self.watched.describing += 1;
        let asked = mailbox::ask(&track.home, Describe, DESCRIBE_DEADLINE);
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            actor.watched.describing -= 1;
            actor.described(ctx, &name, life, answer);
            actor.tell_peer(ctx);
        }));
    }

    fn described(
        &mut self,
        ctx: &mut Context<Self>,
        name: &FullTrackName,
        life: Life,
        answer: Result<Option<Description>, AskError>,
    ) {
        if !self.watched.tracks.is_wanted(name, life) {
            return;
        }
        let offered = match answer {
            Ok(Some(_)) if self.core.queued_requests() > 0 => Err(CommandError::Blocked(0)),
            // MOQT-14 §5.1, §9.13 [D14-SUB-2]: Forward 1 says that objects come without a further word, which is what
            // later drafts make the default and what peers count on that copy it into their PUBLISH_OK. They come
            // after that answer: before it they MAY, and would be in vain when the peer refuses.
            Ok(Some(description)) => self.offer(ctx, name.clone(), &description, true),
            // Publishers that do not answer are in its way, so it is asked again.
            Err(AskError::Deadline) => Err(CommandError::Blocked(0)),
            // The news of its end is on its way.
            Ok(None) | Err(AskError::MailboxClosed) => Err(CommandError::NotEstablished),
        };
        match offered {
            Ok(request) => self.watched.tracks.said(name, life, request),
            Err(CommandError::Blocked(_)) => self.watched.tracks.put_back(name),
            // Also when the peer has a subscription to the track already.
            Err(error) => {
                debug!(self.log, "track not offered"; "track" => %name, "why" => %error);
                self.watched.tracks.declined(name, life);
            }
        }
    }

    /// Sends PUBLISH.
    ///
    /// MOQT-14 §8.4 [D14-NS-8], §9.13: an alias of our own, the track's order, largest place and parameters.
    /// §5.1 [D14-SUB-23]: a relay comes here only with what is below a prefix that the peer watches.
    fn offer(
        &mut self,
        ctx: &mut Context<Self>,
        name: FullTrackName,
        track: &Description,
        forward: bool,
    ) -> Result<RequestId, CommandError> {
        let alias = self.core.new_alias();
        let publish = Publish {
            track: name.clone(),
            alias,
            group_order: track.meta.group_order,
            largest: track.largest,
            forward,
            params: MessageParams {
                // MOQT-14 §9.2.1.2 [D14-SUB-14], §9.2.1.3: the publisher's own, passed on as they are.
                delivery_timeout_ms: track.meta.delivery_timeout_ms,
                max_cache_duration_ms: track.meta.max_cache_duration_ms,
                ..MessageParams::default()
            },
        };
        let id = self
            .command(ctx, Command::Publish(publish))?
            .ok_or(CommandError::NotEstablished)?;
        // What it comes to is what PUBLISH_OK says.
        let subscribe = Subscribe {
            track: name,
            priority: handlers::UPSTREAM_PRIORITY,
            group_order: GroupOrderRequest::Fixed(track.meta.group_order),
            forward: false,
            filter: SubscribeFilter::LargestObject,
            params: MessageParams::default(),
        };
        let spec = Spec::new(id, alias, subscribe, Origin::OurPublish);
        self.children.offers.insert(id, spec);
        Ok(id)
    }

    /// A track that was offered is over. One that was accepted has a subscription, which says so.
    fn withdraw_offer(&mut self, ctx: &mut Context<Self>, request: RequestId) {
        if self.children.offers.remove(&request).is_some() {
            self.end_offer(ctx, request, PublishDoneStatus::TrackEnded, "the track is over");
        }
    }

    /// Ends a PUBLISH of ours under which no stream was opened.
    pub(in crate::session) fn end_offer(
        &mut self,
        ctx: &mut Context<Self>,
        request: RequestId,
        status: PublishDoneStatus,
        phrase: &'static str,
    ) {
        let done = PublishDone {
            status,
            stream_count: Some(0),
            phrase: Bytes::from_static(phrase.as_bytes()),
        };
        self.say(ctx, Command::PublishDone(request, done));
    }
}

impl Handler<Drained> for SessionActor {
    type Result = ();
    fn handle(&mut self, _: Drained, ctx: &mut Self::Context) {
        self.tell_peer(ctx);
    }
}

impl Handler<PublishTrack> for SessionActor {
    type Result = Result<RequestId, CommandError>;
    fn handle(&mut self, msg: PublishTrack, ctx: &mut Self::Context) -> Self::Result {
        let track = Description {
            largest: msg.largest,
            ..Description::default()
        };
        // The relay says when it wants objects.
        self.offer(ctx, msg.track.name, &track, false)
    }
}
