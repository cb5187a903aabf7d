//! What several publishers come to in a log.

mod joining;
mod rules;

use super::*;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Cursor, Dispute, Limits, Next, Position, Read};
use bytes::Bytes;

const A: PublisherKey = PublisherKey(1);
const B: PublisherKey = PublisherKey(2);
const C: PublisherKey = PublisherKey(3);

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

/// A log behind the stage, a replica of it, and what was told.
struct Stage {
    merge: Merge,
    log: TrackLog,
    replica: TrackLog,
    now: Instant,
    told: Vec<(Appended, Append)>,
}

impl Stage {
    fn new() -> Self {
        Self::with(MergeLimits::default(), Limits::default())
    }

    fn with(limits: MergeLimits, log: Limits) -> Self {
        Self {
            merge: Merge::new(limits),
            log: TrackLog::new(log),
            replica: TrackLog::replica(Limits::default()),
            now: t0(),
            told: Vec::new(),
        }
    }

    fn call(
        &mut self,
        work: impl FnOnce(&mut Merge, &mut TrackLog, Instant, &mut dyn FnMut(Appended, Append)),
    ) -> Vec<Appended> {
        let (before, now) = (self.told.len(), self.now);
        let (told, replica) = (&mut self.told, &mut self.replica);
        let mut each = |appended: Appended, chunk: Append| {
            if let Some(chunk) = appended.for_replica(chunk.clone()) {
                replica.append(now, chunk);
            }
            told.push((appended, chunk));
        };
        work(&mut self.merge, &mut self.log, now, &mut each);
        assert!(self.merge.stats().waiting_bytes <= self.merge.limits.max_bytes);
        self.told[before..]
            .iter()
            .map(|(appended, _)| *appended)
            .collect()
    }

    fn feed(&mut self, from: PublisherKey, chunks: impl IntoIterator<Item = Append>) -> Vec<Appended> {
        let mut answers = Vec::new();
        for chunk in chunks {
            answers.extend(self.call(|merge, log, now, mut told| {
                merge.append(log, now, from, chunk, &mut told);
            }));
        }
        answers
    }

    fn lose(&mut self, from: PublisherKey) -> Vec<Appended> {
        self.call(|merge, log, now, mut told| merge.lost(log, now, from, &mut told))
    }

    /// Lets so many milliseconds pass.
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.call(|merge, log, now, mut told| merge.handle_timeout(log, now, &mut told));
    }

    /// Everything that a reader finds, entry by entry; a reader of the replica finds the same.
    #[track_caller]
    fn contents(&self) -> Vec<String> {
        let found = contents(&self.log);
        assert_eq!(contents(&self.replica), found, "the replica shows something else");
        found
    }

    /// Nothing is left over when no stream is.
    #[track_caller]
    fn is_clean(&self) {
        assert!(!self.log.has_open_streams() && !self.replica.has_open_streams());
        assert!(self.merge.streams.is_empty() && self.merge.subgroups.is_empty());
        assert_eq!((self.merge.busy, self.merge.stats.waiting_bytes), (0, 0));
        assert_eq!(self.merge.poll_timeout(), None);
    }
}

fn contents(log: &TrackLog) -> Vec<String> {
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    while let Next::Ready(seq) = log.next_subgroup(&mut cursor) {
        let (mut words, mut pos) = (Vec::new(), Position::default());
        let mut payload = String::new();
        loop {
            let read = log.read(seq, &mut pos);
            if !matches!(read, Read::Payload(_)) && !payload.is_empty() {
                words.push(std::mem::take(&mut payload));
            }
            match read {
                Read::Object(view) => words.push(format!("{}/{}", view.header.id, view.header.payload_len)),
                Read::Payload(bytes) => payload += &String::from_utf8_lossy(&bytes),
                Read::Pending => break,
                Read::Evicted => {
                    words.push("EVICTED".into());
                    break;
                }
                Read::End(StreamEnd::Fin) => {
                    words.push("FIN".into());
                    break;
                }
                Read::End(StreamEnd::Reset(_)) => {
                    words.push("RESET".into());
                    break;
                }
            }
        }
        seen.push(words.join(" "));
    }
    seen
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

fn fin(stream: u64) -> Append {
    let end = StreamEnd::Fin;
    Append::SubgroupClosed { stream, end }
}

fn reset(stream: u64) -> Append {
    let end = StreamEnd::Reset(ResetCode::Cancelled);
    Append::SubgroupClosed { stream, end }
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
    let mut stage = Stage::new();
    let chunks = [open(1, 0), obj(1, 0, 2), pay(1, "a")];
    stage.feed(A, chunks.clone());
    assert_eq!(
        stage.lose(A),
        [Appended::Closed(StreamEnd::Reset(ResetCode::Cancelled))]
    );
    let passed: Vec<_> = stage
        .told
        .iter()
        .map(|(_, chunk)| chunk.clone())
        .take(3)
        .collect();
    assert_eq!(passed, chunks);
    assert_eq!(stage.contents(), ["0/2 a RESET"]);
    stage.is_clean();
}
