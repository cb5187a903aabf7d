//! How far a subscription is behind its track, and what becomes of it then.
//!
//! What counts is payload that the log has for it and that the transport was not given yet: the rest of the subgroups
//! that it is in the middle of, and all of those that it has not begun. Counting that for every object and subscriber
//! would cost more than sending it. So a bound is kept that costs two subtractions: what was counted last, and what came
//! since less what was taken since. It is never too low; it is too high by what came for subgroups that the subscription
//! does not want, or gave up. Only when it passes the limit is counted again.
//!
//! While the relay is short of memory a lower limit holds as well, for those alone that are beyond it all the time:
//! a burst is behind for a moment in every subscription, however fast its subscriber reads.

use super::load::SLOW_AFTER;
use super::track_log::{Cursor, Position, SubgroupSeq, TrackLog};
use crate::moqt::filter::ResolvedFilter;
use crate::moqt::location::GroupId;
use crate::moqt::name::TrackNamespace;
use std::time::Instant;

/// What becomes of a subscription that is too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It ends. MOQT-14 §9.2.1.2, §9.12 [D14-SUB-30]: TOO_FAR_BEHIND.
    End,
    /// It goes on with the newest group.
    NewestGroup,
}

/// Which subscriptions go on with the newest group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipRules {
    /// All of them.
    pub all: bool,
    /// Those to tracks whose namespace begins with one of these.
    pub below: Vec<TrackNamespace>,
}

impl SkipRules {
    /// What becomes of a subscription to a track in `namespace`, when its publisher or its subscriber asked for a
    /// DELIVERY_TIMEOUT or neither did: whoever sets a time for objects can do without some.
    #[must_use]
    pub fn policy(&self, namespace: &TrackNamespace, has_timeout: bool) -> Policy {
        let skips = has_timeout || self.all || self.below.iter().any(|prefix| prefix.is_prefix_of(namespace));
        if skips { Policy::NewestGroup } else { Policy::End }
    }
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Near,
    /// It gives up all groups before this one, and goes on.
    SkipTo(GroupId),
    /// It ends.
    TooFar,
}

/// What a subscription reads, and from where on.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The log.
    pub log: &'a TrackLog,
    /// Behind the subgroups that were begun.
    pub cursor: &'a Cursor,
    /// What is wanted.
    pub filter: &'a ResolvedFilter,
    /// Bytes of payload that were sent of it since the subscription began.
    pub taken: u64,
    /// The log dropped something before it was taken.
    pub lost: bool,
}

/// A subgroup that a subscription is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its group.
    pub group: GroupId,
    /// Its place in the log.
    pub seq: SubgroupSeq,
    /// What comes next of it.
    pub position: Position,
    /// Bytes of payload that were read from the log, and yet wait for their turn to be sent.
    pub held: u64,
}

/// How far one subscription is behind.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    max: u64,
    /// What was counted last, and what had been offered and taken then.
    counted: u64,
    offered: u64,
    taken: u64,
    /// The lower limit that holds for now, and since when it is beyond that.
    squeeze: Option<Squeeze>,
    slow_since: Option<Instant>,
}

/// A lower limit, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Squeeze {
    max: u64,
    now: Instant,
}

impl Behind {
    /// A subscription that may be `max` bytes behind. It has yet to [begin](Self::begins).
    #[must_use]
    pub const fn new(max: u64) -> Self {
        Self {
            max,
            counted: 0,
            offered: 0,
            taken: 0,
            squeeze: None,
            slow_since: None,
        }
    }

    /// At `now` whoever is more than `max` bytes behind, and was for [`SLOW_AFTER`], is too far behind; none ends that.
    pub fn squeeze(&mut self, now: Instant, max: Option<u64>) {
        self.squeeze = max.map(|max| Squeeze { max, now });
        if max.is_none() {
            self.slow_since = None;
        }
    }

    /// It begins at the live edge of `log`, where it lacks nothing.
    pub const fn begins(&mut self, log: &TrackLog, taken: u64) {
        self.counted = 0;
        self.offered = log.offered();
        self.taken = taken;
        self.slow_since = None;
    }

    /// No more than this is it behind, in bytes.
    #[must_use]
    pub const fn at_most(&self, log: &TrackLog, taken: u64) -> u64 {
        let since = log.offered().saturating_sub(self.offered);
        self.counted
            .saturating_add(since)
            .saturating_sub(taken.saturating_sub(self.taken))
    }

