//! What nodes want, and what they are told.

use super::*;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{RequestErrorReason, SubscribeFilter};

/// Who comes later is told of the track as it is by then, a number that was answered is not answered again, and a new one is.
#[actix::test]
async fn each_number_is_answered_once() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribe(NODES[0], 41, |_| {}).await;
    let (_, _, answer) = scene.heard.answer().await;
    assert!(matches!(answer, Answer::Ok(ok) if ok.largest.is_none() && ok.alias == hash().full.get()));
    publisher.begin(3, b"object").await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    stream.object().await;
    scene.subscribe(NODES[0], 41, |wish| wish.priority = 3).await;
    scene.subscribe(NODES[1], 42, |_| {}).await;
    let (node, id, answer) = scene.heard.answer().await;
    assert_eq!((node, id), (NODES[1], 42));
    assert!(matches!(answer, Answer::Ok(ok) if ok.largest == Some(Location::new(3, 0))));
    scene.subscribe(NODES[0], 43, |_| {}).await;
    let (node, id, answer) = scene.heard.answer().await;
    assert_eq!((node, id), (NODES[0], 43));
    assert!(matches!(answer, Answer::Ok(_)));
    // It is one subscription all the time.
    assert_eq!(
        scene.counters().await,
        Counters {
            subscriptions: 1,
            // The second node came in the middle.
            asides: 1,
            answers: 3,
            ..Counters::default()
        }
    );
    publisher.object(3, 1, b"more").await;
    assert_eq!(stream.object().await.0, 1);
}

/// MOQT-14 §5.1 D14-SUB-2: objects are sent while anybody wants them. Decision 0011: a wish for a group is passed on.
#[actix::test]
async fn what_nodes_want_reaches_the_publisher() {
    let mut scene = Scene::new().await;
    let mut publisher = Publisher::new(&scene.env).await;
    for (node, id) in NODES.into_iter().zip([41, 42]) {
        scene.subscribe(node, id, |wish| wish.forward = false).await;
    }
    scene.heard.answers().await;
    assert!(!*publisher.wanted.borrow_and_update());
    scene.subscribe(NODES[1], 42, |_| {}).await;
    publisher.wanted.wait_for(|wanted| *wanted).await.unwrap();
    publisher.begin(1, b"object").await;
    scene.stream(A).await.header().await;
    let before = *publisher.new_groups.borrow_and_update();
    scene
        .subscribe(NODES[0], 43, |wish| wish.params.new_group_request = Some(2))
        .await;
    publisher
        .new_groups
        .wait_for(|asked| *asked == before + 1)
        .await
        .unwrap();
    scene.subscribe(NODES[1], 42, |wish| wish.forward = false).await;
    // The first one wants objects by now.
    scene.subscribe(NODES[0], 43, |wish| wish.forward = false).await;
    publisher.wanted.wait_for(|wanted| !wanted).await.unwrap();
}

/// A node that wants less does not narrow what another one gets; one whose range is over is told so.
#[actix::test]
async fn the_widest_wish_holds() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let range = |end_group| SubscribeFilter::AbsoluteRange {
        start: Location::ZERO,
        end_group,
    };
    scene.subscribe(NODES[0], 41, |wish| wish.filter = range(1)).await;
    scene.heard.answer().await;
    scene.subscribe(NODES[1], 42, |_| {}).await;
    scene.heard.answer().await;
    for group in 1..4 {
        publisher.begin(group, b"object").await;
        assert_eq!(scene.stream(A).await.header().await.group, group);
    }
    assert!(scene.heard.answers.try_recv().is_err());
    assert_eq!(scene.counters().await.subscriptions, 1);
}

/// D14-SUB-10: what nobody publishes is refused, under the number that the node gave; a later one is looked for again.
#[actix::test]
async fn a_track_that_is_not_there_is_refused() {
    let mut scene = Scene::new().await;
    scene.subscribe(NODES[0], 41, |_| {}).await;
    let (node, id, answer) = scene.heard.answer().await;
    assert_eq!((node, id), (NODES[0], 41));
    assert!(matches!(answer, Answer::Error(error) if error.reason == RequestErrorReason::TrackDoesNotExist));
    // The same number is the same subscription, and that is over.
    scene.subscribe(NODES[0], 41, |wish| wish.priority = 1).await;
    assert_eq!(scene.count("mesh_subscriptions").await, 0);
    let _publisher = Publisher::new(&scene.env).await;
    scene.subscribe(NODES[0], 44, |_| {}).await;
    let (_, id, answer) = scene.heard.answer().await;
    assert!(id == 44 && matches!(answer, Answer::Ok(_)));
}

