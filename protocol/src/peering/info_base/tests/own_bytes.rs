//! Bytes that a relay may say for itself and its stubs.

use super::*;

fn numbered(number: u32) -> FullTrackName {
    FullTrackName::new(namespace("live"), Bytes::from(format!("{number:04}"))).unwrap()
}

fn published(number: u32) -> Published {
    Published::Track(numbered(number))
}

/// The data of a subscription, the longer the larger the group that it wishes for.
fn wish(number: u32, group: u64) -> Bytes {
    let subscribe = laps_subscribe(numbered(number), 1, Some(group));
    encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap()
}

const SHORT: u64 = 1;
const LONG: u64 = 1 << 60;

fn stub_publishes(stub: u32, number: u32) -> Message {
    Message::PublishInfoAdvertise(PublishInfo::new(id(stub.into()), published(number)))
}

fn stub_subscribes(stub: u32, number: u32, group: u64) -> SubscribeInfo {
    SubscribeInfo {
        data: wish(number, group),
        ..subscription(stub.into(), &numbered(number), 1)
    }
}

fn subscribe(number: u32, group: u64) -> Command {
    Command::Subscribe {
        track: numbered(number),
        data: wish(number, group),
    }
}

/// An edge with stubs from 10 on, and another relay beside it that bounds the same.
struct Pair {
    edge: Desk,
    other: Desk,
}

impl Pair {
    fn new(bytes: usize) -> Self {
        let limits = Limits {
            max_info_bytes_of_node: bytes,
            ..Limits::default()
        };
        let mut edge = Desk::of(1, EDGE, limits);
        edge.link(2, EDGE, OURS, 1);
        let mut other = Desk::of(2, EDGE, limits);
        other.link(1, EDGE, OURS, 1);
        for stub in 10..20 {
            edge.link(stub, NodeType::Stub, OURS, 1);
        }
        Self { edge, other }
    }

    /// Whether the edge took what a stub said, or a local user.
    fn stub(&mut self, stub: u32, message: Message) -> bool {
        let before = self.edge.base.counters().over_limit;
        let out = self.edge.hear(stub, message);
        self.hand_on(out);
        self.edge.base.counters().over_limit == before
    }

    fn local(&mut self, command: Command) -> bool {
        let taken = self.edge.base.command(self.edge.now, command);
        let out = self.edge.drain();
        self.hand_on(out);
        assert!(matches!(taken, Ok(()) | Err(CommandError::TooMany)));
        taken.is_ok()
    }

    fn pass(&mut self, time: Duration) {
        let out = self.edge.pass(time);
        self.hand_on(out);
    }

    /// What the edge says is taken where it comes.
    fn hand_on(&mut self, out: Vec<Output>) {
        self.edge.base.own.check_shares();
        for output in out {
            let Output::Send {
                link: LinkId(2),
                message,
                stamp,
            } = output
            else {
                continue;
            };
            self.other.hear_stamped(1, message, stamp);
        }
        assert_eq!(self.other.base.counters().over_limit, 0);
        assert_eq!(self.other.base.held(id(1)), self.edge.base.own.digest);
    }
}

/// A stub that says long names has its share of the bytes that others keep of its edge, and all stubs together leave some to
/// local users: whatever is taken here arrives everywhere.
#[test]
fn stubs_leave_bytes_to_local_users() {
    let (name, data) = ("live0000".len(), wish(0, SHORT).len());
    let mut pair = Pair::new(8 * name * data);
    for stub in 10..20 {
        let numbers = stub * 100..stub * 100 + 100;
        let taken = |count| if stub < 16 { count } else { 0 };
        let publishes = numbers.clone().filter(|number| {
            let info = stub_publishes(stub, *number);
            pair.stub(stub, info)
        });
        assert_eq!(publishes.count(), taken(data));
        let subscribes = numbers.filter(|number| {
            let info = stub_subscribes(stub, *number, SHORT);
            pair.stub(stub, Message::SubscribeInfoAdvertise(info))
        });
        assert_eq!(subscribes.count(), taken(name));
    }
    let locals = (0..1000).filter(|number| pair.local(Command::Publish(published(*number))));
    assert_eq!(locals.count(), 2 * data);
    let locals = (0..1000).filter(|number| pair.local(subscribe(*number, SHORT)));
    assert_eq!(locals.count(), 2 * name);
}

