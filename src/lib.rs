//! The `laps` command: a Media over QUIC Transport relay, its clients and its tools.
//!
//! [`cli`] reads the command line, [`config`] the configuration, [`commands`] does what was asked, [`exit`] says how
//! it ended. [`source`] makes what a publisher sends. [`relay`] puts the actors of `laps_actors` together,
//! [`certificate`] is what it shows, [`keeper`] and [`systemd`] watch over the process; what goes over the wire is `laps_protocol`'s.

pub mod certificate;
#[cfg(feature = "chaos")]
pub mod chaos;
pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod keeper;
pub mod logging;
pub mod memory;
pub mod names;
pub mod node_id;
pub mod relay;
pub mod signals;
pub mod source;
pub mod stamp;
pub mod systemd;
pub use laps_actors::client::url;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command line, the program's name first, and returns the code to end with.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse(args).and_then(commands::dispatch) {
        Ok(()) => exit::Exit::Ok.into(),
        Err(failure) => failure.report(),
    }
}
