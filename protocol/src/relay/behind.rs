//! How far a subscription is behind its track, and what becomes of it then.
//!
//! What counts is payload that the log has for it and that the transport was not given yet: the rest of the subgroups
//! that it is in the middle of, and all of those that it has not begun. Counting that for every object and subscriber
//! would cost more than sending it. So a bound is kept that costs two subtractions: what was counted last, and what came
//! since less what was taken since. It is never too low; it is too high by what came for subgroups that the subscription
//! does not want, or gave up. Only when it passes the limit is counted again.
//!
//! A subscription that goes on with the newest group gives up, beside what is too much, what has waited for too long while
//! a newer group is there: few bytes of a slow track are old as well. What is with the transport waits no more, and what is
//! late by its publisher's doing has only just come. That costs a look at the open subgroups four times in that long, however
//! many objects come.
//!
//! To begin a stream and reset it costs more than a slow subscriber takes of it in a few milliseconds, and a flood passes
//! the limit as often as that. So one that has just skipped stays with what it went on with: it begins nothing new until its
//! time is over, or until it has sent all that it began.
//!
//! While the relay is short of memory a lower limit holds as well, for those alone that are beyond it all the time:
//! a burst is behind for a moment in every subscription, however fast its subscriber reads.

use super::load::SLOW_AFTER;
use super::track_log::{Cursor, Position, SubgroupSeq, TrackLog};
use crate::moqt::filter::ResolvedFilter;
use crate::moqt::location::GroupId;
use crate::moqt::name::TrackNamespace;
use std::time::{Duration, Instant};

/// How long a subscription that gave up the newest group waits for a newer one, while its track goes on: as long as a group
/// of live video has ever reason to be. After that its subscriber has to be told that nothing comes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often in the longest wait it is looked for what has waited for so long.
const LOOKS: u32 = 4;

/// How often in the longest wait groups are given up because too much comes, at most: what is sent is never as old as that.
const SKIPS: u32 = 2;

/// How long a subscription stays with what it went on with, where no longest wait says it: half of the usual one.
const STAY: Duration = Duration::from_millis(250);

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
    /// How long what came may wait for one of these, while a newer group is there; none for as long as it is not too much.
    pub max_wait: Option<Duration>,
}

impl SkipRules {
    /// What becomes of a subscription to a track in `namespace`, when its publisher or its subscriber asked for a
    /// DELIVERY_TIMEOUT or neither did: whoever sets a time for objects can do without some.
    #[must_use]
    pub fn policy(&self, namespace: &TrackNamespace, has_timeout: bool) -> Policy {
        if has_timeout || self.covers(namespace) {
            Policy::NewestGroup
        } else {
            Policy::End
        }
    }

    /// How long what came may wait for a subscription to a track in `namespace`. A DELIVERY_TIMEOUT alone brings no such
    /// limit with it: that says itself how old an object may be.
    #[must_use]
    pub fn max_wait(&self, namespace: &TrackNamespace) -> Option<Duration> {
        self.max_wait.filter(|_| self.covers(namespace))
    }

    fn covers(&self, namespace: &TrackNamespace) -> bool {
        self.all || self.below.iter().any(|prefix| prefix.is_prefix_of(namespace))
    }
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Near,
    /// It goes on with what it has begun, and begins nothing new: it has only just given up something.
    Stays,
    /// It gives up all groups before this one, and goes on.
    SkipTo(GroupId),
    /// It ends.
    TooFar,
}

/// What a subscription reads, and from where on.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The time.
    pub now: Instant,
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
    /// Nothing of it that waits came before this, as far as its owner knows: the object that is held began to come then, or
    /// all that had come was sent then. The log knows only when an object began to come, and its last byte may come much later.
    pub since: Option<Instant>,
    /// Whether it can go on.
    pub waits: Waits,
}

/// What a subgroup waits for that a subscription is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// For its subscriber to take more of it.
    Peer,
    /// For its publisher: all that had come when it was last seen was sent.
    Log,
    /// For nothing: all of it was sent.
    Nothing,
}

/// How far one subscription is behind.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    max: u64,
    max_wait: Option<Duration>,
    /// What was counted last, and what had been offered and taken then.
    counted: u64,
    offered: u64,
    taken: u64,
    /// The lower limit that holds for now, and since when it is beyond that.
    squeeze: Option<u64>,
    slow_since: Option<Instant>,
    /// Before this nothing can have waited for too long that was not known when it was last looked.
    wait_over: Option<Instant>,
    /// Something may be waiting in a group that is not the newest, and when it is to be looked at again if nothing comes.
    due: Option<Instant>,
    /// It gave up the newest group then, and there is no newer one yet.
    pause: Option<Instant>,
    /// When it last gave up something, and until when it stays with what it went on with.
    skipped: Option<Instant>,
    stays: Option<Instant>,
}

impl Behind {
    /// A subscription that may be `max` bytes behind. It has yet to [begin](Self::begins).
    #[must_use]
    pub const fn new(max: u64) -> Self {
        Self {
            max,
            max_wait: None,
            counted: 0,
            offered: 0,
            taken: 0,
            squeeze: None,
            slow_since: None,
            wait_over: None,
            due: None,
            pause: None,
            skipped: None,
            stays: None,
        }
    }

    /// One that goes on with the newest group, too, when something older waits for longer than this; none for no such limit.
    #[must_use]
    pub const fn waiting(self, max_wait: Option<Duration>) -> Self {
        Self { max_wait, ..self }
    }

