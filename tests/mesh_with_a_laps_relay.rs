//! A relay of ours and a real laps relay serve each other's users, whoever of the two dialled. The laps relay is played by
//! the bytes that one was seen to send, and takes no more than one takes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::laps_peer::{
    FAKE_PEER, Heard, LapsListener, LapsPeer, RELAY_A, bytes_of, heads, listens, objects, set_of, vector,
};
use common::mesh::{Member, id};
use common::reading::{name, object, wants};
use common::{publisher, run, subscriber};
use laps::relay::Relay;
use laps_actors::client::Flow;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::Subscribe;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::message::{
    Dialect, Message, PublishInfo, Published, laps_subscribe, parse_subscribe_data,
};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use std::time::Duration;

/// Who dials.
#[derive(Clone, Copy, PartialEq)]
enum Dials {
    Laps,
    We,
}

/// The track of the vectors.
fn video() -> FullTrackName {
    name(&["moq", "example"], "video")
}

/// A relay of ours, `1:1`, with one laps relay that says this CONNECT, or that in answer to ours.
async fn meet(
    ca: &PeerCa,
    dials: Dials,
    others: &[&Relay],
    connect: &str,
    answer: Bytes,
) -> (Relay, LapsPeer) {
    match dials {
        Dials::Laps => {
            let relay = Member::edge(ca, 1, others).but(listens).start().await;
            let addr = relay.peer_addrs()[1].unwrap();
            let peer = LapsPeer::dial(addr, &vector(connect)).await;
            (relay, peer)
        }
        Dials::We => {
            let mut listener = LapsListener::start();
            let target = format!("laps+{}", listener.addr());
            let member = Member::edge(ca, 1, others).but(move |settings| {
                listens(settings);
                let setup = &mut settings.peering.as_mut().unwrap().setup;
                setup.targets.push((target.parse().unwrap(), 1));
            });
            let relay = member.start().await;
            let peer = listener.accept(&answer).await;
            // The endpoint lives for as long as the test does.
            std::mem::forget(listener);
            (relay, peer)
        }
    }
}

/// CONNECT_RESPONSE of a node.
fn accepts(node: NodeId, contact: &'static str) -> Bytes {
    use laps_protocol::peering::message::ConnectResponse;
    let node = NodeInfo::new(node, NodeType::Edge, Bytes::from_static(contact.as_bytes()));
    bytes_of(&Message::ConnectResponse(ConnectResponse::Accepted(node)))
}

/// laps peering, "Shown by" 7: all of a life of a track, from laps' publisher to our subscriber.
async fn laps_publishes(dials: Dials) {
    let ca = PeerCa::generate().unwrap();
    let (relay, mut laps) = meet(&ca, dials, &[], "W11", vector("W2")).await;
    let node = id(1);
    laps.say(&vector("W3")).await;
    if dials == Dials::We {
        // A real one that was dialled says all that it has twice.
        laps.say(&vector("W3")).await;
    }
    let mut subscriber = subscriber(&relay).await;
    wants(&mut subscriber, &video()).await;
    let info = laps.said(|message| match message {
        Message::SubscribeInfoAdvertise(info) => Some(info.clone()),
        _ => None,
    });
    let info = info.await;
    assert_eq!((info.source, info.track), (node, TrackHash::of(&video())));
    // laps reads priority, name and the wish for a new group. The rest is as it writes it, but for the order of groups,
    // of which it asks for ascending ones whatever its subscribers said.
    let (_, subscribe) = parse_subscribe_data(Dialect::Laps14, &info.data).unwrap();
    let as_laps = laps_subscribe(video(), subscribe.priority, None);
    let order = subscribe.group_order;
    assert_eq!(
        subscribe,
        Subscribe {
            group_order: order,
            ..as_laps
        }
    );

    laps.say(&set_of(2, &[node])).await;
    laps.open_and_reset().await;
    let mut first = laps.open(&[heads(2, 0), objects(&["obj-g0"])]).await;
    first.send(&mut [objects(&["obj1-g0"])]).await.unwrap();
    assert_eq!(object(&mut subscriber).await, (0, 0, b"obj-g0".to_vec()));
    assert_eq!(object(&mut subscriber).await, (0, 1, b"obj1-g0".to_vec()));
    // laps' draft-14 relays break the stream before off when they begin one.
    first.reset(0);
    let mut second = laps.open(&[heads(2, 1), objects(&["obj-g1"])]).await;
    assert_eq!(object(&mut subscriber).await, (1, 0, b"obj-g1".to_vec()));

    // "What is not in order": data may overtake its set.
    let mut early = laps.open(&[heads(3, 2), objects(&["obj-g2"])]).await;
    laps.say(&set_of(3, &[node])).await;
    assert_eq!(object(&mut subscriber).await, (2, 0, b"obj-g2".to_vec()));
    early.finish().unwrap();

    subscriber.close().await;
    let gone = laps.said(|message| match message {
        Message::SubscribeInfoWithdraw(info) => Some(info.clone()),
        _ => None,
    });
    let gone = gone.await;
    assert_eq!((gone.source, gone.track), (info.source, info.track));
    assert!(gone.sequence.is_newer_than(info.sequence));
    laps.say(&vector("W8")).await;
    second.finish().unwrap();
    laps.is_content();
    relay.drain(Duration::from_secs(2));
}