/// Of what several want the longest counts, of which others may be told when the rest is over. Who changes what he says needs
/// room for what it is longer.
#[test]
fn a_change_needs_room_too() {
    let (short, long) = (wish(0, SHORT).len(), wish(0, LONG).len());
    assert!(short < long);
    let mut pair = Pair::new(8 * 2 * short);
    let says = |stub, number, group| Message::SubscribeInfoAdvertise(stub_subscribes(stub, number, group));
    let over = |stub, number| Message::SubscribeInfoWithdraw(stub_subscribes(stub, number, SHORT));
    assert!(pair.stub(10, says(10, 0, SHORT)) && pair.stub(10, says(10, 1, SHORT)));
    assert!(!pair.stub(10, says(10, 1, LONG)), "its share is two short ones");
    assert!(pair.stub(10, says(10, 1, SHORT)));
    // Up to twelve short ones of all stubs, and two of each.
    for stub in 11..16 {
        assert!(pair.stub(stub, says(stub, 0, SHORT)));
        assert!(pair.stub(stub, says(stub, stub, SHORT)));
    }
    let own = pair.edge.base.sizes().own;
    assert_eq!(own, 7);
    assert!(pair.stub(16, says(16, 0, LONG)), "one that is known grows");
    assert!(pair.local(subscribe(0, SHORT)), "and shrinks, as others have it");
    let room = 16 * short - (6 * short + long);
    let locals = (100..200).filter(|number| pair.local(subscribe(*number, LONG)));
    assert_eq!(locals.count(), room / long);
    // The long one is over, and nobody can be told of it.
    assert!(pair.stub(16, over(16, 0)) && pair.local(Command::Unsubscribe(numbered(0))));
    for number in 100..200 {
        pair.local(Command::Unsubscribe(numbered(number)));
    }
    pair.pass(Settings::default().unsubscribe_hold);
    let locals = (200..300).filter(|number| pair.local(subscribe(*number, SHORT)));
    assert_eq!(locals.count(), 16 - 7);
}

proptest! {
    /// Whoever says what, changes it and lets it go: the count stays right, and whatever is taken arrives.
    #[test]
    fn bytes_are_counted_right(
        steps in prop::collection::vec((9_u32..13, 0_u32..4, 0_u8..6, prop::sample::select(vec![SHORT, 1 << 10, LONG])), 0..80),
    ) {
        let mut pair = Pair::new(8 * 2 * wish(0, LONG).len());
        for (who, number, what, group) in steps {
            let local = who == 9;
            match what {
                0 | 1 if local => { pair.local(subscribe(number, group)); }
                2 if local => { pair.local(Command::Unsubscribe(numbered(number))); }
                3 if local => { pair.local(Command::Publish(published(number))); }
                4 if local => { pair.local(Command::Unpublish(published(number))); }
                0 | 1 => {
                    let info = stub_subscribes(who, number, group);
                    pair.stub(who, Message::SubscribeInfoAdvertise(info));
                }
                2 => {
                    let info = stub_subscribes(who, number, group);
                    pair.stub(who, Message::SubscribeInfoWithdraw(info));
                }
                3 => { pair.stub(who, stub_publishes(who, number)); }
                4 => {
                    let info = PublishInfo::new(id(who.into()), published(number));
                    pair.stub(who, Message::PublishInfoWithdraw(info));
                }
                _ if number == 0 && !local => {
                    pair.edge.base.link_down(pair.edge.now, LinkId(who));
                    let out = pair.edge.drain();
                    pair.hand_on(out);
                    pair.edge.link(who, NodeType::Stub, OURS, 1);
                }
                _ => pair.pass(Duration::from_secs(4)),
            }
        }
        for stub in 10..13 {
            pair.edge.base.link_down(pair.edge.now, LinkId(stub));
        }
        pair.edge.base.command(pair.edge.now, Command::BeginEpoch).unwrap();
        pair.pass(Duration::from_secs(120));
        prop_assert_eq!(pair.edge.base.sizes().own, 0);
        pair.edge.base.own.check_shares();
    }
}
