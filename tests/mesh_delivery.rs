//! How objects are delivered at another relay: what is late, urgent, or the end of a group or of the track is so there as
//! at the relay of the publisher.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::feeding::Flow;
use common::mesh::{Member, feeder, two};
use common::raw::{News, Raw, Reading, raw, subscribe};
use common::{run, track};
use laps::relay::Relay;
use laps_actors::transport::{PeerCa, TransportConfig};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, PublishDoneStatus, RequestId,
    SubscribeFilter, SubscribeOk, SubscribeUpdate,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{ObjectStatus, SubgroupHeader, SubgroupIdMode, TrackAlias};
use laps_protocol::peering::node::NodeType;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const AS_PUBLISHED: GroupOrderRequest = GroupOrderRequest::Publisher;
/// DELIVERY_TIMEOUT among the reset codes. MOQT-14 §10.4.3
const LATE: u64 = 2;
/// Longer than an object takes, on whatever machine.
const SHORT: u64 = 1000;
/// Longer than a test runs.
const LONG: u64 = 600_000;
/// What a reader that holds back grants its connection, and what is more than that.
const WINDOW: u64 = 32 * 1024;
const OBJECT: usize = 100 * 1024;

fn timeout(delivery_timeout_ms: Option<u64>) -> MessageParams {
    MessageParams {
        delivery_timeout_ms,
        ..MessageParams::default()
    }
}

async fn ask(client: &mut Raw, name: &FullTrackName, ms: Option<u64>) -> RequestId {
    let id = client.id();
    let mut asked = subscribe(name, NEWEST);
    asked.params = timeout(ms);
    client.say(ControlMessage::Subscribe(id, asked)).await;
    id
}

/// Accepts the relay's SUBSCRIBE, with the publisher's own timeout.
async fn serve(publisher: &mut Raw, name: &FullTrackName, ms: Option<u64>) {
    let (id, asked) = publisher.asked(name, 0).await;
    // MOQT-14 §9.2.1.2 [D14-SUB-14]: one subscriber's time is no business of the others'.
    assert_eq!(asked.params.delivery_timeout_ms, None);
    let ok = SubscribeOk {
        alias: ALIAS,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest: None,
        params: timeout(ms),
    };
    publisher.say(ControlMessage::SubscribeOk(id, ok)).await;
}

/// D14-PARAM-3 D14-TO-1 D14-TO-2 D14-SUB-14: an object whose time is over is not delivered behind the mesh, whoever set it;
/// the track goes on, and does not come back to it.
#[test]
fn what_is_late_is_not_delivered() {
    run(async || {
        let [near, far] = two(2).await;
        let cases = [
            (Some(SHORT), None),
            (None, Some(SHORT)),
            (Some(LONG), Some(SHORT)),
            (Some(SHORT), Some(LONG)),
        ];
        for (number, (theirs, ours)) in cases.into_iter().enumerate() {
            let name = track("late", &number.to_string());
            let mut publisher = raw(&near).await;
            publisher.announce(name.namespace()).await;
            let mut client = raw(&far).await;
            let id = ask(&mut client, &name, ours).await;
            serve(&mut publisher, &name, theirs).await;
            let ok = client.answer(id).await.unwrap();
            assert_eq!(ok.params.delivery_timeout_ms, theirs);
            let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
            stream.object(0, b"in time").await;
            stream.begin(1, 6).await;
            stream.write(Bytes::from_static(b"abc")).await;
            client.until_object(ok.alias, (0, 0)).await;
            let first = Raw::headers(&client.log, ok.alias)[0].0;
            assert_eq!(client.ended(first).await, Some(LATE), "{theirs:?} {ours:?}");
            stream.write(Bytes::from_static(b"def")).await;
            stream.object(2, b"behind it").await;
            stream.fin();
            publisher.group(ALIAS, 1, 1).await;
            client.until_object(ok.alias, (1, 0)).await;
            assert_eq!(Raw::places(&client.log, ok.alias), [(0, 0), (1, 0)]);
            publisher.conn.close(0, "done");
        }
    });
}

/// D14-TO-1 D14-TO-3: one reader's time is its own, also where others read behind the same link.
#[test]
fn who_asks_for_no_time_gets_everything() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("late", "patient");
        let mut publisher = raw(&near).await;
        publisher.announce(name.namespace()).await;
        let (mut hasty, mut none) = (raw(&far).await, raw(&far).await);
        let (hasty_id, none_id) = (
            ask(&mut hasty, &name, Some(SHORT)).await,
            ask(&mut none, &name, None).await,
        );
        serve(&mut publisher, &name, None).await;
        let (hasty_ok, none_ok) = (
            hasty.answer(hasty_id).await.unwrap(),
            none.answer(none_id).await.unwrap(),
        );
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.begin(0, 6).await;
        stream.write(Bytes::from_static(b"abc")).await;
        hasty
            .wait(|log| (!Raw::headers(log, hasty_ok.alias).is_empty()).then_some(()))
            .await;
        assert_eq!(hasty.ended(0).await, Some(LATE));
        stream.write(Bytes::from_static(b"def")).await;
        stream.fin();
        none.until_object(none_ok.alias, (0, 0)).await;
        assert_eq!(none.ended(0).await, None);
    });
}

