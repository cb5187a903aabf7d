//! The `laps` command. Everything it does is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    laps::run(std::env::args_os())
}
