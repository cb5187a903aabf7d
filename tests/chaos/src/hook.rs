//! The test hook of a relay that was built for it; its lines are explained in `src/chaos.rs` of the root package.

use crate::Failure;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the hook may take to answer: it has a thread of its own.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is asked whether a fault has happened.
const LOOK: Duration = Duration::from_millis(5);

/// Where a relay's hook is.
#[derive(Clone, Debug)]
pub(crate) struct Hook(PathBuf);

impl Hook {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Says one line and gives what follows the `ok`.
    pub(crate) fn say(&self, line: &str) -> Result<String, Failure> {
        let mut stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        match answer.trim_end().strip_prefix("ok") {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(format!("the hook answers `{line}` by `{}`", answer.trim_end()).into()),
        }
    }

    /// How often this point has failed so far.
    pub(crate) fn fired(&self, kind: &str, name: &str) -> Result<u64, Failure> {
        let answer = self.say(&format!("fired {kind} {name}"))?;
        Ok(answer.split(' ').next().unwrap_or_default().parse()?)
    }

    /// Waits until this point has failed so often in all.
    pub(crate) fn until_fired(
        &self,
        kind: &str,
        name: &str,
        times: u64,
        patience: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        while self.fired(kind, name)? < times {
            if Instant::now() > until {
                return Err(format!("{kind} {name} was armed and did not fail").into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
