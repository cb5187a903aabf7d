//! What this relay publishes, and what of it the information bases were told.

use crate::supervise::mailbox::AskError;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::info_base::{Command, CommandError};
use laps_protocol::peering::message::Published;
use std::collections::BTreeSet;
use std::ops::Bound;

/// One name in up to four sets, whose memory they share. There are as many as the registry has.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    published: BTreeSet<Published>,
    /// The bases have taken it.
    told: BTreeSet<Published>,
    /// Of these it is to be looked what the bases have to be told.
    dirty: BTreeSet<Published>,
    /// The bases did not take them. They get another chance when something else is taken back.
    refused: BTreeSet<Published>,
    /// Which of them had its chance last.
    tried: Option<Published>,
    /// Why any was not taken, so far.
    reasons: Vec<CommandError>,
    /// While the registry lists everything anew: what it has named so far.
    listed: Option<BTreeSet<Published>>,
    counters: Counters,
}

/// Something that the bases are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) what: Published,
    /// It is published, or not any more.
    pub(super) there: bool,
}

impl Statement {
    pub(super) fn command(&self) -> Command {
        let what = self.what.clone();
        if self.there {
            Command::Publish(what)
        } else {
            Command::Unpublish(what)
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What the bases were told of anew.
    pub published: u64,
    /// What was taken back.
    pub withdrawn: u64,
    /// What the bases did not take.
    pub refused: u64,
}

/// What became of something that the bases were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It stands.
    Taken,
    /// It does not.
    Refused {
        /// Why.
        why: CommandError,
        /// It is the first for this reason.
        first: bool,
    },
    /// The bases did not answer.
    Unanswered,
}

impl Ledger {
    /// New bases know nothing.
    pub(super) fn bases_began(&mut self) {
        self.told.clear();
        self.refused.clear();
        self.dirty = self.published.clone();
    }

