//! One link as data sees it: what comes in by it, and where that goes.

use super::bindings::Bindings;
use super::counters::Counts;
use super::fetches::Fetches;
use super::flow::Flow;
use super::inlet::{LinkInlet, Whose};
use super::once::Once;
use super::out::LinkOut;
use super::{Config, Links, TellSets, now};
use crate::session::egress::KeptWaker;
use crate::session::inbound::Inbound;
use crate::session::ingress::Ingress as Reader;
use crate::supervise::{FaultPoint, Faults, mailbox};
use crate::transport::{DatagramError, RecvGuard};
use actix::Recipient;
use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader};
use laps_protocol::peering::forward::ingress::{Output, StopCause};
use laps_protocol::peering::forward::pipeline::Step;
use laps_protocol::peering::forward::{InStream, Ingress, LinkId, Route, Target};
use laps_protocol::peering::message::{Message, SnsId};
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::draining::Progress;
use laps_protocol::relay::scheduler::{DEFAULT_PRIORITY, Place, SendOrder};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What is to be done for one stream of the peer, by its task. A pipeline bounds it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) steps: RefCell<VecDeque<(Target, Step)>>,
    /// The peer is to send no more of it, with this code.
    pub(super) stop: Cell<Option<u64>>,
    /// The link is over: nothing more is read.
    pub(super) cut: Cell<bool>,
    pub(super) waker: KeptWaker,
}

/// One link that stands.
pub(super) struct LinkIn {
    pub(super) out: LinkOut,
    tell: Recipient<TellSets>,
    links: Links,
    ingress: RefCell<Ingress>,
    slots: RefCell<HashMap<InStream, Rc<Slot>>>,
    /// Whose publishers the data of an id comes from, as far as anybody says.
    origins: RefCell<HashMap<SnsId, NodeId>>,
    next_stream: Cell<u64>,
    /// When the link's task looks at its timers.
    armed: Cell<Option<Instant>>,
    /// The link's task.
    pub(super) clock: KeptWaker,
    pub(super) over: Cell<bool>,
    counts: RefCell<Counts>,
    inbound: Inbound,
    pub(super) local: Shared,
    pub(super) once: Once,
    pub(super) fault: FaultPoint,
}

/// What all links of a plane share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) bindings: Bindings,
    pub(super) fetches: Fetches,
    pub(super) faults: Faults,
}

impl LinkIn {
    pub(super) fn new(
        out: LinkOut,
        tell: Recipient<TellSets>,
        links: Links,
        local: Shared,
        once: Once,
    ) -> Rc<Self> {
        let mut ingress = Ingress::new(local.config.forward.clone());
        for (link, _) in links.borrow().iter() {
            // What is too large for a path now may not be so a moment later: the connection says it of each datagram.
            ingress.set_datagram_bytes(*link, usize::MAX);
        }
        let inbound = Inbound::new(out.account.clone(), once.log().clone());
        let fault = local.faults.at("plane_stream", || out.conn.peer_name());
        Rc::new(Self {
            ingress: RefCell::new(ingress),
            slots: RefCell::default(),
            origins: RefCell::default(),
            next_stream: Cell::new(0),
            armed: Cell::new(None),
            clock: KeptWaker::default(),
            over: Cell::new(false),
            counts: RefCell::default(),
            inbound,
            out,
            tell,
            links,
            local,
            once,
            fault,
        })
    }

    /// Tells the peer of sets.
    pub(super) fn tell(&self, messages: Vec<Message>) {
        mailbox::signal(&self.tell, TellSets(messages));
    }

    /// Another link, if it stands.
    pub(super) fn other(&self, link: LinkId) -> Option<Rc<Self>> {
        self.links.borrow().get(&link).cloned()
    }

    /// The peer opened a stream.
    pub(super) fn accept(self: &Rc<Self>, stream: RecvGuard) {
        let id = InStream(self.next_stream.get());
        self.next_stream.set(id.0 + 1);
        let slot = Rc::<Slot>::default();
        self.slots.borrow_mut().insert(id, Rc::clone(&slot));
        self.ingress.borrow_mut().opened(id);
        let flow = Flow::new(Rc::clone(self), id, slot, stream);
        self.drain(Some(id));
        actix_rt::spawn(flow);
    }

    /// Whether more of a stream is to be read.
    pub(super) fn wants(&self, stream: InStream) -> bool {
        self.ingress.borrow().wants_data(stream)
    }

    /// Whether a stream waits for its set.
    pub(super) fn waits(&self, stream: InStream) -> bool {
        self.ingress.borrow().parked().bytes_of(stream).is_some()
    }

    pub(super) fn bytes(&self, stream: InStream, bytes: Bytes, now: Instant) {
        self.ingress.borrow_mut().bytes(stream, bytes, now);
    }

    pub(super) fn fin(&self, stream: InStream) {
        self.ingress.borrow_mut().fin(stream);
    }

