//! The relay's tables beside plain models of them.

use crate::feed::Feed;
use crate::messages::namespace;
use laps_protocol::moqt::filter::{ResolvedFilter, resolve};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, MessageParams, RequestId, SubscribeFilter, SubscribeUpdate};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::relay::dampen::Dampener;
use laps_protocol::relay::expiry::{Age, Handed, Path, delivery_timeout};
use laps_protocol::relay::inbound::Inbound;
use laps_protocol::relay::namespace_tree::NamespaceTree;
use laps_protocol::relay::new_group::NewGroup;
use laps_protocol::relay::scheduler::{self, EntryId, Place, Scheduler, SendOrder};
use laps_protocol::relay::told::{Due, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who announced what, found by prefix, beside a list that is searched from end to end.
pub(crate) fn tree(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut tree: NamespaceTree<u8, u8> = NamespaceTree::new();
    let mut model: BTreeMap<(TrackNamespace, u8), u8> = BTreeMap::new();
    while !feed.is_over() {
        let (action, owner, name) = (feed.below(8), feed.u8() % 4, namespace(&mut feed));
        match action {
            0..=2 => {
                let value = feed.u8();
                assert_eq!(
                    tree.insert(&name, owner, value),
                    model.insert((name.clone(), owner), value)
                );
            }
            3 | 4 => assert_eq!(tree.remove(&name, &owner), model.remove(&(name.clone(), owner))),
            5 => {
                let gone = tree.remove_owner(&owner);
                let before = model.len();
                model.retain(|(_, of), _| *of != owner);
                assert_eq!(gone.len(), before - model.len());
            }
            _ => {}
        }
        assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(
            tree.count(&owner),
            model.keys().filter(|(_, of)| *of == owner).count()
        );
        assert_eq!(tree.get(&name, &owner), model.get(&(name.clone(), owner)));
        let covers = model.iter().filter(|((at, _), _)| at.is_prefix_of(&name));
        let mut expected: Vec<_> = covers
            .map(|((at, of), value)| (at.fields().len(), *of, *value))
            .collect();
        let found = tree.matches(&name);
        assert!(found.is_sorted_by(|a, b| a.fields >= b.fields));
        let sorted = |found: Vec<laps_protocol::relay::namespace_tree::Entry<'_, u8, u8>>| {
            let mut found: Vec<_> = found.iter().map(|e| (e.fields, *e.owner, *e.value)).collect();
            found.sort_unstable();
            found
        };
        expected.sort_unstable();
        assert_eq!(sorted(found), expected);
        let below = model.iter().filter(|((at, _), _)| name.is_prefix_of(at));
        let mut expected: Vec<_> = below
            .map(|((at, of), value)| (at.fields().len(), *of, *value))
            .collect();
        expected.sort_unstable();
        assert_eq!(sorted(tree.below(&name)), expected);
        let related = |at: &TrackNamespace| at.is_prefix_of(&name) || name.is_prefix_of(at);
        let overlaps = model.keys().any(|(at, of)| *of == owner && related(at));
        assert_eq!(tree.overlaps(&name, &owner), overlaps);
    }
}

