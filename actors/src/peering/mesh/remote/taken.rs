//! What tracks have asked of a node, and what it answers: it does what a session does for its peer.

mod answered;

use super::NodeActor;
use super::messages::{NodeAway, WayCut, Wish, Wished};
use crate::session::{AcceptPublish, Binding, NotAsked, ReleaseUpstream, SubscribeUpstream, UpdateUpstream};
use crate::supervise::mailbox;
use crate::track::{SourceCut, SourceGone, SourceId, TrackActor, TrackMeta, UpstreamOk, UpstreamTerms};
use actix::{Addr, AsyncContext, Context, Handler, SpawnHandle};
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::session::CommandError;
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::message::Published;
use slog::debug;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How long one of our relays may take to say how a track of it ended: longer than it waits itself for the streams of one.
const LAST_WORD: Duration = Duration::from_secs(20);

/// How a track has the node as its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It announced the namespace, and is subscribed to.
    Subscribed {
        /// It has accepted.
        answered: bool,
    },
    /// It published the track. Nothing is asked of it while nobody wants objects: whoever knows of a track is not
    /// therefore to be sent it.
    Published,
}

/// One track that has the node as its publisher.
#[derive(Debug)]
struct Request {
    track: FullTrackName,
    hash: FullNameHash,
    home: Addr<TrackActor>,
    source: SourceId,
    kind: Kind,
    wish: Wish,
    /// The mesh was told of the wish.
    told: bool,
    /// How often the node has accepted: whoever begins anew there counts its streams anew.
    accepted: u32,
    /// Which SUBSCRIBE it has accepted last.
    number: Option<RequestId>,
    /// The node was out of reach since it accepted last.
    away: bool,
}

impl Request {
    /// What is wanted of the node. A laps relay knows no Forward, so what is not to be forwarded is not asked for.
    fn wanted(&self, ours: bool) -> Option<&Wish> {
        let subscribed = matches!(self.kind, Kind::Subscribed { .. });
        Some(&self.wish).filter(|wish| wish.forward || (subscribed && ours))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Taken {
    by_request: BTreeMap<RequestId, Request>,
    by_track: BTreeMap<FullTrackName, RequestId>,
    by_hash: BTreeMap<FullNameHash, RequestId>,
    /// Tracks that the node may no longer publish, and until when what it says of that is waited for.
    parting: VecDeque<(Instant, FullTrackName)>,
    timer: Option<SpawnHandle>,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }

    fn of_track(&self, track: &FullTrackName) -> Option<(RequestId, &Request)> {
        let id = *self.by_track.get(track)?;
        Some((id, self.by_request.get(&id)?))
    }

    /// Something that it sends of the track is wanted.
    pub(super) fn is_wanted(&self, track: &FullTrackName) -> bool {
        self.of_track(track)
            .is_some_and(|(_, request)| request.wish.forward)
    }

    /// The home that has the track as one that the node published.
    pub(super) fn published(&self, track: &FullTrackName) -> Option<(SourceId, RequestId, Addr<TrackActor>)> {
        let (id, request) = self.of_track(track)?;
        (request.kind == Kind::Published).then(|| (request.source, id, request.home.clone()))
    }

    fn insert(&mut self, id: RequestId, request: Request) {
        self.by_track.insert(request.track.clone(), id);
        self.by_hash.insert(request.hash, id);
        self.by_request.insert(id, request);
    }

    fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = self.by_request.remove(&id)?;
        self.by_track.remove(&request.track);
        self.by_hash.remove(&request.hash);
        Some(request)
    }
}

impl NodeActor {
    /// Begins to ask for a track.
    fn take(&mut self, id: RequestId, request: Request, new_group: Option<u64>) -> Result<(), CommandError> {
        self.env.faults.check_named("node", &self.node);
        // One track has one stream of answers and one place for what comes, as it has one alias in a session.
        if let Some(other) = self.taken.by_hash.get(&request.hash) {
            return Err(CommandError::Duplicate(*other));
        }
        // A home takes what a publisher sends that it knows to serve it. What comes before an answer waits for that.
        if request.kind != (Kind::Subscribed { answered: false }) {
            self.bind(&request);
        }
        let (track, wish) = (request.track.clone(), request.wanted(self.ours).cloned());
        let mut request = request;
        request.told = wish.is_some();
        self.taken.insert(id, request);
        if wish.is_some() && !self.wishes(track, wish, true, new_group) {
            self.forget(id);
            return Err(CommandError::NotEstablished);
        }
        Ok(())
    }

