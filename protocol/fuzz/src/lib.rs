//! What hostile bytes must not do: one target per decoder, the tables and the log of a relay, whole sessions, and a relay
//! in the middle of good and bad peers. Each target says in its asserts what must hold; a panic is a finding.
//!
//! Run on stable by `scripts/test fuzz` (the corpus and a fixed number of mutations of it), and by
//! `scripts/fuzz TARGET SECONDS`, which the coverage of the code guides where there is a nightly toolchain.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a target says what must hold by panicking when it does not"
)]

mod advert;
mod bases;
mod codecs;
mod downstream;
mod feed;
mod forward;
mod messages;
pub mod mutate;
mod peering;
mod peering_fetch;
mod pressure;
mod relay;
mod session;
mod tables;
mod text;
mod track;
mod truth;
mod wire;

use std::sync::LazyLock;
use std::time::Instant;

/// A target by name.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, also the name of its folder in `corpus/`.
    pub name: &'static str,
    /// Runs it once; panics when something does not hold.
    pub run: fn(&[u8]),
    /// The longest input that is worth trying, in bytes.
    pub max_len: usize,
    /// How often `scripts/test fuzz` runs it with mutated inputs.
    pub executions: u64,
}

const fn target(name: &'static str, run: fn(&[u8]), max_len: usize, executions: u64) -> Target {
    Target {
        name,
        run,
        max_len,
        executions,
    }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("wire", codecs::wire, 64, 100_000),
    target("control", codecs::control, 512, 60_000),
    target("messages", codecs::messages, 512, 40_000),
    target("token", codecs::token, 64, 60_000),
    target("stream", codecs::stream, 512, 60_000),
    target("datagram", codecs::datagram, 128, 60_000),
    target("extensions", codecs::extensions, 128, 60_000),
    target("name", text::name, 256, 40_000),
    target("scope", text::scope, 256, 40_000),
    target("url", text::url, 128, 40_000),
    target("boxes", text::boxes, 512, 60_000),
    target("advert", advert::advert, 512, 40_000),
    target("filter", tables::filter, 128, 60_000),
    target("tree", tables::tree, 256, 20_000),
    target("told", tables::told, 256, 40_000),
    target("order", tables::order, 512, 40_000),
    target("pressure", pressure::pressure, 256, 40_000),
    target("chunks", track::chunks, 1024, 20_000),
    target("merge", track::merge, 1024, 20_000),
    target("past", track::past, 1024, 20_000),
    target("session", session::session, 1024, 40_000),
    target("relay", relay::relay, 1536, 20_000),
    target("peering", peering::peering, 512, 40_000),
    target("link", peering::link, 512, 40_000),
    target("bases", bases::bases, 512, 4_000),
    target("forward", forward::forward, 768, 20_000),
];

/// The base of virtual time: read once, and only ever added to.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to get a base of virtual time"
)]
fn base() -> Instant {
    static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);
    *BASE
}