/// What a peer was told of names that come and go: in the end exactly what there is, and nothing twice.
pub(crate) fn told(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut told: Told<u8> = Told::new();
    let mut there: BTreeMap<u8, u64> = BTreeMap::new();
    let mut muted = BTreeSet::new();
    // What the peer has heard, by its messages alone.
    let mut heard: BTreeMap<u8, (u64, RequestId)> = BTreeMap::new();
    let mut refused: BTreeMap<u8, u64> = BTreeMap::new();
    let (mut request, mut life) = (0, 0);
    let mut speak = |told: &mut Told<u8>,
                     feed: &mut Feed<'_>,
                     heard: &mut BTreeMap<u8, (u64, RequestId)>,
                     refused: &mut BTreeMap<u8, u64>,
                     there: &BTreeMap<u8, u64>,
                     may_tell: bool| {
        let Some(due) = told.next(may_tell) else {
            return false;
        };
        match due {
            Due::Tell(name, life) => {
                assert!(may_tell, "told without being allowed to");
                assert!(!heard.contains_key(&name), "{name} is told of twice");
                match feed.u8() {
                    255 => {
                        told.declined(&name, life);
                        refused.insert(name, life);
                    }
                    254 => told.put_back(&name),
                    _ => {
                        assert!(told.is_wanted(&name, life) && there.get(&name) == Some(&life));
                        request += 2;
                        told.said(&name, life, RequestId(request));
                        heard.insert(name, (life, RequestId(request)));
                    }
                }
            }
            Due::Withdraw(name, request) => {
                assert_eq!(heard.remove(&name).map(|(_, said)| said), Some(request), "{name}");
            }
        }
        true
    };
    while !feed.is_over() {
        let name = feed.u8() % 6;
        match feed.below(8) {
            0 | 1 => {
                life += 1;
                there.insert(name, life);
                muted.remove(&name);
                told.now(name, Some(life));
            }
            2 | 3 => {
                there.remove(&name);
                muted.remove(&name);
                told.now(name, None);
            }
            4 | 5 => {
                let may_tell = feed.flag();
                speak(&mut told, &mut feed, &mut heard, &mut refused, &there, may_tell);
            }
            6 => {
                if let Some((life, request)) = heard.remove(&name) {
                    assert_eq!(told.refused(request), Some(name));
                    refused.insert(name, life);
                }
            }
            _ => match feed.below(3) {
                0 => {
                    told.mute(&name, |at| *at < name + 2);
                    for at in name..name + 2 {
                        there.remove(&at);
                        muted.insert(at);
                    }
                }
                1 => {
                    told.complete(&name, |at| *at < name + 2);
                    muted.retain(|at| !(name..name + 2).contains(at));
                }
                _ => {
                    told.trim(0);
                    muted.clear();
                }
            },
        }
        assert!(told.len().0 <= 8 && told.len().1 <= 16);
    }
    // Everything is said, as long as it takes.
    told.complete(&0, |_| true);
    for _ in 0..64 {
        if !speak(&mut told, &mut feed, &mut heard, &mut refused, &there, true) {
            break;
        }
    }
    assert_eq!(told.next(true), None);
    there.retain(|name, life| refused.get(name) != Some(life));
    let known: BTreeMap<_, _> = heard.iter().map(|(name, (life, _))| (*name, *life)).collect();
    assert_eq!(known, there, "what was told is not what there is");
    for name in 0..8 {
        told.now(name, None);
    }
    while speak(&mut told, &mut feed, &mut heard, &mut refused, &there, false) {}
    assert!(heard.is_empty());
}