    fn bind(&self, request: &Request) {
        let binding = Binding::new(request.home.clone(), request.source);
        self.inlets.bind(request.hash, self.node, binding);
    }

    fn wishes(&self, track: FullTrackName, wish: Option<Wish>, anew: bool, new_group: Option<u64>) -> bool {
        let wished = Wished {
            node: self.node,
            track,
            wish,
            anew,
            new_group,
        };
        mailbox::signal(&self.mesh, wished)
    }

    /// It is a relay of ours, or is not, which it was taken for: what is not to be forwarded is asked for, or is not.
    pub(super) fn ask_as(&mut self, ours: bool) {
        self.ours = ours;
        let mut changed = Vec::new();
        for request in self.taken.by_request.values_mut() {
            let wish = request.wanted(ours).cloned();
            if std::mem::replace(&mut request.told, wish.is_some()) != wish.is_some() {
                changed.push((request.track.clone(), wish));
            }
        }
        for (track, wish) in changed {
            self.wishes(track, wish, true, None);
        }
    }

    /// Ends what was asked for a track; its home knows.
    pub(super) fn forget(&mut self, id: RequestId) {
        let Some(request) = self.taken.remove(id) else {
            return;
        };
        self.inlets.unbind(request.hash, self.node);
        if request.told {
            self.wishes(request.track, None, false, None);
        }
    }

    /// The home loses this publisher.
    fn lose(&mut self, id: RequestId) {
        if let Some(Request { home, source, .. }) = self.taken.by_request.get(&id) {
            mailbox::signal(home, SourceGone { source: *source });
        }
        self.forget(id);
    }

    /// The actor ends, and the mesh is told of that by its guard.
    pub(super) fn abandon_all(&mut self) {
        for (_, request) in std::mem::take(&mut self.taken.by_request) {
            let Request { home, source, .. } = &request;
            mailbox::signal(home, SourceGone { source: *source });
            self.inlets.unbind(request.hash, self.node);
        }
    }

    /// What tracks get from the node is lost in a while, where the node publishes nothing any more that has them.
    ///
    /// Its own word for how that ends goes another way than the end of its info, and comes when its last streams have left
    /// it. A laps relay has none.
    pub(super) fn part_later(&mut self, ctx: &mut Context<Self>, what: &Published) {
        let wait = if self.ours {
            LAST_WORD
        } else {
            self.env.track.done_wait
        };
        let due = Instant::now() + wait;
        let first = match what {
            Published::Namespace(namespace) => FullTrackName::first_below(namespace.clone()),
            Published::Track(track) => track.clone(),
        };
        let is_below = |track: &FullTrackName| match what {
            Published::Namespace(namespace) => namespace.is_prefix_of(track.namespace()),
            Published::Track(other) => track == other,
        };
        let tracks = self.taken.by_track.range(first..).map(|(track, _)| track);
        let tracks = tracks.take_while(|track| is_below(track));
        let parting = tracks.filter(|track| !self.offers.covers(track)).cloned();
        let parting: Vec<_> = parting.map(|track| (due, track)).collect();
        self.taken.parting.extend(parting);
        self.wind_parting(ctx);
    }

    fn wind_parting(&mut self, ctx: &mut Context<Self>) {
        if self.taken.timer.is_some() {
            return;
        }
        let Some((due, _)) = self.taken.parting.front() else {
            return;
        };
        let wait = due.saturating_duration_since(Instant::now());
        self.taken.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.taken.timer = None;
            actor.part(Instant::now());
            actor.wind_parting(ctx);
            actor.check_idle(ctx);
        }));
    }

    fn part(&mut self, now: Instant) {
        while self.taken.parting.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, track)) = self.taken.parting.pop_front() else {
                return;
            };
            // It may publish the track again, or have been let go of.
            if let Some(id) = self.taken.by_track.get(&track).copied()
                && !self.offers.covers(&track)
            {
                debug!(self.log, "a node has withdrawn a track"; "track" => %track);
                self.lose(id);
            }
        }
    }
}

impl NodeActor {
    /// What was on its way from the node is lost. Whether it says so itself, which it does where a link of its own died, or
    /// not, tracks are to look for what they lack.
    fn cut(&self) {
        for request in self.taken.by_request.values() {
            let source = request.source;
            mailbox::signal(&request.home, SourceCut { source });
        }
    }
}

