//! FETCH towards nodes.

use super::*;
use crate::fetch::{FetchNews, FetchProgress, Fetched};
use crate::peering::mesh::remote::{AskStatus, NoStatus};
use crate::track::{Description, Knows, OpenPast, ReadPast, TrackMeta, WhoKnows};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::FetchOk;
use laps_protocol::moqt::message::GroupOrderRequest;
use laps_protocol::moqt::object::FetchObjectHeader;
use laps_protocol::peering::message::{FetchStep, laps_subscribe};
use laps_protocol::relay::fetch::{Batch, Chunk};
use laps_protocol::relay::track_log::Fill;
use laps_protocol::relay::track_log::{PastRange, StreamEnd};

impl Scene {
    /// What is said to a node of a FETCH.
    pub(super) async fn said(&mut self) -> (NodeId, FetchMessage) {
        let said = tokio::time::timeout(LONG, self.nodes.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(said.kind, FetchMessage::KIND);
        let limits = laps_protocol::peering::limits::Limits::default();
        let message = FetchMessage::decode(said.request_id, &said.body, &limits).unwrap();
        (said.target, message)
    }

    async fn answers(&self, node: NodeId, request: RequestId, step: FetchStep) {
        let said = FromNode {
            source: node,
            kind: FetchMessage::KIND,
            request_id: request.0,
            body: (FetchMessage { request, step }).encode().unwrap(),
        };
        mailbox::ask(&self.mesh, said, LONG).await.unwrap();
    }
}

const END: Location = Location { group: 1, object: 0 };

fn accepted() -> FetchStep {
    FetchStep::Ok(FetchOk {
        group_order: GroupOrder::Ascending,
        end_of_track: false,
        end: Location::new(1, 1),
        params: MessageParams::default(),
    })
}

/// A FETCH of group 1 of a track that rests, and what is asked for it.
async fn open(scene: &Scene) -> (TrackRef, ReaderId) {
    scene.announces(A, true).await;
    let track = scene.find().await.unwrap();
    let reader = ReaderId::next();
    let past = OpenPast {
        own: true,
        reader,
        range: PastRange { start: END, end: END },
        order: GroupOrderRequest::Publisher,
        priority: 7,
    };
    let opened = mailbox::ask(&track.home, past, LONG).await.unwrap();
    opened.unwrap();
    (track, reader)
}

/// Decision 0029: what is not here is fetched of the node, and its objects come by a stream of their own.
#[test]
fn what_is_not_here_is_fetched_of_the_node() {
    run(async |mut scene| {
        let (track, reader) = open(&scene).await;
        let read = mailbox::ask(&track.home, ReadPast { reader }, LONG);
        let (node, asked) = scene.said().await;
        let FetchStep::Fetch(fetch) = asked.step else {
            panic!("{asked:?}");
        };
        assert_eq!((node, &fetch.track, fetch.start), (A, &video(), END));
        // MOQT-14 §7.2 [D14-PRIO-1]: as urgently as it is wanted here.
        assert_eq!(fetch.priority, 7);
        let sink = scene
            .tables
            .fetches
            .borrow()
            .get(&asked.request)
            .cloned()
            .unwrap();
        scene.answers(A, asked.request, accepted()).await;
        let header = FetchObjectHeader {
            location: END,
            subgroup: 0,
            priority: 1,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 5,
        };
        let chunks = vec![Fill::Object(header), Fill::Payload(Bytes::from_static(b"hello"))];
        mailbox::signal(
            &sink.objects,
            Fetched {
                key: sink.key,
                chunks,
            },
        );
        // What the table does when the stream ends.
        scene.tables.forget(asked.request);
        let progress = FetchProgress::Ended(StreamEnd::Fin);
        mailbox::signal(
            &sink.news,
            FetchNews {
                key: sink.key,
                progress,
            },
        );
        let batch: Batch = read.await.unwrap();
        let payload = |chunk: &Chunk| match chunk {
            Chunk::Payload(bytes) => Some(bytes.clone()),
            Chunk::Object { .. } => None,
        };
        let payloads: Vec<_> = batch.chunks.iter().filter_map(payload).collect();
        assert_eq!(payloads, ["hello"]);
    });
}

/// D14-FETCH-16: a node that is lost fails what it was to bring, and nothing of it is waited for.
#[test]
fn a_node_that_is_lost_brings_nothing_more() {
    run(async |mut scene| {
        let (track, reader) = open(&scene).await;
        let read = mailbox::ask(&track.home, ReadPast { reader }, LONG);
        let (_, asked) = scene.said().await;
        assert!(scene.tables.expects(asked.request));
        let lost = [News::NodeUnreachable { node: A }, publish_gone(A, namespace())];
        scene.news(lost).await;
        scene
            .until("forgotten", |tables| tables.fetches.borrow().is_empty())
            .await;
        drop(read.await.unwrap());
        // What it says too late is nothing to anybody.
        scene.answers(A, asked.request, accepted()).await;
    });
}

/// Decision 0029, MOQT-14 §9.20 D14-SUB-28: a node of ours is asked how a track stands, and what it says is taken once; a
/// laps relay is not asked.
#[test]
fn a_node_is_asked_how_a_track_stands() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let track = scene.find().await.unwrap();
        let knows = mailbox::ask(&track.home, WhoKnows { own: true }, LONG).await;
        let Ok(Knows::Nodes { nodes, here: false }) = knows else {
            panic!("{knows:?}");
        };
        let ask = || AskStatus(laps_subscribe(video(), 0, None));
        let [first, second] = [&nodes[0], &nodes[0]].map(|node| node.ask_status(ask(), LONG));
        let answers = async {
            let mut said = [scene.said().await, scene.said().await];
            said.sort_by_key(|(_, message)| message.request);
            let [(_, first), (node, second)] = said;
            assert_eq!((node, nodes.len()), (A, 1));
            assert!(matches!(first.step, FetchStep::Status(_)));
            let no = RequestError::new(RequestErrorReason::Unauthorized, "not for you");
            let ok = SubscribeOk {
                alias: 0,
                expires_ms: 7,
                group_order: GroupOrder::Descending,
                largest: Some(END),
                params: MessageParams::default(),
            };
            // A node that was not asked knows nothing of it.
            scene
                .answers(B, second.request, FetchStep::StatusError(no.clone()))
                .await;
            scene.answers(A, second.request, FetchStep::StatusOk(ok)).await;
            scene
                .answers(A, second.request, FetchStep::StatusError(no.clone()))
                .await;
            scene
                .answers(A, first.request, FetchStep::StatusError(no.clone()))
                .await;
            no
        };
        let (first, second, no) = futures::join!(first, second, answers);
        let meta = TrackMeta {
            group_order: GroupOrder::Descending,
            expires_ms: 7,
            ..TrackMeta::default()
        };
        let largest = Some(END);
        assert_eq!(first, Err(NoStatus::Refused(no)));
        assert_eq!(second, Ok(Description { largest, meta }));
    });
}