    /// From now on whoever is more than `max` bytes behind, and was for [`SLOW_AFTER`], is too far behind; none ends that.
    pub const fn squeeze(&mut self, max: Option<u64>) {
        self.squeeze = max;
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
        (self.wait_over, self.due, self.pause) = (None, None, None);
        (self.skipped, self.stays) = (None, None);
    }

    /// When to [look](Self::look) again though nothing may have come by then; none when nothing waits.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        match self.stays {
            Some(until) => Some(until),
            None => self.due,
        }
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
        self.stays = None;
        let standing = match policy {
            Policy::End if is_over || at.lost => Standing::TooFar,
            Policy::NewestGroup if self.paused_too_long(at) => Standing::TooFar,
            Policy::NewestGroup if is_over && !at.lost && self.stays(at, &open) => Standing::Stays,
            Policy::NewestGroup if is_over || at.lost || self.is_stale(at, &open) => {
                self.skip(at, &open, is_over)
            }
            Policy::End | Policy::NewestGroup => Standing::Near,
        };
        if matches!(standing, Standing::SkipTo(_)) {
            self.skipped = Some(at.now);
        }
        standing
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
        if !self.is_beyond(squeeze, at, open) {
            self.slow_since = None;
            return false;
        }
        let since = *self.slow_since.get_or_insert(at.now);
        at.now.saturating_duration_since(since) >= SLOW_AFTER
    }

    /// Something of a group that is not the newest has waited for too long.
    fn is_stale<I>(&mut self, at: &Reading<'_>, open: &impl Fn() -> I) -> bool
    where
        I: Iterator<Item = Open>,
    {
        let Some(most) = self.max_wait else {
            return false;
        };
        if self.wait_over.is_some_and(|over| at.now < over) {
            // Something may have come that nobody looks at before the next comes, which it may not.
            self.due = self.due.or(Some(at.now + most));
            return false;
        }
        let oldest = newest(at).and_then(|newest| waits_since(at, open, newest));
        let over = oldest.map(|since| since + most);
        let again = at.now + most / LOOKS;
        self.wait_over = Some(
            over.filter(|over| *over > at.now)
                .map_or(again, |over| again.min(over)),
        );
        self.due = oldest.map(|_| at.now + most);
        over.is_some_and(|over| over <= at.now)
    }

    /// It has only just given up something, and its subscriber has yet to take what it went on with. Whoever takes all
    /// that was begun is slow by nobody's measure, and what has a part that goes on may not wait for the other.
    fn stays<I>(&mut self, at: &Reading<'_>, open: &impl Fn() -> I) -> bool
    where
        I: Iterator<Item = Open>,
    {
        let stay = self.max_wait.map_or(STAY, |most| most / SKIPS);
        let until = self.skipped.map(|skipped| skipped + stay);
        let goes_on = || open().any(|open| open.waits == Waits::Log);
        let is_held_up = || open().any(|open| open.waits == Waits::Peer);
        self.stays = until.filter(|until| at.now < *until && !goes_on() && is_held_up());
        self.stays.is_some()
    }

    /// The newest group was given up, and its track goes on without a newer one.
    fn paused_too_long(&mut self, at: &Reading<'_>) -> bool {
        let Some(since) = self.pause else {
            return false;
        };
        if newest(at).is_some_and(|newest| newest >= at.filter.start.group) {
            self.pause = None;
            return false;
        }
        at.now.saturating_duration_since(since) >= LONGEST_PAUSE
    }

    fn skip<I>(&mut self, at: &Reading<'_>, open: &impl Fn() -> I, is_over: bool) -> Standing
    where
        I: Iterator<Item = Open>,
    {
        let Some(newest) = newest(at) else {
            return Standing::Near;
        };
        if is_over && unread(at, open, |group| group >= newest) > self.max {
            // A group that alone is more than the limit leaves nothing newer to go to, yet. No subgroup can be joined in
            // the middle: what is left of it is given up, and the next group is the first that can be begun.
            let next = newest.saturating_add(1);
            if !at.filter.admits_group(next) {
                return Standing::TooFar;
            }
            self.pause = Some(at.now);
            Standing::SkipTo(next)
        } else if at.filter.start.group < newest {
            Standing::SkipTo(newest)
        } else {
            Standing::Near
        }
    }
}

/// The newest group that is wanted.
fn newest(at: &Reading<'_>) -> Option<GroupId> {
    let newest = at.log.newest_group()?;
    Some(at.filter.end_group.map_or(newest, |end| end.min(newest)))
}

/// Since when the oldest waits of what is wanted of the groups before `newest`.
fn waits_since<I>(at: &Reading<'_>, open: &impl Fn() -> I, newest: GroupId) -> Option<Instant>
where
    I: Iterator<Item = Open>,
{
    let begun = open().filter(|open| open.group < newest).filter_map(|open| {
        let next = || at.log.unread_since(open.seq, &open.position);
        if open.held > 0 {
            open.since.or_else(next)
        } else {
            next().map(|came| open.since.map_or(came, |since| since.max(came)))
        }
    });
    let wanted = |group| at.filter.admits_group(group) && group < newest;
    let ahead = at.log.ahead_since(at.cursor, |info| wanted(info.group));
    begun.chain(ahead).min()
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
        let namespace =
            |text: &'static str| TrackNamespace::new([Bytes::from_static(text.as_bytes())]).unwrap();
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
}
