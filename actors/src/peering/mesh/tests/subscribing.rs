//! Subscriptions towards nodes.

use super::*;
use crate::fetch::{FetchNews, FetchProgress, Fetched};
use crate::namespace::NamespacesChanged;
use crate::registry::{Changes, WatchId, WatchNamespace, Whose};
use crate::supervise::Wake;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDone, PublishDoneStatus};
use laps_protocol::moqt::object::FetchObjectHeader;
use laps_protocol::peering::message::FetchStep;
use laps_protocol::relay::track_log::Fill;

/// Streams, by numbers that no other ones have.
const FIRST: u64 = 1 << 60;
const SECOND: u64 = FIRST + 1;

fn done() -> Answer {
    done_after(None)
}

fn done_after(stream_count: Option<u64>) -> Answer {
    Answer::Done(PublishDone {
        status: PublishDoneStatus::TrackEnded,
        stream_count,
        phrase: Bytes::new(),
    })
}

fn error() -> Answer {
    Answer::Error(RequestError::new(
        RequestErrorReason::TrackDoesNotExist,
        "not here",
    ))
}

/// The track, found and read, which A has accepted.
pub(super) async fn reading(scene: &mut Scene) -> (Reading, RequestId) {
    scene.announces(A, true).await;
    let (reading, attached) = Reading::begin(scene.find().await.unwrap());
    let (number, _) = scene.subscribe().await;
    scene.says(A, number, ok(None)).await;
    attached.await.unwrap();
    reading.forward(true);
    (reading, number)
}

/// Decision 0029: a namespace of another node makes a SUBSCRIBE here find its tracks. The node is asked once, its answer is
/// passed on, and what it sends comes to who reads. When nobody reads any more, the mesh is told.
#[test]
fn a_namespace_of_another_node_has_tracks_here() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, subscribe) = scene.subscribe().await;
        assert!(number.0 > EPOCH && subscribe.forward && subscribe.params == MessageParams::default());
        assert!(scene.binding(A).is_none(), "what comes before the answer waits");
        scene.says(A, number, ok(Some(Location::new(4, 2)))).await;
        let attached = attached.await.unwrap();
        assert_eq!(attached.largest, Some(Location::new(4, 2)));
        assert_eq!(attached.meta.group_order, GroupOrder::Descending);
        assert_eq!(attached.meta.delivery_timeout_ms, Some(300));
        reading.forward(true);
        scene
            .until("bound", |tables| !tables.bindings.borrow().is_empty())
            .await;
        scene.object(A, 5).await;
        assert_eq!(reading.groups().await, [5]);
        reading.leave();
        // First nobody wants objects, and after a while nobody has come back.
        assert_eq!(
            scene.subscribe().await,
            (
                number,
                Subscribe {
                    forward: false,
                    ..subscribe
                }
            )
        );
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        scene
            .until("unbound", |tables| tables.bindings.borrow().is_empty())
            .await;
    });
}

/// D14-SUB-10: what the node refuses is refused here, in its words.
#[test]
fn a_refusal_is_passed_on() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let (_reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, error()).await;
        let why = attached.await.unwrap_err();
        assert_eq!(why.reason, RequestErrorReason::TrackDoesNotExist);
        assert_eq!(why.phrase, "not here");
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
    });
}

/// D14-SUB-21: the end that the node tells is the end here.
#[test]
fn the_end_of_a_track_is_passed_on() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.says(A, number, done()).await;
        assert_eq!(reading.gone().await.status, PublishDoneStatus::TrackEnded);
    });
}

/// A node of ours that does not answer is given up in time.
#[test]
fn silence_is_a_refusal() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let (_reading, attached) = Reading::begin(scene.find().await.unwrap());
        scene.subscribe().await;
        assert_eq!(attached.await.unwrap_err().reason, RequestErrorReason::Timeout);
    });
}

/// A laps relay never answers: its track is there at once.
#[test]
fn a_laps_relay_has_accepted_as_soon_as_it_is_asked() {
    run(async |mut scene| {
        scene.announces(A, false).await;
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        assert_eq!(attached.await.unwrap().largest, None);
        scene.subscribe().await;
        reading.forward(true);
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        // It knows no Forward: what is not to be forwarded is not asked for.
        reading.forward(false);
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        // Once relays of ours lead to it, it can be told.
        scene.news([reachable(A, true)]).await;
        assert!(!scene.subscribe().await.1.forward);
        scene.news([reachable(A, false)]).await;
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        reading.forward(true);
        assert!(scene.subscribe().await.1.forward);
        reading.leave();
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        scene.wants_nothing(Duration::from_secs(20)).await;
    });
}

