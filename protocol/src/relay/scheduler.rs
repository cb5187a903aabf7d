//! Who of those that have something to send goes next, and how much may be handed to the transport at all.
//!
//! The order is that of MOQT-14 §7.2. It can only choose among what has not left yet, so as little as keeps the
//! transport busy is handed over early: [`budget`].

use crate::moqt::location::GroupId;
use crate::moqt::message::{GroupOrder, RequestId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The middle of the scale of priorities, for who has no opinion. 0 is the highest, 255 the lowest.
///
/// MOQT-14 §7.3 [D14-PRIO-2]
pub const DEFAULT_PRIORITY: u8 = 128;

/// Where something that could be sent stands among all others of its session. Lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOrder {
    /// Of the request, SUBSCRIBE or FETCH. MOQT-14 §7.1 [D14-PRIO-4]: both are on one scale.
    pub subscriber: u8,
    /// Of the subgroup, the datagram, or the object of a FETCH. MOQT-14 §7.1 [D14-PRIO-5]
    pub publisher: u8,
    /// Which request it answers. Between requests there is no order; they take turns.
    pub request: RequestId,
    /// Its place within the request.
    pub place: Place,
}

/// The place of a subgroup or a datagram within its request. Lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    group: GroupId,
    id: u64,
}

impl Place {
    /// The place of something in `group`; `id` is the subgroup's, or the object's of a datagram.
    ///
    /// MOQT-14 §7.2 [D14-PRIO-1]: the order of groups is the subscription's, within a group the lowest id goes first.
    #[must_use]
    pub const fn new(order: GroupOrder, group: GroupId, id: u64) -> Self {
        let group = match order {
            GroupOrder::Ascending => group,
            GroupOrder::Descending => !group,
        };
        Self { group, id }
    }
}

/// The name of an entry of a [`Scheduler`]; its owner chooses it, and no two entries share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// What could be sent, in the order of MOQT-14 §7.2.
///
/// Who cannot send for lack of flow control is not in it, so it is in nobody's way: MOQT-14 §7.1 [D14-PRIO-7].
#[derive(Debug)]
pub struct Scheduler<T> {
    /// By subscriber priority, then publisher priority.
    classes: BTreeMap<(u8, u8), Class<T>>,
    /// Where the entries are.
    orders: HashMap<EntryId, SendOrder>,
}

/// What has the same two priorities.
#[derive(Debug)]
struct Class<T> {
    /// The requests that have something to send; the first is next.
    turns: VecDeque<RequestId>,
    requests: HashMap<RequestId, BTreeMap<(Place, EntryId), T>>,
}

impl<T> Scheduler<T> {
    /// One without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            classes: BTreeMap::new(),
            orders: HashMap::new(),
        }
    }

    /// How many could be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether there is nothing that could be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// The order of the entry, if there is one of this name.
    #[must_use]
    pub fn order_of(&self, id: EntryId) -> Option<SendOrder> {
        self.orders.get(&id).copied()
    }

    /// Takes an entry in; one of the same name gives way to it, wherever it stood.
    ///
    /// MOQT-14 §7.1 [D14-PRIO-4]: a priority that was updated holds for what waits already.
    pub fn insert(&mut self, id: EntryId, order: SendOrder, item: T) {
        self.remove(id);
        self.orders.insert(id, order);
        let class = self
            .classes
            .entry((order.subscriber, order.publisher))
            .or_insert_with(|| Class {
                turns: VecDeque::new(),
                requests: HashMap::new(),
            });
        let request = class.requests.entry(order.request).or_insert_with(|| {
            class.turns.push_back(order.request);
            BTreeMap::new()
        });
        request.insert((order.place, id), item);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: EntryId) -> Option<T> {
        let order = self.orders.remove(&id)?;
        let key = (order.subscriber, order.publisher);
        let class = self.classes.get_mut(&key)?;
        let request = class.requests.get_mut(&order.request)?;
        let item = request.remove(&(order.place, id));
        if request.is_empty() {
            class.requests.remove(&order.request);
            class.turns.retain(|turn| *turn != order.request);
        }
        if class.turns.is_empty() {
            self.classes.remove(&key);
        }
        item
    }

    /// Takes out who goes next.
    ///
    /// MOQT-14 §7.2 [D14-PRIO-1]: by subscriber priority, then by publisher priority, then by the place within the
    /// request. Requests that tie take turns, so that each sends something.
    pub fn pop(&mut self) -> Option<(EntryId, SendOrder, T)> {
        let mut entry = self.classes.first_entry()?;
        let class = entry.get_mut();
        let next = class.turns.pop_front()?;
        let request = class.requests.get_mut(&next)?;
        let ((_, id), item) = request.pop_first()?;
        if request.is_empty() {
            class.requests.remove(&next);
        } else {
            class.turns.push_back(next);
        }
        if class.turns.is_empty() {
            entry.remove();
        }
        let order = self.orders.remove(&id)?;
        Some((id, order, item))
    }

    /// Takes out who would go last.
    pub fn pop_last(&mut self) -> Option<(EntryId, SendOrder, T)> {
        let class = self.classes.last_entry()?;
        let request = class.get().turns.back()?;
        let ((_, id), _) = class.get().requests.get(request)?.last_key_value()?;
        let id = *id;
        let order = self.order_of(id)?;
        let item = self.remove(id)?;
        Some((id, order, item))
    }
}

