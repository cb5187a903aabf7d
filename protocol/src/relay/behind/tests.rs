//! Who is behind, and what becomes of it.

#![expect(clippy::disallowed_methods, reason = "a base of virtual time")]

use super::*;
use crate::moqt::location::Location;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Append, Limits, Next, Read, StreamEnd};
use bytes::Bytes;
use std::cell::Cell;
use std::time::Instant;

const ALL: ResolvedFilter = ResolvedFilter {
    start: Location::ZERO,
    end_group: None,
};

struct Bench {
    log: TrackLog,
    now: Instant,
    behind: Behind,
    cursor: Cursor,
    filter: ResolvedFilter,
    taken: u64,
    open: Vec<Open>,
    counts: Cell<u32>,
}

impl Bench {
    fn new(max: u64) -> Self {
        let log = TrackLog::new(Limits::default());
        let mut behind = Behind::new(max);
        behind.begins(&log, 0);
        Self {
            log,
            now: Instant::now(),
            behind,
            cursor: Cursor::default(),
            filter: ALL,
            taken: 0,
            open: Vec::new(),
            counts: Cell::new(0),
        }
    }

    /// Object 0 of a group, on a stream of its own.
    fn group(&mut self, group: GroupId, len: usize) {
        self.part(group, len as u64, len);
        let end = StreamEnd::Fin;
        let closed = Append::SubgroupClosed { stream: group, end };
        self.log.append(self.now, closed);
    }

    /// The first `len` bytes of such an object.
    fn part(&mut self, group: GroupId, payload_len: u64, len: usize) {
        let chunks = [
            Append::SubgroupOpened {
                stream: group,
                group,
                subgroup: 0,
                priority: 0,
                has_extensions: false,
                end_of_group: false,
            },
            Append::ObjectStarted {
                stream: group,
                header: ObjectHeader {
                    id: 0,
                    status: ObjectStatus::Normal,
                    extensions: Bytes::new(),
                    payload_len,
                },
            },
        ];
        for chunk in chunks {
            self.log.append(self.now, chunk);
        }
        self.more(group, len);
    }

    fn more(&mut self, stream: u64, len: usize) {
        let bytes = Bytes::from(vec![0; len]);
        self.log.append(self.now, Append::Payload { stream, bytes });
    }

    fn begin(&mut self) {
        let Next::Ready(seq) = self.log.next_subgroup(&mut self.cursor) else {
            panic!()
        };
        let group = self.log.subgroup(seq).unwrap().group;
        self.open.push(Open {
            group,
            seq,
            position: Position::default(),
            held: 0,
            since: None,
            waits: Waits::Peer,
        });
    }

    /// Takes the next piece of the last subgroup that was begun.
    fn take(&mut self) {
        let open = self.open.last_mut().unwrap();
        if let Read::Payload(bytes) = self.log.read(open.seq, &mut open.position) {
            open.held += bytes.len() as u64;
        }
    }

    fn send(&mut self) {
        self.taken += std::mem::take(&mut self.open.last_mut().unwrap().held);
    }

    fn look(&mut self, policy: Policy, lost: bool) -> Standing {
        let at = Reading {
            now: self.now,
            log: &self.log,
            cursor: &self.cursor,
            filter: &self.filter,
            taken: self.taken,
            lost,
        };
        let (open, counts) = (&self.open, &self.counts);
        self.behind.look(policy, &at, || {
            counts.set(counts.get() + 1);
            open.iter().copied()
        })
    }
}

/// D14-SUB-30 D14-LIM-4: all that is not taken counts, begun or not, up to the limit and no further.
#[test]
fn what_is_not_taken_counts_up_to_the_limit() {
    let mut bench = Bench::new(250);
    for group in 0..2 {
        bench.group(group, 100);
    }
    bench.begin();
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    assert_eq!(bench.counts.get(), 0, "far below the limit nothing is counted");
    bench.group(2, 50);
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.group(3, 1);
    assert_eq!(bench.look(Policy::End, false), Standing::TooFar);
    // One that takes what it has begun is nearer again, when that is sent.
    bench.take();
    bench.take();
    assert_eq!(bench.look(Policy::End, false), Standing::TooFar);
    bench.send();
    assert_eq!(bench.taken, 100);
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    assert_eq!(bench.behind.at_most(&bench.log, bench.taken), 151);
}

