//! Links go down, and addresses change.

use super::panics::moment;
use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record::{self, RATE};
use crate::scene::{Behind, Client, Scene, Wants};
use crate::seed::Chance;
use std::time::Duration;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "link-down-1s",
        what: "a subscriber's link is down for 1 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| link(scene, chance, 1, false),
        lost: 0,
        recovers_ms: 2_500,
    },
    Fault {
        name: "link-down-5s",
        what: "a subscriber's link is down for 5 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| link(scene, chance, 5, false),
        lost: 6 * RATE,
        recovers_ms: 5_000,
    },
    Fault {
        name: "publisher-link-down-1s",
        what: "the only publisher's link is down for 1 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| link(scene, chance, 1, true),
        lost: 0,
        recovers_ms: 2_500,
    },
    Fault {
        name: "nat-rebinding-subscriber",
        what: "a NAT gives a subscriber another port",
        wants: Wants {
            workers: 4,
            nat: Behind::Subscriber,
            ..Wants::PLAIN
        },
        strike: |scene, chance| rebind(scene, chance, false, false),
        lost: 0,
        recovers_ms: 1_500,
    },
    Fault {
        name: "nat-rebinding-publisher",
        what: "a NAT gives the only publisher another port",
        wants: Wants {
            workers: 4,
            nat: Behind::Publisher,
            ..Wants::PLAIN
        },
        strike: |scene, chance| rebind(scene, chance, true, false),
        lost: 0,
        recovers_ms: 1_500,
    },
    Fault {
        name: "nat-other-address",
        what: "a NAT gives a subscriber another address",
        wants: Wants {
            workers: 4,
            nat: Behind::Subscriber,
            ..Wants::PLAIN
        },
        strike: |scene, chance| rebind(scene, chance, false, true),
        lost: 0,
        recovers_ms: 1_500,
    },
    Fault {
        name: "subscriber-moves",
        what: "a subscriber's machine gets another address",
        wants: Wants {
            workers: 4,
            ..Wants::PLAIN
        },
        strike: |scene, chance| moves(scene, chance, false),
        lost: 0,
        recovers_ms: 1_500,
    },
    Fault {
        name: "publisher-moves",
        what: "the only publisher's machine gets another address",
        wants: Wants {
            workers: 4,
            ..Wants::PLAIN
        },
        strike: |scene, chance| moves(scene, chance, true),
        lost: 0,
        recovers_ms: 1_500,
    },
];

/// A client, and whom it meets when something happens to it.
fn victim<'a>(
    scene: &'a mut Scene,
    chance: &mut Chance,
    publisher: bool,
    first: bool,
) -> Result<(&'a mut Client, Met), Failure> {
    moment(scene, chance)?;
    let clients = if publisher {
        &mut scene.publishers
    } else {
        &mut scene.subscribers
    };
    let one = if first { 0 } else { chance.index(clients.len()) };
    let met = if publisher { Met::Track } else { Met::One(one) };
    Ok((clients.get_mut(one).ok_or("there is no such client")?, met))
}

fn link(scene: &mut Scene, chance: &mut Chance, seconds: u64, publisher: bool) -> Result<Struck, Failure> {
    let (client, met) = victim(scene, chance, publisher, false)?;
    let begun = record::now();
    client.node.link(false)?;
    std::thread::sleep(Duration::from_secs(seconds));
    client.node.link(true)?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, met)
    })
}

fn rebind(scene: &mut Scene, chance: &mut Chance, publisher: bool, address: bool) -> Result<Struck, Failure> {
    let (client, met) = victim(scene, chance, publisher, true)?;
    let mut to = "0.0.0.0".to_owned();
    if address {
        to = client.node.other_address(0);
        client.node.add_address(&to)?;
    }
    let begun = record::now();
    client.rebind(&to)?;
    Ok(Struck::at(begun, met))
}

fn moves(scene: &mut Scene, chance: &mut Chance, publisher: bool) -> Result<Struck, Failure> {
    let number = chance.between(0, 100);
    let (client, met) = victim(scene, chance, publisher, false)?;
    let to = client.node.other_address(number);
    let begun = record::now();
    client.node.change_address(&to)?;
    Ok(Struck::at(begun, met))
}
