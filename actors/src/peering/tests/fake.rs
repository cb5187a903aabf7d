//! Connections of which both ends are in this process, and a network of relays that dial each other by name.

use crate::discovery::Found;
use crate::peering::link::{Door, Ear, LinkConn, Pen, Pipe, Reached};
use crate::peering::{BACKOFF, Inbound, Options, PeerTarget, PeeringActor, Reach};
use crate::supervise::Faults;
use crate::supervise::mailbox::signal;
use actix::{Actor, Addr};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use laps_protocol::peering::damping;
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::info_base::{Limits, Settings};
use laps_protocol::peering::message::Dialect;
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use slog::{Discard, Logger, o};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// How a connection ended: code and reason.
pub(super) type End = Option<(u64, &'static str)>;

/// What both ends of a connection share.
pub(super) struct Wire {
    /// What arrived at each side.
    heard: [AtomicU64; 2],
    /// A side has sent data.
    pub(super) data: [Arc<Notify>; 2],
    doors: [mpsc::UnboundedSender<Pipe>; 2],
    pub(super) over: watch::Sender<End>,
    /// What is sent vanishes, and nobody is told.
    pub(super) mute: AtomicBool,
    /// All that was written: by which side, and whether it was flushed.
    writes: mpsc::UnboundedSender<(usize, Bytes, bool)>,
}

/// One end of a connection.
#[derive(Clone)]
pub(super) struct FakeConn {
    pub(super) wire: Arc<Wire>,
    side: usize,
    named: Option<NodeId>,
}

/// Every message that is written, in order.
pub(super) type Writes = mpsc::UnboundedReceiver<(usize, Bytes, bool)>;

/// A connection; side 0 dialled. `named` is what each side's peer proves to be.
pub(super) fn connection(named: [Option<NodeId>; 2]) -> ([Reached<FakeConn>; 2], Writes) {
    let (first, at_first) = mpsc::unbounded_channel();
    let (second, at_second) = mpsc::unbounded_channel();
    let (writes, written) = mpsc::unbounded_channel();
    let wire = Arc::new(Wire {
        heard: Default::default(),
        data: Default::default(),
        doors: [first, second],
        over: watch::Sender::new(None),
        mute: AtomicBool::new(false),
        writes,
    });
    let end = |side: usize, door| Reached {
        conn: FakeConn {
            wire: Arc::clone(&wire),
            side,
            named: named[side],
        },
        door: Box::new(FakeDoor {
            streams: door,
            over: wire.over.subscribe(),
        }) as Box<dyn Door + Send>,
        arrivals: Arc::clone(&wire.data[1 - side]),
    };
    ([end(0, at_first), end(1, at_second)], written)
}

impl FakeConn {
    /// Both ends of a new stream, ours first.
    pub(super) fn pipe(&self) -> (Pipe, Pipe) {
        let (out, at_peer) = mpsc::unbounded_channel();
        let (back, at_us) = mpsc::unbounded_channel();
        let half = |side, bytes, coming| -> Pipe {
            let pen = FakePen {
                wire: Arc::clone(&self.wire),
                side,
                bytes,
            };
            let ear = FakeEar {
                coming,
                over: self.wire.over.subscribe(),
            };
            (Box::new(pen), Box::new(ear))
        };
        (half(self.side, out, at_us), half(1 - self.side, back, at_peer))
    }
}

impl LinkConn for FakeConn {
    type Arrivals = Arc<Notify>;

    fn open(&self) -> LocalBoxFuture<'static, Option<Pipe>> {
        let (ours, theirs) = self.pipe();
        let opened = self.wire.doors[1 - self.side].send(theirs).is_ok();
        async move { opened.then_some(ours) }.boxed_local()
    }

    fn first_arrival(data: Arc<Notify>) -> LocalBoxFuture<'static, bool> {
        async move {
            data.notified().await;
            true
        }
        .boxed_local()
    }

    fn close(&self, code: u64, reason: &'static str) {
        self.wire.over.send_if_modified(|over| {
            let first = over.is_none();
            over.get_or_insert((code, reason));
            first
        });
    }

    fn heard(&self) -> u64 {
        self.wire.heard[self.side].load(Relaxed)
    }

    fn srtt(&self) -> Option<Duration> {
        Some(Duration::from_millis(10))
    }

    fn named(&self) -> Option<NodeId> {
        self.named
    }

    fn peer(&self) -> String {
        "fake".to_owned()
    }

    fn ended(&self) -> Option<String> {
        self.wire
            .over
            .borrow()
            .map(|(code, why)| format!("{code}: {why}"))
    }

    fn ended_with(&self) -> Option<u64> {
        self.wire.over.borrow().map(|(code, _)| code)
    }
}

