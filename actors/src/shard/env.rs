//! What the actors of one shard share.

use super::OpenReplica;
use crate::registry::{RegistryActor, ShardRef};
use crate::supervise::inject::Faults;
use crate::{session, track};
use actix::{Addr, Recipient};
use slog::Logger;
use std::sync::Arc;

/// Handles and settings that sessions, subscriptions and tracks of a shard are made with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// Who knows the tracks.
    pub registry: Addr<RegistryActor>,
    /// This shard, for the registry.
    pub shard: ShardRef,
    /// Where a replica is asked for. None in a client, whose tracks all live on its one arbiter.
    pub replicas: Option<Recipient<OpenReplica>>,
    /// How sessions behave.
    pub session: Arc<session::Config>,
    /// How tracks behave.
    pub track: Arc<track::Config>,
    /// Where they log.
    pub log: Logger,
    /// Injected faults, in tests.
    pub faults: Faults,
}
