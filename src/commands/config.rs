//! `laps config`: checks a file, or shows what is in force.

use super::print;
use crate::cli::ConfigCommand;
use crate::config::{Layers, dump, load};
use crate::exit::Failure;

/// Runs `laps config`.
///
/// # Errors
/// When the configuration is wrong.
pub fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => {
            load(&Layers {
                file: Some(file.clone()),
                ..Layers::default()
            })?;
            print(&format!("{}: ok", file.display()))
        }
        ConfigCommand::Dump(options) => print(&dump(&load(&options.layers()?)?)),
    }
}
