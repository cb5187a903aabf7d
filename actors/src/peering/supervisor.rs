//! The links of the relay, and who looks after them.
//!
//! ```text
//!  PeerTarget ──▶ Reach::dial ──▶ PeerLinkActor (Dialler)  ─┐ MayStand ──▶ Roster, Damping ──▶ stands or not
//!  Inbound (a listener took a connection) ──▶ PeerLinkActor (Acceptor) ─┘
//!  ChildDown of a link ──▶ its target is dialled again after its back-off, or after what damping says
//!  ChildDown of the bases ──▶ all links end, new bases, all targets are dialled again
//! ```

mod counting;
mod judging;

use super::bases::{self, Ears, EndBases, InfoBaseActor, LinkOver, RoomAgain};
use super::found::Meeting;
use super::leaving::Leaving;
use super::link::{self, EndFor, LinkConn, PeerLinkActor, Reached};
use super::options::{Counters, EndPeering, Inbound, Options, Reach};
use super::roster::Roster;
use super::target::{PeerKind, PeerTarget};
use super::told::{About, Told};
use super::{tally::Tally, tries};
use crate::metrics::restarts;
use crate::registry::Reregister;
use crate::root::StopChild;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox::{Credit, signal};
use crate::supervise::{
    Backoff, ChildDown, ChildGuard, ChildId, Decision, Exit, Intensity, Restart, Supervisor, Wake,
};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use laps_protocol::peering::damping::Damping;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::info_base::LinkId;
use laps_protocol::peering::message::{Dialect, PeerMode};
use laps_protocol::peering::node::{NodeId, NodeType};
use laps_protocol::peering::session::{Config, Role};
use slog::{error, info, o, warn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// When information bases that failed are made anew: before the first peers are back, and more slowly when it is no
/// accident.
const ANEW: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(10),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};

/// One connection that this relay keeps up.
pub(super) struct Wanted {
    pub(super) target: PeerTarget,
    pub(super) mode: PeerMode,
    pub(super) tries: Supervisor,
    /// Who answered there last.
    pub(super) node: Option<NodeId>,
    /// Where it was found, if it was.
    pub(super) found: Option<Meeting>,
}

/// One link.
pub(super) struct Child<C: LinkConn> {
    id: ChildId,
    addr: Addr<PeerLinkActor<C>>,
    /// Which of the wanted ones it is; none where the peer dialled.
    wanted: Option<usize>,
    node: Option<NodeId>,
    stood: bool,
    /// It was ended here, or its peer has said that it is about to: its end says nothing of the peer.
    on_purpose: bool,
}

/// The peering of the relay.
///
/// Parent: the root. Arbiter: the system's, or that of the links. Restart: permanent, 5 in 30 s. In: [`Inbound`],
/// [`LeavePeering`](super::LeavePeering), `MayStand` and `PeerLeaves` of links, `ChildDown` of links and of the bases. Out:
/// [`EndFor`] to links. Lost on death: all links, which end with it, and the bases; peers dial again, and so does the next
/// life.
pub struct PeeringActor<R: Reach> {
    reach: R,
    pub(super) options: Options<R::Conn>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) links: BTreeMap<LinkId, Child<R::Conn>>,
    next_link: u32,
    roster: Roster,
    damped: BTreeMap<NodeId, Damping>,
    counters: Counters,
    fib: Arc<watch::Sender<laps_protocol::peering::fib::Fib>>,
    epoch: u64,
    pub(super) bases: Option<(ChildId, Addr<InfoBaseActor>, Credit)>,
    mesh: Option<Ears>,
    bases_tries: Supervisor,
    tally: Tally,
    /// Of whom that was not let in.
    news: Told,
    /// The relay is about to end.
    pub(super) leaving: Option<Leaving>,
    _guard: Option<ChildGuard>,
}

impl<R: Reach> PeeringActor<R> {
    /// A peering in the life `epoch` of the relay; the FIB of every life goes out by `fib`.
    #[must_use]
    pub fn new(
        reach: R,
        options: Options<R::Conn>,
        epoch: u64,
        fib: Arc<watch::Sender<laps_protocol::peering::fib::Fib>>,
        guard: Option<ChildGuard>,
    ) -> Self {
        let wanted = options.targets.iter().flat_map(|(target, links)| {
            (0..*links).map(|number| Wanted {
                target: target.clone(),
                // laps peering, "(2) Data Peering": parallel links are for data; the first is for everything.
                mode: match number {
                    0 => PeerMode::Both,
                    _ if options.data_links_one_way => PeerMode::DataOut,
                    _ => PeerMode::Data,
                },
                tries: tries(options.backoff),
                node: None,
                found: None,
            })
        });
        Self {
            wanted: wanted.collect(),
            links: BTreeMap::new(),
            next_link: 0,
            roster: Roster::new(options.own.id),
            damped: BTreeMap::new(),
            counters: Counters::default(),
            fib,
            epoch,
            bases: None,
            mesh: None,
            bases_tries: Supervisor::new(
                Restart::Permanent,
                Intensity::per_secs(5, 10),
                ANEW,
                rand::random(),
            ),
            leaving: None,
            reach,
            options,
            tally: Tally::default(),
            news: Told::default(),
            _guard: guard,
        }
    }

