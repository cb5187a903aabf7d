//! What goes out on links.

use super::*;
use crate::supervise::inject::FaultPlan;
use futures::FutureExt;
use laps_protocol::relay::behind::Policy;

/// Decision 0029: however many nodes lie behind a link, each subgroup is one stream on it. laps peering, "Start of New
/// Stream Data": the head as laps writes it, and MOQT's bytes behind it.
#[actix::test]
async fn one_stream_for_all_nodes_behind_a_link() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    assert_eq!(nodes(&scene.heard.set().await), [NODES[0]]);
    assert_eq!(nodes(&scene.heard.set().await), NODES);
    // What is open when the second one comes goes to it alone, and that is nothing.
    assert_eq!(nodes(&scene.heard.set().await), [NODES[1]]);
    assert!(matches!(scene.heard.set().await, Message::NodeSetWithdraw(_)));
    publisher.begin(4, b"first").await;
    publisher.object(4, 1, b"second").await;
    publisher.end(4).await;
    let mut stream = scene.stream(A).await;
    let header = stream.header().await;
    assert_eq!((header.group, header.priority), (4, 7));
    assert_eq!(header.alias, hash().full.get());
    // 19 bytes, a new stream, id 1, the hash, priority 7, and no end to how long it may take.
    let mut head = vec![19, 2, 0, 0, 0, 1];
    head.extend(hash().full.get().to_be_bytes());
    head.extend([7, 0, 0, 0, 0]);
    assert_eq!(stream.head, head);
    assert_eq!(stream.object().await, (0, Bytes::from_static(b"first")));
    assert_eq!(stream.object().await, (1, Bytes::from_static(b"second")));
    assert_eq!(stream.item().await.unwrap(), None);
    // One leaves, and nothing changes for the other.
    publisher.begin(5, b"third").await;
    let mut stream = scene.stream(A).await;
    assert_eq!(stream.header().await.group, 5);
    scene.unsubscribe(NODES[0]).await;
    assert_eq!(nodes(&scene.heard.set().await), [NODES[1]]);
    assert_eq!(stream.object().await, (0, Bytes::from_static(b"third")));
    publisher.object(5, 1, b"fourth").await;
    assert_eq!(stream.object().await, (1, Bytes::from_static(b"fourth")));
    assert_eq!(scene.count("mesh_subscriptions").await, 1);
    // With the last one the subscription ends, and with it what is under way.
    scene.unsubscribe(NODES[1]).await;
    assert_eq!(stream.item().await, Err(()));
    assert!(matches!(scene.heard.set().await, Message::NodeSetWithdraw(_)));
    assert_eq!(
        (
            scene.count("mesh_subscriptions").await,
            scene.count("mesh_tracks").await
        ),
        (0, 0)
    );
    let mut wanted = publisher.wanted.clone();
    wanted.wait_for(|wanted| !wanted).await.unwrap();
    assert_eq!(scene.counters().await.subscriptions, 1);
}

/// MOQT-14 §9.12 D14-SUB-19: the end of the track is told to each node, behind its objects, and under the number that it gave.
#[actix::test]
async fn the_end_of_a_track_is_told_to_each_node() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"object").await;
    publisher.end(1).await;
    publisher.done().await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    stream.object().await;
    assert_eq!(stream.item().await.unwrap(), None);
    // For who came second, its streams are not all that there were.
    let expected = NODES.into_iter().zip([(41, Some(1)), (42, None)]);
    for ((node, id, answer), (expected, (number, streams))) in
        scene.heard.answers().await.into_iter().zip(expected)
    {
        assert_eq!((node, id), (expected, number));
        let Answer::Done(done) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, streams)
        );
    }
    assert_eq!(scene.count("mesh_subscriptions").await, 0);
    // Nobody is sent anything any more.
    while !matches!(scene.heard.set().await, Message::NodeSetWithdraw(_)) {}
}

