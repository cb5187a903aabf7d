//! The subscription of one track on one link.

use super::OriginActor;
use super::wish::Wish;
use crate::limits::Place;
use crate::peering::plane::LinkOut;
use crate::session::egress::{Heads, Streams};
use crate::shard::Env;
use crate::subscription::{self, Spec, SubscriptionActor};
use crate::supervise::mailbox;
use crate::supervise::policy::{Backoff, Intensity, Restart, Supervisor};
use crate::supervise::{ChildGuard, ChildId};
use actix::{Addr, AsyncContext, Context};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{RequestId, SubscribeOk};
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::message::SnsId;
use laps_protocol::peering::node::NodeId;
use std::rc::Rc;

/// How often the actor of one subscription may fail, as in a session.
const FAILURES: Intensity = Intensity::per_secs(10, 10);
const PAUSE: Backoff = Backoff {
    at_once: 0,
    first: std::time::Duration::from_millis(10),
    max: std::time::Duration::from_secs(1),
    jitter_percent: 20,
};

/// One subscription, whatever number of nodes lies behind its link. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) request: RequestId,
    pub(super) child: ChildId,
    pub(super) addr: Addr<SubscriptionActor>,
    pub(super) spec: Spec,
    pub(super) streams: Rc<Streams>,
    heads: Heads,
    link: LinkOut,
    /// What the nodes behind the link want together.
    pub(super) wish: Wish,
    /// Who they were when the route last named any, ascending.
    pub(super) nodes: Vec<NodeId>,
    /// The link is not in the route any more; what is open goes on.
    pub(super) leaving: bool,
    /// It was so at some time.
    pub(super) left: bool,
    /// What the subscription was answered.
    pub(super) accepted: Option<SubscribeOk>,
    pub(super) supervisor: Supervisor,
    _place: Place,
}

/// What a slot is made of, beside its link.
pub(super) struct Plan {
    pub(super) request: RequestId,
    pub(super) spec: Spec,
    pub(super) heads: Heads,
    pub(super) wish: Wish,
    pub(super) nodes: Vec<NodeId>,
    pub(super) place: Place,
}

impl Slot {
    /// Starts the subscription.
    pub(super) fn start(ctx: &Context<OriginActor>, env: &Env, link: LinkOut, plan: Plan) -> Self {
        let streams = Rc::new(Streams::default());
        let child = ChildId::fresh();
        let addr = spawn(ctx, env, &link, child, &plan.spec, &streams, false);
        Self {
            request: plan.request,
            child,
            addr,
            spec: plan.spec,
            streams,
            heads: plan.heads,
            link,
            wish: plan.wish,
            nodes: plan.nodes,
            leaving: false,
            left: false,
            accepted: None,
            supervisor: Supervisor::new(Restart::Transient, FAILURES, PAUSE, plan.request.0),
            _place: plan.place,
        }
    }

    /// Starts its actor again, which goes on at the next group.
    pub(super) fn restart(&mut self, ctx: &Context<OriginActor>, env: &Env) {
        self.child = ChildId::fresh();
        self.addr = spawn(ctx, env, &self.link, self.child, &self.spec, &self.streams, true);
        if self.leaving {
            mailbox::signal(&self.addr, subscription::Leave(true));
        }
    }

    /// The link that it is on.
    pub(super) const fn link(&self) -> LinkId {
        self.link.link
    }

    /// Who gets it has this id from now on.
    pub(super) fn set_sns(&self, sns: SnsId) {
        self.heads.set_sns(sns);
    }

    /// The nodes behind it want this together by now.
    pub(super) fn change(&mut self, wish: Wish, new_group: bool) {
        if self.wish == wish && !new_group {
            return;
        }
        let update = wish.update(self.request, new_group);
        self.spec.replace(&update);
        self.wish = wish;
        mailbox::signal(&self.addr, subscription::Update(update));
    }

    /// What it sends is this urgent by now to those behind it, what is open and waits too. MOQT-14 §7.1 [D14-PRIO-4]
    pub(super) fn prioritise(&mut self, priority: u8) {
        self.change(self.wish.at(priority), false);
    }

    /// The link is in the route, or not any more.
    pub(super) fn leave(&mut self, leaving: bool) {
        self.left |= leaving;
        if std::mem::replace(&mut self.leaving, leaving) != leaving {
            mailbox::signal(&self.addr, subscription::Leave(leaving));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        mailbox::signal(&self.addr, subscription::Stop);
        self.streams.reset_all(ResetCode::Cancelled);
    }
}

fn spawn(
    ctx: &Context<OriginActor>,
    env: &Env,
    link: &LinkOut,
    child: ChildId,
    spec: &Spec,
    streams: &Rc<Streams>,
    resumed: bool,
) -> Addr<SubscriptionActor> {
    let log = env
        .log
        .new(slog::o!("link" => link.link.0, "peer" => link.peer.to_string(),
        "track" => spec.subscribe.track.to_string()));
    subscription::Birth {
        spec: spec.clone(),
        resumed,
        env: env.clone(),
        owner: ctx.address().into(),
        conn: link.conn.clone(),
        codec: link.codec,
        egress: link.egress.clone(),
        streams: Rc::clone(streams),
        account: link.account.clone(),
        log,
        guard: Some(ChildGuard::new(ctx.address().recipient(), child, "subscription")),
    }
    .start()
}
