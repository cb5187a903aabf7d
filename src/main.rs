//! The `laps` command. Everything it does is in the library of the same name.

use std::process::ExitCode;

/// Gives back what is free, where the system's own allocator keeps it: decision 0024.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    laps::run(std::env::args_os())
}
