//! How urgently nodes are asked for tracks.

use super::*;
use laps_protocol::moqt::location::Location;
use laps_protocol::peering::message::FetchStep;

const fn wants(priority: u8) -> Wants {
    Wants::of(true, priority)
}

impl Scene {
    /// What is asked for next, under the same number.
    async fn asks_at(&mut self, number: RequestId) -> (bool, u8) {
        let (again, subscribe) = self.subscribe().await;
        assert_eq!(again, number, "the same subscription");
        (subscribe.forward, subscribe.priority)
    }
}

/// MOQT-14 §7.2 [D14-PRIO-1], Issue 6: a node is asked as urgently as the most urgent reader of this relay has it, from the
/// first SUBSCRIBE on. What links want is nobody's business but theirs.
#[test]
fn a_node_is_asked_as_urgently_as_the_most_urgent_reader_wants() {
    run(async |mut scene| {
        let window = scene.env.track.dampen;
        scene.announces(A, true).await;
        let track = scene.find().await.unwrap();
        let (reading, attached) = Reading::begin_wanting(track.clone(), true, wants(9));
        let (number, subscribe) = scene.subscribe().await;
        assert_eq!((subscribe.forward, subscribe.priority), (true, 9));
        scene.says(A, number, ok(None)).await;
        attached.await.unwrap();
        let began = tokio::time::Instant::now();
        // More urgent, and what holds in the end of many changes in a row.
        for priority in [200, 7, 8, 3, 5, 4] {
            reading.readers(Audience::of(true, wants(priority)).and(Audience::of(false, wants(0))));
        }
        assert_eq!(scene.asks_at(number).await, (true, 4));
        // Another one beside it, which is less urgent; then the first one pauses, and leaves.
        let (other, attached) = Reading::begin(track);
        attached.await.unwrap();
        other.readers(Audience::of(true, wants(250)));
        scene.wants_nothing(window * 3).await;
        let left = tokio::time::Instant::now();
        reading.readers(Audience::of(true, Wants::Nothing));
        assert_eq!(scene.asks_at(number).await, (true, 250));
        assert!(left.elapsed() >= window, "it may be back in a moment");
        other.readers(Audience::of(true, Wants::Nothing));
        assert!(!scene.asks_at(number).await.0);
        assert!(began.elapsed() < LONG, "virtual time");
    });
}

/// Issue 6: "no storm". Readers that come and go, and change their minds, make one message in a window at most.
#[test]
fn changes_of_priority_are_dampened() {
    run(async |mut scene| {
        let window = scene.env.track.dampen;
        scene.announces(A, true).await;
        let (reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        attached.await.unwrap();
        let mut told = Vec::new();
        for round in 0..100_u8 {
            reading.readers(Audience::of(
                true,
                wants(if round % 2 == 0 { 1 + round } else { 200 }),
            ));
            tokio::time::sleep(window / 10).await;
            while let Ok(command) = scene.wants.try_recv() {
                told.push(command);
            }
        }
        // Ten windows, and none of them less urgent, since somebody was in each of them who is not.
        assert!(!told.is_empty() && told.len() <= 11, "{}", told.len());
        reading.readers(Audience::of(true, wants(77)));
        let last = async {
            loop {
                if scene.asks_at(number).await == (true, 77) {
                    break;
                }
            }
        };
        tokio::time::timeout(window * 3, last).await.unwrap();
    });
}

/// What another node published is asked for as urgently.
#[test]
fn a_published_track_is_asked_for_as_urgently() {
    run(async |mut scene| {
        scene
            .news([reachable(A, true), publish(A, Published::Track(video()))])
            .await;
        let track = scene.find().await.unwrap();
        let (reading, attached) = Reading::begin(track);
        attached.await.unwrap();
        reading.readers(Audience::of(true, wants(11)));
        let (number, subscribe) = scene.subscribe().await;
        assert_eq!((subscribe.forward, subscribe.priority), (true, 11));
        scene.says(A, number, ok(None)).await;
        reading.readers(Audience::of(true, wants(2)));
        assert_eq!(scene.asks_at(number).await, (true, 2));
    });
}

/// What was lost on the way is fetched as urgently as the track is wanted that lacks it.
#[test]
fn what_was_lost_is_fetched_as_urgently_as_its_track_is_wanted() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let track = scene.find().await.unwrap();
        let (mut reading, attached) = Reading::begin_wanting(track, true, wants(9));
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        attached.await.unwrap();
        scene.object(A, 3).await;
        assert_eq!(reading.objects(1).await, [(3, 0)]);
        let again = ok(Some(Location::new(4, 0)));
        scene.says_as(TrackAnswer::AGAIN, A, number, again).await;
        let (node, said) = scene.said().await;
        let FetchStep::Fetch(fetch) = said.step else {
            panic!("{said:?}");
        };
        assert_eq!((node, fetch.start.group, fetch.priority), (A, 3, 9));
    });
}
