//! Whose streams they are that come by a link, for the reader of MOQT's bytes.

use super::bindings::Bindings;
use super::fetches::Fetches;
use super::once::Once;
use crate::fetch::FetchSink;
use crate::limits::Account;
use crate::session::Binding;
use laps_protocol::moqt::error::DecodeError;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::track_log::StreamEnd;
use std::time::Duration;

/// The track that the data header names, and the relay that the set of its id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    /// By the hash of its full name. The alias behind the header is not looked at: an id is bound to the hash of the first
    /// data that came with it, and laps relays let the alias of the publisher through in datagrams.
    pub track: FullNameHash,
    /// Whose publishers it comes from, or the laps relay that it came by.
    pub origin: Option<NodeId>,
}

/// Where one stream of a link comes in.
#[derive(Debug)]
pub(crate) struct LinkInlet {
    pub(super) bindings: Bindings,
    pub(super) fetches: Fetches,
    pub(super) whose: Whose,
    pub(super) account: Account,
    pub(super) once: Once,
}

impl LinkInlet {
    /// The track that it feeds, when that is known in time.
    pub(crate) async fn resolve(&self, held: u64, wait: Duration) -> Option<Binding> {
        let resolved = self.bindings.resolve(self.whose, held, &self.account, wait);
        match resolved.await {
            Ok(binding) => binding,
            Err(full) => {
                self.account.note(self.once.log(), full);
                None
            }
        }
    }

    /// Who wants what a FETCH of this relay brings.
    pub(crate) fn resolve_fetch(&self, request: RequestId) -> Option<FetchSink> {
        self.fetches.get(request)
    }

    /// The stream of a FETCH of this relay has ended.
    pub(crate) fn fetch_over(&self, request: RequestId, end: StreamEnd) {
        self.fetches.over(request, end);
    }

    /// What it carries is not MOQT as it should be.
    pub(crate) fn breach(&self, error: &DecodeError) {
        self.once.warn("a stream of a link breaks MOQT's rules", error);
    }
}