    /// Counted by this, with the lives before.
    #[must_use]
    pub fn tallied(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    fn start_bases(&mut self, ctx: &mut Context<Self>) {
        let id = ChildId::fresh();
        let birth = bases::Birth {
            node: self.options.own.id,
            role: self.options.own.node_type,
            epoch: self.epoch,
            settings: self.options.settings,
            limits: self.options.limits,
            fib: Arc::clone(&self.fib),
            mesh: self.ears(ctx),
            faults: self.options.faults.clone(),
            log: self.options.log.clone(),
            guard: Some(ChildGuard::new(ctx.address().recipient(), id, "info_base")),
        };
        // New bases say anew what they say: others have to take it for newer.
        self.epoch += 1;
        let mut credit = None;
        let addr = InfoBaseActor::create(|bases| {
            let (_, own) = Wake::<RoomAgain>::new(bases.address().recipient());
            credit = Some(own.clone());
            InfoBaseActor::new(birth).answering(own)
        });
        if let Some(plane) = &self.options.plane {
            plane.speak_by(addr.clone().recipient());
        }
        self.bases = credit.map(|credit| (id, addr, credit));
        self.leave_mesh();
    }

    /// Who serves local users. They outlive bases, and not the other way round: what they have not heard of, nobody tells
    /// them again.
    fn ears(&mut self, ctx: &Context<Self>) -> Option<Ears> {
        if self.mesh.is_none() {
            let make = self.options.mesh.as_ref()?;
            self.mesh = Some(make(self.epoch, ctx.address().recipient()));
        }
        self.mesh.clone()
    }

    pub(super) fn dial(&mut self, index: usize, ctx: &mut Context<Self>) {
        if self.leaves() {
            return;
        }
        let Some(wanted) = self.wanted.get_mut(index) else {
            return;
        };
        if wanted.found.as_mut().is_some_and(Meeting::rests) {
            return;
        }
        // Its peer may have dialled here meanwhile; should that link end, this one is looked at again soon enough.
        let there =
            wanted.mode.has_control() && wanted.node.is_some_and(|node| self.roster.has_control(node));
        if there {
            self.dial_later(index, self.options.backoff.first, ctx);
            return;
        }
        let dialect = match wanted.target.kind {
            PeerKind::Ours => Dialect::Own,
            PeerKind::Laps => Dialect::Laps14,
        };
        let dialling = self.reach.dial(index, &wanted.target).into_actor(self);
        ctx.spawn(dialling.map(move |reached, peering, ctx| match reached {
            Ok(reached) => {
                peering.counters.dialled += 1;
                peering.start_link(reached, Role::Dialler, dialect, Some(index), ctx);
            }
            Err(why) => {
                peering.counters.unreached += 1;
                info!(peering.options.log, "peer not reached"; "why" => why);
                peering.next_address(index);
                peering.dial_again(index, None, ctx);
            }
        }));
    }

    /// After a failure, or the end of a link to `node`.
    fn dial_again(&mut self, index: usize, node: Option<NodeId>, ctx: &mut Context<Self>) {
        let kept_away = node.and_then(|node| self.damped.get_mut(&node)?.wait(now()));
        let Some(wanted) = self.wanted.get_mut(index) else {
            return;
        };
        wanted.node = node.or(wanted.node);
        if let Decision::Restart { after } = wanted.tries.child_down(now(), Exit::Normal) {
            self.dial_later(index, after.max(kept_away.unwrap_or_default()), ctx);
        }
    }

    fn dial_later(&self, index: usize, after: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(after, move |peering, ctx| peering.dial(index, ctx));
    }

    fn start_link(
        &mut self,
        reached: Reached<R::Conn>,
        role: Role,
        dialect: Dialect,
        wanted: Option<usize>,
        ctx: &mut Context<Self>,
    ) {
        let Some((_, bases, credit)) = &self.bases else {
            let code = ErrorCode::Close.number();
            reached.conn.close(code, "the relay cannot take links");
            if let Some(index) = wanted {
                self.dial_again(index, None, ctx);
            }
            return;
        };
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let mode = wanted
            .and_then(|index| self.wanted.get(index))
            .map_or(PeerMode::Both, |wanted| wanted.mode);
        // Who refuses a link does not say who it is, its certificate does.
        let node = reached.conn.named();
        let id = ChildId::fresh();
        let birth = link::Birth {
            link,
            role,
            dialect,
            session: Config {
                // The bases of this life: `epoch` is that of the next.
                epoch: self.epoch.saturating_sub(1),
                mode,
                ..Config::new(self.options.own.clone())
            },
            reached,
            plane: self.options.plane.clone(),
            keep_alive: self.options.keep_alive,
            bases: bases.clone(),
            bell: Wake::sharing(bases.clone().recipient(), credit),
            parent: ctx.address().recipient(),
            leaves: ctx.address().recipient(),
            faults: self.options.faults.clone(),
            log: self.options.log.new(o!("link" => link.0)),
            guard: Some(ChildGuard::new(ctx.address().recipient(), id, "peer_link")),
        };
        let addr = PeerLinkActor::new(birth)
            .tallied(self.tally.clone())
            .telling(self.news.clone())
            .start();
        let child = Child {
            id,
            addr,
            wanted,
            node,
            stood: false,
            on_purpose: false,
        };
        self.links.insert(link, child);
    }

    fn end_link(&mut self, link: LinkId, reason: &'static str) {
        if let Some(child) = self.links.get_mut(&link) {
            child.on_purpose = true;
            let code = ErrorCode::Close;
            signal(&child.addr, EndFor { code, reason });
            // Before its successor is told that it may stand, so that the bases never see two.
            if let Some((_, bases, _)) = &self.bases {
                signal(bases, LinkOver(link));
            }
        }
    }

    fn bases_down(&mut self, down: ChildDown, ctx: &mut Context<Self>) {
        self.bases = None;
        self.counters.bases_failed += 1;
        error!(self.options.log, "information bases failed, all links end"; "exit" => ?down.exit);
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.end_link(link, "the relay begins anew");
        }
        match self.bases_tries.child_down(now(), down.exit) {
            Decision::Restart { after } => {
                restarts::restarted(down.kind);
                ctx.run_later(after, |peering, ctx| peering.start_bases(ctx));
            }
            // The parent's policy decides what that is worth.
            Decision::GiveUp | Decision::Forget => ctx.stop(),
        }
    }
}

