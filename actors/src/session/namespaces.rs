//! What a peer that watches is told: other sessions' namespaces by PUBLISH_NAMESPACE, their tracks by PUBLISH.
//!
//! `protocol::relay::told` holds what there is and what was said; here it is said, as fast as the peer takes it: while
//! its window of request ids has room and its control stream is not behind.

use super::children::{WatchSlot, supervisor};
use super::messages::{Drained, Heard, PublishTrack};
use super::{Listed, SessionActor, SessionNews};
use crate::limits::Kind;
use crate::metrics::restarts;
use crate::namespace::{self, NamespaceSubscriptionActor};
use crate::registry::Changes;
use crate::subscription::{Origin, Spec};
use crate::supervise::guard::{ChildDown, ChildGuard, ChildId};
use crate::supervise::mailbox::{self, AskError};
use crate::supervise::policy::Decision;
use crate::track::{Describe, Description, TrackRef};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use bytes::Bytes;
use laps_protocol::auth::{Action, Grant, Resource};
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::{
    GroupOrderRequest, MessageParams, NamespaceRequest, Publish, PublishDone, PublishDoneStatus,
    RequestErrorReason, RequestId, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{Command, CommandError};
use laps_protocol::relay::told::{Due, Life, Told};
use slog::{debug, warn};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Namespaces do not begin anew: it is their announcers that do.
const ONE_LIFE: Life = 0;
/// Tracks that are asked at once what they are.
const MAX_DESCRIBING: usize = 64;
/// How long a track may take to say that: as long as it may wait for its readers, and some.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);
/// Scopes of tokens that are kept for all watches of a session, beside those of SETUP: some for each of a few hundred.
const MAX_SCOPES: usize = 4096;
/// Names that stay said though nobody watches any more; see [`SessionActor::unwatch`].
const MAX_MUTED: usize = 1024;

/// What the peer of a session is told of what others publish.
#[derive(Debug, Default)]
pub(super) struct Watched {
    namespaces: Told<TrackNamespace>,
    tracks: Told<FullTrackName>,
    /// Where the tracks live that there are.
    places: BTreeMap<FullTrackName, TrackRef>,
    describing: usize,
    /// What the tokens of the requests that watch allow, by prefix; of them no two overlap.
    grants: BTreeMap<TrackNamespace, Vec<Grant>>,
    /// How much that is.
    scopes: usize,
}

impl Watched {
    fn hear(&mut self, changes: Changes) {
        for (namespace, there) in changes.namespaces {
            self.namespaces.now(namespace, there.then_some(ONE_LIFE));
        }
        for (name, track) in changes.tracks {
            self.tracks
                .now(name.clone(), track.as_ref().map(|track| track.epoch));
            match track {
                Some(track) => drop(self.places.insert(name, track)),
                None => drop(self.places.remove(&name)),
            }
        }
    }

    /// Everything that is there below the prefix was heard of.
    fn complete(&mut self, prefix: &TrackNamespace) {
        self.namespaces.complete(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .complete(&first, |name| prefix.is_prefix_of(name.namespace()));
    }

    /// Nobody looks below the prefix any more.
    fn mute(&mut self, prefix: &TrackNamespace) {
        self.namespaces.mute(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .mute(&first, |name| prefix.is_prefix_of(name.namespace()));
        self.lose_places(prefix);
    }

    /// What there is below the prefix is about to be told, for the first time or again.
    fn begin(&mut self, prefix: &TrackNamespace) {
        self.namespaces.anew(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .anew(&first, |name| prefix.is_prefix_of(name.namespace()));
        self.lose_places(prefix);
    }

    fn lose_places(&mut self, prefix: &TrackNamespace) {
        let first = FullTrackName::first_below(prefix.clone());
        let gone = self.places.range(first..).map(|(name, _)| name);
        let gone: Vec<_> = gone
            .take_while(|name| prefix.is_prefix_of(name.namespace()))
            .cloned()
            .collect();
        for name in gone {
            self.places.remove(&name);
        }
    }

    /// Keeps what a request showed that watches; false when there is no room for that.
    fn grant(&mut self, prefix: &TrackNamespace, shown: Vec<Grant>) -> bool {
        let weight: usize = shown.iter().map(Grant::weight).sum();
        if self.scopes.saturating_add(weight) > MAX_SCOPES {
            return false;
        }
        if !shown.is_empty() {
            self.scopes += weight;
            self.grants.insert(prefix.clone(), shown);
        }
        true
    }

    /// The request that watched here is over.
    fn revoke(&mut self, prefix: &TrackNamespace) {
        let shown = self.grants.remove(prefix).unwrap_or_default();
        let weight = shown.iter().map(Grant::weight).sum();
        self.scopes = self.scopes.saturating_sub(weight);
    }

    /// What the request showed that watches above this namespace. Prefixes do not overlap, so only the last one before
    /// it can be its own.
    pub(super) fn grants_above(&self, namespace: &TrackNamespace) -> &[Grant] {
        let before = self.grants.range(..=namespace).next_back();
        let above = before.filter(|(prefix, _)| prefix.is_prefix_of(namespace));
        above.map_or(&[], |(_, shown)| shown)
    }

    /// The peer wants to hear no more of what this request said.
    pub(super) fn refused(&mut self, request: RequestId) {
        if self.namespaces.refused(request).is_none() {
            self.tracks.refused(request);
        }
    }
}

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

    /// Says what there is to say, as long as the peer takes it.
    pub(super) fn tell_peer(&mut self, ctx: &mut Context<Self>) {
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
        writers.any(super::control::ControlWriter::is_behind)
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
            priority: super::handlers::UPSTREAM_PRIORITY,
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
    pub(super) fn end_offer(
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

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::auth::{UnixSeconds, scopes};
    use laps_protocol::moqt::name_text::parse_namespace;

    /// D14-LIM-3 D14-AUTH-11: what is kept of the tokens of watches is bounded, and given back with each of them.
    #[test]
    fn what_watches_showed_is_bounded() {
        let mut watched = Watched::default();
        let many = scopes(&"fetch ".repeat(64)).unwrap();
        let shown = vec![Grant::until(UnixSeconds(1), many, UnixSeconds(0)).unwrap(); 2];
        let prefix = |n: usize| parse_namespace(&format!("live/{n}")).unwrap();
        let room = MAX_SCOPES / 128;
        for n in 0..room {
            assert!(watched.grant(&prefix(n), shown.clone()), "{n}");
        }
        assert!(!watched.grant(&prefix(room), shown.clone()));
        assert!(
            watched.grant(&prefix(room), Vec::new()),
            "who shows nothing needs no room"
        );
        assert_eq!(
            watched
                .grants_above(&parse_namespace("live/0/left").unwrap())
                .len(),
            2
        );
        assert!(watched.grants_above(&parse_namespace("live").unwrap()).is_empty());
        watched.revoke(&prefix(0));
        assert!(watched.grants_above(&prefix(0)).is_empty());
        assert!(watched.grant(&prefix(room), shown));
    }
}
