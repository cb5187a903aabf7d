//! What is urgent overtakes what came before it, as soon as something has to wait.
//!
//! The peer of these tests grants its connection less than one object. It reads nothing until everything is where it
//! should be: one object has used up what there is, and all others wait. Then each byte that it reads gives leave to
//! one more, so at any time the relay can have sent no more than that of an object while the one before it is not
//! complete: the order in which objects are complete is the order in which they were sent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::fetching::{past, range};
use common::raw::{News, Raw, RawStream, Reading, raw};
use common::{relay, run, settings, track};
use laps::relay::Relay;
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, RequestId, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode, TrackAlias};

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const AS_PUBLISHED: GroupOrderRequest = GroupOrderRequest::Publisher;
const NEW_FIRST: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Descending);

/// What the peer grants its connection, and what is more than that.
const WINDOW: u64 = 32 * 1024;
const OBJECT: usize = 100 * 1024;

/// A publisher, a subscriber that reads everything and shows what the relay has, and one that holds back.
struct Scene {
    relay: Relay,
    publisher: Raw,
    witness: Raw,
    peer: Raw,
    tracks: Vec<Track>,
}

/// A track and its two subscriptions.
struct Track {
    request: RequestId,
    alias: TrackAlias,
    seen: TrackAlias,
    published: TrackAlias,
}

impl Scene {
    async fn new(reading: Reading, transport: TransportConfig) -> Self {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        publisher.announce(track("priority", "any").namespace()).await;
        let witness = raw(&relay).await;
        let peer = Raw::connect(&relay, reading, transport).await;
        Self {
            relay,
            publisher,
            witness,
            peer,
            tracks: Vec::new(),
        }
    }

    /// One that holds back and grants [`WINDOW`].
    async fn congested() -> Self {
        let transport = TransportConfig {
            connection_window: WINDOW,
            ..TransportConfig::default()
        };
        Self::new(Reading::Later, transport).await
    }

    /// One more track, to which the peer subscribes like this.
    async fn track(&mut self, priority: u8, order: GroupOrderRequest) -> usize {
        let number = self.tracks.len();
        let name = track("priority", &format!("number {number}"));
        let published = 70 + number as u64;
        let id = self.witness.subscribe(&name, NEWEST).await;
        self.publisher.serve(&name, published).await;
        let seen = self.witness.answer(id).await.unwrap().alias;
        let (request, ok) = self.peer.subscribed_at(&name, priority, order).await;
        self.tracks.push(Track {
            request,
            alias: ok.alias,
            seen,
            published,
        });
        number
    }

    async fn open(&mut self, of: usize, group: u64, subgroup: u64, priority: u8) -> RawStream {
        let header = SubgroupHeader {
            alias: self.tracks[of].published,
            group,
            subgroup: SubgroupIdMode::Explicit(subgroup),
            priority,
            has_extensions: false,
            end_of_group: false,
        };
        self.publisher.open_with(header).await
    }

    /// Publishes an object on a subgroup of its own, and waits until the relay has it. Its id tells the subgroup too.
    async fn publish(&mut self, of: usize, group: u64, subgroup: u64, priority: u8) {
        let mut stream = self.open(of, group, subgroup, priority).await;
        stream.object(subgroup, &vec![1; OBJECT]).await;
        stream.fin();
        let seen = self.tracks[of].seen;
        self.witness.until_object(seen, (group, subgroup)).await;
        self.witness.log.clear();
    }

    /// Uses up what the peer grants, by an object that is the last in every order.
    async fn plug(&mut self) {
        let plug = self.track(255, AS_PUBLISHED).await;
        self.publish(plug, 0, 0, 255).await;
        // The relay writes what it may as it is told of the object, and answers this after that.
        self.peer.fence().await;
    }

