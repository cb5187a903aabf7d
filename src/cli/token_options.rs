//! Options of `laps token`.

use crate::config::read_secret;
use crate::exit::Failure;
use crate::names::parse_namespace;
use laps_actors::auth::{Secret, SecretError};
use laps_protocol::auth::{MAX_SCOPES, Scope};
use laps_protocol::moqt::name::TrackNamespace;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use structopt::StructOpt;

/// The variable that a relay takes its secret from.
const SECRET_VARIABLE: &str = "LAPS_AUTH__SECRET";

const AFTER_HELP: &str = "The token is for clients of a relay that has the same secret (auth.secret, auth.secret_file); the secret is also
taken from the variable LAPS_AUTH__SECRET. Whoever has the token may do what it says until it expires; it cannot be
taken back.
SCOPES:
    --publish live/cam1 lets publish what is in that namespace and below it, --subscribe live lets watch, subscribe
    and fetch there. `.` is every namespace. --allow takes one thing at a time, ACTION or ACTION:NAMESPACE:
    subscribe, fetch, track_status, subscribe_namespace (together: subscriber),
    publish, publish_namespace (together: publisher)
EXAMPLES:
    laps token --secret-file F --publish live/cam1 --expires 12h     for a camera
    laps token --secret-file F --subscribe live                      for a viewer, one hour
    laps token --secret-file F --allow fetch:archive > token         for one who only fetches
    laps sub --token-file token ...                                  uses it";

/// Makes a token that lets a client do what it says, and no more; prints it
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct TokenOptions {
    /// File with the secret of the relay
    #[structopt(
        long = "secret-file",
        alias = "secret_file",
        value_name = "FILE",
        parse(from_os_str)
    )]
    pub secret_file: Option<PathBuf>,
    /// Lets publish in this namespace and below it; may be repeated
    #[structopt(long = "publish", value_name = "NAMESPACE", number_of_values = 1)]
    pub publish: Vec<Below>,
    /// Lets subscribe, fetch and watch in this namespace and below it; may be repeated
    #[structopt(long = "subscribe", value_name = "NAMESPACE", number_of_values = 1)]
    pub subscribe: Vec<Below>,
    /// Lets do this one thing; may be repeated
    #[structopt(long = "allow", value_name = "ACTION[:NAMESPACE]", number_of_values = 1)]
    pub allow: Vec<Scope>,
    /// How long it is good for: a number of seconds, or of minutes, hours or days with m, h or d behind it
    #[structopt(long = "expires", value_name = "TIME", default_value = "1h")]
    pub expires: Period,
}

/// A namespace, or every namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below(pub Option<TrackNamespace>);

impl FromStr for Below {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self(None));
        }
        let parsed = parse_namespace(text).map_err(|error| error.to_string());
        parsed.map(|namespace| Self(Some(namespace)))
    }
}

/// For how long a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |unit: &char| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(60 * 60),
            'd' => Some(24 * 60 * 60),
            _ => None,
        };
        let last = text.chars().last();
        let (digits, seconds) = match last.as_ref().and_then(unit) {
            Some(seconds) => (text.get(..text.len() - 1).unwrap_or_default(), seconds),
            None => (text, 1),
        };
        let count = digits.parse::<u32>().ok().filter(|&count| count > 0);
        let count = count.ok_or_else(|| format!("`{text}` is not a time such as 90, 30m, 12h or 7d"))?;
        Ok(Self(Duration::from_secs(u64::from(count) * seconds)))
    }
}

impl TokenOptions {
    /// What the token allows.
    ///
    /// # Errors
    /// When it would be nothing, or more than a relay looks at.
    pub fn scopes(&self) -> Result<Vec<Scope>, Failure> {
        let publish = self.publish.iter().map(|below| Scope::publisher(below.0.clone()));
        let subscribe = self
            .subscribe
            .iter()
            .map(|below| Scope::subscriber(below.0.clone()));
        let scopes: Vec<Scope> = publish
            .chain(subscribe)
            .chain(self.allow.iter().cloned())
            .collect();
        let fault = match scopes.len() {
            0 => "it would allow nothing".to_owned(),
            n if n > MAX_SCOPES => format!("{n} scopes are more than the {MAX_SCOPES} that a relay looks at"),
            _ => return Ok(scopes),
        };
        Err(Failure::usage(
            "token",
            fault,
            "give --publish, --subscribe or --allow",
        ))
    }

    /// The secret to sign it with.
    ///
    /// # Errors
    /// When none is given, or it is none.
    pub fn secret(&self) -> Result<Secret, Failure> {
        if let Some(path) = &self.secret_file {
            return read_secret("--secret-file", path);
        }
        let text = std::env::var(SECRET_VARIABLE).map_err(|_| {
            let remedy = format!("name its file with --secret-file, or set {SECRET_VARIABLE}");
            Failure::usage("token", "no secret to sign it with", remedy)
        })?;
        let unfit = |error: SecretError| {
            Failure::config(
                SECRET_VARIABLE,
                error.to_string(),
                "give it the secret of the relay",
            )
        };
        Secret::new(&text).map_err(unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;

    fn scopes(words: &[&str]) -> Result<String, String> {
        let options = options::<TokenOptions>(words).map_err(|failure| failure.to_string())?;
        let scopes = options.scopes().map_err(|failure| failure.to_string())?;
        Ok(scopes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn every_option_is_read() {
        for (words, text) in [
            (&["--publish", "live/cam1"][..], "publisher:live/cam1"),
            (&["--subscribe", ".", "--publish", "."], "publisher subscriber"),
            (
                &[
                    "--subscribe",
                    "a",
                    "--subscribe",
                    "b%2f",
                    "--allow",
                    "fetch:c",
                    "--allow",
                    "publish",
                ],
                "subscriber:a subscriber:b%2f fetch:c publish",
            ),
        ] {
            assert_eq!(scopes(words).as_deref(), Ok(text), "{words:?}");
        }
        let plain = options::<TokenOptions>(&["--publish", "a"]).unwrap();
        assert_eq!(plain.expires.0, Duration::from_secs(3600));
        let long = options::<TokenOptions>(&["--publish", "a", "--expires", "2d"]).unwrap();
        assert_eq!(long.expires.0, Duration::from_secs(2 * 86_400));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = ["--allow", "fetch"].repeat(MAX_SCOPES + 1);
        for (words, part) in [
            (&[][..], "token: it would allow nothing; "),
            (&many, "token: 65 scopes are more than"),
            (&["--publish", ""], "the namespace is empty"),
            (&["--allow", "watch:a"], "`watch` is none of publisher"),
            (&["--publish", "a", "--expires", "soon"], "`soon`"),
            (&["--publish", "a", "--expires", "0h"], "`0h`"),
            (&["--publish", "a", "--expires", "h"], "`h`"),
        ] {
            let failure = scopes(words).unwrap_err();
            assert!(failure.contains(part), "{failure}");
        }
    }
}