/// D14-SUB-30: what is not wanted does not count, however much of it comes.
#[test]
fn what_is_not_wanted_does_not_count() {
    let mut bench = Bench::new(250);
    bench.filter.start = Location::new(100, 0);
    for group in 0..50 {
        bench.group(group, 100);
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    }
    // It is counted once for as much as fits under the limit, not once for each object.
    assert!(bench.counts.get() < 50, "{}", bench.counts.get());
    bench.group(100, 251);
    assert_eq!(bench.look(Policy::End, false), Standing::TooFar);
}

/// D14-SUB-30: the newest group instead of the end, and when that alone is too much the one after it.
#[test]
fn the_newest_group_is_what_is_left() {
    let mut bench = Bench::new(250);
    for group in [7, 5, 9, 6] {
        bench.group(group, 100);
    }
    bench.begin();
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(9));
    bench.filter.start = Location::new(9, 0);
    bench.open.clear();
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    assert_eq!(
        bench.look(Policy::NewestGroup, true),
        Standing::Near,
        "it is there already"
    );
    bench.group(10, 100);
    assert_eq!(bench.look(Policy::NewestGroup, true), Standing::SkipTo(10));
    bench.group(11, 251);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(12));
    bench.filter.end_group = Some(11);
    assert_eq!(
        bench.look(Policy::NewestGroup, false),
        Standing::TooFar,
        "there is none that is wanted"
    );
    // No further than to the last wanted group.
    bench.filter.end_group = Some(9);
    bench.filter.start = Location::ZERO;
    assert_eq!(bench.look(Policy::NewestGroup, true), Standing::SkipTo(9));
}

/// D14-SUB-30 D14-LIM-7: short of memory, the relay lets go of those that stay behind, and of nobody who catches up.
#[test]
fn a_lower_limit_holds_for_who_stays_behind() {
    let mut bench = Bench::new(1000);
    let start = bench.now;
    let at = |ms| start + Duration::from_millis(ms);
    bench.group(0, 100);
    bench.begin();
    bench.now = at(0);
    bench.behind.squeeze(Some(50));
    assert_eq!(
        bench.look(Policy::End, false),
        Standing::Near,
        "a burst is no slowness"
    );
    bench.now = at(1999);
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    // It catches up just in time, and the next burst is another one.
    (0..2).for_each(|_| bench.take());
    bench.send();
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.group(1, 100);
    bench.now = at(2500);
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.now = at(4499);
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    // An end of the shortage ends it, too.
    bench.now = at(4500);
    bench.behind.squeeze(None);
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.now = at(9000);
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.now = at(11_000);
    bench.behind.squeeze(Some(100));
    assert_eq!(
        bench.look(Policy::End, false),
        Standing::Near,
        "it is at the limit"
    );
    bench.now = at(11_000);
    bench.behind.squeeze(Some(99));
    assert_eq!(bench.look(Policy::End, false), Standing::Near);
    bench.now = at(13_000);
    bench.behind.squeeze(Some(99));
    assert_eq!(bench.look(Policy::End, false), Standing::TooFar);
}

/// D14-SUB-30: one that goes on with the newest group loses what is older, and never ends for that.
#[test]
fn a_lower_limit_skips_where_skipping_is_wanted() {
    let mut bench = Bench::new(1000);
    let later = bench.now + SLOW_AFTER;
    for group in 0..3 {
        bench.group(group, 100);
    }
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    bench.now = later;
    bench.behind.squeeze(Some(50));
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(2));
    bench.filter.start = Location::new(2, 0);
    // The newest alone is more than that, and less than what it may have at other times.
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
}

