//! Tracks that nodes publish, which nobody asks for before somebody wants them.

use super::*;
use crate::supervise::Wake;
use crate::track::{Attach, Attached, Audience, SetWants, TrackAdvanced, Wants, Wish, Word};
use laps_protocol::moqt::location::Location;
use std::pin::pin;

/// A subscription, which reads nothing.
struct Session;

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<TrackAdvanced> for Session {
    type Result = ();
    fn handle(&mut self, _: TrackAdvanced, _: &mut Self::Context) {}
}

impl Handler<TrackGone> for Session {
    type Result = ();
    fn handle(&mut self, _: TrackGone, _: &mut Self::Context) {}
}

/// Subscribes at home; the answer may take its time.
fn attach(
    track: &TrackRef,
    forward: bool,
) -> (
    ReaderId,
    impl Future<Output = Result<Attached, Unavailable>> + use<>,
) {
    let (session, reader) = (Session.start(), ReaderId::next());
    let (wake, _) = Wake::<TrackAdvanced>::new(session.clone().recipient());
    let attach = Attach {
        reader,
        wake,
        gone: session.recipient(),
        wants: Wants::of(forward, 128),
        own: true,
    };
    let attached = mailbox::ask(&track.home, attach, LONG);
    (reader, async move { attached.await.unwrap() })
}

async fn published(scene: &Scene, ours: bool) -> TrackRef {
    let what = Published::Track(video());
    scene.news([reachable(A, ours), publish(A, what)]).await;
    scene.find().await.unwrap()
}

/// It does not come within a second, in which the node may answer.
async fn waits<T>(answer: impl Future<Output = T>) {
    let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
    assert!(answer.is_err(), "nobody has said that objects come");
}

/// Decision 0029, as if publisher and subscriber were on one relay: all that is published after SUBSCRIBE_OK comes. So that
/// waits for the node's, and what overtakes it waits too. Who wants no objects waits for nothing.
#[test]
fn a_subscriber_of_a_published_track_is_answered_when_its_node_has_answered() {
    run(async |mut scene| {
        let track = published(&scene, true).await;
        assert_eq!(attach(&track, false).1.await.unwrap().largest, None);
        scene.wants_nothing(Duration::from_secs(20)).await;
        let mut attached = pin!(attach(&track, true).1);
        let (number, _) = scene.subscribe().await;
        waits(&mut attached).await;
        {
            let mut early = pin!(scene.object(A, 5));
            waits(&mut early).await;
            scene.says(A, number, ok(Some(Location::new(3, 7)))).await;
            early.await;
        }
        let attached = attached.await.unwrap();
        // Its place is before what overtook the answer.
        assert_eq!(attached.largest, Some(Location::new(3, 7)));
        assert_eq!(attached.meta.delivery_timeout_ms, Some(300));
        // For the next one there is nothing to ask.
        let next = attach(&track, true).1.await.unwrap();
        assert_eq!(next.largest, Some(Location::new(5, 0)));
        scene.wants_nothing(Duration::from_secs(20)).await;
    });
}

/// The same on another shard than its home's, and again when everybody had left.
#[test]
fn replicas_hear_that_a_published_track_comes() {
    run(async |mut scene| {
        let track = published(&scene, true).await;
        let (mut reading, attached) = Reading::begin(track);
        assert!(attached.await.unwrap().awaited);
        for group in [1, 2] {
            reading.forward(true);
            let (number, _) = scene.subscribe().await;
            {
                let mut early = pin!(scene.object(A, group));
                waits(&mut early).await;
                scene.says(A, number, ok(Some(Location::new(0, group)))).await;
                early.await;
            }
            let batch = reading.next().await;
            let largest = Location::new(group - 1, 0).max(Location::new(0, group));
            assert_eq!(batch.word, Some(Word::Given(Some(largest))));
            if batch.batch.is_empty() {
                assert_eq!(reading.groups().await, [group]);
            }
            reading.readers(Audience::default());
            let batch = loop {
                let batch = reading.next().await;
                if batch.word.is_some() {
                    break batch;
                }
            };
            assert_eq!(batch.word, Some(Word::Awaited));
            assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        }
    });
}

/// A node that does not answer keeps nobody waiting for longer than an answer may take.
#[test]
fn a_subscriber_of_a_published_track_waits_for_so_long() {
    run(async |mut scene| {
        let track = published(&scene, true).await;
        let attached = attach(&track, true).1;
        scene.subscribe().await;
        assert_eq!(attached.await.unwrap().largest, None);
        scene.object(A, 1).await;
    });
}

/// Who wants no objects any more is answered, though the node is not asked for any.
#[test]
fn a_subscriber_that_pauses_waits_for_nothing() {
    run(async |mut scene| {
        let track = published(&scene, true).await;
        let (reader, attached) = attach(&track, true);
        let mut attached = pin!(attached);
        scene.subscribe().await;
        waits(&mut attached).await;
        let wish = Arc::new(Wish::default());
        assert!(wish.set(Wants::Nothing));
        mailbox::signal(&track.home, SetWants { reader, wish });
        attached.await.unwrap();
    });
}

/// A laps relay never answers.
#[test]
fn a_laps_relay_with_a_published_track_has_accepted_as_soon_as_it_is_asked() {
    run(async |mut scene| {
        let track = published(&scene, false).await;
        let began = tokio::time::Instant::now();
        attach(&track, true).1.await.unwrap();
        assert!(began.elapsed() < scene.env.track.upstream_timeout, "virtual time");
        scene.subscribe().await;
        scene.object(A, 1).await;
    });
}
