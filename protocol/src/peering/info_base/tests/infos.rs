//! Publish and subscribe infos.

use super::*;

/// laps peering, "Subscribe Information": one number for all links; a triangle of real laps relays storms because there is
/// one for each.
#[test]
fn a_statement_has_one_number_for_all_links() {
    let mut desk = Desk::new(EDGE);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let track = track("a", "v");
    let subscribe = |priority| Command::Subscribe {
        track: track.clone(),
        data: data(&track, priority),
    };
    assert_eq!(
        infos(&desk.command(subscribe(1))),
        [(2, true, 1), (3, true, 1), (4, true, 1)]
    );
    assert_eq!(infos(&desk.command(subscribe(1))), []);
    assert_eq!(
        infos(&desk.command(subscribe(2))),
        [(2, true, 2), (3, true, 2), (4, true, 2)]
    );
    assert_eq!(infos(&desk.command(Command::Unsubscribe(track.clone()))), []);
    assert_eq!(infos(&desk.pass(Duration::from_millis(4999))), []);
    assert_eq!(infos(&desk.command(subscribe(2))), [], "back in time");
    assert_eq!(desk.base.counters().held_back, 1);
    desk.command(Command::Unsubscribe(track.clone()));
    assert_eq!(
        infos(&desk.pass(Duration::from_secs(5))),
        [(2, false, 3), (3, false, 3), (4, false, 3)]
    );
    assert_eq!(
        infos(&desk.command(subscribe(2))),
        [(2, true, 4), (3, true, 4), (4, true, 4)]
    );
    // Its own word comes back: whoever sent it, it is not taken.
    let echo = Message::SubscribeInfoWithdraw(subscription(1, &track, 9));
    assert_eq!((desk.hear(2, echo), desk.base.counters().echoes), (vec![], 1));
}

/// laps peering, "Subscribe Information": the race of a withdrawal and an advertisement.
#[test]
fn the_newer_statement_wins_whatever_comes_first() {
    let mut desk = Desk::new(EDGE);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let track = track("a", "v");
    let adv = |sequence| Message::SubscribeInfoAdvertise(subscription(2, &track, sequence));
    let wd = |sequence| Message::SubscribeInfoWithdraw(subscription(2, &track, sequence));
    // Not back, and not to its source.
    assert_eq!(infos(&desk.hear(3, adv(1))), [(4, true, 1)]);
    assert_eq!(infos(&desk.hear(4, adv(1))), []);
    assert_eq!(infos(&desk.hear(4, wd(2))), [(3, false, 2)]);
    assert_eq!(infos(&desk.hear(3, adv(1))), [], "an older one on a slower way");
    assert_eq!(infos(&desk.hear(3, adv(3))), [(4, true, 3)]);
    assert_eq!(infos(&desk.hear(3, wd(2))), []);
    assert_eq!(desk.base.sizes().subscribes, 1);
    desk.hear(3, wd(4));
    assert_eq!(
        (desk.base.sizes().subscribes, desk.base.sizes().remembered),
        (0, 1)
    );
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.base.sizes().remembered, 0);
    // A new life of the node begins to count anew.
    let lives = |epoch| Stamp {
        epoch,
        sequence: Sequence(0),
    };
    assert_eq!(infos(&desk.hear_stamped(3, adv(9), lives(9))), [(4, true, 9)]);
    assert_eq!(infos(&desk.hear_stamped(3, adv(1), lives(10))), [(4, true, 1)]);
    assert_eq!(infos(&desk.hear_stamped(4, wd(10), lives(9))), []);
}