#[test]
fn what_a_laps_relay_publishes_is_read_here_when_it_dials() {
    run(|| laps_publishes(Dials::Laps));
}

#[test]
fn what_a_laps_relay_publishes_is_read_here_when_we_dial() {
    run(|| laps_publishes(Dials::We));
}

/// laps peering, "Shown by" 7: all of a life of a track, from our publisher to laps' subscriber.
async fn laps_subscribes(dials: Dials, flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let answer = accepts(FAKE_PEER, "fakepeer");
    let (relay, mut laps) = meet(&ca, dials, &[], "W1", answer).await;
    let mut publisher = publisher(&relay).await;
    let mut writer = publisher.publish(video(), flow).await.unwrap();
    let what = match flow {
        Flow::Announce => Published::Namespace(video().namespace().clone()),
        Flow::Publish => Published::Track(video()),
    };
    // Of a relay of ours instead of relay-a, the message of the vector.
    let advert = Message::PublishInfoAdvertise(PublishInfo::new(id(1), what.clone()));
    laps.said_bytes(&bytes_of(&advert)).await;

    laps.say(&vector("W5")).await;
    writer.wanted().await.unwrap();
    let object = |group, object| Location::new(group, object);
    writer
        .object(object(0, 0), vec![Bytes::from_static(b"obj0-g0")])
        .await
        .unwrap();
    let set = laps.said(|message| match message {
        Message::NodeSetAdvertise(set) => Some(set.clone()),
        _ => None,
    });
    let set = set.await;
    assert_eq!((set.priority, set.nodes()), (2, &[FAKE_PEER][..]));
    let (header, subgroup) = laps
        .wait(|log| {
            log.iter().find_map(|heard| match heard {
                Heard::Stream(0, header, subgroup) => Some((*header, *subgroup)),
                _ => None,
            })
        })
        .await;
    assert_eq!((header.sns, header.track), (set.id, TrackHash::of(&video()).full));
    assert_eq!((header.priority, header.ttl_ms), (subgroup.priority, 5000));
    writer
        .object(object(0, 1), vec![Bytes::from_static(b"obj1-g0")])
        .await
        .unwrap();
    writer
        .object(object(1, 0), vec![Bytes::from_static(b"obj0-g1")])
        .await
        .unwrap();
    let fin = |log: &[Heard], stream| {
        log.iter()
            .any(|heard| matches!(heard, Heard::Fin(at) if *at == stream))
    };
    laps.wait(|log| fin(log, 0).then_some(())).await;
    assert_eq!(laps.objects(0), [b"obj0-g0", b"obj1-g0"]);

    let finished = actix_rt::spawn(writer.finish());
    laps.wait(|log| fin(log, 1).then_some(())).await;
    assert_eq!(laps.objects(1), [b"obj0-g1"]);
    finished.await.unwrap().unwrap();
    publisher.close().await;
    let over = Message::PublishInfoWithdraw(PublishInfo::new(id(1), what));
    laps.said_bytes(&bytes_of(&over)).await;
    laps.say(&vector("W7")).await;
    laps.said_bytes(&bytes_of(&Message::NodeSetWithdraw(set.id)))
        .await;
    laps.is_content();
    relay.drain(Duration::from_secs(2));
}

