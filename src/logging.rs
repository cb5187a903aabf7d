//! The log: slog records through a bounded channel to a thread that writes them to standard error.
//!
//! A record that finds the channel full is dropped and counted; the next one that finds room brings along how many
//! were lost. So a slow terminal never slows the relay, and a loss is never silent. Nor does one that takes nothing keep
//! a process from ending: the last records get [`LAST_WORDS`].

use crate::config::sections;
use crate::config::{LogFormat, LogLevel};
use crate::exit::LAST_WORDS;
use slog::{Drain, Level, Logger, OwnedKVList, Record, o};
use slog_async::{AsyncCore, AsyncError, AsyncGuard};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Records that may wait for the writing thread: a burst of a second at a rate no person reads.
const CHANNEL_RECORDS: usize = 4096;

/// The log of this process. Dropping it writes what is still waiting, as far as [`LAST_WORDS`] goes.
pub struct Logging {
    /// Where records go; children add their keys.
    pub logger: Logger,
    /// Which levels pass, changed while running.
    pub level: LevelSwitch,
    dropped: Dropped,
    /// Waits for the writing thread when dropped. There until this is.
    guard: Option<AsyncGuard>,
}

impl Drop for Logging {
    /// The guard waits for ever where standard error takes nothing: for room in the channel, then for the thread. So it
    /// is dropped on a thread of its own, and who waits for that has a deadline.
    fn drop(&mut self) {
        let guard = self.guard.take();
        let (told, done) = mpsc::channel::<()>();
        let ending = std::thread::Builder::new().name("laps-log-end".to_owned());
        let ending = ending.spawn(move || {
            drop(guard);
            // Its end is the news.
            drop(told);
        });
        // Without another thread it was dropped here.
        if ending.is_ok() {
            let _in_time: bool = done.recv_timeout(LAST_WORDS) != Err(mpsc::RecvTimeoutError::Timeout);
        }
    }
}

impl Logging {
    /// The log as configured, on standard error.
    #[must_use]
    pub fn start(config: &sections::Logging) -> Self {
        match config.format {
            LogFormat::Terminal => {
                let decorator = slog_term::TermDecorator::new().stderr().build();
                let format = slog_term::FullFormat::new(decorator).use_utc_timestamp().build();
                Self::over(format.ignore_res(), config.level)
            }
            // Nobody is left to tell when standard error is gone.
            LogFormat::Json => Self::over(json(io::stderr()).ignore_res(), config.level),
        }
    }

    /// The log over any writer of records.
    fn over<D>(drain: D, level: LogLevel) -> Self
    where
        D: Drain<Ok = (), Err = slog::Never> + Send + 'static,
    {
        Self::with_channel(drain, level, CHANNEL_RECORDS)
    }

    fn with_channel<D>(drain: D, level: LogLevel, records: usize) -> Self
    where
        D: Drain<Ok = (), Err = slog::Never> + Send + 'static,
    {
        let builder = AsyncCore::custom(drain)
            .chan_size(records)
            .thread_name("laps-log".to_owned());
        let (core, guard) = builder.build_with_guard();
        let level = LevelSwitch::new(level);
        let dropped = Dropped::default();
        let drain = Gate {
            level: level.clone(),
            dropped: dropped.clone(),
            core,
        };
        Self {
            logger: Logger::root(drain.fuse(), o!()),
            level,
            dropped,
            guard: Some(guard),
        }
    }

    /// Records lost so far because the channel was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.total.load(Ordering::Relaxed)
    }
}

fn json<W: io::Write>(writer: W) -> slog_json::Json<W> {
    slog_json::Json::new(writer)
        .add_default_keys()
        .set_flush(true)
        .build()
}

/// Which levels pass. Clones share one setting.
#[derive(Clone, Debug)]
pub struct LevelSwitch(Arc<AtomicUsize>);

impl LevelSwitch {
    fn new(level: LogLevel) -> Self {
        Self(Arc::new(AtomicUsize::new(slog_level(level).as_usize())))
    }

    /// The least urgent level that passes.
    #[must_use]
    pub fn get(&self) -> LogLevel {
        let now = self.0.load(Ordering::Relaxed);
        LogLevel::ALL
            .into_iter()
            .find(|&level| slog_level(level).as_usize() == now)
            .unwrap_or_default()
    }

    /// Sets it.
    pub fn set(&self, level: LogLevel) {
        self.0.store(slog_level(level).as_usize(), Ordering::Relaxed);
    }

    /// Steps to the next of info, debug and trace, from anything else to info; returns the new level.
    pub fn cycle(&self) -> LogLevel {
        let next = match self.get() {
            LogLevel::Info => LogLevel::Debug,
            LogLevel::Debug => LogLevel::Trace,
            LogLevel::Critical | LogLevel::Error | LogLevel::Warning | LogLevel::Trace => LogLevel::Info,
        };
        self.set(next);
        next
    }

