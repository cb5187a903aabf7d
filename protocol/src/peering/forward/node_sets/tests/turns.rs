//! New routes, worked out a part at a time.

use super::*;

/// Ten tracks with ten nodes each, all of which link 1 leads to, and then link 2.
fn moved() -> Relay {
    let nodes: Vec<u64> = (11..=20).collect();
    let routes = |link: &'static [u32]| nodes.iter().map(|node| (*node, link)).collect::<Vec<_>>();
    let mut relay = Relay::edge(&routes(&[1]));
    for name in 1..=10 {
        relay.targets(name, &nodes);
    }
    relay.drain();
    relay.sets.allow(0);
    relay.routes(&routes(&[2]));
    relay
}

/// The tracks whose routes are others, in order.
fn rerouted(relay: &mut Relay) -> Vec<u64> {
    let track = |said: &String| said.strip_prefix("route track ")?.split(' ').next()?.parse().ok();
    relay.drain().iter().filter_map(track).collect()
}

/// A change of all routes does not keep a relay busy for longer than it may be: others of its tasks, such as those that say
/// that it lives, come in between.
#[test]
fn new_routes_are_worked_out_in_turns() {
    let mut relay = moved();
    assert_eq!(rerouted(&mut relay), []);
    assert!(relay.sets.is_behind());
    relay.sets.allow(25);
    assert_eq!(rerouted(&mut relay), [1, 2, 3]);
    // What is asked for meanwhile does not wait, and is not looked at twice.
    relay.targets(9, &[11]);
    assert_eq!(rerouted(&mut relay), [9]);
    // New routes before the end of that: the next go first.
    relay.routes(&(11..=20).map(|node| (node, &[3_u32][..])).collect::<Vec<_>>());
    relay.sets.allow(40);
    assert_eq!(rerouted(&mut relay), [4, 5, 6, 7]);
    relay.sets.allow(1000);
    assert_eq!(rerouted(&mut relay), [8, 9, 10, 1, 2, 3]);
    assert!(!relay.sets.is_behind());
    for name in 1..=10 {
        let assigned = relay.sets.assigned(Source::Track(track(name)));
        let links: Vec<u32> = assigned
            .iter()
            .filter(|(_, _, nodes)| !nodes.is_empty())
            .map(|(link, ..)| link.0)
            .collect();
        assert_eq!(links, [3], "track {name}");
    }
}

/// A link that dies is no matter of turns, and neither is a source that ends.
#[test]
fn what_hurries_does_not_wait() {
    let mut relay = moved();
    relay.targets(4, &[]);
    relay.sets.link_down(LinkId(1));
    assert_eq!(rerouted(&mut relay), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert!(!relay.sets.is_behind());
}

/// Who found no room is looked at once for all the room that there is, and not for each set that ends.
#[test]
fn room_is_given_away_in_turns() {
    let limits = Limits {
        max_sets_per_link: 2,
        ..Limits::default()
    };
    let mut relay = Relay::new(NodeType::Edge, limits, &[(1, &[1])]).linked();
    for name in 1..=6 {
        relay.targets(name, &[1]);
    }
    relay.drain();
    relay.sets.allow(0);
    relay.targets(1, &[]);
    relay.targets(2, &[]);
    let ended = ["end track 1", "withdraw L1:1", "end track 2", "withdraw L1:2"];
    assert_eq!(relay.drain(), ended);
    relay.sets.allow(100);
    assert_eq!(
        relay.drain(),
        [
            "tell L1:3 [1]",
            "route track 3 -> L1:3, L1 Asked",
            "tell L1:4 [1]",
            "route track 4 -> L1:4, L1 Asked"
        ]
    );
    assert!(!relay.sets.is_behind());
}
