//! Whatever comes in whatever order, relays agree.

use super::*;

fn arrivals() -> impl Strategy<Value = Vec<(u32, u64, Path)>> {
    // Node ids of paths lie outside those of links and destinations.
    let path = prop::collection::vec((40_u64..60, 0_u64..4), 0..3);
    prop::collection::vec((2_u32..6, 10_u64..14, path), 1..24)
}

proptest! {
    /// Issue 6, "Selection and FIB": the same in the end whatever comes first. (Each neighbour's last word on a node
    /// counts, so what a neighbour says of one node stays in order.)
    #[test]
    fn the_order_of_arrival_does_not_matter(
        arrivals in arrivals(),
        seed in any::<u64>(),
        srtt in prop::array::uniform4(1_u64..4),
    ) {
        let mut last = BTreeMap::new();
        for (link, node, mut path) in arrivals {
            path.dedup_by_key(|item| item.0);
            path.retain(|item| item.0 % 4 == u64::from(link) % 4);
            path.sort_unstable();
            path.dedup_by_key(|item| item.0);
            path.push((u64::from(link), 1));
            last.insert((link, node), path);
        }
        let words: Vec<_> = last.into_iter().collect();
        let run = |order: &[usize]| {
            let mut desk = Desk::new(EDGE);
            // Links too come up in any order.
            for at in 0..4 {
                let link = 2 + (at + u32::try_from(order[0]).unwrap()) % 4;
                desk.link(link, EDGE, OURS, srtt[usize::try_from(link).unwrap() - 2]);
            }
            let mut told = BTreeMap::new();
            let mut tell = |out: Vec<Output>| {
                for (link, node, path) in nodes(&out) {
                    told.insert((link, node), path);
                }
            };
            for at in order {
                let ((link, node), path) = &words[*at];
                tell(desk.hear(*link, Message::NodeInfoAdvertise(far(*node, path))));
            }
            tell(desk.pass(Duration::from_secs(10)));
            told.retain(|(_, node), path| *node >= 10 && path.is_some());
            (desk.base.fib().clone(), told)
        };
        let straight: Vec<_> = (0..words.len()).collect();
        let mut mixed = straight.clone();
        let mut state = seed | 1;
        for at in (1..mixed.len()).rev() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            mixed.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        let (one, other) = (run(&straight), run(&mixed));
        prop_assert!(one.0 == other.0);
        prop_assert_eq!(one.1, other.1);
    }

    /// laps peering, "Subscribe Information": any order of a node's statements, each on any way, any number of times.
    #[test]
    fn the_last_statement_of_a_node_is_what_remains(
        count in 1_u16..20,
        order in prop::collection::vec((any::<prop::sample::Index>(), 2_u32..5), 0..60),
    ) {
        let mut desk = Desk::new(EDGE);
        for link in 2..5 {
            desk.link(link, EDGE, OURS, 1);
        }
        let video = track("a", "v");
        let say = |number: u16| {
            let info = SubscribeInfo { data: data(&video, number.to_be_bytes()[1]), ..subscription(4, &video, 65_530_u16.wrapping_add(number)) };
            if number % 3 == 2 { Message::SubscribeInfoWithdraw(info) } else { Message::SubscribeInfoAdvertise(info) }
        };
        let mut sent = 0;
        for (index, link) in order {
            let number = u16::try_from(index.index(usize::from(count))).unwrap();
            sent += infos(&desk.hear(link, say(number))).len();
        }
        sent += infos(&desk.hear(2, say(count - 1))).len();
        prop_assert_eq!(desk.base.sizes().subscribes, usize::from((count - 1) % 3 != 2));
        // One message to each other link for each statement at most.
        prop_assert!(sent <= usize::from(count) * 2);
    }
}
