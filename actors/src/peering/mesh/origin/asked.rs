//! FETCHes of other nodes, each served by an actor as a peer's is. Its objects go on a stream for that node alone: to a set
//! of its own, behind a data header. Decision 0029.

use super::OriginActor;
use crate::fetch::{self, Course, FetchActor};
use crate::metrics::restarts;
use crate::owner::Owner;
use crate::peering::mesh::{FromNode, SendToNode};
use crate::peering::plane::{LinkOut, unicast};
use crate::supervise::mailbox;
use crate::supervise::policy::{Backoff, Decision, Intensity, Restart, Supervisor};
use crate::supervise::{ChildDown, ChildGuard, ChildId};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{MessageParams, RequestError, RequestErrorReason, RequestId};
use laps_protocol::moqt::session::{Command, PeerFetch};
use laps_protocol::peering::data_header::StreamHeader;
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{FetchMessage, FetchStep, LostNodes, PlainFetch};
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use slog::{debug, warn};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often the actor of one FETCH may fail, as in a session.
const FAILURES: Intensity = Intensity::per_secs(10, 10);
const PAUSE: Backoff = Backoff {
    at_once: 0,
    first: Duration::from_millis(10),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};
/// How long the set of a node stands after its last FETCH: relays on the way take a stream only while they know its set,
/// and the end of the set must not overtake a stream.
const LINGER: Duration = Duration::from_secs(10);

/// A FETCH: whose, and the number that it has there.
type Key = (NodeId, RequestId);

/// One FETCH that is served.
#[derive(Debug)]
struct Slot {
    addr: Addr<FetchActor>,
    child: ChildId,
    fetch: PeerFetch,
    course: Rc<Course>,
    link: LinkOut,
    /// The data header of its stream.
    head: Bytes,
    supervisor: Supervisor,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Asked {
    slots: HashMap<Key, Slot>,
    children: HashMap<ChildId, Key>,
    /// How many each node has, by their priorities; with none its set ends in a while.
    of_node: HashMap<NodeId, BTreeMap<u8, usize>>,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn has(&self, child: ChildId) -> bool {
        self.children.contains_key(&child)
    }

    fn insert(&mut self, key: Key, slot: Slot) {
        self.children.insert(slot.child, key);
        let priorities = self.of_node.entry(key.0).or_default();
        *priorities.entry(slot.fetch.priority).or_default() += 1;
        self.slots.insert(key, slot);
    }

    fn remove(&mut self, key: Key) -> Option<Slot> {
        let slot = self.slots.remove(&key)?;
        self.children.remove(&slot.child);
        if let Some(priorities) = self.of_node.get_mut(&key.0)
            && let Some(count) = priorities.get_mut(&slot.fetch.priority)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                priorities.remove(&slot.fetch.priority);
            }
        }
        Some(slot)
    }

    /// How many a node has.
    fn open(&self, node: NodeId) -> usize {
        let priorities = self.of_node.get(&node);
        priorities.map_or(0, |priorities| priorities.values().sum())
    }

    /// The priority of the most urgent one that a node has; none without one.
    fn urgency(&self, node: NodeId) -> Option<u8> {
        let (priority, _) = self.of_node.get(&node)?.first_key_value()?;
        Some(*priority)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // MOQT-14 §9.19 [D14-FETCH-16]: its stream is dropped with the actor and its course, which resets it.
        mailbox::signal(&self.addr, fetch::Stop);
    }
}

/// One step in the life of a node's FETCH, from the actor that serves it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct NodeSay {
    /// Whose.
    pub(crate) node: NodeId,
    /// What a peer would be told.
    pub(crate) command: Command,
}

impl OriginActor {
    pub(super) fn say_of_fetch(&mut self, target: NodeId, request: RequestId, step: FetchStep) {
        let Some(nodes) = &self.nodes else { return };
        match (FetchMessage { request, step }).encode() {
            Ok(body) => {
                self.counters.answers += 1;
                let say = SendToNode {
                    target,
                    kind: FetchMessage::KIND,
                    request_id: request.0,
                    body,
                };
                mailbox::signal(nodes, say);
            }
            Err(error) => debug!(self.log, "an answer cannot be said"; "node" => %target, "why" => %error),
        }
    }