    /// Reads until so many objects are there beside the plug; which tracks they are of and where, in order of completion.
    async fn read(&mut self, count: usize) -> Vec<(usize, u64, u64)> {
        // Whatever was said before has been heard.
        self.peer.fence().await;
        self.peer.read_held();
        let all = self
            .peer
            .wait(|log| Some(Raw::objects(log)).filter(|all| all.len() > count));
        let all = all.await;
        let of = |alias| self.tracks.iter().position(|track| track.alias == alias).unwrap();
        all.iter()
            .map(|got| (of(got.alias), got.location.group, got.location.object))
            .collect()
    }
}

/// D14-PRIO-1 D14-PRIO-2 D14-PRIO-5: the subscriber's priority, then the publisher's, then the order of groups, then the
/// subgroup, whatever came first.
#[test]
fn the_order_is_that_of_the_draft() {
    run(async || {
        let mut scene = Scene::congested().await;
        scene.plug().await;
        let least = scene.track(200, AS_PUBLISHED).await;
        let middle = scene.track(128, NEW_FIRST).await;
        let most = scene.track(0, AS_PUBLISHED).await;
        // What the publisher finds urgent is nothing against what the subscriber does.
        scene.publish(least, 0, 0, 0).await;
        for (group, subgroup, priority) in [(1, 1, 9), (1, 0, 9), (2, 0, 9), (0, 0, 3)] {
            scene.publish(middle, group, subgroup, priority).await;
        }
        for (group, subgroup, priority) in [(1, 0, 200), (0, 1, 200), (0, 0, 200)] {
            scene.publish(most, group, subgroup, priority).await;
        }
        let order = [
            (most, 0, 0),
            (most, 0, 1),
            (most, 1, 0),
            (middle, 0, 0),
            (middle, 2, 0),
            (middle, 1, 0),
            (middle, 1, 1),
            (least, 0, 0),
            (0, 0, 0),
        ];
        assert_eq!(scene.read(8).await, order);
    });
}

/// D14-PRIO-4: SUBSCRIBE_UPDATE moves what waits already, in both directions.
#[test]
fn an_update_moves_what_waits() {
    run(async || {
        let mut scene = Scene::congested().await;
        scene.plug().await;
        let mut tracks = Vec::new();
        for priority in [10, 20, 30] {
            let of = scene.track(priority, AS_PUBLISHED).await;
            scene.publish(of, 0, 0, 128).await;
            tracks.push(of);
        }
        for (of, priority) in [(tracks[2], 1), (tracks[0], 40)] {
            let update = SubscribeUpdate {
                subscription: scene.tracks[of].request,
                start: Location::ZERO,
                end_group: None,
                priority,
                forward: true,
                params: MessageParams::default(),
            };
            scene.peer.update_as(update).await;
        }
        let order = [(tracks[2], 0, 0), (tracks[1], 0, 0), (tracks[0], 0, 0), (0, 0, 0)];
        assert_eq!(scene.read(3).await, order);
    });
}

/// D14-PRIO-4 D14-PRIO-5: FETCH and SUBSCRIBE are on one scale, and an object of a FETCH has its own publisher priority.
#[test]
fn fetch_and_subscribe_are_on_one_scale() {
    run(async || {
        let mut scene = Scene::congested().await;
        scene.plug().await;
        let before = scene.track(10, AS_PUBLISHED).await;
        let after = scene.track(30, AS_PUBLISHED).await;
        // Only the witness has it, so it is in the relay.
        let name = track("priority", "past");
        let id = scene.witness.subscribe(&name, NEWEST).await;
        scene.publisher.serve(&name, 60).await;
        let alias = scene.witness.answer(id).await.unwrap().alias;
        let mut stream = scene.publisher.open_last(60, 0, SubgroupIdMode::Zero).await;
        stream.object(0, &vec![2; OBJECT]).await;
        stream.fin();
        scene.witness.until_object(alias, (0, 0)).await;
        let (whole, order) = (range(&name, (0, 0), (0, 1)), GroupOrderRequest::Publisher);
        let fetch = scene.peer.fetch_at(whole, order, 20).await;
        scene.peer.fetch_answer(fetch).await.unwrap();
        scene.publish(after, 0, 0, 0).await;
        scene.publish(before, 0, 0, 255).await;
        scene.peer.fence().await;
        scene.peer.read_held();
        scene.peer.until_fetched(fetch, 1).await;
        let subscribed = Raw::places(&scene.peer.log, scene.tracks[before].alias);
        assert_eq!(subscribed, [(0, 0)]);
        let late = scene.tracks[after].alias;
        assert_eq!(Raw::places(&scene.peer.log, late), []);
        scene.peer.until_objects(late, 1).await;
        assert_eq!(past(&scene.peer.log, fetch).len(), 1);
    });
}

