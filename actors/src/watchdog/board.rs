//! Where those who are watched leave their beats, and where whoever wants to know reads how they are.

use super::judge::Sign;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// How often a thread beats at least, while it lives: eight times before its silence is reported.
pub const BEAT: std::time::Duration = std::time::Duration::from_millis(250);

/// The threads that are watched, a place for each. Made once; clones share the places.
///
/// All of it is atomics, so that a thread that is stuck, wherever that is, keeps nobody from reading.
#[derive(Clone, Debug)]
pub struct Board(Arc<[Place]>);

#[derive(Debug)]
struct Place {
    name: String,
    /// Lives begun here so far.
    lives: AtomicU64,
    /// The one that is watched, 0 for none.
    life: AtomicU64,
    beats: AtomicU64,
    late: AtomicBool,
    serving: AtomicU64,
    children: AtomicU64,
}

/// What a thread says of itself with a beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections it serves.
    pub connections: u64,
    /// Actors that its own has started and that live.
    pub children: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} children", self.connections, self.children)
    }
}

impl Board {
    /// A board with a place for each of `names`, nobody there yet.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let place = |name| Place {
            name,
            lives: AtomicU64::new(0),
            life: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            late: AtomicBool::new(false),
            serving: AtomicU64::new(0),
            children: AtomicU64::new(0),
        };
        Self(names.into_iter().map(place).collect())
    }

    /// Takes the place `name` for a life that begins: from now on it is expected to beat. None where there is no such
    /// place.
    #[must_use]
    pub fn pulse(&self, name: &str) -> Option<Pulse> {
        let (at, place) = self.0.iter().enumerate().find(|(_, place)| place.name == name)?;
        let life = place.lives.fetch_add(1, Relaxed) + 1;
        place.life.store(life, Release);
        Some(Pulse {
            board: self.clone(),
            at,
            life,
        })
    }

    /// Names of those who are late, as the watchdog last found.
    #[must_use]
    pub fn late(&self) -> Vec<String> {
        let late = self.0.iter().filter(|place| place.late.load(Relaxed));
        late.map(|place| place.name.clone()).collect()
    }

    /// The name of a place; empty where there is none.
    #[must_use]
    pub fn name(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |place| &place.name)
    }

    /// What was last said at a place.
    #[must_use]
    pub fn figures(&self, at: usize) -> Figures {
        self.0.get(at).map_or_else(Figures::default, |place| Figures {
            connections: place.serving.load(Relaxed),
            children: place.children.load(Relaxed),
        })
    }

    /// How often a place was beaten at.
    #[must_use]
    pub fn beats(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |place| place.beats.load(Relaxed))
    }

    /// What there is to see, place by place.
    pub(super) fn signs(&self) -> Vec<Option<Sign>> {
        let sign = |place: &Place| {
            let life = place.life.load(Acquire);
            (life != 0).then(|| Sign {
                life,
                beats: place.beats.load(Relaxed),
            })
        };
        self.0.iter().map(sign).collect()
    }

    pub(super) fn set_late(&self, at: usize, late: bool) {
        if let Some(place) = self.0.get(at) {
            place.late.store(late, Relaxed);
        }
    }
}

/// One life at one place of the board. While it exists its holder is expected to [`beat`](Self::beat).
#[derive(Debug)]
pub struct Pulse {
    board: Board,
    at: usize,
    life: u64,
}

impl Pulse {
    /// The thread runs. Call it from a timer of the thread, every [`BEAT`].
    pub fn beat(&self, figures: Figures) {
        if let Some(place) = self.board.0.get(self.at) {
            place.serving.store(figures.connections, Relaxed);
            place.children.store(figures.children, Relaxed);
            place.beats.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some(place) = self.board.0.get(self.at) {
            // A later life may have the place by now. Whoever is gone is not late.
            let _later: Result<u64, u64> = place.life.compare_exchange(self.life, 0, AcqRel, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_watched_while_somebody_has_it() {
        let board = Board::new(["root".to_owned(), "shard-0".to_owned()]);
        assert!(board.pulse("shard-1").is_none());
        assert_eq!(board.signs(), [None, None]);
        let first = board.pulse("shard-0").unwrap();
        let figures = Figures {
            connections: 3,
            children: 7,
        };
        first.beat(figures);
        assert_eq!(board.signs(), [None, Some(Sign { life: 1, beats: 1 })]);
        assert_eq!(board.figures(1), figures);
        assert_eq!(figures.to_string(), "3 connections, 7 children");
        // The next life takes the place over, and the end of the first does not take it away.
        let second = board.pulse("shard-0").unwrap();
        drop(first);
        assert_eq!(board.signs()[1], Some(Sign { life: 2, beats: 1 }));
        drop(second);
        assert_eq!(board.signs(), [None, None]);
    }
}
