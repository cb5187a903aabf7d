//! The home's side of its replicas: one batch in flight per shard, the rest waits here within a bound.

use super::audience::Audience;
use super::messages::{ReaderId, Replicate, TrackGone, Word};
use crate::supervise::mailbox;
use actix::Recipient;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::relay::track_log::Append;

/// Bytes that may wait for one shard before the publisher is slowed down.
///
/// One stream window of the ingest side: less would stall a publisher that sends at line rate for one round of the
/// other shard's event loop, more only moves the queue from the network into memory.
pub(super) const MAX_PENDING_BYTES: usize = 2 << 20;

/// What one replica has yet to receive.
#[derive(Debug)]
pub(super) struct ReplicaLink {
    pub(super) id: ReaderId,
    pub(super) to: Recipient<Replicate>,
    /// Its readers, as far as is known.
    pub(super) audience: Audience,
    /// Its readers wait for a word of a publisher, as far as it was told, or is about to be.
    pub(super) awaited: bool,
    word: Option<Word>,
    pending: Vec<Append>,
    pending_bytes: usize,
    links_gone: Option<TrackGone>,
    gone: Option<TrackGone>,
    in_flight: bool,
}

impl ReplicaLink {
    pub(super) const fn new(id: ReaderId, to: Recipient<Replicate>, audience: Audience) -> Self {
        Self {
            id,
            to,
            audience,
            awaited: false,
            word: None,
            pending: Vec::new(),
            pending_bytes: 0,
            links_gone: None,
            gone: None,
            in_flight: false,
        }
    }

    pub(super) fn push(&mut self, chunk: Append) {
        self.pending_bytes += chunk_bytes(&chunk);
        self.pending.push(chunk);
    }

    /// Its readers have to wait for the word of a publisher, or have not any more, now that the track has come to this place.
    /// True when that is news.
    pub(super) fn await_word(&mut self, awaited: bool, largest: Option<Location>) -> bool {
        let word = if awaited {
            Word::Awaited
        } else {
            Word::Given(largest)
        };
        let news = std::mem::replace(&mut self.awaited, awaited) != awaited;
        if news {
            self.word = Some(word);
        }
        news
    }

    /// For links among its readers the track has ended.
    pub(super) fn end_links(&mut self, gone: TrackGone) {
        // Those who come after they were told of are told of again.
        self.audience.links = None;
        self.links_gone = Some(gone);
    }

    pub(super) fn end(&mut self, gone: TrackGone) {
        self.gone = Some(gone);
    }

    /// Nothing more will come, out of turn: the home fails, or gives the replica up. What was pending is lost.
    pub(super) fn abandon(&self) {
        let gone = TrackGone::new(PublishDoneStatus::InternalError, "the track failed in the relay");
        mailbox::signal(
            &self.to,
            Replicate {
                batch: Vec::new(),
                word: None,
                links_gone: None,
                gone: Some(gone),
            },
        );
    }

    pub(super) const fn is_over(&self) -> bool {
        self.pending_bytes > MAX_PENDING_BYTES
    }

    /// The next batch, unless one is in flight or nothing waits.
    pub(super) fn take(&mut self) -> Option<Replicate> {
        if self.in_flight || self.has_nothing() {
            return None;
        }
        self.in_flight = true;
        self.pending_bytes = 0;
        Some(Replicate {
            batch: std::mem::take(&mut self.pending),
            word: self.word.take(),
            links_gone: self.links_gone.take(),
            gone: self.gone.take(),
        })
    }

    const fn has_nothing(&self) -> bool {
        self.pending.is_empty() && self.word.is_none() && self.links_gone.is_none() && self.gone.is_none()
    }

    pub(super) const fn acknowledged(&mut self) {
        self.in_flight = false;
    }
}

/// Bytes a chunk keeps alive, roughly: what it carries plus its own size.
pub(super) fn chunk_bytes(chunk: &Append) -> usize {
    size_of::<Append>()
        + match chunk {
            Append::Payload { bytes, .. } => bytes.len(),
            Append::ObjectStarted { header, .. } => header.extensions.len(),
            Append::Datagram(datagram) => datagram.payload.len() + datagram.extensions.len(),
            Append::SubgroupOpened { .. } | Append::SubgroupClosed { .. } | Append::Missing { .. } => 0,
        }
}
