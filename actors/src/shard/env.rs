//! What the actors of one shard share.

use super::OpenReplica;
use crate::limits::{Prefixes, Strain};
use crate::registry::{RegistryHandle, ShardRef};
use crate::session::SessionActor;
use crate::supervise::inject::Faults;
use crate::track::Upstream;
use crate::{session, track};
use actix::{Addr, Recipient};
use slog::Logger;
use std::sync::Arc;

/// Handles and settings that sessions, subscriptions and tracks of a shard are made with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// Who knows the tracks.
    pub registry: RegistryHandle,
    /// This shard, for the registry.
    pub shard: ShardRef,
    /// Where a replica is asked for. None in a client, whose tracks all live on its one arbiter.
    pub replicas: Option<Recipient<OpenReplica>>,
    /// How sessions behave.
    pub session: Arc<session::Config>,
    /// How tracks behave.
    pub track: Arc<track::Config>,
    /// What the sessions of each address prefix have, on all shards.
    pub prefixes: Arc<Prefixes>,
    /// How loaded the shard is.
    pub strain: Strain,
    /// Where they log.
    pub log: Logger,
    /// Injected faults, in tests.
    pub faults: Faults,
}

impl Env {
    /// A session that may not have what it alone publishes, as the registry is asked for it: none when every session
    /// may, which is the rule. MOQT-14 §5.1 [D14-SUB-22] [D14-NS-3]
    #[must_use]
    pub fn except(&self, session: &Addr<SessionActor>) -> Option<Upstream> {
        (!self.session.allow_self).then(|| session.clone().into())
    }
}