    fn refuse_fetch(&mut self, node: NodeId, request: RequestId, why: &'static str) {
        self.counters.refused += 1;
        let error = RequestError::new(RequestErrorReason::InternalError, why);
        self.say_of_fetch(node, request, FetchStep::Error(error));
    }

    fn fetch(&mut self, ctx: &Context<Self>, key: Key, plain: PlainFetch) {
        let (node, request) = key;
        if self.asked.slots.contains_key(&key) {
            // The way was not one of messages alone: it came twice.
            return;
        }
        if self.asked.open(node) >= self.limits.fetches {
            self.refuse_fetch(node, request, "too many fetches at once");
            return;
        }
        let hash = unicast(node);
        // MOQT-14 §7.1 [D14-PRIO-4]: FETCH is on one scale with SUBSCRIBE. Those of one node are in one set, so a relay in
        // between has all of them go by the most urgent. §7.2 [D14-PRIO-1]
        let urgency = self
            .asked
            .urgency(node)
            .map_or(plain.priority, |open| open.min(plain.priority));
        self.outlets.set_targets(hash, BTreeMap::from([(node, urgency)]));
        let route = self.outlets.route(hash).into_iter().next();
        let link = route.and_then(|route| Some((self.outlets.link(route.link)?, route.sns)));
        let Some((link, sns)) = link else {
            self.refuse_fetch(node, request, "no way for data leads to the node");
            self.aim_fetches(node);
            return;
        };
        let head = StreamHeader {
            sns,
            track: hash,
            priority: DEFAULT_PRIORITY,
            ttl_ms: 0,
        };
        let fetch = PeerFetch {
            track: plain.track,
            start: plain.start,
            end: plain.end,
            joining: false,
            priority: plain.priority,
            group_order: plain.group_order,
            params: MessageParams::default(),
        };
        let (child, course) = (ChildId::fresh(), Rc::default());
        let head = Bytes::copy_from_slice(&head.encode());
        let addr = self.spawn_fetch(ctx, key, child, (&fetch, &course), (&link, &head));
        let slot = Slot {
            addr,
            child,
            fetch,
            course,
            link,
            head,
            supervisor: Supervisor::new(Restart::Transient, FAILURES, PAUSE, request.0),
        };
        self.asked.insert(key, slot);
    }

    fn spawn_fetch(
        &self,
        ctx: &Context<Self>,
        (node, request): Key,
        child: ChildId,
        (fetch, course): (&PeerFetch, &Rc<Course>),
        (link, head): (&LinkOut, &Bytes),
    ) -> Addr<FetchActor> {
        let birth = fetch::Birth {
            request,
            log: self
                .log
                .new(slog::o!("req" => request.0, "node" => node.to_string(),
                "track" => fetch.track.to_string())),
            fetch: fetch.clone(),
            env: self.env.clone(),
            owner: Owner::Node(ctx.address(), node),
            prefix: head.clone(),
            own: self.stubs.contains(&node),
            egress: link.egress.clone(),
            course: Rc::clone(course),
            codec: link.codec,
        };
        let guard = ChildGuard::new(ctx.address().recipient(), child, "fetch");
        FetchActor::new(birth, Some(guard)).start()
    }

    /// A FETCH is over; the value is what is left of it.
    fn end_fetch(&mut self, ctx: &mut Context<Self>, key: Key) -> Option<Slot> {
        let slot = self.asked.remove(key)?;
        let node = key.0;
        if self.asked.urgency(node).is_some() {
            self.aim_fetches(node);
        } else {
            ctx.run_later(LINGER, move |actor, _| actor.aim_fetches(node));
        }
        Some(slot)
    }

    /// The set of a node is as urgent as what the node fetches, and ends when it fetches nothing.
    fn aim_fetches(&mut self, node: NodeId) {
        let urgency = self.asked.urgency(node);
        if urgency.is_none() {
            self.asked.of_node.remove(&node);
        }
        let target = urgency.map(|urgency| (node, urgency));
        self.outlets
            .set_targets(unicast(node), target.into_iter().collect());
    }

