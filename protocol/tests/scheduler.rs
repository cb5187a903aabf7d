//! The scheduler beside a sorted list, whatever comes, goes and changes its priority.

use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::relay::scheduler::{EntryId, Place, Scheduler, SendOrder};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Names of entries; few, so that the same one comes often.
const IDS: u64 = 12;

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert {
        id: u64,
        subscriber: u8,
        publisher: u8,
        group: u64,
        subgroup: u64,
    },
    /// SUBSCRIBE_UPDATE: all entries of a request.
    Update {
        request: u64,
        subscriber: u8,
    },
    Remove(u64),
    Pop,
    PopLast,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..IDS, 0..3u8, 0..3u8, 0..4u64, 0..3u64).prop_map(|(id, subscriber, publisher, group, subgroup)| {
            Step::Insert { id, subscriber, publisher, group, subgroup }
        }),
        1 => (0..4u64, 0..3u8).prop_map(|(request, subscriber)| Step::Update { request, subscriber }),
        1 => (0..IDS).prop_map(Step::Remove),
        3 => Just(Step::Pop),
        1 => Just(Step::PopLast),
    ]
}

/// An entry belongs to a request for good, and requests have an order of groups each.
const fn request_of(id: u64) -> u64 {
    id % 4
}

const fn group_order(request: u64) -> GroupOrder {
    if request.is_multiple_of(2) {
        GroupOrder::Ascending
    } else {
        GroupOrder::Descending
    }
}

/// What an entry of the model is sorted by: the draft's rules, written down once more without cleverness.
#[derive(Clone, Copy, Debug)]
struct Entry {
    subscriber: u8,
    publisher: u8,
    group: u64,
    subgroup: u64,
}

impl Entry {
    fn send_order(self, id: u64) -> SendOrder {
        let request = request_of(id);
        SendOrder {
            subscriber: self.subscriber,
            publisher: self.publisher,
            request: RequestId(request),
            place: Place::new(group_order(request), self.group, self.subgroup),
        }
    }

    const fn class(self) -> (u8, u8) {
        (self.subscriber, self.publisher)
    }
}

type Model = BTreeMap<u64, Entry>;

/// Entries of one class and request, in the order in which they are sent.
fn sorted(model: &Model, class: (u8, u8), request: u64) -> Vec<u64> {
    let mut mine: Vec<_> = model
        .iter()
        .filter(|(id, entry)| request_of(**id) == request && entry.class() == class)
        .map(|(id, entry)| (*id, *entry))
        .collect();
    mine.sort_by(|(a, one), (b, other)| {
        let groups = match group_order(request) {
            GroupOrder::Ascending => one.group.cmp(&other.group),
            GroupOrder::Descending => other.group.cmp(&one.group),
        };
        groups.then(one.subgroup.cmp(&other.subgroup)).then(a.cmp(b))
    });
    mine.into_iter().map(|(id, _)| id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// D14-PRIO-1 D14-PRIO-4: what goes next is the head of the sorted list of some request of the first class; what is
    /// given up is of the last.
    #[test]
    fn it_is_a_sorted_list(steps in vec(step(), 0..200)) {
        let (mut scheduler, mut model) = (Scheduler::new(), Model::new());
        for step in steps {
            match step {
                Step::Insert { id, subscriber, publisher, group, subgroup } => {
                    let entry = Entry { subscriber, publisher, group, subgroup };
                    scheduler.insert(EntryId(id), entry.send_order(id), id);
                    model.insert(id, entry);
                }
                Step::Update { request, subscriber } => {
                    for (id, entry) in model.iter_mut().filter(|(id, _)| request_of(**id) == request) {
                        entry.subscriber = subscriber;
                        scheduler.insert(EntryId(*id), entry.send_order(*id), *id);
                    }
                }
                Step::Remove(id) => {
                    let item = scheduler.remove(EntryId(id));
                    prop_assert_eq!(item, model.remove(&id).map(|_| id));
                }
                Step::Pop => {
                    let first = model.values().map(|entry| entry.class()).min();
                    match (scheduler.pop(), first) {
                        (Some((id, order, item)), Some(class)) => {
                            prop_assert_eq!(id.0, item);
                            prop_assert_eq!(order, model[&item].send_order(item));
                            prop_assert_eq!(sorted(&model, class, request_of(item)).first().copied(), Some(item));
                            model.remove(&item);
                        }
                        (popped, class) => prop_assert!(popped.is_none() && class.is_none()),
                    }
                }
                Step::PopLast => {
                    let last = model.values().map(|entry| entry.class()).max();
                    match (scheduler.pop_last(), last) {
                        (Some((_, _, item)), Some(class)) => {
                            prop_assert_eq!(sorted(&model, class, request_of(item)).last().copied(), Some(item));
                            model.remove(&item);
                        }
                        (popped, class) => prop_assert!(popped.is_none() && class.is_none()),
                    }
                }
            }
            prop_assert_eq!(scheduler.len(), model.len());
            for (id, entry) in &model {
                prop_assert_eq!(scheduler.order_of(EntryId(*id)), Some(entry.send_order(*id)));
            }
        }
    }

    /// D14-PRIO-1: among requests that tie none is passed over: between two turns of one, every other that had
    /// something all the while had one.
    #[test]
    fn nobody_starves(ids in vec(0..IDS, 1..40)) {
        let mut scheduler = Scheduler::new();
        let entry = Entry { subscriber: 1, publisher: 1, group: 0, subgroup: 0 };
        for id in &ids {
            scheduler.insert(EntryId(*id), entry.send_order(*id), *id);
        }
        let mut requests: Vec<_> = ids.iter().map(|id| request_of(*id)).collect();
        requests.sort_unstable();
        requests.dedup();
        for _ in 0..20 {
            let mut turn: Vec<_> = (0..requests.len())
                .map(|_| {
                    let (id, order, item) = scheduler.pop().unwrap();
                    scheduler.insert(id, order, item);
                    request_of(item)
                })
                .collect();
            turn.sort_unstable();
            prop_assert_eq!(&turn, &requests);
        }
    }
}