impl<T> Default for Scheduler<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Stream bytes that may wait in the transport of a connection with this congestion window, at most (bytes).
///
/// What waits there leaves in the transport's order and not in ours. Half a window is enough to use every chance to
/// send, since the transport is asked for more as soon as that begins to shrink; the least keeps short windows busy.
#[must_use]
pub const fn budget(congestion_window: u64) -> u64 {
    let half = congestion_window / 2;
    if half > LEAST_BUDGET { half } else { LEAST_BUDGET }
}

/// Bytes of the [`budget`] that are left when `waiting` bytes wait in the transport already; none for less than fills
/// a packet.
#[must_use]
pub const fn room(congestion_window: u64, waiting: u64) -> u64 {
    let room = budget(congestion_window).saturating_sub(waiting);
    if room < LEAST_WRITE { 0 } else { room }
}

/// How few bytes must wait in the transport before one who found no [`room`] looks again: early enough that the
/// transport does not run dry, late enough that it is not woken for each packet.
#[must_use]
pub const fn refill_at(congestion_window: u64) -> u64 {
    budget(congestion_window) / 2
}

/// The [`budget`] of a connection whose window is short or not known (bytes): a dozen packets.
const LEAST_BUDGET: u64 = 16 * 1024;

/// The least that is worth a turn (bytes): the payload of a packet. RFC 9000 §14.
const LEAST_WRITE: u64 = 1200;

#[cfg(test)]
mod tests {
    use super::*;

    fn order(subscriber: u8, publisher: u8, request: u64, place: Place) -> SendOrder {
        SendOrder {
            subscriber,
            publisher,
            request: RequestId(request),
            place,
        }
    }

    fn up(group: u64, id: u64) -> Place {
        Place::new(GroupOrder::Ascending, group, id)
    }

    fn down(group: u64, id: u64) -> Place {
        Place::new(GroupOrder::Descending, group, id)
    }

    /// In the order in which they are taken, the names being the numbers in the table.
    fn drained(scheduler: &mut Scheduler<()>) -> Vec<u64> {
        std::iter::from_fn(|| scheduler.pop().map(|(id, ..)| id.0)).collect()
    }

    fn taken(table: &[SendOrder]) -> Vec<u64> {
        let mut scheduler = Scheduler::new();
        for (id, order) in (0..).zip(table) {
            scheduler.insert(EntryId(id), *order, ());
        }
        drained(&mut scheduler)
    }