    /// Starts a fetch's actor again, or ends the request when that happened too often, or cannot help.
    pub(super) fn fetch_down(&mut self, ctx: &mut Context<Self>, down: &ChildDown) {
        let Some(key) = self.asked.children.remove(&down.id) else {
            return;
        };
        let Some(slot) = self.asked.slots.get_mut(&key) else {
            return;
        };
        match slot.supervisor.child_down(Instant::now(), down.exit) {
            Decision::Restart { after } if !slot.course.is_torn() => {
                self.counters.restarts += 1;
                restarts::restarted(down.kind);
                warn!(self.log, "a fetch of a node failed and is restarted"; "node" => %key.0);
                let failed = down.id;
                ctx.run_later(after, move |actor, ctx| actor.restart_fetch(ctx, key, failed));
            }
            Decision::Forget if slot.course.is_over() => drop(self.end_fetch(ctx, key)),
            Decision::Restart { .. } | Decision::GiveUp | Decision::Forget => {
                warn!(self.log, "a fetch of a node failed for good"; "node" => %key.0);
                // MOQT-14 §9.16.3 [D14-FETCH-6]: what was begun is reset.
                slot.course
                    .reset(slot.link.codec.reset_code(ResetCode::InternalError));
                let answered = slot.course.is_answered();
                drop(self.end_fetch(ctx, key));
                if !answered {
                    self.refuse_fetch(key.0, key.1, "the fetch failed in the relay");
                }
            }
        }
    }

    fn restart_fetch(&mut self, ctx: &Context<Self>, key: Key, failed: ChildId) {
        let slot = self.asked.slots.get(&key);
        let Some(slot) = slot.filter(|slot| slot.child == failed) else {
            return;
        };
        let child = ChildId::fresh();
        let addr = self.spawn_fetch(
            ctx,
            key,
            child,
            (&slot.fetch, &slot.course),
            (&slot.link, &slot.head),
        );
        self.asked.children.insert(child, key);
        if let Some(slot) = self.asked.slots.get_mut(&key) {
            (slot.addr, slot.child) = (addr, child);
        }
    }
}

impl Handler<FromNode> for OriginActor {
    type Result = ();

    fn handle(&mut self, msg: FromNode, ctx: &mut Self::Context) {
        if msg.kind == LostNodes::KIND {
            return match LostNodes::decode(&msg.body, &Limits::default()) {
                Ok(LostNodes(nodes)) => self.lost_beyond(ctx, msg.source, &nodes),
                Err(error) => {
                    self.counters.malformed += 1;
                    debug!(self.log, "what a node says is lost cannot be read"; "node" => %msg.source,
                        "why" => %error);
                }
            };
        }
        if msg.kind != FetchMessage::KIND {
            self.counters.malformed += 1;
            return;
        }
        let said = match FetchMessage::decode(msg.request_id, &msg.body, &Limits::default()) {
            Ok(said) => said,
            Err(error) => {
                self.counters.malformed += 1;
                debug!(self.log, "a node asks what cannot be read"; "node" => %msg.source, "why" => %error);
                return;
            }
        };
        let key = (msg.source, said.request);
        match said.step {
            FetchStep::Fetch(plain) => self.fetch(ctx, key, plain),
            FetchStep::Cancel => drop(self.end_fetch(ctx, key)),
            FetchStep::Status(subscribe) => self.status(ctx, key, subscribe),
            // Answers are the other part's.
            FetchStep::Ok(_) | FetchStep::Error(_) | FetchStep::StatusOk(_) | FetchStep::StatusError(_) => {}
        }
    }
}

impl Handler<NodeSay> for OriginActor {
    type Result = ();

    fn handle(&mut self, NodeSay { node, command }: NodeSay, _: &mut Self::Context) {
        // Of what was cancelled nothing is said any more. Its end is heard of when its actor ends.
        if let Command::AcceptFetch(request, ok) = command {
            if self.asked.slots.contains_key(&(node, request)) {
                self.say_of_fetch(node, request, FetchStep::Ok(ok));
            }
        } else if let Command::AcceptTrackStatus(request, ok) = command {
            if self.statuses.answered((node, request)) {
                self.say_of_fetch(node, request, FetchStep::StatusOk(ok));
            }
        } else if let Command::Reject(request, error) = command {
            if self.asked.slots.contains_key(&(node, request)) {
                self.say_of_fetch(node, request, FetchStep::Error(error));
            } else if self.statuses.answered((node, request)) {
                self.say_of_fetch(node, request, FetchStep::StatusError(error));
            }
        }
    }
}
