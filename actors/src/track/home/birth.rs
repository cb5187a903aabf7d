//! What a home copy is made of.

use crate::registry::RegistryHandle;
use crate::supervise::guard::ChildGuard;
use crate::supervise::inject::Faults;
use crate::track::messages::{Source, SourceId};
use crate::track::{Config, UpstreamTerms};
use laps_protocol::moqt::name::FullTrackName;
use slog::Logger;
use std::sync::Arc;

/// What a new track needs.
#[derive(Debug)]
pub struct Birth {
    /// Its name.
    pub name: FullTrackName,
    /// Which life of the track this is.
    pub epoch: u64,
    /// How it behaves.
    pub config: Arc<Config>,
    /// Where its end is told.
    pub registry: RegistryHandle,
    /// Where it logs.
    pub log: Logger,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
    /// On what terms it subscribes upstream.
    pub terms: UpstreamTerms,
    /// Its first publisher.
    pub source: (SourceId, Source),
}
