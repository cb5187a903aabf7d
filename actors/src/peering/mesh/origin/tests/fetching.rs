//! What nodes fetch.

use super::*;
use crate::peering::mesh::FromNode;
use crate::peering::plane::unicast;
use crate::supervise::inject::FaultPlan;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrderRequest, RequestErrorReason};
use laps_protocol::peering::data_header::StreamHeaderReader;
use laps_protocol::peering::message::{FetchStep, PlainFetch};

impl Scene {
    pub(super) async fn ask(&self, node: NodeId, id: u64, step: FetchStep) {
        let said = FetchMessage {
            request: RequestId(id),
            step,
        };
        let asked = FromNode {
            source: node,
            kind: FetchMessage::KIND,
            request_id: id,
            body: said.encode().unwrap(),
        };
        self.origin.send(asked).await.unwrap();
    }

    async fn told(&mut self) -> (NodeId, u64, FetchStep) {
        let told = tokio::time::timeout(LONG, self.heard.fetches.recv());
        let (node, said) = told.await.unwrap().unwrap();
        (node, said.request.0, said.step)
    }

    async fn fetches_are(&self, count: u64) {
        while self.count("mesh_fetches").await != count {
            tokio::task::yield_now().await;
        }
    }
}

/// The groups from this one to that.
pub(super) fn groups(from: u64, to: u64) -> FetchStep {
    FetchStep::Fetch(PlainFetch {
        track: name(),
        start: Location::new(from, 0),
        end: Location::new(to, 0),
        priority: 5,
        group_order: GroupOrderRequest::Publisher,
    })
}

/// How does the track stand?
fn status() -> FetchStep {
    FetchStep::Status(laps_subscribe(name(), 0, None))
}

/// Decision 0029, MOQT-14 §9.20 D14-SUB-28: a node is told what a SUBSCRIBE would be answered, under its number, though
/// nothing leads to it for data; an actor that fails refuses its question and no other.
#[actix::test]
async fn a_node_asks_how_a_track_stands() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("status", name().to_string());
    let mut scene = Scene::with(plan.faults(), Limits::default(), Dialect::Own).await;
    let publisher = Publisher::new(&scene.env).await;
    publisher.begin(3, b"object").await;
    publisher.end(3).await;
    trigger.arm(1);
    scene.ask(NODES[0], 5, status()).await;
    let (told, id, step) = scene.told().await;
    let FetchStep::StatusError(error) = step else {
        panic!("{step:?}");
    };
    let failed = RequestErrorReason::InternalError;
    assert_eq!((told, id, error.reason), (NODES[0], 5, failed));
    for node in [NODES[0], NodeId(99)] {
        scene.ask(node, 6, status()).await;
        let (told, id, step) = scene.told().await;
        let FetchStep::StatusOk(ok) = step else {
            panic!("{step:?}");
        };
        assert_eq!((told, id, ok.alias), (node, 6, 0));
        assert_eq!(ok.largest, Some(Location::new(3, 0)));
    }
    assert_eq!(scene.count("mesh_statuses").await, 0);
    assert_eq!(scene.count("mesh_subscriptions").await, 0);
}

/// Decision 0029: what a node fetches comes on one stream, for it alone, behind the data header of a set of its own, and
/// under its number. Two nodes may have the same number.
#[actix::test]
async fn a_node_fetches_what_is_past() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    for group in 1..4 {
        publisher.begin(group, b"object").await;
        publisher.end(group).await;
    }
    for node in NODES {
        scene.ask(node, 77, groups(1, 2)).await;
        assert_eq!(nodes(&scene.heard.set().await), [node]);
        let (told, id, step) = scene.told().await;
        assert_eq!((told, id), (node, 77));
        assert!(
            matches!(step, FetchStep::Ok(ok) if ok.end == Location::new(2, 0)),
            "the whole of group 2"
        );
        let mut stream = scene.stream(A).await;
        assert_eq!(
            stream.item().await,
            Ok(Some(StreamItem::FetchHeader(RequestId(77))))
        );
        for group in 1..3 {
            let Ok(Some(StreamItem::FetchObject(object))) = stream.item().await else {
                panic!()
            };
            assert_eq!((object.location, object.priority), (Location::new(group, 0), 7));
            let payload = StreamItem::Payload(Bytes::from_static(b"object"));
            assert_eq!(stream.item().await, Ok(Some(payload)));
        }
        assert_eq!(stream.item().await, Ok(None));
        let mut head = Bytes::from(stream.head);
        let head = StreamHeaderReader::new().read(&mut head).unwrap().unwrap();
        assert_eq!((head.track, head.ttl_ms), (unicast(node), 0));
    }
    scene.fetches_are(0).await;
}

/// What cannot be fetched is refused: a track that nobody publishes, more at once than is served, a node to which no data
/// can be sent. And so is a status.
#[actix::test]
async fn what_cannot_be_fetched_is_refused() {
    let limits = Limits {
        fetches: 0,
        ..Limits::default()
    };
    let mut full = Scene::with(Faults::default(), limits, Dialect::Own).await;
    let mut scene = Scene::new().await;
    let refused = |(node, id, step)| {
        let (FetchStep::Error(error) | FetchStep::StatusError(error)) = step else {
            panic!("{step:?}");
        };
        (node, id, error.reason)
    };
    scene.ask(NODES[0], 1, groups(1, 2)).await;
    let nobody = RequestErrorReason::TrackDoesNotExist;
    assert_eq!(refused(scene.told().await), (NODES[0], 1, nobody));
    scene.ask(NodeId(99), 2, groups(1, 2)).await;
    let error = RequestErrorReason::InternalError;
    assert_eq!(refused(scene.told().await), (NodeId(99), 2, error));
    full.ask(NODES[0], 3, groups(1, 2)).await;
    assert_eq!(refused(full.told().await), (NODES[0], 3, error));
    scene.ask(NODES[1], 4, status()).await;
    assert_eq!(refused(scene.told().await), (NODES[1], 4, nobody));
    full.ask(NODES[1], 5, status()).await;
    assert_eq!(refused(full.told().await), (NODES[1], 5, error));
    scene.fetches_are(0).await;
}

/// MOQT-14 §9.19 D14-FETCH-16: a node that wants no more gets no more. One whose actor fails goes on.
#[actix::test]
async fn a_fetch_that_fails_goes_on_and_one_that_is_cancelled_ends() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("fetch", name().to_string());
    let mut scene = Scene::with(plan.faults(), Limits::default(), Dialect::Own).await;
    let publisher = Publisher::new(&scene.env).await;
    // More than a stream takes of which nothing is read.
    publisher.begin(1, Vec::leak(vec![7; 8 << 20])).await;
    publisher.end(1).await;
    trigger.arm(1);
    scene.ask(NODES[0], 8, groups(1, 1)).await;
    let mut stream = scene.stream(A).await;
    assert_eq!(
        stream.item().await,
        Ok(Some(StreamItem::FetchHeader(RequestId(8))))
    );
    assert_eq!((scene.counters().await.restarts, trigger.fired()), (1, 1));
    scene.ask(NODES[0], 8, FetchStep::Cancel).await;
    scene.fetches_are(0).await;
    loop {
        match stream.item().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it looks whole"),
            Err(()) => break,
        }
    }
}
