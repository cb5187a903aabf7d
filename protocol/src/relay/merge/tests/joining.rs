//! How one stream goes on where another ended.

use super::*;

/// D14-PUB-1 D14-PUB-6 D14-CLOSE-1: wherever inside an object a publisher is lost, and however far the other has come
/// by then, readers get the object once and on one stream.
#[test]
fn another_publisher_completes_what_was_cut_short() {
    const WHOLE: &str = "abcdef";
    for cut in 0..=6 {
        for other in 0..=6 {
            for other_first in [false, true] {
                let mut stage = Stage::new();
                let first = [
                    open(1, 0),
                    obj(1, 0, 1),
                    pay(1, "x"),
                    obj(1, 1, 6),
                    pay(1, &WHOLE[..cut]),
                ];
                let second = [
                    open(2, 0),
                    obj(2, 0, 1),
                    pay(2, "x"),
                    obj(2, 1, 6),
                    pay(2, &WHOLE[..other]),
                ];
                if other_first {
                    stage.feed(B, second);
                    stage.feed(A, first);
                } else {
                    stage.feed(A, first);
                    stage.feed(B, second);
                }
                stage.lose(A);
                stage.feed(B, [pay(2, &WHOLE[other..]), obj(2, 2, 1), pay(2, "y"), fin(2)]);
                assert_eq!(
                    stage.contents(),
                    ["0/1 x 1/6 abcdef 2/1 y FIN"],
                    "{cut} {other} {other_first}"
                );
                stage.is_clean();
            }
        }
    }
}

/// D14-PUB-1 D14-CLOSE-3: a publisher that began in the middle of a subgroup waits, and takes over where the other one was.
#[test]
fn a_stream_that_is_ahead_waits() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 1), pay(1, "a")]);
    stage.feed(
        B,
        [open(2, 0), obj(2, 3, 1), pay(2, "d"), obj(2, 4, 2), pay(2, "e")],
    );
    assert_eq!(stage.contents(), ["0/1 a"]);
    stage.feed(A, [obj(1, 2, 1), pay(1, "c")]);
    // Ids 0 and 2 leave a gap that B may not fill; 3 follows on 2.
    assert_eq!(stage.contents(), ["0/1 a 2/1 c 3/1 d 4/2 e"]);
    stage.feed(A, [obj(1, 3, 1), pay(1, "d"), obj(1, 4, 2), pay(1, "ef")]);
    stage.feed(B, [reset(2)]);
    stage.feed(A, [fin(1)]);
    assert_eq!(stage.contents(), ["0/1 a 2/1 c 3/1 d 4/2 ef FIN"]);
    stage.is_clean();
}

/// D14-CLOSE-1 D14-PUB-1: when the one that leads is lost before that, the other begins anew behind a reset.
#[test]
fn a_gap_is_a_reset_and_what_waited_goes_on() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.feed(
        B,
        [open(2, 0), obj(2, 3, 1), pay(2, "d"), obj(2, 4, 2), pay(2, "e")],
    );
    stage.lose(A);
    assert_eq!(stage.contents(), ["0/2 a RESET", "3/1 d 4/2 e"]);
    // A publisher that comes back with all of it fills the gap, on another stream.
    stage.feed(
        A,
        [open(3, 0), obj(3, 0, 2), pay(3, "ab"), obj(3, 1, 1), pay(3, "B")],
    );
    stage.feed(A, [obj(3, 3, 1), pay(3, "d"), obj(3, 4, 2)]);
    stage.feed(B, [reset(2)]);
    stage.feed(A, [pay(3, "ef"), fin(3)]);
    assert_eq!(
        stage.contents(),
        ["0/2 a RESET", "3/1 d 4/2 ef RESET", "0/2 ab 1/1 B RESET"]
    );
    stage.is_clean();
}

/// D14-PUB-1: what a publisher has delivered whole is not lost with it while it waits.
#[test]
fn what_waits_outlives_its_publisher() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.feed(B, [open(2, 0), obj(2, 3, 1), pay(2, "d")]);
    stage.lose(B);
    stage.lose(A);
    assert_eq!(stage.contents(), ["0/2 a RESET", "3/1 d RESET"]);
    stage.is_clean();
}

