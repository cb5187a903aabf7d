//! A source on a thread of its own, so that neither a blocking read nor the wait for the next second holds up an
//! arbiter.

use super::{Source, SourceError, Step};
use crate::stamp::unix_nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

/// Steps that may wait for the consumer: enough to ride out a busy moment at 1000 objects a second.
const STEPS: usize = 64;
/// How often a waiting thread looks whether anybody still wants what it waits for.
const GLANCE: Duration = Duration::from_millis(100);

/// What a source says, without its waits. When the consumer is slow the source is slowed down, nothing is lost.
///
/// Dropping it ends the thread at its next step; a thread that waits for standard input ends with the process.
#[derive(Debug)]
pub struct Feed {
    steps: Receiver<Result<Step, SourceError>>,
    held_up: Arc<AtomicU64>,
    new_group: Arc<AtomicBool>,
}

impl Feed {
    /// Starts `source` on a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(source: impl Source + Send + 'static) -> std::io::Result<Self> {
        Self::with_bound(source, STEPS)
    }

    fn with_bound(source: impl Source + Send + 'static, bound: usize) -> std::io::Result<Self> {
        let (sender, steps) = mpsc::channel(bound);
        let held_up = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&held_up);
        let new_group = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&new_group);
        // Not joined: it ends with its source or its consumer.
        drop(
            std::thread::Builder::new()
                .name("laps-source".to_owned())
                .spawn(move || run(source, &sender, &counter, &wanted))?,
        );
        Ok(Self {
            steps,
            held_up,
            new_group,
        })
    }

    /// The next group or object, [`Step::End`] at the end, or the fault that ended the source. None after either.
    pub async fn next(&mut self) -> Option<Result<Step, SourceError>> {
        self.steps.recv().await
    }

    /// Somebody wants a new group: the source begins one with the next object that it makes, where it is free to.
    pub fn new_group(&self) {
        self.new_group.store(true, Ordering::Relaxed);
    }

    /// How often the source had to wait for the consumer.
    #[must_use]
    pub fn held_up(&self) -> u64 {
        self.held_up.load(Ordering::Relaxed)
    }
}

fn run(
    mut source: impl Source,
    sender: &Sender<Result<Step, SourceError>>,
    held_up: &AtomicU64,
    new_group: &AtomicBool,
) {
    while !sender.is_closed() {
        if new_group.swap(false, Ordering::Relaxed) {
            source.new_group();
        }
        let step = match source.next(unix_nanos()) {
            Ok(Step::WaitUntil(then)) => {
                let left = Duration::from_nanos(then.saturating_sub(unix_nanos()));
                std::thread::sleep(left.min(GLANCE));
                continue;
            }
            step => step,
        };
        let last = !matches!(step, Ok(Step::Gap | Step::GroupStart(_) | Step::Object(_)));
        let sent = match sender.try_send(step) {
            Err(TrySendError::Full(step)) => {
                held_up.fetch_add(1, Ordering::Relaxed);
                sender.blocking_send(step).is_ok()
            }
            sent => sent.is_ok(),
        };
        if last || !sent {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lines, ReadSource, Synth};
    use super::*;
    use futures::executor::block_on;

    /// Says on its channel when it is dropped, as its thread ends.
    struct Watched<S>(S, std::sync::mpsc::Sender<()>);

    impl<S: Source> Source for Watched<S> {
        fn next(&mut self, now: u64) -> Result<Step, SourceError> {
            let step = self.0.next(now);
            self.1.send(()).ok();
            step
        }
    }

    #[test]
    fn a_feed_gives_all_steps_and_then_the_end() {
        let mut feed = Feed::start(ReadSource::new(&b"a\nb\nc\n"[..], Lines::new(2, 0))).unwrap();
        let mut said = Vec::new();
        while let Some(step) = block_on(feed.next()) {
            said.push(match step.unwrap() {
                Step::GroupStart(group) => format!("group {group}"),
                Step::Object(object) => String::from_utf8(object.payload.to_vec()).unwrap(),
                Step::End => "end".to_owned(),
                Step::WaitUntil(_) | Step::Gap => panic!("waits stay inside"),
            });
        }
        assert_eq!(said, ["group 0", "a", "b", "group 1", "c", "end"]);
    }

    #[test]
    fn a_slow_consumer_holds_up_the_source_and_loses_nothing() {
        let (asked, times) = std::sync::mpsc::channel();
        let input: Vec<u8> = b"x\n".repeat(50);
        let source = Watched(
            ReadSource::new(std::io::Cursor::new(input), Lines::new(1000, 0)),
            asked,
        );
        let mut feed = Feed::with_bound(source, 4).unwrap();
        // Four steps fit, the fifth waits.
        for _ in 0..5 {
            times.recv().unwrap();
        }
        while feed.held_up() == 0 {
            std::thread::yield_now();
        }
        assert!(times.try_recv().is_err());
        let mut steps = 0;
        while block_on(feed.next()).is_some() {
            steps += 1;
        }
        assert_eq!(steps, 52);
        assert!(feed.held_up() > 0);
    }

    #[test]
    fn a_fault_comes_last() {
        let mut feed =
            Feed::start(ReadSource::new(&b"no mp4 at all"[..], super::super::Fmp4::new(0))).unwrap();
        assert!(matches!(
            block_on(feed.next()),
            Some(Err(SourceError::NotFmp4 { .. }))
        ));
        assert!(block_on(feed.next()).is_none());
    }

    #[test]
    fn a_dropped_feed_ends_its_thread() {
        let (asked, times) = std::sync::mpsc::channel();
        let feed = Feed::start(Watched(Synth::new(1000, 24, 10, 0), asked)).unwrap();
        times.recv().unwrap();
        drop(feed);
        // The source, and with it the sending end, goes when the thread ends.
        while times.recv().is_ok() {}
    }
}
