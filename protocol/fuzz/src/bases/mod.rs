//! The information bases of a small mesh: links come and go, local users come and go, time passes, and relays that are not
//! to be trusted say anything about anybody.

mod hostile;
mod verdict;
mod world;

use crate::feed::Feed;
use laps_protocol::peering::info_base::Command;
use std::time::Duration;
use world::{EDGES, WIRES, World};

/// So long after the last change everything that is due is told, and nobody waits any more.
const SETTLED: Duration = Duration::from_secs(100);

/// laps peering, "Information Bases".
pub(crate) fn bases(data: &[u8]) {
    let mut feed = Feed::new(data);
    let choice = feed.u8();
    let mut world = World::new(choice);
    while !feed.is_over() {
        step(&mut world, &mut feed, choice & 1 == 1);
    }
    // What anybody said of the infos of a relay has not changed them.
    for relay in 0..world.relays.len() {
        verdict::own_infos(&mut world, relay);
    }
    world.hostile_leave();
    world.run(SETTLED);
    if world.honest {
        verdict::verdict(&world);
    }
    quiet(&mut world);
    if world.honest {
        verdict::twice_at_most(&mut world);
    }
    everybody_leaves(&mut world);
}

fn step(world: &mut World, feed: &mut Feed<'_>, hostile: bool) {
    let relay = feed.below(world.relays.len());
    match feed.below(if hostile { 24 } else { 13 }) {
        0 => world.publish(relay, world::published(feed.below(8))),
        1 => world.unpublish(relay, &world::published(feed.below(8))),
        2 => world.subscribe(relay, &world::track(feed.below(4)), feed.u8() % 3),
        3 => world.unsubscribe(relay, &world::track(feed.below(4))),
        4 => world.join(feed.below(WIRES)),
        5 => world.cut(feed.below(WIRES)),
        6 => {
            let wire = feed.below(WIRES);
            world.notice(wire, feed.below(2));
        }
        7 => {
            let wire = feed.below(WIRES);
            let end = feed.below(2);
            for _ in 0..=feed.below(4) {
                world.deliver(wire, end);
            }
        }
        8 => world.run(Duration::from_millis(u64::from(feed.u8()) * 32)),
        9 => world.measure(feed.below(WIRES), u64::from(feed.u8()) * 300),
        10 => world.restart(relay),
        11 if relay >= EDGES => world.watch(relay, feed.below(3), feed.flag()),
        11 => {
            let again = feed.u8();
            world.begin_epoch(relay, again);
        }
        12 => world.names_that_collide(relay, feed.below(6)),
        _ => hostile::step(world, relay, feed),
    }
}

/// When nothing changes nothing is said but what is said regularly.
fn quiet(world: &mut World) {
    let (infos, pulls, all) = (world.infos_sent, world.pulls_sent, world.delivered);
    world.run(Duration::from_secs(60));
    if world.honest {
        assert_eq!(
            (world.infos_sent, world.pulls_sent),
            (infos, pulls),
            "said while nothing changed"
        );
    }
    let all = world.delivered - all;
    assert!(all < 600, "{all} messages while nothing changed");
}

/// Of those who have gone nothing stays, and when the links have gone nothing at all.
fn everybody_leaves(world: &mut World) {
    for relay in 0..world.relays.len() {
        world.everything_ends(relay);
    }
    world.run(SETTLED);
    for relay in 0..world.relays.len() {
        verdict::own_infos(world, relay);
        let sizes = world.relays[relay].base.sizes();
        let left = (sizes.publishes, sizes.subscribes, sizes.remembered);
        assert_eq!(sizes.own, 0, "relay {relay} keeps what was withdrawn");
        assert!(!world.honest || left == (0, 0, 0), "relay {relay}: {sizes:?}");
    }
    if world.honest {
        verdict::verdict(world);
    }
    (0..WIRES).for_each(|wire| world.cut(wire));
    world.run(SETTLED);
    for (index, relay) in world.relays.iter().enumerate() {
        let sizes = relay.base.sizes();
        assert_eq!(sizes, Default::default(), "relay {index} is alone");
        assert!(relay.base.fib().is_empty() && relay.base.fib().routes().next().is_none());
        assert!(relay.view.is_empty(), "relay {index}: {:?}", relay.view);
    }
}

/// A command of a local user who may ask for something that cannot be.
fn refused(world: &mut World, relay: usize, command: Command) -> bool {
    let now = world.now;
    let sizes = world.relays[relay].base.sizes();
    let done = world.relays[relay].base.command(now, command);
    if done.is_err() {
        assert_eq!(
            world.relays[relay].base.sizes(),
            sizes,
            "{done:?} changed something"
        );
    }
    world.drain(relay);
    done.is_err()
}
