use super::*;
use proptest::prelude::*;

const MOMENT: Duration = Duration::from_millis(1);

fn order(largest: Option<Location>) -> (Order<Location>, Instant) {
    (Order::new(Patience::default(), largest), Instant::now())
}

fn put(order: &mut Order<Location>, now: Instant, group: u64, object: u64) {
    let at = Location::new(group, object);
    order.insert(now, at, false, 10, at);
}

fn out(order: &mut Order<Location>, now: Instant) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| order.pop(now))
        .map(|at| (at.group, at.object))
        .collect()
}

#[test]
fn a_group_that_overtakes_waits_for_the_one_before() {
    let (mut order, now) = order(None);
    order.opened(1);
    put(&mut order, now, 1, 0);
    assert_eq!(out(&mut order, now), []);
    order.opened(0);
    put(&mut order, now, 0, 0);
    assert_eq!(out(&mut order, now), [(0, 0)]);
    put(&mut order, now, 1, 1);
    put(&mut order, now, 0, 1);
    assert_eq!(out(&mut order, now), [(0, 1)]);
    order.closed(0);
    assert_eq!(out(&mut order, now), [(1, 0), (1, 1)]);
    assert_eq!(order.late(), 0);
}

#[test]
fn the_first_object_waits_a_moment_unless_it_is_known_to_be_first() {
    let (mut fresh, now) = order(None);
    put(&mut fresh, now, 7, 0);
    assert_eq!(out(&mut fresh, now), []);
    assert_eq!(fresh.deadline(), Some(now + Patience::default().datagrams));
    put(&mut fresh, now, 6, 0);
    assert_eq!(
        out(&mut fresh, now + Patience::default().datagrams),
        [(6, 0), (7, 0)]
    );

    let (mut known, now) = order(Some(Location::new(7, 4)));
    put(&mut known, now, 7, 5);
    assert_eq!(out(&mut known, now), [(7, 5)]);
}