/// Infos live as long as their node, and a moment longer: another way is found in that time.
#[test]
fn infos_go_with_their_node() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    let (video, other) = (track("a/b", "v"), track("b", "v"));
    desk.command(Command::Publish(Published::Namespace(namespace("a"))));
    let there = Message::NodeInfoAdvertise(far(4, &[(2, 1)]));
    desk.hear(2, there.clone());
    let out = desk.hear(2, Message::SubscribeInfoAdvertise(subscription(4, &video, 1)));
    let subscribed = |track: &FullTrackName| Output::RemoteSubscribe {
        source: id(4),
        track: TrackHash::of(track),
        data: data(track, 1),
    };
    assert!(out.contains(&subscribed(&video)));
    let out = desk.hear(2, Message::SubscribeInfoAdvertise(subscription(4, &other, 1)));
    assert!(!out.contains(&subscribed(&other)), "nobody here publishes that");
    let out = desk.command(Command::Publish(Published::Track(other.clone())));
    assert!(out.contains(&subscribed(&other)), "now somebody does");
    let gone = |track: &FullTrackName| Output::RemoteSubscribeGone {
        source: id(4),
        track: TrackHash::of(track).full,
    };
    let out = desk.command(Command::Unpublish(Published::Track(other.clone())));
    assert!(out.contains(&gone(&other)));
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 1)])));
    desk.pass(Duration::from_secs(4));
    desk.hear(2, there);
    assert!(!desk.pass(Duration::from_secs(9)).contains(&gone(&video)));
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 1)])));
    assert!(desk.pass(Duration::from_secs(5)).contains(&gone(&video)));
    let counters = desk.base.counters();
    assert_eq!((desk.base.sizes().subscribes, counters.purged), (0, 2));
}

/// A withdrawal that names what is not known, and has the hash of what is: who was told of a name hears of its end.
#[test]
fn a_withdrawal_ends_the_name_that_is_known() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    let what = |text| Published::Namespace(namespace(text));
    let stamp = |sequence| Stamp {
        epoch: 9,
        sequence: Sequence(sequence),
    };
    let known = PublishInfo::new(id(2), what("a/bc"));
    desk.hear_stamped(2, Message::PublishInfoAdvertise(known), stamp(1));
    let other = PublishInfo::new(id(2), what("ab/c"));
    let out = desk.hear_stamped(2, Message::PublishInfoWithdraw(other), stamp(2));
    let gone = Output::RemotePublishGone {
        source: id(2),
        what: what("a/bc"),
    };
    assert_eq!(out, [gone]);
}

/// Issue 6, "Bad input": two names with one hash are never mixed, and it is said once.
#[test]
fn the_second_name_with_a_hash_is_refused() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    let (first, second) = (track("a/bc", "v"), track("ab/c", "v"));
    let say = |source, track| Message::SubscribeInfoAdvertise(subscription(source, track, 1));
    desk.hear(2, say(2, &first));
    let hash = TrackHash::of(&first).full;
    let report = Report::NameCollision { hash, source: id(3) };
    assert_eq!(desk.hear(3, say(3, &second)), [Output::Report(report)]);
    assert_eq!(desk.hear(3, say(3, &second)), []);
    let publish = Message::PublishInfoAdvertise(PublishInfo::new(id(3), Published::Track(second.clone())));
    assert_eq!(
        desk.hear_stamped(
            3,
            publish,
            Stamp {
                epoch: 9,
                sequence: Sequence(1)
            }
        ),
        []
    );
    let subscribe = Command::Subscribe {
        track: second.clone(),
        data: data(&second, 1),
    };
    // Who asks for it again and again is told so each time, and the operator was once.
    for _ in 0..3 {
        let refused = desk.base.command(desk.now, subscribe.clone());
        assert_eq!(refused, Err(CommandError::NameCollision));
        assert_eq!(desk.drain(), []);
    }
    let publish = |text| Command::Publish(Published::Namespace(namespace(text)));
    desk.command(publish("x/yz"));
    for reports in [1, 0, 0] {
        let refused = desk.base.command(desk.now, publish("xy/z"));
        assert_eq!(refused, Err(CommandError::NameCollision));
        assert_eq!(desk.drain().len(), reports);
    }
    assert_eq!(
        (desk.base.sizes().subscribes, desk.base.sizes().publishes),
        (1, 0)
    );
    // Hashes that contradict one another, or the name.
    let mut forged = subscription(3, &first, 5);
    forged.track.name ^= 1;
    desk.hear(3, Message::SubscribeInfoAdvertise(forged));
    let other = SubscribeInfo {
        data: data(&track("c", "v"), 1),
        ..subscription(3, &first, 5)
    };
    desk.hear(3, Message::SubscribeInfoAdvertise(other));
    assert_eq!(desk.base.counters().forged, 2);
    desk.hear(2, Message::SubscribeInfoWithdraw(subscription(2, &first, 2)));
    desk.hear(3, say(3, &second));
    assert_eq!(
        desk.base.sizes().subscribes,
        1,
        "the first name is not used any more"
    );
}

