//! A subscriber that does not keep up: it goes on with the newest group, or its subscription ends (decision 0017).

use super::SubscriptionActor;
use crate::metrics::{Count, tally};
use crate::track::TrackGone;
use crate::track::handle::{self, LogId};
use actix::{AsyncContext, Context, SpawnHandle};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::relay::behind::{Behind, Reading, Standing};
use slog::{debug, info};
use std::time::{Duration, Instant};

/// How far a subscription is behind, and what it gave up for that.
#[derive(Debug)]
pub(super) struct Lag {
    behind: Behind,
    /// Groups before this one are given up.
    floor: Option<GroupId>,
    /// How often groups were given up.
    pub(super) skips: u64,
    /// It begins nothing new, and has no need to hear of what comes.
    pub(super) stays: bool,
    /// It was told of it all the same, and has not said that it may be told again.
    pub(super) withheld: bool,
    /// Datagrams come as well, which wait for no stream.
    pub(super) datagrams: bool,
    /// Looks again when nothing comes: what waits grows old by itself.
    timer: Option<(Instant, SpawnHandle)>,
}

impl Lag {
    /// A subscription that may be `max` bytes behind, and while it skips no longer than `max_wait`.
    pub(super) const fn new(max: u64, max_wait: Option<Duration>) -> Self {
        Self {
            behind: Behind::new(max).waiting(max_wait),
            floor: None,
            skips: 0,
            stays: false,
            withheld: false,
            datagrams: false,
            timer: None,
        }
    }
}

impl SubscriptionActor {
    /// It reads `log` from the live edge on, in a life of the track in which no group is given up yet.
    pub(super) fn begin_near(&mut self, log: LogId) {
        self.lag.floor = None;
        // What the life before lost is settled.
        self.birth.streams.take_lost();
        self.resume_near(log);
    }

    /// It reads `log` from the live edge on.
    pub(super) fn resume_near(&mut self, log: LogId) {
        let taken = self.birth.streams.taken();
        handle::read(log, |log| self.lag.behind.begins(log, taken));
    }

    /// What is wanted and was not given up.
    pub(super) fn not_given_up(&self, filter: ResolvedFilter) -> ResolvedFilter {
        let floor = self
            .lag
            .floor
            .map_or(Location::ZERO, |group| Location::new(group, 0));
        ResolvedFilter {
            start: filter.start.max(floor),
            ..filter
        }
    }

    /// Looks how far behind it is, and does what follows. False when it ends.
    pub(super) fn keep_up(&mut self, ctx: &mut Context<Self>, lost: bool) -> bool {
        let lost = self.birth.streams.take_lost() || lost;
        let Some(place) = &self.place else {
            return true;
        };
        let (streams, filter) = (&self.birth.streams, self.filter.get());
        let namespace = self.birth.spec.subscribe.track.namespace();
        let has_timeout = streams.timeout().is_some();
        let policy = self.birth.env.session.skips.policy(namespace, has_timeout);
        let most = self.birth.env.session.max_behind;
        let squeezed = self.birth.env.strain.max_behind(most);
        let (lag, now) = (&mut self.lag, Instant::now());
        lag.behind.squeeze(squeezed);
        let standing = handle::read(place.log, |log| {
            let at = Reading {
                now,
                log,
                cursor: &place.cursor,
                filter: &filter,
                taken: streams.taken(),
                lost,
            };
            let standing = streams.stand(&mut lag.behind, policy, &at);
            (standing, lag.behind.at_most(log, at.taken))
        });
        lag.stays = matches!(standing, Some((Standing::Stays, _)));
        streams.attend(lag.stays);
        match standing {
            None | Some((Standing::Near | Standing::Stays, _)) => {}
            Some((Standing::SkipTo(group), bytes)) => self.skip_to(group, bytes),
            Some((Standing::TooFar, bytes)) => {
                self.too_far_behind(ctx, bytes);
                return false;
            }
        }
        self.watch_lag(ctx, now);
        true
    }

    /// Sets the timer, unless it is set to an earlier time: whoever waits is looked at again when a publisher that falls silent says nothing.
    fn watch_lag(&mut self, ctx: &mut Context<Self>, now: Instant) {
        let Some(due) = self.lag.behind.due() else {
            return;
        };
        if let Some((set, timer)) = self.lag.timer {
            if set <= due {
                return;
            }
            ctx.cancel_future(timer);
        }
        let wait = due.saturating_duration_since(now);
        let timer = ctx.run_later(wait, |actor, ctx| {
            actor.lag.timer = None;
            actor.look(ctx);
        });
        self.lag.timer = Some((due, timer));
    }

    fn skip_to(&mut self, group: GroupId, bytes: u64) {
        self.lag.floor = Some(group);
        self.lag.skips += 1;
        tally::count(Count::DropSkippedToNewest, 1);
        // Somebody who is always too slow would fill the operator's log.
        if self.lag.skips == 1 {
            info!(self.birth.log, "too far behind, goes on with the newest group"; "bytes" => bytes, "group" => group);
        } else {
            debug!(self.birth.log, "too far behind, goes on with the newest group"; "bytes" => bytes, "group" => group,
                "times" => self.lag.skips);
        }
        self.filter.set(self.not_given_up(self.filter.get()));
        self.birth
            .streams
            .reset_groups(ResetCode::DeliveryTimeout, |open| open < group);
    }

    /// MOQT-14 §9.2.1.2, §9.12 [D14-SUB-30]: what it was not given is not passed over in silence.
    fn too_far_behind(&mut self, ctx: &mut Context<Self>, bytes: u64) {
        tally::count(Count::DropTooFarBehind, 1);
        let (most, strain) = (self.birth.env.session.max_behind, &self.birth.env.strain);
        // What it lacks it would be given at other times.
        let shed = strain.max_behind(most).filter(|_| bytes <= most);
        if shed.is_some() {
            strain.count_shed();
        }
        info!(self.birth.log, "too far behind, the subscription ends"; "bytes" => bytes,
            "most" => shed.unwrap_or(most), "overloaded" => shed.is_some(),
            "streams" => self.birth.streams.opened());
        // MOQT-14 §10.4.3 [D14-CLOSE-2]: CANCELLED, for what PUBLISH_DONE explains.
        self.birth.streams.reset_all(ResetCode::Cancelled);
        self.birth.streams.rests();
        self.place = None;
        let why = if shed.is_some() {
            "the relay is short of memory, and the subscriber does not keep up"
        } else {
            "the subscriber does not keep up: more objects wait for it than the relay keeps for one"
        };
        let gone = TrackGone::new(PublishDoneStatus::TooFarBehind, why);
        if self.ending.is_some() {
            // The track had ended, and this subscriber does not get all of it.
            self.ending = Some(gone);
            // No stream may be left whose end would be heard of.
            self.settle(ctx);
        } else {
            self.end(ctx, gone);
        }
    }

    /// It has lost its place, and nothing can give it another.
    pub(super) fn is_too_far_behind(&self) -> bool {
        let ending = self.ending.as_ref();
        ending.is_some_and(|gone| gone.status == PublishDoneStatus::TooFarBehind)
    }
}
