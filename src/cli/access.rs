//! The token that a client shows to its relay.

use crate::config::TOKEN_VARIABLE;
use crate::exit::Failure;
use bytes::Bytes;
use laps_protocol::auth::Token;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use structopt::StructOpt;

/// Tokens of this type were agreed on out of band. MOQT-14 §9.2.1.1.
const TOKEN_TYPE: u64 = 0;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Default, PartialEq, Eq, StructOpt)]
pub struct AccessOptions {
    /// Show this token to a relay that asks for one; others on this machine may see it, unlike that of --token-file or of the variable LAPS_TOKEN
    #[structopt(long = "token", value_name = "TEXT", conflicts_with = "token-file")]
    pub token: Option<String>,
    /// Show the token in this file
    #[structopt(
        name = "token-file",
        long = "token-file",
        alias = "token_file",
        value_name = "FILE",
        parse(from_os_str)
    )]
    pub token_file: Option<PathBuf>,
}

impl fmt::Debug for AccessOptions {
    /// [D14-AUTH-10]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessOptions")
            .field("token", &self.token.is_some())
            .field("token_file", &self.token_file)
            .finish()
    }
}

impl AccessOptions {
    /// The token, from the flags or else from the environment.
    ///
    /// # Errors
    /// When it is empty, or its file cannot be read.
    pub fn token(&self) -> Result<Option<Token>, Failure> {
        self.token_over(std::env::var_os(TOKEN_VARIABLE))
    }

    fn token_over(&self, variable: Option<OsString>) -> Result<Option<Token>, Failure> {
        let (named_by, text) = if let Some(text) = &self.token {
            ("--token".to_owned(), text.clone())
        } else if let Some(path) = &self.token_file {
            let named_by = format!("--token-file {}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(&*named_by, error.to_string(), "name a file with the token")
            })?;
            (named_by, text)
        } else if let Some(text) = variable {
            let text = text.into_string().map_err(|_| {
                Failure::config(TOKEN_VARIABLE, "its value is not UTF-8", "correct or unset it")
            })?;
            (TOKEN_VARIABLE.to_owned(), text)
        } else {
            return Ok(None);
        };
        let value = text.trim();
        if value.is_empty() {
            // Far more often a variable that was not filled in than the wish to come without.
            let remedy = "give a token, such as one that `laps token` makes, or leave it out";
            return Err(Failure::usage(named_by, "is empty", remedy));
        }
        Ok(Some(Token {
            token_type: TOKEN_TYPE,
            value: Bytes::copy_from_slice(value.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;

    fn token(words: &[&str], variable: Option<&str>) -> Result<Option<String>, String> {
        let options = options::<AccessOptions>(words).map_err(|failure| failure.to_string())?;
        let token = options.token_over(variable.map(Into::into));
        let text = |token: Token| String::from_utf8(token.value.to_vec()).unwrap();
        token
            .map(|token| token.map(text))
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_flag_goes_over_the_environment() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE");
        let license = std::fs::read_to_string(file).unwrap().trim().to_owned();
        assert_eq!(token(&[], None), Ok(None));
        assert_eq!(token(&[], Some(" v\n")), Ok(Some("v".to_owned())));
        assert_eq!(token(&["--token", "t"], Some("v")), Ok(Some("t".to_owned())));
        assert_eq!(
            token(&["--token-file", file], Some("v")),
            Ok(Some(license.clone()))
        );
        assert_eq!(token(&["--token_file", file], None), Ok(Some(license)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, variable, named) in [
            (&["--token", ""][..], None, "--token: is empty"),
            (&["--token-file", "/nowhere"], None, "--token-file /nowhere: "),
            (&[], Some(""), "LAPS_TOKEN: is empty"),
            (&["--token", "a", "--token-file", "b"], None, "command line: "),
        ] {
            let failure = token(words, variable).unwrap_err();
            assert!(failure.starts_with(named), "{failure}");
        }
    }

    /// D14-AUTH-10
    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", options::<AccessOptions>(&["--token", "sesame"]).unwrap());
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
