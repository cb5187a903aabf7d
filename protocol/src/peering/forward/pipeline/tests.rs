//! Tables and properties of [`Pipeline`].

use super::*;
use crate::peering::forward::route::Egress;
use crate::peering::hash::FullNameHash;
use crate::peering::message::SnsId;
use proptest::prelude::*;
use std::collections::BTreeMap;

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

const HEADER: StreamHeader = StreamHeader {
    sns: SnsId::FIRST,
    track: FullNameHash::MAX,
    priority: 7,
    ttl_ms: 1600,
};

/// Links with ids that are a hundred times theirs; those above 10 lead to laps relays.
fn route(local: bool, links: &[u32]) -> Route {
    let egress = links.iter().map(|link| Egress {
        link: LinkId(*link),
        sns: SnsId::new(link * 100).unwrap(),
        laps: *link > 10,
    });
    Route::new(1, local, egress)
}

const fn link(link: u32) -> Target {
    Target::Link(LinkId(link))
}

/// What a target got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Got {
    header: Option<StreamHeader>,
    bytes: Vec<u8>,
    /// Bytes of the first write.
    first: usize,
    fin: bool,
    reset: Option<ResetCause>,
}

struct Run {
    pipeline: Pipeline,
    now: Instant,
    counters: Counters,
    got: BTreeMap<Target, Got>,
    stopped: bool,
    resumed: u32,
}

impl Run {
    fn open(route: &Route, first: &[u8], limits: &Limits) -> Self {
        let (now, mut counters) = (t0(), Counters::default());
        let first = Bytes::copy_from_slice(first);
        let pipeline = Pipeline::open(HEADER, route, first, limits, now, &mut counters);
        let mut run = Self {
            pipeline,
            now,
            counters,
            got: BTreeMap::new(),
            stopped: false,
            resumed: 0,
        };
        run.drain();
        run
    }

    fn data(&mut self, bytes: &[u8]) {
        let piece = Bytes::copy_from_slice(bytes);
        self.pipeline.data(piece, self.now, &mut self.counters);
        self.drain();
    }

    fn fin(&mut self) {
        self.pipeline.fin(&mut self.counters);
        self.drain();
    }

    fn reset(&mut self, code: u64) {
        self.pipeline.reset(code, &mut self.counters);
        self.drain();
    }

    fn taken(&mut self, target: Target, bytes: u64) {
        self.pipeline.taken(&[(target, bytes)]);
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.pipeline.on_time(self.now, &mut self.counters);
        self.drain();
    }

    fn got(&self, target: Target) -> &Got {
        &self.got[&target]
    }

    fn drain(&mut self) {
        while let Some(output) = self.pipeline.poll_output() {
            match output {
                Output::Stop => assert!(!std::mem::replace(&mut self.stopped, true)),
                Output::Resume => self.resumed += 1,
                Output::Send(target, step) => {
                    let got = self.got.entry(target).or_default();
                    assert!(!got.fin || matches!(step, Step::Reset(_)), "after the end");
                    assert!(got.reset.is_none(), "after a reset");
                    match step {
                        Step::Open { header, first } => {
                            assert_eq!(got.header.replace(header), None);
                            got.bytes.extend_from_slice(&first);
                            got.first = first.len();
                        }
                        Step::Data(bytes) => {
                            assert!(got.header.is_some() && !bytes.is_empty());
                            got.bytes.extend_from_slice(&bytes);
                        }
                        Step::Fin => got.fin = true,
                        Step::Reset(cause) => got.reset = Some(cause),
                    }
                }
            }
        }
    }
}