/// D14-SUB-30: who gave up the newest group goes on with the next, or is told that there is none.
#[test]
fn a_group_that_never_ends_is_not_waited_out_in_silence() {
    let skipped = || {
        let mut bench = Bench::new(250);
        bench.group(3, 251);
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(4));
        bench.filter.start = Location::new(4, 0);
        bench.open.clear();
        bench
    };
    let mut bench = skipped();
    bench.now += LONGEST_PAUSE - Duration::from_millis(1);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    bench.group(4, 10);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    bench.now += LONGEST_PAUSE;
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    let mut bench = skipped();
    bench.now += LONGEST_PAUSE;
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::TooFar);
}

const MAX_WAIT: Duration = Duration::from_millis(500);

/// One that is too far behind for the second time in a moment: in the middle of group 3, with which it went on, while 4
/// to 6 came.
fn behind_again(max_wait: Option<Duration>) -> Bench {
    let mut bench = Bench::new(250);
    bench.behind = bench.behind.waiting(max_wait);
    (0..4).for_each(|group| bench.group(group, 100));
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(3));
    bench.filter.start = Location::new(3, 0);
    (0..4).for_each(|_| bench.begin());
    bench.open.drain(..3);
    (4..7).for_each(|group| bench.group(group, 100));
    bench
}

/// D14-SUB-30 D14-LIM-7: a flood is beyond the limit again and again; to begin anew each time would cost more than what
/// is taken of it.
#[test]
fn who_has_just_skipped_stays_with_what_it_went_on_with() {
    for (max_wait, stay) in [(Some(MAX_WAIT), MAX_WAIT / 2), (None, STAY)] {
        let mut bench = behind_again(max_wait);
        let until = bench.now + stay;
        for group in 7..1000 {
            assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Stays);
            assert_eq!(bench.behind.due(), Some(until), "it is looked at then");
            bench.group(group, 100);
        }
        bench.now = until;
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(999));
        assert_ne!(bench.behind.due(), Some(until));
    }
}

/// D14-SUB-30: nobody is kept from what is new who takes all that was begun, or can take some of it no more.
#[test]
fn who_can_go_on_does_not_stay() {
    let skips = |change: fn(&mut Bench), lost| {
        let mut bench = behind_again(Some(MAX_WAIT));
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Stays);
        change(&mut bench);
        assert_eq!(bench.look(Policy::NewestGroup, lost), Standing::SkipTo(6));
    };
    skips(|bench| bench.open[0].waits = Waits::Nothing, false);
    skips(|bench| bench.open.clear(), false);
    skips(|_| {}, true);
    // One part of it keeps up, and another does not: the first goes on with the next group at once.
    skips(
        |bench| {
            bench.begin();
            bench.open[1].waits = Waits::Log;
        },
        false,
    );
    // Who reads another log from its live edge on has given up nothing there.
    let mut bench = behind_again(Some(MAX_WAIT));
    bench.behind.begins(&bench.log, 0);
    (7..10).for_each(|group| bench.group(group, 100));
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(9));
    let mut bench = behind_again(None);
    assert_eq!(bench.look(Policy::End, false), Standing::TooFar);
}

fn hurried() -> Bench {
    let mut bench = Bench::new(1 << 30);
    bench.behind = bench.behind.waiting(Some(MAX_WAIT));
    bench
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// D14-SUB-30: what has waited for too long is given up for a newer group, begun or not, however little it is.
#[test]
fn what_has_waited_for_too_long_is_given_up_for_a_newer_group() {
    for begun in [false, true] {
        let mut bench = hurried();
        bench.group(0, 1);
        if begun {
            bench.begin();
        }
        bench.now += ms(2000);
        assert_eq!(
            bench.look(Policy::NewestGroup, false),
            Standing::Near,
            "nothing is newer"
        );
        bench.group(1, 1);
        bench.now += ms(125);
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(1));
        bench.filter.start = Location::new(1, 0);
        bench.open.clear();
        bench.now += ms(2000);
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    }
}

