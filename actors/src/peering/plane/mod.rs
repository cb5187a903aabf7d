//! The data of all links of this relay: sets of nodes, streams and datagrams from link to link, and what of them is this
//! relay's own. laps peering, "Data Forwarding".
//!
//! ```text
//!            FIB ⇢ watch ─┐                                    ┌─▶ TellSets ⇢⇢▶ the link's actor, its control stream
//!  links, sets of peers ──┴─▶ Plane ── NodeSets ───────────────┼─▶ TrackRerouted ⇢⇢▶ whoever serves this relay's tracks
//!                                                              └─▶ route ─▶ LinkIn, one for each link
//!
//!  QUIC ⇢ Door ─▶ Flow, a task for each stream: read ─▶ Ingress (machine) ─┬─▶ Lane ─▶ Gate of the other link ⇢ QUIC
//!             │                                                             └─▶ Local ─▶ session::ingress ⇢⇢▶ TrackActor
//!             └─ datagrams and timers of the link
//! ```
//!
//! Everything is on one thread, so a piece of a stream goes from the link that it came by to those that it leaves by in one
//! run of one task, without a message, a copy or a timer. The task of a stream owns both ends: its source is stopped and its
//! targets are reset however it ends. A relay in between reads data headers and nothing else.
//!
//! Lost with a [`Plane`]: all links' data. Whoever made it makes another, and the links begin anew.

mod bindings;
mod counters;
mod door;
mod fetches;
mod flow;
mod inlet;
mod lane;
mod link;
mod local;
mod messages;
mod once;
mod out;
mod sets;
#[cfg(test)]
mod tests;
mod urgency;

pub use bindings::Bindings;
pub use bindings::Counts as BindingCounts;
pub use counters::Counts;
pub use fetches::Fetches;
pub(crate) use inlet::LinkInlet;
pub use messages::{TellSets, TrackRerouted, WaysCut};
pub(crate) use out::aside;
pub use out::{LinkOut, OutRoute, unicast};

use crate::census;
use crate::limits::{Account, PerKind, Share, UNLIMITED};
use crate::peering::mesh::SendToNode;
use crate::session::egress::{Egress, SendPolicy};
use crate::supervise::{Faults, mailbox};
use crate::transport::{ConnHandle, DatagramReceiver, UniAcceptor};
use actix::Recipient;
use door::{Door, fail};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::DataLimits;
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::forward::{self, LinkId, NodeSets};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{Dialect, NodeSet, SnsId};
use laps_protocol::peering::node::{NodeId, NodeType};
use link::{LinkIn, Shared};
use once::Once;
use out::Backlog;
use sets::{Core, TURN};
use slog::{Logger, o};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use urgency::Urgencies;

/// How data is handed on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bounds of what is handed on.
    pub forward: forward::Limits,
    /// Bounds of MOQT's data that is this relay's own.
    pub data: DataLimits,
    /// How long the header of a stream that is this relay's own may take.
    pub header_timeout: Duration,
    /// How long data that is this relay's own may wait for its track.
    pub binding_wait: Duration,
    /// What the peer of one link may make this relay hold.
    pub per_link: PerKind<u64>,
    /// Bytes of streams from other links that may wait for one link, all together; with more, the stream that has more for
    /// it is reset there.
    pub max_link_backlog: u64,
    /// In which order a link sends.
    pub send_policy: SendPolicy,
}

impl Default for Config {
    fn default() -> Self {
        let mut forward = forward::Limits::default();
        // A link that is further away than another one takes an object of some megabytes as fast as its path is, and what
        // the nearer one has already waits for it: as much as a stream of either may have under way, and as much again.
        forward.max_waiting_bytes = 8 << 20;
        Self {
            forward,
            data: DataLimits::default(),
            header_timeout: Duration::from_secs(10),
            // As long as data waits for its set.
            binding_wait: Duration::from_secs(2),
            per_link: PerKind {
                // As many as the transport lets a peer open.
                streams: 100_000,
                early_streams: 1024,
                early_bytes: 4 << 20,
                ..PerKind::all(UNLIMITED)
            },
            max_link_backlog: 64 << 20,
            send_policy: SendPolicy::default(),
        }
    }
}