/// The places at which no object stands, and why.
fn statuses(log: &[News], alias: TrackAlias) -> Vec<(u64, u64, ObjectStatus)> {
    let headers = Raw::headers(log, alias);
    let group = |number: usize| {
        headers
            .iter()
            .find(|(at, _)| *at == number)
            .map(|(_, head)| head.group)
    };
    let statuses = log.iter().filter_map(|news| match news {
        News::Object(number, header) if header.status != ObjectStatus::Normal => {
            Some((group(*number)?, header.id, header.status))
        }
        _ => None,
    });
    let mut statuses: Vec<_> = statuses.collect();
    statuses.sort_by_key(|(group, object, _)| (*group, *object));
    statuses
}

/// D14-DATA-6 D14-FETCH-4 D14-SUB-19: END_OF_GROUP and END_OF_TRACK are told to who subscribes and to who fetches.
#[test]
fn the_ends_of_groups_and_of_the_track_are_told() {
    for flow in [Flow::Announce, Flow::Publish] {
        run(move || async move {
            let [near, far] = two(1).await;
            let name = track("ends", "statuses");
            let mut reader = raw(&far).await;
            let id = reader.subscribe(&name, NEWEST).await;
            let mut feeder = feeder(&near, flow, &name, ALIAS).await;
            let alias = reader.answer(id).await.unwrap().alias;
            let mut here = raw(&near).await;
            let (here_id, ok) = here.subscribed(&name, NEWEST).await;
            let (mut readers, ids, aliases) = ([here, reader], [here_id, id], [ok.alias, alias]);
            for (group, last) in [(0, ObjectStatus::EndOfGroup), (1, ObjectStatus::EndOfTrack)] {
                let mut stream = feeder.raw.open(ALIAS, group, SubgroupIdMode::Zero).await;
                stream.object(0, b"one").await;
                stream.object(1, b"two").await;
                stream.status(2, last).await;
                stream.fin();
            }
            let all = [(0, 2, ObjectStatus::EndOfGroup), (1, 2, ObjectStatus::EndOfTrack)];
            let mut fetched = Vec::new();
            for (reader, alias) in readers.iter_mut().zip(&aliases) {
                let told = reader.wait(|log| Some(statuses(log, *alias)).filter(|told| told.len() == 2));
                assert_eq!(told.await, all);
                let id = reader.fetch_range(&name, (0, 0), (1, 0)).await;
                let ok = reader.fetch_answer(id).await.unwrap();
                let (past, end) = reader.fetched(id).await;
                assert_eq!(end, None);
                let past: Vec<_> = past
                    .iter()
                    .map(|object| (object.header.location, object.header.status))
                    .collect();
                fetched.push((ok, past));
            }
            assert!(fetched[0].0.end_of_track);
            assert_eq!(fetched[0], fetched[1]);
            let request = feeder.request;
            feeder
                .raw
                .publish_done(request, PublishDoneStatus::TrackEnded, Some(2))
                .await;
            for (reader, id) in readers.iter_mut().zip(ids) {
                let done = reader.done(id).await;
                assert_eq!(
                    (done.status, done.stream_count),
                    (PublishDoneStatus::TrackEnded, Some(2))
                );
            }
        });
    }
}

/// A reader that grants its connection less than one object and takes nothing yet, and one beside it that shows what their
/// relay has.
struct Side {
    witness: Raw,
    peer: Raw,
    /// Of each track: both aliases, and the reader's subscription.
    tracks: Vec<(TrackAlias, TrackAlias, RequestId)>,
}

/// A publisher, and readers at other relays.
struct Scene {
    publisher: Raw,
    sides: Vec<Side>,
}

impl Scene {
    async fn new(near: &Relay, far: &[&Relay]) -> Self {
        let mut publisher = raw(near).await;
        publisher.announce(track("priority", "any").namespace()).await;
        let mut sides = Vec::new();
        for relay in far {
            let transport = TransportConfig {
                connection_window: WINDOW,
                ..TransportConfig::default()
            };
            sides.push(Side {
                witness: raw(relay).await,
                peer: Raw::connect(relay, Reading::Later, transport).await,
                tracks: Vec::new(),
            });
        }
        Self { publisher, sides }
    }

    /// One more track, to which each reader subscribes in its way.
    async fn track(&mut self, wishes: &[(u8, GroupOrderRequest)]) -> usize {
        let number = self.sides[0].tracks.len();
        let name = track("priority", &format!("number {number}"));
        let mut asked = Vec::new();
        for side in &mut self.sides {
            asked.push(side.witness.subscribe(&name, NEWEST).await);
        }
        self.publisher.serve(&name, 70 + number as u64).await;
        for ((side, id), (priority, order)) in self.sides.iter_mut().zip(asked).zip(wishes) {
            let seen = side.witness.answer(id).await.unwrap().alias;
            let (request, ok) = side.peer.subscribed_at(&name, *priority, *order).await;
            side.tracks.push((seen, ok.alias, request));
        }
        number
    }