#[test]
fn subgroups_of_a_group_are_merged() {
    let (mut order, now) = order(None);
    order.opened(0);
    for object in [0, 2, 4] {
        put(&mut order, now, 0, object);
    }
    assert_eq!(out(&mut order, now), [(0, 0)]);
    order.opened(0);
    for object in [1, 3] {
        put(&mut order, now, 0, object);
    }
    assert_eq!(out(&mut order, now), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    order.closed(0);
    order.opened(1);
    put(&mut order, now, 1, 0);
    assert_eq!(out(&mut order, now), [], "a stream of group 0 is open");
    order.closed(0);
    assert_eq!(out(&mut order, now), [(1, 0)]);
    // The next group is taken to have two streams too.
    order.closed(1);
    order.opened(2);
    put(&mut order, now, 2, 0);
    assert_eq!(out(&mut order, now), []);
    order.opened(1);
    put(&mut order, now, 1, 1);
    order.closed(1);
    assert_eq!(out(&mut order, now), [(1, 1), (2, 0)]);
}

#[test]
fn patience_ends_and_what_comes_then_is_late() {
    let (mut order, now) = order(None);
    order.opened(0);
    put(&mut order, now, 0, 0);
    assert_eq!(out(&mut order, now), [(0, 0)]);
    order.opened(1);
    put(&mut order, now, 1, 0);
    let due = now + Patience::default().streams;
    assert_eq!(order.deadline(), Some(due));
    assert_eq!(out(&mut order, due - MOMENT), []);
    assert_eq!(out(&mut order, due), [(1, 0)]);
    put(&mut order, due, 0, 1);
    assert_eq!(out(&mut order, due), []);
    assert_eq!(order.late(), 1);
    assert_eq!(order.deadline(), None);
}

#[test]
fn datagrams_wait_less() {
    let (mut order, now) = order(None);
    for object in [0, 2] {
        let at = Location::new(0, object);
        order.insert(now, at, true, 1, at);
    }
    assert_eq!(out(&mut order, now), [(0, 0)]);
    assert_eq!(out(&mut order, now + Patience::default().datagrams), [(0, 2)]);
}

#[test]
fn no_more_bytes_are_held_than_allowed() {
    let patience = Patience {
        bytes: 1000,
        ..Patience::default()
    };
    let (mut order, now) = (Order::new(patience, None), Instant::now());
    for object in 1..100_u64 {
        let at = Location::new(5, object);
        order.insert(now, at, false, 100 - OVERHEAD.min(100), at);
        while order.pop(now).is_some() {}
        assert!(order.bytes <= 1000 + 100 + OVERHEAD);
    }
    assert_eq!(order.late(), 0, "the smallest leave first");
}

#[test]
fn an_object_that_comes_twice_counts_once() {
    let (mut order, now) = order(None);
    put(&mut order, now, 0, 1);
    put(&mut order, now, 0, 1);
    put(&mut order, now, 0, 0);
    assert_eq!(out(&mut order, now), [(0, 0), (0, 1)]);
}

/// Streams in turn, each its objects in order, mixed as `picks` says.
fn mixed(streams: Vec<Vec<Location>>, picks: &[usize]) -> Vec<(usize, Option<Location>)> {
    let mut left: Vec<_> = streams
        .into_iter()
        .map(std::collections::VecDeque::from)
        .enumerate()
        .collect();
    let mut events = Vec::new();
    for pick in picks.iter().cycle() {
        if left.is_empty() {
            break;
        }
        let n = pick % left.len();
        let (stream, objects) = &mut left[n];
        let next = objects.pop_front();
        events.push((*stream, next));
        if next.is_none() {
            left.remove(n);
        }
    }
    events
}

proptest! {
    /// However streams mix, what is let through in time is in order, and with patience nothing is lost.
    #[test]
    fn whatever_the_mix_the_output_is_in_order_and_whole(
        groups in 1..6_u64, subgroups in 1..4_u64, objects in 1..6_u64,
        picks in prop::collection::vec(any::<usize>(), 1..40),
    ) {
        let mut streams = Vec::new();
        for group in 0..groups {
            for subgroup in 0..subgroups {
                let ids = (0..objects).map(|n| n * subgroups + subgroup);
                streams.push(ids.map(|id| Location::new(group, id)).collect::<Vec<_>>());
            }
        }
        let group_of: Vec<u64> = streams.iter().map(|s| s[0].group).collect();
        let mut want: Vec<_> = streams.iter().flatten().copied().collect();
        want.sort_unstable();
        let (mut order, now) = (Order::new(Patience::default(), None), Instant::now());
        order.streams_a_group = usize::try_from(subgroups).unwrap();
        let (mut opened, mut got) = (BTreeSet::new(), Vec::new());
        for (stream, object) in mixed(streams, &picks) {
            if opened.insert(stream) {
                order.opened(group_of[stream]);
            }
            match object {
                Some(at) => order.insert(now, at, false, 1, at),
                None => order.closed(group_of[stream]),
            }
            got.extend(std::iter::from_fn(|| order.pop(now)));
        }
        got.extend(std::iter::from_fn(|| order.take()));
        prop_assert_eq!(order.late(), 0);
        prop_assert_eq!(got, want);
        prop_assert_eq!(order.bytes, 0);
        prop_assert!(order.due.is_empty());
    }

    /// In any order at all and with no patience, the output still rises, and each object is let through or late.
    #[test]
    fn without_patience_objects_are_late_but_never_out_of_order(
        places in prop::collection::vec((0..5_u64, 0..5_u64), 0..60),
    ) {
        let patience = Patience { streams: Duration::ZERO, datagrams: Duration::ZERO, bytes: 0 };
        let (mut order, now) = (Order::new(patience, None), Instant::now());
        let mut got = Vec::new();
        for &(group, object) in &places {
            let at = Location::new(group, object);
            order.insert(now, at, false, 1, at);
            got.extend(std::iter::from_fn(|| order.pop(now)));
        }
        prop_assert!(got.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(got.len() as u64 + order.late(), places.len() as u64);
    }
}