    /// Where it stands; `open` are the subgroups that it is in the middle of.
    pub fn look<I>(&mut self, policy: Policy, at: &Reading<'_>, open: impl Fn() -> I) -> Standing
    where
        I: Iterator<Item = Open>,
    {
        let is_over = self.is_beyond(self.max, at, &open) || self.is_slow(at, &open);
        match policy {
            Policy::End if is_over || at.lost => Standing::TooFar,
            Policy::NewestGroup if is_over || at.lost => self.skip(at, &open, is_over),
            Policy::End | Policy::NewestGroup => Standing::Near,
        }
    }

    fn is_beyond<I>(&mut self, max: u64, at: &Reading<'_>, open: &impl Fn() -> I) -> bool
    where
        I: Iterator<Item = Open>,
    {
        self.at_most(at.log, at.taken) > max && {
            self.counted = unread(at, open, |_| true);
            self.offered = at.log.offered();
            self.taken = at.taken;
            self.counted > max
        }
    }

    /// It is beyond the lower limit, and never was within for a while.
    fn is_slow<I>(&mut self, at: &Reading<'_>, open: &impl Fn() -> I) -> bool
    where
        I: Iterator<Item = Open>,
    {
        let Some(squeeze) = self.squeeze else {
            return false;
        };
        if !self.is_beyond(squeeze.max, at, open) {
            self.slow_since = None;
            return false;
        }
        let since = *self.slow_since.get_or_insert(squeeze.now);
        squeeze.now.saturating_duration_since(since) >= SLOW_AFTER
    }

    fn skip<I>(&self, at: &Reading<'_>, open: &impl Fn() -> I, is_over: bool) -> Standing
    where
        I: Iterator<Item = Open>,
    {
        let newest = at.log.newest_group();
        let Some(newest) = newest.map(|newest| at.filter.end_group.map_or(newest, |end| end.min(newest)))
        else {
            return Standing::Near;
        };
        // A group that alone is more than the limit leaves nothing newer to go to.
        if is_over && unread(at, open, |group| group >= newest) > self.max {
            Standing::TooFar
        } else if at.filter.start.group < newest {
            Standing::SkipTo(newest)
        } else {
            Standing::Near
        }
    }
}

/// What of these groups was not taken, in bytes of payload.
fn unread<I>(at: &Reading<'_>, open: &impl Fn() -> I, which: impl Fn(GroupId) -> bool) -> u64
where
    I: Iterator<Item = Open>,
{
    let begun: u64 = open()
        .filter(|open| which(open.group))
        .map(|open| open.held + at.log.unread(open.seq, &open.position))
        .sum();
    let wanted = |group| at.filter.admits_group(group) && which(group);
    begun + at.log.ahead_of(at.cursor, |info| wanted(info.group))
}

#[cfg(test)]
mod tests {
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
                        payload_len: len as u64,
                    },
                },
                Append::Payload {
                    stream: group,
                    bytes: Bytes::from(vec![0; len]),
                },
                Append::SubgroupClosed {
                    stream: group,
                    end: StreamEnd::Fin,
                },
            ];
            for chunk in chunks {
                self.log.append(self.now, chunk);
            }
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

    /// D14-SUB-30: the newest group instead of the end, unless that alone is too much.
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
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::TooFar);
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
        let at = |ms| start + std::time::Duration::from_millis(ms);
        bench.group(0, 100);
        bench.begin();
        bench.behind.squeeze(at(0), Some(50));
        assert_eq!(
            bench.look(Policy::End, false),
            Standing::Near,
            "a burst is no slowness"
        );
        bench.behind.squeeze(at(1999), Some(50));
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        // It catches up just in time, and the next burst is another one.
        (0..2).for_each(|_| bench.take());
        bench.send();
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        bench.group(1, 100);
        bench.behind.squeeze(at(2500), Some(50));
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        bench.behind.squeeze(at(4499), Some(50));
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        // An end of the shortage ends it, too.
        bench.behind.squeeze(at(4500), None);
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        bench.behind.squeeze(at(9000), Some(50));
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        bench.behind.squeeze(at(11_000), Some(100));
        assert_eq!(
            bench.look(Policy::End, false),
            Standing::Near,
            "it is at the limit"
        );
        bench.behind.squeeze(at(11_000), Some(99));
        assert_eq!(bench.look(Policy::End, false), Standing::Near);
        bench.behind.squeeze(at(13_000), Some(99));
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
        bench.behind.squeeze(bench.now, Some(50));
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
        bench.behind.squeeze(later, Some(50));
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::SkipTo(2));
        bench.filter.start = Location::new(2, 0);
        // The newest alone is more than that, and less than what it may have at other times.
        assert_eq!(bench.look(Policy::NewestGroup, false), Standing::Near);
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
}
