//! Options of `laps sub`.

use super::log_options::LogOptions;
use super::trust::TrustOptions;
use super::values::{Filter, Seconds};
use crate::exit::Failure;
use crate::names::parse_full_name;
use crate::url::MoqtUrl;
use laps_protocol::moqt::name::FullTrackName;
use std::path::PathBuf;
use std::str::FromStr;
use structopt::StructOpt;

const AFTER_HELP: &str = "NAMES:
    Fields of NAMESPACE are separated by `/`; %xx is any byte, so %2f is a slash within a field.
FILTERS:
    next-group     from the start of the next group on
    largest        from the next object on
    start=G/O      from object O of group G on
    range=G/O-H    from object O of group G to the end of group H
EXAMPLES:
    laps sub moqt://localhost:33435 demo clock --format lines --insecure    the time, a line each second
    laps sub moqt://relay.example/ demo video -o film.mp4 --timeout 60      a film, once someone publishes it
    laps sub URL demo clock --json --count 3                                three objects as JSON
    laps sub URL demo load --duration 10 -i 1 -o /dev/null                  rate and latency each second";

/// Subscribes to a track and writes what arrives
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct SubOptions {
    /// The relay: `moqt://host[:port][/path]`, port 443 when none is given; moq:// means the same
    #[structopt(value_name = "URL")]
    pub url: MoqtUrl,
    /// The namespace, its fields separated by `/`
    #[structopt(value_name = "NAMESPACE")]
    pub namespace: String,
    /// The name of the track
    #[structopt(value_name = "TRACK")]
    pub track: String,
    /// Which objects: next-group, largest, start=G/O or range=G/O-H
    #[structopt(long = "filter", value_name = "FILTER", default_value = "largest")]
    pub filter: Filter,
    /// Ask the publisher to begin a new group, as one who joins does to see the picture at once
    #[structopt(long = "new-group")]
    pub new_group: bool,
    /// Seconds to try again while the track does not exist
    #[structopt(long = "timeout", value_name = "SECONDS", default_value = "10")]
    pub timeout: Seconds,
    /// Write to this file instead of standard output
    #[structopt(short = "o", long = "output", value_name = "FILE", parse(from_os_str))]
    pub output: Option<PathBuf>,
    /// raw (payloads one after the other) or lines (each payload with a newline)
    #[structopt(long = "format", value_name = "FORMAT", default_value = "raw")]
    pub format: OutputFormat,
    /// Write a JSON object a line for each object instead of its payload
    #[structopt(long = "json")]
    pub json: bool,
    /// End after this many objects
    #[structopt(long = "count", value_name = "N")]
    pub count: Option<u64>,
    /// End after this many seconds
    #[structopt(long = "duration", value_name = "SECONDS")]
    pub duration: Option<Seconds>,
    /// Print statistics to standard error at this interval
    #[structopt(short = "i", long = "interval", value_name = "SECONDS")]
    pub interval: Option<Seconds>,
    /// Which certificates to accept.
    #[structopt(flatten)]
    pub trust: TrustOptions,
    /// The log.
    #[structopt(flatten)]
    pub log: LogOptions,
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

impl SubOptions {
    /// The track.
    ///
    /// # Errors
    /// When a name cannot be read or is too long.
    pub fn track_name(&self) -> Result<FullTrackName, Failure> {
        parse_full_name(&self.namespace, &self.track).map_err(|error| {
            Failure::usage(
                "NAMESPACE and TRACK",
                error.to_string(),
                "see NAMES in `laps sub --help`",
            )
        })
    }

    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        self.trust.verify()?;
        self.track_name()?;
        let misplaced = [
            (
                "--json",
                self.json && self.format == OutputFormat::Lines,
                "has a line per object without --format",
            ),
            ("--count", self.count == Some(0), "must be at least 1"),
            (
                "--interval",
                self.interval.is_some_and(|s| s.0.is_zero()),
                "must be above 0",
            ),
        ];
        match misplaced.into_iter().find(|&(_, wrong, _)| wrong) {
            None => Ok(()),
            Some((flag, _, reason)) => Err(Failure::usage(flag, reason, "see `laps sub --help`")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use laps_protocol::moqt::message::SubscribeFilter;
    use std::time::Duration;

    fn with(more: &[&str]) -> Result<SubOptions, Failure> {
        let words: Vec<&str> = ["moqt://h:1", "a/b", "t"].iter().chain(more).copied().collect();
        options::<SubOptions>(&words).and_then(|o| o.check().map(|()| o))
    }

    #[test]
    fn defaults() {
        let options = with(&[]).unwrap();
        assert_eq!(options.filter.0, SubscribeFilter::LargestObject);
        assert_eq!(options.timeout.0, Duration::from_secs(10));
        assert_eq!(options.format, OutputFormat::Raw);
        assert_eq!(options.track_name().unwrap().to_string(), "a/b:t");
    }

    #[test]
    fn every_option_is_read() {
        let options = with(&[
            "--filter",
            "next-group",
            "--new-group",
            "--timeout",
            "0.5",
            "-o",
            "f",
            "--format",
            "lines",
            "--count",
            "3",
            "--duration",
            "2",
            "-i",
            "1",
            "--insecure",
            "--log-level",
            "trace",
        ])
        .unwrap();
        assert_eq!(options.filter.0, SubscribeFilter::NextGroupStart);
        assert_eq!(options.output, Some("f".into()));
        assert!(options.new_group && !with(&[]).unwrap().new_group);
        assert_eq!((options.format, options.count), (OutputFormat::Lines, Some(3)));
        assert!(with(&["--json"]).unwrap().json);
    }

    #[test]
    fn what_does_not_go_together_names_its_option() {
        for (words, flag) in [
            (&["--json", "--format", "lines"][..], "--json"),
            (&["--count", "0"], "--count"),
            (&["-i", "0"], "--interval"),
            (&["--cert-hash", "00"], "--cert-hash"),
            (&["--filter", "latest"], "command line"),
            (&["extra"], "command line"),
        ] {
            let failure = with(words).unwrap_err().to_string();
            assert!(failure.starts_with(&format!("{flag}: ")), "{words:?}: {failure}");
        }
    }

    #[test]
    fn help_says_what_it_does_and_how() {
        let help = with(&["--help"]).unwrap_err().to_string();
        for part in [
            "Subscribes to a track and writes",
            "EXAMPLES",
            "%2f is a slash",
            "--cert-hash",
            "--log-level",
            "--interval",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}