/// MOQT-14 §9.12 D14-SUB-19: a publisher that withdraws what it published when it has ended it takes nothing back of what
/// came before, for whomever.
#[actix::test]
async fn what_is_withdrawn_is_sent_to_its_end() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    stream.object().await;
    Publisher::withdraw(&scene.env);
    scene.until("mesh_published", 0).await;
    for node in NODES {
        scene.unsubscribe(node).await;
    }
    publisher.object(1, 1, b"b").await;
    publisher.end(1).await;
    publisher.done().await;
    assert_eq!(stream.object().await, (1, Bytes::from_static(b"b")));
    assert_eq!(stream.item().await.unwrap(), None);
    for (_, _, answer) in scene.heard.answers().await {
        assert!(matches!(answer, Answer::Done(done) if done.status == PublishDoneStatus::TrackEnded));
    }
    scene.until("mesh_tracks", 0).await;
}

/// Where the track goes on here all the same, each is told of the end when it has had time to take what came before.
#[actix::test]
async fn what_is_withdrawn_ends_though_it_goes_on_here() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.stream(A).await.header().await;
    Publisher::withdraw(&scene.env);
    scene.until("mesh_published", 0).await;
    let track = hash().full;
    let gone = NODES.map(|source| News::SubscribeGone { source, track });
    scene.origin.send(MeshNews(gone.to_vec())).await.unwrap();
    assert_eq!(scene.count("mesh_wishes").await, 2);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    for ((node, id, answer), (to, under)) in scene
        .heard
        .answers()
        .await
        .into_iter()
        .zip(NODES.into_iter().zip([41, 42]))
    {
        assert_eq!((node, id), (to, under));
        assert!(matches!(answer, Answer::Done(done) if done.status == PublishDoneStatus::InternalError));
    }
    scene.until("mesh_tracks", 0).await;
}

/// laps peering, "Data Header Messages": the time that objects may take is what the subscribers set, the longest of them; to
/// a laps relay nothing is without an end.
#[actix::test]
async fn the_head_says_how_long_objects_may_take() {
    for (dialect, limits, expected) in [
        (Dialect::Own, [Some(700), Some(900)], 900_u32),
        (Dialect::Own, [Some(700), None], 0),
        (Dialect::Laps14, [None, None], 5000),
    ] {
        let mut scene = Scene::with(Faults::default(), Limits::default(), dialect).await;
        let publisher = Publisher::new(&scene.env).await;
        let both = NODES.into_iter().zip(limits).zip([41, 42]);
        for ((node, limit), id) in both {
            scene
                .subscribe(node, id, |wish| wish.params.delivery_timeout_ms = limit)
                .await;
        }
        if dialect != Dialect::Own {
            // A laps relay drops data whose set it has not read.
            let Message::NodeSetAdvertise(set) = scene.heard.set().await else {
                panic!()
            };
            scene.plane.set_delivered(A, set.id);
        }
        scene.heard.answers().await;
        publisher.begin(1, b"object").await;
        let mut stream = scene.stream(A).await;
        stream.header().await;
        assert_eq!(
            stream.head[15..],
            expected.to_be_bytes(),
            "{dialect:?} {limits:?}"
        );
    }
}

/// A planned change of the way loses nothing: what is open is finished where it is, and what begins takes the new link.
#[actix::test]
async fn what_is_open_on_a_link_goes_on_there() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut before = scene.stream(A).await;
    before.header().await;
    assert_eq!(before.object().await.0, 0);
    scene.fib.send_replace(fib(B));
    // Both links are served until the first of them has nothing open any more.
    loop {
        if scene.count("mesh_subscriptions").await == 2 && scene.plane.route(hash().full).len() == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    publisher.object(1, 1, b"b").await;
    publisher.begin(2, b"c").await;
    let mut after = scene.stream(B).await;
    assert_eq!(after.header().await.group, 2);
    assert_eq!(after.object().await, (0, Bytes::from_static(b"c")));
    assert_eq!(before.object().await, (1, Bytes::from_static(b"b")));
    publisher.end(1).await;
    assert_eq!(before.item().await.unwrap(), None);
    while scene.count("mesh_subscriptions").await == 2 {
        tokio::task::yield_now().await;
    }
    // Nobody was told of any of it.
    assert!(scene.heard.answers.try_recv().is_err());
    publisher.object(2, 1, b"d").await;
    assert_eq!(after.object().await, (1, Bytes::from_static(b"d")));
}