/// Decision 0029: two nodes with a track are asked by one SUBSCRIBE_INFO, and are two publishers of it. D14-PUB-3
#[test]
fn two_nodes_with_a_track_are_two_publishers() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        scene.announces(B, true).await;
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, error()).await;
        scene.says(B, number, ok(None)).await;
        attached.await.unwrap();
        reading.forward(true);
        scene.object(B, 1).await;
        assert_eq!(reading.groups().await, [1]);
        assert!(scene.binding(A).is_none());
        // A node that comes later is asked at once, and it alone owes an answer to that.
        let (late, before) = (NodeId(99), number);
        scene.announces(late, true).await;
        let (number, _) = scene.subscribe().await;
        assert!(number > before);
        scene.says(late, before, error()).await;
        scene.says(late, number, ok(None)).await;
        scene.says(B, number, ok(None)).await;
        scene
            .until("bound", |tables| tables.bindings.borrow().len() == 2)
            .await;
        scene.object(late, 2).await;
        assert_eq!(reading.groups().await, [2]);
        // The loss of one of them is none of the track.
        scene.says(B, number, done()).await;
        scene
            .until("let go of", |tables| tables.bindings.borrow().len() == 1)
            .await;
        scene.object(late, 3).await;
        assert_eq!(reading.groups().await, [3]);
        scene.wants_nothing(Duration::from_secs(5)).await;
    });
}

/// Decision 0029: a link that fails costs nothing where another way is left.
#[test]
fn a_node_that_is_out_of_reach_for_a_moment_has_not_gone() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.news([News::NodeUnreachable { node: A }]).await;
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        scene.announces(A, true).await;
        scene.object(A, 2).await;
        assert_eq!(reading.groups().await, [2]);
        scene.wants_nothing(Duration::from_secs(20)).await;
        assert!(scene.is_there().await);
    });
}

/// D14-NS-13: a node that is lost for good is a publisher whose session has ended.
#[test]
fn a_node_that_is_lost_takes_its_tracks_along() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        let lost = [News::NodeUnreachable { node: A }, publish_gone(A, namespace())];
        scene.news(lost).await;
        reading.gone().await;
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        assert!(scene.binding(A).is_none() && !scene.is_there().await);
    });
}

/// D14-NS-12: what a node has withdrawn goes on until it says how that ends, or says nothing for a while.
#[test]
fn a_withdrawn_namespace_ends_when_its_end_is_told() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.news([publish_gone(A, namespace())]).await;
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        // Back in that moment, it has not gone.
        scene.news([publish(A, namespace())]).await;
        scene.wants_nothing(Duration::from_secs(20)).await;
        scene.object(A, 2).await;
        assert_eq!(reading.groups().await, [2]);
        scene.news([publish_gone(A, namespace())]).await;
        reading.gone().await;
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
    });
}

/// D14-SUB-26: a track that a node publishes is one that its PUBLISH brought here; the node is asked for it when somebody
/// wants objects, and no longer than that.
#[test]
fn a_published_track_is_asked_for_when_it_is_wanted() {
    run(async |mut scene| {
        scene
            .news([reachable(A, true), publish(A, Published::Track(video()))])
            .await;
        let track = scene.find().await.unwrap();
        scene.wants_nothing(Duration::from_secs(20)).await;
        let (mut reading, attached) = Reading::begin(track);
        attached.await.unwrap();
        reading.forward(true);
        let (number, subscribe) = scene.subscribe().await;
        assert!(subscribe.forward);
        scene.says(A, number, ok(None)).await;
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        reading.forward(false);
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        reading.forward(true);
        let (again, _) = scene.subscribe().await;
        assert!(again > number);
        scene.says(A, again, done()).await;
        reading.gone().await;
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        // Nobody tells the node that it was let go of: it is a publisher again before long.
        assert!(scene.find().await.is_ok());
        scene.news([publish_gone(A, Published::Track(video()))]).await;
        scene
            .until("nobody has it", |tables| tables.bindings.borrow().is_empty())
            .await;
        assert!(!scene.is_there().await);
    });
}

/// What the bases refuse to ask for is refused to who reads.
#[test]
fn what_the_mesh_does_not_take_is_refused() {
    run(async |mut scene| {
        *scene.answer.borrow_mut() = Err(CommandError::TooMany);
        scene.announces(A, true).await;
        let (_reading, attached) = Reading::begin(scene.find().await.unwrap());
        scene.subscribe().await;
        assert_eq!(
            attached.await.unwrap_err().reason,
            RequestErrorReason::InternalError
        );
    });
}

