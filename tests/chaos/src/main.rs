//! What a fault costs: relays and clients as processes in network namespaces, one fault each, and who lost what.
//!
//! `scripts/chaos` starts it in namespaces of its own and says what it needs. [`faults`] is the list, [`scene`] what they
//! happen in, [`judge`] what came of it, [`table`] where that is written down.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a message of any other kind is not what is waited for, also one that is new"
)]

mod faults;
mod hook;
mod judge;
mod member;
mod mesh;
mod nat;
mod net;
mod options;
mod peer;
mod process;
mod record;
mod relay;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "tests of the root package use it as well"
)]
#[path = "../../common/road.rs"]
mod road;
mod run;
mod scene;
mod seed;
mod storm;
mod table;

use std::process::ExitCode;

/// Whatever stands in the way, in words.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match options::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("laps-chaos: {error}");
            ExitCode::FAILURE
        }
    }
}
