//! Who is at fault, and what that ends.

use super::*;
use crate::moqt::location::Location;
use crate::relay::track_log::LogDatagram;

/// D14-MAL-2 D14-CACHE-2: who contradicts himself is at fault, and who contradicts another makes the track malformed.
#[test]
fn a_contradiction_is_a_disagreement_when_it_takes_two() {
    let own = Appended::Malformed(Malformed::Conflict);
    let two = Appended::Malformed(Malformed::Disagreement(Dispute::Object));
    // (who opens the group, who brings the other copy of its object, the verdict)
    for (first, second, verdict) in [(A, A, own), (A, B, two), (B, B, own), (B, A, two)] {
        let mut stage = Stage::new();
        stage.feed(A, [open(1, 0), obj(1, 0, 0)]);
        stage.feed(first, [open(2, 5), obj(2, 0, 0)]);
        let told = stage.feed(second, [open(3, 5), obj(3, 0, 9)]);
        assert_eq!(told.last(), Some(&verdict), "{first:?} {second:?}");
    }
}

/// D14-MAL-2 D14-CACHE-2 D14-MAL-3: two copies of one object that are not the same.
#[test]
fn publishers_that_disagree() {
    use ObjectStatus::{DoesNotExist, EndOfGroup, Normal};
    let leads = || vec![open(1, 0), obj(1, 0, 1), pay(1, "x"), obj(1, 1, 4), pay(1, "ab")];
    let with = |stream, id, status, payload_len| {
        let Append::ObjectStarted { stream, header } = obj(stream, id, payload_len) else {
            panic!()
        };
        Append::ObjectStarted {
            stream,
            header: ObjectHeader { status, ..header },
        }
    };
    let prior = |stream| {
        let Append::SubgroupOpened { has_extensions, .. } = open(stream, 0) else {
            panic!()
        };
        Append::SubgroupOpened {
            stream,
            group: 0,
            subgroup: 0,
            priority: 7,
            has_extensions,
            end_of_group: false,
        }
    };
    // (what it is, what B brings, what they disagree about)
    let cases = [
        ("length", vec![open(2, 0), obj(2, 1, 5)], Some(Dispute::Object)),
        (
            "status",
            vec![open(2, 0), with(2, 1, EndOfGroup, 0)],
            Some(Dispute::Object),
        ),
        ("priority", vec![prior(2), obj(2, 1, 4)], Some(Dispute::Object)),
        ("gone by now", vec![open(2, 0), with(2, 1, DoesNotExist, 0)], None),
        (
            "the same",
            vec![open(2, 0), with(2, 1, Normal, 4), pay(2, "abcd")],
            None,
        ),
        (
            "a byte of what came",
            vec![open(2, 0), obj(2, 1, 4), pay(2, "aX")],
            Some(Dispute::Payload),
        ),
        (
            "length of one that is over",
            vec![open(2, 0), obj(2, 0, 2)],
            Some(Dispute::Object),
        ),
        (
            "a byte of one that is over",
            vec![open(2, 0), obj(2, 0, 1), pay(2, "y")],
            Some(Dispute::Payload),
        ),
        (
            "final before another object",
            vec![open(2, 0), obj(2, 0, 1), pay(2, "x"), fin(2)],
            Some(Dispute::End),
        ),
    ];
    for (name, brings, dispute) in cases {
        let expected = dispute.map(|dispute| Appended::Malformed(Malformed::Disagreement(dispute)));
        let mut stage = Stage::new();
        stage.feed(A, leads());
        let told = stage.feed(B, brings.clone());
        let malformed = |told: &[Appended]| {
            told.iter()
                .copied()
                .find(|it| matches!(it, Appended::Malformed(_)))
        };
        assert_eq!(malformed(&told), expected, "{name}");
        assert_eq!(
            stage.merge.stats().disagreements,
            u64::from(expected.is_some()),
            "{name}"
        );
        // Who comes first makes no difference.
        if name != "gone by now" {
            let mut stage = Stage::new();
            stage.feed(B, brings.clone());
            let mut told = stage.feed(A, leads());
            told.extend(stage.feed(A, [pay(1, "cd")]));
            assert_eq!(malformed(&told), expected, "{name}, the other way round");
        }
        // One publisher that contradicts itself is at fault alone.
        let mut stage = Stage::new();
        stage.feed(A, leads());
        let told = stage.feed(A, brings);
        let own = malformed(&told).map(|it| matches!(it, Appended::Malformed(why) if !why.is_disagreement()));
        assert_eq!(own, expected.map(|_| true), "{name}, one publisher");
    }
}

/// D14-MAL-2 D14-MAL-3: the one that died is compared with as well as the one that lives.
#[test]
fn a_copy_that_differs_is_found_after_the_first_publisher_died() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 4), pay(1, "ab")]);
    stage.feed(B, [open(2, 0), obj(2, 0, 4), pay(2, "a")]);
    stage.lose(A);
    let told = stage.feed(B, [pay(2, "X")]);
    let why = Malformed::Disagreement(Dispute::Payload);
    assert!(told.contains(&Appended::Malformed(why)), "{told:?}");
    assert_eq!(stage.contents(), ["0/4 ab RESET"]);
    stage.is_clean();
}

