//! The publishers of one track, as its home sees them.
//!
//! One of them is active at a time; the others stand by and take over when it is lost. Objects that a second
//! publisher repeats are dropped by the log.

use super::messages::{Source, SourceId};
use crate::session::{ReleaseUpstream, SessionActor};
use crate::supervise::mailbox;
use actix::Addr;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{PublishDone, RequestId};
use laps_protocol::relay::track_log::{Append, StreamEnd, StreamKey};
use std::collections::{BTreeMap, HashSet};

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) source: Source,
    /// The request that carries its objects: our SUBSCRIBE or its PUBLISH.
    pub(super) request: Option<RequestId>,
    /// Its PUBLISH was accepted.
    pub(super) accepted: bool,
    /// It serves, and has withdrawn its announcement since.
    withdrawn: bool,
    /// What it said last, while its streams are awaited.
    pub(super) done: Option<PublishDone>,
    open: HashSet<StreamKey>,
    closed: u64,
}

impl Publisher {
    pub(super) fn new(source: Source) -> Self {
        let request = match source {
            Source::Published { request, .. } => Some(request),
            Source::Announced { .. } | Source::Local { .. } => None,
        };
        Self {
            source,
            request,
            accepted: false,
            withdrawn: false,
            done: None,
            open: HashSet::new(),
            closed: 0,
        }
    }

    /// Keeps count of streams, for the end of the subscription.
    pub(super) fn observe(&mut self, chunk: &Append) {
        match chunk {
            Append::SubgroupOpened { stream, .. } => {
                self.open.insert(*stream);
            }
            Append::SubgroupClosed { stream, .. } => {
                self.open.remove(stream);
                self.closed += 1;
            }
            Append::ObjectStarted { .. }
            | Append::Payload { .. }
            | Append::Missing { .. }
            | Append::Datagram(_) => {}
        }
    }

    /// After PUBLISH_DONE: every stream it announced has come and gone.
    ///
    /// MOQT-14 §9.12 [D14-SUB-20], [D14-SUB-21] [D14-LIB-5]: an unknown count is settled by time only.
    pub(super) fn is_drained(&self) -> bool {
        if matches!(self.source, Source::Local { .. }) {
            return self.done.is_some() && self.open.is_empty();
        }
        self.done
            .as_ref()
            .and_then(|done| done.stream_count)
            // A count of 0 says nothing about streams: datagram tracks have it, and some peers always send it.
            .is_some_and(|count| count > 0 && self.open.is_empty() && self.closed >= count)
    }

    fn is_announced_by(&self, session: &Addr<SessionActor>) -> bool {
        matches!(&self.source, Source::Announced { session: other } if other == session)
    }

    pub(super) fn has_open_streams(&self) -> bool {
        !self.open.is_empty()
    }

    /// The chunks that end what it left open.
    ///
    /// MOQT-14 §10.4.3 [D14-CLOSE-1]: what was not finished by its publisher is reset, never finished.
    pub(super) fn abandon(&mut self) -> Vec<Append> {
        let end = StreamEnd::Reset(ResetCode::Cancelled);
        self.open
            .drain()
            .map(|stream| Append::SubgroupClosed { stream, end })
            .collect()
    }
}

/// Ends what was asked of a publisher.
pub(super) fn release(source: &Source, request: Option<RequestId>) {
    if let (Source::Announced { session } | Source::Published { session, .. }, Some(request)) =
        (source, request)
    {
        mailbox::signal(session, ReleaseUpstream { request });
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Sources {
    publishers: BTreeMap<SourceId, Publisher>,
    active: Option<SourceId>,
}

impl Sources {
    pub(super) fn add(&mut self, id: SourceId, source: Source) {
        self.publishers.insert(id, Publisher::new(source));
    }

    pub(super) fn remove(&mut self, id: SourceId) -> Option<Publisher> {
        if self.active == Some(id) {
            self.active = None;
        }
        self.publishers.remove(&id)
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Publisher> {
        self.publishers.get_mut(&id)
    }

    pub(super) fn is_active(&self, id: SourceId) -> bool {
        self.active == Some(id)
    }

    pub(super) fn active(&self) -> Option<(SourceId, &Publisher)> {
        let id = self.active?;
        self.publishers.get(&id).map(|publisher| (id, publisher))
    }

    /// Makes the oldest publisher the active one, unless there is one.
    pub(super) fn elect(&mut self) -> Option<(SourceId, &mut Publisher)> {
        let id = match self.active {
            Some(id) => id,
            None => *self.publishers.keys().next()?,
        };
        self.active = Some(id);
        self.publishers.get_mut(&id).map(|publisher| (id, publisher))
    }

    /// Makes the oldest of those that sent PUBLISH the active one, unless there is one; false when nobody did.
    pub(super) fn elect_published(&mut self) -> bool {
        if self.active.is_none() {
            self.active = self.published().map(|(id, _)| id);
        }
        self.active.is_some()
    }

    /// The oldest of those that sent PUBLISH.
    fn published(&self) -> Option<(SourceId, &Publisher)> {
        let is_published = |publisher: &Publisher| matches!(publisher.source, Source::Published { .. });
        self.iter().find(|(_, publisher)| is_published(publisher))
    }

    /// Whether somebody sent PUBLISH.
    pub(super) fn has_published(&self) -> bool {
        self.published().is_some()
    }

    /// Lets go of the active publisher's SUBSCRIBE; the value ends what its streams left open.
    pub(super) fn rest(&mut self) -> Vec<Append> {
        let Some(id) = self.active.take() else {
            return Vec::new();
        };
        let Some(publisher) = self.publishers.get_mut(&id) else {
            return Vec::new();
        };
        release(&publisher.source, publisher.request.take());
        publisher.closed = 0;
        publisher.done = None;
        let ends = publisher.abandon();
        if publisher.withdrawn {
            self.publishers.remove(&id);
        }
        ends
    }

    pub(super) fn get(&self, id: SourceId) -> Option<&Publisher> {
        self.publishers.get(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    /// Whether this session's announcement brought it here already. It holds again, if it was withdrawn.
    pub(super) fn knows(&mut self, session: &Addr<SessionActor>) -> bool {
        let mut publishers = self.publishers.values_mut();
        let known = publishers.find(|publisher| publisher.is_announced_by(session));
        known.map(|publisher| publisher.withdrawn = false).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.publishers.len()
    }

    /// The chunks that end what all of them left open.
    pub(super) fn abandon_all(&mut self) -> Vec<Append> {
        self.publishers
            .values_mut()
            .flat_map(Publisher::abandon)
            .collect()
    }

    /// Forgets announcers that stand by and whose session withdrew the namespace.
    ///
    /// MOQT-14 §6.2 [D14-NS-12]: a subscription that exists goes on without the announcement, and no other follows it.
    pub(super) fn withdraw(&mut self, session: &Addr<SessionActor>) {
        let active = self.active;
        self.publishers.retain(|id, publisher| {
            publisher.withdrawn |= publisher.is_announced_by(session);
            !publisher.withdrawn || active == Some(*id)
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SourceId, &Publisher)> {
        self.publishers.iter().map(|(id, publisher)| (*id, publisher))
    }
}
