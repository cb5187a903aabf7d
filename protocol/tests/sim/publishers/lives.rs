//! What the publishers of a plan do with its objects: one life from a connection's begin to its end.

use super::plan::{Plan, Subgroup, usize, weather};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode};
use laps_protocol::relay::track_log::StreamEnd;
use laps_protocol::sim::{Rng, Weather};

/// One stream of a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) header: SubgroupHeader,
    pub(crate) subgroup: u64,
    pub(crate) ids: Vec<u64>,
    /// It stops after so many bytes.
    pub(crate) cut: usize,
    /// How it ends then; none when the publisher just falls silent.
    pub(crate) end: Option<StreamEnd>,
    /// It is not opened before.
    pub(crate) due_ms: u64,
}

/// One connection of a publisher. One that comes back is another one to the relay.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) lies: bool,
    pub(crate) begins_ms: u64,
    /// The connection breaks without warning; none when it says good-bye.
    pub(crate) dies_ms: Option<u64>,
    /// How much later that is noticed.
    pub(crate) notice_ms: u64,
    /// After so many writes it writes nothing for so many milliseconds.
    pub(crate) stalls: Option<(u64, u64)>,
    /// How long it stays when everything is written.
    pub(crate) lingers_ms: u64,
    pub(crate) pace_us: u64,
    /// Most bytes that it writes at once.
    pub(crate) piece: u64,
    pub(crate) at_once: usize,
    pub(crate) weather: Weather,
    pub(crate) attempts: Vec<Attempt>,
    /// Datagrams, and when each is due.
    pub(crate) sends: Vec<(u64, Location)>,
}

pub(crate) fn all(rng: &mut Rng, plan: &Plan, track_ms: u64) -> Vec<Life> {
    let mut lives = Vec::new();
    for publisher in 0..plan.publishers {
        let mut begins_ms = if rng.one_in(2) { 0 } else { rng.below(track_ms / 2) };
        let count = 1 + rng.below(3);
        for number in 0..count {
            let is_last = number + 1 == count;
            let dies_ms = (!is_last || rng.one_in(3)).then(|| begins_ms + rng.below(track_ms));
            lives.push(life(rng, plan, publisher, begins_ms, dies_ms));
            begins_ms = dies_ms.unwrap_or(begins_ms) + rng.below(track_ms / 3);
        }
    }
    lives
}

fn life(rng: &mut Rng, plan: &Plan, publisher: u64, begins_ms: u64, dies_ms: Option<u64>) -> Life {
    let pace_us = [4000, 10_000, 30_000][usize(rng.below(3))];
    let mut life = Life {
        lies: publisher == 0,
        begins_ms,
        dies_ms,
        notice_ms: if rng.one_in(2) { 0 } else { rng.below(600) },
        stalls: rng.one_in(2).then(|| (rng.below(50), rng.below(4000))),
        lingers_ms: if rng.one_in(3) { rng.below(3000) } else { 0 },
        pace_us: 200 + rng.below(pace_us),
        piece: [40, 600, 600, 4000][usize(rng.below(4))],
        at_once: usize(1 + rng.below(5)),
        weather: weather(rng, false),
        attempts: Vec::new(),
        sends: Vec::new(),
    };
    let lag_ms = match rng.below(6) {
        0 => rng.below(500),
        1 | 2 => rng.below(50),
        _ => 0,
    };
    // Who comes back has the last groups, whether or not they are old.
    let last = plan.first + plan.groups.len() as u64 - 1;
    let group = (plan.first + begins_ms / plan.group_ms).min(last);
    let start = match rng.below(6) {
        0 => Location::new(group + 1, 0),
        1 | 2 => Location::new(group, rng.below(12)),
        3 => Location::new(group.saturating_sub(1), 0),
        _ => Location::new(group, 0),
    };
    for (&group, subgroups) in plan.groups.range(start.group..) {
        // Some groups are not made at all.
        if rng.one_in(14) {
            continue;
        }
        let due_ms = (group - plan.first) * plan.group_ms + lag_ms;
        let mut order: Vec<_> = subgroups.iter().collect();
        if rng.one_in(2) {
            order.reverse();
        }
        for subgroup in order {
            let mut ids = subgroup.ids.clone();
            ids.retain(|id| Location::new(group, *id) >= start);
            let extra = plan
                .lies
                .range(Location::new(group, 0)..Location::new(group + 1, 0));
            for (at, lie) in extra.filter(|_| life.lies) {
                if lie.subgroup == subgroup.number && ids.last().is_some_and(|last| at.object > *last) {
                    ids.push(at.object);
                }
            }
            if rng.one_in(5) {
                ids.drain(..usize(rng.below(ids.len() as u64 + 1)));
            }
            if ids.is_empty() || rng.one_in(16) {
                continue;
            }
            if plan.datagrams {
                life.send(rng, group, &ids, due_ms);
            } else {
                life.add_attempts(rng, plan, group, subgroup, ids, due_ms);
            }
        }
    }
    life
}