/// laps peering, "Via": a cache of what was seen in the last seconds, and bounded.
#[test]
fn a_via_hands_on_and_forgets() {
    let limits = Limits {
        max_seen: 50,
        ..Limits::default()
    };
    let mut desk = Desk::with(NodeType::Via, limits);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let video = track("a", "v");
    let adv = Message::SubscribeInfoAdvertise(subscription(2, &video, 1));
    assert_eq!(infos(&desk.hear(2, adv.clone())), [(3, true, 1), (4, true, 1)]);
    assert_eq!(infos(&desk.hear(3, adv)), []);
    let what = |name: usize| {
        Published::Track(FullTrackName::new(namespace("b"), Bytes::from(name.to_string())).unwrap())
    };
    for name in 0..200 {
        let publish = Message::PublishInfoAdvertise(PublishInfo::new(id(2), what(name)));
        desk.hear_stamped(
            2,
            publish,
            Stamp {
                epoch: 9,
                sequence: Sequence(1),
            },
        );
    }
    let sizes = desk.base.sizes();
    assert_eq!((sizes.remembered, sizes.publishes, sizes.subscribes), (50, 0, 0));
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.base.sizes().remembered, 0);
    let command = Command::Publish(what(0));
    assert_eq!(desk.base.command(desk.now, command), Err(CommandError::NotOnAVia));
}

/// A real laps relay: no number with a publication, and a withdrawal with the number of what it withdraws.
#[test]
fn what_a_laps_relay_says_counts_in_its_order() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, Kin::Laps, 1);
    desk.link(3, EDGE, OURS, 1);
    let publish = PublishInfo::new(id(2), Published::Namespace(namespace("a")));
    let adv = Message::PublishInfoAdvertise(publish.clone());
    let wd = Message::PublishInfoWithdraw(publish);
    assert_eq!(infos(&desk.hear(2, adv.clone())), [(3, true, 1)]);
    assert_eq!(
        infos(&desk.hear(2, adv.clone())),
        [],
        "laps tells everything twice"
    );
    assert_eq!(infos(&desk.hear(2, wd.clone())), [(3, false, 2)]);
    assert_eq!(infos(&desk.hear(2, adv)), [(3, true, 3)]);
    assert_eq!(infos(&desk.hear(2, wd)), [(3, false, 4)]);
    let track = track("a", "v");
    for round in [1, 3, 5] {
        let adv = Message::SubscribeInfoAdvertise(subscription(2, &track, 1));
        assert_eq!(infos(&desk.hear(2, adv)), [(3, true, round)]);
        let wd = Message::SubscribeInfoWithdraw(subscription(2, &track, 1));
        assert_eq!(infos(&desk.hear(2, wd)), [(3, false, round + 1)]);
    }
    // Another laps relay that gets other numbers changes nothing.
    desk.link(4, EDGE, Kin::Laps, 1);
    desk.hear(2, Message::SubscribeInfoAdvertise(subscription(2, &track, 9)));
    assert_eq!(
        infos(&desk.hear(4, Message::SubscribeInfoAdvertise(subscription(2, &track, 10)))),
        []
    );
}

