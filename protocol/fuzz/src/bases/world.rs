//! The relays, the wires between them, and what each relay told its local users.

mod outputs;

use super::refused;
use bytes::Bytes;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::info_base::*;
use laps_protocol::peering::message::{
    Dialect, Message, PeerMode, Published, encode_subscribe_data, laps_subscribe,
};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Relays from this one on are stubs.
pub(super) const EDGES: usize = 5;
/// Between which relays there are wires.
const ENDS: [[usize; 2]; WIRES] = [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 0],
    [0, 2],
    [3, 4],
    [4, 1],
    [0, 5],
    [1, 6],
    [1, 5],
];
pub(super) const WIRES: usize = 10;
/// A second way to a stub, which is joined only where somebody says so.
const SECOND: usize = 9;

/// What the local users of a relay were told.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) reachable: BTreeMap<NodeId, NodeType>,
    /// Whether relays of ours lead there all the way.
    pub(super) ours: BTreeMap<NodeId, bool>,
    pub(super) publishes: BTreeMap<(NodeId, Published), u32>,
    pub(super) subscribes: BTreeMap<(NodeId, FullNameHash), Bytes>,
    fib: Fib,
}

impl View {
    pub(super) fn is_empty(&self) -> bool {
        self.reachable.is_empty() && self.publishes.is_empty() && self.subscribes.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: NodeId,
    pub(super) role: NodeType,
    pub(super) base: InfoBase,
    pub(super) published: BTreeSet<Published>,
    pub(super) subscribed: BTreeMap<FullTrackName, Bytes>,
    pub(super) watched: BTreeSet<TrackNamespace>,
    pub(super) view: View,
    /// Those it was given and did not refuse.
    pub(super) links: BTreeMap<LinkId, (NodeId, PeerMode)>,
    epoch: u64,
}

#[derive(Debug)]
enum Payload {
    Control(Message, Stamp),
    Own(OwnMessage),
    Node(NodeId, NodeMessage, u32),
}

#[derive(Debug, Default)]
pub(super) struct Wire {
    /// None while it is cut.
    pub(super) link: Option<LinkId>,
    /// Which ends do not know yet that the link before was cut.
    notices: [Option<LinkId>; 2],
    /// What is on its way to each end.
    queues: [VecDeque<Payload>; 2],
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) relays: Vec<Relay>,
    pub(super) wires: Vec<Wire>,
    /// Links to peers that are not to be trusted, and the relay at our end.
    pub(super) hostile: BTreeMap<LinkId, usize>,
    next_link: u32,
    /// Nobody said what is not so, and nothing happened that leaves it open what is right.
    pub(super) honest: bool,
    pub(super) infos_sent: u64,
    pub(super) pulls_sent: u64,
    pub(super) delivered: u64,
    limits: Limits,
    modes: u8,
}

