//! A stub serves its clients with what the mesh has, and the mesh with what they publish, and is known to its edge alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::mesh::Member;
use common::raw::{Raw, raw, subscribe};
use common::watch::ns;
use common::{publisher, run, subscriber, track};
use laps::relay::Relay;
use laps_actors::client::{Flow, Item, Publisher, Subscriber, TrackWriter, Wanted};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::node::NodeType;
use std::time::Duration;

/// A far edge, the stub's edge, and the stub.
struct Mesh {
    ca: PeerCa,
    far: Relay,
    edge: Relay,
    stub: Relay,
}

impl Mesh {
    async fn start() -> Self {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 1, &[]).start().await;
        let edge = Member::edge(&ca, 2, &[&far]).start().await;
        let stub = Member {
            role: NodeType::Stub,
            ..Member::edge(&ca, 3, &[&edge])
        };
        let stub = stub.start().await;
        assert_eq!(stub.peer_addrs(), [None, None], "nobody dials a stub");
        Self { ca, far, edge, stub }
    }

    fn end(self) {
        for relay in [self.stub, self.edge, self.far] {
            relay.drain(Duration::from_secs(2));
        }
    }
}

fn wanted(track: &FullTrackName) -> Wanted {
    Wanted {
        track: track.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    }
}

async fn object(writer: &mut TrackWriter, group: u64) {
    let payload = vec![Bytes::from(vec![1; 100])];
    writer.object(Location::new(group, 0), payload).await.unwrap();
}

/// The first object that comes.
async fn receives(subscriber: &mut Subscriber) -> Location {
    loop {
        if let Item::Object(object) = subscriber.next().await.unwrap() {
            return object.location;
        }
    }
}

/// Publishes groups until all of these have received one of them.
async fn reaches(writer: &mut TrackWriter, subscribers: &mut [Subscriber]) {
    writer.wanted().await.unwrap();
    object(writer, 0).await;
    for subscriber in subscribers {
        receives(subscriber).await;
    }
}

async fn publishes(relay: &Relay, name: &FullTrackName, flow: Flow) -> (Publisher, TrackWriter) {
    let mut publisher = publisher(relay).await;
    let writer = publisher.publish(name.clone(), flow).await.unwrap();
    (publisher, writer)
}

/// Issue 6, "Roles": the stub's subscribers come before their publisher, or after it.
#[test]
fn subscribers_of_a_stub_find_publishers_of_the_mesh() {
    run(async || {
        let mesh = Mesh::start().await;
        for (name, flow) in [("announced", Flow::Announce), ("published", Flow::Publish)] {
            // After.
            let name = track("after", name);
            let (_publisher, mut writer) = publishes(&mesh.far, &name, flow).await;
            let mut readers = [subscriber(&mesh.stub).await, subscriber(&mesh.stub).await];
            for reader in &mut readers {
                reader.subscribe(wanted(&name)).await.unwrap();
            }
            reaches(&mut writer, &mut readers).await;
        }
        // Before.
        let name = track("before", "video");
        let mut readers = [subscriber(&mesh.stub).await];
        let waits = async { readers[0].subscribe(wanted(&name)).await.unwrap() };
        let comes = publishes(&mesh.far, &name, Flow::Announce);
        let ((_publisher, mut writer), _) = futures::join!(comes, waits);
        reaches(&mut writer, &mut readers).await;
        mesh.end();
    });
}

