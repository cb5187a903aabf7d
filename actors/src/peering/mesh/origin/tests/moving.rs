//! Links that die while a route moves. Issue 6, "Failover": what is open comes from its start by the way that is left, and of
//! what has gone by the nodes are told, so that they fetch it.

use super::*;
use crate::peering::mesh::FromNode;
use laps_protocol::peering::message::LostNodes;
use std::collections::BTreeMap;

impl Scene {
    /// Data takes this link, or none.
    fn leads(&self, link: Option<LinkId>) {
        match link {
            Some(link) => drop(self.fib.send_replace(fib(link))),
            None => drop(self.fib.send_replace(Fib::default())),
        }
    }

    /// The track's route has these links, and so many subscriptions there are.
    async fn stands(&self, links: &[LinkId], subscriptions: u64) {
        let reached = async {
            loop {
                let route = self.plane.route(hash().full);
                let route: Vec<_> = route.iter().map(|route| route.link).collect();
                if route == links && self.count("mesh_subscriptions").await == subscriptions {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }

    /// Waits until each of these groups has come on this link, on one stream with so many objects from its start.
    async fn groups(&mut self, link: LinkId, wanted: &BTreeMap<u64, u64>) {
        let mut missing = wanted.clone();
        while !missing.is_empty() {
            let mut stream = self.stream(link).await;
            let group = stream.header().await.group;
            let Some(objects) = missing.remove(&group) else {
                continue;
            };
            for id in 0..objects {
                assert_eq!(stream.object().await.0, id, "of {group}");
            }
        }
    }
}

/// The new link has its place, and the one before dies with a group open on it.
#[actix::test]
async fn the_link_before_dies_when_the_new_one_serves() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut before = scene.stream(A).await;
    before.header().await;
    before.object().await;
    scene.leads(Some(B));
    scene.stands(&[B], 2).await;
    publisher.begin(2, b"c").await;
    scene.groups(B, &BTreeMap::from([(2, 1)])).await;
    scene.plane.link_down(A);
    publisher.object(1, 1, b"b").await;
    scene.groups(B, &BTreeMap::from([(1, 2)])).await;
    assert_eq!(scene.heard.again().await, 2);
    assert_eq!(scene.count("mesh_subscriptions").await, 1);
    assert!(scene.heard.answers.try_recv().is_err());
}

/// The new link has been asked for a place at most.
#[actix::test]
async fn the_link_before_dies_when_the_new_one_is_asked() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.stream(A).await.header().await;
    scene.leads(Some(B));
    while scene.plane.route(hash().full).iter().all(|route| route.link == A) {
        tokio::task::yield_now().await;
    }
    scene.plane.link_down(A);
    publisher.object(1, 1, b"b").await;
    scene.groups(B, &BTreeMap::from([(1, 2)])).await;
    assert_eq!(scene.heard.again().await, 1);
}

/// The new link dies, and data takes the one before again, which was to begin nothing.
#[actix::test]
async fn the_new_link_dies_when_it_serves() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut before = scene.stream(A).await;
    before.header().await;
    before.object().await;
    scene.leads(Some(B));
    scene.stands(&[B], 2).await;
    publisher.begin(2, b"c").await;
    scene.groups(B, &BTreeMap::from([(2, 1)])).await;
    scene.plane.link_down(B);
    scene.stands(&[], 1).await;
    // Nobody's, until a route is found.
    publisher.begin(3, b"d").await;
    publisher.begin(4, b"e").await;
    publisher.end(4).await;
    scene.leads(Some(A));
    scene.groups(A, &BTreeMap::from([(2, 1), (3, 1)])).await;
    assert_eq!(scene.heard.again().await, 4);
    publisher.object(1, 1, b"b").await;
    assert_eq!(before.object().await.0, 1);
    publisher.begin(5, b"f").await;
    scene.groups(A, &BTreeMap::from([(5, 1)])).await;
    assert_eq!(scene.counters().await.subscriptions, 2);
}