/// Who was refused a track that others have is remembered until it wants the track no more, or has it.
#[actix::test]
async fn who_was_refused_is_remembered_while_that_matters() {
    let mut scene = Scene::new().await;
    let elsewhere = News::Publish {
        source: NodeId(77),
        what: Published::Namespace(name().namespace().clone()),
    };
    scene.news(elsewhere).await;
    for id in [41, 42] {
        scene.subscribe(NODES[0], id, |_| {}).await;
        assert!(matches!(scene.heard.answer().await.2, Answer::Error(_)));
        assert_eq!(scene.count("mesh_declined").await, 1);
        scene.unsubscribe(NODES[0]).await;
        assert_eq!(scene.count("mesh_declined").await, 0);
    }
    scene.subscribe(NODES[0], 43, |_| {}).await;
    assert!(matches!(scene.heard.answer().await.2, Answer::Error(_)));
    assert_eq!(scene.count("mesh_declined").await, 1);
    let _publisher = Publisher::new(&scene.env).await;
    scene.subscribe(NODES[0], 44, |_| {}).await;
    assert!(matches!(scene.heard.answer().await.2, Answer::Ok(_)));
    assert_eq!(scene.count("mesh_declined").await, 0);
}

/// Bad input, and more than is served: nothing is begun for it, and the rest goes on.
#[actix::test]
async fn what_cannot_be_served_is_counted() {
    let limits = Limits {
        tracks: 1,
        nodes: 1,
        ..Limits::default()
    };
    let mut scene = Scene::with(Faults::default(), limits, Dialect::Own).await;
    let _publisher = Publisher::new(&scene.env).await;
    let no_subscribe = News::Subscribe {
        source: NODES[0],
        track: hash(),
        data: Bytes::from_static(b"?"),
    };
    scene.news(no_subscribe).await;
    let News::Subscribe { source, data, .. } = wish(NODES[0], 41, |_| {}) else {
        panic!()
    };
    let other = TrackHash::combined(1, 2);
    scene
        .news(News::Subscribe {
            source,
            data,
            track: other,
        })
        .await;
    scene.subscribe(NODES[0], 41, |_| {}).await;
    let (node, _, answer) = scene.heard.answer().await;
    assert!(node == NODES[0] && matches!(answer, Answer::Ok(_)));
    scene.subscribe(NODES[1], 42, |_| {}).await;
    let (node, _, answer) = scene.heard.answer().await;
    assert!(node == NODES[1] && matches!(answer, Answer::Error(_)));
    let counters = scene.counters().await;
    assert_eq!((counters.malformed, counters.refused), (2, 1));
    assert_eq!(scene.count("mesh_wishes").await, 1);
}

/// A laps relay is told nothing, and gets the objects all the same.
#[actix::test]
async fn who_understands_no_answer_gets_none() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let stranger = News::NodeReachable {
        node: NODES[0],
        node_type: NodeType::Edge,
        ours: false,
    };
    scene.news(stranger).await;
    scene.subscribe(NODES[0], 0, |_| {}).await;
    scene.subscribe(NODES[1], 42, |_| {}).await;
    assert_eq!(scene.heard.answer().await.0, NODES[1]);
    publisher.begin(1, b"object").await;
    scene.stream(A).await.header().await;
    assert!(scene.heard.answers.try_recv().is_err());
    assert_eq!(scene.counters().await.answers, 1);
}