/// D14-PRIO-1: subscriptions that tie share what there is: each has begun before the first has brought three objects.
#[test]
fn subscriptions_that_tie_take_turns() {
    run(async || {
        let mut scene = Scene::congested().await;
        scene.plug().await;
        let mut tracks = Vec::new();
        for _ in 0..3 {
            tracks.push(scene.track(9, AS_PUBLISHED).await);
        }
        for &of in &tracks {
            for group in 0..4 {
                scene.publish(of, group, 0, 128).await;
            }
        }
        let got = scene.read(12).await;
        for of in tracks {
            let first = got.iter().position(|(track, ..)| *track == of).unwrap();
            assert!(first < 6, "{got:?}");
        }
        assert_eq!(got[12], (0, 0, 0));
    });
}

/// D14-PRIO-7: a stream that the peer lets nothing through is in nobody's way, however urgent it is and however much of
/// it waits.
#[test]
fn a_blocked_stream_blocks_nobody() {
    run(async || {
        let transport = TransportConfig {
            uni_stream_window: 20 * 1024,
            ..TransportConfig::default()
        };
        let mut scene = Scene::new(Reading::AllButFirst, transport).await;
        let urgent = scene.track(0, AS_PUBLISHED).await;
        let other = scene.track(255, AS_PUBLISHED).await;
        scene.publish(urgent, 0, 0, 0).await;
        // The stream is there, and the relay may send no more of it.
        scene.peer.fence().await;
        for group in 0..20 {
            scene.publish(other, group, 0, 255).await;
        }
        let (urgent, other) = (scene.tracks[urgent].alias, scene.tracks[other].alias);
        scene.peer.until_objects(other, 20).await;
        assert_eq!(Raw::places(&scene.peer.log, urgent), []);
        let reset = |news: &News| matches!(news, News::Reset(..));
        assert!(!scene.peer.log.iter().any(reset));
    });
}

/// A stream whose window is full has a final size within that window when it is reset: the peer does not close the
/// connection. RFC 9000 §4.5
#[test]
fn a_blocked_stream_can_be_reset() {
    run(async || {
        let transport = TransportConfig {
            uni_stream_window: 20 * 1024,
            ..TransportConfig::default()
        };
        let mut scene = Scene::new(Reading::AllButFirst, transport).await;
        let blocked = scene.track(0, AS_PUBLISHED).await;
        let other = scene.track(0, AS_PUBLISHED).await;
        scene.publish(blocked, 0, 0, 0).await;
        scene.peer.fence().await;
        let request = scene.tracks[blocked].request;
        scene.peer.say(ControlMessage::Unsubscribe(request)).await;
        scene.peer.fence().await;
        scene.publish(other, 0, 0, 0).await;
        let other = scene.tracks[other].alias;
        scene.peer.until_objects(other, 1).await;
        assert!(!scene.peer.log.iter().any(|news| matches!(news, News::Closed(_))));
    });
}

