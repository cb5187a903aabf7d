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

/// The number of the one question to node 2.
fn asked(out: &[Output]) -> u8 {
    let numbers = out.iter().filter_map(|output| match output {
        Output::ToNode {
            node,
            message: NodeMessage::Pull { number, .. },
        } if *node == id(2) => Some(*number),
        _ => None,
    });
    let numbers: Vec<_> = numbers.collect();
    assert_eq!(numbers.len(), 1);
    numbers[0]
}