/// laps peering, "Pipeline forwarding": every piece leaves at once, with each target's own head, priority and lifetime.
#[test]
fn pieces_go_to_each_target() {
    let mut run = Run::open(&route(true, &[1, 2]), b"abc", &Limits::default());
    run.data(b"de");
    for (target, sns) in [(Target::Local, 1), (link(1), 100), (link(2), 200)] {
        let got = run.got(target);
        let header = got.header.unwrap();
        assert_eq!((header.sns.get(), header.priority, header.ttl_ms), (sns, 7, 1600));
        assert_eq!(
            (got.bytes.as_slice(), got.first, got.fin),
            (&b"abcde"[..], 3, false)
        );
        assert_eq!(run.pipeline.waiting(target), Some(5));
    }
    run.fin();
    assert!(run.got.values().all(|got| got.fin) && !run.pipeline.wants_data());
    run.data(b"late");
    assert_eq!(run.got(link(1)).bytes, b"abcde");
    for target in [Target::Local, link(1), link(2)] {
        assert!(!run.pipeline.is_over());
        run.taken(target, 5);
    }
    assert!(run.pipeline.is_over() && !run.stopped);
    let counters = run.counters;
    assert_eq!((counters.bytes_in, counters.bytes_out), (5, 15));
    assert_eq!((counters.lanes, counters.lanes_finished), (3, 3));
}

/// The payload is shared: no target has a copy of its own.
#[test]
fn payload_is_not_copied() {
    let payload = Bytes::from(vec![7; 4000]);
    let mut counters = Counters::default();
    let to = route(true, &[1, 2, 11]);
    let mut pipeline = Pipeline::open(
        HEADER,
        &to,
        payload.clone(),
        &Limits::default(),
        t0(),
        &mut counters,
    );
    pipeline.data(payload.clone(), t0(), &mut counters);
    let mut seen = 0;
    while let Some(output) = pipeline.poll_output() {
        let Output::Send(_, Step::Open { first: bytes, .. } | Step::Data(bytes)) = output else {
            panic!("{output:?}");
        };
        assert_eq!(bytes.as_ptr(), payload.as_ptr());
        seen += 1;
    }
    assert_eq!(seen, 8);
}

/// laps peering, "Pipeline forwarding": a reset is mirrored with its code, also behind what waits.
#[test]
fn a_reset_is_mirrored() {
    let mut run = Run::open(&route(true, &[1, 11]), b"", &Limits::default());
    run.data(&[0x10, 1]);
    run.reset(17);
    for target in [Target::Local, link(1)] {
        assert_eq!(run.got(target).reset, Some(ResetCause::Source(17)));
    }
    // A laps relay had no stream yet, and needs none.
    assert_eq!(run.got.get(&link(11)), None);
    assert!(run.pipeline.is_over() && !run.stopped);
    assert_eq!(run.counters.lanes_reset, 2);
    assert_eq!(
        (ResetCause::Source(17).code(), ResetCause::Overrun.code()),
        (17, 0)
    );
    run.fin();
    run.reset(1);
    assert!(run.got.values().all(|got| !got.fin));
}

/// A laps relay loses a stream whose head and subgroup header are not in its first write.
#[test]
fn laps_relays_get_head_and_first_payload_in_one() {
    // The longest there is, and the first object.
    let header_and_more: Vec<u8> = [&[0x14][..], &[0xff; 24], &[128], b"more"].concat();
    // Enough from the start.
    let run = Run::open(&route(false, &[1, 11]), &header_and_more, &Limits::default());
    assert_eq!(
        (
            run.got(link(11)).first,
            run.got(link(11)).header.unwrap().sns.get()
        ),
        (30, 1100)
    );
    // In pieces: collected up to its end, what is behind it follows.
    let mut run = Run::open(&route(false, &[1, 11]), b"", &Limits::default());
    for piece in header_and_more.chunks(8) {
        run.data(piece);
    }
    assert_eq!((run.got(link(1)).first, run.got(link(11)).first), (0, 26));
    assert_eq!(
        (&run.got(link(1)).bytes[..], &run.got(link(11)).bytes[..]),
        (&header_and_more[..], &header_and_more[..])
    );
    // Less than that, and the end.
    let mut run = Run::open(&route(false, &[11]), &[0x14, 1], &Limits::default());
    run.data(&[2]);
    assert!(run.got.is_empty());
    run.fin();
    assert_eq!((run.got(link(11)).first, run.got(link(11)).fin), (3, true));
}

