//! Tables and properties of [`Ingress`].

use super::*;
use crate::peering::error::ErrorCode;
use crate::peering::forward::pipeline::{ResetCause, Step};
use crate::peering::forward::route::Egress;
use crate::peering::hash::FullNameHash;
use crate::relay::draining::Progress;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn sns(id: u32) -> SnsId {
    SnsId::new(id).unwrap()
}

fn track(n: u64) -> FullNameHash {
    FullNameHash::new(n).unwrap()
}

/// Links with ids that are a hundred times theirs.
fn route(local: bool, links: &[u32]) -> Arc<Route> {
    let egress = links.iter().map(|link| Egress {
        link: LinkId(*link),
        sns: sns(link * 100),
        laps: false,
    });
    Arc::new(Route::new(1, local, egress))
}

const fn link(link: u32) -> Target {
    Target::Link(LinkId(link))
}

/// A stream as a peer sends it.
fn stream_bytes(id: u32, name: u64, payload: &[u8]) -> Bytes {
    let header = StreamHeader {
        sns: sns(id),
        track: track(name),
        priority: 3,
        ttl_ms: 0,
    };
    Bytes::from([&header.encode()[..], payload].concat())
}

/// A datagram as a peer sends it.
fn datagram_bytes(id: u32, name: u64, payload: &[u8]) -> Bytes {
    let header = DatagramHeader {
        sns: sns(id),
        track: track(name),
    };
    Bytes::from([&header.encode()[..], payload].concat())
}

struct Run {
    ingress: Ingress,
    now: Instant,
}

impl Run {
    fn new(limits: Limits) -> Self {
        Self {
            ingress: Ingress::new(limits),
            now: t0(),
        }
    }

    /// With routes for the ids 1 and 2.
    fn routed() -> Self {
        let mut run = Self::new(Limits::default());
        run.ingress.set_route(sns(1), route(false, &[1]));
        run.ingress.set_route(sns(2), route(true, &[1, 2]));
        run
    }

    fn open(&mut self, stream: u64, bytes: impl Into<Bytes>) {
        self.ingress.opened(InStream(stream));
        self.bytes(stream, bytes);
    }

    fn bytes(&mut self, stream: u64, bytes: impl Into<Bytes>) {
        self.ingress.bytes(InStream(stream), bytes.into(), self.now);
    }

    fn fin(&mut self, stream: u64) {
        self.ingress.fin(InStream(stream));
    }

    fn datagram(&mut self, bytes: Bytes) {
        self.ingress.datagram(bytes, self.now);
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.ingress.poll_output(self.now)).collect()
    }

    /// What is said, in short.
    fn said(&mut self) -> Vec<String> {
        self.drain().iter().map(said).collect()
    }

    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.said()
    }
}

fn said(output: &Output) -> String {
    let to = |target: &Target| match target {
        Target::Local => "here".to_owned(),
        Target::Link(link) => format!("L{}", link.0),
    };
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Output::Send { stream, target, step } => {
            let step = match step {
                Step::Open { header, first } => format!("open {} {}", header.sns, text(first)),
                Step::Data(bytes) => format!("data {}", text(bytes)),
                Step::Fin => "fin".to_owned(),
                Step::Reset(cause) => format!("reset {cause:?}"),
            };
            format!("{} {}: {step}", stream.0, to(target))
        }
        Output::Stop { stream, why } => {
            let why = format!("{why:?}");
            let why = why.split('(').next().unwrap_or_default();
            format!("{} stop {why}", stream.0)
        }
        Output::Resume { stream } => format!("{} resume", stream.0),
        Output::Datagram {
            target,
            header,
            payload,
            ..
        } => format!("datagram {}: {} {}", to(target), header.sns, text(payload)),
        Output::Foreign { sns, bound, found } => format!("foreign {sns}: {} {}", bound.get(), found.get()),
        Output::BadDatagram(_) => "bad datagram".to_owned(),
    }
}

const NOTHING: [&str; 0] = [];

