//! What lies between two sessions and neither gave.

use super::{Subscriber, follows, silent};
use crate::client::filling::{Filled, Filling, Gap};
use crate::client::follow::Arrived;
use crate::client::item::Item;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::moqt::message::SubscribeFilter;
use slog::{info, warn};

/// The place up to which a session that took over from one that failed leaves it to others to give everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seam {
    /// The largest place that existed when it subscribed.
    pub(super) largest: Option<Location>,
}

impl Subscriber {
    /// Nothing is to be read of the session of now, since something is missing before what it gives next.
    pub(super) fn is_before_a_gap(&mut self) -> bool {
        if self.filling.is_none() {
            self.cross_seam();
        }
        self.filling.is_some() || self.ended.is_some() || !self.ready.is_empty()
    }

    /// Looks at the first object that comes after all that was given or fetched, before it is given.
    fn cross_seam(&mut self) {
        let Some(Seam { largest }) = self.seam else {
            return;
        };
        let Some(first) = self.link.first_waiting() else {
            return;
        };
        let highest = self.ledger.highest();
        if Some(first.location) <= highest.max(largest) {
            return;
        }
        if highest.is_some_and(|highest| follows(highest, first.location)) {
            // The rest of that group may still be cut off, by a relay that finds another way at this moment: its end tells.
            return;
        }
        let (before, at) = (Gap::last_before(first), first.location);
        self.seam = None;
        let behind = |highest: Location| Location::new(highest.group.saturating_add(1), 0) == at;
        if highest.is_some_and(|highest| behind(highest) && self.ledger.is_finished(highest.group)) {
            return;
        }
        let Some((begin, end_group)) = self.range() else {
            return;
        };
        // What was missing up to there was fetched, or is known to be lost.
        let after = largest.map_or(begin, |largest| {
            Location::new(largest.group, largest.object.saturating_add(1))
        });
        let start = self.ledger.next_place(begin).max(after);
        let Some(gap) = before.and_then(|before| Gap::new(start, before, end_group)) else {
            return;
        };
        if self.leaving {
            // MOQT-14 §9.4 [D14-GOAWAY-1]: it is asked for nothing more, and the next session finds where to go on.
            self.ended = Some(silent());
        } else {
            self.fill(gap);
        }
    }

    /// Where the subscription begins, and its last group; none when nothing is subscribed.
    fn range(&self) -> Option<(Location, Option<GroupId>)> {
        Some(match self.remainder.borrow().as_ref()?.filter {
            SubscribeFilter::AbsoluteStart(start) => (start, None),
            SubscribeFilter::AbsoluteRange { start, end_group } => (start, Some(end_group)),
            SubscribeFilter::LargestObject | SubscribeFilter::NextGroupStart => (Location::ZERO, None),
        })
    }

    /// What neither session gives.
    pub(super) fn missing(&mut self, arrived: &Arrived) -> Option<Gap> {
        let largest = arrived.largest?;
        if self.ended.is_none() && self.ledger.highest() >= Some(largest) {
            return None;
        }
        let (begin, end_group) = self.range()?;
        Gap::new(self.ledger.resume_at(begin), largest, end_group)
    }

    /// The old session died before it gave these, and the new one's subscription begins after them.
    pub(super) fn fill(&mut self, gap: Gap) {
        let Some(wanted) = self.remainder.borrow().clone() else {
            return;
        };
        info!(self.options.log, "fetching what lies between two sessions"; "from" => %gap.start, "to" => %gap.end);
        match self.link.session() {
            Ok(session) => {
                let filling = Filling::start(session.clone(), wanted.track, wanted.priority, gap);
                self.filling = Some(filling);
            }
            Err(error) => self.unfilled(gap, &error.to_string()),
        }
    }

    /// Takes in what was fetched.
    pub(super) fn filled(&mut self, filled: Filled) {
        match filled {
            Filled::Object(object) => self.ready.extend(self.ledger.fill(object)),
            Filled::Whole => {
                if let Some(filling) = self.filling.take() {
                    let gap = filling.gap();
                    self.ready.extend(self.ledger.filled(gap.end.group));
                    self.ledger.came_whole(gap.start.group, gap.behind().group);
                }
            }
            Filled::Not(_) if self.is_left() => {
                // What is behind the gap is not read here, so that the next session finds where to go on.
                self.filling = None;
                self.leave();
                self.ended = Some(silent());
            }
            Filled::Not(why) => {
                if let Some(filling) = self.filling.take() {
                    self.unfilled(filling.gap(), &why);
                }
            }
        }
    }

    fn unfilled(&mut self, gap: Gap, why: &str) {
        warn!(self.options.log, "objects between two sessions are missing"; "from" => %gap.start,
            "to" => %gap.end, "why" => why);
        self.ledger.unfilled();
        self.ready.push_back(Item::Lost);
    }
}

/// What comes next of a gap; never anything without one.
pub(super) async fn fill(filling: &mut Option<Filling>) -> Filled {
    match filling {
        Some(filling) => filling.next().await,
        None => std::future::pending().await,
    }
}
