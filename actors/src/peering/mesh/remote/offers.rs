//! What a node publishes, as the registry knows it: its namespaces are announced, its tracks published, like those of a
//! session's peer.

use super::NodeActor;
use crate::registry::{
    AnnounceId, RegisterNamespace, RegisterPublisher, UnregisterNamespace, WithdrawPublisher,
};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{Source, SourceGone, SourceId, TrackActor, TrackMeta, TrackRef, Unavailable};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, SpawnHandle, WrapFuture};
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::message::Published;
use slog::debug;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long the registry may take to place a published track.
const REGISTER_DEADLINE: Duration = Duration::from_secs(10);
/// Tracks of one node that the registry is asked to place at once: a node may tell of thousands in one turn.
const MAX_PLACING: usize = 4;
/// Until a track that was refused, or let go of, is offered again: nobody tells the node that it was, so it does not
/// publish anew. Twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
/// And never longer than that.
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// Where a published track stands.
#[derive(Debug)]
enum Place {
    /// The registry has yet to be asked.
    Queued,
    /// The registry is asked.
    Asked,
    /// It is a publisher of this home.
    Of(Addr<TrackActor>),
    /// No home has it, and it is offered again then.
    Nowhere(Instant),
}

/// One published track.
#[derive(Debug)]
struct Offer {
    source: SourceId,
    request: RequestId,
    place: Place,
    /// How many times in a row it came to nothing.
    failed: u32,
}

/// All that a node publishes.
#[derive(Debug, Default)]
pub(super) struct Offers {
    namespaces: BTreeMap<TrackNamespace, AnnounceId>,
    tracks: BTreeMap<FullTrackName, Offer>,
    by_request: BTreeMap<RequestId, FullTrackName>,
    queued: BTreeSet<FullTrackName>,
    asked: usize,
    again: BTreeSet<(Instant, FullTrackName)>,
    timer: Option<SpawnHandle>,
}

impl Offers {
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.tracks.is_empty()
    }

    /// It publishes the track or a namespace that the track is in.
    pub(super) fn covers(&self, track: &FullTrackName) -> bool {
        let mut prefixes = track.namespace().prefixes();
        self.tracks.contains_key(track) || prefixes.any(|prefix| self.namespaces.contains_key(&prefix))
    }

    /// The published track that a home knows by this number.
    pub(super) fn by_request(&self, request: RequestId) -> Option<&FullTrackName> {
        self.by_request.get(&request)
    }

    /// The track is worth being offered soon when it is let go of.
    pub(super) fn went_well(&mut self, track: &FullTrackName) {
        if let Some(offer) = self.tracks.get_mut(track) {
            offer.failed = 0;
        }
    }

    fn insert(&mut self, track: FullTrackName, offer: Offer) {
        self.by_request.insert(offer.request, track.clone());
        if matches!(offer.place, Place::Queued) {
            self.queued.insert(track.clone());
        }
        self.tracks.insert(track, offer);
    }

    fn remove(&mut self, track: &FullTrackName) -> Option<Offer> {
        let offer = self.tracks.remove(track)?;
        self.by_request.remove(&offer.request);
        match offer.place {
            Place::Queued => drop(self.queued.remove(track)),
            Place::Nowhere(due) => drop(self.again.remove(&(due, track.clone()))),
            Place::Asked | Place::Of(_) => {}
        }
        Some(offer)
    }

    /// What is to be offered again by now is queued.
    fn due(&mut self, now: Instant) {
        while self.again.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, track)) = self.again.pop_first() else {
                return;
            };
            if let Some(offer) = self.tracks.get_mut(&track) {
                offer.place = Place::Queued;
                self.queued.insert(track);
            }
        }
    }
}

impl NodeActor {
    /// The node publishes this.
    pub(super) fn publishes(&mut self, ctx: &mut Context<Self>, what: Published) {
        self.env.faults.check_named("node", &self.node);
        match what {
            Published::Namespace(namespace) => {
                if self.offers.namespaces.contains_key(&namespace) {
                    return;
                }
                self.offers
                    .namespaces
                    .insert(namespace.clone(), AnnounceId::next());
                self.announce(ctx, &namespace);
            }
            Published::Track(track) => self.publishes_track(ctx, track),
        }
    }

    fn publishes_track(&mut self, ctx: &mut Context<Self>, track: FullTrackName) {
        if self.offers.tracks.contains_key(&track) {
            return;
        }
        // It was withdrawn a moment ago, and its home has not been told.
        let (source, request, place) = match self.taken.published(&track) {
            Some((source, request, home)) => (source, request, Place::Of(home)),
            None => (SourceId::next(), self.fresh_request(), Place::Queued),
        };
        let failed = 0;
        self.offers.insert(
            track,
            Offer {
                source,
                request,
                place,
                failed,
            },
        );
        self.place_next(ctx);
    }

    /// The node does not publish this any more. MOQT-14 §6.2 [D14-NS-12]: what tracks have asked of it goes on for a
    /// moment, in which it says how that ends.
    pub(super) fn withdraws(&mut self, ctx: &mut Context<Self>, what: &Published) {
        match what {
            Published::Namespace(namespace) => {
                if let Some(id) = self.offers.namespaces.remove(namespace) {
                    self.unannounce(namespace, id);
                }
            }
            Published::Track(track) => {
                // A home that nobody reads from has nothing to wait for.
                if let Some(offer) = self.offers.remove(track)
                    && !self.taken.is_wanted(track)
                {
                    self.withdraw(track, &offer);
                    self.forget(offer.request);
                }
            }
        }
        self.part_later(ctx, what);
    }

