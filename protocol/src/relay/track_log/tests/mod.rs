//! What readers see; the folder: what is accepted (`rules`), what goes first (`evict`).

mod compare;
mod evict;
mod past;
mod rules;

use super::*;
use crate::moqt::error::ResetCode;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use bytes::Bytes;

/// The crate may not ask the clock; tests need one arbitrary instant.
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

fn log() -> TrackLog {
    TrackLog::new(Limits::default())
}

fn open_with(stream: u64, group: u64, subgroup: u64, end_of_group: bool) -> Append {
    Append::SubgroupOpened {
        stream,
        group,
        subgroup,
        priority: 128,
        has_extensions: false,
        end_of_group,
    }
}

fn open(stream: u64, group: u64, subgroup: u64) -> Append {
    open_with(stream, group, subgroup, false)
}

fn obj_with(stream: u64, id: u64, status: ObjectStatus, payload_len: u64) -> Append {
    Append::ObjectStarted {
        stream,
        header: ObjectHeader {
            id,
            status,
            extensions: Bytes::new(),
            payload_len,
        },
    }
}

fn obj(stream: u64, id: u64, payload_len: u64) -> Append {
    obj_with(stream, id, ObjectStatus::Normal, payload_len)
}

fn pay(stream: u64, bytes: &'static str) -> Append {
    Append::Payload {
        stream,
        bytes: Bytes::from_static(bytes.as_bytes()),
    }
}

fn fin(stream: u64) -> Append {
    Append::SubgroupClosed {
        stream,
        end: StreamEnd::Fin,
    }
}

fn reset(stream: u64) -> Append {
    Append::SubgroupClosed {
        stream,
        end: StreamEnd::Reset(ResetCode::Cancelled),
    }
}

fn dgram_with(group: u64, object: u64, status: ObjectStatus, end_of_group: bool) -> Append {
    Append::Datagram(LogDatagram {
        location: Location::new(group, object),
        priority: 128,
        extensions: Bytes::new(),
        end_of_group,
        status,
        payload: Bytes::new(),
    })
}

fn open_prior(stream: u64, group: u64, subgroup: u64, priority: u8) -> Append {
    Append::SubgroupOpened {
        stream,
        group,
        subgroup,
        priority,
        has_extensions: true,
        end_of_group: false,
    }
}

fn datagram(group: u64, object: u64) -> LogDatagram {
    let Append::Datagram(datagram) = dgram(group, object) else {
        panic!()
    };
    datagram
}

fn dgram(group: u64, object: u64) -> Append {
    dgram_with(group, object, ObjectStatus::Normal, false)
}

const DUPLICATE: Appended = Appended::Ignored(Ignored::Duplicate);
const EVICTED: Appended = Appended::Ignored(Ignored::Evicted);

fn feed(log: &mut TrackLog, chunks: impl IntoIterator<Item = Append>) -> Appended {
    let now = t0();
    chunks
        .into_iter()
        .fold(Appended::Noted, |_, chunk| log.append(now, chunk))
}

/// Reads until nothing follows; one letter-coded word per step.
fn read_all(log: &TrackLog, seq: SubgroupSeq, pos: &mut Position) -> String {
    let mut seen = Vec::new();
    loop {
        match log.read(seq, pos) {
            Read::Object(view) => seen.push(format!("{}/{}", view.header.id, view.header.payload_len)),
            Read::Payload(bytes) => seen.push(String::from_utf8_lossy(&bytes).into_owned()),
            Read::Pending => break,
            Read::Evicted => {
                seen.push("EVICTED".into());
                break;
            }
            Read::End(StreamEnd::Fin) => {
                seen.push("FIN".into());
                break;
            }
            Read::End(StreamEnd::Reset(code)) => {
                seen.push(format!("RESET {code:?}"));
                break;
            }
        }
    }
    seen.join(" ")
}

/// Everything that a reader without history finds, subgroup by subgroup.
fn contents(log: &TrackLog) -> Vec<String> {
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    loop {
        match log.next_subgroup(&mut cursor) {
            Next::Ready(seq) => seen.push(read_all(log, seq, &mut Position::default())),
            Next::Lagged(skipped) => seen.push(format!("LAGGED {skipped}")),
            Next::Pending => return seen,
        }
    }
}

