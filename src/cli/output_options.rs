//! How received objects are written, the same for every command that receives some.

use super::values::Seconds;
use crate::exit::Failure;
use std::path::PathBuf;
use std::str::FromStr;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct OutputOptions {
    /// Write to this file instead of standard output
    #[structopt(short = "o", long = "output", value_name = "FILE", parse(from_os_str))]
    pub output: Option<PathBuf>,
    /// raw (payloads one after the other) or lines (each payload with a newline)
    #[structopt(long = "format", value_name = "FORMAT", default_value = "raw")]
    pub format: OutputFormat,
    /// Write a JSON object a line for each object instead of its payload
    #[structopt(long = "json")]
    pub json: bool,
    /// Print statistics to standard error at this interval
    #[structopt(short = "i", long = "interval", value_name = "SECONDS")]
    pub interval: Option<Seconds>,
}

/// How payloads are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// One after the other; what `pub --format raw` and `fmp4` need to give the same bytes.
    #[default]
    Raw,
    /// Each with a newline behind it.
    Lines,
}

impl OutputOptions {
    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        let misplaced = [
            (
                "--json",
                self.json && self.format == OutputFormat::Lines,
                "has a line per object without --format",
            ),
            (
                "--interval",
                self.interval.is_some_and(|s| s.0.is_zero()),
                "must be above 0",
            ),
        ];
        match misplaced.into_iter().find(|&(_, wrong, _)| wrong) {
            None => Ok(()),
            Some((flag, _, reason)) => Err(Failure::usage(flag, reason, "see --help")),
        }
    }

    /// Nothing that is written beside the objects can tear them apart, since they go elsewhere.
    #[must_use]
    pub fn leaves_the_terminal(&self) -> bool {
        self.output.is_some() || !std::io::IsTerminal::is_terminal(&std::io::stdout())
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            // The objects of an fmp4 source are the file's bytes in order.
            "raw" | "fmp4" => Ok(Self::Raw),
            "lines" => Ok(Self::Lines),
            _ => Err(format!("`{text}` is neither raw nor lines")),
        }
    }
}