    pub(super) fn reset(&self, stream: InStream, code: u64) {
        self.ingress.borrow_mut().reset(stream, code);
    }

    pub(super) fn taken(&self, stream: InStream, taken: &[(Target, u64)]) {
        self.ingress.borrow_mut().taken(stream, taken);
    }

    /// A target has too much that waits for its link.
    pub(super) fn crowded(&self, stream: InStream, to: LinkId) {
        self.counts.borrow_mut().lanes_crowded += 1;
        self.once.warn("too much waits for another link", &to.0);
        self.target_stopped(stream, Target::Link(to));
    }

    pub(super) fn target_stopped(&self, stream: InStream, target: Target) {
        self.ingress.borrow_mut().target_stopped(stream, target);
    }

    /// The task of a stream is over. Called as it is dropped, so it cannot fail.
    pub(super) fn forget(&self, stream: InStream) {
        let slot = self.slots.try_borrow_mut();
        drop(slot.map(|mut slots| slots.remove(&stream)));
        if let Ok(mut ingress) = self.ingress.try_borrow_mut() {
            ingress.reset(stream, 0);
        }
    }

    /// The peer sent a datagram.
    pub(super) fn datagram(&self, datagram: Bytes) {
        self.ingress.borrow_mut().datagram(datagram, now());
        self.drain(None);
    }

    /// The data of an id takes this route from now on.
    pub(super) fn set_route(&self, sns: SnsId, route: Arc<Route>, origin: Option<NodeId>) {
        match origin {
            Some(origin) => drop(self.origins.borrow_mut().insert(sns, origin)),
            None => drop(self.origins.borrow_mut().remove(&sns)),
        }
        self.ingress.borrow_mut().set_route(sns, route);
        self.drain(None);
        self.arm();
    }

    /// Whose data comes by it, as far as anybody says.
    pub(super) fn origins(&self) -> BTreeSet<NodeId> {
        self.origins.borrow().values().copied().collect()
    }

    /// The peer has withdrawn an id.
    pub(super) fn withdrawn(&self, sns: SnsId) {
        self.ingress.borrow_mut().withdrawn(sns);
    }

    /// How far the data of an id is.
    pub(super) fn progress(&self, sns: SnsId) -> Progress {
        self.ingress.borrow_mut().progress(sns)
    }

    /// An id stands for nothing any more.
    pub(super) fn remove_route(&self, sns: SnsId) {
        self.origins.borrow_mut().remove(&sns);
        self.ingress.borrow_mut().remove_route(sns);
    }

    /// Another link stands.
    pub(super) fn other_up(&self, link: LinkId) {
        self.ingress.borrow_mut().set_datagram_bytes(link, usize::MAX);
    }

    /// Another link is over.
    pub(super) fn other_down(&self, link: LinkId) {
        self.ingress.borrow_mut().link_down(link);
        self.drain(None);
    }

    /// This link is over: its streams are reset where they went, and its tasks end.
    pub(super) fn close(&self) {
        self.over.set(true);
        self.out.egress.close();
        self.ingress.borrow_mut().closed();
        self.drain(None);
        for slot in self.slots.borrow().values() {
            slot.cut.set(true);
            slot.waker.wake();
        }
        self.clock.wake();
    }

    /// Does what is due, and hands on what there is to do to the tasks of the streams. That of `running` needs no wake.
    pub(super) fn drain(&self, running: Option<InStream>) {
        let mut ingress = self.ingress.borrow_mut();
        let now = now();
        self.local.bindings.sweep(now);
        while let Some(output) = ingress.poll_output(now) {
            match output {
                Output::Send { stream, target, step } => {
                    self.with_slot(stream, running, |slot| {
                        slot.steps.borrow_mut().push_back((target, step));
                    });
                }
                Output::Stop { stream, why } => {
                    self.note(&why);
                    let code = why.code().number();
                    self.with_slot(stream, running, |slot| slot.stop.set(Some(code)));
                }
                Output::Resume { stream } => self.with_slot(stream, running, |_| ()),
                Output::Datagram {
                    target,
                    header,
                    payload,
                    expires,
                } => {
                    // laps peering, "SNS Advertisement": one that waited for its set may be too old by now.
                    if expires > now {
                        self.send_datagram(target, header, payload, (now, expires));
                    } else {
                        self.counts.borrow_mut().datagrams_expired += 1;
                    }
                }
                Output::Foreign { sns, bound, found } => {
                    let why = format!("id {sns} stands for {:x}, not for {:x}", bound.get(), found.get());
                    self.once
                        .warn("data of another track than that of its SNS id", &why);
                }
                Output::BadDatagram(error) => self.once.warn("a datagram without a whole header", &error),
                _ => {}
            }
        }
    }

