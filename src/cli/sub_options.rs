//! Options of `laps sub`.

use super::access::AccessOptions;
use super::find_options::FindOptions;
use super::log_options::LogOptions;
use super::output_options::OutputOptions;
use super::retry_options::RetryOptions;
use super::trust::TrustOptions;
use super::values::{Filter, Number, Seconds, track_name};
use crate::exit::Failure;
use crate::url::MoqtUrl;
use laps_protocol::moqt::location::GroupId;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::FullTrackName;
use structopt::StructOpt;

const AFTER_HELP: &str = "NAMES:
    Fields of NAMESPACE are separated by `/`; %xx is any byte, so %2f is a slash within a field.
FILTERS:
    next-group     from the start of the next group on
    largest        from the next object on
    start=G/O      from object O of group G on
    range=G/O-H    from object O of group G to the end of group H
    They say what of the future is wanted; --join and --join-from add the past, and go with largest alone. Its objects
    are written first. When the relay cannot give them, that is said, live objects are written, and the end is 4.
EXAMPLES:
    laps sub moqt://localhost:33435 demo clock --format lines --insecure    the time, a line each second
    laps sub moqt://relay.example/ demo video -o film.mp4 --timeout 60      a film, once someone publishes it
    laps sub URL demo video --join -o rest.mp4                              from the start of the current group on
    laps sub URL demo clock --json --count 3                                three objects as JSON
    laps sub URL demo load --duration 10 -i 1 -o /dev/null                  rate and latency each second

A session that fails is tried again for --retry seconds, and what was missed meanwhile is fetched.";

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
    /// Fetch the past too: `--join` from the start of the current group on, `--join=N` from N groups before it
    #[structopt(
        long = "join",
        value_name = "N",
        require_equals = true,
        conflicts_with = "join-from"
    )]
    pub join: Option<Option<Number>>,
    /// Fetch the past too, from this group on
    #[structopt(name = "join-from", long = "join-from", value_name = "GROUP")]
    pub join_from: Option<Number>,
    /// Seconds to try again while the track does not exist
    #[structopt(long = "timeout", value_name = "SECONDS", default_value = "10")]
    pub timeout: Seconds,
    /// End after this many objects
    #[structopt(long = "count", value_name = "N")]
    pub count: Option<u64>,
    /// End after this many seconds
    #[structopt(long = "duration", value_name = "SECONDS")]
    pub duration: Option<Seconds>,
    /// How objects are written.
    #[structopt(flatten)]
    pub output: OutputOptions,
    /// What to do when the session fails.
    #[structopt(flatten)]
    pub retry: RetryOptions,
    /// Where the relay is, without a URL.
    #[structopt(flatten)]
    pub find: FindOptions,
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

/// Where the past begins that is fetched beside a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// So many groups before the current one.
    Back(u64),
    /// This group.
    From(GroupId),
}

impl SubOptions {
    /// The track.
    ///
    /// # Errors
    /// When a name cannot be read or is too long.
    pub fn track_name(&self) -> Result<FullTrackName, Failure> {
        track_name(&self.namespace, &self.track)
    }

    /// The past that is wanted too.
    #[must_use]
    pub fn joins(&self) -> Option<Join> {
        let back = self
            .join
            .map(|back| Join::Back(back.map_or(0, |number| number.0)));
        back.or_else(|| self.join_from.map(|group| Join::From(group.0)))
    }

    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        self.trust.verify()?;
        self.find.check(&self.trust)?;
        self.track_name()?;
        self.output.check()?;
        let misplaced = [
            ("--count", self.count == Some(0), "must be at least 1"),
            (
                "--filter",
                // MOQT-14 §9.16.2 [D14-FETCH-11]: what is joined is a subscription from the largest object on.
                self.joins().is_some() && self.filter.0 != SubscribeFilter::LargestObject,
                "must be largest beside --join or --join-from",
            ),
        ];
        match misplaced.into_iter().find(|&(_, wrong, _)| wrong) {
            None => Ok(()),
            Some((flag, _, reason)) => Err(Failure::usage(flag, reason, "see `laps sub --help`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::OutputFormat;
    use crate::cli::testing::options;
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
        assert_eq!(options.output.format, OutputFormat::Raw);
        assert_eq!(options.joins(), None);
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
        assert_eq!(options.output.output, Some("f".into()));
        assert!(options.new_group && !with(&[]).unwrap().new_group);
        assert_eq!(
            (options.output.format, options.count),
            (OutputFormat::Lines, Some(3))
        );
        assert!(with(&["--json"]).unwrap().output.json);
    }

    /// D14-FETCH-13
    #[test]
    fn the_past_is_asked_for_by_distance_or_by_group() {
        for (words, join) in [
            (&["--join"][..], Join::Back(0)),
            (&["--join=0"], Join::Back(0)),
            (&["--join=2"], Join::Back(2)),
            (&["--join", "--filter", "largest"], Join::Back(0)),
            (&["--join-from", "7"], Join::From(7)),
            (&["--join-from=0"], Join::From(0)),
        ] {
            assert_eq!(with(words).unwrap().joins(), Some(join), "{words:?}");
        }
        // The switch does not take the next word for its number.
        let words = ["--join", "moqt://h:1", "a", "t"];
        assert_eq!(
            options::<SubOptions>(&words).unwrap().joins(),
            Some(Join::Back(0))
        );
    }

    #[test]
    fn what_does_not_go_together_names_its_option() {
        for (words, flag) in [
            (&["--json", "--format", "lines"][..], "--json"),
            (&["--count", "0"], "--count"),
            (&["-i", "0"], "--interval"),
            (&["--cert-hash", "00"], "--cert-hash"),
            (&["--filter", "latest"], "command line"),
            (&["--join", "--filter", "next-group"], "--filter"),
            (&["--join-from", "3", "--filter", "start=3/0"], "--filter"),
            (&["--join", "--join-from", "3"], "command line"),
            (&["--join=x"], "command line"),
            (&["--join-from", "-1"], "command line"),
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
