//! What is urgent to a subscriber comes first over a link between relays too, however far away the publisher's relay is.
//!
//! The link to the subscriber's relay is held: what its relay says waits on the road, so the other end grants no more than it
//! did before, which is less than one object. One object has used that up, and all others wait at the relay before the link.
//! When the road is free each byte that arrives gives leave to one more, so the order in which objects are complete at the
//! subscriber is the order in which they were sent on the link.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/road.rs"]
#[allow(
    dead_code,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]
mod road;

use common::mesh::{Member, patient};
use common::raw::{Raw, raw};
use common::{run, track};
use laps::relay::{Relay, Settings};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrderRequest, MessageParams, RequestId, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode, TrackAlias};
use laps_protocol::peering::node::NodeType;
use road::{Road, Side, Terms};
use std::net::Ipv4Addr;
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const AS_PUBLISHED: GroupOrderRequest = GroupOrderRequest::Publisher;
/// Tables of a relay in between: streams that it hands on, and sets that it was told.
const STREAMS: &str = "shard-0.peering_streams";
const SETS: &str = "shard-0.peering_sets_taken";
/// What a relay grants on a link, and what is more than that.
const WINDOW: u64 = 32 * 1024;
const OBJECT: usize = 100 * 1024;
const ANSWER: Duration = Duration::from_secs(10);

/// A link that waits is no dead one, and what changes is told at once.
fn relay(settings: &mut Settings) {
    patient(settings);
    settings.track.dampen = Duration::ZERO;
}

/// One that grants little on its links.
fn narrow(settings: &mut Settings) {
    relay(settings);
    settings
        .peering
        .as_mut()
        .unwrap()
        .setup
        .transport
        .connection_window = WINDOW;
}

/// The relay of a publisher, that of a subscriber, and perhaps some in between; the link to the last one is by a road.
struct Scene {
    near: Relay,
    /// Those in between.
    middle: Vec<Relay>,
    _far: Vec<Relay>,
    road: Road,
    publisher: Raw,
    witness: Raw,
    /// At the far relay.
    peer: Raw,
    /// At one beside it, by a link of its own.
    other: Raw,
    tracks: Vec<Track>,
}

struct Track {
    name: FullTrackName,
    /// The peer's subscription, and its alias there.
    request: RequestId,
    alias: TrackAlias,
    seen: TrackAlias,
    /// That at the relay beside, once it is read there.
    beside: Option<TrackAlias>,
}

