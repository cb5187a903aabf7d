//! Where clients of this relay look for publishers, told to the mesh of a stub, which hears of no publisher that it does not
//! watch. laps peering, "Stub".
//!
//! A namespace is sought as long as somebody waits for a track in it, watches it as a prefix, or has asked for one of its
//! tracks that runs. What is new is told at once; what is over the mesh finds out when it asks, so that nothing is counted
//! here for each client.

use super::RegistryActor;
use crate::supervise::mailbox::{Wake, Woken};
use actix::{Context, Handler, Message, MessageResult};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use std::collections::BTreeSet;

/// New namespaces that are kept until they are taken; with more of them everything that there is, is taken anew.
const MAX_NEW: usize = 4096;

/// Something is sought that was not told of yet.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SoughtChanged;

/// The mesh wants to know from now on, instead of whoever wanted it before. The answer is all that is sought.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Sought")]
pub struct WatchSought {
    /// Woken when there is something new.
    pub wake: Wake<SoughtChanged>,
}

/// What is new, and which of these are over? Also the leave to be woken again. None from a registry that nobody has told to
/// tell, as one that began since.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Sought>")]
pub struct TakeSought {
    /// Namespaces that were told of before.
    pub known: Vec<TrackNamespace>,
}

/// Namespaces in which publishers are sought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sought {
    /// New ones, in order. Known ones may be among them.
    pub new: Vec<TrackNamespace>,
    /// Those of the known ones that nobody seeks now.
    pub idle: Vec<TrackNamespace>,
}

/// What was not told yet.
#[derive(Debug, Default)]
pub(super) struct Seekers {
    wake: Option<Wake<SoughtChanged>>,
    new: BTreeSet<TrackNamespace>,
    /// There is more than is kept.
    all: bool,
}

impl Seekers {
    /// Somebody looks for a publisher in this namespace.
    pub(super) fn seek(&mut self, namespace: &TrackNamespace) {
        // Everywhere but on a stub nobody wants to know.
        let Some(wake) = &self.wake else { return };
        if self.new.len() < MAX_NEW {
            self.new.insert(namespace.clone());
        } else {
            self.all = true;
        }
        if wake.wake(SoughtChanged) == Woken::Closed {
            *self = Self::default();
        }
    }
}

impl RegistryActor {
    fn all_sought(&self) -> Vec<TrackNamespace> {
        let running = self.tracks.keys().map(FullTrackName::namespace);
        let asked = self.waiting.namespaces();
        let all: BTreeSet<_> = running.chain(asked).chain(self.watchers.prefixes()).collect();
        all.into_iter().cloned().collect()
    }

    fn is_sought(&self, namespace: &TrackNamespace) -> bool {
        let mut tracks = self.tracks.range(FullTrackName::first_below(namespace.clone())..);
        let running = tracks
            .next()
            .is_some_and(|(name, _)| name.namespace() == namespace);
        running || self.waiting.waits_in(namespace) || self.watchers.watches(namespace)
    }
}

impl Handler<WatchSought> for RegistryActor {
    type Result = MessageResult<WatchSought>;

    fn handle(&mut self, msg: WatchSought, _: &mut Context<Self>) -> Self::Result {
        self.seekers = Seekers {
            wake: Some(msg.wake),
            ..Seekers::default()
        };
        MessageResult(Sought {
            new: self.all_sought(),
            idle: Vec::new(),
        })
    }
}

impl Handler<TakeSought> for RegistryActor {
    type Result = MessageResult<TakeSought>;

    fn handle(&mut self, msg: TakeSought, _: &mut Context<Self>) -> Self::Result {
        if self.seekers.wake.is_none() {
            return MessageResult(None);
        }
        let mut known = msg.known;
        // While a registry gathers what there is, it does not know what is over.
        known.retain(|namespace| self.muster.is_none() && !self.is_sought(namespace));
        let new = std::mem::take(&mut self.seekers.new);
        let new = if std::mem::take(&mut self.seekers.all) {
            self.all_sought()
        } else {
            new.into_iter().collect()
        };
        MessageResult(Some(Sought { new, idle: known }))
    }
}
