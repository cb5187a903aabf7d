//! A reader sees exactly what begins after it came, byte for byte, and FIN only where the source finished.

use crate::reader::{Reader, expected};
use crate::script::{datagrams, distinct, overlapping};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::track_log::{Append, Appended, Limits, StreamEnd, TrackLog};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

proptest! {
    /// MOQT-14 §9.7 [D14-SUB-4] [D14-SUB-6], §10.4.3 [D14-CLOSE-1] [D14-CLOSE-4], §8.5 [D14-DATA-22]
    #[test]
    fn readers_see_what_comes_after_them(
        script in distinct(),
        attach in prop::collection::vec(0usize..120, 1..4),
        budgets in prop::collection::vec(0usize..5, 1..40),
    ) {
        let now = origin();
        let mut log = TrackLog::new(Limits::default());
        let mut readers: Vec<Reader> = Vec::new();
        let mut budgets = budgets.iter().copied().cycle();
        let (mut largest, mut groups) = (None, std::collections::BTreeMap::new());
        for i in 0..=script.len() {
            for _ in attach.iter().filter(|&&at| at.min(script.len()) == i) {
                readers.push(Reader::attach(&log, i));
            }
            let Some(chunk) = script.get(i) else { break };
            if let Append::SubgroupOpened { stream, group, .. } = chunk {
                groups.insert(*stream, *group);
            }
            if let Append::ObjectStarted { stream, header } = chunk {
                largest = largest.max(Some(Location::new(groups[stream], header.id)));
            }
            let answer = log.append(now, chunk.clone());
            prop_assert!(
                matches!(answer, Appended::Advanced | Appended::Noted | Appended::Closed(_)),
                "{:?} {:?}", chunk, answer
            );
            prop_assert_eq!(log.largest(), largest);
            for reader in &mut readers {
                reader.poll(&log, budgets.next().unwrap());
            }
        }
        for reader in &mut readers {
            reader.drain(&log);
            prop_assert_eq!(reader.seen(), expected(&script, reader.attached));
            prop_assert_eq!(reader.lagged, 0);
        }
    }

    /// MOQT-14 §8.2 [D14-PUB-1], §10.4.3 [D14-CLOSE-1]
    #[test]
    fn several_sources_never_deliver_a_whole_object_twice_nor_fin_over_a_gap(script in overlapping()) {
        let now = origin();
        let mut log = TrackLog::new(Limits::default());
        let mut reader = Reader::attach(&log, 0);
        for chunk in &script {
            log.append(now, chunk.clone());
            reader.poll(&log, 3);
        }
        reader.drain(&log);
        let (mut whole, mut finished) = (BTreeSet::new(), BTreeSet::new());
        for seen in reader.seen() {
            for object in &seen.objects {
                // An entry may go on with what a later one was cut in.
                if object.payload.len() as u64 == object.len {
                    prop_assert!(whole.insert((seen.place.0, object.id)), "{:?} twice", object.id);
                }
            }
            if seen.end == Some(StreamEnd::Fin) {
                prop_assert!(finished.insert(seen.place), "finished twice");
                // Sources give every second id to a subgroup, so what lies between its first and last is known.
                let ids: Vec<u64> = whole.iter().filter(|id| id.0 == seen.place.0 && id.1 % 2 == seen.place.1).map(|id| id.1).collect();
                prop_assert!(ids.windows(2).all(|pair| pair[1] - pair[0] == 2), "{:?} finished over a gap: {:?}", seen.place, ids);
            }
        }
    }

    #[test]
    fn datagrams_arrive_once_and_in_order(script in datagrams(), attach in 0usize..60) {
        let now = origin();
        let mut log = TrackLog::new(Limits::default());
        let (mut known, mut expected, mut reader) = (BTreeSet::new(), Vec::new(), None);
        for (i, chunk) in script.iter().enumerate() {
            if i == attach {
                reader = Some(Reader::attach(&log, i));
            }
            log.append(now, chunk.clone());
            let Append::Datagram(datagram) = chunk else { panic!() };
            if known.insert(datagram.location) && i >= attach {
                expected.push(datagram.clone());
            }
            if let Some(reader) = &mut reader {
                reader.poll(&log, i % 3);
            }
        }
        if let Some(mut reader) = reader {
            reader.drain(&log);
            prop_assert_eq!(reader.datagrams, expected);
        }
    }
}
