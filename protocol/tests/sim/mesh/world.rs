//! The relays, the wires between them, and what each relay told its local users.

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
use laps_protocol::sim::Rng;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Between which relays there is a wire, with its delay in milliseconds.
pub(crate) type Wiring = Vec<(usize, usize, u64)>;

/// What the local users of a relay were told.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// What the node is, and whether what is said to it arrives.
    pub(crate) reachable: BTreeMap<NodeId, (NodeType, bool)>,
    pub(crate) publishes: BTreeSet<(NodeId, Published)>,
    pub(crate) subscribes: BTreeMap<(NodeId, FullNameHash), Bytes>,
    pub(crate) fib: Fib,
}

pub(crate) struct Relay {
    pub(crate) id: NodeId,
    pub(crate) role: NodeType,
    pub(crate) base: InfoBase,
    pub(crate) published: BTreeSet<Published>,
    pub(crate) subscribed: BTreeMap<FullTrackName, Bytes>,
    pub(crate) view: View,
    pub(crate) epoch: u64,
}

pub(crate) struct Wire {
    pub(crate) ends: [usize; 2],
    delay: Duration,
    /// The link on it; none while it is cut.
    pub(crate) link: Option<LinkId>,
    /// Which ends know that the link before was cut.
    notices: [Option<LinkId>; 2],
    /// Which lives of the two ends the last link on it was between.
    lives: [u64; 2],
    in_order: [Instant; 2],
    pub(crate) laps: bool,
    /// As its first end sees it.
    pub(crate) mode: PeerMode,
}

#[derive(Clone)]
enum Payload {
    Control(Message, Stamp),
    Own(OwnMessage),
    Node(NodeId, NodeMessage, u32),
}

enum Event {
    Arrives {
        wire: usize,
        link: LinkId,
        end: usize,
        payload: Payload,
    },
    Notices {
        wire: usize,
        end: usize,
        link: LinkId,
    },
    /// A relay looks again who has room.
    Room(usize),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) relays: Vec<Relay>,
    pub(crate) wires: Vec<Wire>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    next_link: u32,
    /// Infos, in advertisements and withdrawals, that were put on wires.
    pub(crate) infos_sent: u64,
    /// Node infos likewise.
    pub(crate) nodes_sent: u64,
    /// Relays that were said to have a twin: where, and who.
    pub(crate) twins: BTreeSet<(usize, NodeId)>,
    /// One link in so many has no room for half a second at a time; none at all where it is 0.
    pub(crate) slow: u64,
    /// When a relay last saw a node appear of which it has others' word alone.
    appeared: BTreeMap<(usize, NodeId), Vec<Instant>>,
    /// Relays that will look again who has room.
    looks: BTreeSet<usize>,
    began: Instant,
    settings: Settings,
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of virtual time"
)]
fn base() -> Instant {
    Instant::now()
}

/// The track `name` in a namespace of `fields`.
pub(crate) fn track(fields: &str, name: u64) -> FullTrackName {
    FullTrackName::new(namespace(fields), Bytes::from(format!("track-{name}"))).unwrap()
}

pub(crate) fn namespace(fields: &str) -> TrackNamespace {
    TrackNamespace::new(
        fields
            .split('/')
            .map(|field| Bytes::copy_from_slice(field.as_bytes())),
    )
    .unwrap()
}

pub(crate) fn data(track: &FullTrackName, priority: u8) -> Bytes {
    let subscribe = laps_subscribe(track.clone(), priority, None);
    encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap()
}

impl World {
    /// Relays of these kinds, and wires that are all up.
    pub(crate) fn new(seed: u64, roles: &[NodeType], wiring: &Wiring) -> Self {
        Self::with_laps(seed, roles, wiring, &[])
    }

    /// The same, where on some wires nothing is said that a real laps relay does not say.
    pub(crate) fn with_laps(seed: u64, roles: &[NodeType], wiring: &Wiring, laps: &[usize]) -> Self {
        let now = base();
        let mut world = Self {
            now,
            rng: Rng::new(seed),
            relays: Vec::new(),
            wires: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_link: 0,
            infos_sent: 0,
            nodes_sent: 0,
            twins: BTreeSet::new(),
            slow: 0,
            appeared: BTreeMap::new(),
            looks: BTreeSet::new(),
            began: now,
            settings: Settings::default(),
        };
        for (index, role) in roles.iter().enumerate() {
            let id = NodeId(0x1_0000_0001 + index as u64);
            world.relays.push(Relay {
                id,
                role: *role,
                base: InfoBase::new(id, *role, 1, world.settings, Limits::default(), now),
                published: BTreeSet::new(),
                subscribed: BTreeMap::new(),
                view: View::default(),
                epoch: 1,
            });
        }
        for (wire, (a, b, delay)) in wiring.iter().enumerate() {
            world.wires.push(Wire {
                ends: [*a, *b],
                delay: ms(*delay),
                link: None,
                notices: [None; 2],
                lives: [0; 2],
                in_order: [now; 2],
                laps: laps.contains(&wire),
                mode: PeerMode::Both,
            });
        }
        for wire in 0..world.wires.len() {
            world.join(wire);
        }
        world
    }