/// D14-PUB-1 D14-CLOSE-1: a stream that brings nothing is waited for as long as a second.
#[test]
fn a_stalled_stream_is_overtaken() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.pass(600);
    stage.feed(B, [open(2, 0), obj(2, 3, 1), pay(2, "d")]);
    stage.pass(600);
    // It came on, so that it is worth waiting for.
    stage.feed(A, [pay(1, "b"), obj(1, 1, 3)]);
    stage.pass(600);
    assert_eq!(stage.contents(), ["0/2 ab 1/3"]);
    assert_eq!(stage.merge.stats().overtaken, 0);
    stage.pass(600);
    assert_eq!(stage.contents(), ["0/2 ab 1/3 RESET", "3/1 d"]);
    assert_eq!(stage.merge.stats().overtaken, 1);
    // What it brings late is known, or new; the object that was cut has no beginning any more.
    stage.feed(
        A,
        [
            pay(1, "ccc"),
            obj(1, 2, 1),
            pay(1, "c"),
            obj(1, 3, 1),
            pay(1, "d"),
        ],
    );
    stage.feed(A, [obj(1, 4, 1), pay(1, "e"), fin(1)]);
    stage.feed(B, [obj(2, 4, 1), pay(2, "e"), fin(2)]);
    assert_eq!(
        stage.contents(),
        ["0/2 ab 1/3 RESET", "3/1 d 4/1 e RESET", "2/1 c RESET"]
    );
    stage.is_clean();
}

/// D14-LIM-6 D14-LIM-7: one that trickles is not waited for much longer than one that brings nothing.
#[test]
fn a_stream_that_trickles_is_overtaken() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 1000), pay(1, "a")]);
    stage.feed(B, [open(2, 0), obj(2, 3, 1), pay(2, "d")]);
    for _ in 0..9 {
        stage.pass(500);
        stage.feed(A, [pay(1, "a")]);
    }
    assert_eq!(stage.contents(), ["0/1000 aaaaaaaaaa"]);
    stage.pass(500);
    assert_eq!(stage.contents(), ["0/1000 aaaaaaaaaa RESET", "3/1 d"]);
    // From here on it holds up nobody.
    stage.feed(A, [pay(1, "a")]);
    stage.feed(B, [obj(2, 4, 1), pay(2, "e")]);
    assert_eq!(stage.contents(), ["0/1000 aaaaaaaaaa RESET", "3/1 d 4/1 e"]);
    assert_eq!(stage.merge.stats().overtaken, 1);
}

/// D14-PUB-1 D14-CLOSE-1: a large object that keeps arriving is waited for, however long that takes, and cut a second after
/// it stalls. Whether it arrives is judged by what it brings in five seconds.
#[test]
fn a_large_object_that_keeps_arriving_is_not_cut() {
    const PIECE: usize = 1500;
    const PIECES: usize = 60;
    let piece = || Append::Payload {
        stream: 1,
        bytes: Bytes::from(vec![b'a'; PIECE]),
    };
    for stalls_at in [None, Some(40)] {
        let mut stage = Stage::new();
        stage.feed(A, [open(1, 0), obj(1, 0, (PIECES * PIECE) as u64)]);
        stage.feed(B, [open(2, 0), obj(2, 3, 1), pay(2, "d")]);
        // A minute, of which each second brings a little more than it has to.
        for number in 0..PIECES {
            if stalls_at.is_some_and(|stalls_at| number >= stalls_at) {
                break;
            }
            stage.pass(500);
            stage.pass(499);
            stage.feed(A, [piece()]);
            assert_eq!(stage.merge.stats().overtaken, 0, "{number}");
        }
        if stalls_at.is_some() {
            stage.pass(999);
            assert_eq!(stage.merge.stats().overtaken, 0);
            stage.pass(1);
            assert_eq!(stage.merge.stats().overtaken, 1);
        } else {
            stage.feed(A, [fin(1)]);
            assert_eq!(stage.merge.stats().overtaken, 0);
        }
    }
}

/// D14-LIM-6: what is waited for has to come on about as fast as what waits.
#[test]
fn one_that_falls_ever_further_behind_is_overtaken() {
    let mut stage = Stage::new();
    let bytes = |stream, len: usize| Append::Payload {
        stream,
        bytes: Bytes::from(vec![b'a'; len]),
    };
    stage.feed(A, [open(1, 0), obj(1, 0, 1 << 20)]);
    stage.feed(B, [open(2, 0), obj(2, 3, 1 << 20)]);
    for _ in 0..9 {
        stage.pass(500);
        stage.feed(A, [bytes(1, 2000)]);
        stage.feed(B, [bytes(2, 10_000)]);
    }
    assert_eq!(stage.merge.stats().overtaken, 0);
    stage.pass(500);
    assert_eq!(stage.merge.stats().overtaken, 1);
}