struct FakePen {
    wire: Arc<Wire>,
    side: usize,
    bytes: mpsc::UnboundedSender<Bytes>,
}

impl Pen for FakePen {
    fn write(&mut self, bytes: Bytes, flush: bool) -> LocalBoxFuture<'_, bool> {
        async move {
            if self.wire.over.borrow().is_some() {
                return false;
            }
            self.wire.writes.send((self.side, bytes.clone(), flush)).ok();
            if self.wire.mute.load(Relaxed) {
                return true;
            }
            self.wire.heard[1 - self.side].fetch_add(1, Relaxed);
            self.bytes.send(bytes).is_ok()
        }
        .boxed_local()
    }

    fn reset(&mut self, _: u64) {
        self.bytes = mpsc::unbounded_channel().0;
    }
}

struct FakeEar {
    coming: mpsc::UnboundedReceiver<Bytes>,
    over: watch::Receiver<End>,
}

impl Ear for FakeEar {
    fn read(&mut self) -> LocalBoxFuture<'_, Result<Option<Bytes>, ()>> {
        async move {
            tokio::select! {
                biased;
                bytes = self.coming.recv() => bytes.map(Some).ok_or(()),
                _ = self.over.wait_for(Option::is_some) => Err(()),
            }
        }
        .boxed_local()
    }
}

struct FakeDoor {
    streams: mpsc::UnboundedReceiver<Pipe>,
    over: watch::Receiver<End>,
}

impl Door for FakeDoor {
    fn accept(&mut self) -> LocalBoxFuture<'_, Option<Pipe>> {
        async move {
            tokio::select! {
                biased;
                stream = self.streams.recv() => stream,
                _ = self.over.wait_for(Option::is_some) => None,
            }
        }
        .boxed_local()
    }
}

/// One connection that was made.
pub(super) struct Made {
    pub(super) dialler: NodeId,
    pub(super) target: String,
    pub(super) wire: Arc<Wire>,
    pub(super) writes: RefCell<Writes>,
}

/// A relay, by what it is dialled as.
type Named = (NodeId, Addr<PeeringActor<FakeReach>>);

/// Relays by name.
#[derive(Default)]
pub(super) struct Net {
    relays: RefCell<BTreeMap<String, Named>>,
    pub(super) made: RefCell<Vec<Rc<Made>>>,
    /// How many were made.
    count: watch::Sender<usize>,
    /// Attempts, those in vain included.
    pub(super) dials: Cell<usize>,
    /// What diallers prove to be instead of what they are.
    pub(super) forged: Cell<Option<NodeId>>,
    /// Nobody proves anything, as where `peering.insecure` is set.
    pub(super) insecure: Cell<bool>,
    /// Nobody is reached.
    pub(super) down: Cell<bool>,
    /// Who plays all that is dialled.
    pub(super) played: RefCell<Option<mpsc::UnboundedSender<Reached<FakeConn>>>>,
}

impl Net {
    /// Connections that are up.
    pub(super) fn up(&self) -> Vec<Rc<Made>> {
        let made = self.made.borrow();
        let up = made.iter().filter(|made| made.wire.over.borrow().is_none());
        up.cloned().collect()
    }

    /// Waits until so many connections were made.
    pub(super) async fn until_made(&self, count: usize) {
        let mut made = self.count.subscribe();
        let made = tokio::time::timeout(DEADLINE, made.wait_for(|made| *made >= count)).await;
        made.unwrap().unwrap();
    }

    /// How the last connection ended.
    pub(super) async fn last_end(&self) -> (u64, &'static str) {
        let wire = Arc::clone(&self.made.borrow().last().unwrap().wire);
        let mut over = wire.over.subscribe();
        let over = tokio::time::timeout(DEADLINE, over.wait_for(Option::is_some)).await;
        over.unwrap().unwrap().unwrap()
    }
}

/// How one relay dials.
pub(super) struct FakeReach {
    net: Rc<Net>,
    me: NodeId,
}

impl Reach for FakeReach {
    type Conn = FakeConn;

