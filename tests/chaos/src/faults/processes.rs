//! Processes are killed, stopped and started again.

use super::panics::moment;
use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record::{self, GOP, RATE};
use crate::scene::{Scene, Wants};
use crate::seed::Chance;
use std::time::Duration;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "relay-killed",
        what: "`kill -9` of the relay, started again after up to 0.5 s",
        wants: Wants::PLAIN,
        strike: relay_killed,
        lost: 6 * GOP,
        recovers_ms: 2_000,
    },
    Fault {
        name: "relay-stopped-1s",
        what: "the relay's process stands still for 1 s (SIGSTOP, SIGCONT)",
        wants: Wants::PLAIN,
        strike: |scene, chance| relay_stopped(scene, chance, 1),
        lost: GOP,
        recovers_ms: 2_500,
    },
    Fault {
        name: "relay-stopped-5s",
        what: "the relay's process stands still for 5 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| relay_stopped(scene, chance, 5),
        lost: 6 * RATE,
        recovers_ms: 3_000,
    },
    Fault {
        name: "publisher-killed",
        what: "`kill -9` of the only publisher, started again after up to 0.5 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| {
            moment(scene, chance)?;
            let publisher = scene.publishers.first_mut().ok_or("there is no publisher")?;
            let begun = record::now();
            publisher.process()?.kill()?;
            pause(chance.between(0, 500));
            publisher.start()?;
            Ok(Struck {
                over: record::now(),
                ..Struck::at(begun, Met::Track)
            })
        },
        lost: 4 * RATE,
        recovers_ms: 4_000,
    },
    Fault {
        name: "one-publisher-killed",
        what: "`kill -9` of one of two publishers",
        wants: Wants {
            publishers: 2,
            ..Wants::PLAIN
        },
        strike: |scene, chance| {
            moment(scene, chance)?;
            let one = chance.index(2);
            let publisher = scene.publishers.get_mut(one).ok_or("there is no publisher")?;
            let begun = record::now();
            publisher.process()?.kill()?;
            Ok(Struck::at(begun, Met::Track))
        },
        lost: 0,
        recovers_ms: 2_000,
    },
    Fault {
        name: "one-publisher-stopped-5s",
        what: "one of two publishers stands still for 5 s",
        wants: Wants {
            publishers: 2,
            ..Wants::PLAIN
        },
        strike: |scene, chance| {
            let one = chance.index(2);
            publisher_stopped(scene, chance, one)
        },
        lost: 0,
        recovers_ms: 2_000,
    },
    Fault {
        name: "publisher-stopped-5s",
        what: "the only publisher stands still for 5 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| publisher_stopped(scene, chance, 0),
        lost: 6 * RATE,
        recovers_ms: 1_500,
    },
    Fault {
        name: "subscriber-killed",
        what: "`kill -9` of a subscriber, which does not come back",
        wants: Wants::PLAIN,
        strike: |scene, chance| {
            moment(scene, chance)?;
            let one = chance.index(2);
            let subscriber = scene.subscribers.get_mut(one).ok_or("there is no subscriber")?;
            let begun = record::now();
            subscriber.process()?.kill()?;
            Ok(Struck::at(begun, Met::Ended(one)))
        },
        lost: 0,
        recovers_ms: 0,
    },
    Fault {
        name: "subscriber-stopped-5s",
        what: "a subscriber stands still for 5 s",
        wants: Wants::PLAIN,
        strike: |scene, chance| {
            moment(scene, chance)?;
            let one = chance.index(2);
            let subscriber = scene.subscribers.get_mut(one).ok_or("there is no subscriber")?;
            let begun = record::now();
            stopped(subscriber.process()?, 5)?;
            Ok(Struck {
                over: record::now(),
                ..Struck::at(begun, Met::One(one))
            })
        },
        lost: 0,
        recovers_ms: 1_500,
    },
];

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn stopped(process: &crate::process::Process, seconds: u64) -> Result<(), Failure> {
    process.signal("STOP")?;
    pause(seconds * 1_000);
    process.signal("CONT")
}

fn relay_killed(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    scene.relay.process()?.kill()?;
    pause(chance.between(0, 500));
    scene.relay.again()?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, Met::Everybody)
    })
}

fn relay_stopped(scene: &mut Scene, chance: &mut Chance, seconds: u64) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    stopped(scene.relay.process()?, seconds)?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, Met::Everybody)
    })
}

fn publisher_stopped(scene: &mut Scene, chance: &mut Chance, one: usize) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let publisher = scene.publishers.get_mut(one).ok_or("there is no publisher")?;
    let begun = record::now();
    stopped(publisher.process()?, 5)?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, Met::Track)
    })
}
