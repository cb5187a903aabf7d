//! What several publishers come to in a log.

use super::*;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Dispute, Limits};
use bytes::Bytes;

const A: PublisherKey = PublisherKey(1);
const B: PublisherKey = PublisherKey(2);

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

/// A log behind the stage, and what was told of it.
struct Desk {
    merge: Merge,
    log: TrackLog,
    now: Instant,
    told: Vec<(Appended, Append)>,
}

impl Desk {
    fn new() -> Self {
        Self {
            merge: Merge::new(MergeLimits::default()),
            log: TrackLog::new(Limits::default()),
            now: t0(),
            told: Vec::new(),
        }
    }

    fn feed(&mut self, from: PublisherKey, chunks: impl IntoIterator<Item = Append>) -> Vec<Appended> {
        let before = self.told.len();
        for chunk in chunks {
            self.merge
                .append(&mut self.log, self.now, from, chunk, &mut |appended, chunk| {
                    self.told.push((appended, chunk));
                });
        }
        self.told[before..]
            .iter()
            .map(|(appended, _)| *appended)
            .collect()
    }
}

fn open(stream: u64, group: u64) -> Append {
    Append::SubgroupOpened {
        stream,
        group,
        subgroup: 0,
        priority: 128,
        has_extensions: false,
        end_of_group: false,
    }
}

fn obj(stream: u64, id: u64, payload_len: u64) -> Append {
    Append::ObjectStarted {
        stream,
        header: ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len,
        },
    }
}

fn pay(stream: u64, bytes: &'static str) -> Append {
    Append::Payload {
        stream,
        bytes: Bytes::from_static(bytes.as_bytes()),
    }
}

/// One publisher passes straight through, and what it leaves open is reset when it is lost.
#[test]
fn one_publisher_passes_through() {
    let mut desk = Desk::new();
    let chunks = [open(1, 0), obj(1, 0, 2), pay(1, "a")];
    desk.feed(A, chunks.clone());
    let mut told = Vec::new();
    desk.merge
        .lost(&mut desk.log, desk.now, A, &mut |appended, chunk| {
            told.push((appended, chunk));
        });
    let passed: Vec<_> = desk.told.iter().map(|(_, chunk)| chunk.clone()).collect();
    assert_eq!(passed, chunks);
    let end = StreamEnd::Reset(ResetCode::Cancelled);
    assert_eq!(
        told,
        [(Appended::Closed(end), Append::SubgroupClosed { stream: 1, end })]
    );
    assert!(!desk.log.has_open_streams());
}

/// D14-MAL-2 D14-CACHE-2: who contradicts himself is at fault, and who contradicts another makes the track malformed.
#[test]
fn a_contradiction_is_a_disagreement_when_it_takes_two() {
    let own = Appended::Malformed(Malformed::Conflict);
    let two = Appended::Malformed(Malformed::Disagreement(Dispute::Object));
    // (who opens the group, who brings the other copy of its object, the verdict)
    for (first, second, verdict) in [(A, A, own), (A, B, two), (B, B, own), (B, A, two)] {
        let mut desk = Desk::new();
        desk.feed(A, [open(1, 0), obj(1, 0, 0)]);
        desk.feed(first, [open(2, 5), obj(2, 0, 0)]);
        let told = desk.feed(second, [open(3, 5), obj(3, 0, 9)]);
        assert_eq!(told.last(), Some(&verdict), "{first:?} {second:?}");
    }
}
