//! How a new registry learns that everybody has said what is theirs.

use super::RegistryActor;
use super::messages::AllTold;
use crate::supervise::mailbox;
use actix::Addr;
use std::sync::Arc;

/// Held by everybody who has yet to tell a new registry what is theirs, and by those who have yet to ask others for it.
///
/// The registry hears of the last one that is let go of. What was told before is in its mailbox then, ahead of that; and
/// whoever dies instead of telling lets go of it too.
#[derive(Clone, Debug)]
pub struct RollCall {
    _call: Arc<Call>,
}

#[derive(Debug)]
struct Call {
    registry: Addr<RegistryActor>,
    epoch: u32,
}

impl RollCall {
    /// A call for the registry in this life.
    pub(super) fn of(registry: Addr<RegistryActor>, epoch: u32) -> Self {
        Self {
            _call: Arc::new(Call { registry, epoch }),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        mailbox::signal(&self.registry, AllTold { epoch: self.epoch });
    }
}
