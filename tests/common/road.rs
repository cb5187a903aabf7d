//! A road between two UDP endpoints, on which packets take their time, get lost, and wait while one side stands still.
//!
//! Threads and sockets of the standard library, so that whatever runs on either side, and on whichever runtime, does not
//! share a thread with it. What is lost follows from the seed and the number of the packet in its direction alone.

use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A QUIC packet of any size.
const PACKET: usize = 65_536;

/// Which end of the road a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who sends to the door.
    Dialler,
    /// Whom the road leads to.
    Dialled,
}

/// What a road does to packets, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long each one takes: half a round trip.
    pub delay: Duration,
    /// How many of a hundred are lost.
    pub loss_percent: u64,
}

/// A road, for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Road {
    door: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    terms: Terms,
    /// When each side says something again, the dialler first.
    still_until: (Option<Instant>, Option<Instant>),
    /// What one side says waits until it is let go.
    held: Option<(Side, Vec<Waiting>)>,
    waiting: BinaryHeap<Waiting>,
    /// Of all packets so far.
    number: u64,
    carried: u64,
    lost: u64,
}

/// A packet on its way. The greatest is the one that is due first.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    number: u64,
    by: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Road {
    /// A road from a door at this address, whose port is chosen, to `to`.
    ///
    /// # Errors
    /// When there is no socket or thread to be had.
    pub fn open(door: IpAddr, to: SocketAddr, terms: Terms, seed: u64) -> io::Result<Self> {
        let inside = Arc::new(UdpSocket::bind((door, 0))?);
        let door = inside.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                terms,
                ..State::default()
            }),
            more: Condvar::new(),
        });
        let road = Self {
            door,
            shared: Arc::clone(&shared),
        };
        spawn("road", move || shared.deliver())?;
        let there = road.clone();
        spawn("road-out", move || there.go(&inside, to, seed))?;
        Ok(road)
    }

    /// Where to send.
    pub fn door(&self) -> SocketAddr {
        self.door
    }

    /// Other terms, for packets that come from now on.
    pub fn set(&self, terms: Terms) {
        self.shared.state().terms = terms;
    }

    /// One side stands still for so long: what it says comes after that, all at once.
    pub fn stall(&self, side: Side, time: Duration) {
        *self.shared.state().still_until(side) = Some(Instant::now() + time);
    }

    /// What one side says waits until [`Self::release`].
    pub fn hold(&self, side: Side) {
        self.shared.state().held.get_or_insert((side, Vec::new()));
    }

    /// What was held goes on, all at once, and what comes from now on.
    pub fn release(&self) {
        let mut state = self.shared.state();
        let held = state.held.take().into_iter().flat_map(|(_, held)| held);
        state.waiting.extend(held);
        self.shared.more.notify_one();
    }

    /// Packets that were carried, and that were lost.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.shared.state();
        (state.carried, state.lost)
    }

    /// Each dialler gets a socket of its own, by which the other side knows it.
    fn go(&self, inside: &Arc<UdpSocket>, to: SocketAddr, seed: u64) {
        let mut outside = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
        let mut packet = vec![0; PACKET];
        let mut chance = Chance(seed);
        while let Ok((length, from)) = inside.recv_from(&mut packet) {
            let known = outside.get(&from).cloned();
            let Some(socket) = known.or_else(|| {
                let socket = self.back(inside, from, to, seed).ok()?;
                outside.insert(from, Arc::clone(&socket));
                Some(socket)
            }) else {
                continue;
            };
            let bytes = packet.get(..length).unwrap_or_default();
            self.shared.take(Side::Dialler, &mut chance, &socket, to, bytes);
        }
    }

    fn back(
        &self,
        inside: &Arc<UdpSocket>,
        from: SocketAddr,
        to: SocketAddr,
        seed: u64,
    ) -> io::Result<Arc<UdpSocket>> {
        let any: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0_u16; 8].into()
        };
        let socket = Arc::new(UdpSocket::bind((any, 0))?);
        let (road, inside, listens) = (self.clone(), Arc::clone(inside), Arc::clone(&socket));
        spawn("road-back", move || {
            let mut packet = vec![0; PACKET];
            let mut chance = Chance(!seed);
            // One that was refused says nothing of the next.
            loop {
                if let Ok((length, _)) = listens.recv_from(&mut packet) {
                    let bytes = packet.get(..length).unwrap_or_default();
                    road.shared.take(Side::Dialled, &mut chance, &inside, from, bytes);
                }
            }
        })?;
        Ok(socket)
    }
}

impl State {
    const fn still_until(&mut self, side: Side) -> &mut Option<Instant> {
        match side {
            Side::Dialler => &mut self.still_until.0,
            Side::Dialled => &mut self.still_until.1,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, side: Side, chance: &mut Chance, by: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.state();
        let lost = chance.of_a_hundred() < state.terms.loss_percent;
        if lost {
            state.lost += 1;
            return;
        }
        let now = Instant::now();
        let left = state.still_until(side).map_or(now, |until| until.max(now));
        state.number += 1;
        let waiting = Waiting {
            due: left + state.terms.delay,
            number: state.number,
            by: Arc::clone(by),
            to,
            bytes: bytes.to_vec(),
        };
        match &mut state.held {
            Some((held, packets)) if *held == side => packets.push(waiting),
            Some(_) | None => state.waiting.push(waiting),
        }
        self.more.notify_one();
    }

    fn deliver(&self) {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let due = state.waiting.peek().map(|first| first.due);
            match due {
                Some(due) if due <= now => {
                    if let Some(packet) = state.waiting.pop() {
                        state.carried += 1;
                        drop(state);
                        // A network that refuses a packet has lost it.
                        drop(packet.by.send_to(&packet.bytes, packet.to));
                        state = self.state();
                    }
                }
                Some(due) => {
                    let waited = self.more.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

/// Numbers that look like chance (SplitMix64, by Sebastiano Vigna, in the public domain).
struct Chance(u64);

impl Chance {
    fn of_a_hundred(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (b ^ (b >> 31)) % 100
    }
}
