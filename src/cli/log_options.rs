//! Flags for the log, the same for every command that writes one.

use crate::config::{LogFormat, LogLevel, Override};
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct LogOptions {
    /// Write debug log: short for --log-level debug
    #[structopt(short = "d", long = "debug", conflicts_with = "log-level")]
    pub debug: bool,
    /// Least urgent level to log: critical, error, warning, info, debug or trace
    #[structopt(long = "log-level", alias = "log_level", value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// How the log looks on standard error: terminal or json
    #[structopt(long = "log-format", alias = "log_format", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl LogOptions {
    /// What they set in the configuration.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let debug = self.debug.then_some(("--debug", LogLevel::Debug));
        let level = debug.or_else(|| self.log_level.map(|level| ("--log-level", level)));
        let level = level.map(|(flag, level)| Override {
            key: "logging.level",
            flag,
            value: level.name().into(),
        });
        let format = self.log_format.map(|format| Override {
            key: "logging.format",
            flag: "--log-format",
            value: format.name().into(),
        });
        level.into_iter().chain(format).collect()
    }
}
