//! A stub and its edges.

use super::*;

/// laps peering, "Stub": unknown to all but its edge, and told of nobody.
#[test]
fn a_stub_is_known_to_its_edge_alone() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    let out = desk.link(3, NodeType::Stub, OURS, 1);
    assert_eq!(nodes(&out), []);
    assert_eq!(desk.base.fib().links(id(3)), [LinkId(3)]);
    let other = NodeInfo {
        path: far(5, &[(2, 1)]).path,
        ..info(5, NodeType::Stub)
    };
    assert_eq!(desk.hear(2, Message::NodeInfoAdvertise(other)), []);
    assert_eq!(
        nodes(&desk.hear(3, Message::NodeInfoAdvertise(far(6, &[(3, 1)])))),
        []
    );
    assert_eq!(desk.base.counters().out_of_place, 2);
    let mut via = Desk::new(NodeType::Via);
    let out = via.link(3, NodeType::Stub, OURS, 1);
    assert!(matches!(
        out[..],
        [Output::Refused {
            reason: RefuseReason::StubsNeedEdges,
            ..
        }]
    ));
}

/// A stub with two edges belongs to one of them, or its tracks would come twice.
#[test]
fn a_stub_speaks_to_one_edge() {
    let mut desk = Desk::new(NodeType::Stub);
    desk.link(2, EDGE, OURS, 9);
    desk.link(3, EDGE, OURS, 5);
    desk.link(4, EDGE, OURS, 7);
    let video = track("a", "v");
    let out = desk.command(Command::Subscribe {
        track: video.clone(),
        data: data(&video, 1),
    });
    assert_eq!(infos(&out), [(2, true, 1)]);
    let watch = OwnMessage::Watch(namespace("b"));
    let send = |link, message| Output::SendOwn {
        link: LinkId(link),
        message,
    };
    assert_eq!(
        desk.command(Command::Watch(namespace("b"))),
        [send(2, watch.clone())]
    );
    desk.base.link_down(desk.now, LinkId(2));
    let out = desk.drain();
    assert_eq!(infos(&out), [(3, true, 1)], "the nearest");
    assert!(out.contains(&send(3, watch)));
}

/// A stub takes the other edge before its own one has ended.
#[test]
fn a_stub_leaves_an_edge_that_leaves() {
    let mut desk = Desk::new(NodeType::Stub);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 5);
    let video = track("a", "v");
    let subscribed = desk.command(Command::Subscribe {
        track: video.clone(),
        data: data(&video, 1),
    });
    assert_eq!(infos(&subscribed), [(2, true, 1)]);
    desk.base
        .handle_own_message(desk.now, LinkId(2), OwnMessage::Leaving);
    assert_eq!(infos(&desk.drain()), [(3, true, 1)]);
    desk.base
        .handle_own_message(desk.now, LinkId(3), OwnMessage::Leaving);
    assert_eq!(
        infos(&desk.drain()),
        [(2, true, 1)],
        "the nearest of those that go"
    );
    desk.base
        .handle_own_message(desk.now, LinkId(2), OwnMessage::Leaving);
    assert_eq!(desk.drain(), [], "said twice");
}

/// An edge tells a stub what it watches, and of its own publications nothing.
#[test]
fn a_stub_hears_what_it_needs() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 9);
    desk.link(3, NodeType::Stub, OURS, 1);
    desk.link(4, NodeType::Stub, OURS, 1);
    let publish = |source, what| Message::PublishInfoAdvertise(PublishInfo::new(id(source), what));
    let namespaced = |text| Published::Namespace(namespace(text));
    let one = Stamp {
        epoch: 9,
        sequence: Sequence(1),
    };
    assert_eq!(
        infos(&desk.hear_stamped(2, publish(2, namespaced("w/x")), one)),
        []
    );
    let mut watch = |message| {
        desk.base.handle_own_message(desk.now, LinkId(3), message);
        infos(&desk.drain())
    };
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 1)]);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w"))), [(3, false, 2)]);
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 3)]);
    // Who publishes a namespace publishes all that is below it.
    assert_eq!(watch(OwnMessage::Watch(namespace("w/x/y"))), []);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w"))), []);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w/x/y"))), [(3, false, 4)]);
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 5)]);
    // The other stub publishes there: to the mesh the edge does, to the first stub too, and to itself nobody.
    let out = desk.hear_stamped(4, publish(4, namespaced("w/y")), one);
    assert_eq!(infos(&out), [(2, true, 1), (3, true, 6)]);
    assert!(out.contains(&Output::RemotePublish {
        source: id(4),
        what: namespaced("w/y")
    }));
    // For another node it may not speak.
    desk.hear_stamped(4, publish(2, namespaced("w/z")), one);
    assert_eq!(desk.base.counters().forged, 1);
    // Its subscribers become those of the edge; two stubs and a local user are one.
    let video = track("w/x", "v");
    let subscribe = |source| Message::SubscribeInfoAdvertise(subscription(source, &video, 1));
    assert_eq!(infos(&desk.hear(4, subscribe(4))), [(2, true, 1), (4, true, 1)]);
    assert_eq!(infos(&desk.hear(3, subscribe(3))), []);
    desk.base.link_down(desk.now, LinkId(4));
    assert_eq!(
        infos(&desk.drain()),
        [(2, false, 2), (3, false, 7)],
        "what it published goes with it"
    );
    desk.base.link_down(desk.now, LinkId(3));
    assert_eq!(infos(&desk.drain()), [], "the last subscriber may come back");
    assert_eq!(infos(&desk.pass(Duration::from_secs(5))), [(2, false, 2)]);
}

/// What local users want of a track has the wishes of the stubs in it, which subscribe through them: a stub that changes
/// its mind does not speak over them, and what they said is answered under their number.
#[test]
fn what_local_users_say_stands_before_what_stubs_say() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 9);
    desk.link(4, NodeType::Stub, OURS, 1);
    let video = track("w/x", "v");
    let of_stub = |sequence, priority| {
        let info = SubscribeInfo {
            data: data(&video, priority),
            ..subscription(4, &video, sequence)
        };
        Message::SubscribeInfoAdvertise(info)
    };
    let told = |out: &[Output]| {
        let infos = out.iter().filter_map(|output| match output {
            Output::Send {
                link: LinkId(2),
                message: Message::SubscribeInfoAdvertise(info),
                ..
            } => Some(info.data.clone()),
            _ => None,
        });
        infos.collect::<Vec<_>>()
    };
    assert_eq!(told(&desk.hear(4, of_stub(1, 7))), [data(&video, 7)]);
    let local = Command::Subscribe {
        track: video.clone(),
        data: data(&video, 3),
    };
    desk.base.command(desk.now, local).unwrap();
    assert_eq!(told(&desk.drain()), [data(&video, 3)]);
    assert_eq!(told(&desk.hear(4, of_stub(2, 9))), Vec::<Bytes>::new());
    desk.base
        .command(desk.now, Command::Unsubscribe(video.clone()))
        .unwrap();
    assert_eq!(told(&desk.drain()), [data(&video, 9)]);
}
