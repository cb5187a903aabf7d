//! What a relay logs, for tests that promise a line.

use super::PATIENCE;
use slog::{Drain, Logger, o};
use tokio::sync::mpsc;

/// A log that is read.
pub struct Lines {
    lines: mpsc::UnboundedReceiver<String>,
    /// Everything read so far.
    pub seen: Vec<String>,
}

/// A logger, and what is said to it: message and values of each line.
pub fn log() -> (Logger, Lines) {
    let (tell, lines) = mpsc::unbounded_channel();
    let seen = Vec::new();
    (Logger::root(Told(tell), o!()), Lines { lines, seen })
}

impl Lines {
    /// Waits for a line that contains all of these words.
    pub async fn line(&mut self, words: &[&str]) -> String {
        let mut at = 0;
        loop {
            let has = |line: &&String| words.iter().all(|word| line.contains(word));
            if let Some(line) = self.seen[at..].iter().find(has) {
                return line.clone();
            }
            at = self.seen.len();
            match tokio::time::timeout(PATIENCE / 3, self.lines.recv()).await {
                Ok(Some(line)) => self.seen.push(line),
                Ok(None) | Err(_) => panic!("no line with {words:?}; there are: {:#?}", self.seen),
            }
        }
    }

    /// Waits until so many lines contain all of these words.
    pub async fn lines(&mut self, words: &[&str], count: usize) {
        while self.count(words) < count {
            match tokio::time::timeout(PATIENCE / 3, self.lines.recv()).await {
                Ok(Some(line)) => self.seen.push(line),
                Ok(None) | Err(_) => panic!("not {count} lines with {words:?}: {:#?}", self.seen),
            }
        }
    }

    /// How many lines so far contain all of these words.
    pub fn count(&mut self, words: &[&str]) -> usize {
        while let Ok(line) = self.lines.try_recv() {
            self.seen.push(line);
        }
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        self.seen.iter().filter(has).count()
    }
}

struct Told(mpsc::UnboundedSender<String>);

impl Drain for Told {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        struct Words(String);
        impl slog::Serializer for Words {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0.push_str(&format!(", {key}: {value}"));
                Ok(())
            }
        }
        let mut words = Words(format!("{} {}", record.level().as_short_str(), record.msg()));
        slog::KV::serialize(&record.kv(), record, &mut words).ok();
        if std::env::var_os("LAPS_TEST_LOG").is_some() {
            eprintln!("{}", words.0);
        }
        // Nobody may read any more.
        self.0.send(words.0).ok();
        Ok(())
    }
}