/// What a plane is made of.
#[derive(Debug)]
pub struct Birth {
    /// This relay.
    pub me: NodeId,
    /// What it is.
    pub role: NodeType,
    /// Which links lead where.
    pub fib: watch::Receiver<Fib>,
    /// Of the MOQT bytes on links.
    pub codec: Codec,
    /// Its bounds.
    pub config: Config,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Where it logs.
    pub log: Logger,
}

/// A link that carries data, as it is when it comes to stand.
#[derive(Debug)]
pub struct LinkBirth {
    /// Which link, a number that no link had before.
    pub link: LinkId,
    /// Who is at the other end.
    pub peer: NodeId,
    /// Whether that is a stub of this relay, which speaks for itself alone.
    pub stub: bool,
    /// What is spoken.
    pub dialect: Dialect,
    /// Its connection.
    pub conn: ConnHandle,
    /// Streams that the peer opens. Those that came before the link stood wait there. None where it opens none.
    pub uni: Option<UniAcceptor>,
    /// Datagrams that the peer sends; none where it sends none.
    pub datagrams: Option<DatagramReceiver>,
    /// Its actor, which tells the peer of sets.
    pub tell: Recipient<TellSets>,
}

/// The links that stand.
type Links = Rc<RefCell<BTreeMap<LinkId, Rc<LinkIn>>>>;

/// The data of all links, on the arbiter of the peering. Clones are the same; none of its methods calls back.
#[derive(Clone)]
pub struct Plane(Rc<Inner>);

struct Inner {
    core: RefCell<Core>,
    links: Links,
    fib: watch::Receiver<Fib>,
    /// Told when a timer is due earlier than before, and when links are to be told something.
    stirred: Notify,
    armed: Cell<Option<Instant>>,
    /// Counted by links that are over.
    past: RefCell<Counts>,
    /// Whose tracks the data of other nodes is for.
    users: RefCell<Option<Recipient<WaysCut>>>,
    codec: Codec,
    shared: Shared,
    log: Logger,
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane").finish_non_exhaustive()
    }
}