/// D14-DATA-22
#[test]
fn an_object_can_be_read_before_it_is_complete() {
    // MOQT-14 §8.5 [D14-DATA-22]
    let mut log = log();
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 6), pay(1, "abc")]);
    let mut cursor = Cursor::default();
    let Next::Ready(seq) = log.next_subgroup(&mut cursor) else {
        panic!()
    };
    let mut pos = Position::default();
    assert_eq!(read_all(&log, seq, &mut pos), "0/6 abc");
    feed(
        &mut log,
        [pay(1, "def"), obj(1, 1, 0), obj(1, 4, 1), pay(1, "x"), fin(1)],
    );
    assert_eq!(read_all(&log, seq, &mut pos), "def 1/0 4/1 x FIN");
    assert_eq!(read_all(&log, seq, &mut pos), "FIN");
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
}

#[test]
fn payload_is_shared_not_copied() {
    let mut log = log();
    let bytes = Bytes::from(vec![1; 3000]);
    let chunk = Append::Payload {
        stream: 1,
        bytes: bytes.clone(),
    };
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 3000), chunk]);
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    log.read(seq, &mut pos);
    let Read::Payload(read) = log.read(seq, &mut pos) else {
        panic!()
    };
    assert_eq!(read.as_ptr(), bytes.as_ptr());
    assert!(log.snapshot().iter().any(
        |chunk| matches!(chunk, Append::Payload { bytes: shared, .. } if shared.as_ptr() == bytes.as_ptr())
    ));
}

#[test]
fn skipping_passes_over_what_is_left_of_an_object() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 0), obj(1, 1, 6), pay(1, "ab")],
    );
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    // An empty object leaves nothing to skip: the next one must not be lost.
    assert!(matches!(log.read(seq, &mut pos), Read::Object(_)));
    log.skip_object(seq, &mut pos);
    assert!(
        matches!(log.read(seq, &mut pos), Read::Object(view) if view.header.id == 1 && view.previous == Some(0))
    );
    log.skip_object(seq, &mut pos);
    assert_eq!(read_all(&log, seq, &mut pos), "");
    feed(&mut log, [pay(1, "cdef"), obj(1, 2, 1), pay(1, "z"), fin(1)]);
    assert_eq!(read_all(&log, seq, &mut pos), "2/1 z FIN");
}

/// D14-SUB-6
#[test]
fn the_live_edge_is_behind_the_object_in_progress() {
    // MOQT-14 §9.7 [D14-SUB-6]
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 2),
            pay(1, "a"),
            open(2, 0, 1),
            obj(2, 5, 0),
            fin(2),
        ],
    );
    let LiveEdge { mut cursor, open } = log.live_edge();
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
    let [(seq, mut pos)] = open[..] else {
        panic!("{open:?}")
    };
    feed(&mut log, [pay(1, "b"), obj(1, 1, 1), pay(1, "c")]);
    assert_eq!(read_all(&log, seq, &mut pos), "1/1 c");
}

/// D14-SUB-4
#[test]
fn largest_moves_with_the_header() {
    // MOQT-14 §9.7 [D14-SUB-4]
    let mut log = log();
    assert_eq!(log.largest(), None);
    feed(&mut log, [open(1, 3, 0)]);
    assert_eq!(log.largest(), None);
    feed(&mut log, [obj(1, 2, 100)]);
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    feed(&mut log, [open(2, 2, 0), obj(2, 9, 0)]);
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    log.seed_largest(Location::new(3, 1));
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    log.seed_largest(Location::new(8, 0));
    assert_eq!(log.largest(), Some(Location::new(8, 0)));
}

#[test]
fn datagrams_come_in_order_and_tell_what_was_skipped() {
    let mut log = log();
    let mut cursor = Cursor::default();
    feed(&mut log, [dgram(0, 0), dgram(0, 1), dgram(1, 0)]);
    assert!(matches!(log.next_datagram(&mut cursor), Next::Ready(d) if d.location == Location::new(0, 0)));
    log.drop_group(0);
    assert_eq!(log.next_datagram(&mut cursor), Next::Lagged(1));
    assert!(matches!(log.next_datagram(&mut cursor), Next::Ready(d) if d.location == Location::new(1, 0)));
    assert_eq!(log.next_datagram(&mut cursor), Next::Pending);
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
}