    /// The registry begins to list everything.
    pub(super) fn list(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// The registry says of a name whether it is published here; false when that was known.
    pub(super) fn heard(&mut self, what: Published, there: bool) -> bool {
        if let Some(listed) = &mut self.listed {
            if there {
                listed.insert(what.clone());
            } else {
                listed.remove(&what);
            }
        }
        let changed = if there {
            self.published.insert(what.clone())
        } else {
            self.published.remove(&what)
        };
        if !there {
            self.refused.remove(&what);
        }
        if changed {
            self.dirty.insert(what);
        }
        changed
    }

    /// The registry has named everything: what it did not name is gone.
    pub(super) fn listed(&mut self) {
        let Some(listed) = self.listed.take() else {
            return;
        };
        let gone: Vec<_> = self.published.difference(&listed).cloned().collect();
        for what in gone {
            self.heard(what, false);
        }
    }

    /// What the bases are to be told next, at most so much at once.
    pub(super) fn next(&mut self, most: usize) -> Vec<Statement> {
        let mut statements = Vec::new();
        while statements.len() < most
            && let Some(what) = self.dirty.pop_first()
        {
            let there = self.published.contains(&what);
            if there != self.told.contains(&what) {
                statements.push(Statement { what, there });
            }
        }
        statements
    }

    /// The bases answered what [`Self::next`] said.
    pub(super) fn done(
        &mut self,
        Statement { what, there }: Statement,
        answer: Result<Result<(), CommandError>, AskError>,
    ) -> Done {
        match answer {
            Ok(Ok(())) if there => {
                self.counters.published += 1;
                self.refused.remove(&what);
                self.told.insert(what);
                Done::Taken
            }
            Ok(Ok(())) => {
                self.counters.withdrawn += 1;
                self.told.remove(&what);
                self.try_again();
                Done::Taken
            }
            Ok(Err(why)) => {
                self.counters.refused += 1;
                self.refused.insert(what);
                let first = !self.reasons.contains(&why);
                if first {
                    self.reasons.push(why);
                }
                Done::Refused { why, first }
            }
            Err(_) => {
                self.dirty.insert(what);
                Done::Unanswered
            }
        }
    }

    /// Something was taken back: its place, or its hash, may be what another one lacked. They take turns.
    fn try_again(&mut self) {
        let from = self.tried.take();
        let from = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.refused.range((from, Bound::Unbounded));
        let next = later.next().or_else(|| self.refused.first()).cloned();
        if let Some(next) = next {
            self.dirty.insert(next.clone());
            self.tried = Some(next);
        }
    }

    /// Whether somebody here publishes this track, or a namespace that it is in.
    pub(super) fn covers(&self, track: &FullTrackName) -> bool {
        let mut prefixes = track.namespace().prefixes();
        self.published.contains(&Published::Track(track.clone()))
            || prefixes.any(|prefix| self.published.contains(&Published::Namespace(prefix)))
    }

    /// How much is published here, how much of that the bases know, and how much of it they do not take.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.published.len(), self.told.len(), self.refused.len())
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use laps_protocol::moqt::name::TrackNamespace;

    fn name(text: &str) -> Published {
        Published::Namespace(TrackNamespace::new([Bytes::from(text.to_owned())]).unwrap())
    }

    fn said(ledger: &mut Ledger) -> Vec<(Published, bool)> {
        let next = ledger.next(usize::MAX).into_iter();
        next.map(|said| {
            let told = (said.what.clone(), said.there);
            assert_eq!(ledger.done(said, Ok(Ok(()))), Done::Taken);
            told
        })
        .collect()
    }

    /// What changes and changes back is never told, and what was told is not told again, but to new bases.
    #[test]
    fn bases_are_told_what_they_do_not_know() {
        let mut ledger = Ledger::default();
        ledger.bases_began();
        ledger.heard(name("a"), true);
        ledger.heard(name("b"), true);
        ledger.heard(name("b"), false);
        assert_eq!(said(&mut ledger), [(name("a"), true)]);
        ledger.heard(name("a"), true);
        assert_eq!(said(&mut ledger), []);
        ledger.bases_began();
        assert_eq!(said(&mut ledger), [(name("a"), true)]);
        ledger.heard(name("a"), false);
        assert_eq!(said(&mut ledger), [(name("a"), false)]);
        assert_eq!(ledger.sizes(), (0, 0, 0));
    }

    #[test]
    fn a_track_is_covered_by_its_name_or_a_prefix() {
        let fields = ["a", "b"].map(|field| Bytes::from_static(field.as_bytes()));
        let namespace = TrackNamespace::new(fields).unwrap();
        let track = FullTrackName::new(namespace, Bytes::from_static(b"t")).unwrap();
        for what in [name("a"), Published::Track(track.clone())] {
            let mut ledger = Ledger::default();
            ledger.heard(name("b"), true);
            assert!(!ledger.covers(&track));
            ledger.heard(what.clone(), true);
            assert!(ledger.covers(&track));
            ledger.heard(what, false);
            assert!(!ledger.covers(&track));
        }
    }

    /// A registry that begins again lists what there is; what went meanwhile is taken back when it has listed all.
    #[test]
    fn what_is_not_listed_any_more_is_gone() {
        let mut ledger = Ledger::default();
        ledger.bases_began();
        ledger.heard(name("a"), true);
        ledger.heard(name("b"), true);
        said(&mut ledger);
        ledger.list();
        ledger.heard(name("b"), true);
        ledger.heard(name("c"), true);
        ledger.heard(name("c"), false);
        assert_eq!(said(&mut ledger), []);
        ledger.listed();
        assert_eq!(said(&mut ledger), [(name("a"), false)]);
    }

    /// A name that was not taken has its turn when another one is taken back, and each reason is worth one word.
    #[test]
    fn what_was_refused_is_tried_again_in_turn() {
        let mut ledger = Ledger::default();
        ledger.bases_began();
        let names = ["a", "b", "c", "d"].map(name);
        for what in &names {
            ledger.heard(what.clone(), true);
        }
        let refuse = |ledger: &mut Ledger, most| {
            let next = ledger.next(most).into_iter();
            next.map(|said| {
                let what = said.what.clone();
                (what, ledger.done(said, Ok(Err(CommandError::TooMany))))
            })
            .collect::<Vec<_>>()
        };
        let refused = |first| Done::Refused {
            why: CommandError::TooMany,
            first,
        };
        let [a, b, c, d] = names;
        assert_eq!(
            refuse(&mut ledger, 2),
            [(a.clone(), refused(true)), (b.clone(), refused(false))]
        );
        assert_eq!(said(&mut ledger), [(c.clone(), true), (d.clone(), true)]);
        ledger.heard(c, false);
        assert_eq!(ledger.next(9).len(), 1);
        ledger.done(
            Statement {
                what: name("c"),
                there: false,
            },
            Ok(Ok(())),
        );
        assert_eq!(refuse(&mut ledger, 9), [(a, refused(false))]);
        ledger.heard(d, false);
        let gone = ledger.next(9).remove(0);
        assert_eq!(
            ledger.done(gone.clone(), Err(AskError::Deadline)),
            Done::Unanswered
        );
        assert_eq!(ledger.next(9), std::slice::from_ref(&gone));
        ledger.done(gone, Ok(Ok(())));
        assert_eq!(said(&mut ledger), [(b, true)]);
        assert_eq!(ledger.sizes(), (2, 1, 1));
        assert_eq!((ledger.counters().refused, ledger.counters().withdrawn), (3, 2));
    }
}
