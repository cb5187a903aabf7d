//! TRACK_STATUS of other nodes, each answered by an actor as a peer's is. Decision 0029.

use super::OriginActor;
use crate::limits::{Account, PerKind, Share, UNLIMITED};
use crate::owner::Owner;
use crate::status::{self, StatusActor};
use crate::supervise::mailbox;
use crate::supervise::{ChildDown, ChildGuard, ChildId};
use actix::{Addr, AsyncContext, Context};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId, Subscribe};
use laps_protocol::peering::message::FetchStep;
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, HashMap};

/// A TRACK_STATUS: whose, and the number that it has there.
type Key = (NodeId, RequestId);

/// One that has yet to be answered.
#[derive(Debug)]
struct Slot {
    addr: Addr<StatusActor>,
    child: ChildId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        mailbox::signal(&self.addr, status::Stop);
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    slots: BTreeMap<Key, Slot>,
    children: HashMap<ChildId, Key>,
}

impl Statuses {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn has(&self, child: ChildId) -> bool {
        self.children.contains_key(&child)
    }

    /// How many of a node are open.
    fn of_node(&self, node: NodeId) -> usize {
        let all = (node, RequestId(0))..=(node, RequestId(u64::MAX));
        self.slots.range(all).count()
    }

    /// Takes one out, because it is answered; the value is whether it was not before.
    pub(super) fn answered(&mut self, key: Key) -> bool {
        let slot = self.slots.remove(&key);
        let child = slot.as_ref().map(|slot| slot.child);
        child.and_then(|child| self.children.remove(&child)).is_some()
    }
}

impl OriginActor {
    /// A node asks what a SUBSCRIBE would be answered here.
    pub(super) fn status(&mut self, ctx: &Context<Self>, key: Key, subscribe: Subscribe) {
        let (node, request) = key;
        if self.statuses.slots.contains_key(&key) {
            // The way was not one of messages alone: it came twice.
            return;
        }
        if self.statuses.of_node(node) >= self.limits.fetches {
            return self.refuse_status(key, "too many requests at once");
        }
        let child = ChildId::fresh();
        let addr = status::Birth {
            request,
            log: self
                .log
                .new(slog::o!("req" => request.0, "node" => node.to_string())),
            subscribe,
            env: self.env.clone(),
            owner: Owner::Node(ctx.address(), node),
            own: self.stubs.contains(&node),
            // What a node has open is bounded here.
            account: Account::new(PerKind::all(UNLIMITED), Share::unbounded()),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "status")),
        }
        .start();
        self.statuses.children.insert(child, key);
        self.statuses.slots.insert(key, Slot { addr, child });
    }

    fn refuse_status(&mut self, (node, request): Key, why: &'static str) {
        self.counters.refused += 1;
        let error = RequestError::new(RequestErrorReason::InternalError, why);
        self.say_of_fetch(node, request, FetchStep::StatusError(error));
    }

    /// An actor ended without an answer.
    pub(super) fn status_down(&mut self, down: &ChildDown) {
        if let Some(key) = self.statuses.children.remove(&down.id) {
            self.statuses.slots.remove(&key);
            self.refuse_status(key, "the request failed in the relay");
        }
    }
}
