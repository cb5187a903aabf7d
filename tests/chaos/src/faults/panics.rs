//! Each kind of actor panics once.

use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record::{self, GOP, Record};
use crate::scene::{NAMESPACE, Scene, TRACK, Wants};
use crate::seed::Chance;
use std::time::{Duration, Instant};

/// How long an armed point may take to be met.
pub(super) const FIRES: Duration = Duration::from_secs(5);
/// How long anything else may take here.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "panic-root",
        what: "the root panics: exit code 70, and the process is started again",
        wants: Wants::PLAIN,
        strike: root,
        lost: 6 * GOP,
        recovers_ms: 2_000,
    },
    Fault {
        name: "panic-registry",
        what: "the registry panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| panics(scene, chance, "registry", "-", Met::Nobody),
        lost: 0,
        recovers_ms: 0,
    },
    Fault {
        name: "panic-connection",
        what: "a subscriber's connection actor panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| of_subscriber(scene, chance, "connection"),
        lost: 4 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "panic-session",
        what: "a subscriber's session panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| of_subscriber(scene, chance, "session"),
        lost: 4 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "panic-publisher-session",
        what: "the only publisher's session panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| {
            let name = address(scene, 0, true)?;
            panics(scene, chance, "session", &name, Met::Track)
        },
        lost: 6 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "panic-one-publisher-session",
        what: "the session of one of two publishers panics",
        wants: Wants {
            publishers: 2,
            ..Wants::PLAIN
        },
        strike: |scene, chance| {
            let one = chance.index(2);
            let name = address(scene, one, true)?;
            panics(scene, chance, "session", &name, Met::Track)
        },
        lost: 0,
        recovers_ms: 2_000,
    },
    Fault {
        name: "panic-subscription",
        what: "a subscription panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| panics(scene, chance, "subscription", TRACK, Met::Any),
        lost: 2 * GOP,
        recovers_ms: 2_000,
    },
    Fault {
        name: "panic-announce",
        what: "the actor of the publisher's PUBLISH_NAMESPACE panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| panics(scene, chance, "announce", NAMESPACE, Met::Nobody),
        lost: 0,
        recovers_ms: 0,
    },
    Fault {
        name: "panic-namespace",
        what: "the actor of a SUBSCRIBE_NAMESPACE panics",
        wants: Wants::PLAIN,
        strike: namespace,
        lost: 0,
        recovers_ms: 5_000,
    },
    Fault {
        name: "panic-status",
        what: "the actor of a TRACK_STATUS panics",
        wants: Wants::PLAIN,
        strike: status,
        lost: 0,
        recovers_ms: 5_000,
    },
    Fault {
        name: "panic-fetch",
        what: "the actor of a FETCH panics",
        wants: Wants::PLAIN,
        strike: fetch,
        lost: 0,
        recovers_ms: 5_000,
    },
    Fault {
        name: "panic-track",
        what: "a track panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| panics(scene, chance, "track", TRACK, Met::Track),
        lost: 8 * GOP,
        recovers_ms: 4_000,
    },
    Fault {
        name: "panic-replica",
        what: "a track's replica on another shard panics",
        wants: Wants {
            workers: 4,
            subscribers: 3,
            ..Wants::PLAIN
        },
        strike: replica,
        lost: 4 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "panic-egress",
        what: "the task that writes a subscriber's streams panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| of_subscriber(scene, chance, "egress"),
        lost: 4 * GOP,
        recovers_ms: 3_000,
    },
    Fault {
        name: "panic-ingress",
        what: "the task that reads a publisher's stream panics",
        wants: Wants::PLAIN,
        strike: |scene, chance| {
            let name = address(scene, 0, true)?;
            panics(scene, chance, "ingress", &name, Met::Track)
        },
        lost: GOP,
        recovers_ms: 2_000,
    },
];

/// The name of a client's point.
fn address(scene: &Scene, index: usize, publisher: bool) -> Result<String, Failure> {
    let clients = if publisher {
        &scene.publishers
    } else {
        &scene.subscribers
    };
    Ok(clients
        .get(index)
        .ok_or("there is no such client")?
        .node
        .address
        .clone())
}

/// Lets so many objects pass as chance wants, so that faults meet every place in a group.
pub(super) fn moment(scene: &Scene, chance: &mut Chance) -> Result<(), Failure> {
    let client = scene.subscribers.first().ok_or("there is no subscriber")?;
    client.tape.more(chance.between(5, 5 + 2 * GOP), PATIENCE)
}

fn panics(
    scene: &mut Scene,
    chance: &mut Chance,
    kind: &str,
    name: &str,
    met: Met,
) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let begun = record::now();
    scene.hook().say(&format!("arm {kind} {name} 1"))?;
    scene.hook().until_fired(kind, name, 1, FIRES)?;
    Ok(Struck::at(begun, met))
}

