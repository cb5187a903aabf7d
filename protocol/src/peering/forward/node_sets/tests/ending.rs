//! Sets that are over, and what is still on its way.

use super::*;
use crate::relay::draining::Progress;

/// Data of a set that is over may wait for a slow link: peers further on are to know the set until it is there. One that stands
/// still, or moves by a byte at a time, is not waited for, and neither is one of which nothing is open.
#[test]
fn a_set_that_is_over_is_kept_while_its_data_moves() {
    let mut relay = Relay::edge(&[(2, &[2])]);
    for id in [7, 8, 9] {
        relay.told(1, id, &[2]);
    }
    relay.drain();
    for id in [7, 8, 9] {
        relay.withdrawn(1, id);
    }
    let at = |taken, open| Progress { taken, open };
    let mut looked = 0;
    let mut looks = |relay: &mut Relay, progress: &dyn Fn(u64) -> [Progress; 3]| {
        relay.now += Duration::from_secs(10);
        assert_eq!(relay.sets.poll_timeout(), Some(relay.now));
        looked += 1;
        for (link, id) in relay.sets.ending(relay.now) {
            let now = progress(looked)[usize::try_from(id.get() - 7).unwrap()];
            relay.sets.still_carries(link, id, now, relay.now);
        }
        relay.drain()
    };
    let each = |look| [at(look * 1000, 3), at(500, 1), at(500, 0)];
    assert_eq!(looks(&mut relay, &each), ["end L1:9", "withdraw L2:3"]);
    assert_eq!(looks(&mut relay, &each), ["end L1:8", "withdraw L2:2"]);
    for _ in 2..30 {
        assert_eq!(looks(&mut relay, &each), NOTHING);
    }
    assert_eq!(looks(&mut relay, &each), ["end L1:7", "withdraw L2:1"]);
    assert_eq!(
        (relay.sets.ending(relay.now).len(), relay.sets.poll_timeout()),
        (0, None)
    );
}
