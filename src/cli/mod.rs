//! The command line: what can be typed, and what it means once parsed.
//!
//! `laps` takes the flags of the relay; a sub-command has its own. One file per set of options. Every option that
//! the configuration can also set is an `Option`, or a switch that can only be turned on, so that a default of the
//! command line never goes over the file.

mod access;
mod ca_options;
mod cert_options;
mod config_options;
mod demo_options;
mod discover_options;
mod doctor_options;
mod fetch_options;
mod find_options;
mod health_options;
mod later;
mod log_options;
mod ns_options;
mod object_range;
mod output_options;
mod peer_options;
mod pub_options;
mod relay_options;
mod retry_options;
mod sub_options;
mod token_options;
mod trust;
mod values;

pub use access::AccessOptions;
pub use ca_options::CaOptions;
pub use cert_options::{CertCommand, CertOptions};
pub use config_options::{ConfigCommand, ConfigOptions};
pub use demo_options::DemoOptions;
pub use discover_options::DiscoverOptions;
pub use doctor_options::DoctorOptions;
pub use fetch_options::FetchOptions;
pub use find_options::FindOptions;
pub use health_options::HealthOptions;
pub use log_options::LogOptions;
pub use ns_options::NsOptions;
pub use object_range::{ObjectRange, ends_behind, last_of};
pub use output_options::{OutputFormat, OutputOptions};
pub use peer_options::PeerOptions;
pub use pub_options::{Flow, MAX_DATAGRAM_PAYLOAD, PayloadFormat, PubOptions, SourceKind};
pub use relay_options::RelayOptions;
pub use retry_options::RetryOptions;
pub use sub_options::{Join, SubOptions};
pub use token_options::{Below, Period, TokenOptions};
pub use trust::TrustOptions;
pub use values::{Filter, Number, Seconds};

use crate::exit::{Failure, one_line};
use std::ffi::OsString;
use structopt::StructOpt;
use structopt::clap::{AppSettings, ErrorKind};

const AFTER_HELP: &str = "EXAMPLES:
    laps                                         relay on port 33435 with a certificate of its own
    laps -p 4443 -c cert.pem -k key.pem          relay on port 4443 with this certificate
    laps --config relay.toml -d                  relay as the file says, but with debug log
    LAPS_WORKERS__THREADS=2 laps                 relay with two threads
    laps config dump -p 4443                     what would be in force, as a file with comments

Flags go over environment variables (LAPS_SECTION__KEY), those over the file, the file over defaults.
EXIT CODES: 0 done, 1 failed, 2 wrong command line, 3 wrong configuration, 4 less came than was asked for,
70 a part of the relay failed.
SIGINT and SIGTERM end it, SIGUSR1 steps the log level through info, debug and trace,
SIGUSR2 has a relay print how full its tables are and what memory it holds.";

/// All that a command line of `laps` can say.
#[derive(Clone, Debug, StructOpt)]
#[structopt(
    name = "laps",
    about = "Media over QUIC Transport relay. Without a sub-command it runs the relay.",
    after_help = AFTER_HELP,
    global_setting = AppSettings::VersionlessSubcommands,
    global_setting = AppSettings::UnifiedHelpMessage,
    setting = AppSettings::ArgsNegateSubcommands,
    global_setting = AppSettings::DisableHelpSubcommand,
)]
pub struct Cli {
    #[structopt(flatten)]
    relay: RelayOptions,
    #[structopt(subcommand)]
    command: Option<Command>,
}

// No doc comment on the enum: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, StructOpt)]
pub enum Command {
    /// Runs the relay, as `laps` alone does
    Relay(Box<RelayOptions>),
    /// Publishes a track: a file, standard input, the time, or synthetic load
    Pub(Box<PubOptions>),
    /// Subscribes to a track and writes what arrives
    Sub(Box<SubOptions>),
    /// Fetches past objects of a track and writes them
    Fetch(Box<FetchOptions>),
    /// Lists the namespaces and tracks below a prefix, and watches them
    Ns(Box<NsOptions>),
    /// Lists the relays of the local network
    Discover(DiscoverOptions),
    /// Runs a mesh of three relays with a clock and viewers, and shows what arrives
    Demo(DemoOptions),
    /// Makes a certificate and its private key
    Cert(CertOptions),
    /// Makes a token that lets a client do what it says, and no more
    Token(TokenOptions),
    /// Checks or shows the configuration
    Config(ConfigOptions),
    /// Asks a relay for a session and says whether it got one
    Health(Box<HealthOptions>),
    /// Looks for what keeps a relay from running well on this machine, and says what to do
    Doctor(Box<DoctorOptions>),
}

