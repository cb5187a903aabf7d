//! What was lost on the way from a node is fetched from it, whatever died, and whenever. Issue 6, "Failover".

use super::subscribing::reading;
use super::*;
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::peering::plane::WaysCut;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDone, PublishDoneStatus};
use laps_protocol::moqt::object::FetchObjectHeader;
use laps_protocol::peering::message::FetchStep;
use laps_protocol::relay::track_log::Fill;

/// A stream, by a number that no other one has.
const STREAM: u64 = 1 << 60;

impl Scene {
    /// The groups of which the next FETCH is, first and last, and its number.
    async fn asked(&mut self) -> (RequestId, u64, u64) {
        let (node, said) = self.said().await;
        let FetchStep::Fetch(fetch) = said.step else {
            panic!("{said:?}");
        };
        assert_eq!((node, fetch.start.object, fetch.end.object), (A, 0, 0));
        (said.request, fetch.start.group, fetch.end.group)
    }

    /// Nothing is said to a node for so long.
    async fn says_nothing(&mut self, wait: Duration) {
        let said = tokio::time::timeout(wait, self.nodes.recv()).await;
        assert!(said.is_err(), "{said:?}");
    }

    fn sink(&self, request: RequestId) -> FetchSink {
        self.tables.fetches.borrow().get(&request).cloned().unwrap()
    }

    /// The FETCH brings these objects.
    async fn part_of(&self, request: RequestId, places: &[(u64, u64)]) {
        let sink = self.sink(request);
        let object = |(group, object): &(u64, u64)| {
            let header = FetchObjectHeader {
                location: Location::new(*group, *object),
                subgroup: 0,
                priority: 128,
                status: ObjectStatus::Normal,
                extensions: Bytes::new(),
                payload_len: 5,
            };
            [Fill::Object(header), Fill::Payload(Bytes::from_static(b"hello"))]
        };
        let (key, chunks) = (sink.key, places.iter().flat_map(object).collect());
        mailbox::ask(&sink.objects, Fetched { key, chunks }, LONG)
            .await
            .unwrap();
    }

    /// The FETCH brings these objects, and ends like this.
    async fn brings(&self, request: RequestId, places: &[(u64, u64)], end: StreamEnd) {
        let sink = self.sink(request);
        self.part_of(request, places).await;
        let (key, progress) = (sink.key, FetchProgress::Ended(end));
        mailbox::ask(&sink.news, FetchNews { key, progress }, LONG)
            .await
            .unwrap();
    }

    /// A says again that it has the track, up to this group.
    async fn says_again(&self, number: RequestId, group: u64) {
        let answer = ok(Some(Location::new(group, 0)));
        self.says_as(TrackAnswer::AGAIN, A, number, answer).await;
    }

    /// A repeats that it has the track, up to this group, in case that was not heard.
    async fn repeats(&self, number: RequestId, group: u64) {
        let answer = ok(Some(Location::new(group, 0)));
        self.says_as(TrackAnswer::REPEATED, A, number, answer).await;
    }

    async fn cut(&self) {
        mailbox::ask(&self.mesh, WaysCut([A].into()), LONG).await.unwrap();
    }
}

/// Sorted, since what is fetched comes beside the rest.
async fn objects(reading: &mut Reading, count: usize) -> Vec<(u64, u64)> {
    let mut objects = reading.objects(count).await;
    objects.sort_unstable();
    objects
}

/// A link died where nothing was open, and nothing begins any more: the node says how far it is, and that is fetched.
#[test]
fn what_a_node_says_again_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 3).await;
        scene.object(A, 4).await;
        assert_eq!(reading.objects(2).await, [(3, 0), (4, 0)]);
        scene.says_again(number, 6).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 6));
        let places = [(4, 0), (5, 0), (6, 0)];
        scene.brings(request, &places, StreamEnd::Fin).await;
        assert_eq!(objects(&mut reading, 2).await, [(5, 0), (6, 0)]);
        // What is open goes on, so nothing of it is over.
        scene.part(A, STREAM, 6, 1).await;
        assert_eq!(reading.objects(1).await, [(6, 1)]);
        scene.says_nothing(Duration::from_secs(40)).await;
    });
}

/// A better way was found while the one before was dead, and that is noticed later: what it had lies before what has come.
#[test]
fn what_lies_before_what_has_come_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        for group in [1, 2, 5, 6] {
            scene.object(A, group).await;
        }
        assert_eq!(reading.objects(4).await.len(), 4);
        scene.says_again(number, 6).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (2, 6));
        let places = [(2, 0), (3, 0), (4, 0), (5, 0), (6, 0)];
        scene.brings(request, &places, StreamEnd::Fin).await;
        assert_eq!(objects(&mut reading, 2).await, [(3, 0), (4, 0)]);
        // What is missing for long is nobody's fault.
        tokio::time::sleep(Duration::from_secs(10)).await;
        scene.object(A, 7).await;
        assert_eq!(reading.objects(1).await, [(7, 0)]);
        scene.says_again(number, 7).await;
        let (_, from, to) = scene.asked().await;
        assert_eq!((from, to), (7, 7));
    });
}