/// Who sends next, whose stream is given up, and how long what is sent may take.
pub(crate) fn order(data: &[u8]) {
    let mut feed = Feed::new(data);
    let now = crate::base();
    let mut scheduler: Scheduler<u64> = Scheduler::new();
    let mut model: BTreeMap<EntryId, SendOrder> = BTreeMap::new();
    let mut open = Inbound::new(3);
    let mut tickets = Vec::new();
    let mut wishes = NewGroup::default();
    let mut handed = Handed::default();
    let (mut largest, mut sent): (Option<Location>, u64) = (None, 0);
    let mut dampener = Dampener::new(Duration::from_millis(u64::from(feed.u8())), false);
    if feed.flag() {
        dampener = Dampener::told_at(Duration::from_millis(9), false, now);
    }
    let mut at = now;
    let mut last_told = None;
    while !feed.is_over() {
        let id = EntryId(u64::from(feed.u8() % 12));
        match feed.below(12) {
            0..=2 => {
                let group_order = if feed.flag() {
                    GroupOrder::Ascending
                } else {
                    GroupOrder::Descending
                };
                let order = SendOrder {
                    subscriber: feed.u8() % 3,
                    publisher: feed.u8() % 3,
                    request: RequestId(feed.number() % 3),
                    place: Place::new(group_order, feed.number() % 4, feed.number() % 4),
                };
                scheduler.insert(id, order, id.0);
                model.insert(id, order);
            }
            3 => assert_eq!(scheduler.remove(id).is_some(), model.remove(&id).is_some()),
            4 | 5 => {
                let first = model
                    .values()
                    .map(|order| (order.subscriber, order.publisher))
                    .min();
                let popped = scheduler.pop();
                assert_eq!(popped.is_some(), first.is_some());
                if let Some((id, order, item)) = popped {
                    assert_eq!((model.remove(&id), item), (Some(order), id.0));
                    assert_eq!(Some((order.subscriber, order.publisher)), first);
                    let mut same = model.values().filter(|other| {
                        (other.subscriber, other.publisher, other.request)
                            == (order.subscriber, order.publisher, order.request)
                    });
                    assert!(
                        same.all(|other| other.place >= order.place),
                        "not in its request's order"
                    );
                }
            }
            6 => {
                let last = model
                    .values()
                    .map(|order| (order.subscriber, order.publisher))
                    .max();
                if let Some((id, order, _)) = scheduler.pop_last() {
                    assert_eq!(model.remove(&id), Some(order));
                    assert_eq!(Some((order.subscriber, order.publisher)), last);
                }
            }
            7 => {
                let priority = feed.u8() % 4;
                let (ticket, given_up) = open.open(priority);
                tickets.push((ticket, priority));
                if let Some(given_up) = given_up {
                    // MOQT-14 §12.1: the least urgent; of equals the oldest.
                    let least = tickets.iter().map(|(_, priority)| *priority).max();
                    let first = tickets
                        .iter()
                        .position(|(_, priority)| Some(*priority) == least)
                        .unwrap();
                    assert_eq!(tickets.remove(first).0, given_up);
                }
                assert!(open.len() <= 3);
            }
            8 => {
                if !tickets.is_empty() {
                    open.close(tickets.remove(feed.below(tickets.len())).0);
                }
            }
            9 => {
                match feed.below(6) {
                    0 => wishes.want(),
                    1 => wishes.advanced(largest),
                    2 => wishes.paused(),
                    3 => wishes.lost(),
                    4 => wishes.subscribed(largest),
                    _ => largest = Some(Location::new(feed.number(), feed.number())),
                }
                let outstanding = wishes.is_outstanding();
                let asked = if feed.flag() {
                    wishes.take(largest)
                } else {
                    wishes.take_to_subscribe(largest)
                };
                if let Some(value) = asked {
                    assert!(!outstanding, "two requests for a new group");
                    assert!(
                        value > 0
                            && largest.is_none_or(|largest| value > largest.group || value == (1 << 62) - 1)
                    );
                    assert!(wishes.is_outstanding());
                }
            }
            10 => {
                sent += feed.number() % 1000 + 1;
                at += Duration::from_millis(u64::from(feed.u8()));
                handed.note(at, sent, Duration::from_millis(80));
                assert_eq!(handed.newest(), Some(at));
                if feed.flag() {
                    handed.delivered(sent);
                    assert_eq!(handed.oldest(), None);
                } else {
                    handed.delivered(sent - 1);
                    assert!(handed.oldest().is_some_and(|oldest| oldest <= at));
                }
            }
            _ => {
                let wanted = feed.flag();
                at += Duration::from_millis(u64::from(feed.u8() % 16));
                dampener.want(wanted, at);
                if let Some(said) = dampener.poll(at) {
                    assert_ne!(last_told.replace(said), Some(said), "the same is told twice");
                    assert_eq!((said, dampener.poll(at)), (dampener.told(), None));
                }
                if let Some(due) = dampener.due() {
                    assert!(due > at);
                }
            }
        }
        assert_eq!(
            (scheduler.len(), scheduler.is_empty()),
            (model.len(), model.is_empty())
        );
        assert_eq!(scheduler.order_of(id), model.get(&id).copied());
        assert_eq!((open.len(), open.is_empty()), (tickets.len(), tickets.is_empty()));
    }
    times(&mut Feed::new(data));
}