fn of_subscriber(scene: &mut Scene, chance: &mut Chance, kind: &str) -> Result<Struck, Failure> {
    let victim = chance.index(scene.subscribers.len());
    let name = address(scene, victim, false)?;
    panics(scene, chance, kind, &name, Met::One(victim))
}

fn root(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    let struck = panics(scene, chance, "root", "-", Met::Everybody);
    // Its hook may be gone before it has said so.
    let begun = struck.map_or_else(|_| record::now(), |struck| struck.begun);
    scene.relay.until_fault()?;
    scene.relay.again()?;
    Ok(Struck {
        over: record::now(),
        ..Struck::at(begun, Met::Everybody)
    })
}

/// There is one only when a subscriber is on another shard than the publisher.
fn replica(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    scene.hook().say(&format!("arm replica {TRACK} 1"))?;
    for _ in 0..6 {
        let begun = record::now();
        if scene
            .hook()
            .until_fired("replica", TRACK, 1, Duration::from_secs(1))
            .is_ok()
        {
            return Ok(Struck::at(begun, Met::Track));
        }
        scene.one_more()?;
    }
    Err("everybody is on one shard".into())
}

/// A watcher whose actor failed hears of what comes later, and of nothing twice.
fn namespace(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    let announce = |scene: &mut Scene, name: &str| {
        let namespace = format!("late/{name}");
        scene.client(&["pub"], &[&namespace, "video", "synth"], name, false)
    };
    let watcher = scene.client(&["ns"], &["late", "--json"], "watcher", false)?;
    let _early = announce(scene, "early")?;
    let told =
        |name: &'static str| move |record: &Record| record.other.iter().any(|line| line.contains(name));
    watcher.tape.wait(PATIENCE, "the watcher hears", told("early"))?;
    let struck = panics(scene, chance, "namespace", "late", Met::Nobody)?;
    let since = Instant::now();
    let _after = announce(scene, "after")?;
    watcher
        .tape
        .wait(PATIENCE, "the watcher hears again", told("after"))?;
    let heard = watcher.tape.read().other;
    if heard.len() != 2 {
        return Err(format!("the watcher heard {heard:?}").into());
    }
    Ok(Struck {
        other: Some((
            "nothing: the peer hears of what changed meanwhile".to_owned(),
            millis(since),
        )),
        ..struck
    })
}

fn status(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    let place = scene.place()?;
    let to = format!("{}:{}", place.gateway, scene.relay.port());
    let begun = record::now();
    scene.hook().say(&format!("arm status {TRACK} 1"))?;
    let since = Instant::now();
    let first = scene.part(&place, &["peer", &to, "status"])?;
    scene.hook().until_fired("status", TRACK, 1, FIRES)?;
    let second = scene.part(&place, &["peer", &to, "status"])?;
    if (first.as_str(), second.as_str()) != ("refused", "answered") {
        return Err(format!("TRACK_STATUS was {first}, and then {second}").into());
    }
    Ok(Struck {
        other: Some((
            "that TRACK_STATUS is refused; the next is answered".to_owned(),
            millis(since),
        )),
        ..Struck::at(begun, Met::Nobody)
    })
}

/// A FETCH of the group that was whole last.
fn fetch(scene: &mut Scene, chance: &mut Chance) -> Result<Struck, Failure> {
    moment(scene, chance)?;
    // Far enough that a whole group is in the cache.
    let client = scene.subscribers.first().ok_or("there is no subscriber")?;
    client.tape.more(2 * GOP, PATIENCE)?;
    let newest = scene
        .subscribers
        .first()
        .and_then(|client| client.tape.read().newest());
    let group = newest.ok_or("nothing came")? / GOP - 1;
    let begun = record::now();
    scene.hook().say(&format!("arm fetch {TRACK} 1"))?;
    let since = Instant::now();
    let range = format!("{group}");
    let mut got = Vec::new();
    for name in ["fetch-1", "fetch-2"] {
        let mut client = scene.client(&["fetch"], &[NAMESPACE, "video", &range, "--json"], name, false)?;
        let status = client.process()?.wait(PATIENCE)?;
        let whole = client.tape.read().came.len() as u64;
        got.push((status.success(), whole));
        if whole == GOP && status.success() {
            break;
        }
    }
    scene.hook().until_fired("fetch", TRACK, 1, FIRES)?;
    let lost = match got.as_slice() {
        [(true, GOP)] => "nothing: the response goes on where it was",
        [(false, _), (true, GOP)] => "that FETCH is cut short; the next is whole",
        other => return Err(format!("of {GOP} objects the fetches gave {other:?}").into()),
    };
    Ok(Struck {
        other: Some((lost.to_owned(), millis(since))),
        ..Struck::at(begun, Met::Nobody)
    })
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