    /// D14-PRIO-1 D14-PRIO-2: each rule decides only where those before it are silent.
    #[test]
    fn the_rules_in_their_order() {
        // The subscriber's word is first, whatever the publisher says, and 0 is the highest.
        assert_eq!(
            taken(&[order(255, 0, 0, up(0, 0)), order(0, 255, 1, up(9, 9))]),
            [1, 0]
        );
        // Then the publisher's, whatever the place.
        assert_eq!(
            taken(&[order(7, 2, 0, up(0, 0)), order(7, 1, 0, up(9, 9))]),
            [1, 0]
        );
        // Then the group, in the order of the subscription.
        assert_eq!(
            taken(&[order(7, 7, 0, up(2, 0)), order(7, 7, 0, up(1, 9))]),
            [1, 0]
        );
        assert_eq!(
            taken(&[order(7, 7, 0, down(1, 0)), order(7, 7, 0, down(2, 9))]),
            [1, 0]
        );
        // Then the subgroup, or the object of a datagram, also where new groups go first.
        assert_eq!(
            taken(&[order(7, 7, 0, up(1, 5)), order(7, 7, 0, up(1, 4))]),
            [1, 0]
        );
        assert_eq!(
            taken(&[order(7, 7, 0, down(1, 5)), order(7, 7, 0, down(1, 4))]),
            [1, 0]
        );
    }

    /// D14-PRIO-1: requests that tie take turns, and neither who came first nor who has more keeps the others from it.
    #[test]
    fn requests_take_turns() {
        let table = [
            order(1, 1, 0, up(0, 0)),
            order(1, 1, 0, up(1, 0)),
            order(1, 1, 0, up(2, 0)),
            order(1, 1, 2, up(7, 0)),
            order(1, 1, 4, up(0, 0)),
            order(1, 1, 2, up(8, 0)),
        ];
        assert_eq!(taken(&table), [0, 3, 4, 1, 5, 2]);
        // One that comes back at once after each turn, as a lane that has more does.
        let mut scheduler = Scheduler::new();
        for (id, order) in (0..).zip(&table) {
            scheduler.insert(EntryId(id), *order, ());
        }
        let mut seen = [0; 6];
        for _ in 0..30 {
            let (id, order, ()) = scheduler.pop().unwrap();
            seen[usize::try_from(id.0).unwrap()] += 1;
            scheduler.insert(id, order, ());
        }
        assert_eq!(seen, [10, 0, 0, 10, 10, 0]);
    }

    /// D14-PRIO-4: what waits moves to its new place.
    #[test]
    fn what_waits_is_put_elsewhere() {
        let mut scheduler = Scheduler::new();
        scheduler.insert(EntryId(0), order(9, 0, 0, up(0, 0)), ());
        scheduler.insert(EntryId(1), order(8, 0, 2, up(0, 0)), ());
        scheduler.insert(EntryId(2), order(9, 0, 0, up(1, 0)), ());
        scheduler.insert(EntryId(0), order(1, 0, 0, up(0, 0)), ());
        assert_eq!(scheduler.len(), 3);
        assert_eq!(drained(&mut scheduler), [0, 1, 2]);
        assert!(scheduler.is_empty());
    }

    /// D14-LIM-1: who is given up when there is no place is who would have gone last.
    #[test]
    fn the_last_one_is_given_up() {
        let mut scheduler = Scheduler::new();
        scheduler.insert(EntryId(0), order(1, 0, 0, up(0, 0)), ());
        scheduler.insert(EntryId(1), order(9, 0, 2, up(3, 0)), ());
        scheduler.insert(EntryId(2), order(9, 0, 2, up(4, 0)), ());
        assert_eq!(scheduler.pop_last().unwrap().0, EntryId(2));
        assert_eq!(scheduler.pop_last().unwrap().0, EntryId(1));
        assert_eq!(scheduler.pop_last().unwrap().0, EntryId(0));
        assert!(scheduler.pop_last().is_none());
    }

    #[test]
    fn the_budget_is_half_a_window_or_the_least() {
        assert_eq!(budget(0), 16 * 1024);
        assert_eq!(budget(32 * 1024), 16 * 1024);
        assert_eq!(budget(100_000), 50_000);
        assert_eq!(room(100_000, 20_000), 30_000);
        assert_eq!(room(100_000, 49_000), 0);
        assert_eq!(room(100_000, 60_000), 0);
        assert_eq!(refill_at(100_000), 25_000);
        // Who waits is woken by room.
        for window in [0, 1, 40_000, 1 << 30] {
            assert!(room(window, refill_at(window)) > 0);
        }
    }
}