    fn announce(&self, ctx: &Context<Self>, namespace: &TrackNamespace) {
        if let Some(id) = self.offers.namespaces.get(namespace) {
            self.env.registry.signal(RegisterNamespace {
                id: *id,
                namespace: namespace.clone(),
                upstream: self.upstream(ctx),
                shard: self.env.shard.clone(),
            });
        }
    }

    /// It announces this again: tracks that it refused are asked of it once more. MOQT-14 §8.4 [D14-NS-7]
    pub(super) fn announces_again(&mut self, ctx: &Context<Self>, namespace: &TrackNamespace) {
        let Some(id) = self.offers.namespaces.get_mut(namespace) else {
            return;
        };
        // Never without an announcement in between: who watches the namespace is to see no change.
        let before = std::mem::replace(id, AnnounceId::next());
        self.announce(ctx, namespace);
        self.unannounce(namespace, before);
    }

    fn unannounce(&self, namespace: &TrackNamespace, id: AnnounceId) {
        self.env.registry.signal(UnregisterNamespace {
            id,
            namespace: namespace.clone(),
        });
    }

    /// A registry that has begun again hears of the namespaces; tracks say themselves who published them, and what is
    /// being placed is a question, which is asked again.
    pub(super) fn reregister(&self, ctx: &Context<Self>) {
        for namespace in self.offers.namespaces.keys() {
            self.announce(ctx, namespace);
        }
    }

    fn withdraw(&self, track: &FullTrackName, offer: &Offer) {
        let source = offer.source;
        match &offer.place {
            Place::Queued | Place::Nowhere(_) => {}
            Place::Asked => {
                let (name, id) = (track.clone(), source);
                self.env.registry.signal(WithdrawPublisher { name, id });
            }
            Place::Of(home) => drop(mailbox::signal(home, SourceGone { source })),
        }
    }

    /// The actor ends.
    pub(super) fn withdraw_all(&mut self) {
        for (namespace, id) in std::mem::take(&mut self.offers.namespaces) {
            self.unannounce(&namespace, id);
        }
        for (track, offer) in std::mem::take(&mut self.offers.tracks) {
            self.withdraw(&track, &offer);
        }
    }

    /// Asks the registry to place what waits for that.
    fn place_next(&mut self, ctx: &mut Context<Self>) {
        while self.offers.asked < MAX_PLACING {
            let Some(track) = self.offers.queued.pop_first() else {
                return;
            };
            let offer = self.offers.tracks.get_mut(&track);
            let Some(offer) = offer.filter(|offer| matches!(offer.place, Place::Queued)) else {
                continue;
            };
            offer.place = Place::Asked;
            self.offers.asked += 1;
            let (id, request) = (offer.source, offer.request);
            let register = RegisterPublisher {
                name: track.clone(),
                id,
                source: Source::Published {
                    upstream: self.upstream(ctx),
                    request,
                    // What the mesh tells of a track is its name.
                    largest: None,
                    meta: TrackMeta::default(),
                },
                shard: self.env.shard.clone(),
            };
            let asked = self.env.registry.ask(register, REGISTER_DEADLINE);
            ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
                actor.offers.asked -= 1;
                actor.placed(ctx, &track, id, answer);
                actor.place_next(ctx);
            }));
        }
    }

    fn placed(
        &mut self,
        ctx: &mut Context<Self>,
        track: &FullTrackName,
        id: SourceId,
        answer: Result<Result<TrackRef, Unavailable>, AskError>,
    ) {
        let offer = self.offers.tracks.get_mut(track);
        // What was withdrawn meanwhile, or let go of by its home, has been told.
        let Some(offer) = offer.filter(|offer| offer.source == id && matches!(offer.place, Place::Asked))
        else {
            return;
        };
        match answer {
            Ok(Ok(home)) => offer.place = Place::Of(home.home),
            Ok(Err(why)) => {
                debug!(self.log, "a track of a node is not taken"; "track" => %track, "why" => %why);
                self.offer_again(ctx, track);
            }
            Err(error) => {
                debug!(self.log, "a track of a node is not placed"; "track" => %track, "error" => %error);
                // What took too long may still be done.
                let name = track.clone();
                self.env.registry.signal(WithdrawPublisher { name, id });
                self.offer_again(ctx, track);
            }
        }
    }

    /// No home has the track any more: it is offered again in a while, as another publisher.
    pub(super) fn offer_again(&mut self, ctx: &mut Context<Self>, track: &FullTrackName) {
        let offer = self.offers.tracks.get(track);
        if offer.is_none_or(|offer| matches!(offer.place, Place::Queued | Place::Nowhere(_))) {
            return;
        }
        let Some(offer) = self.offers.remove(track) else {
            return;
        };
        let wait = AGAIN.saturating_mul(1 << offer.failed.min(8)).min(AGAIN_AT_MOST);
        let due = Instant::now() + wait;
        let again = Offer {
            source: SourceId::next(),
            request: self.fresh_request(),
            place: Place::Nowhere(due),
            failed: offer.failed.saturating_add(1),
        };
        self.offers.insert(track.clone(), again);
        self.offers.again.insert((due, track.clone()));
        self.wind(ctx);
    }

    /// One timer, for what is to be offered again first.
    fn wind(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.offers.timer.take() {
            ctx.cancel_future(timer);
        }
        let Some((due, _)) = self.offers.again.first() else {
            return;
        };
        let wait = due.saturating_duration_since(Instant::now());
        self.offers.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.offers.timer = None;
            actor.offers.due(Instant::now());
            actor.place_next(ctx);
            actor.wind(ctx);
        }));
    }
}