/// The packet with the rest of a subgroup's header is lost, and comes again a round trip later or more; others have not
/// waited for it.
#[test]
fn laps_relays_get_no_part_of_a_header() {
    // Less than the lifetime of what is on the stream.
    let limits = Limits {
        park_for: ms(1000),
        ..Limits::default()
    };
    let mut run = Run::open(&route(false, &[1, 11]), &[0x10], &limits);
    run.data(&[1]);
    assert_eq!(run.pipeline.poll_timeout(), Some(run.now + limits.park_for));
    run.wait(limits.park_for - ms(1));
    assert_eq!(run.got.get(&link(11)), None);
    assert_eq!(run.got(link(1)).bytes, [0x10, 1]);
    run.data(&[2, 128]);
    assert_eq!(
        run.got(link(11)).first,
        4,
        "it is whole, and nothing else is waited for"
    );
    run.data(b"d");
    assert_eq!(run.got(link(11)).bytes, [0x10, 1, 2, 128, b'd']);
    // It does not come at all.
    let mut run = Run::open(&route(false, &[1, 11]), &[0x10], &limits);
    run.wait(limits.park_for);
    run.data(&[1, 2, 128]);
    assert_eq!(run.got.get(&link(11)), None);
    assert_eq!(run.counters.lanes_expired, 1);
    assert_eq!(run.got(link(1)).bytes, [0x10, 1, 2, 128]);
    // Nobody else wants it.
    let mut run = Run::open(&route(false, &[11]), &[0x10], &limits);
    run.wait(limits.park_for);
    assert!(run.stopped && run.pipeline.is_over());
}

/// Issue 6: a slow target does not hold the others; beyond the bound it is reset and counted.
#[test]
fn who_takes_too_little_is_left_behind() {
    let limits = Limits {
        max_waiting_bytes: 100,
        pause_at_bytes: 50,
        ..Limits::default()
    };
    let mut run = Run::open(&route(false, &[1, 2]), b"", &limits);
    for _ in 0..5 {
        run.data(&[0; 20]);
        run.taken(link(1), 20);
        assert!(run.pipeline.wants_data());
    }
    assert_eq!(
        (run.pipeline.waiting(link(1)), run.pipeline.waiting(link(2))),
        (Some(0), Some(100))
    );
    run.data(b"x");
    assert_eq!(run.got(link(2)).reset, Some(ResetCause::Overrun));
    assert_eq!(
        (run.got(link(2)).bytes.len(), run.got(link(1)).bytes.len()),
        (100, 101)
    );
    assert_eq!(
        (run.counters.lanes_overrun, run.pipeline.waiting(link(2))),
        (1, None)
    );
    assert_eq!(run.pipeline.targets().collect::<Vec<_>>(), [link(1)]);
    // One piece may be as large as it likes.
    run.taken(link(1), 1);
    run.data(&[0; 300]);
    assert_eq!(run.got(link(1)).reset, None);
    // Nobody takes anything: nothing more is read, and nothing is lost.
    assert!(!run.pipeline.wants_data());
    run.taken(link(1), 250);
    assert_eq!((run.pipeline.wants_data(), run.resumed), (false, 0));
    run.taken(link(1), 1);
    assert_eq!((run.pipeline.wants_data(), run.resumed), (true, 1));
}