impl Scene {
    /// With these roles between the two ends.
    async fn new(between: &[NodeType]) -> Self {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 9, &[]).but(narrow).start().await;
        let beside = Member::edge(&ca, 8, &[]).but(relay).start().await;
        let other = raw(&beside).await;
        let mut beside = Some(beside);
        let to = far.peer_addrs()[0].unwrap();
        let road = Road::open(Ipv4Addr::LOCALHOST.into(), to, Terms::default(), 1).unwrap();
        let mut door = Some(road.door().to_string());
        let (mut middle, mut kept) = (Vec::<Relay>::new(), vec![far]);
        for (low, role) in (1..).zip(between.iter().copied().rev().chain([NodeType::Edge])) {
            let dials: Vec<_> = middle.last().into_iter().chain(&beside).collect();
            let member = Member {
                role,
                ..Member::edge(&ca, low, &dials)
            };
            let door = door.take();
            let member = member.but(move |settings| {
                relay(settings);
                let targets = &mut settings.peering.as_mut().unwrap().setup.targets;
                targets.extend(door.map(|door| (door.parse().unwrap(), 1)));
            });
            let relay = member.start().await;
            kept.extend(beside.take());
            middle.push(relay);
        }
        let near = middle.pop().unwrap();
        let mut publisher = raw(&near).await;
        publisher.announce(track("priority", "any").namespace()).await;
        Self {
            witness: raw(&near).await,
            peer: raw(&kept[0]).await,
            other,
            near,
            middle,
            _far: kept,
            road,
            publisher,
            tracks: Vec::new(),
        }
    }

    /// Who sends on the link that is held.
    fn before(&self) -> &Relay {
        self.middle.first().unwrap_or(&self.near)
    }

    /// One more track, to which the peer subscribes with this priority.
    async fn track(&mut self, priority: u8) -> usize {
        let number = self.tracks.len();
        let name = track("priority", &format!("number {number}"));
        let id = self.witness.subscribe(&name, NEWEST).await;
        self.publisher.serve(&name, 70 + number as u64).await;
        let seen = self.witness.answer(id).await.unwrap().alias;
        let (request, ok) = self.peer.subscribed_at(&name, priority, AS_PUBLISHED).await;
        self.tracks.push(Track {
            name,
            request,
            alias: ok.alias,
            seen,
            beside: None,
        });
        number
    }

    /// The one at the other relay subscribes too.
    async fn beside(&mut self, of: usize, priority: u8) {
        let name = &self.tracks[of].name;
        let (_, ok) = self.other.subscribed_at(name, priority, AS_PUBLISHED).await;
        self.tracks[of].beside = Some(ok.alias);
    }

    /// The size of a table of the relay before the link, which has then done what it was told before this.
    async fn count(&self, table: &str) -> u64 {
        let census = self.before().handle().census(ANSWER).await.unwrap();
        let row = census.rows.iter().find(|row| row.table == table);
        row.unwrap_or_else(|| panic!("{table} is no table")).count
    }

    /// Waits until it is as large as this.
    async fn until(&self, table: &str, count: u64) {
        while self.count(table).await < count {
            tokio::task::yield_now().await;
        }
    }

    /// Publishes an object, and waits until the publisher's relay has it.
    async fn publish(&mut self, of: usize) {
        let header = SubgroupHeader {
            alias: 70 + of as u64,
            group: 0,
            subgroup: SubgroupIdMode::Explicit(0),
            priority: 128,
            has_extensions: false,
            end_of_group: false,
        };
        let mut stream = self.publisher.open_with(header).await;
        stream.object(0, &vec![1; OBJECT]).await;
        stream.fin();
        self.witness.until_object(self.tracks[of].seen, (0, 0)).await;
    }

    /// Publishes an object of each of these tracks, which wait at the link behind one that has used up what it grants, and
    /// is the last in every order.
    async fn publish_behind(&mut self, plug: usize, tracks: &[usize]) {
        // What comes by the link beside has come to the relay before both.
        for of in tracks {
            if self.tracks[*of].beside.is_none() {
                self.beside(*of, 255).await;
            }
        }
        self.road.hold(Side::Dialler);
        self.publish(plug).await;
        for of in tracks {
            self.publish(*of).await;
            let beside = self.tracks[*of].beside.unwrap();
            self.other
                .wait(|log| (!Raw::headers(log, beside).is_empty()).then_some(()))
                .await;
        }
        if self.middle.is_empty() {
            self.count(STREAMS).await;
        } else {
            self.until(STREAMS, 1 + tracks.len() as u64).await;
        }
    }

    /// Changes a priority, and waits until the relay before the link knows.
    async fn update(&mut self, of: usize, priority: u8) {
        let before = self.count(SETS).await;
        let update = SubscribeUpdate {
            subscription: self.tracks[of].request,
            start: Location::ZERO,
            end_group: None,
            priority,
            forward: true,
            params: MessageParams::default(),
        };
        self.peer.update_as(update).await;
        self.peer.fence().await;
        // A subscription that is asked for behind it has come by the same way.
        let behind = track("priority", &format!("behind {of}"));
        self.peer.subscribe(&behind, NEWEST).await;
        self.publisher.asked(&behind, 0).await;
        if !self.middle.is_empty() {
            self.until(SETS, before + 1).await;
        }
    }

    /// Frees the road; the tracks of so many objects, in the order in which those are complete.
    async fn arrive(&mut self, count: usize) -> Vec<usize> {
        self.road.release();
        let all = self
            .peer
            .wait(|log| Some(Raw::objects(log)).filter(|all| all.len() >= count));
        let all = all.await;
        let of = |alias| self.tracks.iter().position(|track| track.alias == alias).unwrap();
        all.iter().map(|got| of(got.alias)).collect()
    }
}

/// What lies between the relays of the publisher and the subscriber.
const WAYS: [&[NodeType]; 3] = [
    &[],
    &[NodeType::Via],
    &[NodeType::Edge, NodeType::Via, NodeType::Edge],
];

/// Issue 6, D14-PRIO-1 D14-PRIO-2: what the subscriber finds more urgent arrives first, as if it were at the publisher's relay.
#[test]
fn the_more_urgent_subscription_goes_first_on_a_link() {
    for way in WAYS {
        run(move || async move {
            let mut scene = Scene::new(way).await;
            let mut tracks = Vec::new();
            for priority in [255, 200, 128, 0] {
                tracks.push(scene.track(priority).await);
            }
            scene.publish_behind(tracks[0], &tracks[1..]).await;
            tracks.reverse();
            assert_eq!(scene.arrive(4).await, tracks, "{way:?}");
        });
    }
}

/// D14-PRIO-4: SUBSCRIBE_UPDATE moves what waits at any relay on the way already, in both directions.
#[test]
fn an_update_moves_what_waits_on_a_link() {
    for way in WAYS {
        run(move || async move {
            let mut scene = Scene::new(way).await;
            let mut tracks = Vec::new();
            for priority in [255, 10, 20, 30] {
                tracks.push(scene.track(priority).await);
            }
            scene.publish_behind(tracks[0], &tracks[1..]).await;
            scene.update(tracks[3], 1).await;
            scene.update(tracks[1], 40).await;
            let order = [tracks[3], tracks[2], tracks[1], tracks[0]];
            assert_eq!(scene.arrive(4).await, order, "{way:?}");
        });
    }
}

/// D14-PRIO-1: how urgent it is to those behind one link is nothing to those behind another, for whom the same stream is.
#[test]
fn each_link_goes_by_its_own_subscribers() {
    for way in WAYS {
        run(move || async move {
            let mut scene = Scene::new(way).await;
            let plug = scene.track(255).await;
            let (least, most) = (scene.track(200).await, scene.track(100).await);
            scene.beside(least, 10).await;
            scene.publish_behind(plug, &[least, most]).await;
            assert_eq!(scene.arrive(3).await, [most, least, plug], "{way:?}");
        });
    }
}
