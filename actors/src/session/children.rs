//! The actors that serve a session's requests, and what the session keeps so that it can start them again.

use super::egress::Streams;
use crate::announce::{self, AnnounceActor};
use crate::fetch::{self, Course, FetchActor};
use crate::limits::Place;
use crate::namespace::{self, NamespaceSubscriptionActor};
use crate::status::{self, StatusActor};
use crate::subscription::{self, Spec, SubscriptionActor};
use crate::supervise::guard::ChildId;
use crate::supervise::mailbox;
use crate::supervise::policy::{Backoff, Intensity, Restart, Supervisor};
use actix::Addr;
use laps_protocol::moqt::message::{NamespaceRequest, RequestId};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::moqt::session::PeerFetch;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// A request that serves itself badly this often ends on the wire.
const INTENSITY: Intensity = Intensity {
    max: 10,
    within: Duration::from_secs(10),
};

/// The policy of every request's actor: transient, ten restarts in ten seconds.
pub(super) fn supervisor(id: RequestId) -> Supervisor {
    let backoff = Backoff {
        at_once: 0,
        first: Duration::from_millis(10),
        max: Duration::from_secs(1),
        jitter_percent: 20,
    };
    Supervisor::new(Restart::Transient, INTENSITY, backoff, id.0)
}

/// A downstream subscription.
#[derive(Debug)]
pub(super) struct SubscriptionSlot {
    pub(super) _place: Place,
    pub(super) addr: Addr<SubscriptionActor>,
    pub(super) child: ChildId,
    pub(super) spec: Spec,
    pub(super) streams: Rc<Streams>,
    pub(super) supervisor: Supervisor,
}

/// A namespace that the peer announced.
#[derive(Debug)]
pub(super) struct AnnounceSlot {
    /// None when the same namespace was announced again, and has it.
    pub(super) place: Option<Place>,
    pub(super) addr: Addr<AnnounceActor>,
    pub(super) child: ChildId,
    pub(super) request: NamespaceRequest,
    pub(super) answered: Rc<Cell<bool>>,
    pub(super) supervisor: Supervisor,
}

/// A prefix that the peer watches.
#[derive(Debug)]
pub(super) struct WatchSlot {
    pub(super) _place: Place,
    pub(super) addr: Addr<NamespaceSubscriptionActor>,
    pub(super) child: ChildId,
    pub(super) prefix: TrackNamespace,
    pub(super) answered: bool,
    pub(super) supervisor: Supervisor,
}

/// A fetch of the peer.
#[derive(Debug)]
pub(super) struct FetchSlot {
    pub(super) _place: Place,
    pub(super) addr: Addr<FetchActor>,
    pub(super) child: ChildId,
    pub(super) fetch: PeerFetch,
    pub(super) course: Rc<Course>,
    pub(super) supervisor: Supervisor,
}

/// A TRACK_STATUS of the peer.
#[derive(Debug)]
pub(super) struct StatusSlot {
    pub(super) _place: Place,
    pub(super) addr: Addr<StatusActor>,
    pub(super) child: ChildId,
}

/// Whether the session itself is still worth keeping: each request that is given up is a failure of its own, and one
/// that goes on about as many of them as a request may about its actor's ends. (decision 0027)
pub(super) fn patience() -> Supervisor {
    Supervisor::new(Restart::Transient, INTENSITY, Backoff::IMMEDIATE, 0)
}

/// All of them, by request.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) subscriptions: HashMap<RequestId, SubscriptionSlot>,
    pub(super) announces: HashMap<RequestId, AnnounceSlot>,
    pub(super) watches: HashMap<RequestId, WatchSlot>,
    /// TRACK_STATUS requests that are not answered yet.
    pub(super) statuses: HashMap<RequestId, StatusSlot>,
    pub(super) fetches: HashMap<RequestId, FetchSlot>,
    /// Tracks that we offered by PUBLISH and that the peer has not answered.
    pub(super) offers: HashMap<RequestId, Spec>,
}

impl Children {
    pub(super) fn subscription_of(&self, child: ChildId) -> Option<RequestId> {
        self.subscriptions
            .iter()
            .find(|(_, slot)| slot.child == child)
            .map(|(id, _)| *id)
    }

    /// The session is over: nobody is served any more.
    pub(super) fn abandon(&mut self) {
        for slot in self.subscriptions.drain().map(|(_, slot)| slot) {
            mailbox::signal(&slot.addr, subscription::Stop);
        }
        for slot in self.announces.drain().map(|(_, slot)| slot) {
            mailbox::signal(&slot.addr, announce::Stop);
        }
        for slot in self.statuses.drain().map(|(_, slot)| slot) {
            mailbox::signal(&slot.addr, status::Stop);
        }
        for slot in self.watches.drain().map(|(_, slot)| slot) {
            mailbox::signal(&slot.addr, namespace::Stop);
        }
        for slot in self.fetches.drain().map(|(_, slot)| slot) {
            mailbox::signal(&slot.addr, fetch::Stop);
        }
    }

    pub(super) fn watch_of(&self, child: ChildId) -> Option<RequestId> {
        self.watches
            .iter()
            .find(|(_, slot)| slot.child == child)
            .map(|(id, _)| *id)
    }

    pub(super) fn status_of(&self, child: ChildId) -> Option<RequestId> {
        self.statuses
            .iter()
            .find(|(_, slot)| slot.child == child)
            .map(|(id, _)| *id)
    }

    pub(super) fn fetch_of(&self, child: ChildId) -> Option<RequestId> {
        self.fetches
            .iter()
            .find(|(_, slot)| slot.child == child)
            .map(|(id, _)| *id)
    }

    pub(super) fn announce_of(&self, child: ChildId) -> Option<RequestId> {
        self.announces
            .iter()
            .find(|(_, slot)| slot.child == child)
            .map(|(id, _)| *id)
    }
}