/// A piece costs a fan-out as much as it has targets, not their square.
#[test]
fn what_many_targets_take_is_looked_at_once() {
    for targets in [8, 64, 512] {
        let egress = (1..=targets).map(|link| Egress {
            link: LinkId(link),
            sns: SnsId::FIRST,
            laps: false,
        });
        let mut run = Run::open(&Route::new(1, true, egress), b"abc", &Limits::default());
        let all = std::iter::once(Target::Local).chain((1..=targets).map(link));
        let all: Vec<_> = all.map(|target| (target, 4)).collect();
        let before = run.pipeline.looks;
        run.data(b"d");
        run.pipeline.taken(&all);
        assert_eq!(run.pipeline.looks, before + 2);
        let waiting = all.iter().filter_map(|(target, _)| run.pipeline.waiting(*target));
        assert_eq!(waiting.collect::<Vec<_>>(), vec![0; all.len()]);
    }
}

/// Issue 6: a target that stops, or whose link died, is out; when none is left, the source is told to stop.
#[test]
fn targets_leave() {
    let mut run = Run::open(&route(true, &[1, 11]), b"\x10b", &Limits::default());
    run.pipeline.stopped(link(1), &mut run.counters);
    run.pipeline.stopped(link(1), &mut run.counters);
    run.pipeline.link_down(LinkId(11), &mut run.counters);
    run.pipeline.link_down(LinkId(5), &mut run.counters);
    run.data(b"cd");
    assert_eq!(
        (&run.got(link(1)).bytes[..], &run.got(Target::Local).bytes[..]),
        (&b"\x10b"[..], &b"\x10bcd"[..])
    );
    assert_eq!(run.got(link(1)).reset, None);
    assert_eq!(run.got.get(&link(11)), None);
    assert!(!run.stopped);
    run.pipeline.stopped(Target::Local, &mut run.counters);
    run.drain();
    assert!(run.stopped && run.pipeline.is_over() && !run.pipeline.wants_data());
    assert_eq!((run.counters.lanes_stopped, run.counters.lanes_lost), (2, 1));
    assert_eq!(run.pipeline.poll_timeout(), None);
    // A route that leads nowhere.
    let run = Run::open(&route(false, &[]), b"ab", &Limits::default());
    assert!(run.stopped && run.pipeline.is_over() && run.got.is_empty());
}

/// laps peering, "Start of New Stream Data": what waited for longer than the lifetime is not sent; the subscribers here
/// have rules of their own.
#[test]
fn what_waits_expires() {
    let mut run = Run::open(&route(true, &[1, 2]), b"aaaa", &Limits::default());
    assert_eq!(run.pipeline.poll_timeout(), Some(run.now + ms(1600)));
    run.wait(ms(1000));
    run.data(b"bbbb");
    run.taken(link(1), 4);
    run.taken(link(2), 3);
    run.wait(ms(599));
    assert_eq!(run.got(link(2)).reset, None);
    run.wait(ms(1));
    assert_eq!(run.got(link(2)).reset, Some(ResetCause::Expired));
    assert_eq!((run.got(link(1)).reset, run.counters.lanes_expired), (None, 1));
    // Still when the source is over.
    run.fin();
    assert_eq!(run.pipeline.poll_timeout(), Some(run.now + ms(1000)));
    run.wait(ms(1000));
    assert_eq!(
        (run.got(link(1)).fin, run.got(link(1)).reset),
        (true, Some(ResetCause::Expired))
    );
    assert_eq!(
        (run.got(Target::Local).reset, run.pipeline.poll_timeout()),
        (None, None)
    );
    run.taken(Target::Local, 8);
    assert!(run.pipeline.is_over());
}

/// A stream that trickles for long is not remembered piece by piece.
#[test]
fn ages_are_few() {
    let mut run = Run::open(&route(false, &[1]), b"", &Limits::default());
    for _ in 0..100_000 {
        run.now += Duration::from_micros(15);
        run.data(b"x");
    }
    run.wait(Duration::ZERO);
    assert!(run.pipeline.age.entries() <= 17, "{}", run.pipeline.age.entries());
    assert_eq!(run.got(link(1)).reset, None);
    run.wait(ms(300));
    assert_eq!(run.got(link(1)).reset, Some(ResetCause::Expired));
    // Without a lifetime nothing is remembered.
    let mut age = Age::new(Duration::ZERO);
    age.came(1, run.now);
    assert_eq!((age.entries(), age.due()), (0, None));
}