/// A registry that has failed hears again what nodes publish, and tracks go on meanwhile.
#[test]
fn a_new_registry_is_told_of_nodes() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        let second = RegistryActor::new(scene.log.clone(), 16, None).in_life(1);
        scene.env.registry.renew(second.start(), 1);
        assert_eq!(scene.find().await.unwrap().epoch, reading.track.epoch);
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        let other = FullTrackName::new(ns("live/cam"), Bytes::from_static(b"audio")).unwrap();
        let resolve = ResolveTrack {
            name: other,
            reader: ReaderId::next(),
            stale: None,
            wait: false,
            except: None,
            seek: true,
        };
        scene.env.registry.ask(resolve, LONG).await.unwrap().unwrap();
    });
}

/// A node's actor that fails is followed by one that knows as much; tracks lose it as they do a session.
#[test]
fn the_actor_of_a_node_that_fails_is_made_anew() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.fault.arm(1);
        let audio = FullTrackName::new(ns("other"), Bytes::from_static(b"audio")).unwrap();
        scene.news([publish(A, Published::Track(audio))]).await;
        reading.gone().await;
        assert_eq!(scene.fault.fired(), 1);
        assert_eq!(scene.want().await, Command::Unsubscribe(video()));
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        attached.await.unwrap();
        reading.forward(true);
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
    });
}

/// New bases are told what is wanted, and what they do not tell again is over.
#[test]
fn new_bases_are_told_and_tell_again() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        let gone = FullTrackName::new(ns("other"), Bytes::from_static(b"audio")).unwrap();
        scene.news([publish(B, Published::Track(gone.clone()))]).await;
        scene.begin();
        assert_eq!(scene.subscribe().await.0, number);
        scene.announces(A, true).await;
        scene.object(A, 1).await;
        assert_eq!(reading.groups().await, [1]);
        scene.wants_nothing(Duration::from_secs(20)).await;
        let resolve = ResolveTrack {
            name: gone,
            reader: ReaderId::next(),
            stale: None,
            wait: false,
            except: None,
            seek: true,
        };
        assert!(scene.env.registry.ask(resolve, LONG).await.unwrap().is_err());
        scene.object(A, 2).await;
        assert_eq!(reading.groups().await, [2]);
    });
}

/// Decision 0029: what a failed link lost on its way is fetched, when data comes by another way, and readers get it.
#[test]
fn what_a_failed_link_lost_is_fetched() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.part(A, FIRST, 5, 0).await;
        assert_eq!(reading.objects(1).await, [(5, 0)]);
        scene
            .ends(A, FIRST, StreamEnd::Reset(ResetCode::SessionClosed))
            .await;
        // It goes on two groups later.
        scene.part(A, SECOND, 7, 3).await;
        let (node, asked) = scene.said().await;
        let FetchStep::Fetch(fetch) = asked.step else {
            panic!("{asked:?}");
        };
        assert_eq!(
            (node, fetch.start, fetch.end),
            (A, Location::new(5, 0), Location::new(7, 0))
        );
        let sink = scene
            .tables
            .fetches
            .borrow()
            .get(&asked.request)
            .cloned()
            .unwrap();
        let object = |group, object| {
            let header = FetchObjectHeader {
                location: Location::new(group, object),
                subgroup: 0,
                priority: 128,
                status: ObjectStatus::Normal,
                extensions: Bytes::new(),
                payload_len: 5,
            };
            [Fill::Object(header), Fill::Payload(Bytes::from_static(b"hello"))]
        };
        let places = [(5, 0), (5, 1), (6, 0), (7, 0), (7, 1), (7, 2), (7, 3)];
        let chunks = places
            .into_iter()
            .flat_map(|(group, id)| object(group, id))
            .collect();
        let key = sink.key;
        mailbox::ask(&sink.objects, Fetched { key, chunks }, LONG)
            .await
            .unwrap();
        let progress = FetchProgress::Ended(StreamEnd::Fin);
        mailbox::ask(&sink.news, FetchNews { key, progress }, LONG)
            .await
            .unwrap();
        // Nothing twice, and what is known already is compared only.
        let mut come = reading.objects(6).await;
        come.sort_unstable();
        assert_eq!(come, [(5, 1), (6, 0), (7, 0), (7, 1), (7, 2), (7, 3)]);
        scene.ends(A, SECOND, StreamEnd::Fin).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        scene.object(A, 8).await;
        assert_eq!(reading.objects(1).await, [(8, 0)]);
        assert!(scene.nodes.try_recv().is_err(), "nothing else is asked for");
    });
}

