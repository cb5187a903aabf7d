//! What is promised of a mesh, one case each.

use super::world::{Node, World, edge, stub, via};
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
        run: via_copies,
    },
    Case {
        name: "stub-of-50",
        what: "a stub with fifty subscribers: the track crosses its link once, and nobody else knows it",
        run: stub_of_50,
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
    Ok(format!("{} subscribers, each object once", nodes.len()))
}

/// Objects for which bytes are counted.
const COUNTED: u64 = 4 * RATE;
const SIZE: u64 = 4_000;

fn via_copies(tools: &Tools, number: usize) -> Result<String, Failure> {
    let nodes = [
        via(&[]),
        edge(&[0]),
        edge(&[0]),
        edge(&[0]),
        edge(&[0]),
        edge(&[0]),
    ];
    let mut world = World::begin(tools, &nodes, number)?;
    world.publish(1, usize::try_from(SIZE)?)?;
    for at in 2..nodes.len() {
        world.subscribe(at)?;
    }
    world.all_receive()?;
    let origin = world.relay(1)?.place.clone();
    let hub = world.relay(0)?.place.clone();
    let (first, begun) = (record::due(record::now()), (origin.passed()?, hub.passed()?));
    world
        .subscribers
        .iter()
        .try_for_each(|user| user.tape.more(COUNTED, std::time::Duration::from_secs(30)))?;
    let (last, ended) = (record::due(record::now()), (origin.passed()?, hub.passed()?));
    let bytes = (last - first) * SIZE;
    let copies = |bytes_of: u64| bytes_of as f64 / bytes as f64;
    let out = copies(ended.0.sent - begun.0.sent);
    let on = copies(ended.1.sent - begun.1.sent);
    world.everything_once()?;
    // Heads, acknowledgements and keep-alives come on top; a second copy would be a whole one more.
    if !(0.9..1.5).contains(&out) || !(3.6..5.0).contains(&on) {
        return Err(format!("the origin sent {out:.2} copies and the via {on:.2}").into());
    }
    Ok(format!(
        "the origin sent {out:.2} copies of the track, the via {on:.2}"
    ))
}

fn stub_of_50(tools: &Tools, number: usize) -> Result<String, Failure> {
    let nodes = [edge(&[]), edge(&[0]), stub(&[0])];
    let mut world = World::begin(tools, &nodes, number)?;
    world.publish(1, usize::try_from(SIZE)?)?;
    for _ in 0..50 {
        world.subscribe(2)?;
    }
    world.all_receive()?;
    let place = world.relay(2)?.place.clone();
    let (first, begun) = (record::due(record::now()), place.passed()?);
    world
        .subscribers
        .iter()
        .try_for_each(|user| user.tape.more(COUNTED, std::time::Duration::from_secs(30)))?;
    let (last, ended) = (record::due(record::now()), place.passed()?);
    let copies = (ended.received - begun.received) as f64 / ((last - first) * SIZE) as f64;
    world.everything_once()?;
    if !(0.9..1.5).contains(&copies) {
        return Err(format!("{copies:.2} copies of the track came to the stub").into());
    }
    Ok(format!("{copies:.2} copies of the track for 50 subscribers"))
}

/// Two ways from the origin to the other edge; the first via is on the one that is taken.
const DIAMOND: [Node; 4] = [edge(&[]), via(&[0]), via(&[0]), edge(&[1, 2])];

/// The via that carries the track.
fn carrier(world: &mut World) -> Result<usize, Failure> {
    let before = [world.relay(1)?.place.passed()?, world.relay(2)?.place.passed()?];
    world
        .subscribers
        .iter()
        .try_for_each(|user| user.tape.more(2 * GOP, std::time::Duration::from_secs(30)))?;
    let after = [world.relay(1)?.place.passed()?, world.relay(2)?.place.passed()?];
    let sent = |index: usize| {
        let passed = |passed: &[super::roads::Passed; 2]| passed.get(index).map_or(0, |passed| passed.sent);
        passed(&after) - passed(&before)
    };
    Ok(if sent(0) > sent(1) { 1 } else { 2 })
}

fn via_killed(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &DIAMOND, number)?;
    world.publish(0, 600)?;
    world.subscribe(3)?;
    world.subscribe(3)?;
    world.all_receive()?;
    let at = carrier(&mut world)?;
    let begun = record::now();
    world.relay(at)?.process()?.kill()?;
    let last = world.settle()?;
    gap_under(&world, last, begun, 1_500)
}

fn via_drained(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &DIAMOND, number)?;
    world.publish(0, 600)?;
    world.subscribe(3)?;
    world.subscribe(3)?;
    world.all_receive()?;
    let at = carrier(&mut world)?;
    let begun = record::now();
    world.relay(at)?.process()?.signal("TERM")?;
    let last = world.settle()?;
    gap_under(&world, last, begun, 100)
}

fn gap_under(world: &World, last: u64, begun: u64, most_ms: u64) -> Result<String, Failure> {
    let all = world.losses(last, begun, begun);
    let bad = all.iter().find(|losses| {
        (losses.lost, losses.duplicated, losses.wrong) != (0, 0, 0) || losses.pause_ms > most_ms
    });
    if let Some(losses) = bad {
        return Err(format!("{losses:?}").into());
    }
    let pause = all.iter().map(|losses| losses.pause_ms).max().unwrap_or(0);
    Ok(format!("nothing lost, nothing twice, a gap of {pause} ms"))
}
