//! What the peer may have of each kind, and what it is told when that is too much.
//!
//! MOQT-14 §3.4 [D14-TERM-3], §12.3.1 [D14-LIM-2]: a request that is too much is refused by the error of its own message,
//! and the session goes on.

use super::SessionActor;
use crate::limits::{Kind, Place, Share};
use crate::transport::ConnHandle;
use actix::Context;
use laps_protocol::moqt::message::{NamespaceRequest, RequestErrorReason, RequestId};
use laps_protocol::relay::load::OVERLOADED;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

impl SessionActor {
    /// A place for a request of the peer, or none when it was refused just now.
    pub(super) fn admit(&mut self, ctx: &mut Context<Self>, id: RequestId, kind: Kind) -> Option<Place> {
        if self.env.strain.refuses_request(&self.log) {
            // The draft has no code for "later"; this one is the only one in each kind of answer that speaks of the
            // moment and not of the request. MOQT-14 §9.9 [D14-TERM-3]
            self.refuse(ctx, id, RequestErrorReason::Timeout, OVERLOADED);
            return None;
        }
        self.place(ctx, id, kind)
    }

    fn place(&mut self, ctx: &mut Context<Self>, id: RequestId, kind: Kind) -> Option<Place> {
        match self.account.request(kind) {
            Ok(place) => Some(place),
            Err(full) => {
                self.account.note(&self.log, full);
                // The draft has no code for "too many"; this one stands for it in each kind of answer.
                self.refuse(ctx, id, RequestErrorReason::InternalError, full.phrase());
                None
            }
        }
    }

    /// Lets go of aliases that are only remembered, the oldest first, until there is room for one more track, if that
    /// helps: what comes late for a track that is over is worth less than one that begins.
    pub(super) fn make_room_for_track(&mut self) {
        while self.account.has_no_place(Kind::Tracks)
            && let Some(oldest) = self.bindings.forget_oldest()
        {
            self.core.forget_alias(oldest);
        }
    }

    /// A place for a PUBLISH_NAMESPACE. One that announces a namespace again is given the place of the one before, whose
    /// end is on its way, where there is no other: refused, it would take the namespace with it. [D14-NS-14]
    pub(super) fn admit_announce(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        request: &NamespaceRequest,
    ) -> Option<Place> {
        let kind = Kind::Namespaces;
        let mut announced = self.children.announces.values();
        if !announced.any(|slot| slot.request.namespace == request.namespace) {
            return self.admit(ctx, id, kind);
        }
        // It begins nothing, so load is no reason against it.
        if self.account.has_no_place(kind) {
            let announced = self.children.announces.values_mut();
            let mut same = announced.filter(|slot| slot.request.namespace == request.namespace);
            if let Some(place) = same.find_map(|slot| slot.place.take()) {
                return Some(place);
            }
        }
        self.place(ctx, id, kind)
    }
}

/// What everybody from the address of `conn` has.
pub(super) fn share(env: &crate::shard::Env, conn: &ConnHandle) -> Arc<Share> {
    // A connection that is gone already has no address, and no use for one. One that moves later stays where it is
    // counted: what it took before is given back there.
    let address = conn
        .remote_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    env.prefixes.share(address)
}