#[test]
fn which_statement_counts() {
    let mut ledger = ledger::Ledger::<Bytes>::default();
    let said = |epoch, sequence, alive, from, how| Said {
        stamp: Some(Stamp {
            epoch,
            sequence: Sequence(sequence),
        }),
        alive,
        from: LinkId(from),
        how,
    };
    let key = InfoKey::FIRST;
    let first = said(0, 5, true, 1, How::Stamped);
    ledger.enter(id(2), key, &first, first.stamp.unwrap(), Bytes::new(), 0);
    let known = ledger.get(id(2), key);
    let new = |epoch, sequence| {
        Verdict::New(Stamp {
            epoch,
            sequence: Sequence(sequence),
        })
    };
    for (case, via_is_up, expected) in [
        (said(0, 5, true, 2, How::Stamped), true, Verdict::Known),
        (said(0, 4, true, 2, How::Stamped), true, Verdict::Old),
        (said(0, 6, true, 2, How::Stamped), true, new(0, 6)),
        (said(0, 5, false, 2, How::Stamped), true, new(0, 5)),
        (said(0, 4, false, 2, How::Stamped), true, Verdict::Old),
        (said(0, 4, false, 1, How::Stamped), true, new(0, 5)),
        (said(0, 4, false, 2, How::InOrder), true, Verdict::Old),
        (said(0, 4, false, 2, How::InOrder), false, new(0, 6)),
        (said(0, 4, false, 1, How::InOrder), true, new(0, 6)),
        (said(0, 4, false, 2, How::InOrderByOrigin), true, new(0, 6)),
        (said(0, 9, false, 2, How::InOrder), true, new(0, 9)),
        (said(0, 9, true, 2, How::InOrder), true, Verdict::Known),
        (said(3, 1, true, 2, How::Origin), true, new(3, 1)),
        (said(0, 5, true, 2, How::Origin), true, Verdict::Known),
    ] {
        assert_eq!(
            judge(known, via_is_up, true, &case),
            expected,
            "{case:?} {via_is_up}"
        );
    }
    let nothing: Option<&ledger::Record<Bytes>> = None;
    assert_eq!(judge(nothing, true, true, &first), new(0, 5));
}

/// Issue 6, "Links": strict peers stay strict beside laps relays. What one of those says of a node of ours counts when no way of
/// ours leads there any more, and then the last that it said, be it that it was said before.
#[test]
fn a_laps_relay_does_not_overrule_a_node_of_ours() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, Kin::Laps, 1);
    desk.link(6, EDGE, OURS, 1);
    desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(5, 1), (2, 1)])));
    // A shorter way, over who proves nothing.
    let by_laps = Message::NodeInfoAdvertise(far(4, &[(4, 1)]));
    desk.hear(3, by_laps.clone());
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(2)));
    assert_eq!(desk.base.control_link(id(4)), Some(LinkId(2)));
    let (kept, gone, other) = (track("a", "kept"), track("a", "gone"), track("a", "other"));
    let stamp = |sequence| Stamp {
        epoch: 8,
        sequence: Sequence(sequence),
    };
    for (track, sequence) in [(&kept, 1), (&gone, 2)] {
        let out = desk.hear_stamped(
            2,
            Message::SubscribeInfoAdvertise(subscription(4, track, sequence)),
            stamp(sequence),
        );
        assert_eq!(infos(&out), [(3, true, sequence), (6, true, sequence)]);
    }
    let known = |desk: &Desk, track: &FullTrackName| {
        let key = InfoKey::subscription(TrackHash::of(track).full);
        let record = desk.base.subscribes.ledger.get(id(4), key);
        record.is_some_and(|record| record.alive)
    };
    // Newer by its number, and of what nobody knows.
    let withdraws = |track, sequence| Message::SubscribeInfoWithdraw(subscription(4, track, sequence));
    let wants = |track, sequence| Message::SubscribeInfoAdvertise(subscription(4, track, sequence));
    for message in [
        withdraws(&kept, 99),
        wants(&kept, 100),
        withdraws(&gone, 101),
        wants(&other, 102),
    ] {
        assert_eq!(desk.hear(3, message), []);
    }
    assert_eq!(
        [&kept, &gone, &other].map(|track| known(&desk, track)),
        [true, true, false]
    );
    assert_eq!(desk.base.counters().overruled, 4);
    // The way of ours is lost: what it said last, and the node did not, may have been lost with it.
    let out = desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(5, 1), (2, 1)])));
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(3)));
    let mut told = infos(&out);
    told.sort_unstable();
    assert_eq!(
        told,
        [(2, false, 101), (2, true, 102), (6, false, 101), (6, true, 102)]
    );
    assert_eq!(
        [&kept, &gone, &other].map(|track| known(&desk, track)),
        [true, false, true]
    );
}