impl Handler<SubscribeUpstream> for NodeActor {
    type Result = Result<RequestId, NotAsked>;
    fn handle(&mut self, msg: SubscribeUpstream, _: &mut Self::Context) -> Self::Result {
        // MOQT-14 §6.2 [D14-PUB-7]: `unless_read` is about peers that announce what they read here. A node of the mesh
        // tells of publishers of its own only (decision 0029).
        let UpstreamTerms {
            filter,
            priority,
            group_order,
        } = msg.terms;
        let id = self.fresh_request();
        let (source, home, answered) = (msg.source, msg.track, !self.ours);
        let request = Request {
            hash: TrackHash::of(&msg.name).full,
            track: msg.name,
            home: home.clone(),
            source,
            kind: Kind::Subscribed { answered },
            // MOQT-14 §9.7 [D14-SUB-12]: objects are asked for at once.
            wish: Wish {
                forward: true,
                priority,
                group_order,
                filter,
            },
            told: false,
            accepted: 0,
            number: None,
            away: false,
        };
        self.take(id, request, msg.new_group)?;
        if answered {
            accepted_unheard(&home, source);
        }
        Ok(id)
    }
}

impl Handler<AcceptPublish> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: AcceptPublish, ctx: &mut Self::Context) {
        let AcceptPublish {
            request: id,
            forward,
            priority,
            new_group,
            track: home,
            source,
        } = msg;
        let offered = self.offers.by_request(id).cloned();
        let Some(track) = offered else {
            // It was withdrawn meanwhile.
            mailbox::signal(&home, SourceGone { source });
            return;
        };
        // But for its priority on the terms on which a PUBLISH of a session's peer is accepted, too.
        let UpstreamTerms {
            filter, group_order, ..
        } = UpstreamTerms::default();
        let request = Request {
            hash: TrackHash::of(&track).full,
            track: track.clone(),
            home: home.clone(),
            source,
            kind: Kind::Published,
            wish: Wish {
                forward,
                priority,
                group_order,
                filter,
            },
            told: false,
            accepted: 0,
            number: None,
            away: false,
        };
        if let Err(error) = self.take(id, request, new_group) {
            debug!(self.log, "a track of a node is not accepted"; "track" => %track, "error" => %error);
            mailbox::signal(&home, SourceGone { source });
            self.offer_again(ctx, &track);
        } else if forward && !self.ours {
            accepted_unheard(&home, source);
        }
    }
}

/// A laps relay never answers. Waiting for its first object would keep subscribers of a quiet track without an answer until
/// they are refused; what laps itself does is to accept at once, knowing as little.
fn accepted_unheard(home: &Addr<TrackActor>, source: SourceId) {
    let (largest, meta) = (None, TrackMeta::default());
    let ok = UpstreamOk {
        source,
        largest,
        meta,
    };
    mailbox::signal(home, ok);
}

impl Handler<UpdateUpstream> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: UpdateUpstream, _: &mut Self::Context) {
        let ours = self.ours;
        let Some(request) = self.taken.by_request.get_mut(&msg.request) else {
            debug!(self.log, "nothing to update"; "request" => msg.request.0);
            return;
        };
        (request.wish.forward, request.wish.priority) = (msg.forward, msg.priority);
        let (track, wish) = (request.track.clone(), request.wanted(ours).cloned());
        let before = std::mem::replace(&mut request.told, wish.is_some());
        // One that was not asked for is asked for, and answers.
        let anew = !before;
        if anew && !ours && request.kind == Kind::Published && msg.forward {
            accepted_unheard(&request.home, request.source);
        }
        if before || wish.is_some() {
            self.wishes(track, wish, anew, msg.new_group);
        }
    }
}

impl Handler<ReleaseUpstream> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: ReleaseUpstream, ctx: &mut Self::Context) {
        self.forget(msg.request);
        // A home that has ended, or wants another publisher in its place: the node publishes the track all the same.
        if let Some(track) = self.offers.by_request(msg.request).cloned() {
            self.offer_again(ctx, &track);
        }
        self.check_idle(ctx);
    }
}

impl Handler<NodeAway> for NodeActor {
    type Result = ();
    fn handle(&mut self, _: NodeAway, _: &mut Self::Context) {
        for request in self.taken.by_request.values_mut() {
            request.away |= request.accepted > 0;
        }
        self.cut();
    }
}

impl Handler<WayCut> for NodeActor {
    type Result = ();
    fn handle(&mut self, _: WayCut, _: &mut Self::Context) {
        self.cut();
    }
}
