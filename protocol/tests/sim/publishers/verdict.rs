//! What must hold at the end of a run.

use super::plan::{Lie, Object};
use super::truth::{Arrival, Inflow, StreamTruth, SubTruth, Tick};
use super::world::World;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::{BTreeMap, BTreeSet};

/// Compares what subscribers got with what publishers made and what of it reached the relay.
pub(crate) fn judge(world: &mut World) {
    let mut faults = Vec::new();
    faults.extend(nothing_left(world).err());
    faults.extend(disagreement_seen(world).err());
    for (number, listener) in world.listeners.iter().enumerate() {
        for (nth, truth) in listener.truths.iter().enumerate() {
            let judge = Judge { world, truth };
            faults.extend(
                judge
                    .all()
                    .err()
                    .map(|fault| format!("sub{number}, subscription {nth}: {fault}")),
            );
        }
    }
    faults.into_iter().for_each(|fault| world.fail(fault));
}

/// Nothing waits for ever.
fn nothing_left(world: &World) -> Result<(), String> {
    if !world.relay.is_over {
        return Err("the track does not end".into());
    }
    if world.relay.log.has_open_streams() {
        return Err("a stream is open in the log, of a publisher that is gone".into());
    }
    let waiting = world.relay.merge.stats().waiting_bytes;
    if waiting > 0 {
        return Err(format!("{waiting} bytes wait for nobody"));
    }
    Ok(())
}

/// MOQT-14 §2.5 [D14-MAL-2], §8.1 [D14-CACHE-2] [D14-MAL-3]: publishers disagree, and both copies were at hand.
fn disagreement_seen(world: &World) -> Result<(), String> {
    let arrivals = &world.arrivals;
    let reported = world.relay.merge.stats().disagreements > 0;
    if reported != arrivals.is_malformed && world.sabotage == super::Sabotage::None {
        return Err(format!("disagreements are counted: {reported}"));
    }
    // Who lies may contradict itself too, and is dropped for that alone.
    if arrivals.is_malformed || arrivals.dropped > 0 {
        return Ok(());
    }
    for at in world.plan.lies.keys() {
        let copies = arrivals.objects.get(at).map_or(&[][..], Vec::as_slice);
        let whole = |is_lie| {
            let mut whole = copies.iter().filter(|copy| copy.completed.is_some());
            whole.any(|copy| copy.is_lie == is_lie)
        };
        let seen = match world.plan.lie {
            Some(Lie::Extra) => {
                let object = &world.plan.lies[at];
                let ended = |inflow: &Inflow| {
                    let of = (inflow.group, inflow.subgroup) == (at.group, object.subgroup);
                    of && inflow.is_finished() && inflow.ids.last().is_some_and(|last| *last < at.object)
                };
                whole(true) && arrivals.streams.values().any(ended)
            }
            _ => whole(true) && whole(false),
        };
        if seen {
            return Err(format!(
                "[D14-MAL-2] publishers disagree about {at}, and nobody says so"
            ));
        }
    }
    Ok(())
}

