//! What the relay's allocator has freed goes back to the system, also on a thread on which nothing happens any more.
//!
//! A relay refuses newcomers by the memory that the system counts for it. A shard that has lost its clients is idle, and
//! stays so while newcomers are refused: were its memory given back only as it goes on, that would be for ever.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use laps_actors::limits::memory;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often the system is asked, and how often before that is for ever: several times what the allocator takes.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: usize = 240;
const MIB: u64 = 1 << 20;

/// D14-LIM-4
#[test]
fn an_idle_thread_keeps_nothing() {
    let before = memory::used().unwrap();
    let (freed, all_freed) = mpsc::channel();
    let (end, until_end) = mpsc::channel::<()>();
    let shard = std::thread::spawn(move || {
        // The size of what comes in a packet.
        let packets: Vec<_> = (0..100_000).map(|_| vec![1_u8; 1200]).collect();
        let full = memory::used().unwrap();
        drop(packets);
        freed.send(full).unwrap();
        until_end.recv().unwrap_err();
    });
    assert!(all_freed.recv().unwrap() > before + 100 * MIB);
    let (_nobody, never) = mpsc::channel::<()>();
    let falls = (0..LOOKS).any(|_| {
        let more = memory::used().unwrap().saturating_sub(before);
        more < 16 * MIB || never.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout)
    });
    assert!(falls, "{} MiB are kept", (memory::used().unwrap() - before) >> 20);
    drop(end);
    shard.join().unwrap();
}