impl<R: Reach> Actor for PeeringActor<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        let own = self.options.own.id;
        self.options.faults.attend(ctx, "peering", || own);
        if let Some(runs) = self.options.runs.take() {
            ctx.spawn(runs.into_actor(self));
        }
        self.start_bases(ctx);
        for index in 0..self.wanted.len() {
            self.dial(index, ctx);
        }
        self.begin_meeting(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.end_link(link, "the relay ends its links");
        }
        // Others hold its address, and what it says is of no use to them any more.
        if let Some((_, bases, _)) = self.bases.take() {
            signal(&bases, EndBases);
        }
        let deadline = Duration::ZERO;
        let life = self.mesh.take().and_then(|ears| ears.life);
        for end in life.map(|life| life.end).unwrap_or_default() {
            signal(&end, StopChild { deadline });
        }
    }
}

impl<R: Reach> Handler<Inbound<R::Conn>> for PeeringActor<R> {
    type Result = ();

    fn handle(&mut self, msg: Inbound<R::Conn>, ctx: &mut Self::Context) {
        // laps peering, "Stub": dials out only.
        if self.options.own.node_type == NodeType::Stub {
            self.counters.turned_away += 1;
            let code = ErrorCode::NotAuthorized.number();
            msg.reached.conn.close(code, "a stub takes no peers");
            return;
        }
        if self.leaves() {
            self.counters.turned_away += 1;
            let code = ErrorCode::Close.number();
            msg.reached.conn.close(code, "the relay is about to end");
            return;
        }
        let inbound = self.links.values().filter(|child| child.wanted.is_none()).count();
        if inbound >= self.options.max_inbound {
            self.counters.turned_away += 1;
            let conn = &msg.reached.conn;
            let peer = conn.peer();
            if self
                .news
                .is_news(About::peer(conn.named(), &peer), "too many links", now())
            {
                warn!(self.options.log, "too many links, a peer is turned away"; "peer" => peer);
            }
            conn.close(ErrorCode::Close.number(), "the relay has too many links");
            return;
        }
        self.start_link(msg.reached, Role::Acceptor, msg.dialect, None, ctx);
    }
}

impl<R: Reach> Handler<Reregister> for PeeringActor<R> {
    type Result = ();

    fn handle(&mut self, msg: Reregister, _: &mut Self::Context) {
        if let Some(life) = self.mesh.as_ref().and_then(|ears| ears.life.as_ref()) {
            signal(&life.reregister, msg);
        }
    }
}

impl<R: Reach> Handler<EndPeering> for PeeringActor<R> {
    type Result = ();

    fn handle(&mut self, _: EndPeering, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl<R: Reach> Handler<ChildDown> for PeeringActor<R> {
    type Result = ();

    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        if self.bases.as_ref().is_some_and(|(id, ..)| *id == msg.id) {
            self.bases_down(msg, ctx);
            return;
        }
        let mut links = self.links.iter();
        if let Some(link) = links.find(|(_, child)| child.id == msg.id).map(|(link, _)| *link) {
            self.link_down(link, ctx);
            return;
        }
        // Of who serves local users. What they knew is nowhere else, so all is begun anew.
        error!(self.options.log, "a part of the mesh failed"; "kind" => msg.kind, "exit" => ?msg.exit);
        ctx.stop();
    }
}

/// tokio's clock, so that virtual time reaches policies too.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