/// D14-MAL-1: what is found out about a publisher as it goes is its own fault, and no contradiction of the others.
#[test]
fn a_fault_that_comes_out_at_the_end_is_the_own_one() {
    let mut stage = Stage::new();
    // What waits behind a gap turns out to be behind the end of its group.
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.feed(A, [open(2, 0), obj(2, 3, 1), pay(2, "d")]);
    let Append::SubgroupOpened {
        stream,
        group,
        priority,
        has_extensions,
        end_of_group,
        ..
    } = open(3, 0)
    else {
        panic!("it opens a subgroup");
    };
    let other = Append::SubgroupOpened {
        stream,
        group,
        subgroup: 9,
        priority,
        has_extensions,
        end_of_group,
    };
    let end = ObjectHeader {
        id: 2,
        status: ObjectStatus::EndOfGroup,
        extensions: Bytes::new(),
        payload_len: 0,
    };
    let last = Append::ObjectStarted {
        stream: 3,
        header: end,
    };
    stage.feed(A, [other, last]);
    let told = stage.lose(A);
    let fault = |told: &Appended| matches!(told, Appended::Malformed(why) if !why.is_disagreement());
    assert!(told.iter().any(fault), "{told:?}");
}

/// D14-CACHE-6: a stream that has no room to wait goes on alone.
#[test]
fn what_waits_is_bounded() {
    let limits = MergeLimits {
        max_stream_bytes: 1000,
        max_bytes: 1500,
    };
    for (others, of_stream, overtaken) in [(1, 5, 0), (1, 9, 1), (3, 5, 3)] {
        let mut stage = Stage::with(limits, Limits::default());
        for group in 0..others {
            stage.feed(A, [open(10 + group, group), obj(10 + group, 0, 1)]);
            let stream = 20 + group;
            stage.feed(B, [open(stream, group), obj(stream, 5, 100)]);
            for _ in 0..of_stream {
                stage.feed(B, [pay(stream, "x")]);
            }
        }
        let stats = stage.merge.stats();
        assert_eq!(
            stats.overtaken > 0,
            overtaken > 0,
            "{others} {of_stream} {stats:?}"
        );
        assert!(stats.waiting_bytes <= 1500);
        stage.lose(A);
        stage.lose(B);
        stage.is_clean();
    }
}

/// D14-CLOSE-1: a stream that goes on in the middle of an object that is no longer at hand does not complete it.
#[test]
fn what_cannot_be_compared_is_not_continued() {
    let mut stage = Stage::with(
        MergeLimits::default(),
        Limits {
            max_object: 2,
            ..Limits::default()
        },
    );
    stage.feed(A, [open(1, 0), obj(1, 0, 6), pay(1, "ab"), pay(1, "cd")]);
    stage.feed(B, [open(2, 0), obj(2, 0, 6), pay(2, "abcdef")]);
    stage.feed(B, [obj(2, 1, 1), pay(2, "x")]);
    stage.lose(A);
    assert_eq!(contents(&stage.log), ["EVICTED", "1/1 x"]);
    stage.feed(B, [fin(2)]);
    assert_eq!(contents(&stage.log), ["EVICTED", "1/1 x RESET"]);
    assert_eq!(contents(&stage.replica), ["0/6 abcd RESET", "1/1 x RESET"]);
    stage.is_clean();
}

/// D14-PUB-1 D14-CLOSE-1: one publisher that goes on on another stream before the reset of the first one comes.
#[test]
fn a_continuation_that_overtakes_the_reset_is_taken_in() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.feed(
        A,
        [
            open(2, 0),
            obj(2, 0, 2),
            pay(2, "ab"),
            obj(2, 1, 1),
            pay(2, "c"),
            fin(2),
        ],
    );
    assert_eq!(stage.contents(), ["0/2 ab 1/1 c FIN"]);
    stage.feed(A, [reset(1)]);
    assert_eq!(stage.contents(), ["0/2 ab 1/1 c FIN"]);
    stage.is_clean();
}

/// D14-CLOSE-1: a FIN is not passed on before everything is in.
#[test]
fn a_stream_that_ends_inside_an_object_finishes_nothing() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a"), open(2, 0)]);
    stage.feed(B, [open(3, 0), obj(3, 0, 2), pay(3, "a")]);
    stage.feed(A, [fin(1)]);
    assert_eq!(stage.contents(), ["0/2 a"]);
    stage.feed(B, [fin(3)]);
    assert_eq!(stage.contents(), ["0/2 a RESET"]);
    stage.feed(A, [reset(2)]);
    stage.is_clean();
}

