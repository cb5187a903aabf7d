//! How urgent what nodes get is.

use super::fetching::groups;
use super::*;
use actix::MessageResult;
use laps_protocol::peering::message::{FetchStep, PlainFetch};

/// The priorities of all that is sent of the track: on links, and aside.
#[derive(actix::Message)]
#[rtype(result = "(Vec<u8>, Vec<u8>)")]
struct Ranks;

impl Handler<Ranks> for OriginActor {
    type Result = MessageResult<Ranks>;
    fn handle(&mut self, _: Ranks, _: &mut Self::Context) -> Self::Result {
        let Some(track) = self.tracks.get(&hash().full) else {
            return MessageResult((vec![], vec![]));
        };
        let slots = track.slots.values().map(|slot| slot.spec.rank.priority());
        let aside = track.aside.slots().map(|slot| slot.spec.rank.priority());
        MessageResult((slots.collect(), aside.collect()))
    }
}

impl Scene {
    async fn ranks(&self) -> (Vec<u8>, Vec<u8>) {
        self.origin.send(Ranks).await.unwrap()
    }

    /// The next set that a link's peer is told: its id, and its nodes with their priorities.
    async fn told_next(&mut self) -> (u32, Vec<(NodeId, u8)>) {
        loop {
            if let Message::NodeSetAdvertise(set) = self.heard.set().await {
                return (set.id.get(), set.with_priorities().collect());
            }
        }
    }
}

/// MOQT-14 §7.2 [D14-PRIO-1], Issue 6: a link's subscription is as urgent as it is to the most urgent node behind it that
/// wants objects, and relays on the way are told of each. D14-PRIO-4: changes hold for what is open.
#[actix::test]
async fn a_link_is_as_urgent_as_the_most_urgent_node() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let [one, other] = NODES;
    scene.subscribe(one, 41, |wish| wish.priority = 100).await;
    scene.heard.answer().await;
    assert_eq!(scene.told_next().await, (1, vec![(one, 100)]));
    publisher.begin(1, b"object").await;
    let mut stream = scene.stream(A).await;
    stream.header().await;
    stream.object().await;
    let aims: [(NodeId, u64, u8, bool, u8); 5] = [
        (other, 42, 30, true, 30),
        (one, 41, 20, true, 20),
        // One that wants nothing just now hurries nobody.
        (one, 41, 5, false, 30),
        (other, 42, 200, true, 200),
        (one, 41, 150, true, 150),
    ];
    for (node, id, priority, forward, rank) in aims {
        let change = |wish: &mut Subscribe| (wish.priority, wish.forward) = (priority, forward);
        scene.subscribe(node, id, change).await;
        assert_eq!(scene.ranks().await.0, [rank]);
    }
    // It is the same stream all the time.
    publisher.object(1, 1, b"more").await;
    assert_eq!(stream.object().await.0, 1);
    let all = vec![(one, 150), (other, 200)];
    while scene.told_next().await != (1, all.clone()) {}
    assert_eq!(scene.counters().await.subscriptions, 1);
}

/// What is open for those who joined in the middle is as urgent as it is to them alone, and its set says so, for whichever
/// relay has it wait.
#[actix::test]
async fn what_is_open_aside_is_as_urgent_as_to_those_who_joined() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    let [one, other] = NODES;
    scene.subscribe(one, 41, |wish| wish.priority = 10).await;
    scene.heard.answer().await;
    publisher.begin(1, b"object").await;
    scene.stream(A).await.header().await;
    scene.subscribe(other, 42, |wish| wish.priority = 90).await;
    scene.heard.answer().await;
    assert_eq!(scene.ranks().await, (vec![10], vec![90]));
    while scene.told_next().await != (2, vec![(other, 90)]) {}
    for priority in [4, 99] {
        scene.subscribe(other, 42, |wish| wish.priority = priority).await;
        assert_eq!(scene.ranks().await, (vec![priority.min(10)], vec![priority]));
        while scene.told_next().await != (2, vec![(other, priority)]) {}
    }
    scene.subscribe(one, 41, |wish| wish.priority = 1).await;
    assert_eq!(scene.ranks().await, (vec![1], vec![99]));
    publisher.object(1, 1, b"more").await;
    let mut aside = scene.stream(A).await;
    aside.header().await;
    assert_eq!(aside.object().await.0, 1);
}

/// What is still open on a link that another one has taken over from hurries, or not, like what goes there.
#[actix::test]
async fn what_a_link_goes_on_with_is_as_urgent_too() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"object").await;
    let mut open = scene.stream(A).await;
    open.header().await;
    scene.fib.send_replace(fib(B));
    scene.until("mesh_subscriptions", 2).await;
    scene.subscribe(NODES[0], 41, |wish| wish.priority = 6).await;
    assert_eq!(scene.ranks().await.0, [6, 6]);
}

/// MOQT-14 §7.1 [D14-PRIO-4]: what a node fetches takes one set, which is as urgent as the most urgent of that.
#[actix::test]
async fn what_a_node_fetches_is_as_urgent_as_the_most_urgent_of_it() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    // More than a stream takes of which nothing is read.
    publisher.begin(1, Vec::leak(vec![7; 8 << 20])).await;
    let node = NODES[0];
    for (id, priority, urgency) in [(6, 90, 90), (7, 200, 90), (8, 30, 30)] {
        let FetchStep::Fetch(fetch) = groups(1, 1) else {
            panic!()
        };
        let fetch = FetchStep::Fetch(PlainFetch { priority, ..fetch });
        scene.ask(node, id, fetch).await;
        if urgency == priority {
            assert_eq!(scene.told_next().await, (1, vec![(node, urgency)]));
        }
    }
    for (id, urgency) in [(8, 90), (6, 200)] {
        scene.ask(node, id, FetchStep::Cancel).await;
        assert_eq!(scene.told_next().await, (1, vec![(node, urgency)]));
    }
}