fn namespace(fields: &[&'static str]) -> TrackNamespace {
    TrackNamespace::new(fields.iter().map(|field| Bytes::from_static(field.as_bytes()))).unwrap()
}

/// Namespaces that lie in each other; the last two have one hash.
pub(super) fn space(choice: usize) -> TrackNamespace {
    namespace([&["a"][..], &["a", "b"], &["c"], &["x", "yz"], &["xy", "z"]][choice % 5])
}

/// Tracks in them; those from 6 on have one hash.
pub(super) fn track(choice: usize) -> FullTrackName {
    let (space_of, name) = [
        (0, "t"),
        (1, "t"),
        (1, "u"),
        (2, "t"),
        (2, "u"),
        (0, "u"),
        (3, "t"),
        (4, "t"),
    ][choice % 8];
    FullTrackName::new(space(space_of), Bytes::from_static(name.as_bytes())).unwrap()
}

pub(super) fn published(choice: usize) -> Published {
    match choice {
        0..=4 => Published::Track(track(choice)),
        _ => Published::Namespace(space(choice - 5)),
    }
}

pub(super) fn data(track: &FullTrackName, priority: u8) -> Bytes {
    let subscribe = laps_subscribe(track.clone(), priority, None);
    encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap()
}

/// Bounds that inputs reach.
fn small() -> Limits {
    let mut limits = Limits::default();
    limits.max_links = 5;
    limits.max_nodes = 8;
    limits.max_nodes_per_link = 5;
    limits.max_path_items = 3;
    limits.max_subscribes = 4;
    limits.max_publishes = 4;
    limits.max_seen = 4;
    limits.max_own = 3;
    limits.max_watches = 1;
    limits
}

impl World {
    pub(super) fn new(choice: u8) -> Self {
        let now = crate::base();
        let is_small = choice & 0x18 == 0x18;
        let mut world = Self {
            now,
            relays: Vec::new(),
            wires: (0..WIRES).map(|_| Wire::default()).collect(),
            hostile: BTreeMap::new(),
            next_link: 0,
            honest: choice & 1 == 0 && !is_small && choice & 0x60 != 0x60,
            infos_sent: 0,
            pulls_sent: 0,
            delivered: 0,
            limits: if is_small { small() } else { Limits::default() },
            modes: choice & 0x60,
        };
        for index in 0..EDGES + 2 {
            let role = match index {
                EDGES.. => NodeType::Stub,
                2 if choice & 2 != 0 => NodeType::Via,
                3 if choice & 4 != 0 => NodeType::Via,
                _ => NodeType::Edge,
            };
            let id = NodeId(1 + index as u64);
            world.relays.push(Relay {
                id,
                role,
                base: InfoBase::new(id, role, 1, Settings::default(), world.limits, now),
                published: BTreeSet::new(),
                subscribed: BTreeMap::new(),
                watched: BTreeSet::new(),
                view: View::default(),
                links: BTreeMap::new(),
                epoch: 1,
            });
        }
        // Half of the inputs begin with a mesh that is whole.
        if choice & 0x80 != 0 {
            (0..SECOND).for_each(|wire| world.join(wire));
            world.deliver_all();
        }
        world
    }

    pub(super) const fn link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    pub(super) fn link_up(&mut self, relay: usize, link: LinkId, up: LinkUp) {
        self.relays[relay].links.insert(link, (up.node.id, up.mode));
        self.relays[relay].base.link_up(self.now, link, up);
        self.drain(relay);
    }

    pub(super) fn link_down(&mut self, relay: usize, link: LinkId) {
        self.relays[relay].links.remove(&link);
        self.relays[relay].base.link_down(self.now, link);
        self.drain(relay);
    }

    /// What a relay says of itself.
    pub(super) fn node_info(&self, relay: usize) -> NodeInfo {
        let Relay { id, role, .. } = &self.relays[relay];
        NodeInfo::new(*id, *role, Bytes::from(format!("relay-{relay}")))
    }

    /// A link comes up on a wire. What was not noticed of the one before is noticed now.
    pub(super) fn join(&mut self, wire: usize) {
        if self.wires[wire].link.is_some() {
            return;
        }
        self.honest &= wire != SECOND;
        (0..2).for_each(|end| self.notice(wire, end));
        let link = self.link();
        self.wires[wire].link = Some(link);
        let mode = match (self.modes, wire % 4) {
            (0x60, 1) => PeerMode::Control,
            (0x60, 2) => PeerMode::Data,
            _ => PeerMode::Both,
        };
        let [a, b] = ENDS[wire];
        for (from, to) in [(a, b), (b, a)] {
            let up = LinkUp {
                node: self.node_info(to),
                mode,
                kin: Kin::Ours(self.relays[to].epoch),
                srtt_us: 5000 * (wire as u64 + 1),
            };
            self.link_up(from, link, up);
        }
    }

    pub(super) fn cut(&mut self, wire: usize) {
        if let Some(link) = self.wires[wire].link.take() {
            self.wires[wire].notices = [Some(link); 2];
            self.wires[wire].queues = Default::default();
        }
    }

    pub(super) fn notice(&mut self, wire: usize, end: usize) {
        if let Some(link) = self.wires[wire].notices[end].take() {
            self.link_down(ENDS[wire][end], link);
        }
    }

    /// A relay is killed and started anew, with new links and the same local users.
    pub(super) fn restart(&mut self, index: usize) {
        let mut again = Vec::new();
        for wire in (0..WIRES).filter(|wire| ENDS[*wire].contains(&index)) {
            if self.wires[wire].link.is_some() {
                again.push(wire);
            }
            self.cut(wire);
            let end = usize::from(ENDS[wire][1] == index);
            self.wires[wire].notices[end] = None;
        }
        self.hostile.retain(|_, relay| *relay != index);
        let (limits, now) = (self.limits, self.now);
        let relay = &mut self.relays[index];
        relay.epoch += 1;
        relay.view = View::default();
        relay.links.clear();
        relay.base = InfoBase::new(
            relay.id,
            relay.role,
            relay.epoch,
            Settings::default(),
            limits,
            now,
        );
        self.say_again(index, 0xff);
        again.into_iter().for_each(|wire| self.join(wire));
    }

    /// Local users say again what they want, each if its bit is set.
    fn say_again(&mut self, index: usize, bits: u8) {
        let relay = &mut self.relays[index];
        let published = std::mem::take(&mut relay.published);
        let subscribed = std::mem::take(&mut relay.subscribed);
        let watched = std::mem::take(&mut relay.watched);
        let mut bit = 0;
        let mut again = || {
            bit += 1;
            bits & 1 << (bit % 8) != 0
        };
        for what in published.into_iter().filter(|_| again()) {
            self.publish(index, what);
        }
        for (track, data) in subscribed.into_iter().filter(|_| again()) {
            self.want(index, track, data);
        }
        for prefix in watched {
            refused(self, index, Command::Watch(prefix.clone()));
            self.relays[index].watched.insert(prefix);
        }
    }

    pub(super) fn begin_epoch(&mut self, index: usize, bits: u8) {
        if !refused(self, index, Command::BeginEpoch) {
            self.say_again(index, bits);
        }
    }

    pub(super) fn publish(&mut self, index: usize, what: Published) {
        let is_refused = refused(self, index, Command::Publish(what.clone()));
        assert!(!is_refused || !self.honest || self.relays[index].role == NodeType::Via);
        if !is_refused {
            self.relays[index].published.insert(what);
        }
    }

    pub(super) fn unpublish(&mut self, index: usize, what: &Published) {
        if self.relays[index].published.remove(what) {
            assert!(!refused(self, index, Command::Unpublish(what.clone())));
        }
    }

    pub(super) fn subscribe(&mut self, index: usize, track: &FullTrackName, priority: u8) {
        self.want(index, track.clone(), data(track, priority));
    }

    fn want(&mut self, index: usize, track: FullTrackName, data: Bytes) {
        let (name, with) = (track.clone(), data.clone());
        let is_refused = refused(self, index, Command::Subscribe { track, data });
        assert!(!is_refused || !self.honest || self.relays[index].role == NodeType::Via);
        if !is_refused {
            self.relays[index].subscribed.insert(name, with);
        }
    }

    pub(super) fn unsubscribe(&mut self, index: usize, track: &FullTrackName) {
        if self.relays[index].subscribed.remove(track).is_some() {
            assert!(!refused(self, index, Command::Unsubscribe(track.clone())));
        }
    }

    pub(super) fn watch(&mut self, index: usize, choice: usize, is_over: bool) {
        let prefix = space(choice);
        if is_over {
            self.relays[index].watched.remove(&prefix);
            refused(self, index, Command::Unwatch(prefix));
        } else {
            self.relays[index].watched.insert(prefix.clone());
            refused(self, index, Command::Watch(prefix));
        }
    }

    /// Which of two names with one hash is known where is a matter of who was first.
    pub(super) fn names_that_collide(&mut self, index: usize, choice: usize) {
        self.honest = false;
        match choice {
            0 | 1 => self.publish(index, Published::Track(track(6 + choice))),
            2 | 3 => self.subscribe(index, &track(4 + choice), 0),
            _ => self.publish(index, Published::Namespace(space(choice - 1))),
        }
    }

    pub(super) fn everything_ends(&mut self, index: usize) {
        for what in self.relays[index].published.clone() {
            self.unpublish(index, &what);
        }
        for track in self.relays[index].subscribed.clone().into_keys() {
            self.unsubscribe(index, &track);
        }
        for prefix in std::mem::take(&mut self.relays[index].watched) {
            refused(self, index, Command::Unwatch(prefix));
        }
    }

    pub(super) fn measure(&mut self, wire: usize, srtt_us: u64) {
        let Some(link) = self.wires[wire].link else { return };
        for relay in ENDS[wire] {
            self.relays[relay].base.link_srtt(self.now, link, srtt_us);
            self.drain(relay);
        }
    }

    pub(super) fn hostile_leave(&mut self) {
        for (link, relay) in std::mem::take(&mut self.hostile) {
            self.link_down(relay, link);
        }
    }

    /// Time passes. Nothing is on its way for longer.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for wire in 0..WIRES {
            (0..2).for_each(|end| self.notice(wire, end));
        }
        loop {
            self.deliver_all();
            let timers = self.relays.iter().filter_map(|relay| relay.base.poll_timeout());
            let Some(at) = timers.min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            for index in 0..self.relays.len() {
                let due = self.relays[index].base.poll_timeout();
                if due.is_some_and(|at| at <= self.now) {
                    self.relays[index].base.handle_timeout(self.now);
                    self.drain(index);
                    let next = self.relays[index].base.poll_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "a timer that is over stays");
                }
            }
        }
        self.now = end;
    }

    fn deliver_all(&mut self) {
        let mut count = 0;
        loop {
            let before = count;
            for wire in 0..WIRES {
                for end in 0..2 {
                    count += u64::from(self.deliver(wire, end));
                }
            }
            if count == before {
                return;
            }
            assert!(count < 20_000, "a storm");
        }
    }

    /// The next message to an end of a wire arrives, if there is one.
    pub(super) fn deliver(&mut self, wire: usize, end: usize) -> bool {
        let Some(link) = self.wires[wire].link else {
            return false;
        };
        let Some(payload) = self.wires[wire].queues[end].pop_front() else {
            return false;
        };
        self.delivered += 1;
        let index = ENDS[wire][end];
        let (now, base) = (self.now, &mut self.relays[index].base);
        match payload {
            Payload::Control(message, stamp) => base.handle_message(now, link, message, stamp),
            Payload::Own(message) => base.handle_own_message(now, link, message),
            Payload::Node(to, message, hops) => {
                self.envelope(index, to, message, hops);
                return true;
            }
        }
        self.drain(index);
        true
    }

    pub(super) fn envelope(&mut self, index: usize, to: NodeId, message: NodeMessage, hops: u32) {
        if self.relays[index].id == to {
            self.relays[index].base.handle_node_message(self.now, message);
            self.drain(index);
        } else if let Some(link) = self.relays[index].base.control_link(to).filter(|_| hops < 16) {
            assert!(self.relays[index].links[&link].1.has_control());
            self.put(index, link, Payload::Node(to, message, hops + 1));
        }
    }
}
