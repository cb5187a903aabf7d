//! Who brought what of a track, as far as it takes to say whose fault a contradiction is.

use super::PublisherKey;
use crate::moqt::location::GroupId;
use crate::relay::track_log::{Dispute, Malformed, TrackLog};
use std::collections::BTreeMap;

/// Most groups of which it is known who brought them; 24 bytes each.
const MAX_GROUPS: usize = 1024;

/// The publishers that brought something of the track, and of each group. As long as there is one, it costs nothing.
#[derive(Debug, Default)]
pub(super) struct Authors {
    /// Whoever came first.
    first: Option<PublisherKey>,
    /// There were others.
    several: bool,
    /// The only publisher of a group, or none when there are several. Groups that are not here are the first's.
    groups: BTreeMap<GroupId, Option<PublisherKey>>,
}

impl Authors {
    /// `from` brings something of `group`.
    pub(super) fn note(&mut self, from: PublisherKey, group: GroupId, log: &TrackLog) {
        let first = *self.first.get_or_insert(from);
        if !self.several && first == from {
            return;
        }
        self.several = true;
        match self.groups.get_mut(&group) {
            Some(author) if *author == Some(from) => {}
            Some(author) => *author = None,
            None if first == from => {}
            None => {
                let author = (!log.has_seen(group)).then_some(from);
                self.groups.insert(group, author);
                if self.groups.len() > MAX_GROUPS {
                    self.groups.pop_first();
                }
            }
        }
    }

    /// What `from` is blamed for, when something of it contradicts what is known.
    pub(super) fn judge(&self, from: PublisherKey, group: Option<GroupId>, why: Malformed) -> Malformed {
        let Some((dispute, scope)) = dispute(why) else {
            return why;
        };
        let alone = match (scope, group.map(|group| self.groups.get(&group))) {
            (Scope::Track, _) => !self.several,
            (Scope::Group, Some(Some(author))) => *author == Some(from),
            (Scope::Group, Some(None) | None) => self.first == Some(from),
        };
        if alone {
            why
        } else {
            Malformed::Disagreement(dispute)
        }
    }
}

/// How far a contradiction reaches: to the objects of its own group, or farther.
enum Scope {
    Group,
    Track,
}

/// What it is that publishers disagree about, unless a stream shows the fault by itself.
const fn dispute(why: Malformed) -> Option<(Dispute, Scope)> {
    match why {
        Malformed::Conflict => Some((Dispute::Object, Scope::Group)),
        Malformed::Payload => Some((Dispute::Payload, Scope::Group)),
        Malformed::AfterEndOfSubgroup | Malformed::AfterEndOfGroup => Some((Dispute::End, Scope::Group)),
        Malformed::AfterEndOfTrack => Some((Dispute::End, Scope::Track)),
        Malformed::MixedPreference => Some((Dispute::Preference, Scope::Track)),
        Malformed::TwoGaps | Malformed::GapOverObject | Malformed::InsideGap => {
            Some((Dispute::Gap, Scope::Track))
        }
        Malformed::PayloadWithStatus
        | Malformed::PayloadTooLong
        | Malformed::ObjectUnfinished
        | Malformed::NotAscending
        | Malformed::GroupOrder
        | Malformed::Extensions
        | Malformed::GapTooLarge
        | Malformed::Disagreement(_) => None,
    }
}
