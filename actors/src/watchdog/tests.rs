//! The watchdog without its thread, with a clock of the test's own.

use super::*;
use slog::{Discard, o};
use std::cell::RefCell;
use std::sync::Arc;

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<std::sync::RwLock<Vec<String>>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.write().unwrap())
    }
}

impl Keeper for Notes {
    fn alive(&mut self, _: Instant) {
        self.0.write().unwrap().push("alive".to_owned());
    }

    fn stuck(&mut self, report: &Report) {
        let told = format!("{}: {report}", report.name);
        self.0.write().unwrap().push(told);
    }
}

#[test]
fn a_stuck_thread_is_told_with_what_is_known_of_it_and_the_process_is_no_longer_alive() {
    let board = Board::new(["root", "shard-0", "shard-1"].map(str::to_owned));
    let root = board.pulse("root").unwrap();
    let shards = ["shard-0", "shard-1"].map(|name| board.pulse(name).unwrap());
    let notes = Notes::default();
    let log = Logger::root(Discard, o!());
    let mut watchdog = Watchdog::new(board.clone(), Terms::default(), notes.clone(), log);
    let now = RefCell::new(Instant::now());
    let mut look = |shards: &[&Pulse]| {
        root.beat(Figures::default());
        for shard in shards {
            shard.beat(Figures {
                connections: 2,
                children: 5,
            });
        }
        *now.borrow_mut() += Terms::default().look_every;
        watchdog.look(*now.borrow());
    };
    look(&[&shards[0], &shards[1]]);
    for _ in 0..7 {
        look(&[&shards[0]]);
    }
    assert!(board.late().is_empty());
    look(&[&shards[0]]);
    assert_eq!(board.late(), ["shard-1"], "after two seconds");
    for _ in 0..31 {
        look(&[]);
    }
    assert_eq!(board.late(), ["shard-0", "shard-1"]);
    let alive = notes.take();
    assert_eq!((alive.len(), alive[39].as_str()), (40, "alive"));
    look(&[]);
    assert_eq!(
        notes.take(),
        [
            "shard-1: its thread has not run for 10.0 s; after 1 beats it last had 2 connections, 5 children; \
          also late: shard-0"
        ]
    );
    look(&[&shards[0], &shards[1]]);
    assert!(board.late().is_empty());
    assert_eq!(notes.take(), ["alive"]);
}