    fn passes(&self, level: Level) -> bool {
        level.as_usize() <= self.0.load(Ordering::Relaxed)
    }
}

const fn slog_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Critical => Level::Critical,
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

#[derive(Clone, Debug, Default)]
struct Dropped {
    total: Arc<AtomicU64>,
    unreported: Arc<AtomicU64>,
}

/// In front of the channel, so that a record below the level costs one load.
struct Gate {
    level: LevelSwitch,
    dropped: Dropped,
    core: AsyncCore,
}

impl Drain for Gate {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        if !self.level.passes(record.level()) {
            return Ok(());
        }
        let lost = self.dropped.unreported.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let values = OwnedKVList::from(o!());
            let report = self.core.log(
                &slog::record!(
                    Level::Warning,
                    "",
                    &format_args!("{TOO_SLOW}"),
                    slog::b!("lost" => lost)
                ),
                &values,
            );
            if full(&report) {
                self.dropped.unreported.fetch_add(lost, Ordering::Relaxed);
            }
        }
        if full(&self.core.log(record, values)) {
            self.dropped.total.fetch_add(1, Ordering::Relaxed);
            self.dropped.unreported.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.passes(level)
    }
}

const TOO_SLOW: &str = "the log was too slow, records were lost";

/// Any other error means that the writing thread is gone, and with it whoever would read of the loss.
const fn full(result: &Result<(), AsyncError>) -> bool {
    matches!(result, Err(AsyncError::Full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Into(Mutex<Sender<String>>, Option<Mutex<Receiver<()>>>);

    impl Drain for Into {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
            if let Some(hold) = &self.1 {
                hold.lock().unwrap().recv().ok();
            }
            self.0.lock().unwrap().send(record.msg().to_string()).ok();
            Ok(())
        }
    }

    #[test]
    fn the_level_changes_while_running() {
        let (sent, got) = channel();
        let logging = Logging::over(Into(Mutex::new(sent), None), LogLevel::Info);
        slog::debug!(logging.logger, "1");
        slog::info!(logging.logger, "2");
        let steps: Vec<LogLevel> = (0..3).map(|_| logging.level.cycle()).collect();
        assert_eq!(steps, [LogLevel::Debug, LogLevel::Trace, LogLevel::Info]);
        logging.level.set(LogLevel::Debug);
        slog::debug!(logging.logger, "3");
        logging.level.set(LogLevel::Critical);
        slog::error!(logging.logger, "4");
        assert_eq!(logging.level.cycle(), LogLevel::Info);
        drop(logging);
        assert_eq!(got.iter().collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn json_is_an_object_a_line() {
        #[derive(Clone, Default)]
        struct Written(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let written = Written::default();
        let logging = Logging::over(json(written.clone()).ignore_res(), LogLevel::Info);
        slog::info!(logging.logger.new(o!("shard" => 1)), "one"; "session" => "a\nb");
        slog::warn!(logging.logger, "two");
        drop(logging);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(
            (&lines[0]["msg"], &lines[0]["shard"], &lines[0]["session"]),
            (&"one".into(), &1.into(), &"a\nb".into())
        );
        assert_eq!(
            (&lines[1]["msg"], &lines[1]["level"]),
            (&"two".into(), &"WARN".into())
        );
        assert!(lines.len() == 2 && lines[1]["ts"].is_string());
    }

    /// Nobody takes a record ever again, and there is no room for the word that it is over.
    #[test]
    fn a_log_that_nobody_reads_ends() {
        let (sent, got) = channel();
        let (release, hold) = channel();
        let drain = Into(Mutex::new(sent), Some(Mutex::new(hold)));
        let logging = Logging::with_channel(drain, LogLevel::Info, 1);
        for _ in 0..10 {
            slog::info!(logging.logger, "x");
        }
        drop(logging);
        assert!(got.try_recv().is_err());
        drop(release);
    }

    #[test]
    fn a_full_channel_drops_counts_and_reports() {
        let (sent, got) = channel();
        let (release, hold) = channel();
        let drain = Into(Mutex::new(sent), Some(Mutex::new(hold)));
        let logging = Logging::with_channel(drain, LogLevel::Info, 2);
        // The thread holds at most one record and the channel two: of ten at least seven are lost.
        for _ in 0..10 {
            slog::info!(logging.logger, "x");
        }
        let lost = logging.dropped();
        assert!((7..=8).contains(&lost), "{lost}");
        drop(release);
        // Room comes when the thread has written what waited.
        let written = 10 - lost;
        for _ in 0..written {
            got.recv().unwrap();
        }
        slog::info!(logging.logger, "y");
        drop(logging);
        assert_eq!(
            got.iter().collect::<Vec<_>>(),
            ["the log was too slow, records were lost", "y"]
        );
    }
}