/// Decision 0029: a node that is started again knows nothing of what it sent, and what is sent there from now on begins
/// behind what was made meanwhile: that is fetched, though the node gave up itself what it left open, and said how its
/// track ended.
#[test]
fn what_a_node_made_between_two_lives_is_fetched() {
    run(async |mut scene| {
        let (mut reading, number) = reading(&mut scene).await;
        scene.object(A, 4).await;
        scene.part(A, FIRST, 5, 0).await;
        assert_eq!(reading.objects(2).await, [(4, 0), (5, 0)]);
        scene.ends(A, FIRST, StreamEnd::Reset(ResetCode::Cancelled)).await;
        let gone = PublishDone {
            status: PublishDoneStatus::InternalError,
            stream_count: None,
            phrase: Bytes::from_static(b"the publisher's session ended"),
        };
        scene.says(A, number, Answer::Done(gone)).await;
        // It says so to a SUBSCRIBE that asks anew, too, when it was never away.
        let number = RequestId(number.0 + 1);
        scene.says(A, number, ok(Some(Location::new(6, 0)))).await;
        assert!(scene.nodes.try_recv().is_err());
        scene.news([News::NodeUnreachable { node: A }]).await;
        scene.announces(A, true).await;
        scene.says(A, number, ok(Some(Location::new(7, 3)))).await;
        let (node, asked) = scene.said().await;
        let FetchStep::Fetch(fetch) = asked.step else {
            panic!("{asked:?}");
        };
        assert_eq!(
            (node, fetch.start, fetch.end),
            (A, Location::new(5, 0), Location::new(7, 0))
        );
        tokio::time::sleep(Duration::from_secs(40)).await;
        scene.object(A, 8).await;
        assert_eq!(reading.objects(1).await, [(8, 0)]);
    });
}

/// D14-FETCH-16: when nobody reads any more, what was lost is not fetched to its end.
#[test]
fn what_nobody_reads_is_not_fetched() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.part(A, FIRST, 5, 0).await;
        scene
            .ends(A, FIRST, StreamEnd::Reset(ResetCode::SessionClosed))
            .await;
        scene.part(A, SECOND, 6, 0).await;
        assert_eq!(reading.objects(2).await, [(5, 0), (6, 0)]);
        let (_, asked) = scene.said().await;
        reading.leave();
        let (_, cancelled) = scene.said().await;
        assert_eq!(
            (cancelled.request, cancelled.step),
            (asked.request, FetchStep::Cancel)
        );
        assert!(!scene.tables.expects(asked.request));
    });
}

/// What its publisher gives up is not lost on the way.
#[test]
fn what_a_publisher_gives_up_is_not_fetched() {
    run(async |mut scene| {
        let (mut reading, _) = reading(&mut scene).await;
        scene.part(A, FIRST, 5, 0).await;
        scene
            .ends(A, 1, StreamEnd::Reset(ResetCode::DeliveryTimeout))
            .await;
        scene.object(A, 6).await;
        assert_eq!(reading.objects(2).await, [(5, 0), (6, 0)]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(scene.nodes.try_recv().is_err());
    });
}

/// Decision 0029: what came over the mesh is not told to the mesh.
#[test]
fn what_nodes_publish_is_not_this_relays_own() {
    run(async |scene| {
        scene.announces(A, true).await;
        scene.news([publish(A, Published::Track(video()))]).await;
        scene.find().await.unwrap();
        let watch = |whose| WatchNamespace {
            id: WatchId::next(),
            prefix: None,
            whose,
            wake: Wake::new(Sleeper.start().recipient()).0,
        };
        let there = |changes: Changes| {
            let tracks = changes.tracks.iter().filter(|(_, track)| track.is_some());
            let namespaces = changes.namespaces.iter().filter(|(_, there)| *there);
            (namespaces.count(), tracks.count())
        };
        let registry = &scene.env.registry;
        let all = registry.ask(watch(Whose::Everybody), LONG).await.unwrap();
        assert_eq!(there(all), (1, 1));
        let ours = registry.ask(watch(Whose::Ours), LONG).await.unwrap();
        assert_eq!(there(ours), (0, 0));
    });
}

/// Hears that something changed.
struct Sleeper;

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<NamespacesChanged> for Sleeper {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, _: &mut Self::Context) {}
}

/// D14-SUB-20 D14-SUB-21: who is told how many streams there were ends with the last of them, and at once; who is not, or
/// has lost one on its way, waits for what may come.
#[test]
fn a_track_ends_with_the_last_stream_that_was_counted() {
    for (count, cut, waits) in [
        (Some(2), false, false),
        (None, false, true),
        (Some(2), true, true),
    ] {
        run(move |mut scene| async move {
            let (mut reading, number) = reading(&mut scene).await;
            scene.part(A, FIRST, 5, 0).await;
            scene.part(A, SECOND, 6, 0).await;
            let end = if cut {
                StreamEnd::Reset(ResetCode::SessionClosed)
            } else {
                StreamEnd::Fin
            };
            scene.ends(A, FIRST, end).await;
            scene.says(A, number, done_after(count)).await;
            scene.ends(A, SECOND, StreamEnd::Fin).await;
            let began = tokio::time::Instant::now();
            let gone = reading.gone().await;
            assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
            assert_eq!(began.elapsed() >= Duration::from_secs(2), waits);
        });
    }
}
