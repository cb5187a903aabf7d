//! How a run of the command ends: its exit code, and the one line on standard error that explains it.
//!
//! | code | name | meaning |
//! |---|---|---|
//! | 0 | [`Exit::Ok`] | everything that was asked for was done, or a signal asked for the end |
//! | 1 | [`Exit::Failure`] | the attempt failed: port in use, unreadable certificate, connection refused |
//! | 2 | [`Exit::Usage`] | the command line is wrong, or asks for something that this version does not have |
//! | 3 | [`Exit::Config`] | the configuration file or the environment is wrong |
//! | 4 | [`Exit::Incomplete`] | a client ran, but less came than was asked for |
//! | 70 | [`Exit::Fault`] | a part of the relay failed and could not be replaced; starting again may help |
//!
//! Every line has the form `laps: <thing>: <reason>; <what to do>`.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long the last words of a process may take on standard error. A reader that does not read holds it for ever, and
/// with it whoever else writes there.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// Exit code of the process; the table is in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The attempt failed.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration file or the environment is wrong.
    Config = 3,
    /// Less was received, or sent, than was asked for.
    Incomplete = 4,
    /// A part of the relay failed and could not be replaced (EX_SOFTWARE).
    Fault = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without success: what is concerned, what is wrong with it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    thing: String,
    reason: String,
    remedy: String,
}

impl Failure {
    /// A failure of the given kind. `remedy` may be empty where `reason` says it all.
    pub fn new(
        exit: Exit,
        thing: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            thing: thing.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// A failure while running ([`Exit::Failure`]).
    pub fn run(thing: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Failure, thing, reason, remedy)
    }

    /// A fault of the command line ([`Exit::Usage`]).
    pub fn usage(thing: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, thing, reason, remedy)
    }

    /// A fault of the configuration ([`Exit::Config`]).
    pub fn config(thing: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Config, thing, reason, remedy)
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the line to standard error, which has [`LAST_WORDS`] to take it, and returns the code to end with.
    #[must_use]
    pub fn report(self) -> ExitCode {
        let exit = self.exit;
        let (told, done) = channel::<()>();
        let speaker = std::thread::Builder::new().name("laps-last".to_owned());
        let speaking = speaker.spawn(move || {
            self.write();
            // Its end is the news.
            drop(told);
        });
        if speaking.is_ok() {
            // The exit code is the witness of a line that was not taken.
            let _in_time: bool = done.recv_timeout(LAST_WORDS) != Err(RecvTimeoutError::Timeout);
        }
        exit.into()
    }

    /// Writes the line to standard error, for as long as that takes.
    pub(crate) fn write(&self) {
        // A closed standard error leaves the exit code as the only witness; there is nobody else to tell.
        drop(writeln!(std::io::stderr(), "laps: {self}"));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.thing), one_line(&self.reason))?;
        if self.remedy.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", one_line(&self.remedy))
        }
    }
}

impl std::error::Error for Failure {}

/// Texts of other crates and of the peer may span lines, or move the cursor of a terminal; ours is one line of visible
/// characters whatever they say.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_of_three_parts() {
        let failure = Failure::run("port 33435", "already\n  in use", "choose another with --port");
        assert_eq!(
            failure.to_string(),
            "port 33435: already in use; choose another with --port"
        );
        assert_eq!(Failure::usage("x", "y", "").to_string(), "x: y");
        let hostile = Failure::run("x", "gone\u{1b}[2J\0\u{9b}1m", "");
        assert_eq!(hostile.to_string(), "x: gone\u{fffd}[2J\u{fffd}\u{fffd}1m");
    }

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::Config,
            Exit::Incomplete,
            Exit::Fault,
        ]
        .map(|e| e as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4, 70]);
    }
}