#[test]
fn what_is_announced_here_a_laps_relay_reads_when_it_dials() {
    run(|| laps_subscribes(Dials::Laps, Flow::Announce));
}

#[test]
fn what_is_published_here_a_laps_relay_reads_when_we_dial() {
    run(|| laps_subscribes(Dials::We, Flow::Publish));
}

/// laps hands datagrams on as they are, to subscribers who know the track by its hash.
#[test]
fn datagrams_go_both_ways() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (relay, mut laps) = meet(&ca, Dials::Laps, &[], "W1", Bytes::new()).await;
        let mut publisher = publisher(&relay).await;
        let mut writer = publisher.publish(video(), Flow::Announce).await.unwrap();
        laps.say(&vector("W5")).await;
        writer.wanted().await.unwrap();
        let payload = Bytes::from_static(b"here");
        writer.datagram(4, 0, payload.clone()).await.unwrap();
        let (header, sent) = laps
            .wait(|log| {
                log.iter().find_map(|heard| match heard {
                    Heard::Datagram(header, object) => Some((*header, object.clone())),
                    _ => None,
                })
            })
            .await;
        assert_eq!(header.track, TrackHash::of(&video()).full);
        assert_eq!((sent.location, sent.payload), (Location::new(4, 0), payload));

        // The other way, of a track that laps has. Its publisher's alias stands in the datagram.
        let audio = name(&["fake", "ns"], "t1");
        laps.say(&vector("W4")).await;
        let mut subscriber = subscriber(&relay).await;
        wants(&mut subscriber, &audio).await;
        laps.said(|message| match message {
            Message::SubscribeInfoAdvertise(info) => (info.track == TrackHash::of(&audio)).then_some(()),
            _ => None,
        })
        .await;
        laps.say(&set_of(1, &[id(1)])).await;
        let mut head = vector("D1").to_vec();
        head[2..6].copy_from_slice(&[0, 0, 0, 1]);
        head[6..14].copy_from_slice(&TrackHash::of(&audio).full.get().to_be_bytes());
        // OBJECT_DATAGRAM without extensions: alias 9, group 7, object 0, priority.
        let datagram = [&head[..], &[0, 9, 7, 0, 0x80], b"there"].concat();
        laps.conn.send_datagram(datagram.into()).unwrap();
        assert_eq!(object(&mut subscriber).await, (7, 0, b"there".to_vec()));
        laps.is_content();
    });
}

