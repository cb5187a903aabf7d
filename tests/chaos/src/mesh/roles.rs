//! What is promised of a Via and of a Stub, beside that everybody receives everything once.

use super::look::{Streams, until};
use super::node::{Node, edge, stub, via};
use super::world::World;
use crate::Failure;
use crate::record::{self, Pace, RATE};
use crate::scene::Tools;
use std::collections::BTreeSet;
use std::time::Duration;

/// Objects for which the bytes of copies are counted, and their size.
const COUNTED: u64 = 4 * RATE;
const SIZE: u64 = 4_000;
/// How often something is counted anew: a machine that stands still for a while has packets sent again, or a link given up.
const TRIES: usize = 5;
/// How long something may take to be so.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tracks that all edges subscribe to: at first, and in the end.
const FEW: usize = 2;
const MANY: usize = 10 * FEW;
/// Beyond the longest time for which a Via remembers what it handed on: `info_base::Settings::convergence_window`.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// A via, an edge that is the origin, and four others.
const STAR: [Node; 6] = [
    via(&[]),
    edge(&[0]),
    edge(&[0]),
    edge(&[0]),
    edge(&[0]),
    edge(&[0]),
];

pub(super) fn via_copies(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &STAR, number)?;
    world.publish(1, usize::try_from(SIZE)?)?;
    for at in 2..STAR.len() {
        world.subscribe(at)?;
    }
    world.all_receive()?;
    let mut counted = copies(&mut world)?;
    for _ in 1..TRIES {
        if within(counted) {
            break;
        }
        counted = copies(&mut world)?;
    }
    let (out, on) = counted;
    world.everything_once()?;
    if !within(counted) {
        return Err(format!("the origin sent {out:.2} copies and the via {on:.2}").into());
    }
    Ok(format!(
        "the origin sent {out:.2} copies of the track, the via {on:.2}"
    ))
}

/// Copies of the track that the origin sent for a while, and that the via sent.
fn copies(world: &mut World) -> Result<(f64, f64), Failure> {
    let origin = world.relay(1)?.place.clone();
    let hub = world.relay(0)?.place.clone();
    let (first, begun) = (record::due(record::now()), (origin.passed()?, hub.passed()?));
    world
        .subscribers
        .iter()
        .try_for_each(|user| user.tape.more(COUNTED, PATIENCE))?;
    let (last, ended) = (record::due(record::now()), (origin.passed()?, hub.passed()?));
    let copies = |bytes: u64| bytes as f64 / ((last - first) * SIZE) as f64;
    Ok((
        copies(ended.0.sent - begun.0.sent),
        copies(ended.1.sent - begun.1.sent),
    ))
}

/// Heads, acknowledgements and keep-alives come on top; a second copy would be a whole one more, each time.
fn within((out, on): (f64, f64)) -> bool {
    (0.9..1.5).contains(&out) && (3.6..5.0).contains(&on)
}

/// The origin's tables grow tenfold with the subscriptions of the edges; those of the via have none before or after.
pub(super) fn via_holds_nothing(tools: &Tools, number: usize) -> Result<String, Failure> {
    let mut world = World::begin(tools, &STAR, number)?;
    world.publish_more(1, MANY)?;
    let readers = 2..STAR.len();
    let mut told = Vec::new();
    for tracks in [0..FEW, FEW..MANY] {
        let expected = u64::try_from(tracks.end * readers.len())?;
        let names: Vec<_> = tracks.map(World::further).collect();
        for at in readers.clone() {
            world.hold(at, &names, 1)?;
        }
        until("the origin knows all subscriptions", PATIENCE, || {
            Ok(world.relay(1)?.census()?.of("peering_subscribes") == expected)
        })?;
        // Links may stand anew at any time on a busy machine, and nodes come back with them.
        until("the via knows all nodes", PATIENCE, || {
            Ok(world.relay(0)?.census()?.of("peering_nodes") == u64::try_from(STAR.len() - 1)?)
        })?;
        let tables = world.relay(0)?.census()?;
        let held = ["peering_subscribes", "peering_publishes", "peering_own"];
        let held: u64 = held.iter().map(|table| tables.of(table)).sum();
        if held != 0 {
            return Err(format!("with {expected} subscriptions the via holds {held} infos").into());
        }
        told.push(expected);
    }
    until("the via forgets what it handed on", FORGOTTEN, || {
        Ok(world.relay(0)?.census()?.of("peering_remembered") == 0)
    })?;
    Ok(format!(
        "with {told:?} subscriptions in the mesh the via holds none, and remembers none in the end"
    ))
}

/// Subscribers of a stub.
const CROWD: usize = 50;
/// What fifty sessions cost a build for tests, on a machine that may have two cores: the track has few objects and many
/// groups.
const UNHURRIED: Pace = Pace { rate: 10, gop: 10 };
/// Large enough that the track is more than keep-alives and acknowledgements.
const LOCAL_SIZE: u64 = 3_000;
/// Groups that are counted.
const GROUPS: u64 = 6;

