//! Options of `laps config`.

use super::relay_options::RelayOptions;
use std::path::PathBuf;
use structopt::StructOpt;

const AFTER_HELP: &str = "EXAMPLES:
    laps config check relay.toml                 says what is wrong with a file, or that nothing is
    laps config dump > relay.toml                a file with every key explained
    laps config dump --config relay.toml -p 1    what would be in force with this file and flag";

/// Checks or shows the configuration
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct ConfigOptions {
    /// Which of both.
    #[structopt(subcommand)]
    pub command: ConfigCommand,
}

/// What `laps config` does.
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
pub enum ConfigCommand {
    /// Checks a file alone, without flags and environment
    Check {
        /// The file (TOML)
        #[structopt(value_name = "FILE", parse(from_os_str))]
        file: PathBuf,
    },
    /// Shows what is in force with these flags, this environment and this file, as a file with comments
    Dump(Box<RelayOptions>),
}