/// Where the control link to a node dies and data goes on, what is said to it is lost. It hears all of it when it can be
/// spoken to again: that it has a track, as it is by then, and that a track has ended.
#[actix::test]
async fn who_can_be_spoken_to_again_hears_what_was_said() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let reachable = |ours| News::NodeReachable {
        node: NODES[0],
        node_type: NodeType::Edge,
        ours,
    };
    scene.news(reachable(true)).await;
    scene.news(reachable(false)).await;
    scene.subscribe(NODES[0], 41, |_| {}).await;
    publisher.begin(3, b"object").await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    stream.object().await;
    assert!(scene.heard.answers.try_recv().is_err());
    scene.news(reachable(true)).await;
    let (node, id, answer) = scene.heard.answer().await;
    assert_eq!((node, id), (NODES[0], 41));
    assert!(matches!(answer, Answer::Ok(ok) if ok.largest == Some(Location::new(3, 0))));
    // It may be that the way is found to be dead only after something was said, and to who heard that nothing was lost.
    scene.news(reachable(false)).await;
    scene.news(reachable(true)).await;
    let repeated = tokio::time::timeout(LONG, scene.heard.repeated.recv());
    let (node, said) = repeated.await.unwrap().unwrap();
    assert_eq!((node, said.request.0), (NODES[0], 41));
    assert!(matches!(said.answer, Answer::Ok(ok) if ok.largest == Some(Location::new(3, 0))));
    assert!(scene.heard.answers.try_recv().is_err());
    scene.news(reachable(false)).await;
    publisher.end(3).await;
    publisher.done().await;
    assert_eq!(stream.item().await.unwrap(), None);
    scene.until("mesh_subscriptions", 0).await;
    assert!(scene.heard.answers.try_recv().is_err());
    scene.news(reachable(true)).await;
    let (node, id, answer) = scene.heard.answer().await;
    assert!(
        (node, id) == (NODES[0], 41) && matches!(answer, Answer::Done(_)),
        "{answer:?}"
    );
}

/// No way leads anywhere.
pub(super) struct Nowhere;

impl Outlets for Nowhere {
    fn set_targets(&self, _: FullNameHash, _: BTreeMap<NodeId, u8>) {}

    fn route(&self, _: FullNameHash) -> Vec<plane::OutRoute> {
        Vec::new()
    }

    fn take_back(&self, _: FullNameHash) -> BTreeSet<NodeId> {
        BTreeSet::new()
    }

    fn link(&self, _: LinkId) -> Option<plane::LinkOut> {
        None
    }
}

/// Counts how often it is asked for a route.
#[derive(Default)]
struct Counting(std::cell::Cell<usize>);

impl Outlets for Counting {
    fn set_targets(&self, track: FullNameHash, nodes: BTreeMap<NodeId, u8>) {
        Nowhere.set_targets(track, nodes);
    }

    fn route(&self, track: FullNameHash) -> Vec<plane::OutRoute> {
        self.0.set(self.0.get() + 1);
        Nowhere.route(track)
    }

    fn take_back(&self, track: FullNameHash) -> BTreeSet<NodeId> {
        Nowhere.take_back(track)
    }

    fn link(&self, link: LinkId) -> Option<plane::LinkOut> {
        Nowhere.link(link)
    }
}