/// A link of this relay died between two groups: the node does not know. What it begins next shows that a way is found.
#[test]
fn what_goes_by_between_two_groups_is_fetched() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.object(A, 4).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
        scene.cut().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.object(A, 7).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 7));
        let places = [(4, 0), (5, 0), (6, 0), (7, 0)];
        scene.brings(request, &places, StreamEnd::Fin).await;
        assert_eq!(objects(&mut reading, 3).await, [(5, 0), (6, 0), (7, 0)]);
        scene.says_nothing(Duration::from_secs(40)).await;
    });
}

/// The same where it begins nothing more: its publisher waits for the readers, or has ended.
#[test]
fn what_nothing_follows_is_fetched() {
    for ends in [false, true] {
        run(move |mut scene| async move {
            let (mut reading, number) = reading(&mut scene).await;
            scene.object(A, 4).await;
            assert_eq!(reading.objects(1).await, [(4, 0)]);
            scene.cut().await;
            if ends {
                let done = PublishDone {
                    status: PublishDoneStatus::TrackEnded,
                    stream_count: Some(3),
                    phrase: Bytes::new(),
                };
                scene.says(A, number, Answer::Done(done)).await;
            }
            let (request, from, to) = scene.asked().await;
            assert!(from == 4 && to > 6, "{to}");
            let places = [(4, 0), (5, 0), (6, 0)];
            scene.brings(request, &places, StreamEnd::Fin).await;
            assert_eq!(objects(&mut reading, 2).await, [(5, 0), (6, 0)]);
            if ends {
                assert_eq!(reading.gone().await.status, PublishDoneStatus::TrackEnded);
            }
        });
    }
}

/// Another link dies while what the first one lost is fetched: that was asked for before.
#[test]
fn what_is_lost_during_a_repair_is_fetched_after_it() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        scene.says_again(number, 5).await;
        let (first, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 5));
        scene.says_again(number, 7).await;
        scene.says_again(number, 8).await;
        scene.brings(first, &[(4, 0), (5, 0)], StreamEnd::Fin).await;
        let (second, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 8));
        let places = [(4, 0), (5, 0), (6, 0), (7, 0), (8, 0)];
        scene.brings(second, &places, StreamEnd::Fin).await;
        let all = [(4, 0), (5, 0), (6, 0), (7, 0), (8, 0)];
        assert_eq!(objects(&mut reading, 5).await, all);
        scene.says_nothing(Duration::from_secs(40)).await;
    });
}

/// The link dies by which the lost is fetched, or by which that is asked for: the rest is fetched again, a few times.
#[test]
fn a_repair_that_is_cut_short_begins_again() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        scene.says_again(number, 6).await;
        let (cut, ..) = scene.asked().await;
        let end = StreamEnd::Reset(ResetCode::SessionClosed);
        scene.brings(cut, &[(4, 0), (5, 0)], end).await;
        let (lost, from, to) = scene.asked().await;
        assert_eq!((from, to), (5, 6));
        let (node, cancelled) = scene.said().await;
        assert_eq!(
            (node, cancelled.request, cancelled.step),
            (A, lost, FetchStep::Cancel)
        );
        let (last, from, to) = scene.asked().await;
        assert_eq!((from, to), (5, 6));
        scene.brings(last, &[(5, 0), (6, 0)], StreamEnd::Fin).await;
        assert_eq!(objects(&mut reading, 3).await, [(4, 0), (5, 0), (6, 0)]);
        scene.says_nothing(Duration::from_secs(60)).await;
    });
}

/// All that was lost is of one long group, and each time a little more of it comes. When nothing more does, that is tried
/// a few times.
#[test]
fn a_repair_goes_on_that_gets_further_in_its_group() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
        scene.says_again(number, 5).await;
        let end = StreamEnd::Reset(ResetCode::SessionClosed);
        let (first, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 5));
        scene.brings(first, &[(5, 0)], end).await;
        assert_eq!(reading.objects(1).await, [(5, 0)]);
        for object in 1..12 {
            let (request, from, to) = scene.asked().await;
            assert_eq!((from, to), (5, 5));
            let places: Vec<_> = (0..=object).map(|object| (5, object)).collect();
            scene.brings(request, &places, end).await;
            assert_eq!(reading.objects(1).await, [(5, object)]);
        }
        for _ in 0..5 {
            let (request, ..) = scene.asked().await;
            scene.brings(request, &[(5, 0)], end).await;
        }
        scene.says_nothing(Duration::from_secs(60)).await;
    });
}