/// laps peering, "Node Path": little-endian items, ours among them, so that no relay behind takes a way through itself;
/// and what is behind the laps relay is served to who is behind ours.
#[test]
fn relays_behind_each_other_reach_each_other() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let behind = Member::edge(&ca, 2, &[]).start().await;
        let (relay, mut laps) = meet(&ca, Dials::We, &[&behind], "", vector("W2")).await;
        let told = laps
            .wait(|log| {
                log.iter().find_map(|heard| match heard {
                    Heard::Said(_, Message::NodeInfoAdvertise(info), bytes) if info.id == id(2) => {
                        Some((info.clone(), bytes.clone()))
                    }
                    _ => None,
                })
            })
            .await;
        let (info, bytes) = told;
        assert_eq!((info.path.len(), info.path[0].node), (1, id(1)));
        let item = &bytes[bytes.len() - 16..];
        assert_eq!(item[..8], id(1).0.to_le_bytes());
        assert_eq!(item[8..], info.path[0].srtt_us.to_le_bytes());

        // A node behind it, with its own id on the path as a real one puts it there, and what that one publishes.
        laps.say(&vector("W14")).await;
        let far = NodeId(0x1111);
        let what = Published::Namespace(video().namespace().clone());
        laps.say(&bytes_of(&Message::PublishInfoAdvertise(PublishInfo::new(
            far, what,
        ))))
        .await;
        let mut subscriber = subscriber(&behind).await;
        wants(&mut subscriber, &video()).await;
        laps.said(|message| match message {
            Message::SubscribeInfoAdvertise(info) => (info.source == id(2)).then_some(()),
            _ => None,
        })
        .await;
        laps.say(&set_of(2, &[id(2)])).await;
        let _stream = laps.open(&[heads(2, 0), objects(&["far"])]).await;
        assert_eq!(object(&mut subscriber).await, (0, 0, b"far".to_vec()));

        // And the other way round.
        let mut publisher = publisher(&behind).await;
        let track = name(&["behind"], "t");
        let mut writer = publisher.publish(track.clone(), Flow::Announce).await.unwrap();
        laps.said(|message| match message {
            Message::PublishInfoAdvertise(info) => (info.source == id(2)).then_some(()),
            _ => None,
        })
        .await;
        let info = laps_protocol::peering::message::SubscribeInfo {
            sequence: laps_protocol::peering::message::Sequence(1),
            source: RELAY_A,
            track: TrackHash::of(&track),
            data: laps_protocol::peering::message::encode_subscribe_data(
                Dialect::Laps14,
                laps_protocol::moqt::message::RequestId(0),
                &laps_subscribe(track.clone(), 1, None),
            )
            .unwrap(),
        };
        laps.say(&bytes_of(&Message::SubscribeInfoAdvertise(info))).await;
        writer.wanted().await.unwrap();
        let sent = Bytes::from(vec![7; 100_000]);
        writer
            .object(Location::new(0, 0), vec![sent.clone()])
            .await
            .unwrap();
        let finished = actix_rt::spawn(writer.finish());
        laps.wait(|log| {
            log.iter()
                .any(|heard| matches!(heard, Heard::Fin(0)))
                .then_some(())
        })
        .await;
        assert_eq!(laps.objects(0), [sent]);
        finished.await.unwrap().unwrap();
        laps.is_content();
        drop(relay);
    });
}

/// One message to a flush, also where there is much to say: to a laps relay that comes late, and to one that is there.
#[test]
fn a_crowd_of_messages_goes_one_by_one() {
    run(|| async {
        const TRACKS: usize = 40;
        let ca = PeerCa::generate().unwrap();
        let relay = Member::edge(&ca, 1, &[]).but(listens).start().await;
        let addr = relay.peer_addrs()[1].unwrap();
        let mut early = LapsPeer::dial(addr, &vector("W11")).await;
        let mut publisher = publisher(&relay).await;
        let mut writers = Vec::new();
        for number in 0..TRACKS {
            let fields = ["crowd".to_owned(), number.to_string()].map(Bytes::from);
            let namespace = TrackNamespace::new(fields).unwrap();
            let track = FullTrackName::new(namespace, Bytes::from_static(b"t")).unwrap();
            writers.push(publisher.publish(track, Flow::Announce).await.unwrap());
        }
        let all = |log: &[Heard]| {
            let adverts = log
                .iter()
                .filter(|heard| matches!(heard, Heard::Said(_, Message::PublishInfoAdvertise(_), _)));
            (adverts.count() == TRACKS).then_some(())
        };
        early.wait(all).await;
        let mut late = LapsPeer::dial(addr, &vector("W1")).await;
        late.wait(all).await;
        early.is_content();
        late.is_content();
    });
}
