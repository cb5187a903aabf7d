//! A replica shows its readers the same as the original from the moment of the snapshot on.

use crate::live_edge::origin;
use crate::reader::{Reader, Seen, expected};
use crate::script::{distinct, overlapping};
use laps_protocol::relay::track_log::{Append, Limits, TrackLog};
use proptest::prelude::*;

/// Feeds `script` to a home and, from chunk `at` on, to a replica; returns what the replica's reader saw that came
/// after `attach` chunks.
fn check(
    script: &[Append],
    at: usize,
    attach: usize,
    home_limits: Limits,
) -> Result<Vec<Seen>, TestCaseError> {
    let now = origin();
    let mut home = TrackLog::new(home_limits);
    let at = at.min(script.len());
    let attach = attach.clamp(at, script.len());
    for chunk in &script[..at] {
        home.append(now, chunk.clone());
    }
    let mut replica = TrackLog::replica(Limits::default());
    for chunk in home.snapshot() {
        replica.append(now, chunk);
    }
    if let Some(largest) = home.largest() {
        replica.seed_largest(largest);
    }
    let mut readers = None;
    for i in at..=script.len() {
        if i == attach {
            readers = Some((Reader::attach(&home, i), Reader::attach(&replica, i)));
        }
        // What the home evicted before the snapshot is unknown to the replica, for good.
        if home.stats().evicted_objects == 0 {
            prop_assert_eq!(home.largest(), replica.largest());
        }
        let Some(chunk) = script.get(i) else { break };
        if let Some(chunk) = home.append(now, chunk.clone()).for_replica(chunk.clone()) {
            replica.append(now, chunk);
        }
        if let Some((of_home, of_replica)) = &mut readers {
            of_home.poll(&home, i % 4);
            of_replica.poll(&replica, i % 3);
        }
    }
    let Some((mut of_home, mut of_replica)) = readers else {
        return Ok(Vec::new());
    };
    of_home.drain(&home);
    of_replica.drain(&replica);
    if home.stats().evicted_objects == 0 {
        prop_assert_eq!(of_home.seen(), of_replica.seen());
    }
    prop_assert_eq!(replica.stats().malformed, 0);
    Ok(of_replica.seen())
}

proptest! {
    #[test]
    fn one_source_per_subgroup(script in distinct(), at in 0usize..100, attach in 0usize..120) {
        check(&script, at, attach, Limits::default())?;
    }

    /// MOQT-14 §8.2 [D14-PUB-1]: the replica does not know what was ignored, and needs not.
    #[test]
    fn several_sources_per_subgroup(script in overlapping(), at in 0usize..100, attach in 0usize..120) {
        check(&script, at, attach, Limits::default())?;
    }

    #[test]
    fn a_home_that_evicts_feeds_its_replicas_on(script in distinct(), at in 0usize..100, max_bytes in 500usize..4000) {
        let limits = Limits { max_bytes, ..Limits::default() };
        let attach = at.min(script.len());
        let whole = expected(&script, attach);
        // Whatever the replica has of a subgroup is whole, although the home lost it long ago.
        for seen in check(&script, at, attach, limits)? {
            prop_assert!(whole.contains(&seen), "{:?}\nis none of {:?}", seen, whole);
        }
    }
}
