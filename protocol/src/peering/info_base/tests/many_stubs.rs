//! What a change costs an edge with many stubs.

use super::*;

const STUBS: u32 = 300;

fn name(of: u32) -> FullTrackName {
    FullTrackName::new(namespace(&format!("of/{of}")), Bytes::from_static(b"v")).unwrap()
}

fn publish(source: u64, of: u32, there: bool) -> Message {
    let info = PublishInfo::new(id(source), Published::Track(name(of)));
    if there {
        Message::PublishInfoAdvertise(info)
    } else {
        Message::PublishInfoWithdraw(info)
    }
}

/// How many stubs were looked at, and which were told something.
fn looks(desk: &mut Desk, link: u32, message: Message) -> (u64, Vec<u32>) {
    let before = desk.base.stubs.looks;
    // Each statement is newer than the one before.
    let sequence = Sequence(u16::try_from(desk.base.counters().received % 10_000).unwrap());
    let out = desk.hear_stamped(link, message, Stamp { epoch: 9, sequence });
    let told = out.iter().filter_map(|output| match output {
        Output::Send { link, .. } if link.0 >= 100 => Some(link.0),
        _ => None,
    });
    (desk.base.stubs.looks - before, told.collect())
}

/// Issue 6, "Measured": what comes of one other node, or of one stub, does not walk all stubs.
#[test]
fn a_change_concerns_who_cares_for_it() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    for stub in 100..100 + STUBS {
        desk.link(stub, NodeType::Stub, OURS, 1);
        // Its own track, and one that it publishes.
        let track = name(stub);
        let wish = Message::SubscribeInfoAdvertise(subscription(u64::from(stub), &track, 1));
        assert_eq!(looks(&mut desk, stub, wish), (1, vec![]));
        desk.hear(stub, publish(stub.into(), stub + 10_000, true));
    }
    assert_eq!(looks(&mut desk, 2, publish(2, 100, true)), (1, vec![100]));
    assert_eq!(looks(&mut desk, 2, publish(2, 101, true)), (1, vec![101]));
    assert_eq!(looks(&mut desk, 2, publish(2, 100, false)), (1, vec![100]));
    assert_eq!(looks(&mut desk, 2, publish(2, 99, true)), (0, vec![]));
    // A namespace of all of them is told to all of them.
    let all = Published::Namespace(namespace("of"));
    let all = Message::PublishInfoAdvertise(PublishInfo::new(id(2), all));
    let (looked, told) = looks(&mut desk, 2, all);
    assert_eq!((looked, told.len()), (u64::from(STUBS), STUBS as usize));
    let wish = Message::SubscribeInfoAdvertise(subscription(2, &name(10_105), 1));
    assert_eq!(looks(&mut desk, 2, wish), (1, vec![105]));
    for stub in 100..100 + STUBS {
        desk.base.link_down(desk.now, LinkId(stub));
    }
    desk.drain();
    assert!(desk.base.stubs.is_empty());
}

/// One that knows of many tracks lets go of them one by one.
#[test]
fn what_a_stub_lets_go_of_concerns_nothing_else() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    for stub in [100, 101, 102] {
        desk.link(stub, NodeType::Stub, OURS, 1);
    }
    for of in 0..STUBS {
        desk.hear(2, publish(2, of, true));
        desk.hear(100, publish(100, of + 10_000, true));
        let wish = subscription(2, &name(of + 10_000), 1);
        let (_, told) = looks(&mut desk, 2, Message::SubscribeInfoAdvertise(wish));
        assert_eq!(told, [100]);
        let wish = subscription(100, &name(of), 1);
        let (_, told) = looks(&mut desk, 100, Message::SubscribeInfoAdvertise(wish));
        assert_eq!(told[told.len() - 1], 100);
    }
    for of in 0..STUBS {
        let wish = subscription(100, &name(of), 1);
        let (looked, told) = looks(&mut desk, 100, Message::SubscribeInfoWithdraw(wish));
        assert_eq!((looked, told), (1, vec![100]));
        let (looked, told) = looks(&mut desk, 100, publish(100, of + 10_000, false));
        assert!(looked <= 2 && told == [100], "{looked} {told:?}");
    }
}