/// The new link dies, perhaps before it has a place: the one before carries what begins although no route leads to anybody
/// for a moment, or gives it then.
#[actix::test]
async fn the_new_link_dies_when_it_is_asked() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    let mut before = scene.stream(A).await;
    before.header().await;
    before.object().await;
    scene.leads(Some(B));
    scene.until("mesh_subscriptions", 2).await;
    scene.plane.link_down(B);
    publisher.begin(2, b"b").await;
    scene.leads(Some(A));
    scene.groups(A, &BTreeMap::from([(2, 1)])).await;
    publisher.object(1, 1, b"c").await;
    assert_eq!(before.object().await.0, 1);
    publisher.begin(3, b"d").await;
    scene.groups(A, &BTreeMap::from([(3, 1)])).await;
}

/// The link before has nothing open, and was dead for a while when that is noticed: what it had of late may be lost.
#[actix::test]
async fn the_link_before_dies_when_it_has_left() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    publisher.end(1).await;
    let mut before = scene.stream(A).await;
    before.header().await;
    before.object().await;
    assert_eq!(before.item().await, Ok(None));
    scene.leads(Some(B));
    scene.stands(&[B], 1).await;
    publisher.begin(2, b"b").await;
    scene.groups(B, &BTreeMap::from([(2, 1)])).await;
    scene.plane.link_down(A);
    assert_eq!(scene.heard.again().await, 2);
}

impl Scene {
    /// A relay further on has lost what was for these nodes.
    async fn lost_beyond(&self, nodes: &[NodeId]) {
        let said = FromNode {
            source: NEXT,
            kind: LostNodes::KIND,
            request_id: 0,
            body: LostNodes(nodes.to_vec()).encode(),
        };
        self.origin.send(said).await.unwrap();
    }
}

/// A link dies that is none of this relay's, and data goes around it by the same link as before.
#[actix::test]
async fn a_link_further_on_dies() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.groups(A, &BTreeMap::from([(1, 1)])).await;
    publisher.begin(2, b"b").await;
    publisher.end(2).await;
    scene.groups(A, &BTreeMap::from([(2, 1)])).await;
    scene.lost_beyond(&[NODES[0], NODES[1], NodeId(77)]).await;
    publisher.object(1, 1, b"c").await;
    scene.groups(A, &BTreeMap::from([(1, 2)])).await;
    assert_eq!(scene.heard.again().await, 2);
    publisher.begin(3, b"d").await;
    scene.groups(A, &BTreeMap::from([(3, 1)])).await;
    assert!(scene.heard.again.try_recv().is_err());
    assert_eq!(scene.count("mesh_subscriptions").await, 1);
}

/// The same, and a moment later the word arrives that another link leads around it: what was sent again until then was lost.
#[actix::test]
async fn a_link_further_on_dies_and_another_way_is_taken() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.groups(A, &BTreeMap::from([(1, 1)])).await;
    scene.lost_beyond(&NODES).await;
    assert_eq!(scene.heard.again().await, 1);
    scene.leads(Some(B));
    scene.groups(B, &BTreeMap::from([(1, 1)])).await;
    assert_eq!(scene.heard.again().await, 1);
}

/// No link leads to the nodes for a while, though all live: a relay further on lost its last one.
#[actix::test]
async fn nodes_are_out_of_reach_for_a_while() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.groups(A, &BTreeMap::from([(1, 1)])).await;
    scene.leads(None);
    scene.stands(&[], 1).await;
    publisher.begin(2, b"lost").await;
    publisher.end(2).await;
    scene.leads(Some(A));
    scene.groups(A, &BTreeMap::from([(1, 1)])).await;
    assert_eq!(scene.heard.again().await, 2);
}

/// All links die, and one comes back, another one as far as anybody knows.
#[actix::test]
async fn the_only_link_dies_and_comes_back() {
    let mut scene = Scene::new().await;
    let publisher = Publisher::new(&scene.env).await;
    scene.subscribed().await;
    publisher.begin(1, b"a").await;
    scene.stream(A).await.header().await;
    scene.plane.link_down(A);
    scene.leads(None);
    scene.stands(&[], 0).await;
    for group in 2..5 {
        publisher.begin(group, b"lost").await;
        publisher.end(group).await;
    }
    publisher.begin(5, b"open").await;
    assert!(scene.heard.again.try_recv().is_err());
    scene.leads(Some(B));
    scene.groups(B, &BTreeMap::from([(1, 1), (5, 1)])).await;
    assert_eq!(scene.heard.again().await, 5);
    // Once.
    publisher.begin(6, b"next").await;
    scene.groups(B, &BTreeMap::from([(6, 1)])).await;
    assert!(scene.heard.again.try_recv().is_err());
}
