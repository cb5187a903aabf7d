//! Which track of this relay the data of the mesh is for, and what waits to know.

use super::inlet::Whose;
use crate::limits::{Account, Full, Kind, Lease};
use crate::session::{Binding, ingress};
use laps_protocol::moqt::object::DatagramObject;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Where the data of each track, and of each relay that has publishers of it, goes. Clones are the same table.
///
/// What comes before its binding waits, within the bounds of the link that it came by: MOQT-14 §10.4.2 [D14-DATA-16] has
/// the same for an alias.
#[derive(Clone, Debug, Default)]
pub struct Bindings(Rc<RefCell<Table>>);

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams and datagrams that were there before their binding.
    pub waited: u64,
    /// Those of them that were given up because too much waited.
    pub refused: u64,
    /// Those of them whose binding did not come in time.
    pub expired: u64,
    /// Datagrams that their track had no room for.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Table {
    bound: HashMap<FullNameHash, Vec<(Option<NodeId>, Binding)>>,
    /// Laps relays: what is said to be theirs may be of somebody behind them.
    laps: HashSet<NodeId>,
    streams: HashMap<FullNameHash, Vec<Stream>>,
    /// The name of the next one that waits.
    next: u64,
    /// In the order in which they came.
    datagrams: VecDeque<Datagram>,
    counts: Counts,
}

/// A stream that waits.
#[derive(Debug)]
struct Stream {
    name: u64,
    whose: Whose,
    reply: oneshot::Sender<Binding>,
}

/// A datagram that waits.
#[derive(Debug)]
struct Datagram {
    until: Instant,
    whose: Whose,
    object: DatagramObject,
    _room: Lease,
}

/// A place among the streams that wait, for as long as this lives.
struct Place<'a> {
    bindings: &'a Bindings,
    track: FullNameHash,
    name: u64,
    _room: (Lease, Lease),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Also while a panic unwinds, so it cannot fail.
        let Ok(mut table) = self.bindings.0.try_borrow_mut() else {
            return;
        };
        if let Some(streams) = table.streams.get_mut(&self.track) {
            streams.retain(|stream| stream.name != self.name);
            if streams.is_empty() {
                table.streams.remove(&self.track);
            }
        }
    }
}

impl Table {
    /// The binding for data of a track that comes from its origin. What came by a laps relay that has no publisher of the
    /// track is of somebody behind it, of whom nobody knows more; as a rule there is one.
    fn find(&self, Whose { track, origin }: Whose) -> Option<&Binding> {
        let bound = self.bound.get(&track)?;
        let of = |origin| bound.iter().find(|(of, _)| *of == origin);
        let found = of(origin).or_else(|| match origin {
            Some(node) if !self.laps.contains(&node) => of(None),
            _ => bound.first(),
        });
        found.map(|(_, binding)| binding)
    }

    /// Gives what waits for a track to where it is for, as far as that is known now.
    fn settle(&mut self, track: FullNameHash) {
        let mut streams = self.streams.remove(&track).unwrap_or_default();
        for stream in streams.extract_if(.., |stream| self.find(stream.whose).is_some()) {
            if let Some(binding) = self.find(stream.whose) {
                // One that waits no more has given up.
                stream.reply.send(binding.clone()).ok();
            }
        }
        if !streams.is_empty() {
            self.streams.insert(track, streams);
        }
        let waiting = std::mem::take(&mut self.datagrams).into_iter();
        let (known, unknown): (VecDeque<_>, _) =
            waiting.partition(|early| early.whose.track == track && self.find(early.whose).is_some());
        self.datagrams = unknown;
        for early in known {
            let binding = self.find(early.whose);
            let taken = binding.is_some_and(|binding| ingress::datagram(binding, early.object));
            self.counts.lost += u64::from(!taken);
        }
    }
}

impl Bindings {
    /// Data of `track` that comes from `origin` goes there; without an origin, whatever no other binding takes. One that
    /// was there before is released.
    pub fn bind(&self, track: FullNameHash, origin: Option<NodeId>, binding: Binding) {
        let mut table = self.0.borrow_mut();
        let bound = table.bound.entry(track).or_default();
        match bound.iter_mut().find(|(of, _)| *of == origin) {
            Some((_, before)) => {
                std::mem::replace(before, binding).released.send_replace(true);
            }
            None => bound.push((origin, binding)),
        }
        table.settle(track);
    }

