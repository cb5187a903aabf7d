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
mod tests;
