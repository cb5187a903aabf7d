//! Options of `laps ns`.

use super::access::AccessOptions;
use super::log_options::LogOptions;
use super::retry_options::RetryOptions;
use super::trust::TrustOptions;
use super::values::Seconds;
use crate::exit::Failure;
use crate::names::parse_namespace;
use crate::url::MoqtUrl;
use laps_protocol::moqt::name::TrackNamespace;
use structopt::StructOpt;

const AFTER_HELP: &str = "NAMES:
    Fields of PREFIX are separated by `/`, as in NAMESPACE of `laps pub` and `laps sub`; `live` is a prefix of
    `live` and `live/cam1`, but not of `lively`. The draft has no prefix that matches everything.
OUTPUT:
    + live/cam1             a namespace is announced
    - live/cam1             nobody announces it any more
    + live/cam1 video       a track is published by PUBLISH, its namespace and its name
    With --json: {\"change\":\"+\",\"namespace\":\"live/cam1\",\"track\":\"video\"}
EXAMPLES:
    laps ns moqt://localhost:33435 live --insecure       what is there, then every change until Ctrl-C
    laps ns --once moqt://relay.example/ live/news       what is there now
    laps ns --once --json URL live | jq .namespace       the same for a program";

/// Lists the namespaces and tracks below a prefix, and watches them
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct NsOptions {
    /// The relay: `moqt://host[:port][/path]`, port 443 when none is given; moq:// means the same
    #[structopt(value_name = "URL")]
    pub url: MoqtUrl,
    /// The first fields of the namespaces to show, separated by `/`
    #[structopt(value_name = "PREFIX")]
    pub prefix: String,
    /// End when everything that is there now has been shown
    #[structopt(long = "once")]
    pub once: bool,
    /// End after this many seconds
    #[structopt(long = "duration", value_name = "SECONDS")]
    pub duration: Option<Seconds>,
    /// Write a JSON object a line for each change
    #[structopt(long = "json")]
    pub json: bool,
    /// For how long a session that fails is tried again; --once ends at once in any case.
    #[structopt(flatten)]
    pub retry: RetryOptions,
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

impl NsOptions {
    /// The prefix.
    ///
    /// # Errors
    /// When it cannot be read or is too long.
    pub fn prefix(&self) -> Result<TrackNamespace, Failure> {
        parse_namespace(&self.prefix)
            .map_err(|error| Failure::usage("PREFIX", error.to_string(), "see NAMES in `laps ns --help`"))
    }

    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        self.trust.verify()?;
        self.prefix()?;
        if self.once && self.duration.is_some() {
            let reason = "ends by itself without --duration";
            return Err(Failure::usage("--once", reason, "see `laps ns --help`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use std::time::Duration;

    fn with(prefix: &str, more: &[&str]) -> Result<NsOptions, Failure> {
        let words: Vec<&str> = ["moqt://h:1", prefix].iter().chain(more).copied().collect();
        options::<NsOptions>(&words).and_then(|o| o.check().map(|()| o))
    }

    #[test]
    fn every_option_is_read() {
        let plain = with("a/b", &[]).unwrap();
        assert_eq!((plain.once, plain.json, plain.duration), (false, false, None));
        assert_eq!(plain.prefix().unwrap().to_string(), "a/b");
        let all = with("a", &["--json", "--duration", "1.5", "--insecure"]).unwrap();
        assert!(all.json && all.trust.insecure);
        assert_eq!(all.duration, Some(Seconds(Duration::from_millis(1500))));
        assert!(with("a", &["--once"]).unwrap().once);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (prefix, more, named) in [
            ("", &[][..], "PREFIX"),
            ("a/%2", &[], "PREFIX"),
            ("a", &["--once", "--duration", "1"], "--once"),
            ("a", &["--cert-hash", "00"], "--cert-hash"),
            ("a", &["extra"], "command line"),
        ] {
            let failure = with(prefix, more).unwrap_err().to_string();
            assert!(failure.starts_with(&format!("{named}: ")), "{failure}");
        }
    }

    #[test]
    fn help_says_what_it_does_and_how() {
        let help = with("a", &["--help"]).unwrap_err().to_string();
        for part in [
            "Lists the namespaces and tracks below a prefix",
            "EXAMPLES",
            "OUTPUT",
            "--once",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}
