//! Two publishers of one track are killed and come back in turn, inside objects, and whoever reads it sees every object
//! once, whole, on streams that go on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::feeding::{Feeder, Flow};
use common::raw::{News, Raw, RawStream, end, payload};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const OBJECTS: u64 = 4;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Bytes of the stream's objects that a reader has, whole or not.
fn received(log: &[News], alias: u64, group: u64) -> usize {
    let streams: Vec<_> = Raw::headers(log, alias)
        .into_iter()
        .filter(|(_, header)| header.group == group)
        .map(|(number, _)| number)
        .collect();
    let bytes = |news: &News| match news {
        News::Payload(number, bytes) if streams.contains(number) => bytes.len(),
        _ => 0,
    };
    log.iter().map(bytes).sum()
}

/// A publisher's way through one group, byte by byte.
struct Way {
    group: u64,
    stream: RawStream,
    /// The object that is next, or is being written.
    object: u64,
    /// How many bytes of it are written; none before it begins.
    written: Option<usize>,
}

impl Way {
    async fn begin(feeder: &mut Feeder, group: u64) -> Self {
        Self {
            group,
            stream: feeder.raw.open(feeder.alias, group, SubgroupIdMode::Zero).await,
            object: 0,
            written: None,
        }
    }

    /// Goes on to `part` of three of this object, and through all that are before it.
    async fn to(&mut self, object: u64, thirds: usize) {
        while self.object < object {
            self.write(3).await;
        }
        if self.object == object {
            self.write(thirds).await;
        }
    }

    async fn write(&mut self, thirds: usize) {
        let bytes = payload(self.group, self.object);
        if self.written.is_none() {
            self.stream.begin(self.object, bytes.len() as u64).await;
            self.written = Some(0);
        }
        let (from, to) = (self.written.unwrap(), bytes.len() * thirds / 3);
        if to > from {
            self.stream.write(Bytes::copy_from_slice(&bytes[from..to])).await;
            self.written = Some(to);
        }
        if to == bytes.len() {
            (self.object, self.written) = (self.object + 1, None);
        }
    }

    async fn finish(mut self) {
        while self.object < OBJECTS {
            self.write(3).await;
        }
        self.stream.fin();
    }
}

/// MOQT-14 §8.2, §8.4.2: twenty times, one of the two dies inside an object while the other is somewhere else.
async fn in_turn(shards: usize, flow: Flow) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("turn", "video");
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let id = subscriber.subscribe(&name, NEWEST).await;
    subscriber.settled().await;
    let client = |number: u64| placement.raw_on(&relay, number as usize % shards);
    let mut living = Feeder::join(client(0).await, flow, &name, ALIAS, None).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut mortal = Feeder::join(client(1).await, flow, &name, ALIAS, None).await;
    for round in 0..20_u64 {
        let whole = payload(round, 0).len();
        let seen = async |subscriber: &mut Raw, bytes: usize| {
            subscriber
                .wait(|log| (received(log, alias, round) >= bytes).then_some(()))
                .await;
        };
        // The relay knows of the group from both.
        let mut lives = Way::begin(&mut living, round).await;
        lives.to(0, 1).await;
        seen(&mut subscriber, whole / 3).await;
        let mut dies = Way::begin(&mut mortal, round).await;
        // Where the one dies, and where the other is then: behind it, with it, or ahead of it.
        let (thirds, other) = (round as usize % 3, round % 4);
        if round % 2 == 0 {
            lives.to(other, (thirds + 1) % 3).await;
        }
        dies.to(2, thirds).await;
        seen(&mut subscriber, 2 * whole + whole * thirds / 3).await;
        if round % 2 == 1 {
            lives.to(other, (thirds + 1) % 3).await;
        }
        drop(dies);
        drop(mortal);
        lives.finish().await;
        subscriber.until_object(alias, (round, OBJECTS - 1)).await;
        // It comes back and says again what has been said.
        mortal = living;
        let largest = Some(Location::new(round, OBJECTS - 1));
        living = Feeder::join(client(round).await, flow, &name, ALIAS, largest).await;
        living.group(round, OBJECTS).await;
    }
    let streams: Vec<_> = Raw::headers(&subscriber.log, alias)
        .into_iter()
        .map(|(number, header)| (number, header.group))
        .collect();
    for (number, group) in &streams {
        // The raw client refuses a FIN inside an object.
        assert_eq!(subscriber.ended(*number).await, None, "group {group} was reset");
    }
    subscriber.fence().await;
    let objects = Raw::objects(&subscriber.log);
    for object in &objects {
        let at = object.location;
        assert_eq!(object.payload, payload(at.group, at.object), "{at}");
    }
    let expected: Vec<_> = (0..20)
        .flat_map(|group| (0..OBJECTS).map(move |object| (group, object)))
        .collect();
    assert_eq!(Raw::places(&subscriber.log, alias), expected);
    let groups: Vec<_> = streams.iter().map(|(_, group)| *group).collect();
    assert_eq!(groups, (0..20).collect::<Vec<_>>(), "each group on one stream");
    let over = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    assert!(!subscriber.log.iter().any(over));
    assert!(
        streams
            .iter()
            .all(|(number, _)| end(&subscriber.log, *number) == Some(None))
    );
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6 D14-CLOSE-1 D14-NS-7
#[test]
fn announced_one_shard() {
    run(|| in_turn(1, Flow::Announce));
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6 D14-CLOSE-1 D14-NS-7
#[test]
fn announced_two_shards() {
    run(|| in_turn(2, Flow::Announce));
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6 D14-CLOSE-1 D14-SUB-26
#[test]
fn published_one_shard() {
    run(|| in_turn(1, Flow::Publish));
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6 D14-CLOSE-1 D14-SUB-26
#[test]
fn published_two_shards() {
    run(|| in_turn(2, Flow::Publish));
}

/// D14-PUB-1 D14-CLOSE-1: when the other one has not begun the group yet, what was cut short is reset, and comes again.
#[test]
fn what_nobody_else_has_begun_is_reset_and_had_again() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("turn", "late");
        let mut subscriber = common::raw::raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut dies = Feeder::join(common::raw::raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut lives = Feeder::join(common::raw::raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        let mut way = Way::begin(&mut dies, 0).await;
        way.to(1, 1).await;
        subscriber
            .wait(|log| (received(log, alias, 0) > payload(0, 0).len()).then_some(()))
            .await;
        drop(way);
        drop(dies);
        assert!(subscriber.ended(0).await.is_some());
        lives.group(0, OBJECTS).await;
        let expected: Vec<_> = (0..OBJECTS).map(|object| (0, object)).collect();
        assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
        assert_eq!(subscriber.ended(1).await, None);
    });
}

/// D14-PUB-1 D14-PUB-6: one that stands still inside an object, and whose session nobody has closed, is overtaken.
#[test]
fn a_publisher_that_stands_still_is_overtaken() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("turn", "still");
        let mut subscriber = common::raw::raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut still =
            Feeder::join(common::raw::raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut goes_on =
            Feeder::join(common::raw::raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        let mut stops = Way::begin(&mut still, 0).await;
        stops.to(1, 1).await;
        subscriber
            .wait(|log| (received(log, alias, 0) > payload(0, 0).len()).then_some(()))
            .await;
        Way::begin(&mut goes_on, 0).await.finish().await;
        let expected: Vec<_> = (0..OBJECTS).map(|object| (0, object)).collect();
        assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
        assert_eq!(Raw::headers(&subscriber.log, alias).len(), 1);
        drop(stops);
    });
}