/// A link that dies takes its subscriptions with it, and those on other links go on.
#[actix::test]
async fn a_link_that_is_gone_is_let_go_of() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    scene.fib.send_replace(fib(B));
    scene.plane.link_down(A);
    publisher.begin(2, b"b").await;
    // What was open goes on there, and what is new begins.
    publisher.object(1, 1, b"c").await;
    let mut groups = Vec::new();
    for _ in 0..2 {
        let mut stream = scene.stream(B).await;
        groups.push(stream.header().await.group);
    }
    groups.sort_unstable();
    assert_eq!(groups, [1, 2]);
    assert_eq!(scene.count("mesh_subscriptions").await, 1);
    assert!(scene.heard.answers.try_recv().is_err());
}

/// Issue 6, "Failover": what a link had under way when it died did not all arrive, so what is open comes again from its
/// start, and nothing else does.
#[actix::test]
async fn what_was_open_when_a_link_died_comes_from_its_start() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"whole").await;
    let mut first = scene.stream(A).await;
    first.header().await;
    first.object().await;
    publisher.end(1).await;
    assert_eq!(first.item().await, Ok(None));
    publisher.begin(2, b"a").await;
    publisher.object(2, 1, b"b").await;
    assert_eq!(scene.stream(A).await.header().await.group, 2);
    publisher.begin(3, b"c").await;
    assert_eq!(scene.stream(A).await.header().await.group, 3);
    scene.plane.link_down(A);
    scene.fib.send_replace(fib(B));
    publisher.object(2, 2, b"d").await;
    let (mut second, mut third) = (scene.stream(B).await, scene.stream(B).await);
    if second.header().await.group == 3 {
        std::mem::swap(&mut second, &mut third);
        assert_eq!(second.header().await.group, 2);
    } else {
        assert_eq!(third.header().await.group, 3);
    }
    for (id, payload) in [(0, "a"), (1, "b"), (2, "d")] {
        assert_eq!(second.object().await, (id, Bytes::from(payload)));
    }
    assert_eq!(third.object().await, (0, Bytes::from_static(b"c")));
    publisher.begin(4, b"e").await;
    assert_eq!(scene.stream(B).await.header().await.group, 4);
    assert!(scene.heard.answers.try_recv().is_err());
}

/// The same where the other link carries the track for others already: they get nothing again, and the one whose link died
/// gets what is open aside.
#[actix::test]
async fn what_was_open_comes_from_its_start_aside() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let other = NodeId(2);
    let nodes = [(NODES[0], NEXT), (NODES[1], other)];
    let apart = Fib::written(nodes, [(NEXT, vec![A]), (other, vec![B])]);
    scene.fib.send_replace(apart);
    scene.subscribed().await;
    scene.until("mesh_subscriptions", 2).await;
    while scene.plane.route(hash().full).len() != 2 {
        tokio::task::yield_now().await;
    }
    publisher.begin(1, b"a").await;
    publisher.object(1, 1, b"b").await;
    let (mut lost, mut stays) = (scene.stream(A).await, scene.stream(B).await);
    for stream in [&mut lost, &mut stays] {
        stream.header().await;
        assert_eq!(stream.object().await, (0, Bytes::from_static(b"a")));
    }
    scene.plane.link_down(A);
    scene.fib.send_replace(fib(B));
    let mut again = scene.stream(B).await;
    assert_eq!(again.header().await.group, 1);
    assert_eq!(again.object().await, (0, Bytes::from_static(b"a")));
    assert_eq!(again.object().await, (1, Bytes::from_static(b"b")));
    publisher.object(1, 2, b"c").await;
    assert_eq!(again.object().await, (2, Bytes::from_static(b"c")));
    assert_eq!(stays.object().await, (1, Bytes::from_static(b"b")));
    assert_eq!(stays.object().await, (2, Bytes::from_static(b"c")));
}