    fn dial(
        &self,
        _: usize,
        target: &PeerTarget,
    ) -> LocalBoxFuture<'static, Result<Reached<FakeConn>, String>> {
        let (net, me, target) = (Rc::clone(&self.net), self.me, target.clone());
        async move {
            net.dials.set(net.dials.get() + 1);
            tokio::time::sleep(HANDSHAKE).await;
            let name = target.at.host().to_owned();
            let there = net.relays.borrow().get(&name).cloned();
            let Some((there, relay)) = there.filter(|_| !net.down.get()) else {
                return Err(format!("{name} is not reached"));
            };
            let laps = target.kind == crate::peering::PeerKind::Laps;
            let dialect = if laps { Dialect::Laps14 } else { Dialect::Own };
            let named = [Some(there), Some(net.forged.get().unwrap_or(me))];
            let ([ours, theirs], writes) = connection(if laps || net.insecure.get() {
                [None, None]
            } else {
                named
            });
            let made = Made {
                dialler: me,
                target: name,
                wire: Arc::clone(&ours.conn.wire),
                writes: RefCell::new(writes),
            };
            if laps {
                actix_rt::spawn(keep_alive(Arc::clone(&made.wire)));
            }
            net.made.borrow_mut().push(Rc::new(made));
            net.count.send_modify(|count| *count += 1);
            if let Some(played) = &*net.played.borrow() {
                played.send(theirs).ok();
                return Ok(ours);
            }
            signal(
                &relay,
                Inbound {
                    reached: theirs,
                    dialect,
                },
            );
            Ok(ours)
        }
        .boxed_local()
    }
}

/// Of QUIC: what is heard where nobody says PING.
pub(super) async fn keep_alive(wire: Arc<Wire>) {
    while wire.over.borrow().is_none() {
        tokio::time::sleep(Duration::from_millis(75)).await;
        if !wire.mute.load(Relaxed) {
            for heard in &wire.heard {
                heard.fetch_add(1, Relaxed);
            }
        }
    }
}

/// A handshake takes a round trip.
pub(super) const HANDSHAKE: Duration = Duration::from_millis(10);

pub(super) const DEADLINE: Duration = Duration::from_secs(600);

/// What a relay of a test is.
pub(super) struct Plan {
    pub(super) id: NodeId,
    pub(super) role: NodeType,
    pub(super) targets: Vec<(PeerTarget, u32)>,
    pub(super) one_way: bool,
    pub(super) found: Option<watch::Receiver<Found>>,
    pub(super) max_inbound: usize,
    pub(super) faults: Faults,
    pub(super) contact: &'static str,
    /// Relays that began later have a greater one.
    pub(super) life: u64,
    pub(super) log: Logger,
}

/// One relay of a test.
pub(super) struct Relay {
    pub(super) fib: watch::Receiver<Fib>,
    pub(super) peering: Addr<PeeringActor<FakeReach>>,
}

pub(super) fn id(low: u64) -> NodeId {
    NodeId(1 << 32 | low)
}

pub(super) fn plan(low: u64, targets: &[&str]) -> Plan {
    Plan {
        id: id(low),
        role: NodeType::Edge,
        targets: targets
            .iter()
            .map(|target| (target.parse().unwrap(), 1))
            .collect(),
        one_way: false,
        found: None,
        max_inbound: 100,
        faults: Faults::default(),
        contact: "",
        life: 1000 * id(low).0,
        log: Logger::root(Discard, o!()),
    }
}

/// Starts a relay under a name.
pub(super) fn start(net: &Rc<Net>, name: &str, plan: Plan) -> Relay {
    let (fib, seen) = watch::channel(Fib::default());
    let reach = FakeReach {
        net: Rc::clone(net),
        me: plan.id,
    };
    let options = Options {
        own: NodeInfo::new(plan.id, plan.role, Bytes::from_static(plan.contact.as_bytes())),
        targets: plan.targets,
        data_links_one_way: plan.one_way,
        found: plan.found,
        max_inbound: plan.max_inbound,
        keep_alive: Duration::from_millis(75),
        damping: damping::Settings::default(),
        settings: Settings::default(),
        limits: Limits::default(),
        backoff: BACKOFF,
        plane: None,
        runs: None,
        mesh: None,
        faults: plan.faults,
        log: plan.log,
    };
    let peering = PeeringActor::new(reach, options, plan.life, Arc::new(fib), None).start();
    let entry = (plan.id, peering.clone());
    net.relays.borrow_mut().insert(name.to_owned(), entry);
    Relay { fib: seen, peering }
}

impl Relay {
    /// Waits until data for a node goes to this neighbour, or nowhere.
    pub(super) async fn reaches(&mut self, node: u64, next: Option<u64>) {
        let reached = self.fib.wait_for(|fib| fib.next_node(id(node)) == next.map(id));
        tokio::time::timeout(DEADLINE, reached).await.unwrap().unwrap();
    }
}
