//! What must hold at the end of a run.

use super::plan::Object;
use super::truth::{Arrival, StreamTruth, SubTruth, Tick};
use super::world::World;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::relay::behind::Policy;
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::{BTreeMap, BTreeSet};

/// Compares what subscribers got with what was published and what reached the relay.
pub(crate) fn judge(world: &mut World) {
    let mut faults = Vec::new();
    for (number, conn) in world.conns.iter().enumerate() {
        for truth in &conn.truths {
            let gave_up = truth.unsubscribed || conn.gave_up.contains(&truth.request);
            let judge = Judge {
                world,
                truth,
                gave_up,
            };
            if let Err(fault) = judge.all() {
                faults.push(format!("sub{number}, request {}: {fault}", truth.request));
            }
        }
    }
    faults.into_iter().for_each(|fault| world.fail(fault));
}

struct Judge<'a> {
    world: &'a World,
    truth: &'a SubTruth,
    /// The subscriber ended it, perhaps when it was over already.
    gave_up: bool,
}

impl Judge<'_> {
    fn all(&self) -> Result<(), String> {
        self.once_and_in_time()?;
        for stream in self.truth.streams.values() {
            self.joined(stream)?;
            self.delivered(stream)?;
            if stream.was_finished() {
                self.finished(stream)?;
            }
        }
        self.nothing_lost()?;
        self.done()
    }

    /// None twice, none of the past, none after the end of the track.
    fn once_and_in_time(&self) -> Result<(), String> {
        let mut whole = BTreeSet::new();
        let mut begun = BTreeSet::new();
        for stream in self.truth.streams.values() {
            for got in &stream.got {
                let at = Location::new(stream.group, got.header.id);
                // MOQT-14 §8.2 [D14-PUB-1]: also when it was evicted before it came again.
                if got.is_complete() && !whole.insert(at) {
                    return Err(format!("{at} came twice"));
                }
                begun.insert(at);
            }
        }
        for (at, times) in &self.truth.datagrams {
            if *times > 1 {
                return Err(format!("datagram {at} came twice"));
            }
            begun.insert(*at);
            whole.insert(*at);
        }
        for at in &begun {
            // MOQT-14 §9.7 [D14-SUB-6]
            let live = |began: &Tick| self.truth.forwards(*began).is_some();
            let taken_in = self.world.arrivals.taken_in.get(at);
            let mut begins = self.arrivals(*at).iter().map(|arrival| &arrival.began);
            if !begins.any(live) && !taken_in.is_some_and(|ticks| ticks.iter().any(live)) {
                return Err(format!("[D14-SUB-6] {at} is of the past"));
            }
        }
        let ends = |at: &&Location| self.object(**at).header.status == ObjectStatus::EndOfTrack;
        if let Some(end) = whole.iter().find(ends)
            && let Some(after) = begun.range(*end..).nth(1)
        {
            return Err(format!("[D14-MAL-2] {after} came, after the end of the track"));
        }
        Ok(())
    }

    /// On one stream nothing of the subgroup is left out. MOQT-14 §10.4.3 [D14-CLOSE-3]
    fn joined(&self, stream: &StreamTruth) -> Result<(), String> {
        for pair in stream.taken.windows(2) {
            let between = Location::new(stream.group, pair[0].0 + 1)..Location::new(stream.group, pair[1].0);
            if between.is_empty() {
                continue;
            }
            let left_out = self
                .world
                .plan
                .objects
                .range(between)
                .find(|(_, object)| object.subgroup == stream.subgroup);
            if let Some((at, _)) = left_out {
                return Err(format!(
                    "[D14-CLOSE-3] {at} is left out in the middle of a stream"
                ));
            }
        }
        Ok(())
    }

    /// The network delivers what was finished.
    fn delivered(&self, stream: &StreamTruth) -> Result<(), String> {
        let (group, subgroup) = (stream.group, stream.subgroup);
        if stream.end.is_none() {
            return Err(format!("a stream of {group}/{subgroup} was left open"));
        }
        if !stream.was_finished() || stream.stopped {
            return Ok(());
        }
        let got: Vec<_> = stream.got.iter().map(|got| (got.header.id, 0)).collect();
        let whole = stream.got.iter().all(super::truth::Got::is_complete);
        if stream.got_fin != Some(true) || got != stream.taken || !whole {
            return Err(format!("a finished stream of {group}/{subgroup} did not arrive"));
        }
        Ok(())
    }

    /// FIN only when every object of the subgroup went out, from the subscription's start on.
    /// MOQT-14 §10.4.3 [D14-CLOSE-1]
    fn finished(&self, stream: &StreamTruth) -> Result<(), String> {
        let Some((ended, _)) = stream.end else {
            return Ok(());
        };
        let (group, subgroup) = (stream.group, stream.subgroup);
        // What came after the publisher itself had finished the subgroup is its own matter.
        let until = self.publisher_finished(group, subgroup).unwrap_or(0).min(ended);
        if until == 0 {
            return Err(format!(
                "[D14-CLOSE-5] FIN on {group}/{subgroup}, which was not finished"
            ));
        }
        let began = self.truth.epochs[stream.epoch].0;
        let members: Vec<_> = self.members(group, subgroup).collect();
        for at in &members {
            if !self.truth.filter.admits(*at) || self.went_out(*at, subgroup) {
                continue;
            }
            let known: Vec<_> = self
                .arrivals(*at)
                .iter()
                .filter(|arrival| arrival.began <= until)
                .collect();
            if known.iter().any(|arrival| arrival.began <= began) {
                continue;
            }
            // A stream of the subgroup that was evicted before this subscriber came to it, that it refused or that took
            // too long takes nothing along.
            let gave_up = self.truth.lagged + self.truth.skips + self.truth.expired > 0;
            let behind = gave_up || self.truth.drained || self.refused(group, subgroup);
            let fell_behind = behind && self.upstream_was_reset(group, subgroup);
            if !known.is_empty() && !fell_behind {
                return Err(format!(
                    "[D14-CLOSE-1] FIN on {group}/{subgroup}, but {at} did not go out"
                ));
            }
            // A hole that nobody could see: nothing before it ever came.
            let seen = |lower: &&Location| {
                **lower < *at
                    && self
                        .arrivals(**lower)
                        .iter()
                        .any(|arrival| arrival.began <= until)
            };
            if known.is_empty() && members.iter().any(|lower| seen(&lower)) {
                return Err(format!(
                    "[D14-CLOSE-1] FIN on {group}/{subgroup}, but {at} never came"
                ));
            }
        }
        Ok(())
    }

    /// What was not delivered lies in a stream that was reset, or the subscription ended or fell behind.
    fn nothing_lost(&self) -> Result<(), String> {
        let truth = self.truth;
        let excused = self.gave_up
            || truth.ran_out
            || truth.drained
            || truth.too_far
            || truth.expired > 0
            || truth.policy == Policy::NewestGroup && truth.lagged + truth.skips > 0
            || self.world.plan.datagrams
            || self.world.arrivals.is_malformed
            || self.world.log.stats().after_eviction > 0;
        let Some(&(began, None)) = truth.epochs.last() else {
            return Ok(());
        };
        if excused {
            return Ok(());
        }
        for (at, arrivals) in &self.world.arrivals.objects {
            let object = self.object(*at);
            let streams = || {
                let of =
                    |stream: &&StreamTruth| (stream.group, stream.subgroup) == (at.group, object.subgroup);
                truth.streams.values().filter(of)
            };
            let got = |stream: &StreamTruth| {
                let is = |got: &super::truth::Got| got.header.id == at.object && got.is_complete();
                stream.got.iter().any(is)
            };
            let first = arrivals.iter().find(|arrival| arrival.completed.is_some());
            let Some(first) = first.filter(|first| first.began > began) else {
                continue;
            };
            let cut = self.upstream_was_reset(at.group, object.subgroup);
            let reset = streams().any(|stream| stream.was_reset() || stream.stopped);
            if truth.filter.admits(*at) && !streams().any(got) && !cut && !reset {
                return Err(format!(
                    "{at} came at {} and was lost without a reset",
                    first.began
                ));
            }
        }
        Ok(())
    }

    /// MOQT-14 §9.12 [D14-SUB-19] [D14-SUB-20] [D14-SUB-30]
    fn done(&self) -> Result<(), String> {
        let opened = self.truth.streams.len() as u64;
        if self.gave_up {
            return Ok(());
        }
        let (truth, said) = (
            self.truth,
            self.truth.status == Some(PublishDoneStatus::TooFarBehind),
        );
        if truth.policy == Policy::End && truth.lagged > 0 && !said {
            return Err(format!(
                "[D14-SUB-30] it lacks what the log dropped, and was told {:?}",
                truth.status
            ));
        }
        if truth.too_far != said {
            return Err(format!(
                "[D14-SUB-30] too far: {}, told: {:?}",
                truth.too_far, truth.status
            ));
        }
        match self.truth.done_got {
            None => Err("[D14-SUB-19] PUBLISH_DONE never came".into()),
            Some(Some(count)) if count == opened => Ok(()),
            Some(count) => Err(format!("[D14-SUB-20] {opened} streams were counted as {count:?}")),
        }
    }

    fn members(&self, group: u64, subgroup: u64) -> impl Iterator<Item = Location> {
        self.world
            .plan
            .objects
            .range(Location::new(group, 0)..Location::new(group + 1, 0))
            .filter(move |(_, object)| object.subgroup == subgroup)
            .map(|(at, _)| *at)
    }

    fn went_out(&self, at: Location, subgroup: u64) -> bool {
        self.truth
            .streams
            .values()
            .any(|stream| (stream.group, stream.subgroup) == (at.group, subgroup) && stream.took(at.object))
    }

    fn refused(&self, group: u64, subgroup: u64) -> bool {
        let mut streams = self.truth.streams.values();
        streams.any(|stream| (stream.group, stream.subgroup) == (group, subgroup) && stream.stopped)
    }

    /// When the first stream of the subgroup came to its FIN.
    fn publisher_finished(&self, group: u64, subgroup: u64) -> Option<Tick> {
        let attempts = &self.world.publisher.attempts;
        let ends = self.world.arrivals.ends.iter();
        ends.filter(|(_, (_, end))| *end == StreamEnd::Fin)
            .filter(|(stream, _)| {
                let attempt = attempts.get(stream);
                attempt.is_some_and(|it| (it.header.group, it.subgroup) == (group, subgroup))
            })
            .map(|(_, (tick, _))| *tick)
            .min()
    }

    /// Some stream that brought the subgroup did not come to a FIN.
    fn upstream_was_reset(&self, group: u64, subgroup: u64) -> bool {
        let attempts = self.world.publisher.attempts.iter();
        attempts
            .filter(|(_, it)| (it.header.group, it.subgroup) == (group, subgroup))
            .any(|(stream, _)| !matches!(self.world.arrivals.ends.get(stream), Some((_, StreamEnd::Fin))))
    }

    fn arrivals(&self, at: Location) -> &[Arrival] {
        self.world.arrivals.objects.get(&at).map_or(&[], Vec::as_slice)
    }

    fn object(&self, at: Location) -> &Object {
        &self.world.plan.objects[&at]
    }
}