/// laps peering, "Pipeline forwarding": the id in the head finds the route, each target gets the head that it knows.
#[test]
fn a_stream_takes_the_route_of_its_id() {
    let mut run = Run::routed();
    run.open(7, stream_bytes(2, 9, b"abc"));
    run.bytes(7, &b"de"[..]);
    run.fin(7);
    assert_eq!(
        run.said(),
        [
            "7 here: open 2 abc",
            "7 L1: open 100 abc",
            "7 L2: open 200 abc",
            "7 here: data de",
            "7 L1: data de",
            "7 L2: data de",
            "7 here: fin",
            "7 L1: fin",
            "7 L2: fin"
        ]
    );
    for target in [Target::Local, link(1), link(2)] {
        assert_eq!(run.ingress.streams(), 1);
        run.ingress.taken(InStream(7), &[(target, 5)]);
    }
    assert_eq!(
        (
            run.ingress.streams(),
            run.said().len(),
            run.ingress.poll_timeout()
        ),
        (0, 0, None)
    );
    run.bytes(7, &b"late"[..]);
    run.fin(7);
    assert_eq!(run.said(), NOTHING);
    assert_eq!(run.ingress.counters().streams, 1);
}

/// laps peering, "FIB": an open stream keeps its route, the next one takes the new one. Withdrawn is no different.
#[test]
fn a_route_changes_with_the_next_stream() {
    let mut run = Run::routed();
    run.open(1, stream_bytes(1, 9, b"a"));
    run.ingress.set_route(sns(1), route(false, &[2]));
    run.bytes(1, &b"b"[..]);
    run.open(2, stream_bytes(1, 9, b"c"));
    run.ingress.remove_route(sns(1));
    run.bytes(1, &b"d"[..]);
    run.open(3, stream_bytes(1, 9, b"e"));
    assert_eq!(
        run.said(),
        [
            "1 L1: open 100 a",
            "1 L1: data b",
            "2 L2: open 200 c",
            "1 L1: data d"
        ]
    );
    assert_eq!((run.ingress.parked().len(), run.ingress.routes()), (1, 1));
}

/// laps peering, "Start of New Stream Data": INVALID_START_OF_STREAM.
#[test]
fn streams_begin_with_their_head_or_not_at_all() {
    let good = stream_bytes(1, 9, b"");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let mut no_id = good.to_vec();
    no_id[2..6].fill(0);
    let cases = [
        ("EXISTING_STREAM", with(1, 1)),
        ("DATAGRAM", with(1, 0)),
        ("ControlSignaling", with(1, 3)),
        ("FetchNewStream", with(1, 4)),
        ("unknown", with(1, 99)),
        ("shorter", with(0, 14)),
        ("longer", with(0, 20)),
        ("no id", no_id),
        ("a hash of 64 bits", with(6, 0xff)),
        ("raw MOQT", vec![0x11, 0xcf]),
    ];
    for (name, bytes) in cases {
        let mut run = Run::routed();
        run.open(1, bytes);
        run.bytes(1, &b"more"[..]);
        let outputs = run.drain();
        let [
            Output::Stop {
                stream: InStream(1),
                why,
            },
        ] = &outputs[..]
        else {
            panic!("{name}: {outputs:?}");
        };
        assert_eq!(why.code(), ErrorCode::InvalidStartOfStream, "{name}");
        assert_eq!((run.ingress.counters().bad_starts, run.ingress.streams()), (1, 0));
    }
    for len in 0..StreamHeader::LEN {
        let mut run = Run::routed();
        run.open(1, good.slice(..len));
        assert!(run.ingress.wants_data(InStream(1)));
        run.fin(1);
        assert_eq!(run.said(), ["1 stop BadStart"], "{len}");
        // laps relays reset streams that they never used.
        run.open(2, good.slice(..len));
        run.ingress.reset(InStream(2), 0);
        assert_eq!(run.said(), NOTHING);
        assert_eq!(
            (run.ingress.counters().empty_streams, run.ingress.streams()),
            (1, 0)
        );
    }
}