    /// A wire more, for data alone.
    pub(crate) fn add_data(&mut self, a: usize, b: usize, delay: u64, mode: PeerMode) -> usize {
        self.wires.push(Wire {
            ends: [a, b],
            delay: ms(delay),
            link: None,
            notices: [None; 2],
            lives: [0; 2],
            in_order: [self.now; 2],
            laps: false,
            mode,
        });
        self.join(self.wires.len() - 1);
        self.wires.len() - 1
    }

    fn file(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.events.insert((at, self.next_event), event);
    }

    /// A link comes up on a wire. What was not noticed of the one before is noticed now.
    pub(crate) fn join(&mut self, wire: usize) {
        if self.wires[wire].link.is_some() {
            return;
        }
        for end in 0..2 {
            self.notice(wire, end);
        }
        let [a, b] = self.wires[wire].ends;
        let lives = [a, b].map(|end| self.relays[end].epoch);
        // Who has begun anew is refused until the links of its life before are noticed to be dead, and dials until then.
        let before = |other: &Wire| {
            let between = other.ends == [a, b] || other.ends == [b, a];
            between && other.link.is_none() && other.lives != lives && other.lives != [lives[1], lives[0]]
        };
        let before: Vec<_> = (0..self.wires.len())
            .filter(|other| before(&self.wires[*other]))
            .collect();
        for other in before {
            for end in 0..2 {
                self.notice(other, end);
            }
        }
        self.wires[wire].lives = lives;
        self.next_link += 1;
        let link = LinkId(self.next_link);
        let srtt_us = u64::try_from(self.wires[wire].delay.as_micros()).unwrap() * 2;
        self.wires[wire].link = Some(link);
        self.wires[wire].in_order = [self.now; 2];
        let mode = self.wires[wire].mode;
        for (from, to, mode) in [(a, b, mode), (b, a, mode.turned())] {
            let peer = &self.relays[to];
            let node = NodeInfo::new(peer.id, peer.role, Bytes::from(format!("relay-{}", peer.id)));
            let kin = if self.wires[wire].laps {
                Kin::Laps
            } else {
                Kin::Ours(peer.epoch)
            };
            let up = LinkUp {
                node,
                mode,
                kin,
                srtt_us,
            };
            self.relays[from].base.link_up(self.now, link, up);
            self.drain(from);
        }
    }

    /// A wire is cut: nothing arrives any more; the ends notice at different times.
    pub(crate) fn cut(&mut self, wire: usize) {
        let Some(link) = self.wires[wire].link.take() else {
            return;
        };
        self.wires[wire].notices = [Some(link); 2];
        for end in 0..2 {
            let at = self.now + ms(self.rng.below(900));
            self.file(at, Event::Notices { wire, end, link });
        }
    }

    fn notice(&mut self, wire: usize, end: usize) {
        if let Some(link) = self.wires[wire].notices[end].take() {
            let relay = self.wires[wire].ends[end];
            self.relays[relay].base.link_down(self.now, link);
            self.drain(relay);
        }
    }

    /// A relay is killed and started anew, with new links and the same local users.
    pub(crate) fn restart(&mut self, index: usize) {
        let wires: Vec<_> = (0..self.wires.len())
            .filter(|wire| self.wires[*wire].ends.contains(&index) && self.wires[*wire].link.is_some())
            .collect();
        for wire in &wires {
            self.cut(*wire);
        }
        let relay = &mut self.relays[index];
        relay.epoch += 1;
        relay.view = View::default();
        self.appeared.retain(|(at, _), _| *at != index);
        relay.base = InfoBase::new(
            relay.id,
            relay.role,
            relay.epoch,
            self.settings,
            Limits::default(),
            self.now,
        );
        for wire in 0..self.wires.len() {
            if let Some(end) = self.wires[wire].ends.iter().position(|end| *end == index) {
                self.wires[wire].notices[end] = None;
            }
        }
        let (published, subscribed) = (relay.published.clone(), relay.subscribed.clone());
        for what in published {
            self.publish(index, what);
        }
        for (track, data) in subscribed {
            self.command(index, Command::Subscribe { track, data });
        }
        for wire in wires {
            self.join(wire);
        }
    }

