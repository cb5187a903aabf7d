//! The option with which a client takes a relay of the local network in place of a URL.

use super::trust::TrustOptions;
use crate::exit::Failure;
use std::ffi::OsString;
use structopt::StructOpt;

/// What stands for the URL that is not given.
const NO_URL: &str = "moqt://discover.local";
/// The sub-commands that have the option.
const COMMANDS: [&str; 2] = ["pub", "sub"];

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct FindOptions {
    /// Leave URL out and take a relay of the local network, any or that of this name; see `laps discover`
    #[structopt(long = "discover", value_name = "NAME", require_equals = true)]
    pub discover: Option<Option<String>>,
}

impl FindOptions {
    /// Refuses to believe whoever is on the network.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`] when nothing says which certificate is to be accepted.
    pub fn check(&self, trust: &TrustOptions) -> Result<(), Failure> {
        let trusted = trust.insecure || trust.ca.is_some() || trust.cert_hash.is_some();
        if self.discover.is_some() && !trusted {
            let reason =
                "whoever is on the network can advertise a relay, and its word for its certificate is none";
            let remedy = "add --cert-hash HEX, as the relay prints it, --ca FILE or --insecure";
            return Err(Failure::usage("--discover", reason, remedy));
        }
        Ok(())
    }
}

/// Puts something in the place of the URL where a relay is to be found, so that what comes after it keeps its own.
pub(super) fn with_a_url(args: Vec<OsString>) -> Vec<OsString> {
    let mut args = args;
    let command = args.get(1).and_then(|word| word.to_str());
    let found = command.is_some_and(|word| COMMANDS.contains(&word));
    let is_option = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "--discover" || word.starts_with("--discover=")
    };
    if found
        && args
            .iter()
            .skip(2)
            .take_while(|word| *word != "--")
            .any(is_option)
    {
        args.insert(2, NO_URL.into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use crate::cli::{Command, Request, SubOptions, parse};

    fn sub(words: &[&str]) -> Result<SubOptions, Failure> {
        let args = ["laps", "sub"].iter().chain(words).map(OsString::from);
        let Request::Command(Command::Sub(options)) = parse(args)? else {
            panic!("not sub")
        };
        options.check().map(|()| *options)
    }

    #[test]
    fn the_url_is_left_out() {
        for (words, name) in [
            (&["--discover", "--insecure", "demo", "clock"][..], None),
            (&["--insecure", "demo", "clock", "--discover"], None),
            (&["--insecure", "--discover=pi 2", "demo", "clock"], Some("pi 2")),
        ] {
            let options = sub(words).unwrap();
            assert_eq!(options.find.discover, Some(name.map(str::to_owned)), "{words:?}");
            assert_eq!(options.track_name().unwrap().to_string(), "demo:clock");
        }
    }

    #[test]
    fn without_it_nothing_changes() {
        assert!(sub(&["--insecure", "demo", "clock"]).is_err(), "demo is no URL");
        let options = sub(&["moqt://h", "demo", "clock"]).unwrap();
        assert_eq!(options.find, FindOptions::default());
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for kept in [
            &["laps", "ns", "--discover"][..],
            &["laps", "sub", "--", "--discover"],
            &["laps"],
        ] {
            assert_eq!(with_a_url(words(kept)), words(kept));
        }
    }

    #[test]
    fn what_the_network_says_is_not_believed() {
        let failure = sub(&["--discover", "demo", "clock"]).unwrap_err().to_string();
        assert!(failure.starts_with("--discover: "), "{failure}");
        let hash = "00".repeat(32);
        for trust in [&["--cert-hash", &hash][..], &["--ca", "ca.pem"], &["--insecure"]] {
            let words = [&["--discover", "demo", "clock"][..], trust].concat();
            assert!(sub(&words).is_ok(), "{trust:?}");
        }
        let trust = options::<TrustOptions>(&[]).unwrap();
        assert!(FindOptions::default().check(&trust).is_ok());
    }
}