/// What a run was made of.
pub(crate) fn count(world: &World) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |what, n: u64| *counts.entry(what).or_insert(0) += n;
    for conn in &world.conns {
        add("subscriptions", conn.truths.len() as u64);
        add("rejected", conn.rejected);
        for truth in &conn.truths {
            add("lagged", truth.lagged);
            add("too far", truth.too_far.into());
            add("skips", truth.skips);
            add("expired", truth.expired);
            add("unsubscribed", truth.unsubscribed.into());
            add("ran out", truth.ran_out.into());
            add("drained", truth.drained.into());
            add("done", truth.done_got.is_some().into());
            add("paused", (truth.epochs.len() > 1).into());
            add(
                "datagrams",
                truth.datagrams.values().map(|times| u64::from(*times)).sum(),
            );
            for stream in truth.streams.values() {
                add("finished", stream.was_finished().into());
                add("reset", stream.was_reset().into());
                add("stopped", stream.stopped.into());
                add("objects", stream.got.len() as u64);
            }
        }
    }
    let stats = world.log.stats();
    add("duplicates", stats.duplicate_objects);
    add("evicted groups", stats.evicted_groups);
    add("evicted objects", stats.evicted_objects);
    add("malformed", world.arrivals.is_malformed.into());
    add("dead", world.arrivals.is_dead.into());
    add("arrived", world.arrivals.objects.len() as u64);
    counts
}