/// laps peering, "SNS Advertisement": what comes before its set waits, goes on in order, and then live.
#[test]
fn data_before_its_set_waits_for_it() {
    let mut run = Run::new(Limits::default());
    run.open(1, stream_bytes(5, 9, b"a"));
    run.open(2, stream_bytes(5, 9, b""));
    run.datagram(datagram_bytes(5, 9, b"x"));
    run.bytes(1, &b"b"[..]);
    run.open(3, stream_bytes(6, 9, b"other"));
    run.open(4, stream_bytes(5, 9, b"gone"));
    run.ingress.reset(InStream(4), 0);
    run.bytes(1, &b"c"[..]);
    run.fin(1);
    assert_eq!(run.said(), NOTHING);
    assert!(run.ingress.wants_data(InStream(2)));
    run.now += ms(1000);
    run.ingress.set_route(sns(5), route(false, &[1]));
    assert_eq!(
        run.said(),
        [
            "1 L1: open 100 a",
            "1 L1: data b",
            "1 L1: data c",
            "1 L1: fin",
            "2 L1: open 100 ",
            "2 resume",
            "datagram L1: 100 x"
        ]
    );
    run.bytes(2, &b"live"[..]);
    assert_eq!(run.said(), ["2 L1: data live"]);
    assert_eq!(
        (run.ingress.counters().parked, run.ingress.parked().len()),
        (5, 1)
    );
    assert_eq!(run.after(ms(1000)), ["3 stop NoSet"]);
    assert_eq!(run.ingress.counters().parked_expired, 1);
    assert_eq!(
        (run.ingress.poll_timeout(), run.ingress.parked().bytes()),
        (None, 0)
    );
}

/// Issue 6: bounded by bytes, number and time, the oldest is given up first, counted; who has much waits in its peer.
#[test]
fn what_waits_is_bounded() {
    let limits = Limits {
        max_parked_bytes: 2000,
        max_parked_items: 3,
        ..Limits::default()
    };
    let mut run = Run::new(limits);
    for stream in 1..=4 {
        run.open(stream, stream_bytes(5, 9, b"a"));
    }
    assert_eq!(run.said(), ["1 stop NoSet"]);
    run.datagram(datagram_bytes(5, 9, b"d"));
    assert_eq!(run.said(), ["2 stop NoSet"]);
    assert!(run.ingress.wants_data(InStream(4)) && !run.ingress.wants_data(InStream(1)));
    run.bytes(4, vec![0; 500]);
    assert!(!run.ingress.wants_data(InStream(4)));
    run.bytes(1, &b"late"[..]);
    run.bytes(4, vec![0; 1100]);
    assert_eq!(run.said(), ["3 stop NoSet"]);
    assert_eq!(
        (run.ingress.counters().parked_evicted, run.ingress.streams()),
        (3, 1)
    );
    assert!(run.ingress.parked().bytes() <= 2000);
    run.ingress.set_route(sns(5), route(true, &[]));
    let said = run.said();
    assert_eq!(said.last().map(String::as_str), Some("datagram here: 5 d"));
    assert!(said.contains(&"4 resume".to_owned()));
}

/// Issue 6, "an SNS for a foreign track": refused and told once, never mixed; after a withdraw the id is free.
#[test]
fn data_of_another_track_is_refused() {
    let mut run = Run::routed();
    run.open(1, stream_bytes(1, 9, b"a"));
    run.open(2, stream_bytes(1, 8, b"b"));
    run.datagram(datagram_bytes(1, 8, b"b"));
    run.open(3, stream_bytes(1, 8, b"b"));
    run.bytes(1, &b"c"[..]);
    assert_eq!(
        run.said(),
        [
            "1 L1: open 100 a",
            "foreign 1: 9 8",
            "2 stop Foreign",
            "3 stop Foreign",
            "1 L1: data c"
        ]
    );
    assert_eq!(run.ingress.counters().foreign, 3);
    assert_eq!(StopCause::Foreign.code(), ErrorCode::InvalidStartOfStream);
    run.ingress.remove_route(sns(1));
    run.open(4, stream_bytes(1, 8, b"d"));
    run.open(5, stream_bytes(1, 9, b"e"));
    run.ingress.set_route(sns(1), route(false, &[2]));
    assert_eq!(
        run.said(),
        ["4 L2: open 200 d", "4 resume", "foreign 1: 8 9", "5 stop Foreign"]
    );
}