    /// A node is a laps relay: what is said to be its own may be of somebody behind it. Or it is not, or is gone.
    pub fn set_laps(&self, node: NodeId, laps: bool) {
        let mut table = self.0.borrow_mut();
        if !laps {
            table.laps.remove(&node);
        } else if table.laps.insert(node) {
            let streams = table.streams.values().flatten().map(|stream| stream.whose);
            let waiting = streams.chain(table.datagrams.iter().map(|early| early.whose));
            let its = waiting.filter(|whose| whose.origin == Some(node));
            let tracks: BTreeSet<_> = its.map(|whose| whose.track).collect();
            for track in tracks {
                table.settle(track);
            }
        }
    }

    /// Data of `track` that comes from `origin` is not wanted any more; its streams are stopped.
    pub fn unbind(&self, track: FullNameHash, origin: Option<NodeId>) {
        let mut table = self.0.borrow_mut();
        let Some(bound) = table.bound.get_mut(&track) else {
            return;
        };
        for (_, binding) in bound.extract_if(.., |(of, _)| *of == origin) {
            binding.released.send_replace(true);
        }
        if bound.is_empty() {
            table.bound.remove(&track);
        }
    }

    /// How often something happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// Tracks that are bound, streams that wait and datagrams that wait.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        let table = self.0.borrow();
        let streams = table.streams.values().map(Vec::len).sum();
        (table.bound.len(), streams, table.datagrams.len())
    }

    /// Where a stream goes, when that is known in time. It holds so many bytes while it waits.
    ///
    /// # Errors
    /// [`Full`] when too much waits already.
    pub(super) async fn resolve(
        &self,
        whose: Whose,
        held: u64,
        account: &Account,
        wait: Duration,
    ) -> Result<Option<Binding>, Full> {
        let track = whose.track;
        let (answer, _place) = {
            let mut table = self.0.borrow_mut();
            if let Some(binding) = table.find(whose) {
                return Ok(Some(binding.clone()));
            }
            table.counts.waited += 1;
            let room = account.take(Kind::EarlyStreams, 1);
            let room = room.and_then(|stream| Ok((stream, account.take(Kind::EarlyBytes, held)?)));
            let room = room.inspect_err(|_| table.counts.refused += 1)?;
            let (reply, answer) = oneshot::channel();
            let name = table.next;
            table.next += 1;
            let stream = Stream { name, whose, reply };
            table.streams.entry(track).or_default().push(stream);
            let place = Place {
                bindings: self,
                track,
                name,
                _room: room,
            };
            (answer, place)
        };
        let binding = tokio::time::timeout(wait, answer).await;
        let binding = binding.ok().and_then(Result::ok);
        if binding.is_none() {
            self.0.borrow_mut().counts.expired += 1;
        }
        Ok(binding)
    }

    /// Gives a datagram's object to its track, or keeps it until `until`.
    ///
    /// # Errors
    /// [`Full`] when too much waits already.
    pub(super) fn datagram(
        &self,
        whose: Whose,
        object: DatagramObject,
        account: &Account,
        until: Instant,
    ) -> Result<(), Full> {
        let mut table = self.0.borrow_mut();
        if let Some(binding) = table.find(whose) {
            let taken = ingress::datagram(binding, object);
            table.counts.lost += u64::from(!taken);
            return Ok(());
        }
        table.counts.waited += 1;
        let cost = size_of::<Datagram>() + object.payload.len() + object.extensions.len();
        let room = account.take(Kind::EarlyBytes, u64::try_from(cost).unwrap_or(u64::MAX));
        let room = room.inspect_err(|_| table.counts.refused += 1)?;
        table.datagrams.push_back(Datagram {
            until,
            whose,
            object,
            _room: room,
        });
        Ok(())
    }

    /// Gives up the datagrams that have waited for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut table = self.0.borrow_mut();
        while table.datagrams.front().is_some_and(|early| early.until <= now) {
            table.datagrams.pop_front();
            table.counts.expired += 1;
        }
    }

    /// When the first datagram that waits will have waited for too long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.borrow().datagrams.front().map(|early| early.until)
    }
}