impl Plane {
    /// One without links.
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        let Birth {
            me,
            role,
            fib,
            codec,
            config,
            faults,
            log,
        } = birth;
        let links = Links::default();
        let sets = NodeSets::new(me, role, config.forward.clone(), fib.borrow().clone());
        Self(Rc::new(Inner {
            core: RefCell::new(Core::new(sets, Rc::clone(&links))),
            links,
            fib,
            stirred: Notify::new(),
            armed: Cell::new(None),
            past: RefCell::default(),
            users: RefCell::default(),
            codec,
            shared: Shared {
                config,
                bindings: Bindings::default(),
                fetches: Fetches::default(),
                faults,
            },
            log,
        }))
    }

    /// Follows the FIB and the timers of the sets, until it is dropped. Whoever made the plane runs it, so that a panic in it
    /// is one of its owner's.
    pub async fn run(self) {
        let mut fib = self.0.fib.clone();
        // What came since the plane was made is taken too.
        fib.mark_changed();
        let faults = self.0.shared.faults.clone();
        let mut failing = pin!(faults.attended("plane"));
        loop {
            let armed = self.0.core.borrow().sets.poll_timeout();
            self.0.armed.set(armed);
            let sleep = async {
                match armed {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = fib.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let routes = fib.borrow_and_update().clone();
                    self.0.with(|core| core.sets.set_routes(routes));
                }
                () = sleep => self.0.with(|_| ()),
                () = self.0.stirred.notified() => {}
                never = &mut failing => match never {},
            }
            faults.check("plane");
            if self.0.core.borrow().sets.is_behind() {
                self.0.with(|core| core.sets.allow(TURN));
                // Liveness of all links is on this thread.
                tokio::task::yield_now().await;
            }
            // Once for all that happened in a turn: several changes of a set are one for its peer.
            self.0.core.borrow_mut().tell();
        }
    }

    /// A link over which data may go stands. Nothing when it stands already.
    pub fn link_up(&self, birth: LinkBirth) {
        let inner = &self.0;
        let LinkBirth {
            link,
            peer,
            stub,
            dialect,
            conn,
            uni,
            datagrams,
            tell,
        } = birth;
        if inner.links.borrow().contains_key(&link) {
            return;
        }
        let config = &inner.shared.config;
        // laps peering, "Data Header Messages": a laps relay needs both headers of a stream in one piece.
        let send_policy = if dialect == Dialect::Own {
            config.send_policy
        } else {
            SendPolicy::OneByOne
        };
        let egress = Egress::new(conn.clone(), inner.codec, send_policy);
        let out = LinkOut {
            link,
            peer,
            dialect,
            egress: egress.clone(),
            account: Account::new(config.per_link, Share::unbounded()),
            codec: inner.codec,
            conn: conn.clone(),
            backlog: Backlog::new(config.max_link_backlog),
            urgencies: Urgencies::default(),
        };
        let once = Once::new(inner.log.new(o!("link" => link.0, "node" => peer.to_string())));
        let (links, shared) = (Rc::clone(&inner.links), inner.shared.clone());
        let state = LinkIn::new(out, tell, links, shared, once);
        let faults = &inner.shared.faults;
        let at = |kind| faults.at(kind, || conn.peer_name());
        let door = Door::new(Rc::clone(&state), uni, datagrams, at("plane_link"));
        actix_rt::spawn(door);
        let fails = conn.clone();
        actix_rt::spawn(egress.run(move |_| fail(&fails), at("egress")));
        inner.links.borrow_mut().insert(link, state);
        for other in inner.links() {
            other.other_up(link);
        }
        inner.with(|core| core.link_up(link, peer, (stub, dialect != Dialect::Own)));
    }

    /// A link is over, if it stood: its streams are reset where they went, and those that went there are let go of.
    pub fn link_down(&self, link: LinkId) {
        let inner = &self.0;
        let gone = inner.links.borrow_mut().remove(&link);
        let Some(gone) = gone else { return };
        gone.close();
        *inner.past.borrow_mut() += gone.counts();
        for other in inner.links() {
            other.other_down(link);
        }
        let cut = gone.origins();
        inner.with(|core| core.forget_link(link));
        if !cut.is_empty()
            && let Some(users) = &*inner.users.borrow()
        {
            mailbox::signal(users, WaysCut(cut));
        }
    }

    /// The peer of a link told a set, new or changed.
    pub fn advertised(&self, link: LinkId, set: &NodeSet) {
        self.0.with(|core| core.sets.advertised(link, set));
    }

    /// The peer of a link withdrew a set.
    pub fn withdrawn(&self, link: LinkId, sns: SnsId) {
        self.0.with(|core| core.withdrawn(link, sns, now()));
    }

    /// The peer of a link, a laps relay, has read a set, as far as one can know.
    pub fn set_delivered(&self, link: LinkId, sns: SnsId) {
        self.0.with(|core| core.sets.set_delivered(link, sns));
    }

    /// What the peer of a link was told may be lost, and what it told: it is told everything anew, and what it does not tell
    /// anew in time is over.
    pub fn say_all_again(&self, link: LinkId) {
        let told = self.0.with(|core| {
            core.sets.control_moved(link, now());
            core.tell();
            core.told_on(link)
        });
        let state = self.0.links.borrow().get(&link).cloned();
        if let Some(state) = state.filter(|_| !told.is_empty()) {
            state.tell(told);
        }
    }

    /// The nodes that are to get a track of which this relay has the data, each with its subscriber priority. None ends it.
    pub fn set_targets(&self, track: FullNameHash, nodes: BTreeMap<NodeId, u8>) {
        self.0.with(|core| core.sets.set_targets(track, nodes));
    }

    /// The links that data of a track of this relay takes from its next stream on. A change is told by [`TrackRerouted`].
    #[must_use]
    pub fn route(&self, track: FullNameHash) -> Vec<OutRoute> {
        self.0.core.borrow_mut().route(track)
    }

    /// The nodes to which links lead again that none led to for a while, since that was asked last for this track: what of it
    /// was made meanwhile went nowhere. Told of by [`TrackRerouted`].
    #[must_use]
    pub fn take_back(&self, track: FullNameHash) -> BTreeSet<NodeId> {
        self.0.core.borrow_mut().take_back(track)
    }

    /// Who takes to other nodes what this relay has to say of their data.
    pub fn speak_by(&self, bases: Recipient<SendToNode>) {
        self.0.core.borrow_mut().speak_by(bases);
    }

    /// Who is told when a route of this relay's own tracks changes.
    pub fn tell_origin(&self, origin: Recipient<TrackRerouted>) {
        self.0.core.borrow_mut().tell_origin(origin);
    }

    /// Who is told of links that died with data of other nodes on them.
    pub fn tell_users(&self, users: Recipient<WaysCut>) {
        self.0.users.replace(Some(users));
    }

    /// A link, while it stands.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<LinkOut> {
        self.0.links.borrow().get(&link).map(|link| link.out.clone())
    }

    /// Where data that is this relay's own goes.
    #[must_use]
    pub fn bindings(&self) -> Bindings {
        self.0.shared.bindings.clone()
    }

    /// Who wants what the FETCHes of this relay bring.
    #[must_use]
    pub fn fetches(&self) -> Fetches {
        self.0.shared.fetches.clone()
    }

    /// Whether any of the links is needed: a peer sends something here that is for others, a stream of one goes on by another,
    /// or the stack has something that has not left.
    #[must_use]
    pub fn carries_for_others(&self) -> bool {
        let busy = |link: &Rc<LinkIn>| link.out.backlog.lanes() > 0 || link.out.conn.stats().unsent() > 0;
        self.0.core.borrow().sets.leads_on() || self.0.links.borrow().values().any(busy)
    }

    /// That of the slowest link; zero without one.
    #[must_use]
    pub fn longest_round_trip(&self) -> Duration {
        let links = self.0.links.borrow();
        let times = links.values().filter_map(|link| link.out.conn.rtt());
        times.max().unwrap_or_default()
    }

    /// How often something happened, all links together.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = *self.0.past.borrow();
        counts.forward += *self.0.core.borrow().sets.counters();
        for link in self.0.links() {
            counts += link.counts();
        }
        counts
    }

    /// How full its tables are: all are empty when no link carries anything.
    #[must_use]
    pub fn census(&self) -> Vec<(&'static str, u64)> {
        let (streams, waiting, waiting_bytes) = self.sizes();
        let (bound, early_streams, early_datagrams) = self.0.shared.bindings.sizes();
        let (told, taken) = self.0.core.borrow().sizes(self.0.links.borrow().keys());
        vec![
            census::row("peering_streams", streams),
            census::row("peering_waiting", waiting),
            census::row("peering_waiting_bytes", waiting_bytes),
            census::row("peering_sets_told", told),
            census::row("peering_sets_taken", taken),
            census::row("peering_bindings", bound),
            census::row("peering_early", early_streams + early_datagrams),
            census::row("peering_fetches", self.0.shared.fetches.len()),
        ]
    }

    /// Streams of peers that are not over, and what waits for its set: how much, and how many bytes. All links together.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        let sizes = self.0.links().into_iter().map(|link| link.sizes());
        sizes.fold((0, 0, 0), |sum, (streams, items, bytes)| {
            (sum.0 + streams, sum.1 + items, sum.2 + bytes)
        })
    }
}

impl Inner {
    fn links(&self) -> Vec<Rc<LinkIn>> {
        self.links.borrow().values().cloned().collect()
    }

    /// Gives the sets an input, and does what comes out of them.
    fn with<T>(&self, input: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.borrow_mut();
        let result = input(&mut core);
        let tells = core.drain(now());
        let due = core.sets.poll_timeout();
        let behind = core.sets.is_behind();
        drop(core);
        if tells || behind || due.is_some_and(|due| self.armed.get().is_none_or(|armed| due < armed)) {
            self.stirred.notify_one();
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Tasks outlive whoever started them.
        for (_, link) in std::mem::take(&mut *self.links.borrow_mut()) {
            link.close();
        }
    }
}

/// tokio's clock, so that virtual time reaches the machines too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
