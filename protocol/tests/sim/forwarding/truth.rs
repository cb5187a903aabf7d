//! What was published, who wanted it, who got it, and whether that is right.

use super::plan::{Change, Plan};
use laps_protocol::peering::node::NodeType;
use std::collections::{BTreeMap, BTreeSet};

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Payload that each relay sent in streams (bytes).
    pub(crate) sent: Vec<u64>,
    /// Streams that each relay opened.
    pub(crate) streams: Vec<u64>,
    /// The most sources that each relay knew at a time.
    pub(crate) most_sets: Vec<usize>,
    /// Sets that each relay told.
    pub(crate) told: Vec<u64>,
}

/// A stream that was published.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) track: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) fin: bool,
}

/// What one relay got of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copies {
    pub(crate) whole: u64,
    pub(crate) broken: u64,
}

#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) published: Vec<Published>,
    pub(crate) got: BTreeMap<(usize, usize), Copies>,
}

/// What a relay is to get of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Once,
    AtLeastOnce,
    Nothing,
    Anything,
}

impl Truth {
    /// A relay got the end of a stream.
    pub(crate) fn ended(&mut self, relay: usize, bytes: &[u8], fin: bool) -> Result<(), String> {
        let Some(number) = bytes
            .first_chunk()
            .map(|number| u32::from_be_bytes(*number) as usize)
        else {
            // A stream that broke off before it said which one it is.
            return if fin {
                Err(format!("{relay} got an empty stream"))
            } else {
                Ok(())
            };
        };
        let stream = self
            .published
            .get(number)
            .ok_or("a stream that nobody published")?;
        let copies = self.got.entry((relay, number)).or_default();
        if fin {
            copies.whole += 1;
            if !stream.fin || stream.bytes != bytes {
                return Err(format!(
                    "{relay} got {} bytes of stream {number} as all of it",
                    bytes.len()
                ));
            }
        } else {
            copies.broken += 1;
            if !stream.bytes.starts_with(bytes) {
                return Err(format!("{relay} got other bytes of stream {number}"));
            }
        }
        Ok(())
    }

    /// Whether everybody got what it had to.
    pub(crate) fn judge(&self, plan: &Plan, counts: &mut BTreeMap<&'static str, u64>) -> Result<(), String> {
        for (number, stream) in self.published.iter().enumerate() {
            for (relay, kind) in plan.nodes.iter().enumerate().skip(1) {
                if *kind == NodeType::Via && self.got.contains_key(&(relay, number)) {
                    return Err(format!("the Via {relay} got stream {number} for itself"));
                }
                let due = due(plan, relay, stream);
                let copies = self.got.get(&(relay, number)).copied().unwrap_or_default();
                let good = match (due, stream.fin) {
                    (Due::Once, true) => (copies.whole, copies.broken) == (1, 0),
                    // A reset may overtake all that came before it.
                    (Due::Once, false) => copies.whole == 0 && copies.broken <= 1,
                    (Due::AtLeastOnce, true) => copies.whole > 0,
                    (Due::AtLeastOnce, false) => copies.whole == 0,
                    (Due::Nothing, _) => copies.whole + copies.broken == 0,
                    (Due::Anything, _) => true,
                };
                if !good {
                    let (began, ended) = (stream.began, stream.ended);
                    return Err(format!(
                        "relay {relay}: stream {number} of track {} ({began} to {ended} ms, fin {}) is due {due:?}, \
                         came as {copies:?}\n{plan:?}",
                        stream.track, stream.fin
                    ));
                }
                let count = match due {
                    Due::Once => "once",
                    Due::AtLeastOnce => "moved",
                    Due::Nothing => "nothing",
                    Due::Anything => "anything",
                };
                *counts.entry(count).or_default() += 1;
                if due == Due::AtLeastOnce && copies.whole > 1 {
                    *counts.entry("twice").or_default() += 1;
                }
            }
        }
        Ok(())
    }
}

/// What follows from who wanted what when, and from what happened near.
fn due(plan: &Plan, relay: usize, stream: &Published) -> Due {
    // Until everybody heard of everything: each relay learns by itself, and tells the next.
    let hops = plan.nodes.len() as u64;
    let settle = 100 + plan.delay * (4 + hops);
    let near = stream.began.saturating_sub(settle)..=stream.ended + settle;
    // What two moves in a row need.
    let wide = stream.began.saturating_sub(settle + 1500)..=stream.ended + settle;
    let (mut wants, mut calm, mut alive, mut still) = (false, true, true, true);
    let mut dead = BTreeSet::new();
    for (at, changes) in &plan.changes {
        for change in changes {
            match change {
                Change::Subscribers {
                    relay: who,
                    track,
                    count,
                } if (*who, *track) == (relay, stream.track) => {
                    if *at <= stream.began {
                        wants = *count > 0;
                    }
                    // At time 0 nothing was there that could be late; but an origin has nothing for a laps relay that
                    // has not read its set.
                    let at_once = *at == 0 && plan.laps.is_none_or(|laps| !joined(plan, 0, laps));
                    calm &= at_once || !near.contains(at);
                }
                Change::Subscribers { .. } => {}
                Change::Death(link) => {
                    if *at <= stream.began {
                        dead.insert(*link);
                    }
                    alive &= !near.contains(at);
                    // Who is not hit may move as well, when others choose another way.
                    still &= !wide.contains(at);
                }
                Change::Drain { .. } => still &= !wide.contains(at),
            }
        }
    }
    let reached = reachable(plan, &dead, relay);
    match (wants && reached, calm && alive, still) {
        (_, false, _) => Due::Anything,
        (false, true, _) => Due::Nothing,
        (true, true, true) => Due::Once,
        (true, true, false) => Due::AtLeastOnce,
    }
}

fn joined(plan: &Plan, a: usize, b: usize) -> bool {
    plan.links.contains(&(a, b)) || plan.links.contains(&(b, a))
}

fn reachable(plan: &Plan, dead: &BTreeSet<usize>, relay: usize) -> bool {
    let mut seen = BTreeSet::from([0]);
    loop {
        let up = plan
            .links
            .iter()
            .enumerate()
            .filter(|(link, _)| !dead.contains(link));
        let more: Vec<usize> = up
            .flat_map(|(_, (a, b))| [(*a, *b), (*b, *a)])
            .filter(|(a, b)| seen.contains(a) && !seen.contains(b))
            .map(|(_, b)| b)
            .collect();
        if more.is_empty() {
            return seen.contains(&relay);
        }
        seen.extend(more);
    }
}