/// A command line that was understood.
#[derive(Clone, Debug)]
pub enum Request {
    /// Run a sub-command.
    Command(Command),
    /// Print this text to standard output. The parser writes the version itself and leaves only its newline to do.
    Print(String),
}

/// Reads a command line, its first word the name of the program.
///
/// # Errors
/// [`crate::exit::Exit::Usage`] for everything that cannot be understood.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    let cli = parse_as::<Cli>(find_options::with_a_url(args.into_iter().collect()))?;
    Ok(match cli {
        Parsed::Text(text) => Request::Print(text),
        Parsed::Options(Cli {
            command: Some(command),
            ..
        }) => Request::Command(command),
        Parsed::Options(Cli { relay, command: None }) => Request::Command(Command::Relay(Box::new(relay))),
    })
}

enum Parsed<T> {
    Options(T),
    Text(String),
}

fn parse_as<T: StructOpt>(args: impl IntoIterator<Item = OsString>) -> Result<Parsed<T>, Failure> {
    match T::from_iter_safe(args) {
        Ok(options) => Ok(Parsed::Options(options)),
        Err(error) if matches!(error.kind, ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed) => {
            Ok(Parsed::Text(error.message))
        }
        Err(error) if error.kind == ErrorKind::MissingArgumentOrSubcommand => {
            Err(usage("a sub-command is missing"))
        }
        Err(error) => Err(usage(&error.message)),
    }
}

/// The parser's message as one line, without its block of usage.
fn usage(message: &str) -> Failure {
    let message = message.split("\n\nUSAGE:").next().unwrap_or(message);
    let message = message
        .split("\n\nFor more information")
        .next()
        .unwrap_or(message);
    let message = one_line(message.trim_start_matches("error:")).replace(" Did you mean", "; did you mean");
    Failure::usage("command line", message, "try --help")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Parses options of one sub-command from words.
    pub(crate) fn options<T: StructOpt>(words: &[&str]) -> Result<T, Failure> {
        let args = std::iter::once("test")
            .chain(words.iter().copied())
            .map(OsString::from);
        match parse_as(args)? {
            Parsed::Options(options) => Ok(options),
            Parsed::Text(text) => Err(Failure::usage("text", text, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn parsed(words: &[&str]) -> Result<Request, Failure> {
        parse(
            std::iter::once("laps")
                .chain(words.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn without_a_sub_command_it_is_the_relay() {
        let Ok(Request::Command(Command::Relay(options))) = parsed(&["-p", "5"]) else {
            panic!("not the relay")
        };
        assert_eq!(options.port, Some(5));
        assert!(matches!(parsed(&[]), Ok(Request::Command(Command::Relay(_)))));
    }

    #[test]
    fn flags_of_the_relay_do_not_leak_into_sub_commands() {
        assert_eq!(parsed(&["-p", "5", "cert"]).unwrap_err().exit(), Exit::Usage);
        assert!(matches!(
            parsed(&["cert"]),
            Ok(Request::Command(Command::Cert(_)))
        ));
    }

    #[test]
    fn help_is_a_text() {
        let text = |words: &[&str]| match parsed(words) {
            Ok(Request::Print(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(text(&["--help"]).contains("--endpoint_id"));
        assert!(text(&["--help"]).contains("EXAMPLES"));
        assert!(text(&["--help"]).contains("Without a sub-command"));
        assert!(text(&["cert", "--help"]).contains("private key"));
    }

    #[test]
    fn a_wrong_command_line_is_one_line() {
        for words in [
            &["--prot", "5"][..],
            &["-p", "x"],
            &["-b", "300.1.1.1"],
            &["nonsense"],
            &["config"],
            &["-p"],
        ] {
            let failure = parsed(words).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{words:?}");
            assert_eq!(failure.to_string().lines().count(), 1, "{failure}");
        }
        assert!(
            parsed(&["--prot", "5"])
                .unwrap_err()
                .to_string()
                .contains("--port")
        );
    }
}
