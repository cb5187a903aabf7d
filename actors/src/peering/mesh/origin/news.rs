//! What the information bases tell: which nodes want which tracks, and what others publish.

use super::OriginActor;
use super::track::{Node, Told, Track};
use super::wish::Wish;
use crate::peering::mesh::{MeshNews, News};
use actix::{AsyncContext, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::message::{Answer, Dialect, parse_subscribe_data};
use laps_protocol::peering::node::{NodeId, NodeType};
use slog::{debug, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after new bases began what only earlier ones told of is served: they tell what they have as soon as their
/// links stand, and their peers dial again within seconds.
const CONFIRM: Duration = Duration::from_secs(10);

impl OriginActor {
    /// New bases tell everything again.
    pub(super) fn doubt(&mut self, ctx: &mut Context<Self>) {
        self.lives += 1;
        self.strangers.clear();
        self.stubs.clear();
        self.elsewhere.clear();
        let nodes = self
            .tracks
            .values_mut()
            .flat_map(|track| track.nodes.values_mut());
        nodes.for_each(|node| node.unconfirmed = true);
        let life = self.lives;
        ctx.run_later(CONFIRM, move |actor, ctx| {
            if actor.lives == life {
                actor.drop_unconfirmed(ctx);
            }
        });
    }

    fn drop_unconfirmed(&mut self, ctx: &mut Context<Self>) {
        let gone: Vec<_> = self
            .tracks
            .iter()
            .flat_map(|(hash, track)| {
                let gone = track.nodes.iter().filter(|(_, node)| node.unconfirmed);
                gone.map(|(node, _)| (*node, *hash))
            })
            .collect();
        let mut unsettled = Unsettled::new();
        for (node, track) in gone {
            self.unsubscribe(ctx, node, track, &mut unsettled);
        }
        self.settle_all(ctx, unsettled);
    }

    /// Notes what a node wants, and in `unsettled` what is to be settled for that.
    fn subscribe(&mut self, source: NodeId, hash: TrackHash, data: &Bytes, unsettled: &mut Unsettled) {
        let parsed = parse_subscribe_data(Dialect::Own, data);
        let (request, subscribe) = match parsed {
            Ok((request, subscribe)) if TrackHash::of(&subscribe.track) == hash => (request, subscribe),
            parsed => {
                self.counters.malformed += 1;
                debug!(self.log, "a node subscribes in a way that cannot be read"; "node" => %source,
                    "why" => parsed.err().map(|error| error.to_string()));
                return;
            }
        };
        let hash = hash.full;
        let full = match self.tracks.get(&hash) {
            None => self.tracks.len() >= self.limits.tracks,
            Some(track) => !track.nodes.contains_key(&source) && track.nodes.len() >= self.limits.nodes,
        };
        if full {
            self.refuse(source, hash, request);
            return;
        }
        let track = self
            .tracks
            .entry(hash)
            .or_insert_with(|| Track::new(subscribe.track.clone()));
        let wish = Wish::of(&subscribe);
        let known = track.nodes.get_mut(&source);
        let anew = known.as_ref().is_none_or(|known| known.request != request);
        match known {
            Some(known) if !anew => {
                known.wish = wish;
                (known.unconfirmed, known.parting) = (false, false);
            }
            _ => {
                let node = Node {
                    request,
                    wish,
                    told: Told::Nothing,
                    sent: false,
                    farewell: None,
                    whole: None,
                    unconfirmed: false,
                    parting: false,
                };
                track.nodes.insert(source, node);
            }
        }
        // A change that repeats it, as one of the priority does, asks for no further group.
        let new_group = anew && subscribe.params.new_group_request.is_some();
        let change = unsettled.entry(hash).or_default();
        change.asks.extend(new_group.then_some(source));
    }

    fn refuse(&mut self, source: NodeId, hash: FullNameHash, request: RequestId) {
        self.counters.refused += 1;
        let phrase = "the origin serves no more subscriptions of other relays";
        if self.counters.refused == 1 {
            warn!(self.log, "a node is refused a track"; "node" => %source, "why" => phrase);
        }
        let error = RequestError::new(RequestErrorReason::InternalError, phrase);
        self.answer(source, hash, request, Answer::Error(error));
    }
}

/// Tracks that nodes want otherwise than before, and how.
pub(super) type Unsettled = BTreeMap<FullNameHash, Change>;

/// What has changed of one track.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Who asks for a new group.
    asks: Vec<NodeId>,
    /// Who wants it no more.
    pub(super) gone: BTreeSet<NodeId>,
}

impl OriginActor {
    /// Each track is settled once for all that want it, or no more: that takes as long as it has nodes, whoever of them it is.
    pub(super) fn settle_all(&mut self, ctx: &mut Context<Self>, unsettled: Unsettled) {
        for (hash, change) in unsettled {
            self.settle(ctx, hash, &change.asks);
        }
    }

    /// Of a node that has left a track the route has to be rid before it joins again, or it would not be one that joins.
    fn settle_leave(
        &mut self,
        ctx: &mut Context<Self>,
        source: NodeId,
        hash: FullNameHash,
        unsettled: &mut Unsettled,
    ) {
        let change = unsettled.get(&hash);
        if change.is_some_and(|change| change.gone.contains(&source))
            && let Some(change) = unsettled.remove(&hash)
        {
            self.settle(ctx, hash, &change.asks);
        }
    }
}

impl Handler<MeshNews> for OriginActor {
    type Result = ();

    fn handle(&mut self, MeshNews(all): MeshNews, ctx: &mut Self::Context) {
        let (mut unsettled, mut parting) = (Unsettled::new(), BTreeMap::<_, Vec<_>>::new());
        for news in all {
            match news {
                News::Subscribe { source, track, data } => {
                    self.settle_leave(ctx, source, track.full, &mut unsettled);
                    self.subscribe(source, track, &data, &mut unsettled);
                }
                News::SubscribeGone { source, track } => {
                    if let Some(request) = self.gone(ctx, source, track, &mut unsettled) {
                        parting.entry(track).or_default().push((source, request));
                    }
                }
                News::NodeReachable {
                    node,
                    node_type,
                    ours,
                } => {
                    if node_type == NodeType::Stub {
                        self.stubs.insert(node);
                    }
                    if ours {
                        if self.strangers.remove(&node) {
                            self.say_again(node);
                        }
                    } else {
                        self.strangers.insert(node);
                    }
                }
                News::NodeUnreachable { node } => {
                    self.strangers.remove(&node);
                    self.stubs.remove(&node);
                }
                News::Publish { source, what } => self.elsewhere.insert(source, what),
                News::PublishGone { source, what } => self.elsewhere.remove(source, &what),
            }
        }
        for (hash, nodes) in parting {
            self.parts(ctx, hash, nodes);
        }
        self.settle_all(ctx, unsettled);
    }
}