/// D14-LIM-1: when the peer grants no more streams, the next goes to who is first in the order: those that wait are the
/// last.
#[test]
fn the_next_stream_is_the_first_in_the_order() {
    run(async || {
        let transport = TransportConfig {
            max_uni_streams: 1,
            ..TransportConfig::default()
        };
        let mut scene = Scene::new(Reading::Everything, transport).await;
        let plug = scene.track(9, AS_PUBLISHED).await;
        let least = scene.track(200, AS_PUBLISHED).await;
        let most = scene.track(100, AS_PUBLISHED).await;
        let mut stream = scene.open(plug, 0, 0, 128).await;
        stream.object(0, b"plug").await;
        scene.peer.until_object(scene.tracks[plug].alias, (0, 0)).await;
        for group in 0..3 {
            scene.publish(least, group, 0, 0).await;
        }
        scene.publish(most, 0, 0, 255).await;
        scene.peer.fence().await;
        let waits = Raw::objects(&scene.peer.log).len();
        assert_eq!(waits, 1);
        stream.fin();
        let order = scene.read(4).await;
        let least = [(least, 0, 0), (least, 1, 0), (least, 2, 0)];
        assert_eq!(order[..2], [(plug, 0, 0), (most, 0, 0)]);
        assert_eq!(order[2..], least);
    });
}

/// D14-PRIO-6: the order of groups is the publisher's when the subscriber has no wish, and is said in SUBSCRIBE_OK.
#[test]
fn the_order_of_groups_is_fixed_with_the_answer() {
    run(async || {
        let mut scene = Scene::congested().await;
        scene.plug().await;
        let name = track("priority", "backwards");
        let id = scene.witness.subscribe(&name, NEWEST).await;
        let (upstream, _) = scene.publisher.asked(&name, 0).await;
        scene
            .publisher
            .accept_in(upstream, 60, GroupOrder::Descending)
            .await;
        let seen = scene.witness.answer(id).await.unwrap().alias;
        for (priority, wish, order) in [
            (1, AS_PUBLISHED, GroupOrder::Descending),
            (
                2,
                GroupOrderRequest::Fixed(GroupOrder::Ascending),
                GroupOrder::Ascending,
            ),
        ] {
            let mut peer = Raw::connect(
                &scene.relay,
                Reading::Later,
                TransportConfig {
                    connection_window: WINDOW,
                    ..TransportConfig::default()
                },
            )
            .await;
            let (_, ok) = peer.subscribed_at(&name, priority, wish).await;
            assert_eq!(ok.group_order, order);
            drop(peer);
        }
        let (request, ok) = scene.peer.subscribed_at(&name, 9, AS_PUBLISHED).await;
        scene.tracks.push(Track {
            request,
            alias: ok.alias,
            seen,
            published: 60,
        });
        let of = scene.tracks.len() - 1;
        for group in [1, 2, 0] {
            scene.publish(of, group, 0, 128).await;
        }
        assert_eq!(
            scene.read(3).await,
            [(of, 2, 0), (of, 1, 0), (of, 0, 0), (0, 0, 0)]
        );
    });
}

/// D14-LIM-1: a stream that the peer grants goes to who wants it still, though others asked before and gave up; nobody
/// waits for the next grant, which may never come.
#[test]
fn a_stream_that_was_asked_for_in_vain_goes_to_the_next() {
    run(async || {
        let transport = TransportConfig {
            max_uni_streams: 1,
            ..TransportConfig::default()
        };
        let mut scene = Scene::new(Reading::Everything, transport).await;
        let plug = scene.track(9, AS_PUBLISHED).await;
        let gone = scene.track(9, AS_PUBLISHED).await;
        let stays = scene.track(9, AS_PUBLISHED).await;
        let mut stream = scene.open(plug, 0, 0, 128).await;
        stream.object(0, b"plug").await;
        scene.peer.until_object(scene.tracks[plug].alias, (0, 0)).await;
        for group in 0..3 {
            scene.publish(gone, group, 0, 0).await;
        }
        scene.publish(stays, 0, 0, 0).await;
        scene.peer.fence().await;
        let request = scene.tracks[gone].request;
        scene.peer.say(ControlMessage::Unsubscribe(request)).await;
        scene.peer.fence().await;
        assert_eq!(Raw::objects(&scene.peer.log).len(), 1);
        stream.fin();
        assert_eq!(scene.read(1).await, [(plug, 0, 0), (stays, 0, 0)]);
    });
}
