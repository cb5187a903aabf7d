//! The sub-commands, one a file, and which of them a parsed command line runs.

mod census;
pub mod cert;
pub mod cert_ca;
mod cert_signed;
mod client;
pub mod config;
pub mod demo;
pub mod discover;
pub mod doctor;
pub mod fetch;
pub mod health;
mod health_via;
mod json;
mod meter;
pub mod ns;
pub mod open_source;
mod output;
mod past;
pub mod publish;
pub mod relay;
pub mod sub;
pub mod token;

use crate::cli::{Command, Request};
use crate::exit::Failure;
use std::io::Write;

/// Does what the command line asks for.
///
/// # Errors
/// When it could not be done; the failure says why and with which code to end.
pub fn dispatch(request: Request) -> Result<(), Failure> {
    match request {
        Request::Print(text) => print(&text),
        Request::Command(Command::Cert(options)) => cert::run(&options),
        Request::Command(Command::Config(options)) => config::run(&options.command),
        Request::Command(Command::Demo(options)) => demo::run(&options),
        Request::Command(Command::Health(options)) => health::run(&options),
        Request::Command(Command::Doctor(options)) => doctor::run(&options),
        Request::Command(Command::Relay(options)) => relay::run(&options),
        Request::Command(Command::Pub(options)) => publish::run(&options),
        Request::Command(Command::Sub(options)) => sub::run(&options),
        Request::Command(Command::Fetch(options)) => fetch::run(&options),
        Request::Command(Command::Ns(options)) => ns::run(&options),
        Request::Command(Command::Discover(options)) => discover::run(&options),
        Request::Command(Command::Token(options)) => token::run(&options),
    }
}

/// Writes a text with its newline to standard output. A reader that went away early, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::run("standard output", error.to_string(), ""))
        }
        _ => Ok(()),
    }
}