    /// Gives a relay the id of another one, which began before it. To be called before anything has happened.
    pub(crate) fn has_id_of(&mut self, index: usize, other: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.contains(&index) {
                self.cut(wire);
                for end in 0..2 {
                    self.notice(wire, end);
                }
            }
        }
        self.relays[index].id = self.relays[other].id;
        self.relays[index].epoch = self.relays[other].epoch;
        self.restart(index);
        for wire in 0..self.wires.len() {
            self.join(wire);
        }
    }

    /// A wire comes up where the link that was on it was refused or ended; whether it stands.
    pub(crate) fn knock(&mut self, wire: usize, from: usize) -> Result<(), RefuseReason> {
        let [a, b] = self.wires[wire].ends;
        let to = if a == from { b } else { a };
        let peer = &self.relays[from];
        let up = LinkUp {
            node: NodeInfo::new(peer.id, peer.role, Bytes::from(format!("relay-{}", peer.id))),
            mode: PeerMode::Both,
            kin: Kin::Ours(peer.epoch),
            srtt_us: 1000,
        };
        self.relays[to].base.admits(&up)?;
        self.join(wire);
        Ok(())
    }

    fn command(&mut self, index: usize, command: Command) {
        self.relays[index].base.command(self.now, command).unwrap();
        self.drain(index);
    }

    pub(crate) fn publish(&mut self, index: usize, what: Published) {
        self.relays[index].published.insert(what.clone());
        self.command(index, Command::Publish(what));
    }

    pub(crate) fn unpublish(&mut self, index: usize, what: &Published) {
        if self.relays[index].published.remove(what) {
            self.command(index, Command::Unpublish(what.clone()));
        }
    }

    pub(crate) fn subscribe(&mut self, index: usize, track: &FullTrackName, priority: u8) {
        let data = data(track, priority);
        self.relays[index].subscribed.insert(track.clone(), data.clone());
        let track = track.clone();
        self.command(index, Command::Subscribe { track, data });
    }

    pub(crate) fn unsubscribe(&mut self, index: usize, track: &FullTrackName) {
        if self.relays[index].subscribed.remove(track).is_some() {
            self.command(index, Command::Unsubscribe(track.clone()));
        }
    }

    pub(crate) fn measure(&mut self, wire: usize, srtt_us: u64) {
        let Some(link) = self.wires[wire].link else { return };
        for relay in self.wires[wire].ends {
            self.relays[relay].base.link_srtt(self.now, link, srtt_us);
            self.drain(relay);
        }
    }

    /// Everything that happens in the next time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timers = self.relays.iter().filter_map(|relay| relay.base.poll_timeout());
            let Some(at) = event.into_iter().chain(timers).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            while let Some(first) = self
                .events
                .first_entry()
                .filter(|first| first.key().0 <= self.now)
            {
                let event = first.remove();
                self.happen(event);
            }
            for index in 0..self.relays.len() {
                if self.relays[index]
                    .base
                    .poll_timeout()
                    .is_some_and(|at| at <= self.now)
                {
                    self.relays[index].base.handle_timeout(self.now);
                    self.drain(index);
                    let next = self.relays[index].base.poll_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "a timer that is over stays");
                }
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Room(index) => {
                self.looks.remove(&index);
                self.drain(index);
            }
            Event::Notices { wire, end, link } => {
                if self.wires[wire].notices[end] == Some(link) {
                    self.notice(wire, end);
                }
            }
            Event::Arrives {
                wire,
                link,
                end,
                payload,
            } => {
                if self.wires[wire].link != Some(link) {
                    return;
                }
                let index = self.wires[wire].ends[end];
                let (now, base) = (self.now, &mut self.relays[index].base);
                match payload {
                    Payload::Control(message, stamp) => base.handle_message(now, link, message, stamp),
                    Payload::Own(message) => base.handle_own_message(now, link, message),
                    Payload::Node(to, message, hops) => {
                        // Nobody lies here: only what went round comes in the name of who hears it.
                        if !base.may_say(link, source_of(&message), to) {
                            assert_eq!(source_of(&message), self.relays[index].id);
                            return;
                        }
                        self.envelope(index, to, message, hops);
                        return;
                    }
                }
                self.drain(index);
            }
        }
    }

    fn envelope(&mut self, index: usize, to: NodeId, message: NodeMessage, hops: u32) {
        if self.relays[index].id == to {
            self.relays[index].base.handle_node_message(self.now, message);
            self.drain(index);
        } else if let Some(link) = self.relays[index].base.control_link(to).filter(|_| hops < 64) {
            self.put(index, link, Payload::Node(to, message, hops + 1));
        }
    }

    fn put(&mut self, index: usize, link: LinkId, payload: Payload) {
        let Some(wire) = self.wires.iter().position(|wire| wire.link == Some(link)) else {
            return;
        };
        let laps = self.wires[wire].laps;
        let end = usize::from(self.wires[wire].ends[0] == index);
        let payload = match payload {
            Payload::Control(message, stamp) => {
                if matches!(
                    message,
                    Message::NodeInfoAdvertise(_) | Message::NodeInfoWithdraw(_)
                ) {
                    self.nodes_sent += 1;
                } else {
                    self.infos_sent += 1;
                }
                Payload::Control(message, if laps { Stamp::default() } else { stamp })
            }
            _ if laps => return,
            other @ (Payload::Own(_) | Payload::Node(..)) => other,
        };
        let wobble = ms(self.rng.below(20));
        let wire_ref = &mut self.wires[wire];
        // One stream: in order.
        let at = (self.now + wire_ref.delay + wobble).max(wire_ref.in_order[end]);
        wire_ref.in_order[end] = at;
        self.file(
            at,
            Event::Arrives {
                wire,
                link,
                end,
                payload,
            },
        );
    }

    fn drain(&mut self, index: usize) {
        let looked = Cell::new(false);
        let turn = u64::try_from((self.now - self.began).as_millis() / 500).unwrap();
        let slow = self.slow;
        let has_room = |link: LinkId| {
            let picked = || mix(mix(u64::from(link.0) << 32 | turn) ^ index as u64).checked_rem(slow);
            let open = picked() != Some(0);
            looked.set(looked.get() || !open);
            open
        };
        while let Some(output) = self.relays[index].base.poll_output_where(has_room) {
            let view = &mut self.relays[index].view;
            match output {
                Output::Send { link, message, stamp } => {
                    self.put(index, link, Payload::Control(message, stamp))
                }
                Output::SendOwn { link, message } => self.put(index, link, Payload::Own(message)),
                Output::ToNode { node, message } => self.envelope(index, node, message, 0),
                Output::Fib(fib) => {
                    assert!(fib != view.fib, "a table that did not change is not given out");
                    view.fib = fib;
                }
                Output::NodeReachable {
                    node,
                    node_type,
                    ours,
                } => {
                    // Said again only where it says something else.
                    let before = view.reachable.insert(node, (node_type, ours));
                    assert!(before.is_none_or(|before| before == (node_type, !ours)));
                    if before.is_none() {
                        self.appears(index, node);
                    }
                }
                Output::NodeUnreachable { node } => assert!(view.reachable.remove(&node).is_some()),
                Output::RemotePublish { source, what } => assert!(view.publishes.insert((source, what))),
                Output::RemotePublishGone { source, what } => assert!(view.publishes.remove(&(source, what))),
                Output::RemoteSubscribe { source, track, data } => {
                    view.subscribes.insert((source, track.full), data);
                }
                Output::RemoteSubscribeGone { source, track } => {
                    assert!(view.subscribes.remove(&(source, track)).is_some());
                }
                Output::Refused { reason, .. } => panic!("refused: {reason}"),
                Output::Report(Report::Twins { node, elder, younger }) => {
                    assert!(elder < younger, "{elder} {younger}");
                    assert!(self.twins.insert((index, node)), "reported once");
                }
                Output::EndLink { link, reason } => {
                    assert_eq!(reason, RefuseReason::DuplicateNodeId);
                    self.relays[index].base.link_down(self.now, link);
                    let wire = self.wires.iter().position(|wire| wire.link == Some(link));
                    if let Some(wire) = wire {
                        self.cut(wire);
                        let end = usize::from(self.wires[wire].ends[1] == index);
                        self.wires[wire].notices[end] = None;
                    }
                }
                Output::Report(report) => panic!("{report:?}"),
                other => panic!("{other:?}"),
            }
        }
        if looked.get() && self.looks.insert(index) {
            self.file(self.now + ms(100), Event::Room(index));
        }
    }
}

impl World {
    /// However often a node comes and goes, relays further away see little of that: in an interval that begins when it goes
    /// it comes back twice, and once more when that is over.
    fn appears(&mut self, index: usize, node: NodeId) {
        const MOST: usize = 5;
        let of_it = |at: &usize| self.relays[*at].id == node;
        let mut wires = self.wires.iter();
        if wires.any(|wire| wire.ends.contains(&index) && wire.ends.iter().any(of_it)) {
            return;
        }
        let since = self.now.checked_sub(self.settings.node_advert_interval);
        let times = self.appeared.entry((index, node)).or_default();
        times.retain(|at| since.is_some_and(|since| *at > since));
        times.push(self.now);
        assert!(
            times.len() <= MOST,
            "relay {index} has seen {node} appear {} times",
            times.len()
        );
    }
}

/// Who said it.
const fn source_of(message: &NodeMessage) -> NodeId {
    match message {
        NodeMessage::Pull { from, .. }
        | NodeMessage::Info { from, .. }
        | NodeMessage::PullEnd { from, .. } => *from,
        _ => panic!("a message that is not known"),
    }
}

/// A number that has nothing to do with this one.
fn mix(number: u64) -> u64 {
    Rng::new(number).below(u64::MAX)
}