/// Issue 6, "a loop": too many ids of one track on one link.
#[test]
fn a_track_with_too_many_ids_is_refused() {
    let limits = Limits {
        max_sets_per_track: 1,
        ..Limits::default()
    };
    let mut run = Run::new(limits);
    run.ingress.set_route(sns(1), route(false, &[1]));
    run.ingress.set_route(sns(2), route(false, &[1]));
    run.open(1, stream_bytes(1, 9, b"a"));
    run.open(2, stream_bytes(2, 9, b"a"));
    assert_eq!(run.said(), ["1 L1: open 100 a", "2 stop Crowded"]);
    assert_eq!(
        (run.ingress.counters().crowded_tracks, StopCause::Crowded.code()),
        (1, ErrorCode::Close)
    );
}

#[test]
fn a_link_has_so_many_streams() {
    let limits = Limits {
        max_streams: 1,
        ..Limits::default()
    };
    let mut run = Run::new(limits);
    run.ingress.opened(InStream(1));
    run.open(2, stream_bytes(1, 9, b"a"));
    assert_eq!(run.said(), ["2 stop TooMany"]);
    assert_eq!(
        (run.ingress.counters().streams_refused, run.ingress.streams()),
        (1, 1)
    );
}

/// Nobody is there, nobody is left, or those who are take nothing.
#[test]
fn peers_are_told_what_nobody_wants() {
    let mut run = Run::routed();
    run.ingress.set_route(sns(3), route(false, &[]));
    run.open(1, stream_bytes(3, 9, b"a"));
    run.datagram(datagram_bytes(3, 9, b"a"));
    assert_eq!(run.said(), ["1 stop Nowhere"]);
    assert_eq!(run.ingress.counters().nowhere, 2);
    run.open(2, stream_bytes(2, 9, b""));
    run.said();
    run.ingress.link_down(LinkId(1));
    run.ingress.target_stopped(InStream(2), Target::Local);
    run.bytes(2, &b"a"[..]);
    run.ingress.link_down(LinkId(2));
    assert_eq!(run.said(), ["2 L2: data a", "2 stop Unwanted"]);
    assert_eq!(run.ingress.streams(), 0);
    let counters = run.ingress.counters();
    assert_eq!((counters.lanes_lost, counters.lanes_stopped), (2, 1));
    run.open(3, stream_bytes(1, 9, b""));
    run.bytes(3, vec![0; 1 << 20]);
    assert!(!run.ingress.wants_data(InStream(3)));
    run.ingress.taken(InStream(3), &[(link(1), 1 << 20)]);
    assert_eq!(run.said().pop().unwrap(), "3 resume");
}

/// laps peering, "SNS Withdrawal": state ends with the session.
#[test]
fn a_dead_link_resets_its_streams() {
    let mut run = Run::routed();
    run.open(1, stream_bytes(1, 9, b"a"));
    run.open(2, stream_bytes(7, 9, b"parked"));
    run.open(3, &b"\x13"[..]);
    run.said();
    run.ingress.closed();
    assert_eq!(run.said(), [format!("1 L1: reset {:?}", ResetCause::Source(0))]);
    let left = (
        run.ingress.streams(),
        run.ingress.parked().len(),
        run.ingress.routes(),
    );
    assert_eq!((left, run.ingress.poll_timeout()), ((0, 0, 0), None));
}