/// D14-SUB-30: who has taken everything is not behind, however old that is; nor is one that holds what is new.
#[test]
fn what_is_taken_does_not_wait() {
    let mut bench = hurried();
    bench.group(0, 10);
    bench.begin();
    (0..2).for_each(|_| bench.take());
    // Held, and for too long only by the log's word: its owner knows better.
    let began = bench.now;
    bench.now += ms(600);
    bench.group(1, 1);
    bench.open[0].since = Some(bench.now - ms(10));
    bench.begin();
    (0..2).for_each(|_| bench.take());
    bench.send();
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    // It does for as long as it is allowed to.
    bench.open[0].since = Some(began);
    bench.now += ms(125);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(1));
    bench.taken += std::mem::take(&mut bench.open[0].held);
    bench.now += ms(5000);
    bench.group(2, 0);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    assert!(bench.behind.due().is_none(), "nothing waits");
}

/// D14-SUB-30: an object that its publisher sends slowly is late for nobody who takes what there is of it.
#[test]
fn a_slow_publisher_makes_nobody_late() {
    let mut bench = hurried();
    bench.part(0, 1000, 10);
    bench.begin();
    (0..2).for_each(|_| bench.take());
    bench.send();
    bench.now += ms(600);
    bench.group(1, 1);
    bench.begin();
    (0..2).for_each(|_| bench.take());
    bench.send();
    assert_eq!(
        bench.look(Policy::NewestGroup, false),
        Standing::Near,
        "all is taken"
    );
    // More of it comes, and is looked at before it can be taken.
    bench.now += ms(600);
    bench.more(0, 10);
    bench.open[0].since = Some(bench.now);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    bench.now += ms(499);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    bench.now += ms(1);
    assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(1));
}

/// D14-LIM-7: objects that come are not looked at one by one.
#[test]
fn time_is_looked_at_seldom() {
    let mut bench = hurried();
    for group in 0..1000 {
        bench.now += ms(1);
        bench.group(group, 1);
        bench.begin();
        (0..2).for_each(|_| bench.take());
        bench.send();
        bench.open.clear();
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
    }
    assert_eq!(bench.counts.get(), 8, "four times in 500 ms");
    // What came since is looked at by the end of the time that it may wait.
    assert!(bench.behind.due().is_some_and(|due| due <= bench.now + MAX_WAIT));
}

#[test]
fn a_longest_wait_is_for_whom_the_operator_names() {
    let namespace = |text: &'static str| TrackNamespace::new([Bytes::from_static(text.as_bytes())]).unwrap();
    let rules = SkipRules {
        below: vec![namespace("live")],
        max_wait: Some(MAX_WAIT),
        ..SkipRules::default()
    };
    assert_eq!(rules.max_wait(&namespace("live")), Some(MAX_WAIT));
    // One with a DELIVERY_TIMEOUT skips as well, and has said how old an object may be.
    assert_eq!(rules.policy(&namespace("talk"), true), Policy::NewestGroup);
    assert_eq!(rules.max_wait(&namespace("talk")), None);
}

#[test]
fn rules_go_by_namespace_and_timeout() {
    let namespace = |text: &'static str| {
        let fields = text.split('/').map(|field| Bytes::from_static(field.as_bytes()));
        TrackNamespace::new(fields).unwrap()
    };
    let rules = SkipRules {
        all: false,
        below: vec![namespace("live/cam"), namespace("talk")],
        max_wait: None,
    };
    for (text, has_timeout, policy) in [
        ("live/cam", false, Policy::NewestGroup),
        ("live/cam/4", false, Policy::NewestGroup),
        ("live/cam4", false, Policy::End),
        ("live", false, Policy::End),
        ("live", true, Policy::NewestGroup),
        ("talk/a", false, Policy::NewestGroup),
    ] {
        assert_eq!(rules.policy(&namespace(text), has_timeout), policy, "{text}");
    }
    assert_eq!(
        SkipRules::default().policy(&namespace("talk"), false),
        Policy::End
    );
    let all = SkipRules {
        all: true,
        ..SkipRules::default()
    };
    assert_eq!(all.policy(&namespace("a"), false), Policy::NewestGroup);
}

/// D14-SUB-30: what the log dropped before it was taken is as much too far as what it still has.
#[test]
fn what_the_log_dropped_is_too_far() {
    let mut bench = Bench::new(250);
    bench.group(0, 1);
    assert_eq!(bench.look(Policy::End, true), Standing::TooFar);
}