    /// Publishes an object on a subgroup of its own, and waits until all relays have it.
    async fn publish(&mut self, of: usize, group: u64, subgroup: u64, priority: u8) {
        let header = SubgroupHeader {
            alias: 70 + of as u64,
            group,
            subgroup: SubgroupIdMode::Explicit(subgroup),
            priority,
            has_extensions: false,
            end_of_group: false,
        };
        let mut stream = self.publisher.open_with(header).await;
        stream.object(subgroup, &vec![1; OBJECT]).await;
        stream.fin();
        for side in &mut self.sides {
            let seen = side.tracks[of].0;
            side.witness.until_object(seen, (group, subgroup)).await;
            side.witness.log.clear();
        }
    }

    /// Uses up what the readers grant, by an object that is the last in every order.
    async fn plug(&mut self) {
        let wishes = vec![(255, AS_PUBLISHED); self.sides.len()];
        let plug = self.track(&wishes).await;
        self.publish(plug, 0, 0, 255).await;
        for side in &mut self.sides {
            side.peer.fence().await;
        }
    }
}

impl Side {
    /// Reads until so many objects are there beside the plug: their tracks and places, in order of completion.
    async fn read(&mut self, count: usize) -> Vec<(usize, u64, u64)> {
        self.peer.fence().await;
        self.peer.read_held();
        let all = self
            .peer
            .wait(|log| Some(Raw::objects(log)).filter(|all| all.len() > count));
        let all = all.await;
        let of = |alias| self.tracks.iter().position(|track| track.1 == alias).unwrap();
        let places = all.iter();
        places
            .map(|got| (of(got.alias), got.location.group, got.location.object))
            .collect()
    }
}

/// D14-PRIO-1 D14-PRIO-2 D14-PRIO-4 D14-PRIO-5: the subscriber's priority, then the publisher's, then the order of groups,
/// then the subgroup, whatever came first; and SUBSCRIBE_UPDATE moves what waits.
#[test]
fn what_is_urgent_comes_first_at_another_relay() {
    run(async || {
        let [near, far] = two(1).await;
        let mut scene = Scene::new(&near, &[&far]).await;
        scene.plug().await;
        let least = scene.track(&[(200, AS_PUBLISHED)]).await;
        let newest = GroupOrderRequest::Fixed(GroupOrder::Descending);
        let middle = scene.track(&[(128, newest)]).await;
        let most = scene.track(&[(150, AS_PUBLISHED)]).await;
        scene.publish(least, 0, 0, 0).await;
        for (group, subgroup, priority) in [(1, 1, 9), (1, 0, 9), (2, 0, 9), (0, 0, 3)] {
            scene.publish(middle, group, subgroup, priority).await;
        }
        for (group, subgroup) in [(1, 0), (0, 1), (0, 0)] {
            scene.publish(most, group, subgroup, 200).await;
        }
        let side = &mut scene.sides[0];
        let update = SubscribeUpdate {
            subscription: side.tracks[most].2,
            start: Location::ZERO,
            end_group: None,
            priority: 0,
            forward: true,
            params: MessageParams::default(),
        };
        side.peer.update_as(update).await;
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
        assert_eq!(side.read(8).await, order);
    });
}

/// D14-PRIO-5 D14-PRIO-6 D14-SUB-15: readers of one track at two relays behind one link each have their own order of groups,
/// and who has no wish the publisher's.
#[test]
fn each_reader_has_its_own_order_of_groups() {
    run(async || {
        let ca = PeerCa::generate().unwrap();
        let [one, other] = [3, 4].map(|low| Member::edge(&ca, low, &[]).start());
        let (one, other) = futures::join!(one, other);
        let via = Member {
            role: NodeType::Via,
            ..Member::edge(&ca, 2, &[&one, &other])
        };
        let via = via.start().await;
        let near = Member::edge(&ca, 1, &[&via]).start().await;
        let mut scene = Scene::new(&near, &[&one, &other]).await;
        scene.plug().await;
        let orders = [GroupOrder::Ascending, GroupOrder::Descending];
        let fixed = orders.map(|order| (9, GroupOrderRequest::Fixed(order)));
        let swapped = [fixed[1], fixed[0]];
        let tracks = [scene.track(&fixed).await, scene.track(&swapped).await];
        for of in tracks {
            for group in [1, 0, 2] {
                scene.publish(of, group, 0, 128).await;
            }
        }
        for (at, side) in scene.sides.iter_mut().enumerate() {
            let got = side.read(6).await;
            for of in tracks {
                let groups = got.iter().filter(|(track, ..)| *track == of);
                let groups: Vec<_> = groups.map(|(_, group, _)| *group).collect();
                let up = orders[(at + usize::from(of == tracks[1])) % 2] == GroupOrder::Ascending;
                assert_eq!(groups, if up { [0, 1, 2] } else { [2, 1, 0] }, "reader {at}");
            }
        }
    });
}
