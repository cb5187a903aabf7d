//! Changes of all routes.

use super::*;

const TRACKS: u64 = 40;

/// More nodes than are looked at in one turn: the turns follow one another until all sets are told.
#[actix::test]
async fn new_routes_reach_all_sets() {
    let mut scene = scene(NodeType::Edge, Config::default(), Faults::default()).await;
    let nodes: Vec<NodeId> = (1000..2000).map(NodeId).collect();
    assert!(nodes.len() * usize::try_from(TRACKS).unwrap() > 2 * TURN);
    let by = |link: LinkId, peer: NodeId| {
        let all = nodes.iter().map(|node| (*node, peer));
        Fib::written(all.chain([(peer, peer)]), [(peer, vec![link])])
    };
    for name in 1..=TRACKS {
        scene.plane.set_targets(track(name), urgent(&nodes));
    }
    scene.fib.send_replace(by(B, NodeId(2)));
    scene.until(|plane| tracks_by(plane, B) == TRACKS).await;
    scene.fib.send_replace(by(C, NodeId(3)));
    scene.until(|plane| tracks_by(plane, C) == TRACKS).await;
    for _ in 1..=TRACKS {
        assert_eq!(scene.end(C).told().await.nodes(), nodes);
    }
}

/// Tracks whose new data goes by a link.
fn tracks_by(plane: &Plane, link: LinkId) -> u64 {
    let tracks = (1..=TRACKS).map(|name| plane.route(track(name)));
    let by = |route: &OutRoute| route.link == link && !route.nodes.is_empty();
    tracks.map(|routes| u64::from(routes.iter().any(by))).sum()
}
