//! Options of `laps fetch`.

use super::access::AccessOptions;
use super::log_options::LogOptions;
use super::object_range::ObjectRange;
use super::output_options::OutputOptions;
use super::trust::TrustOptions;
use super::values::{Seconds, track_name};
use crate::exit::Failure;
use crate::url::MoqtUrl;
use laps_protocol::moqt::name::FullTrackName;
use structopt::StructOpt;

const AFTER_HELP: &str = "RANGE, first and last included:
    3              group 3                      3/4        object 4 of group 3
    3-5            groups 3 to 5                3/2-5/9    from object 2 of group 3 to object 9 of group 5
    3/2-5          ... to the end of group 5    3-         from group 3 to the largest object
NAMES:
    Fields of NAMESPACE are separated by `/`; %xx is any byte, so %2f is a slash within a field.
EXAMPLES:
    laps fetch moqt://localhost:33435 demo clock 0- --format lines --insecure    all that the relay can get
    laps fetch moqt://relay.example/ demo video 120-125 -o scene.mp4             six groups of a film
    laps fetch URL demo video 0- --descending --json                             what there is, newest group first
    laps sub --join URL demo video                                               the current group, then live

An object that does not come between first and last does not exist. A last line on standard error says how many came.
EXIT CODES: 0 all of RANGE came; 4 less came, or the track does not reach that far yet; 1 the relay refused for another
reason or cannot be reached.";

/// Fetches past objects of a track and writes them
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct FetchOptions {
    /// The relay: `moqt://host[:port][/path]`, port 443 when none is given; moq:// means the same
    #[structopt(value_name = "URL")]
    pub url: MoqtUrl,
    /// The namespace, its fields separated by `/`
    #[structopt(value_name = "NAMESPACE")]
    pub namespace: String,
    /// The name of the track
    #[structopt(value_name = "TRACK")]
    pub track: String,
    /// Which objects: a group, group/object, or first-last
    #[structopt(value_name = "RANGE")]
    pub range: ObjectRange,
    /// Write the last group first; objects within a group stay in order
    #[structopt(long = "descending")]
    pub descending: bool,
    /// Seconds without anything from the relay after which to give up
    #[structopt(long = "timeout", value_name = "SECONDS", default_value = "10")]
    pub timeout: Seconds,
    /// How objects are written.
    #[structopt(flatten)]
    pub output: OutputOptions,
    /// Which certificates to accept.
    #[structopt(flatten)]
    pub trust: TrustOptions,
    /// What to show for it.
    #[structopt(flatten)]
    pub access: AccessOptions,
    /// The log.
    #[structopt(flatten)]
    pub log: LogOptions,
}

impl FetchOptions {
    /// The track.
    ///
    /// # Errors
    /// When a name cannot be read or is too long.
    pub fn track_name(&self) -> Result<FullTrackName, Failure> {
        track_name(&self.namespace, &self.track)
    }

    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        self.trust.verify()?;
        self.track_name()?;
        if self.timeout.0.is_zero() {
            return Err(Failure::usage("--timeout", "must be above 0", "see --help"));
        }
        self.output.check()
    }
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::*;
    use crate::cli::testing::options;
    use std::time::Duration;

    fn with(more: &[&str]) -> Result<FetchOptions, Failure> {
        let words: Vec<&str> = ["moqt://h:1", "a/b", "t"].iter().chain(more).copied().collect();
        options::<FetchOptions>(&words).and_then(|o| o.check().map(|()| o))
    }

    #[test]
    fn defaults_and_every_option() {
        let options = with(&["3-5"]).unwrap();
        assert_eq!(options.range, "3-5".parse().unwrap());
        assert_eq!(options.timeout.0, Duration::from_secs(10));
        assert!(!options.descending && options.output == OutputOptions::default());
        assert_eq!(options.track_name().unwrap().to_string(), "a/b:t");

        let words = ["3/1-", "--descending", "--timeout", "0.5", "-o", "f", "-i", "1"];
        let options = with(&words).unwrap();
        assert!(options.descending);
        assert_eq!(options.timeout.0, Duration::from_millis(500));
        assert_eq!(options.output.output, Some("f".into()));
        let lines = with(&["3", "--format", "lines", "--insecure", "-d"]).unwrap();
        assert_eq!(lines.output.format, OutputFormat::Lines);
        assert!(with(&["3", "--json"]).unwrap().output.json);
    }

    #[test]
    fn what_cannot_be_meant_names_its_option() {
        for (words, says) in [
            (&[][..], "command line: "),
            (&["5-3"], "`5-3` ends before it starts"),
            (&["latest"], "`latest` has a number that is none"),
            (&["3", "--timeout", "0"], "--timeout: "),
            (&["3", "--json", "--format", "lines"], "--json: "),
            (&["3", "-i", "0"], "--interval: "),
            (&["3", "--cert-hash", "00"], "--cert-hash: "),
            (&["3", "4"], "command line: "),
        ] {
            let failure = with(words).unwrap_err().to_string();
            assert!(failure.contains(says), "{words:?}: {failure}");
        }
    }

    #[test]
    fn help_says_what_it_does_and_how() {
        let help = with(&["--help"]).unwrap_err().to_string();
        for part in [
            "Fetches past objects",
            "RANGE, first and last included",
            "EXAMPLES",
            "EXIT CODES",
            "%2f is a slash",
            "--descending",
            "--cert-hash",
            "--log-level",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}