/// A link is so slow that what was lost takes long to come: it is fetched for as long as it comes.
#[test]
fn a_repair_may_take_long() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
        scene.says_again(number, 80).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 80));
        for group in 5..80 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            scene.part_of(request, &[(group, 0)]).await;
            assert_eq!(reading.objects(1).await, [(group, 0)]);
        }
        scene.brings(request, &[(80, 0)], StreamEnd::Fin).await;
        assert_eq!(reading.objects(1).await, [(80, 0)]);
        scene.says_nothing(Duration::from_secs(40)).await;
    });
}

/// Nothing more of it comes, and nobody says that its link is dead: the rest is fetched again.
#[test]
fn the_rest_of_a_repair_that_stands_still_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        scene.says_again(number, 7).await;
        let (stuck, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 7));
        scene.part_of(stuck, &[(4, 0), (5, 0), (6, 0)]).await;
        assert_eq!(objects(&mut reading, 3).await, [(4, 0), (5, 0), (6, 0)]);
        let (node, cancelled) = scene.said().await;
        assert_eq!(
            (node, cancelled.request, cancelled.step),
            (A, stuck, FetchStep::Cancel)
        );
        let (last, from, to) = scene.asked().await;
        assert_eq!((from, to), (6, 7));
        scene.brings(last, &[(6, 0), (7, 0)], StreamEnd::Fin).await;
        assert_eq!(reading.objects(1).await, [(7, 0)]);
        scene.says_nothing(Duration::from_secs(60)).await;
    });
}

/// Decision 0029: the node lost its link to whoever told it of the subscription, for so long that it forgot it, and was told
/// again. Nobody here has lost a link. It accepts what it had accepted, and serves what begins from then on.
#[test]
fn what_a_node_that_forgot_did_not_send_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 3).await;
        scene.part(A, STREAM, 4, 0).await;
        assert_eq!(reading.objects(2).await, [(3, 0), (4, 0)]);
        scene
            .ends(A, STREAM, StreamEnd::Reset(ResetCode::Cancelled))
            .await;
        scene.says_nothing(Duration::from_secs(10)).await;
        scene.says(A, number, ok(Some(Location::new(6, 0)))).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 6));
        scene.object(A, 7).await;
        let places = [(4, 0), (4, 1), (5, 0), (6, 0)];
        scene.brings(request, &places, StreamEnd::Fin).await;
        assert_eq!(objects(&mut reading, 4).await, [(4, 1), (5, 0), (6, 0), (7, 0)]);
        scene.says_nothing(Duration::from_secs(40)).await;
    });
}

/// Decision 0040: messages of a node had no way for a moment, and objects had theirs. Who heard what it repeats lacks nothing.
#[test]
fn what_a_node_repeats_is_not_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 3).await;
        assert_eq!(reading.objects(1).await, [(3, 0)]);
        scene.repeats(number, 3).await;
        scene.says_nothing(Duration::from_secs(40)).await;
        scene.object(A, 4).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
        // Of one that was out of reach, and may be in another life, that is not known.
        scene.news([News::NodeUnreachable { node: A }]).await;
        scene.announces(A, true).await;
        scene.repeats(number, 6).await;
        let (_, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 6));
    });
}

/// The same to who did not hear it: the track is there from then on.
#[test]
fn what_a_node_repeats_may_be_heard_first() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.repeats(number, 3).await;
        assert_eq!(attached.await.unwrap().largest, Some(Location::new(3, 0)));
        reading.forward(true);
        scene.object(A, 4).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
    });
}

/// What is open at the node comes from its start by the new way, while what lies before is fetched: each object once, and
/// what came in halves is whole.
#[test]
fn what_is_open_comes_beside_what_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.part(A, STREAM, 4, 0).await;
        assert_eq!(reading.objects(1).await, [(4, 0)]);
        scene
            .ends(A, STREAM, StreamEnd::Reset(ResetCode::SessionClosed))
            .await;
        scene.says_again(number, 6).await;
        let (request, from, to) = scene.asked().await;
        assert_eq!((from, to), (4, 6));
        scene.part(A, STREAM + 1, 6, 0).await;
        let places = [(4, 0), (4, 1), (5, 0), (5, 1), (6, 0), (6, 1)];
        scene.brings(request, &places, StreamEnd::Fin).await;
        for object in 1..10 {
            scene.further(A, STREAM + 1, object).await;
        }
        scene.ends(A, STREAM + 1, StreamEnd::Fin).await;
        let all: Vec<_> = [(4, 1), (5, 0), (5, 1)]
            .into_iter()
            .chain((0..10).map(|object| (6, object)))
            .collect();
        assert_eq!(objects(&mut reading, all.len()).await, all);
        tokio::time::sleep(Duration::from_secs(40)).await;
        scene.object(A, 7).await;
        assert_eq!(reading.objects(1).await, [(7, 0)]);
    });
}
