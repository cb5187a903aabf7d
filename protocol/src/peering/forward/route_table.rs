//! The routes of what comes in on one link, each bound to the track whose data came first.

use super::limits::Limits;
use super::route::Route;
use crate::peering::hash::FullNameHash;
use crate::peering::message::SnsId;
use std::collections::HashMap;
use std::sync::Arc;

/// The routes of one link, as [`super::NodeSets`] gave them.
#[derive(Debug)]
pub struct RouteTable {
    max_sets_per_track: usize,
    entries: HashMap<SnsId, Entry>,
    /// Ids that are bound to each track.
    tracks: HashMap<FullNameHash, usize>,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    /// The track of the first data.
    track: Option<FullNameHash>,
    /// Whether it was said that data of another track came.
    told: bool,
    /// How often it was looked up with success, since that was asked last.
    used: usize,
}

/// What becomes of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It takes this route.
    Route(Arc<Route>),
    /// Nothing is known of its id.
    Unknown,
    /// Its id stands for another track.
    Foreign {
        /// That one.
        bound: FullNameHash,
        /// Whether this is the first time for this id.
        first: bool,
    },
    /// The peer has as many ids for this track as it may have.
    Crowded,
}

impl RouteTable {
    /// One without routes.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_sets_per_track: limits.max_sets_per_track,
            entries: HashMap::new(),
            tracks: HashMap::new(),
        }
    }

    /// The data of an id takes this route from now on.
    pub fn set(&mut self, sns: SnsId, route: Arc<Route>) {
        let entry = self.entries.entry(sns).or_insert_with(|| Entry {
            route: Arc::clone(&route),
            track: None,
            told: false,
            used: 0,
        });
        entry.route = route;
    }

    /// The id stands for nothing any more. When it gets a route again, that may be for another track.
    pub fn remove(&mut self, sns: SnsId) {
        let track = self.entries.remove(&sns).and_then(|entry| entry.track);
        let Some(track) = track else { return };
        if let Some(ids) = self.tracks.get_mut(&track) {
            *ids -= 1;
            if *ids == 0 {
                self.tracks.remove(&track);
            }
        }
    }

    /// Where data of `track` goes that came with this id. The first data binds the id to its track: messages of laps
    /// relays do not say which one it stands for.
    pub fn lookup(&mut self, sns: SnsId, track: FullNameHash) -> Lookup {
        let Some(entry) = self.entries.get_mut(&sns) else {
            return Lookup::Unknown;
        };
        match entry.track {
            Some(bound) if bound == track => {}
            Some(bound) => {
                let first = !std::mem::replace(&mut entry.told, true);
                return Lookup::Foreign { bound, first };
            }
            None => {
                let ids = self.tracks.get(&track).copied().unwrap_or_default();
                if ids >= self.max_sets_per_track {
                    return Lookup::Crowded;
                }
                self.tracks.insert(track, ids + 1);
                entry.track = Some(track);
            }
        }
        entry.used = entry.used.saturating_add(1);
        Lookup::Route(Arc::clone(&entry.route))
    }

    /// How much data has found its way by this id, since that was asked last.
    pub fn take_used(&mut self, sns: SnsId) -> usize {
        let entry = self.entries.get_mut(&sns);
        entry.map_or(0, |entry| std::mem::take(&mut entry.used))
    }

    /// Routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sns(id: u32) -> SnsId {
        SnsId::new(id).unwrap()
    }

    fn track(n: u64) -> FullNameHash {
        FullNameHash::new(n).unwrap()
    }

    fn route(version: u64) -> Arc<Route> {
        Arc::new(Route::new(version, true, []))
    }

    /// Issue 6, "an SNS for a foreign track": the first data decides which track an id stands for, a withdraw frees it.
    #[test]
    fn an_id_stands_for_one_track_until_it_is_withdrawn() {
        let mut table = RouteTable::new(&Limits::default());
        assert_eq!(table.lookup(sns(1), track(7)), Lookup::Unknown);
        table.set(sns(1), route(1));
        assert_eq!(table.lookup(sns(1), track(7)), Lookup::Route(route(1)));
        let foreign = |first| Lookup::Foreign {
            bound: track(7),
            first,
        };
        assert_eq!(table.lookup(sns(1), track(8)), foreign(true));
        assert_eq!(table.lookup(sns(1), track(8)), foreign(false));
        table.set(sns(1), route(2));
        assert_eq!(table.lookup(sns(1), track(7)), Lookup::Route(route(2)));
        assert_eq!(table.lookup(sns(1), track(8)), foreign(false));
        table.remove(sns(1));
        assert_eq!(
            (table.lookup(sns(1), track(7)), table.len()),
            (Lookup::Unknown, 0)
        );
        table.set(sns(1), route(3));
        assert_eq!(table.lookup(sns(1), track(8)), Lookup::Route(route(3)));
        table.remove(sns(2));
        assert!(!table.is_empty());
    }

    /// Issue 6, "a loop": each turn of one makes another id for the same track.
    #[test]
    fn a_track_has_so_many_ids_on_a_link() {
        let limits = Limits {
            max_sets_per_track: 2,
            ..Limits::default()
        };
        let mut table = RouteTable::new(&limits);
        for id in 1..=4 {
            table.set(sns(id), route(1));
        }
        assert_eq!(table.lookup(sns(1), track(7)), Lookup::Route(route(1)));
        assert_eq!(table.lookup(sns(2), track(7)), Lookup::Route(route(1)));
        assert_eq!(table.lookup(sns(3), track(7)), Lookup::Crowded);
        assert_eq!(table.lookup(sns(3), track(8)), Lookup::Route(route(1)));
        table.remove(sns(1));
        assert_eq!(table.lookup(sns(4), track(7)), Lookup::Route(route(1)));
        (2..=4).for_each(|id| table.remove(sns(id)));
        assert!(table.tracks.is_empty() && table.is_empty());
    }
}
