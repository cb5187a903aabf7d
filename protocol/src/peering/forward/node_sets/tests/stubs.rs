//! What a stub may tell.

use super::*;

/// The edge of a stub 1 on link 1, with a link 2 to edge 2.
fn edge_of_a_stub() -> Relay {
    let routes: &[(u64, &[u32])] = &[(1, &[1]), (2, &[2])];
    let mut relay = Relay::new(NodeType::Edge, Limits::default(), routes);
    relay.sets.stub_up(LinkId(1), NodeId(1), false);
    relay.sets.link_up(LinkId(2), NodeId(2), false);
    relay
}

fn tell(relay: &mut Relay, id: u32, nodes: &[u64], origin: Option<u64>) -> Vec<String> {
    let set = NodeSet::new(sns(id), 2, nodes.iter().map(|node| NodeId(*node)));
    relay
        .sets
        .advertised(LinkId(1), &set.from_origin(origin.map(NodeId)));
    relay.drain()
}

/// laps peering, "Stub": to the mesh its edge stands for it, so nobody but that is to get its data, and it is of the stub. A
/// set that says otherwise would bring data into the tracks of others, here and further on.
#[test]
fn a_stub_speaks_for_itself_alone() {
    let mut relay = edge_of_a_stub();
    assert_eq!(tell(&mut relay, 1, &[ME, 2], Some(3)), ["refused L1:1 Stub"]);
    for (nodes, origin) in [
        (&[ME, 2][..], Some(1)),
        (&[2], None),
        (&[1], Some(1)),
        (&[ME], Some(3)),
        (&[ME], Some(ME)),
    ] {
        // That is said once.
        assert_eq!(
            tell(&mut relay, 1, nodes, origin),
            NOTHING,
            "{nodes:?} {origin:?}"
        );
    }
    assert_eq!(relay.sets.sources().count(), 0);
    assert_eq!(relay.sets.counters().sets_refused, 6);
    // What is its own goes here, and is its own also where it does not say so.
    assert_eq!(tell(&mut relay, 1, &[ME], Some(1)), ["route L1:1 -> here"]);
    assert_eq!(tell(&mut relay, 2, &[ME], None), ["route L1:2 -> here"]);
    for id in [1, 2] {
        let view = relay.sets.view(Source::Ingress(LinkId(1), sns(id))).unwrap();
        assert_eq!(view.origin, Some(NodeId(1)));
    }
    // What was taken stays when a worse one is told.
    assert_eq!(tell(&mut relay, 1, &[ME, 2], Some(1)), NOTHING);
    let view = relay.sets.view(Source::Ingress(LinkId(1), sns(1))).unwrap();
    assert_eq!(view.wanted, [NodeId(ME)]);
}

/// A relay that is no stub hands on what is of others and for others, and a stub is told sets as any.
#[test]
fn others_may_speak_for_whom_they_lead_to() {
    let mut relay = edge_of_a_stub();
    let set = NodeSet::new(sns(1), 2, [NodeId(ME), NodeId(1)]).from_origin(Some(NodeId(3)));
    relay.sets.advertised(LinkId(2), &set);
    assert_eq!(
        relay.drain(),
        ["tell L1:1 [1]", "route L2:1 -> here L1:1, L1 Asked"]
    );
}