    fn with_slot(&self, stream: InStream, running: Option<InStream>, act: impl FnOnce(&Slot)) {
        if let Some(slot) = self.slots.borrow().get(&stream) {
            act(slot);
            if running != Some(stream) {
                slot.waker.wake();
            }
        }
    }

    fn note(&self, why: &StopCause) {
        match why {
            StopCause::BadStart(error) => self.once.warn("a stream does not begin as it has to", error),
            StopCause::TooMany | StopCause::Crowded | StopCause::NoSet => {
                self.once.warn("a stream is refused", why);
            }
            // Said by itself, or no fault.
            StopCause::Foreign | StopCause::Nowhere | StopCause::Unwanted => {}
            _ => {}
        }
    }

    fn send_datagram(
        &self,
        target: Target,
        header: DatagramHeader,
        payload: Bytes,
        (now, until): (Instant, Instant),
    ) {
        match target {
            Target::Local => self.take_datagram(header, payload, now),
            Target::Link(link) => {
                let Some(other) = self.other(link) else { return };
                let mut datagram = BytesMut::with_capacity(DatagramHeader::LEN + payload.len());
                datagram.put_slice(&header.encode());
                datagram.put(payload);
                // Its publisher's priority is MOQT's, which nobody in between reads.
                let order = SendOrder {
                    subscriber: other.out.urgencies.of(header.sns),
                    publisher: DEFAULT_PRIORITY,
                    request: RequestId(u64::from(header.sns.get())),
                    place: Place::new(GroupOrder::Ascending, 0, 0),
                };
                let mut counts = self.counts.borrow_mut();
                match other
                    .out
                    .conn
                    .send_datagram_until(Some(until), order, datagram.freeze())
                {
                    Ok(()) => counts.datagrams_sent += 1,
                    // laps peering, "Datagram Data": what is too large for the next link is dropped.
                    Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported) => {
                        counts.datagrams_too_large += 1;
                    }
                    Err(DatagramError::Full) => counts.datagrams_crowded += 1,
                    Err(DatagramError::Connection(_)) => {}
                }
            }
        }
    }

    /// A datagram is this relay's own.
    fn take_datagram(&self, header: DatagramHeader, payload: Bytes, now: Instant) {
        let config = &self.local.config;
        let object = match self.out.codec.decode_datagram(payload, &config.data) {
            Ok(object) => object,
            Err(error) => {
                self.counts.borrow_mut().datagrams_unread += 1;
                return self.once.warn("a datagram of a link is not MOQT's", &error.what);
            }
        };
        let whose = self.whose(header.sns, header);
        let until = now.checked_add(config.binding_wait).unwrap_or(now);
        let bindings = &self.local.bindings;
        let account = &self.out.account;
        if let Err(full) = bindings.datagram(whose, object, account, until) {
            account.note(self.once.log(), full);
        }
    }

    fn whose(&self, sns: SnsId, header: DatagramHeader) -> Whose {
        Whose {
            track: header.track,
            origin: self.origins.borrow().get(&sns).copied(),
        }
    }

    /// What reads a stream that is this relay's own. MOQT's bytes are read behind the data header.
    pub(super) fn reader(&self, header: StreamHeader) -> Reader {
        let StreamHeader { sns, track, .. } = header;
        let Shared {
            config,
            bindings,
            fetches,
            faults,
        } = &self.local;
        let inlet = LinkInlet {
            bindings: bindings.clone(),
            fetches: fetches.clone(),
            whose: self.whose(sns, DatagramHeader { sns, track }),
            account: self.out.account.clone(),
            once: self.once.clone(),
        };
        Reader {
            inlet: Rc::new(inlet).into(),
            codec: self.out.codec,
            limits: config.data,
            header_timeout: config.header_timeout,
            alias_wait: config.binding_wait,
            inbound: self.inbound.clone(),
            fault: faults.at("ingress", || self.out.conn.peer_name()),
        }
    }

    /// Has the link's task look when the first timer is due, if it would look later.
    pub(super) fn arm(&self) {
        let Some(due) = self.due() else { return };
        if self.armed.get().is_none_or(|armed| due < armed) {
            self.armed.set(Some(due));
            self.clock.wake();
        }
    }

    /// When the link's task has something to do; it looks then, and not before it is told so.
    pub(super) fn armed(&self) -> Option<Instant> {
        let due = self.due();
        self.armed.set(due);
        due
    }

    fn due(&self) -> Option<Instant> {
        let due = self.ingress.borrow().poll_timeout();
        due.into_iter().chain(self.local.bindings.due()).min()
    }

    /// How often something happened.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = *self.counts.borrow();
        counts.forward += *self.ingress.borrow().counters();
        counts
    }

    /// Streams that are not over, and what waits for its set (items, bytes).
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let ingress = self.ingress.borrow();
        let parked = ingress.parked();
        (self.slots.borrow().len(), parked.len(), parked.bytes())
    }
}