fn times(feed: &mut Feed<'_>) {
    let (window, waiting) = (feed.number(), feed.number());
    assert!(scheduler::room(window, waiting) <= scheduler::budget(window));
    assert!(scheduler::refill_at(window) < scheduler::budget(window));
    let timeout = delivery_timeout(Some(feed.number()), feed.flag().then(|| feed.number()));
    let now = crate::base();
    let path = Path {
        window,
        in_flight: feed.number(),
        rtt: Duration::from_millis(feed.number() % 1000),
    };
    let age = Age {
        now: Some(now + Duration::from_secs(10)),
        timeout,
        path: feed.flag().then_some(path),
    };
    assert_eq!(
        age.is_over(now),
        timeout.is_some_and(|timeout| timeout <= Duration::from_secs(10))
    );
    assert!(!age.is_over(now) || age.is_in_vain(now, 0));
    assert!(timeout.is_some() || !age.is_in_vain(now, feed.number()));
}

/// Which objects a subscription lets pass, and that updates only narrow. MOQT-14 §9.7, §9.10.
pub(crate) fn filter(data: &[u8]) {
    let mut feed = Feed::new(data);
    let place = |feed: &mut Feed<'_>| Location::new(feed.number(), feed.number());
    let largest = feed.flag().then(|| place(&mut feed));
    let filter = match feed.below(4) {
        0 => SubscribeFilter::LargestObject,
        1 => SubscribeFilter::NextGroupStart,
        2 => SubscribeFilter::AbsoluteStart(place(&mut feed)),
        _ => SubscribeFilter::AbsoluteRange {
            start: place(&mut feed),
            end_group: feed.number(),
        },
    };
    let kind = filter.kind();
    let Ok(resolved) = resolve(&filter, largest) else {
        // Only what cannot hold an object to come is refused.
        let SubscribeFilter::AbsoluteRange { start, end_group } = filter else {
            assert!(largest.is_some_and(|largest| largest.group == u64::MAX || largest.object == u64::MAX));
            return;
        };
        assert!(
            end_group < start.group || largest.is_some_and(|largest| largest.group > end_group),
            "{kind:?}"
        );
        return;
    };
    assert!(!resolved.is_empty() && !resolved.is_over(largest));
    if let (SubscribeFilter::LargestObject | SubscribeFilter::NextGroupStart, Some(largest)) =
        (filter, largest)
    {
        assert!(!resolved.admits(largest));
        let next = Location::new(largest.group, largest.object + 1);
        assert_eq!(resolved.admits(next), filter == SubscribeFilter::LargestObject);
        assert!(resolved.admits(Location::new(largest.group + 1, 0)));
    }
    let mut narrowed = resolved;
    while !feed.is_over() {
        let update = SubscribeUpdate {
            subscription: RequestId(0),
            start: place(&mut feed),
            end_group: feed.flag().then(|| feed.number()),
            priority: 0,
            forward: true,
            params: MessageParams::default(),
        };
        let before = narrowed;
        narrowed = narrowed.narrow(&update);
        let at = place(&mut feed);
        let update = ResolvedFilter {
            start: update.start,
            end_group: update.end_group,
        };
        assert_eq!(narrowed.admits(at), before.admits(at) && update.admits(at));
        assert!(!narrowed.admits(at) || narrowed.admits_group(at.group));
        assert!(narrowed.is_empty() || !narrowed.admits_group(at.group) || before.admits_group(at.group));
    }
}
