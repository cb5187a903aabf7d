//! What must hold of fetches at the end of a run.

use super::plan::Manners;
use super::truth::FetchTruth;
use super::world::World;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{FetchOk, GroupOrder, RequestErrorReason};
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::relay::track_log::PastRange;
use std::collections::BTreeMap;

/// Compares what fetches got with what was made.
pub(crate) fn judge(world: &mut World) {
    let mut faults = Vec::new();
    for (number, conn) in world.conns.iter().enumerate() {
        for (request, truth) in &conn.fetched {
            if let Err(fault) = (Judge {
                world,
                conn: number,
                truth,
            })
            .all()
            {
                faults.push(format!("sub{number}, fetch {request}: {fault}"));
            }
        }
        if !conn.serving.is_empty() {
            faults.push(format!("sub{number}: still served: {:?}", conn.serving));
        }
    }
    // [D14-FETCH-20]
    faults.extend(
        world
            .desk
            .leftovers()
            .map(|left| format!("the desk keeps {left}")),
    );
    faults.into_iter().for_each(|fault| world.fail(fault));
}

struct Judge<'a> {
    world: &'a World,
    conn: usize,
    truth: &'a FetchTruth,
}

impl Judge<'_> {
    fn all(&self) -> Result<(), String> {
        self.as_made()?;
        self.in_order()?;
        self.answered()?;
        match self.truth.ok.first() {
            Some(ok) => {
                self.end(ok)?;
                self.whole(ok)?;
                self.joined(ok)?;
            }
            None => self.refused()?,
        }
        self.not_for_nothing()
    }

    /// MOQT-14 §8.1 [D14-CACHE-1]: byte for byte.
    fn as_made(&self) -> Result<(), String> {
        let last = self.truth.got.len().saturating_sub(1);
        for (number, (header, payload)) in self.truth.got.iter().enumerate() {
            let at = header.location;
            let Some(made) = self.world.as_fetched(at) else {
                return Err(format!("{at} was never made"));
            };
            let object = &self.world.plan.objects[&at];
            let is_whole = payload.len() as u64 == header.payload_len;
            let may_be_cut = number == last && self.truth.got_end != Some(true);
            if *header != made || !object.payload.starts_with(payload) || (!is_whole && !may_be_cut) {
                return Err(format!("{at} is not as it was made: {header:?}"));
            }
        }
        Ok(())
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-4]: in the order that was asked for, so none twice; §9.16.1: none outside the range.
    fn in_order(&self) -> Result<(), String> {
        let places = || self.truth.got.iter().map(|(header, _)| header.location);
        let Some(range) = self.truth.range else {
            return match places().next() {
                Some(at) => Err(format!("{at} came of a range that nobody knows")),
                None => Ok(()),
            };
        };
        if let Some(at) = places().find(|at| !range.contains(*at)) {
            return Err(format!("{at} is outside {range:?}"));
        }
        for (before, after) in places().zip(places().skip(1)) {
            let groups_follow = match self.truth.order {
                GroupOrder::Ascending => after.group > before.group,
                GroupOrder::Descending => after.group < before.group,
            };
            let follows = groups_follow || (after.group == before.group && after.object > before.object);
            if !follows {
                return Err(format!("[D14-FETCH-4] {after} came after {before}"));
            }
        }
        Ok(())
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-1]: exactly one answer, and one stream that ends.
    fn answered(&self) -> Result<(), String> {
        let truth = self.truth;
        let answers = truth.ok.len() + truth.err.len();
        if answers > 1 || (answers == 0 && !truth.cancelled) {
            return Err(format!(
                "[D14-FETCH-1] {:?} {:?} were the answers",
                truth.ok, truth.err
            ));
        }
        if !truth.ok.is_empty() && truth.got_end.is_none() && !truth.cancelled && !truth.stopped {
            return Err("[D14-FETCH-5] neither FIN nor reset came".into());
        }
        if truth.got_end == Some(true) && truth.ok.is_empty() && !truth.cancelled && !truth.stopped {
            return Err("FIN without FETCH_OK".into());
        }
        Ok(())
    }

    /// MOQT-14 §9.17 [D14-FETCH-9]: never behind what was asked for, nor behind the largest object.
    fn end(&self, ok: &FetchOk) -> Result<(), String> {
        let Some(range) = self.truth.range else {
            return Err("FETCH_OK for a range that nobody knows".into());
        };
        let made = self.world.publisher.made.unwrap_or(Location::ZERO);
        let behind = |last: Location| PastRange::new(last, ok.end).is_some_and(|past| !past.is_empty());
        let asked = range.end;
        let too_far = match asked.object {
            0 => ok.end.group > asked.group,
            _ => {
                ok.end.group > asked.group
                    || (ok.end.group == asked.group && (ok.end.object == 0 || ok.end.object > asked.object))
            }
        };
        if too_far {
            return Err(format!("[D14-FETCH-9] End {} is behind {range:?}", ok.end));
        }
        // The rest of a group may be meant when the group is over.
        if ok.end.group > made.group
            || (ok.end.object > 0 && behind(Location::new(made.group, made.object + 1)))
        {
            return Err(format!("[D14-FETCH-9] End {} is behind {made}", ok.end));
        }
        // What goes out lies before the End that is said, too.
        if let Some(said) = PastRange::new(range.start, ok.end)
            && let Some((header, _)) = self
                .truth
                .got
                .iter()
                .find(|(header, _)| !said.contains(header.location))
        {
            return Err(format!(
                "[D14-FETCH-9] {} is behind End {}",
                header.location, ok.end
            ));
        }
        let last = self.world.plan.end_of_track;
        if ok.end_of_track
            && last.is_none_or(|last| last > made || behind(Location::new(last.group, last.object + 1)))
        {
            return Err(format!(
                "[D14-FETCH-9] the track is said to end before {}",
                ok.end
            ));
        }
        if ok.group_order != self.truth.order {
            return Err(format!("[D14-FETCH-4] {:?} is said", ok.group_order));
        }
        Ok(())
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-5]: FIN says that everything is there.
    fn whole(&self, ok: &FetchOk) -> Result<(), String> {
        let Some(range) = self
            .truth
            .range
            .and_then(|range| PastRange::new(range.start, ok.end))
            .filter(|_| self.truth.got_end == Some(true))
        else {
            return Ok(());
        };
        match self.required(range).find(|at| !self.got(*at)) {
            Some(at) => Err(format!("[D14-FETCH-5] FIN, but {at} is missing")),
            None => Ok(()),
        }
    }

    /// MOQT-14 §9.16.2.1 [D14-FETCH-12]: a fetch ends where the subscription that it joins begins.
    fn joined(&self, ok: &FetchOk) -> Result<(), String> {
        let Some(subscription) = self.truth.joins else {
            return Ok(());
        };
        let conn = &self.world.conns[self.conn];
        let Some(truth) = conn.truths.iter().find(|truth| truth.request == subscription) else {
            return Err("it joins nothing".into());
        };
        if ok.end != truth.began {
            return Err(format!(
                "[D14-FETCH-12] it ends at {}, the subscription begins at {}",
                ok.end, truth.began
            ));
        }
        let streamed = truth.streams.values().flat_map(|stream| {
            stream
                .got
                .iter()
                .map(|got| Location::new(stream.group, got.header.id))
        });
        let mut live = streamed.chain(truth.datagrams.keys().copied());
        match live.find(|at| self.got(*at)) {
            Some(at) => Err(format!(
                "[D14-FETCH-12] {at} came twice, by FETCH and by SUBSCRIBE"
            )),
            None => Ok(()),
        }
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-7]: an error says the truth.
    fn refused(&self) -> Result<(), String> {
        let (Some(reason), Some(range)) = (self.truth.err.first(), self.truth.range) else {
            return Ok(());
        };
        let largest = self.truth.largest.unwrap_or(Location::ZERO);
        match reason {
            RequestErrorReason::NoObjects => match self.required(range).find(|at| *at <= largest) {
                Some(at) => Err(format!("[D14-FETCH-7] NO_OBJECTS, but there is {at}")),
                None => Ok(()),
            },
            RequestErrorReason::InvalidRange
                if !self.truth.idle && self.truth.largest.is_some_and(|largest| largest >= range.start) =>
            {
                Err(format!(
                    "[D14-FETCH-7] INVALID_RANGE, but {largest} is the largest"
                ))
            }
            _ => Ok(()),
        }
    }

    /// When nothing hinders, a fetch does not fail.
    fn not_for_nothing(&self) -> Result<(), String> {
        let plan = &self.world.plan;
        let hindered = plan.is_tight
            || plan.is_rogue
            || plan.manners != Manners::Good
            || plan.forgets > 0
            || plan.desk.max_readers < 100
            || self.world.arrivals.is_dead;
        match self.truth.failed {
            Some((
                reason @ (RequestErrorReason::UnknownStatusInRange
                | RequestErrorReason::Timeout
                | RequestErrorReason::TrackDoesNotExist
                | RequestErrorReason::MalformedTrack),
                true,
            )) if !hindered => Err(format!("it failed for no reason: {reason:?}")),
            _ => Ok(()),
        }
    }

    /// What must be there of a range: all that the publisher made and that exists.
    fn required(&self, range: PastRange) -> impl Iterator<Item = Location> {
        let assumed = &self.world.desk.assumed;
        self.world
            .plan
            .objects
            .iter()
            .filter(move |(at, object)| {
                let given_up = assumed
                    .get(&at.group)
                    .is_some_and(|last| last.is_none_or(|last| at.object > last));
                range.contains(**at)
                    && object.header.status != ObjectStatus::DoesNotExist
                    && !object.is_rogue()
                    && !given_up
            })
            .map(|(at, _)| *at)
    }

    fn got(&self, at: Location) -> bool {
        self.truth.got.iter().any(|(header, _)| header.location == at)
    }
}