/// Issue 6, "IB scale": where many nodes want a track, its route is looked at once for all that are told of in a row.
#[actix::test]
async fn many_wishes_in_a_row_are_settled_at_once() {
    let heard = ear([]);
    let log = Logger::root(Discard, slog::o!());
    let outlets = Rc::new(Counting::default());
    let origin = Birth {
        env: env(
            RegistryActor::new(log, 10, None).start().into(),
            Faults::default(),
        ),
        outlets: Rc::clone(&outlets) as Rc<dyn Outlets>,
        limits: Limits::default(),
        guard: None,
    }
    .start();
    origin.send(heard.began()).await.unwrap();
    let wishes = |nodes: std::ops::Range<u64>| nodes.map(|node| wish(NodeId(node), 41, |_| {}));
    origin.send(MeshNews(wishes(1..1000).collect())).await.unwrap();
    let once = outlets.0.get();
    assert!((1..5).contains(&once), "{once}");
    let gone = News::NodeUnreachable { node: NodeId(1) };
    let news = wishes(1000..1500).chain([gone]).chain(wishes(1500..2000));
    origin.send(MeshNews(news.collect())).await.unwrap();
    assert!(outlets.0.get() <= 3 * once, "{}", outlets.0.get());
    let rows = origin.send(Count).await.unwrap();
    assert!(rows.contains(&census::row("mesh_wishes", 1999usize)), "{rows:?}");
    // As where a link dies behind which there are many, each of which publishes something too.
    let before = outlets.0.get();
    let left = (1..1000).flat_map(|node| {
        let (source, track) = (NodeId(node), hash().full);
        let what = Published::Namespace(name().namespace().clone());
        [
            News::PublishGone { source, what },
            News::SubscribeGone { source, track },
        ]
    });
    origin.send(MeshNews(left.collect())).await.unwrap();
    assert!(outlets.0.get() - before <= once, "{}", outlets.0.get() - before);
    let rows = origin.send(Count).await.unwrap();
    assert!(rows.contains(&census::row("mesh_wishes", 1000usize)), "{rows:?}");
    // New bases tell of none of them again.
    let before = outlets.0.get();
    tokio::time::pause();
    origin.send(heard.began()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(outlets.0.get() - before <= once, "{}", outlets.0.get() - before);
    let rows = origin.send(Count).await.unwrap();
    assert!(rows.contains(&census::row("mesh_wishes", 0usize)), "{rows:?}");
    assert!(rows.contains(&census::row("mesh_tracks", 0usize)), "{rows:?}");
}

/// A node that leaves, and is there again when that is told, joins: what is open comes to it.
#[actix::test]
async fn who_leaves_and_comes_back_at_once_joins() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"object").await;
    scene.stream(A).await.header().await;
    let gone = || News::SubscribeGone {
        source: NODES[1],
        track: hash().full,
    };
    let back = |id| wish(NODES[1], id, |_| {});
    let news = vec![gone(), back(43), gone(), back(44)];
    scene.origin.send(MeshNews(news)).await.unwrap();
    let (node, id, answer) = scene.heard.answer().await;
    assert!(
        (node, id) == (NODES[1], 44) && matches!(answer, Answer::Ok(_)),
        "{answer:?}"
    );
    publisher.object(1, 1, b"more").await;
    let mut aside = scene.stream(A).await;
    assert_eq!((aside.header().await.group, aside.object().await.0), (1, 1));
    scene
        .origin
        .send(MeshNews(vec![gone(), back(45), gone()]))
        .await
        .unwrap();
    assert_eq!(scene.count("mesh_wishes").await, 1);
    assert!(scene.heard.answers.try_recv().is_err());
}

/// The last one that leaves a track gives its place to another track, told of in the same message.
#[actix::test]
async fn a_track_that_nobody_wants_any_more_has_no_place() {
    let limits = Limits {
        tracks: 1,
        ..Limits::default()
    };
    let mut scene = Scene::with(Faults::default(), limits, Dialect::Own).await;
    let other = FullTrackName::new(name().namespace().clone(), Bytes::from_static(b"audio")).unwrap();
    let subscribe = laps_subscribe(other.clone(), 128, None);
    let before = News::Subscribe {
        source: NODES[0],
        track: TrackHash::of(&other),
        data: encode_subscribe_data(Dialect::Own, RequestId(40), &subscribe).unwrap(),
    };
    let gone = News::SubscribeGone {
        source: NODES[0],
        track: TrackHash::of(&other).full,
    };
    let _publisher = Publisher::new(&scene.env).await;
    let news = vec![before, gone, wish(NODES[0], 41, |_| {})];
    scene.origin.send(MeshNews(news)).await.unwrap();
    let (_, id, answer) = scene.heard.answer().await;
    assert!(id == 41 && matches!(answer, Answer::Ok(_)), "{answer:?}");
    assert_eq!(scene.count("mesh_tracks").await, 1);
}

/// New bases tell again who wants what; who is not told of again is gone.
#[actix::test]
async fn what_new_bases_do_not_tell_of_is_over() {
    tokio::time::pause();
    let heard = ear([]);
    let log = Logger::root(Discard, slog::o!());
    let registry = RegistryActor::new(log, 10, None).start().into();
    let origin = Birth {
        env: env(registry, Faults::default()),
        outlets: Rc::new(Nowhere),
        limits: Limits::default(),
        guard: None,
    }
    .start();
    origin.send(heard.began()).await.unwrap();
    let wishes = NODES.map(|node| wish(node, 41, |_| {})).to_vec();
    origin.send(MeshNews(wishes)).await.unwrap();
    let rows = async || {
        let rows = origin.send(Count).await.unwrap();
        rows.iter().find(|(name, _)| *name == "mesh_wishes").unwrap().1
    };
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rows().await, 2);
    origin.send(heard.began()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let again = wish(NODES[0], 41, |_| {});
    origin.send(MeshNews(vec![again])).await.unwrap();
    assert_eq!(rows().await, 2);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rows().await, 1);
}
