//! Links that have no room for what they are to be told.

use super::*;

/// What is said to link 2 while that has no room, and to nobody else; then all that it is told when it has.
struct Slow(Desk);

impl Slow {
    /// An edge with a neighbour that takes its time, and another one that tells of much.
    fn new(limits: Limits) -> Self {
        let mut desk = Desk::with(EDGE, limits);
        desk.link(2, EDGE, OURS, 1);
        desk.link(3, EDGE, OURS, 1);
        Self(desk)
    }

    fn hear(&mut self, message: Message, sequence: u16) -> Vec<Output> {
        let stamp = Stamp {
            epoch: 9,
            sequence: Sequence(sequence),
        };
        let now = self.0.now;
        self.0.base.handle_message(now, LinkId(3), message, stamp);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let has_room = |link| link != LinkId(2);
        std::iter::from_fn(|| self.0.base.poll_output_where(has_room)).collect()
    }

    fn node(&mut self, low: u64, ms: u64) -> Vec<Output> {
        self.hear(Message::NodeInfoAdvertise(far(low, &[(30, ms), (3, 1)])), 0)
    }

    fn node_gone(&mut self, low: u64) {
        self.hear(Message::NodeInfoWithdraw(far(low, &[])), 0);
    }

    fn publishes(&mut self, low: u64, name: &str, sequence: u16) {
        let info = PublishInfo::new(id(low), Published::Namespace(namespace(name)));
        self.hear(Message::PublishInfoAdvertise(info), sequence);
    }

    fn unpublishes(&mut self, low: u64, name: &str, sequence: u16) {
        let info = PublishInfo::new(id(low), Published::Namespace(namespace(name)));
        self.hear(Message::PublishInfoWithdraw(info), sequence);
    }

    /// In short, as far as nodes and infos go.
    fn told(&mut self) -> Vec<String> {
        let said = |output: &Output| {
            let Output::Send { link, message, .. } = output else {
                return None;
            };
            assert_eq!(*link, LinkId(2));
            let low = |node: NodeId| node.0 & 0xffff;
            let name = |what: &Published| match what {
                Published::Namespace(name) => name.to_string(),
                Published::Track(track) => track.to_string(),
            };
            match message {
                Message::NodeInfoAdvertise(info) => {
                    Some(format!("+{} {}", low(info.id), info.sum_srtt() / 1000))
                }
                Message::NodeInfoWithdraw(info) => Some(format!("-{}", low(info.id))),
                Message::PublishInfoAdvertise(info) => {
                    Some(format!("+{}:{}", low(info.source), name(&info.what)))
                }
                Message::PublishInfoWithdraw(info) => {
                    Some(format!("-{}:{}", low(info.source), name(&info.what)))
                }
                other => panic!("{other:?}"),
            }
        };
        let told = self.0.drain();
        assert_eq!(self.0.base.sizes().held, 0);
        told.iter().filter_map(said).collect()
    }
}

/// Issue 6, "nothing else suffers": who tells much, and fast, does not cost another neighbour its link. That one is told in
/// order, and of each thing the newest.
#[test]
fn what_waits_is_told_in_order_and_of_each_thing_the_newest() {
    let mut slow = Slow::new(Limits::default());
    let told = |output: &Output| matches!(output, Output::Send { link: LinkId(2), .. });
    assert!(!slow.node(40, 5).iter().any(told));
    slow.publishes(40, "a", 1);
    slow.node(41, 5);
    for sequence in (2..100).step_by(2) {
        slow.unpublishes(40, "a", sequence);
        slow.publishes(40, "a", sequence + 1);
    }
    slow.publishes(40, "b", 101);
    assert!(slow.0.base.sizes().held <= 5, "{:?}", slow.0.base.sizes());
    let all = slow.told();
    let place = |what: &str| all.iter().position(|said| said.starts_with(what));
    assert!(
        place("+40 ") < place("+40:a") && place("-40:a") < place("+40:a"),
        "{all:?}"
    );
    assert!(
        place("+40:a") < place("+40:b") && place("+41 ").is_some(),
        "{all:?}"
    );
    assert_eq!(all.len(), 5, "{all:?}");
}

/// laps peering, "Node Information Withdraw Message": of a node that has gone before its neighbour heard of it, nothing is
/// told that the node had.
#[test]
fn who_came_and_went_leaves_nothing_behind() {
    let mut slow = Slow::new(Limits::default());
    // As often as a node may come back in the interval.
    for round in 0..3 {
        slow.node(40, 5);
        slow.publishes(40, "a", 2 * round + 1);
        slow.node_gone(40);
    }
    assert_eq!(slow.told(), ["-40"]);
    slow.0.pass(Settings::default().node_advert_interval);
    slow.node(40, 5);
    assert_eq!(slow.told(), ["+40 7"]);
}

/// Who takes nothing at all is let go of, and only then.
#[test]
fn what_waits_is_bounded() {
    let limits = Limits {
        max_held: 10,
        ..Limits::default()
    };
    let mut slow = Slow::new(limits);
    let ends = |out: &[Output]| {
        let end = |output: &Output| match output {
            Output::EndLink { link, reason } => Some((*link, *reason)),
            _ => None,
        };
        out.iter().find_map(end)
    };
    for low in 40..50 {
        let out = slow.node(low, 5);
        assert_eq!(ends(&out), None);
    }
    let out = slow.node(50, 5);
    assert_eq!(ends(&out), Some((LinkId(2), RefuseReason::TooFarBehind)));
    let now = slow.0.now;
    slow.0.base.link_down(now, LinkId(2));
    slow.node(51, 5);
    assert_eq!(slow.0.base.sizes().held, 0);
}

/// Issue 6, "a peer that advertises a million nodes": when their ways get longer, or when it is time to say so, they are looked
/// at in turns, each of them short.
#[test]
fn many_nodes_are_looked_at_in_turns() {
    const MANY: u64 = 2000;
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    for low in 100..100 + MANY {
        desk.hear(3, Message::NodeInfoAdvertise(far(low, &[(3, 1)])));
    }
    desk.pass(Duration::from_secs(10));
    // Those and link 3's own node, to link 2.
    let all = usize::try_from(MANY).unwrap() + 1;
    let turns = |desk: &mut Desk| {
        let mut turns = vec![nodes(&desk.drain()).len()];
        while desk.base.poll_timeout().is_some_and(|at| at <= desk.now) {
            desk.base.handle_timeout(desk.now);
            turns.push(nodes(&desk.drain()).len());
        }
        assert!(turns.iter().all(|told| *told <= 512), "{turns:?}");
        turns.iter().sum::<usize>()
    };
    desk.base.link_srtt(desk.now, LinkId(3), 50_000);
    assert_eq!(turns(&mut desk), all);
    // Twice in one interval: the second time is told later.
    desk.base.link_srtt(desk.now, LinkId(3), 90_000);
    assert_eq!(turns(&mut desk), 0);
    desk.now += Settings::default().node_advert_interval;
    assert_eq!(turns(&mut desk), all);
}