/// MOQT-14 §5.1: who has nothing of the track yet gets what is open from its next object on. D14-PUB-1: of several origins each
/// is joined at another object, and what is open is one stream for all of them. So there it comes from its start, and what
/// the node's readers did not ask for, the node leaves out.
#[actix::test]
async fn who_is_new_gets_what_is_open_from_its_start_where_others_publish_too() {
    let source = NodeId(7);
    let namespace = Published::Namespace(name().namespace().clone());
    let elsewhere = Published::Namespace(TrackNamespace::new([Bytes::from_static(b"dead")]).unwrap());
    for (what, gone, from_start) in [
        (None, false, false),
        (Some(elsewhere), false, false),
        (Some(namespace.clone()), true, false),
        (Some(namespace), false, true),
        (Some(Published::Track(name())), false, true),
    ] {
        let mut scene = Scene::new().await;
        let publisher = Publisher::new(&scene.env).await;
        if let Some(what) = what {
            scene
                .news(News::Publish {
                    source,
                    what: what.clone(),
                })
                .await;
            if gone {
                scene.news(News::PublishGone { source, what }).await;
            }
        }
        publisher.begin(1, b"a").await;
        scene.subscribed().await;
        publisher.object(1, 1, b"b").await;
        let mut stream = scene.stream(A).await;
        assert_eq!(stream.header().await.group, 1);
        if from_start {
            assert_eq!(stream.object().await, (0, Bytes::from_static(b"a")));
        }
        assert_eq!(stream.object().await, (1, Bytes::from_static(b"b")));
    }
}

/// A subscription that fails is started again, and the nodes lose no more than the group in which it did.
#[actix::test]
async fn a_subscription_that_fails_goes_on() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("subscription", name().to_string());
    let mut scene = Scene::with(plan.faults(), Limits::default(), Dialect::Own).await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    trigger.arm(1);
    publisher.begin(1, b"lost").await;
    while scene.counters().await.restarts == 0 {
        tokio::task::yield_now().await;
    }
    // It has found the track again when it is sent what begins.
    let mut groups = 2..;
    let goes_on = async {
        loop {
            publisher.begin(groups.next().unwrap(), b"object").await;
            if let Some(stream) = scene.ends[0].uni.accept().now_or_never() {
                drop(stream.unwrap().unwrap());
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, goes_on).await.unwrap();
    assert_eq!(scene.count("mesh_subscriptions").await, 1);
    assert!(scene.heard.answers.try_recv().is_err());
    // One that does nothing else is given up, and the nodes are told.
    trigger.arm(100);
    let gives_up = async {
        loop {
            publisher.begin(groups.next().unwrap(), b"object").await;
            if let Ok((_, answer)) = scene.heard.answers.try_recv() {
                return answer.answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::time::timeout(LONG, gives_up).await.unwrap();
    assert!(matches!(answer, Answer::Done(done) if done.status == PublishDoneStatus::InternalError));
    assert_eq!(scene.count("mesh_subscriptions").await, 0);
}

/// A link that is slow loses old groups, whatever sessions lose, and no subscription on it is accepted without a track.
#[test]
fn a_link_goes_on_with_the_newest_group() {
    let strict = Config {
        detached: true,
        skips: SkipRules::default(),
        ..Config::default()
    };
    let policy = |config: &Config| config.skips.policy(name().namespace(), false);
    assert_eq!(policy(&strict), Policy::End);
    let of_link = of_link(&strict);
    assert_eq!((policy(&of_link), of_link.detached), (Policy::NewestGroup, false));
}