struct Judge<'a> {
    world: &'a World,
    truth: &'a SubTruth,
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
        if self.truth.lagged > 0 && !self.world.plan.is_tight {
            return Err("something was evicted from a log that holds everything".into());
        }
        self.nothing_lost()?;
        self.whole_subgroups_finish()
    }

    /// None twice, none of the past, none after the end of the track.
    fn once_and_in_time(&self) -> Result<(), String> {
        let mut whole = BTreeSet::new();
        let mut begun = BTreeSet::new();
        for stream in self.truth.streams.values() {
            for got in &stream.got {
                let at = Location::new(stream.group, got.header.id);
                // MOQT-14 §8.2 [D14-PUB-1]
                if got.is_complete() && !whole.insert(at) {
                    return Err(format!("[D14-PUB-1] {at} came twice"));
                }
                begun.insert(at);
            }
        }
        for (at, times) in &self.truth.datagrams {
            if *times > 1 {
                return Err(format!("[D14-PUB-1] datagram {at} came twice"));
            }
            begun.insert(*at);
            whole.insert(*at);
        }
        for at in &begun {
            // MOQT-14 §9.7 [D14-SUB-6]
            let appeared = self.world.arrivals.appeared.get(at);
            if appeared.is_none_or(|tick| *tick <= self.truth.began) {
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

    /// On one stream nothing of the subgroup is left out but what went out on another. MOQT-14 §10.4.3 [D14-CLOSE-3]
    fn joined(&self, stream: &StreamTruth) -> Result<(), String> {
        let members = self.world.plan.members(stream.group, stream.subgroup);
        for pair in stream.taken.windows(2) {
            for id in members
                .iter()
                .filter(|id| (pair[0].0 + 1..pair[1].0).contains(*id))
            {
                let at = Location::new(stream.group, *id);
                // What the subscriber refused, or was too slow for, does not come again.
                if !self.is_past(at) && !self.went_out(at) && !self.fell_behind(stream.group, stream.subgroup)
                {
                    return Err(format!(
                        "[D14-CLOSE-3] {at} is left out in the middle of a stream"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every stream ends, and the network delivers what was finished.
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

    /// FIN only when some publisher finished the subgroup and every object of it that came went out, from the
    /// subscription's start on. MOQT-14 §10.4.3 [D14-CLOSE-1]
    fn finished(&self, stream: &StreamTruth) -> Result<(), String> {
        let Some((ended, _)) = stream.end else {
            return Ok(());
        };
        let (group, subgroup) = (stream.group, stream.subgroup);
        // What came after a publisher had finished the subgroup is its own matter.
        let until = self.publisher_finished(group, subgroup).unwrap_or(0).min(ended);
        if until == 0 {
            return Err(format!(
                "[D14-CLOSE-5] FIN on {group}/{subgroup}, which nobody finished"
            ));
        }
        let members = self.world.plan.members(group, subgroup);
        // FIN says which object is the last. MOQT-14 §10.4.2 [D14-DATA-6]
        let last = stream.taken.last().map(|(id, _)| id);
        if self.world.plan.lies.is_empty() && last != members.last() {
            return Err(format!(
                "[D14-CLOSE-1] FIN on {group}/{subgroup} behind {last:?}, which is not the last"
            ));
        }
        for &id in members {
            let at = Location::new(group, id);
            if !self.truth.filter.admits(at) || self.went_out(at) {
                continue;
            }
            let known: Vec<_> = self
                .arrivals(at)
                .iter()
                .filter(|arrival| arrival.began <= until)
                .collect();
            if self.is_past(at) {
                continue;
            }
            // A stream of the subgroup that was evicted before this subscriber came to it, that it refused or that took
            // too long takes nothing along.
            if self.fell_behind(group, subgroup) {
                continue;
            }
            if !known.is_empty() {
                return Err(format!(
                    "[D14-CLOSE-1] FIN on {group}/{subgroup}, but {at} did not go out"
                ));
            }
            // A hole that nobody could see: nothing before it ever came.
            let seen = |lower: &u64| {
                let lower = self.arrivals(Location::new(group, *lower));
                lower.iter().any(|arrival| arrival.began <= until)
            };
            if members.iter().take_while(|lower| **lower < id).any(seen) {
                return Err(format!(
                    "[D14-CLOSE-1] FIN on {group}/{subgroup}, but {at} never came"
                ));
            }
        }
        Ok(())
    }

    /// What some publisher delivered in full goes out, whatever became of the others. MOQT-14 §8.2 [D14-PUB-1]
    fn nothing_lost(&self) -> Result<(), String> {
        let truth = self.truth;
        let evicted = self.world.plan.is_tight;
        if truth.left.is_some() || truth.drained || evicted || self.world.arrivals.is_malformed {
            return Ok(());
        }
        for (at, arrivals) in &self.world.arrivals.objects {
            let Some(subgroup) = self.world.plan.objects.get(at).map(|object| object.subgroup) else {
                continue;
            };
            let is_new = arrivals.iter().all(|arrival| arrival.began > truth.began);
            let is_whole = arrivals.iter().any(|arrival| arrival.completed.is_some());
            if !is_new || !is_whole || !truth.filter.admits(*at) {
                continue;
            }
            let stopped = truth.of(at.group, subgroup).any(|stream| stream.stopped);
            // It was overtaken when a part of it had gone out, and nobody else brought it.
            let cut = |stream: &StreamTruth| {
                let begun = stream
                    .taken
                    .iter()
                    .any(|(id, missing)| *id == at.object && *missing > 0);
                begun && !stream.was_finished()
            };
            let overtaken = self.world.relay.merge.stats().overtaken > 0;
            if overtaken && truth.of(at.group, subgroup).any(cut) {
                continue;
            }
            if !self.went_out(*at) && !stopped {
                return Err(format!("{at} was delivered in full by a publisher, and is lost"));
            }
            let took = |stream: &&StreamTruth| stream.took(at.object);
            let arrived = |stream: &StreamTruth| {
                let is = |got: &super::truth::Got| got.header.id == at.object && got.is_complete();
                stream.got.iter().any(is) || !stream.was_finished()
            };
            if !truth.sent.contains(at) && !stopped && !truth.of(at.group, subgroup).filter(took).any(arrived)
            {
                return Err(format!("{at} went out on a finished stream, and is lost"));
            }
        }
        Ok(())
    }

    /// What some publisher delivered from the first object to FIN, and nobody began in the middle of, ends with FIN:
    /// who is lost in between costs nothing that another one fills.
    fn whole_subgroups_finish(&self) -> Result<(), String> {
        let (world, truth) = (self.world, self.truth);
        let plan = &world.plan;
        let excused = truth.left.is_some() || truth.drained || plan.is_tight || plan.is_narrow;
        if excused || plan.datagrams || !plan.lies.is_empty() {
            return Ok(());
        }
        for (&group, subgroups) in &plan.groups {
            for subgroup in subgroups {
                let number = subgroup.number;
                let flows = || {
                    let of = move |it: &&Inflow| (it.group, it.subgroup) == (group, number);
                    world.arrivals.streams.values().filter(of)
                };
                let begins = |it: &Inflow| it.ids.first() == subgroup.ids.first();
                let whole = |it: &Inflow| it.is_finished() && it.ids == subgroup.ids;
                // Where all of it was there before a reset, there is nothing left to be finished.
                let ended = |it: &Inflow| !it.is_finished() && it.ids == subgroup.ids;
                if !flows().all(begins) || !flows().any(whole) || flows().any(ended) {
                    continue;
                }
                let is_new = |id: &u64| {
                    let at = Location::new(group, *id);
                    let new = self
                        .arrivals(at)
                        .iter()
                        .all(|arrival| arrival.began > truth.began);
                    new && truth.filter.admits(at)
                };
                let finished = truth.of(group, number).any(StreamTruth::was_finished);
                let stopped = truth.of(group, number).any(|stream| stream.stopped);
                if subgroup.ids.iter().all(is_new) && !finished && !stopped {
                    return Err(format!(
                        "{group}/{number} was delivered from begin to end by a publisher, and is not finished"
                    ));
                }
            }
        }
        Ok(())
    }

    /// It was under way when the subscription was made. MOQT-14 §9.7 [D14-SUB-6]
    fn is_past(&self, at: Location) -> bool {
        let began = self.truth.began;
        self.arrivals(at).iter().any(|arrival| arrival.began <= began)
    }

    fn fell_behind(&self, group: u64, subgroup: u64) -> bool {
        let refused = self.truth.of(group, subgroup).any(|stream| stream.stopped);
        self.truth.lagged > 0 || self.truth.drained || refused
    }

    fn went_out(&self, at: Location) -> bool {
        let subgroup = self
            .world
            .plan
            .objects
            .get(&at)
            .map_or(0, |object| object.subgroup);
        let mut streams = self.truth.of(at.group, subgroup);
        self.truth.sent.contains(&at) || streams.any(|stream| stream.took(at.object))
    }

    /// When the first stream of the subgroup came to its FIN.
    fn publisher_finished(&self, group: u64, subgroup: u64) -> Option<Tick> {
        let flows = self.world.arrivals.streams.values();
        flows
            .filter(|flow| (flow.group, flow.subgroup) == (group, subgroup))
            .filter_map(|flow| match flow.end {
                Some((tick, StreamEnd::Fin)) => Some(tick),
                _ => None,
            })
            .min()
    }

    fn arrivals(&self, at: Location) -> &[Arrival] {
        self.world.arrivals.objects.get(&at).map_or(&[], Vec::as_slice)
    }

    fn object(&self, at: Location) -> &Object {
        self.world.plan.version(true, at).unwrap()
    }
}

/// What a run was made of.
pub(crate) fn count(world: &World) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |what, n: u64| *counts.entry(what).or_insert(0) += n;
    for listener in &world.listeners {
        add("subscriptions", listener.truths.len() as u64);
        for truth in &listener.truths {
            add("lagged", truth.lagged);
            add("left", truth.left.is_some().into());
            add("drained", truth.drained.into());
            add("datagrams", truth.datagrams.len() as u64);
            for stream in truth.streams.values() {
                add("finished", stream.was_finished().into());
                add("reset", (!stream.was_finished()).into());
                add("stopped", stream.stopped.into());
                add("objects", stream.got.len() as u64);
            }
        }
    }
    let arrivals = &world.arrivals;
    let several = |copies: &&Vec<Arrival>| {
        let lives: BTreeSet<_> = copies.iter().map(|copy| copy.source.0).collect();
        lives.len() > 1
    };
    add("arrived", arrivals.objects.len() as u64);
    add(
        "arrived from several",
        arrivals.objects.values().filter(several).count() as u64,
    );
    add("liars", u64::from(arrivals.is_malformed) + arrivals.dropped);
    add("lost publishers", arrivals.lost);
    add("waited", (arrivals.max_waiting > 0).into());
    add("wakes of the merge", arrivals.timeouts);
    add("replicas", world.relay.replicas.iter().flatten().count() as u64);
    let stats = world.relay.log.stats();
    let merge = world.relay.merge.stats();
    add("duplicates", stats.duplicate_objects + merge.duplicate_objects);
    add("taken over", merge.taken_over);
    add("overtaken", merge.overtaken);
    add("evicted groups", stats.evicted_groups);
    add("evicted objects", stats.evicted_objects);
    counts
}
