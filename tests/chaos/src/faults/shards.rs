//! A shard's thread is stuck, or dies while the others go on.

use super::panics::moment;
use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record::{self, GOP, RATE};
use crate::scene::{Client, Scene, Wants};
use crate::seed::Chance;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an armed shard may take to be met, and the relay to say so.
const SHOWS: Duration = Duration::from_secs(5);
/// Subscribers that are started at most until one is alone on its shard, away from every publisher.
const MOST: usize = 12;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "panic-shard",
        what: "one shard of four panics, the one of the only publisher",
        wants: Wants {
            workers: 4,
            ..Wants::PLAIN
        },
        strike: publishers,
        lost: 6 * GOP,
        recovers_ms: 4_000,
    },
    Fault {
        name: "shard-killed-client-moves",
        what: "one shard of four panics under load; later a client of another shard gets another address",
        wants: Wants {
            workers: 4,
            subscribers: 4,
            ..Wants::PLAIN
        },
        strike: killed,
        lost: 6 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "shard-stuck-3s",
        what: "the thread of one of two shards is stuck for 3 s, and the relay reports it",
        wants: Wants::PLAIN,
        strike: stuck,
        lost: 4 * RATE,
        recovers_ms: 3_000,
    },
    Fault {
        name: "shard-stuck-for-good",
        what: "the thread of one of two shards is stuck for good: exit code 70, and the process is started again",
        wants: Wants::PLAIN,
        strike: stuck_for_good,
        lost: 16 * RATE,
        recovers_ms: 3_000,
    },
];

/// The shards on which connections from each address were accepted, in order.
fn accepted(scene: &Scene) -> BTreeMap<String, Vec<u64>> {
    let mut by_address: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in scene.relay.logged_as("connection accepted") {
        let peer = line.get("peer").and_then(Value::as_str).unwrap_or_default();
        let address = peer
            .trim_start_matches("Some(")
            .split(':')
            .next()
            .unwrap_or_default();
        if let Some(shard) = line.get("shard").and_then(Value::as_u64) {
            by_address.entry(address.to_owned()).or_default().push(shard);
        }
    }
    by_address
}

/// A shard with subscribers of the track and nobody else, and who they are.
fn apart(scene: &Scene, chance: &mut Chance) -> Option<(u64, Vec<usize>)> {
    let by_address = accepted(scene);
    let shard = |address: &String| by_address.get(address)?.last().copied();
    let others = scene.publishers.iter().chain(&scene.bystanders);
    let taken: Vec<Option<u64>> = others.map(|client| shard(&client.node.address)).collect();
    let mut free: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, client) in scene.subscribers.iter().enumerate() {
        let at = shard(&client.node.address);
        if let Some(at) = at.filter(|_| !taken.contains(&at)) {
            free.entry(at).or_default().push(index);
        }
    }
    // Somebody has to be left who moves.
    free.retain(|_, who| who.len() < scene.subscribers.len());
    let which = chance.index(free.len());
    free.into_iter().nth(which)
}

fn killed(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    let (shard, victims) = loop {
        if let Some(found) = apart(scene, chance) {
            break found;
        }
        if scene.subscribers.len() == MOST {
            return Err("no shard has subscribers alone".into());
        }
        scene.one_more()?;
    };
    moment(scene, chance)?;
    let begun = record::now();
    scene.hook().say(&format!("arm shard {shard} 1"))?;
    scene.hook().until_fired("shard", &shard.to_string(), 1, SHOWS)?;
    scene.settle(None)?;
    let spared: Vec<usize> = (0..scene.subscribers.len())
        .filter(|index| !victims.contains(index))
        .collect();
    let mover = *spared
        .get(chance.index(spared.len()))
        .ok_or("nobody was spared")?;
    let number = chance.between(0, 100);
    let client = scene.subscribers.get(mover).ok_or("nobody moves")?;
    let to = client.node.other_address(number);
    client.node.change_address(&to)?;
    scene.settle(None)?;
    // Who was not on that shard has the connection that it had, whatever became of its address.
    let by_address = accepted(scene);
    let once = scene.publishers.iter().chain(&scene.bystanders);
    let once = once.chain(spared.iter().filter_map(|&index| scene.subscribers.get(index)));
    for client in once {
        let many = by_address.get(&client.node.address).map_or(0, Vec::len);
        if many != 1 {
            return Err(format!("{} had {many} connections", client.node.address).into());
        }
    }
    if by_address.contains_key(&to) {
        return Err("the client that moved had to connect again".into());
    }
    let which = victims.iter().fold(0, |bits, &index| {
        bits | 1_u64.checked_shl(u32::try_from(index).unwrap_or(64)).unwrap_or(0)
    });
    Ok(Struck::at(begun, Met::Several(which)))
}

fn publishers(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let shard = shard_of(scene, scene.publishers.first())?;
    let begun = record::now();
    scene.hook().say(&format!("arm shard {shard} 1"))?;
    scene.hook().until_fired("shard", &shard.to_string(), 1, SHOWS)?;
    Ok(Struck::at(begun, Met::Everybody))
}

/// Where this client's connection is.
fn shard_of(scene: &Scene, client: Option<&Client>) -> Result<u64, Failure> {
    let address = &client.ok_or("there is no such client")?.node.address;
    let by_address = accepted(scene);
    let shard = by_address.get(address).and_then(|shards| shards.last());
    Ok(*shard.ok_or("its connection was not accepted")?)
}

/// Holds the thread of a shard on which some subscriber is.
fn hold(scene: &Scene, chance: &mut Chance) -> Result<u64, Failure> {
    let subscriber = scene.subscribers.get(chance.index(scene.subscribers.len()));
    let shard = shard_of(scene, subscriber)?;
    scene.hook().say(&format!("arm shard {shard} 1 block"))?;
    scene.hook().until_fired("shard", &shard.to_string(), 1, SHOWS)?;
    Ok(shard)
}

fn stuck(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    let shard = hold(scene, chance)?;
    std::thread::sleep(Duration::from_secs(3));
    scene.hook().say(&format!("release shard {shard}"))?;
    let over = record::now();
    for message in ["a thread does not run", "a thread runs again"] {
        let until = Instant::now() + SHOWS;
        while scene.relay.logged_as(message).is_empty() {
            if Instant::now() > until {
                return Err(format!("the relay does not say: {message}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(Struck {
        over,
        ..Struck::at(begun, Met::Everybody)
    })
}

fn stuck_for_good(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    hold(scene, chance)?;
    scene.relay.until_fault()?;
    scene.relay.again()?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, Met::Everybody)
    })
}
