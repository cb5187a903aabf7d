//! What every reader of a track log may rely on, for any order of chunks and any pattern of reading.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod eviction;
mod late_joiner;
mod live_edge;
mod merging;
mod past;
mod reader;
mod replica;
mod script;
