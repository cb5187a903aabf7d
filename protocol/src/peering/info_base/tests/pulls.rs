//! Questions that are asked again.

use super::*;

/// What is left of the answer to a first question does not make up for what is lost of that to the second: nothing that a node
/// has is taken for gone. A relay that does not number its answers is believed as before.
#[test]
fn the_rest_of_an_older_answer_is_not_counted() {
    let names = ["a", "b", "c"].map(|name| track("live", name));
    let stamp = Stamp {
        epoch: 9,
        sequence: Sequence(1),
    };
    for numbered in [true, false] {
        let mut desk = Desk::new(EDGE);
        let first = asked(&desk.link(2, EDGE, OURS, 1));
        for name in &names {
            let message = Message::SubscribeInfoAdvertise(subscription(2, name, 1));
            desk.hear_stamped(2, message, stamp);
        }
        let second = asked(&desk.pass(Settings::default().pull_retry));
        assert_ne!(first, second);
        let number = |number| if numbered { number } else { 0 };
        let info = |answer, name: &FullTrackName| NodeMessage::Info {
            from: id(2),
            number: number(answer),
            message: Message::SubscribeInfoAdvertise(subscription(2, name, 1)),
            stamp,
        };
        let [a, b, _] = &names;
        for message in [
            info(first, a),
            info(first, b),
            info(second, a),
            NodeMessage::PullEnd {
                from: id(2),
                number: number(second),
                sent: 3,
                digest: Digest::default(),
                whole: true,
            },
        ] {
            desk.base.handle_node_message(desk.now, message);
        }
        let known = if numbered { 3 } else { 2 };
        assert_eq!(desk.base.sizes().subscribes, known);
    }
}

/// What is left of the answer to a first question is as old as that: what was withdrawn since stays so, whether the second
/// one is still under way or answered. A relay that does not number its answers is believed as before.
#[test]
fn the_rest_of_an_older_answer_brings_nothing_back() {
    let video = track("live", "a");
    let stamp = |sequence| Stamp {
        epoch: 9,
        sequence: Sequence(sequence),
    };
    for (numbered, answered) in [(true, false), (true, true), (false, false)] {
        let mut desk = Desk::new(EDGE);
        let first = asked(&desk.link(2, EDGE, OURS, 1));
        let gone = Message::SubscribeInfoWithdraw(subscription(2, &video, 2));
        desk.hear_stamped(2, gone, stamp(2));
        let second = asked(&desk.pass(Settings::default().pull_retry));
        let number = |number| if numbered { number } else { 0 };
        let rest = NodeMessage::Info {
            from: id(2),
            number: number(first),
            message: Message::SubscribeInfoAdvertise(subscription(2, &video, 1)),
            stamp: stamp(1),
        };
        let end = NodeMessage::PullEnd {
            from: id(2),
            number: number(second),
            sent: 0,
            digest: Digest::default(),
            whole: true,
        };
        let both = if answered { [end, rest] } else { [rest, end] };
        for message in both {
            desk.base.handle_node_message(desk.now, message);
        }
        assert_eq!(desk.base.sizes().subscribes, usize::from(!numbered));
        // What it says of something else counts.
        let other = track("live", "b");
        let rest = NodeMessage::Info {
            from: id(2),
            number: number(first),
            message: Message::SubscribeInfoAdvertise(subscription(2, &other, 1)),
            stamp: stamp(1),
        };
        desk.base.handle_node_message(desk.now, rest);
        assert_eq!(desk.base.sizes().subscribes, 1 + usize::from(!numbered));
    }
}

/// Who gets an answer that takes long, and never falls silent in it, gets all of it, and asks again only after silence.
#[test]
fn a_long_answer_is_heard_to_its_end() {
    let mut desk = Desk::new(EDGE);
    let number = asked(&desk.link(2, EDGE, OURS, 1));
    let stamp = Stamp {
        epoch: 9,
        sequence: Sequence(1),
    };
    let hear = |desk: &mut Desk, name: u32| {
        let name = FullTrackName::new(namespace("live"), Bytes::from(name.to_string())).unwrap();
        let message = NodeMessage::Info {
            from: id(2),
            number,
            message: Message::SubscribeInfoAdvertise(subscription(2, &name, 1)),
            stamp,
        };
        desk.base.handle_node_message(desk.now, message);
        desk.drain();
    };
    let retry = Settings::default().pull_retry;
    // Longer than the longest time between two questions.
    for name in 0..100 {
        assert_eq!(questions(&desk.pass(retry * 3 / 4)), [], "{name}");
        hear(&mut desk, name);
    }
    let end = |sent| NodeMessage::PullEnd {
        from: id(2),
        number,
        sent,
        digest: Digest::default(),
        whole: true,
    };
    // One of it was lost, and nothing more comes.
    desk.base.handle_node_message(desk.now, end(101));
    assert_eq!(questions(&desk.pass(retry * 3 / 4)), []);
    hear(&mut desk, 100);
    desk.base.handle_node_message(desk.now, end(101));
    assert_eq!(questions(&desk.pass(Duration::from_secs(600))), []);
    assert_eq!(desk.base.sizes().subscribes, 101);
}

/// Where the rest of an answer is lost, it is asked again after the time that a first question has.
#[test]
fn silence_in_an_answer_asks_again() {
    let mut desk = Desk::new(EDGE);
    let number = asked(&desk.link(2, EDGE, OURS, 1));
    let retry = Settings::default().pull_retry;
    desk.pass(retry / 2);
    let message = NodeMessage::Info {
        from: id(2),
        number,
        message: Message::SubscribeInfoAdvertise(subscription(2, &track("live", "a"), 1)),
        stamp: Stamp::of_life(9),
    };
    desk.base.handle_node_message(desk.now, message);
    assert_eq!(questions(&desk.pass(retry - Duration::from_millis(1))), []);
    let again = asked(&desk.pass(Duration::from_millis(1)));
    assert_ne!(number, again);
}

/// The number of the one question to node 2.
fn asked(out: &[Output]) -> u8 {
    let numbers = questions(out);
    assert_eq!(numbers.len(), 1);
    numbers[0]
}

/// The numbers of all questions to node 2.
fn questions(out: &[Output]) -> Vec<u8> {
    let numbers = out.iter().filter_map(|output| match output {
        Output::ToNode {
            node,
            message: NodeMessage::Pull { number, .. },
        } if *node == id(2) => Some(*number),
        _ => None,
    });
    numbers.collect()
}
