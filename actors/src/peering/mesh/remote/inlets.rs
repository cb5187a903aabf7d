//! Where the streams of links find out whose they are.

use crate::fetch::FetchSink;
use crate::peering::plane::Plane;
use crate::session::Binding;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;

/// The tables by which what comes on links for this relay gets to its tracks. All is done when a call returns.
pub trait Inlets {
    /// What this node sends of the track goes there. What has come before waits for this, for a while.
    fn bind(&self, track: FullNameHash, origin: NodeId, binding: Binding);

    /// Nothing more that this node sends of the track is wanted.
    fn unbind(&self, track: FullNameHash, origin: NodeId);

    /// A node is a laps relay, which names nobody as the origin of what it sends; or it is not, or is gone.
    fn set_laps(&self, node: NodeId, laps: bool);

    /// The stream of this FETCH is to come, and goes there, its end included.
    fn expect(&self, fetch: RequestId, sink: FetchSink);

    /// It is not wanted any more.
    fn forget(&self, fetch: RequestId);

    /// It is still to come, or being read.
    fn expects(&self, fetch: RequestId) -> bool;
}

impl Inlets for Plane {
    fn bind(&self, track: FullNameHash, origin: NodeId, binding: Binding) {
        self.bindings().bind(track, Some(origin), binding);
    }

    fn unbind(&self, track: FullNameHash, origin: NodeId) {
        self.bindings().unbind(track, Some(origin));
    }

    fn set_laps(&self, node: NodeId, laps: bool) {
        self.bindings().set_laps(node, laps);
    }

    fn expect(&self, fetch: RequestId, sink: FetchSink) {
        self.fetches().expect(fetch, sink);
    }

    fn forget(&self, fetch: RequestId) {
        drop(self.fetches().forget(fetch));
    }

    fn expects(&self, fetch: RequestId) -> bool {
        self.fetches().expects(fetch)
    }
}
