//! A log within its budget tells readers what they missed and never shows them anything else.

use crate::live_edge::origin;
use crate::reader::{Reader, Seen, expected};
use crate::script::{datagrams, distinct};
use laps_protocol::relay::track_log::{
    Append, CHUNK_OVERHEAD, GROUP_OVERHEAD, Limits, OBJECT_OVERHEAD, RANGE_OVERHEAD, SUBGROUP_OVERHEAD,
    StreamEnd, TrackLog,
};
use proptest::prelude::*;
use std::time::Duration;

/// The most that one chunk can add.
fn most(chunk: &Append) -> usize {
    match chunk {
        Append::ObjectStarted { header, .. } => {
            GROUP_OVERHEAD + SUBGROUP_OVERHEAD + OBJECT_OVERHEAD + RANGE_OVERHEAD + header.extensions.len()
        }
        Append::Payload { bytes, .. } => CHUNK_OVERHEAD + bytes.len(),
        Append::Datagram(datagram) => {
            GROUP_OVERHEAD + OBJECT_OVERHEAD + RANGE_OVERHEAD + datagram.payload.len()
        }
        // Taking an object back that was cut short may leave a gap.
        Append::SubgroupClosed { .. } => RANGE_OVERHEAD,
        Append::SubgroupOpened { .. } | Append::Missing { .. } => 0,
    }
}

/// The state of the newest group itself is never evicted for its size; no script has more than 40 objects.
const FLOOR: usize = GROUP_OVERHEAD + 40 * RANGE_OVERHEAD;

/// What a reader has is the beginning of what it should have.
fn is_beginning(seen: &Seen, whole: &Seen) -> bool {
    let Some((last, before)) = seen.objects.split_last() else {
        return true;
    };
    whole.objects.starts_with(before)
        && whole.objects.get(before.len()).is_some_and(|object| {
            (object.id, &object.extensions, object.len) == (last.id, &last.extensions, last.len)
                && object.payload.starts_with(&last.payload)
        })
}

proptest! {
    /// MOQT-14 §8.1 [D14-CACHE-6], §10.4.3 [D14-CLOSE-1], §12 [D14-LIM-4] [D14-LIM-7]
    #[test]
    fn slow_readers_are_told(
        script in distinct(),
        attach in prop::collection::vec(0usize..120, 1..4),
        budgets in prop::collection::vec(0usize..5, 1..40),
        seconds in prop::collection::vec(0u64..30, 1..20),
        max_bytes in FLOOR..8000,
        max_groups in 0usize..4,
    ) {
        let mut now = origin();
        let limits = Limits { max_bytes, max_groups, max_age: Duration::from_secs(60), ..Limits::default() };
        let mut log = TrackLog::new(limits);
        let mut readers: Vec<Reader> = Vec::new();
        let (mut budgets, mut seconds) = (budgets.iter().copied().cycle(), seconds.iter().copied().cycle());
        for (i, chunk) in script.iter().enumerate() {
            for _ in attach.iter().filter(|&&at| at == i) {
                readers.push(Reader::attach(&log, i));
            }
            log.append(now, chunk.clone());
            prop_assert!(log.bytes() <= max_bytes + most(chunk), "{} after {:?}", log.bytes(), chunk);
            for reader in &mut readers {
                reader.poll(&log, budgets.next().unwrap());
            }
            now += Duration::from_secs(seconds.next().unwrap());
            if log.next_eviction().is_some_and(|at| at <= now) {
                let before = log.bytes();
                let freed = log.evict(now);
                prop_assert_eq!(before - freed.bytes, log.bytes());
                prop_assert!(log.next_eviction().is_none_or(|at| at > now));
                prop_assert!(log.bytes() <= max_bytes);
            }
        }
        for reader in &mut readers {
            reader.drain(&log);
            let whole = expected(&script, reader.attached);
            for (seen, evicted) in reader.outcomes() {
                let whole = whole.iter().find(|whole| whole.place == seen.place).unwrap();
                prop_assert!(is_beginning(seen, whole), "{:?}\nis not how this begins: {:?}", seen, whole);
                if !evicted {
                    prop_assert_eq!(seen, whole);
                }
            }
        }
        // Everything goes in the end, and the count returns to nothing.
        for chunk in &script {
            if let Append::SubgroupOpened { stream, .. } = chunk {
                let end = StreamEnd::Fin;
                log.append(now, Append::SubgroupClosed { stream: *stream, end });
            }
        }
        log.evict(now + Duration::from_secs(600));
        prop_assert_eq!(log.bytes(), 0);
        prop_assert_eq!(log.next_eviction(), None);
    }

    #[test]
    fn datagrams_are_skipped_or_delivered(script in datagrams(), max_bytes in FLOOR..8000) {
        let now = origin();
        let mut log = TrackLog::new(Limits { max_bytes, ..Limits::default() });
        let mut reader = Reader::attach(&log, 0);
        let mut stored = 0;
        for (i, chunk) in script.iter().enumerate() {
            stored += u64::from(log.append(now, chunk.clone()).wakes());
            prop_assert!(log.bytes() <= max_bytes + most(chunk));
            reader.poll(&log, i % 2);
        }
        reader.drain(&log);
        prop_assert_eq!(reader.datagrams.len() as u64 + reader.lagged, stored);
    }
}