/// A laps relay of draft 14 has one stream for each id: a new one resets the one before.
#[test]
fn laps_relays_reset_the_stream_before() {
    let mut run = Run::routed();
    run.open(1, stream_bytes(1, 9, b"group 0"));
    run.open(2, stream_bytes(1, 9, b"group 1"));
    run.ingress.reset(InStream(1), 0);
    run.bytes(2, &b"more"[..]);
    assert_eq!(
        run.said(),
        [
            "1 L1: open 100 group 0",
            "2 L1: open 100 group 1",
            "1 L1: reset Source(0)",
            "2 L1: data more"
        ]
    );
}

/// laps peering, "Datagram Data": another head, at most as large as the next link takes, not for ever.
#[test]
fn datagrams_get_another_head() {
    let mut run = Run::routed();
    run.ingress.set_datagram_bytes(LinkId(1), 20);
    run.datagram(datagram_bytes(2, 9, b"abcdef"));
    let outputs = run.drain();
    let expected: Vec<String> = outputs.iter().map(said).collect();
    assert_eq!(
        expected,
        [
            "datagram here: 2 abcdef",
            "datagram L1: 100 abcdef",
            "datagram L2: 200 abcdef"
        ]
    );
    let Output::Datagram { expires, header, .. } = &outputs[1] else {
        panic!("{outputs:?}")
    };
    assert_eq!((*expires, header.track), (run.now + ms(500), track(9)));
    run.datagram(datagram_bytes(2, 9, b"abcdefg"));
    assert_eq!(
        run.said(),
        ["datagram here: 2 abcdefg", "datagram L2: 200 abcdefg"]
    );
    run.datagram(datagram_bytes(2, 9, &[b'x'; 1150 - 13]));
    assert_eq!(run.said().len(), 1);
    assert_eq!(run.ingress.counters().datagrams_too_large, 3);
    // What waited for its set has less time left.
    run.datagram(datagram_bytes(5, 9, b"z"));
    run.now += ms(300);
    run.ingress.set_route(sns(5), route(true, &[]));
    let outputs = run.drain();
    let [Output::Datagram { expires, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*expires, run.now + ms(200));
    // Half a head, another kind: told once.
    for bad in [&[14, 0, 0][..], &[], &stream_bytes(1, 9, b"")] {
        run.datagram(Bytes::copy_from_slice(bad));
    }
    assert_eq!(run.said(), ["bad datagram"]);
    assert_eq!(run.ingress.counters().bad_datagrams, 3);
    run.datagram(datagram_bytes(6, 9, b"z"));
    assert_eq!(run.after(ms(2000)), NOTHING);
    assert_eq!(run.ingress.counters().parked_expired, 1);
}

/// What each target got: ids of the heads, payload, and whether it ended.
type Received = BTreeMap<(u64, Target), (Vec<u32>, Vec<u8>, bool)>;

fn received(outputs: Vec<Output>) -> Received {
    let mut received = Received::new();
    for output in outputs {
        let Output::Send { stream, target, step } = output else {
            continue;
        };
        let (ids, bytes, fin) = received.entry((stream.0, target)).or_default();
        match step {
            Step::Open { header, first } => {
                ids.push(header.sns.get());
                bytes.extend_from_slice(&first);
            }
            Step::Data(data) => bytes.extend_from_slice(&data),
            Step::Fin => *fin = true,
            Step::Reset(cause) => panic!("{cause:?}"),
        }
    }
    received
}

proptest! {
    /// Issue 6: any split of the bytes, and any moment at which the set comes, gives the same bytes on the way out.
    #[test]
    fn any_split_gives_the_same(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4),
        cuts in prop::collection::vec(1..40_usize, 1..40),
        routed_at in 0..40_usize,
        laps in any::<bool>(),
    ) {
        let to = Arc::new(Route::new(1, true, [Egress { link: LinkId(1), sns: sns(100), laps }]));
        let mut run = Run::new(Limits::default());
        let mut outputs = Vec::new();
        let mut rest: Vec<(u64, Bytes)> = Vec::new();
        for (stream, payload) in (0..).zip(&payloads) {
            run.ingress.opened(InStream(stream));
            rest.push((stream, stream_bytes(5, 9, payload)));
        }
        let mut step = 0;
        while !rest.is_empty() {
            if step == routed_at {
                run.ingress.set_route(sns(5), Arc::clone(&to));
            }
            let at = step % rest.len();
            let (stream, bytes) = &mut rest[at];
            let stream = *stream;
            let piece = bytes.split_to(cuts[step % cuts.len()].min(bytes.len()));
            let done = bytes.is_empty();
            run.bytes(stream, piece);
            if done {
                run.fin(stream);
                rest.remove(at);
            }
            run.now += ms(1);
            outputs.extend(run.drain());
            step += 1;
        }
        if step <= routed_at {
            run.ingress.set_route(sns(5), Arc::clone(&to));
        }
        run.now += ms(10);
        outputs.extend(run.drain());
        let got = received(outputs);
        for (stream, payload) in (0..).zip(&payloads) {
            prop_assert_eq!(&got[&(stream, Target::Local)], &(vec![5], payload.clone(), true));
            prop_assert_eq!(&got[&(stream, link(1))], &(vec![100], payload.clone(), true));
            run.ingress.taken(InStream(stream), &[(Target::Local, u64::MAX)]);
            run.ingress.taken(InStream(stream), &[(link(1), u64::MAX)]);
        }
        prop_assert_eq!((run.ingress.streams(), run.ingress.poll_timeout()), (0, None));
    }

    /// No bytes make it panic, loop, or keep more than it may.
    #[test]
    fn any_bytes_are_survived(
        pieces in prop::collection::vec((0..4_u64, prop::collection::vec(any::<u8>(), 0..40), 0..8_u8), 0..60),
    ) {
        let limits = Limits { max_parked_bytes: 500, max_parked_items: 3, ..Limits::default() };
        let mut run = Run::new(limits);
        for (stream, mut bytes, what) in pieces {
            match what {
                0 => run.ingress.opened(InStream(stream)),
                1 => run.fin(stream),
                2 => run.ingress.reset(InStream(stream), 1),
                3 => run.datagram(Bytes::from(bytes)),
                4 => run.ingress.set_route(sns(1), route(true, &[1])),
                5 => run.open(stream, stream_bytes(1, u64::from(bytes.len() > 20), &bytes)),
                6 => run.now += ms(500),
                _ => {
                    if let Some(first) = bytes.first_mut() {
                        *first = 19;
                    }
                    run.bytes(stream, bytes);
                }
            }
            run.drain();
            prop_assert!(run.ingress.parked().bytes() <= 500 && run.ingress.streams() <= 4);
            prop_assert!(run.ingress.poll_timeout().is_none_or(|due| due > run.now));
        }
    }
}