/// A moment in which a group has begun and the next one has not.
#[derive(Debug)]
struct Moment {
    group: u64,
    /// Streams that the stub had received by then.
    streams: Streams,
    /// And each of the crowd since the moment before: the fewest, and the most.
    each: [u64; 2],
    /// The last object that was due.
    due: u64,
    /// What had come to the stub.
    bytes: u64,
}

impl Moment {
    fn now(world: &mut World, stub: usize) -> Result<Self, Failure> {
        let gop = world.pace.gop;
        let mut so = None;
        until("a moment between two groups", PATIENCE, || {
            let user = world.subscribers.first().ok_or("there is no subscriber")?;
            let newest = user.tape.read().newest().unwrap_or(0);
            if newest % gop > gop / 3 {
                return Ok(false);
            }
            let streams = world.relay(stub)?.streams_in()?;
            // Nobody makes an object before it is due.
            let same = world.pace.due(record::now()) / gop == newest / gop;
            so = (same && !streams.links.is_empty()).then_some((newest / gop, streams));
            Ok(so.is_some())
        })?;
        let (group, streams) = so.ok_or("there was none")?;
        let bytes = world.relay(stub)?.place.passed()?.received;
        let due = world.pace.due(record::now());
        let crowd = world.holders.first_mut().ok_or("there is no crowd")?;
        let each = crowd.streams()?;
        Ok(Self {
            group,
            streams,
            each,
            due,
            bytes,
        })
    }

    /// Two of them, between which so many groups were sent over one link.
    fn two(world: &mut World, stub: usize) -> Result<(Self, Self), Failure> {
        for _ in 0..TRIES {
            let begun = Self::now(world, stub)?;
            let user = world.subscribers.first().ok_or("there is no subscriber")?;
            user.tape.more(GROUPS * world.pace.gop, PATIENCE)?;
            let ended = Self::now(world, stub)?;
            if begun.streams.links == ended.streams.links {
                return Ok((begun, ended));
            }
        }
        Err("the links of the stub do not stay".into())
    }
}

pub(super) fn stub_of_50(tools: &Tools, number: usize) -> Result<String, Failure> {
    let nodes = [edge(&[]), edge(&[0]), stub(&[0])];
    let mut world = World::begin(tools, &nodes, number)?;
    world.pace = UNHURRIED;
    world.publish(1, usize::try_from(LOCAL_SIZE)?)?;
    // One whose objects are judged; of the others streams are counted.
    world.subscribe(2)?;
    world.all_receive()?;
    world.crowd(2, CROWD - 1)?;
    let (begun, ended) = Moment::two(&mut world, 2)?;
    let copies = (ended.bytes - begun.bytes) as f64 / ((ended.due - begun.due) * LOCAL_SIZE) as f64;
    let gop = world.pace.gop;
    let whole = (begun.group + 1) * gop..ended.group * gop;
    world.whole_once(whole)?;
    // A publisher that is not let run for long enough leaves groups out.
    let made = world.made().into_iter().map(|sequence| sequence / gop);
    let groups: BTreeSet<u64> = made
        .filter(|group| (begun.group + 1..=ended.group).contains(group))
        .collect();
    let (groups, streams) = (groups.len() as u64, ended.streams.count - begun.streams.count);
    if streams != groups || groups < GROUPS / 2 {
        return Err(format!("{streams} streams came to the stub for {groups} groups of one subgroup").into());
    }
    // They are not asked at the same moment, and a busy machine is late with some.
    let each = ended.each;
    if each[0] < groups / 2 || each[1] > groups + 1 {
        return Err(format!(
            "{each:?} streams came to a subscriber at least and at most, for {groups} groups"
        )
        .into());
    }
    if !(0.9..2.0).contains(&copies) {
        return Err(format!("{copies:.2} copies of the track came to the stub").into());
    }
    // It is behind a NAT, through which its link goes, and opens no port for others.
    if world.relay(2)?.place.translated()? == 0 {
        return Err("the NAT in front of the stub translated nothing".into());
    }
    if !world.relay(0)?.takes_relays()? || world.relay(2)?.takes_relays()? {
        return Err("the port for relays is open on a stub, or closed on an edge".into());
    }
    // The publisher's relay knows its neighbour and nobody else, and never heard of the stub.
    let known = world.relay(1)?.census()?.of("peering_nodes");
    let mut heard = |at: usize| -> Result<bool, Failure> { Ok(world.relay(at)?.text().contains("\"1:3\"")) };
    if known != 1 || heard(1)? || !heard(0)? {
        return Err(format!("the relay beyond the edge knows {known} nodes, or heard of the stub").into());
    }
    Ok(format!(
        "{streams} streams for {groups} subgroups, {copies:.2} copies of the track for {CROWD} subscribers, behind a NAT; the \
         relay beyond the edge knows {known} node"
    ))
}