/// D14-LIM-1: more streams of one subgroup than any publishers need are turned away.
#[test]
fn a_flood_of_streams_of_one_subgroup_is_turned_away() {
    let mut stage = Stage::new();
    for stream in 1..=100 {
        stage.feed(A, [open(stream, 0), obj(stream, 0, 2), pay(stream, "a")]);
    }
    assert_eq!(stage.merge.stats().turned_away, 100 - MAX_MEMBERS as u64);
    stage.feed(A, [pay(100, "b")]);
    assert_eq!(stage.contents(), ["0/2 a"]);
    stage.feed(A, [pay(16, "b")]);
    assert_eq!(stage.contents(), ["0/2 ab"]);
    stage.lose(A);
    stage.is_clean();
}

/// The state between two streams of a subgroup is the same as without the second one.
#[test]
fn a_stream_that_is_alone_again_passes_through_again() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 2), pay(1, "a")]);
    stage.feed(B, [open(2, 0), obj(2, 0, 2), pay(2, "ab"), reset(2)]);
    assert_eq!(stage.merge.busy, 1, "A has not come to where B was");
    stage.feed(A, [pay(1, "b"), obj(1, 1, 1)]);
    stage.feed(B, [open(3, 0), obj(3, 0, 2), reset(3)]);
    assert_eq!(stage.merge.busy, 0);
    stage.feed(A, [pay(1, "c"), fin(1)]);
    assert_eq!(stage.contents(), ["0/2 ab 1/1 c FIN"]);
    stage.is_clean();
}

/// D14-MAL-2 D14-PUB-1: a stream that brought what was known, alone at first and then beside another, ends where it ends.
#[test]
fn what_is_known_ends_with_its_last_object() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 0), obj(1, 1, 0), fin(1)]);
    stage.feed(B, [open(2, 0), obj(2, 0, 0)]);
    stage.feed(C, [open(3, 0)]);
    assert_eq!(stage.feed(B, [obj(2, 1, 0), fin(2)]), [Appended::Noted]);
    stage.lose(C);
    assert_eq!(stage.contents(), ["0/0 1/0 FIN"]);
    stage.is_clean();
}

/// D14-MAL-2 D14-PUB-1: the same for one that goes on where another began.
#[test]
fn what_is_written_for_another_ends_with_its_last_object() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 0, 0), reset(1)]);
    stage.feed(B, [open(2, 0), obj(2, 0, 0)]);
    stage.feed(C, [open(3, 0), obj(3, 0, 0), obj(3, 1, 0)]);
    let told = stage.feed(B, [obj(2, 1, 0), obj(2, 2, 0), fin(2)]);
    assert!(
        !told
            .iter()
            .any(|appended| matches!(appended, Appended::Malformed(_)))
    );
    stage.lose(C);
    assert_eq!(stage.contents(), ["0/0 RESET", "1/0 2/0 FIN"]);
    stage.is_clean();
}

/// D14-MAL-2: the final object is known though readers saw a reset, because something else was missing by then.
#[test]
fn the_end_of_a_subgroup_is_known_though_it_was_reset() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 5, 0)]);
    stage.feed(B, [open(2, 0), obj(2, 0, 0)]);
    stage.feed(A, [fin(1)]);
    stage.feed(B, [reset(2)]);
    assert_eq!(stage.contents(), ["5/0 RESET", "0/0 RESET"]);
    let told = stage.feed(C, [open(3, 0), obj(3, 0, 0), obj(3, 5, 0), obj(3, 6, 0)]);
    let end = Malformed::Disagreement(Dispute::End);
    assert_eq!(told.last(), Some(&Appended::Malformed(end)));
}

/// D14-MAL-2: a stream that brings what another has passed, and ends with FIN before that one's last object.
#[test]
fn an_end_before_objects_that_are_known_is_a_disagreement() {
    let mut stage = Stage::new();
    stage.feed(A, [open(1, 0), obj(1, 5, 0), fin(1)]);
    let told = stage.feed(B, [open(2, 0), obj(2, 3, 0), fin(2)]);
    let end = Malformed::Disagreement(Dispute::End);
    assert_eq!(told.last(), Some(&Appended::Malformed(end)));
    assert_eq!(stage.contents(), ["5/0 FIN", "3/0 RESET"]);
}
