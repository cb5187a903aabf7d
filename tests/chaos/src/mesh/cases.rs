//! What is promised of a mesh, one case each.

use super::far;
use super::node::{Node, edge, via};
use super::roles;
use super::world::World;
use crate::Failure;
use crate::record::{self, GOP, RATE};
use crate::scene::Tools;

/// A promise, and what shows that it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Gives the figures.
    pub(crate) run: fn(&Tools, usize) -> Result<String, Failure>,
}

/// All of them.
pub(super) const ALL: &[Case] = &[
    Case {
        name: "alone",
        what: "a relay with a CA and without a peer serves its own clients",
        run: |tools, number| everywhere(tools, number, &[edge(&[])]),
    },
    Case {
        name: "chain-of-3",
        what: "each relay dials the one before: every object exactly once everywhere",
        run: |tools, number| everywhere(tools, number, &[edge(&[]), edge(&[0]), edge(&[1])]),
    },
    Case {
        name: "ring-of-4",
        what: "two ways to each relay: every object exactly once everywhere",
        run: |tools, number| everywhere(tools, number, &[edge(&[]), edge(&[0]), edge(&[1]), edge(&[0, 2])]),
    },
    Case {
        name: "full-mesh-of-5",
        what: "each relay dials all before it: every object exactly once everywhere",
        run: |tools, number| {
            let dials: [&[usize]; 5] = [&[], &[0], &[0, 1], &[0, 1, 2], &[0, 1, 2, 3]];
            everywhere(tools, number, &dials.map(edge))
        },
    },
    Case {
        name: "via-copies",
        what: "an origin, a via and four edges: the origin sends the track once, the via four times",
        run: roles::via_copies,
    },
    Case {
        name: "via-holds-nothing",
        what: "the same with ten times as many subscriptions: the via holds none of them",
        run: roles::via_holds_nothing,
    },
    Case {
        name: "stub-of-50",
        what: "a stub behind a NAT with fifty subscribers: one stream for each subgroup, unknown beyond its edge",
        run: roles::stub_of_50,
    },
    Case {
        name: "via-killed",
        what: "kill -9 of the via in a diamond: nobody loses or doubles anything, a gap under 1.5 s",
        run: via_killed,
    },
    Case {
        name: "via-drained",
        what: "the via of a diamond is drained: nobody loses anything, no gap above 100 ms",
        run: via_drained,
    },
    Case {
        name: "edge-drained",
        what: "an edge that is on the way of a track, and has users, is drained: nobody else loses anything",
        run: edge_drained,
    },
    Case {
        name: "better-path",
        what: "a shorter way is found: the track takes it, nobody loses anything, no gap above 100 ms",
        run: better_path,
    },
    Case {
        name: "far-via-killed",
        what: "kill -9 of the via in a diamond with 40 ms and 2 % loss on each link",
        run: far::via_killed,
    },
    Case {
        name: "ways-change",
        what: "the two ways of a diamond are the nearer one in turn: the track moves, nobody loses anything",
        run: far::ways_change,
    },
    Case {
        name: "dead-link",
        what: "kill -9 of a peer near by, and of one 150 ms away: noticed within 900 ms",
        run: far::dead_link,
    },
    Case {
        name: "no-false-alarm",
        what: "all cores busy, 150 ms and 5 % loss, then 700 ms of silence of one side: no link is given up",
        run: far::no_false_alarm,
    },
];

/// A publisher beside the first relay, a subscriber beside each.
fn everywhere(tools: &Tools, number: usize, nodes: &[Node]) -> Result<String, Failure> {
    let mut world = World::begin(tools, nodes, number)?;
    world.publish(0, 600)?;
    for at in 0..nodes.len() {
        world.subscribe(at)?;
    }
    world.all_receive()?;
    world.everything_once()?;
    let links: usize = nodes.iter().map(|node| node.dials.len()).sum();
    let said = world.messages_said()?;
    let subscriptions = nodes.len() - 1;
    if subscriptions == 0 {
        return Ok("1 subscriber, each object once".to_owned());
    }
    let each = said / subscriptions;
    // What is flooded crosses each link twice at most, and a subscription is said anew twice at most while the mesh forms.
    // Answers, questions of relays that see each other for the first time, and sets go along ways of at most that many
    // relays, a few each, and again where a way changes as round trips do.
    let most = 3 * 2 * links + 12 * nodes.len();
    if each > most {
        return Err(format!(
            "{each} control messages for each of {subscriptions} subscriptions, {most} at most"
        )
        .into());
    }
    Ok(format!(
        "{} subscribers, each object once, {each} control messages for each subscription (at most {most})",
        nodes.len()
    ))
}

/// Two ways from the origin to the other edge; the first via is on the one that is taken.
pub(super) const DIAMOND: [Node; 4] = [edge(&[]), via(&[0]), via(&[0]), edge(&[1, 2])];