#[derive(Clone, Debug)]
enum Event {
    Data(usize),
    Taken(u32, u64),
    Stopped(u32),
    Down(u32),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..60_usize).prop_map(Event::Data),
        4 => (0..4_u32, 0..80_u64).prop_map(|(target, bytes)| Event::Taken(target, bytes)),
        1 => (0..4_u32).prop_map(Event::Stopped),
        1 => (0..4_u32).prop_map(Event::Down),
        2 => (0..900_u64).prop_map(Event::Wait),
    ]
}

const TARGETS: [Target; 4] = [Target::Local, link(1), link(2), link(11)];

proptest! {
    /// Issue 6: every target gets exactly the bytes of the source in order, up to the end or a reset, whatever the
    /// others do; what waits for one stays within the bound.
    #[test]
    fn every_target_gets_the_bytes_or_a_reset(
        events in prop::collection::vec(event(), 0..60),
        fin in any::<bool>(),
    ) {
        let limits = Limits { max_waiting_bytes: 200, pause_at_bytes: 100, ..Limits::default() };
        let mut run = Run::open(&route(true, &[1, 2, 11]), b"", &limits);
        let mut sent: Vec<u8> = Vec::new();
        let mut gone = [false; 4];
        for event in events {
            match event {
                Event::Data(len) => {
                    let piece: Vec<u8> = (sent.len()..sent.len() + len)
                        // The header of a subgroup, and what follows.
                        .map(|n| 0x10_u8.wrapping_add(n.to_le_bytes()[0]))
                        .collect();
                    run.data(&piece);
                    // What comes after that nobody wants any more is not counted.
                    sent.extend(piece);
                }
                Event::Taken(at, bytes) => {
                    let target = TARGETS[at as usize];
                    let waiting = run.pipeline.waiting(target).unwrap_or(0);
                    let begun = run.got.contains_key(&target);
                    run.taken(target, if begun { bytes.min(waiting) } else { 0 });
                }
                Event::Stopped(at) => {
                    gone[at as usize] = true;
                    run.pipeline.stopped(TARGETS[at as usize], &mut run.counters);
                    run.drain();
                }
                Event::Down(at) => {
                    if let Target::Link(link) = TARGETS[at as usize] {
                        gone[at as usize] = true;
                        run.pipeline.link_down(link, &mut run.counters);
                        run.drain();
                    }
                }
                Event::Wait(time) => run.wait(ms(time)),
            }
            for target in TARGETS {
                prop_assert!(run.pipeline.waiting(target).unwrap_or(0) <= 200);
            }
            prop_assert!(run.pipeline.poll_timeout().is_none_or(|due| due > run.now) || run.pipeline.start.is_some());
        }
        if fin { run.fin() } else { run.reset(9) }
        for (target, gone) in TARGETS.into_iter().zip(gone) {
            let Some(got) = run.got.get(&target) else {
                prop_assert!(gone || !fin || run.counters.lanes_expired + run.counters.lanes_overrun > 0);
                continue;
            };
            prop_assert!(sent.starts_with(&got.bytes));
            let whole = got.bytes == sent;
            prop_assert!(whole || gone || got.reset.is_some(), "{:?} is cut short", target);
            prop_assert_eq!(got.fin && got.reset.is_none() && !whole, false);
            prop_assert!(gone || got.fin || got.reset.is_some());
        }
        // Once all is taken, nothing is left.
        for target in TARGETS {
            run.taken(target, u64::MAX);
        }
        prop_assert!(run.pipeline.is_over());
        prop_assert_eq!(run.pipeline.poll_timeout(), None);
        let live = run.got.values().filter(|got| got.reset.is_none()).map(|got| got.bytes.len() as u64);
        prop_assert!(live.sum::<u64>() <= run.counters.bytes_out);
    }
}