/// Issue 6, "Roles": what a stub's clients publish reaches the whole mesh through its edge, which is its origin there, and
/// other stubs of that edge. Each of those who read comes before the publisher, and after it.
#[test]
fn publishers_of_a_stub_are_read_everywhere() {
    run(async || {
        let mesh = Mesh::start().await;
        let sibling = Member {
            role: NodeType::Stub,
            ..Member::edge(&mesh.ca, 4, &[&mesh.edge])
        };
        let sibling = sibling.start().await;
        for (name, flow) in [("announced", Flow::Announce), ("published", Flow::Publish)] {
            let name = track("of-a-stub", name);
            let (_publisher, mut writer) = publishes(&mesh.stub, &name, flow).await;
            let mut readers = Vec::new();
            for relay in [&mesh.far, &mesh.edge, &mesh.stub, &sibling] {
                let mut reader = subscriber(relay).await;
                reader.subscribe(wanted(&name)).await.unwrap();
                readers.push(reader);
            }
            reaches(&mut writer, &mut readers).await;
        }
        let name = track("of-a-stub-later", "video");
        let mut readers = [subscriber(&mesh.far).await, subscriber(&sibling).await];
        let [far, near] = &mut readers;
        let waits = async { futures::try_join!(far.subscribe(wanted(&name)), near.subscribe(wanted(&name))) };
        let comes = publishes(&mesh.stub, &name, Flow::Announce);
        let ((_publisher, mut writer), answers) = futures::join!(comes, waits);
        answers.unwrap();
        reaches(&mut writer, &mut readers).await;
        sibling.drain(Duration::from_secs(2));
        mesh.end();
    });
}

/// Sends TRACK_STATUS and waits for the answer: the largest object.
async fn status(client: &mut Raw, name: &FullTrackName) -> Result<Option<Location>, RequestErrorReason> {
    let id: RequestId = client.id();
    let asked = subscribe(name, SubscribeFilter::LargestObject);
    client.say(ControlMessage::TrackStatus(id, asked)).await;
    client
        .control(|message| match message {
            ControlMessage::TrackStatusOk(of, ok) if *of == id => Some(Ok(ok.largest)),
            ControlMessage::RequestError(of, RequestKind::TrackStatus, error) if *of == id => {
                Some(Err(error.reason))
            }
            _ => None,
        })
        .await
}

/// Issue 6, "Roles": FETCH and TRACK_STATUS of a stub's clients find what nobody there has asked for before, and what nobody
/// publishes does not exist there either. D14-FETCH-17 D14-SUB-28
#[test]
fn what_is_past_is_found_from_a_stub() {
    run(async || {
        let mesh = Mesh::start().await;
        for name in ["fetched", "asked-for"] {
            let name = track(name, "video");
            let (_publisher, mut writer) = publishes(&mesh.far, &name, Flow::Announce).await;
            let mut near = subscriber(&mesh.far).await;
            near.subscribe(wanted(&name)).await.unwrap();
            reaches(&mut writer, &mut [near]).await;
            let mut client = raw(&mesh.stub).await;
            if name.namespace().fields().last().unwrap() == "fetched" {
                let id = client.fetch_range(&name, (0, 0), (0, 1)).await;
                client.fetch_answer(id).await.unwrap();
                let (past, end) = client.fetched(id).await;
                assert_eq!((past.len(), end), (1, None));
            } else {
                assert_eq!(status(&mut client, &name).await, Ok(Some(Location::new(0, 0))));
            }
        }
        let mut client = raw(&mesh.stub).await;
        let nowhere = track("nowhere", "video");
        let id = client.fetch_range(&nowhere, (0, 0), (0, 1)).await;
        let refused = client.fetch_answer(id).await.unwrap_err();
        assert_eq!(refused.reason, RequestErrorReason::TrackDoesNotExist);
        assert_eq!(
            status(&mut client, &nowhere).await,
            Err(RequestErrorReason::TrackDoesNotExist)
        );
        mesh.end();
    });
}

/// Issue 6, "MOQT across the mesh": SUBSCRIBE_NAMESPACE on a stub tells of what the mesh announces, before and later.
/// D14-NS-2
#[test]
fn namespaces_of_the_mesh_are_told_on_a_stub() {
    run(async || {
        let mesh = Mesh::start().await;
        let mut origin = raw(&mesh.far).await;
        origin.announce(&ns("show/one")).await;
        origin.announce(&ns("other/one")).await;
        let mut watcher = raw(&mesh.stub).await;
        watcher.watched("show").await;
        assert_eq!(watcher.until_told(1).await, ["+show/one"]);
        origin.announce(&ns("show/two")).await;
        assert_eq!(watcher.until_told(2).await, ["+show/one", "+show/two"]);
        origin.withdraw("show/one").await;
        assert_eq!(
            watcher.until_told(3).await,
            ["+show/one", "+show/two", "-show/one"]
        );
        mesh.end();
    });
}
