//! A client whose address changes falls silent for a while, and is suspected to have lost its relay. The suspicion proves
//! wrong: the session goes on, and every object comes once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "a test fails by panicking"
)]

mod common;

use common::nat::Nat;
use common::paced::Paced;
use common::{options, relay, run, settings, target, track};
use laps_actors::client::{Flow, Moving, Notice, Options};
use laps_protocol::moqt::message::SubscribeFilter;
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Objects before the network fails, and how many come after that.
const BEFORE: usize = 55;
const AFTER: usize = 100;

/// What a client logs.
struct Said(mpsc::UnboundedSender<String>);

impl Drain for Said {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.0.send(record.msg().to_string()).ok();
        Ok(())
    }
}

/// A client that comes back when its session is lost, with what it tells of that, and what it logs.
fn watched(steps: &Arc<Mutex<Vec<String>>>) -> (Options, mpsc::UnboundedReceiver<String>) {
    let (said, heard) = mpsc::unbounded_channel();
    let (steps, options) = (Arc::clone(steps), options());
    let options = Options {
        moving: Moving {
            retry: Duration::from_secs(600),
            notice: Notice::new(move |step| steps.lock().unwrap().push(format!("{step:?}"))),
            ..Moving::default()
        },
        log: Logger::root(slog::Duplicate(Said(said), options.log.clone()).fuse(), o!()),
        ..options
    };
    (options, heard)
}

/// The network takes nothing to the client until that suspects its relay; then it does, and brings the client's packets
/// from another port. Nobody else gets through, so another session cannot take the place of this one.
async fn fails(nat: Nat, mut heard: mpsc::UnboundedReceiver<String>) -> Nat {
    nat.only_this_client();
    nat.deafen(true);
    while let Some(said) = heard.recv().await {
        if said.contains("the relay is silent") {
            break;
        }
    }
    nat.rebind();
    nat.deafen(false);
    nat
}

/// Who is behind the network that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Publisher,
    Subscriber,
}

async fn survives(who: Who) {
    let mut settings = settings(2);
    // The publisher goes at the pace of the subscriber, so it is not to be stopped while that one hears nothing.
    settings.track.dampen = Duration::from_secs(3600);
    let relay = relay(settings).await;
    let (name, direct) = (track("roams", "video"), target(relay.local_addr()));
    let nat = Nat::before(relay.local_addr()).await;
    let port = nat.port();
    let steps = Arc::default();
    let (roaming, heard) = watched(&steps);
    let door = target(nat.door);
    let (publisher, subscriber) = match who {
        Who::Publisher => ((&door, roaming), (&direct, options())),
        Who::Subscriber => ((&direct, options()), (&door, roaming)),
    };
    let terms = (Flow::Announce, SubscribeFilter::LargestObject);
    let mut track = Paced::begin(name, terms, publisher, subscriber).await;
    let (mut way, mut failed) = (Some((nat, heard)), None);
    while let Some(count) = track.next().await {
        if count == BEFORE {
            failed = way.take().map(|(nat, heard)| actix_rt::spawn(fails(nat, heard)));
        }
        if count == BEFORE + AFTER {
            track.ends();
        }
        track.goes_on();
    }
    let nat = failed.unwrap().await.unwrap();
    assert_ne!(nat.port(), port, "the address has changed");
    assert_eq!(
        *steps.lock().unwrap(),
        Vec::<String>::new(),
        "it is the session of before"
    );
    track.came_once().await;
}

/// D14-TERM-1
#[test]
fn of_a_subscriber() {
    run(|| survives(Who::Subscriber));
}

#[test]
fn of_a_publisher() {
    run(|| survives(Who::Publisher));
}