/// Local users that were started anew say again what they want; the rest is over.
#[test]
fn what_is_not_said_again_is_over() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    let (stays, goes) = (track("a", "stays"), track("a", "goes"));
    let publish = |track: &FullTrackName| Command::Publish(Published::Track(track.clone()));
    desk.command(publish(&stays));
    desk.command(publish(&goes));
    desk.command(Command::BeginEpoch);
    assert_eq!(infos(&desk.command(publish(&stays))), []);
    assert_eq!(infos(&desk.pass(Duration::from_secs(4))), []);
    assert_eq!(infos(&desk.pass(Duration::from_secs(1))), [(2, false, 2)]);
}

/// What a link is told of all that there is waits for room on it, and so do changes; others do not wait with it.
#[test]
fn greetings_wait_for_room_and_others_do_not() {
    let mut desk = Desk::new(NodeType::Edge);
    for name in ["a", "b", "c"] {
        let track = track("moq", name);
        desk.command(Command::Publish(Published::Track(track)));
    }
    for link in [2, 3] {
        let up = LinkUp {
            node: info(u64::from(link), NodeType::Edge),
            mode: PeerMode::Both,
            kin: Kin::Laps,
            srtt_us: 0,
        };
        desk.base.link_up(desk.now, LinkId(link), up);
    }
    let published = |output: &Output, to: u32| {
        let Output::Send { link, message, .. } = output else {
            return false;
        };
        *link == LinkId(to) && matches!(message, Message::PublishInfoAdvertise(_))
    };
    let drain = |desk: &mut Desk, closed: u32| -> Vec<Output> {
        std::iter::from_fn(|| desk.base.poll_output_where(|link| link != LinkId(closed))).collect()
    };
    let first = drain(&mut desk, 2);
    assert!(!first.iter().any(|output| published(output, 2)));
    assert_eq!(first.iter().filter(|output| published(output, 3)).count(), 3);
    let late = Command::Publish(Published::Track(track("moq", "late")));
    desk.base.command(desk.now, late).unwrap();
    let second = drain(&mut desk, 2);
    assert!(!second.iter().any(|output| published(output, 2)));
    assert_eq!(second.iter().filter(|output| published(output, 3)).count(), 1);
    let third = drain(&mut desk, 0);
    // The late one, and then all, among which it is by now.
    assert_eq!(third.iter().filter(|output| published(output, 2)).count(), 5);
}

/// Issue 6, "a peer that advertises a million nodes": what goes with a link goes in turns, each of them short, and whoever
/// comes back in between has lost all that was going.
#[test]
fn what_is_gone_goes_in_turns() {
    const EACH: usize = 5000;
    let names: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
    let publishes = |name: &String| {
        let what = Published::Namespace(namespace(name));
        Message::PublishInfoAdvertise(PublishInfo::new(id(40), what))
    };
    let full = || {
        let mut desk = Desk::new(EDGE);
        desk.link(2, EDGE, Kin::Laps, 1);
        desk.hear(2, Message::NodeInfoAdvertise(far(40, &[(2, 1)])));
        for name in &names {
            desk.hear(2, publishes(name));
            let info = subscription(40, &track(name, "t"), 1);
            desk.hear(2, Message::SubscribeInfoAdvertise(info));
        }
        desk.base.link_down(desk.now, LinkId(2));
        desk
    };
    let left = |desk: &mut Desk| {
        desk.drain();
        let sizes = desk.base.sizes();
        sizes.publishes + sizes.subscribes
    };
    let mut desk = full();
    let mut turns = vec![left(&mut desk)];
    while desk.base.poll_timeout().is_some_and(|at| at <= desk.now) {
        desk.base.handle_timeout(desk.now);
        turns.push(left(&mut desk));
    }
    let after = |turns: usize| 2 * EACH - turns * PURGED_AT_ONCE;
    assert_eq!(turns, [after(1), after(2), 0]);

    let mut desk = full();
    desk.link(3, EDGE, Kin::Laps, 1);
    desk.hear(3, publishes(&names[0]));
    desk.hear(3, Message::NodeInfoAdvertise(far(40, &[(3, 1)])));
    desk.hear(3, publishes(&names[1]));
    desk.pass(Duration::from_secs(60));
    let sizes = desk.base.sizes();
    assert_eq!((sizes.publishes, sizes.subscribes), (2, 0));
}