/// What the end of a set waits for: streams that are open, and those that began since, however small they were.
#[test]
fn how_far_the_data_of_an_id_is() {
    let mut run = Run::routed();
    let at = |taken, open| Progress { taken, open };
    run.open(1, stream_bytes(1, 7, b"hello"));
    run.open(2, stream_bytes(2, 8, b"of another"));
    run.ingress.withdrawn(sns(1));
    run.ingress.withdrawn(sns(9));
    assert_eq!(run.ingress.progress(sns(9)), at(0, 0));
    assert_eq!(run.ingress.progress(sns(1)), at(0, 1));
    run.ingress.taken(InStream(1), &[(link(1), 3)]);
    assert_eq!(run.ingress.progress(sns(1)), at(3, 1));
    run.open(3, stream_bytes(1, 7, b"!"));
    run.fin(3);
    run.ingress.taken(InStream(3), &[(link(1), 1)]);
    run.drain();
    assert_eq!(run.ingress.streams(), 2);
    assert_eq!(run.ingress.progress(sns(1)), at(3, 2));
    assert_eq!(run.ingress.progress(sns(1)), at(3, 1));
    run.fin(1);
    run.ingress.taken(InStream(1), &[(link(1), 2)]);
    assert_eq!(run.ingress.progress(sns(1)), at(0, 0));
    assert_eq!(run.ingress.of_id.len(), 1, "of another");
}
