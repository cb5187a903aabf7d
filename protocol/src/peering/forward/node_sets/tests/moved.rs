//! Sets of peers whose control streams were replaced.

use super::*;

/// The sets that are taken back now, by link and id.
fn taken_back(relay: &mut Relay, ms: u64) -> Vec<(u32, u32)> {
    relay.now += Duration::from_millis(ms);
    let unsaid = relay.sets.take_unsaid(relay.now);
    for (link, sns) in &unsaid {
        relay.sets.withdrawn(*link, *sns, relay.now);
    }
    unsaid
        .into_iter()
        .map(|(link, sns)| (link.0, sns.get()))
        .collect()
}

fn moved(relay: &mut Relay, link: u32) {
    relay.sets.control_moved(LinkId(link), relay.now);
}

/// laps peering, "Sending/Receiving Control Messages": a withdrawal that was under way on the old stream is lost, and all is
/// told again on the new one, but for what was withdrawn.
#[test]
fn a_withdrawal_that_was_lost_is_made_up_for() {
    let mut relay = Relay::edge(&[(2, &[2])]);
    for (link, id) in [(1, 7), (1, 8), (1, 9), (3, 7)] {
        relay.told(link, id, &[2]);
    }
    relay.withdrawn(1, 9);
    relay.drain();
    relay.now += Duration::from_secs(1);
    moved(&mut relay, 1);
    relay.told(1, 8, &[2]);
    assert_eq!(relay.drain(), NOTHING);
    // As long again, since it has told some meanwhile.
    assert_eq!(taken_back(&mut relay, 10_000), []);
    assert_eq!(relay.drain(), ["end L1:9", "withdraw L2:3"]);
    let due = relay.now + Duration::from_secs(10);
    assert_eq!(relay.sets.poll_timeout(), Some(due));
    assert_eq!(taken_back(&mut relay, 9_999), []);
    assert_eq!(taken_back(&mut relay, 1), [(1, 7)]);
    assert_eq!(relay.drain(), NOTHING, "its last streams may be on their way");
    assert_eq!(relay.after(10_000), ["end L1:7", "withdraw L2:1"]);
    assert!(relay.sets.leads_on());
    assert_eq!(taken_back(&mut relay, 100_000), []);
    assert_eq!(relay.sets.sources().count(), 2);
    assert_eq!(relay.sets.poll_timeout(), None);
}

/// A slow link takes its time to tell many sets again; and one that moves twice begins anew.
#[test]
fn what_is_still_being_told_is_waited_for() {
    let mut relay = Relay::edge(&[(2, &[2])]);
    for id in 1..=5 {
        relay.told(1, id, &[2]);
    }
    relay.drain();
    moved(&mut relay, 1);
    for id in 1..=4 {
        relay.told(1, id, &[2]);
        assert_eq!(taken_back(&mut relay, 10_000), []);
    }
    moved(&mut relay, 1);
    assert_eq!(taken_back(&mut relay, 9_999), []);
    relay.withdrawn(1, 5);
    let all = [(1, 1), (1, 2), (1, 3), (1, 4)];
    assert_eq!(taken_back(&mut relay, 1), all);
}

/// What is said of other sets is no sign that the rest of these is still to come.
#[test]
fn new_sets_do_not_put_it_off() {
    let mut relay = Relay::edge(&[(2, &[2])]);
    for id in [1, 2] {
        relay.told(1, id, &[2]);
    }
    relay.drain();
    moved(&mut relay, 1);
    relay.told(1, 1, &[2]);
    assert_eq!(taken_back(&mut relay, 10_000), []);
    relay.told(1, 3, &[2]);
    relay.told(1, 1, &[2]);
    assert_eq!(taken_back(&mut relay, 10_000), [(1, 2)]);
}

/// Whether a laps relay tells its sets again is not known; a link that is gone has none.
#[test]
fn laps_relays_and_dead_links_are_not_waited_for() {
    let mut relay = Relay::edge(&[(2, &[2])]);
    relay.sets.link_up(LinkId(5), NodeId(5), true);
    relay.told(5, 7, &[2]);
    relay.told(1, 7, &[2]);
    relay.drain();
    moved(&mut relay, 5);
    moved(&mut relay, 1);
    relay.sets.link_down(LinkId(1));
    moved(&mut relay, 1);
    relay.drain();
    assert_eq!(relay.sets.poll_timeout(), None);
    assert_eq!(taken_back(&mut relay, 100_000), []);
}