/// D14-MAL-2: two different finals for a subgroup, on streams of which each has it to itself.
#[test]
fn a_second_final_before_the_first_is_malformed() {
    for (by, why) in [
        (A, Malformed::AfterEndOfSubgroup),
        (B, Malformed::Disagreement(Dispute::End)),
    ] {
        let mut stage = Stage::new();
        stage.feed(A, [open(1, 0), obj(1, 0, 0), obj(1, 1, 0), fin(1)]);
        stage.feed(by, [open(2, 0), obj(2, 0, 0)]);
        assert!(stage.feed(by, [fin(2)]).contains(&Appended::Malformed(why)));
        let told = stage.feed(by, [open(3, 0), obj(3, 1, 0), fin(3)]);
        assert!(
            told.iter().all(|it| !matches!(it, Appended::Malformed(_))),
            "{told:?}"
        );
        let told = stage.feed(by, [open(4, 0), obj(4, 1, 0), obj(4, 2, 0)]);
        assert_eq!(told.last(), Some(&Appended::Malformed(why)));
        assert_eq!(stage.contents(), ["0/0 1/0 FIN"]);
        stage.is_clean();
    }
}

/// D14-MAL-2: an object that waits is beyond the end that another publisher says.
#[test]
fn what_waits_behind_the_end_is_a_disagreement() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 0)]);
    stage.feed(B, [open(2, 0), obj(2, 7, 0)]);
    let told = stage.feed(A, [fin(1)]);
    let why = Malformed::Disagreement(Dispute::End);
    assert!(told.contains(&Appended::Malformed(why)), "{told:?}");
    assert_eq!(stage.contents(), ["0/0 FIN"]);
    stage.is_clean();
}

/// D14-MAL-1 D14-MAL-2: a stream that breaks its own rules ends without those that bring the same.
#[test]
fn a_stream_that_breaks_its_own_rules_ends_alone() {
    let cases = [
        (obj(2, 1, 1), Malformed::ObjectUnfinished),
        (pay(2, "bcd"), Malformed::PayloadTooLong),
    ];
    for (chunk, why) in cases {
        for other_first in [false, true] {
            let mut stage = Stage::new();
            let lead = [open(1, 0), obj(1, 0, 2)];
            if !other_first {
                stage.feed(A, lead.clone());
            }
            stage.feed(B, [open(2, 0), obj(2, 0, 2), pay(2, "a")]);
            if other_first {
                stage.feed(A, lead);
            }
            let told = stage.feed(B, [chunk.clone()]);
            assert_eq!(told.last(), Some(&Appended::Malformed(why)), "{other_first}");
            stage.lose(B);
            stage.feed(A, [pay(1, "ab"), obj(1, 3, 0), fin(1)]);
            assert_eq!(stage.contents(), ["0/2 ab 3/0 FIN"], "{why} {other_first}");
            stage.is_clean();
        }
    }
}

/// A fault of one publisher that comes to light with what another one brings is told when it is its turn.
#[test]
fn a_fault_is_laid_to_whom_it_belongs() {
    let mut stage = Stage::new();
    // Extension headers that cannot be read; they wait, behind an object that A is in the middle of.
    let bad = Append::ObjectStarted {
        stream: 2,
        header: ObjectHeader {
            id: 4,
            status: ObjectStatus::Normal,
            extensions: Bytes::from_static(&[0x40]),
            payload_len: 0,
        },
    };
    let Append::SubgroupOpened { .. } = open(2, 0) else {
        panic!()
    };
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    assert!(
        stage
            .feed(B, [open(2, 0), bad])
            .iter()
            .all(|it| !matches!(it, Appended::Malformed(_)))
    );
    let told = stage.feed(A, [reset(1)]);
    assert!(
        told.iter().all(|it| !matches!(it, Appended::Malformed(_))),
        "{told:?}"
    );
    let told = stage.feed(B, [open(3, 1)]);
    assert_eq!(told.first(), Some(&Appended::Malformed(Malformed::Extensions)));
    assert_eq!(stage.contents(), ["0/2 a RESET"]);
}

/// D14-PUB-1 D14-CACHE-2 D14-MAL-3: datagrams.
#[test]
fn datagrams_come_once_and_are_compared() {
    let datagram = |payload: &'static str| {
        Append::Datagram(LogDatagram {
            location: Location::new(0, 3),
            priority: 1,
            extensions: Bytes::new(),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload: Bytes::from_static(payload.as_bytes()),
        })
    };
    let mut stage = Stage::new();
    assert_eq!(stage.feed(A, [datagram("this")]), [Appended::Advanced]);
    assert_eq!(
        stage.feed(B, [datagram("this")]),
        [Appended::Ignored(Ignored::Duplicate)]
    );
    let why = Malformed::Disagreement(Dispute::Payload);
    assert_eq!(stage.feed(B, [datagram("that")]), [Appended::Malformed(why)]);
    let mut stage = Stage::new();
    stage.feed(A, [datagram("this")]);
    assert_eq!(
        stage.feed(A, [datagram("that")]),
        [Appended::Malformed(Malformed::Payload)]
    );
}