/// Which of two relays carries the track: one sends it, and the other one next to nothing. On a busy machine round trips
/// are whatever they are, and the track may just be moving.
pub(super) fn carrier(world: &mut World) -> Result<usize, Failure> {
    let sent = |world: &mut World| -> Result<[u64; 2], Failure> {
        Ok([
            world.relay(1)?.place.passed()?.sent,
            world.relay(2)?.place.passed()?.sent,
        ])
    };
    let mut seen = [0, 0];
    for _ in 0..20 {
        let before = sent(world)?;
        world
            .subscribers
            .iter()
            .try_for_each(|user| user.tape.more(GOP, std::time::Duration::from_secs(30)))?;
        let after = sent(world)?;
        seen = [after[0] - before[0], after[1] - before[1]];
        if seen[0].max(seen[1]) > 2 * seen[0].min(seen[1]) {
            return Ok(if seen[0] > seen[1] { 1 } else { 2 });
        }
    }
    Err(format!("the two sent {seen:?} bytes, so who carries the track?").into())
}

fn via_killed(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &DIAMOND, number)?;
    everybody_at(&mut world, &[0, 3, 3])?;
    let at = carrier(&mut world)?;
    let begun = record::now();
    world.relay(at)?.process()?.kill()?;
    let last = world.settle()?;
    gap_under(&world, last, (begun, begun), 1_500)
}

fn via_drained(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &DIAMOND, number)?;
    everybody_at(&mut world, &[0, 3, 3])?;
    let at = carrier(&mut world)?;
    let begun = record::now();
    world.relay(at)?.process()?.signal("TERM")?;
    ends_well(&mut world, at)?;
    let over = record::now();
    let last = world.settle()?;
    gap_under(&world, last, (begun, over), PLANNED_MS)
}

/// In a ring the edge on the other side has users of its own, and carries the track for one more.
fn edge_drained(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &[edge(&[]), edge(&[0]), edge(&[0]), edge(&[1, 2])], number)?;
    everybody_at(&mut world, &[0, 3])?;
    let at = carrier(&mut world)?;
    world.subscribe(at)?;
    world.all_receive()?;
    let begun = record::now();
    world.relay(at)?.process()?.signal("TERM")?;
    ends_well(&mut world, at)?;
    let over = record::now();
    // Whose relay it was is asked to leave, and has nobody else.
    world.subscribers.pop();
    let last = world.settle()?;
    gap_under(&world, last, (begun, over), PLANNED_MS)
}

/// The only way leads over a via; then there is one without.
fn better_path(tools: &Tools, number: usize) -> Result<String, Failure> {
    let nodes = [edge(&[]), via(&[0]), edge(&[1, 0]).cut_from(&[0])];
    let mut world = World::begin(tools, &nodes, number)?;
    everybody_at(&mut world, &[0, 2, 2])?;
    let via = world.relay(1)?.place.clone();
    let sent = |objects| -> Result<u64, Failure> {
        let before = via.passed()?.sent;
        std::thread::sleep(std::time::Duration::from_millis(1_000 / RATE * objects));
        Ok(via.passed()?.sent - before)
    };
    let before = sent(2 * GOP)?;
    let begun = record::now();
    let there = world.relay(0)?.place.clone();
    world.relay(2)?.place.road_to(&there, true)?;
    world.relay(2)?.logs(&["link stands", "\"1:1\""])?;
    let over = record::now();
    let last = world.settle()?;
    let after = sent(2 * GOP)?;
    if 2 * after > before {
        return Err(format!("the via sent {before} bytes, and {after} still").into());
    }
    gap_under(&world, last, (begun, over), PLANNED_MS)
}

/// A publisher beside the first relay, subscribers beside these, the first of which is beside it too.
pub(super) fn everybody_at(world: &mut World, at: &[usize]) -> Result<(), Failure> {
    world.publish(0, 600)?;
    at.iter().try_for_each(|&at| world.subscribe(at))?;
    world.all_receive()
}

/// Waits for the end of a relay that was asked for it. Nobody was cut off.
fn ends_well(world: &mut World, at: usize) -> Result<(), Failure> {
    let relay = world.relay(at)?;
    let status = relay.process()?.wait(std::time::Duration::from_secs(20))?;
    let text = relay.text();
    if !status.success() || text.contains("did not stop in time") {
        return Err(format!("relay {at} did not end as it should: {status}").into());
    }
    Ok(())
}

/// What a planned change may cost anybody, milliseconds.
const PLANNED_MS: u64 = 100;

/// For so long before a change everybody is looked at: how long one waits for objects when nothing happens. Nanoseconds.
const CALM: u64 = 3_000_000_000;

/// Nobody lost anything, and nobody waited longer than that, beside what the machine costs: what the first subscriber waited
/// for meanwhile, to whom nothing happened, or anybody before.
pub(super) fn gap_under(
    world: &World,
    last: u64,
    (begun, over): (u64, u64),
    most_ms: u64,
) -> Result<String, Failure> {
    let all = world.repaired(last, begun, over);
    let calm = world.losses(last, begun.saturating_sub(CALM), begun.saturating_sub(CALM / 4));
    let machine_ms = all.iter().take(1).chain(&calm).map(|losses| losses.pause_ms);
    let machine_ms = machine_ms.max().unwrap_or(0);
    let bad = all.iter().find(|losses| {
        (losses.lost, losses.duplicated, losses.wrong) != (0, 0, 0) || losses.pause_ms > most_ms + machine_ms
    });
    if let Some(losses) = bad {
        let missing = world.missing(last);
        return Err(format!("{losses:?}, on a machine that paused for {machine_ms} ms; {missing}").into());
    }
    let pause = all.iter().map(|losses| losses.pause_ms).max().unwrap_or(0);
    Ok(format!(
        "nothing lost, nothing twice, a gap of {pause} ms, {machine_ms} ms without cause"
    ))
}