/// What a run was made of.
pub(crate) fn count(world: &World, counts: &mut BTreeMap<&'static str, u64>) {
    let mut add = |what, n: u64| *counts.entry(what).or_insert(0) += n;
    for truth in world.conns.iter().flat_map(|conn| conn.fetched.values()) {
        let whole = truth.got_end == Some(true);
        add("fetches", 1);
        add("fetched whole", whole.into());
        add("joined whole", (whole && truth.joins.is_some()).into());
        add(
            "fetched descending",
            (whole && truth.order == GroupOrder::Descending).into(),
        );
        add("fetched and reset", (truth.got_end == Some(false)).into());
        add("fetched idle", (whole && truth.idle).into());
        add("fetches cancelled", truth.cancelled.into());
        add("fetches stopped", truth.stopped.into());
        add("fetched objects", truth.got.len() as u64);
        let mut refused = |what, reason| add(what, truth.err.contains(&reason).into());
        refused("no objects", RequestErrorReason::NoObjects);
        refused("invalid range", RequestErrorReason::InvalidRange);
        refused("unknown status", RequestErrorReason::UnknownStatusInRange);
        refused("timeout", RequestErrorReason::Timeout);
        refused("fetch failed", RequestErrorReason::InternalError);
    }
    add("asked upstream", world.desk.desk.stats().asked);
    add("assumed finished", world.desk.assumed.len() as u64);
}