impl Life {
    fn send(&mut self, rng: &mut Rng, group: u64, ids: &[u64], due_ms: u64) {
        for id in ids {
            let at = Location::new(group, *id);
            self.sends.push((due_ms, at));
            if rng.one_in(8) {
                self.sends.push((due_ms, at));
            }
        }
    }

    fn add_attempts(
        &mut self,
        rng: &mut Rng,
        plan: &Plan,
        group: u64,
        subgroup: &Subgroup,
        ids: Vec<u64>,
        due_ms: u64,
    ) {
        let begins = ids.first() == subgroup.ids.first();
        let header = SubgroupHeader {
            alias: 0,
            group,
            subgroup: match subgroup.number {
                0 => SubgroupIdMode::Zero,
                number if begins && ids.first() == Some(&number) => SubgroupIdMode::FirstObject,
                number => SubgroupIdMode::Explicit(number),
            },
            priority: subgroup.priority,
            has_extensions: subgroup.has_extensions,
            end_of_group: subgroup.end_of_group,
        };
        let whole = Attempt {
            header,
            subgroup: subgroup.number,
            ids,
            cut: usize::MAX,
            end: Some(StreamEnd::Fin),
            due_ms,
        };
        let (bytes, ends) = plan.encode(&whole, self.lies, 0);
        let cut = usize(rng.below(bytes.len() as u64 + 1));
        let reset = Attempt {
            cut,
            end: Some(code(rng)),
            ..whole.clone()
        };
        match rng.below(10) {
            6 => self.attempts.push(reset),
            7 | 8 => {
                let done = ends.iter().filter(|end| **end <= cut).count();
                let from = match rng.below(4) {
                    0 | 1 => done,
                    2 => done.saturating_sub(usize(1 + rng.below(2))),
                    _ => done + usize(1 + rng.below(2)),
                };
                let from = from.min(whole.ids.len() - 1);
                let end = if rng.one_in(5) { code(rng) } else { StreamEnd::Fin };
                let number = match subgroup.number {
                    0 => SubgroupIdMode::Zero,
                    number => SubgroupIdMode::Explicit(number),
                };
                self.attempts.push(reset);
                self.attempts.push(Attempt {
                    header: SubgroupHeader {
                        subgroup: number,
                        ..header
                    },
                    ids: whole.ids[from..].to_vec(),
                    end: Some(end),
                    ..whole
                });
            }
            9 => self.attempts.push(Attempt { end: None, ..reset }),
            _ => self.attempts.push(whole),
        }
    }
}

fn code(rng: &mut Rng) -> StreamEnd {
    StreamEnd::Reset(match rng.below(4) {
        0 => ResetCode::InternalError,
        1 => ResetCode::DeliveryTimeout,
        2 => ResetCode::Unknown(99),
        _ => ResetCode::Cancelled,
    })
}
