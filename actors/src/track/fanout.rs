//! The readers of a track on one arbiter, shared by the home copy and its replicas.

use super::budget::Budget;
use super::handle::{LogId, LogOwner, Share};
use super::messages::{Attach, Attached, ReaderId, TrackAdvanced, TrackGone, TrackMeta, Unavailable};
use crate::reply::{Reply, ReplyTo};
use crate::supervise::mailbox::{self, Wake};
use actix::Recipient;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::relay::track_log::{Append, TrackLog};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most readers of one track on one shard.
///
/// A bound for memory only: a reader costs under a kilobyte here, so this is far above what one core can serve.
const MAX_READERS: usize = 100_000;

#[derive(Debug)]
struct Reader {
    wake: Wake<TrackAdvanced>,
    gone: Recipient<TrackGone>,
    forward: bool,
}

/// A log, those who read it, and those who wait for it to go live.
///
/// Dropped by a panic, it tells every reader that the track failed.
#[derive(Debug)]
pub(super) struct Fanout {
    log: LogOwner,
    readers: BTreeMap<ReaderId, Reader>,
    waiting: Vec<(ReaderId, ReplyTo<Result<Attached, Unavailable>>)>,
    /// What the publisher said, and when.
    live: Option<(TrackMeta, Instant)>,
    gone: bool,
}

impl Fanout {
    pub(super) fn new(log: TrackLog, budget: &Arc<Budget>, share: Share) -> Self {
        Self {
            log: LogOwner::new(log, budget, share),
            readers: BTreeMap::new(),
            waiting: Vec::new(),
            live: None,
            gone: false,
        }
    }

    /// Takes a reader in; answers at once when the track is live.
    pub(super) fn attach(&mut self, attach: Attach) -> Reply<Result<Attached, Unavailable>> {
        if self.gone {
            return Reply::Now(Err(Unavailable::for_now("the track has ended")));
        }
        if self.readers.len() >= MAX_READERS {
            return Reply::Now(Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the track has too many subscribers here",
            )));
        }
        let Attach {
            reader,
            wake,
            gone,
            forward,
        } = attach;
        self.readers.insert(reader, Reader { wake, gone, forward });
        match self.attached() {
            Some(attached) => Reply::Now(Ok(attached)),
            None => {
                let (reply, to) = Reply::later();
                self.waiting.push((reader, to));
                reply
            }
        }
    }

    pub(super) fn detach(&mut self, reader: ReaderId) {
        self.readers.remove(&reader);
        self.waiting.retain(|(id, _)| *id != reader);
    }

    pub(super) fn set_forward(&mut self, reader: ReaderId, forward: bool) {
        if let Some(reader) = self.readers.get_mut(&reader) {
            reader.forward = forward;
        }
    }

    pub(super) const fn log_id(&self) -> LogId {
        self.log.id()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub(super) fn any_forward(&self) -> bool {
        self.readers.values().any(|reader| reader.forward)
    }

    pub(super) const fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// What the publisher said, as it holds at `now`.
    pub(super) fn meta(&self, now: Instant) -> Option<TrackMeta> {
        let (meta, since) = self.live.as_ref()?;
        Some(meta.after(now.saturating_duration_since(*since)))
    }

    pub(super) fn largest(&self) -> Option<Location> {
        self.log.read(|log| log.largest()).flatten()
    }

    /// Objects that were evicted since the log was made, live ones and fetched ones.
    pub(super) fn objects_evicted(&self) -> u64 {
        self.log.read(|log| log.stats().evicted_objects).unwrap_or(0)
    }

    pub(super) fn snapshot(&self) -> Vec<Append> {
        self.log.read(|log| log.snapshot()).unwrap_or_default()
    }

    /// Nothing is subscribed upstream: whoever attaches now waits.
    pub(super) fn rest(&mut self) {
        self.live = None;
    }

    /// Objects are served for so many milliseconds after their first byte came; for ever when none is said.
    pub(super) fn limit_cache(&mut self, max_cache_duration_ms: Option<u64>) {
        let limit = max_cache_duration_ms.map(Duration::from_millis);
        self.log.write(|log| log.set_max_cache(limit));
    }

    /// What [`Self::limit_cache`] set, in milliseconds.
    pub(super) fn cache_limit_ms(&self) -> Option<u64> {
        let limit = self.log.read(TrackLog::max_cache).flatten()?;
        u64::try_from(limit.as_millis()).ok()
    }

    /// The log, for those who read its past and fill its holes.
    pub(super) fn with_log<R>(&mut self, f: impl FnOnce(&mut TrackLog) -> R) -> Option<R> {
        self.log.write(f)
    }

    /// Nothing is kept.
    pub(super) fn is_log_empty(&self) -> bool {
        self.log.read(|log| log.bytes() == 0).unwrap_or(true)
    }

    /// The track is live: whoever waits gets its place. Called again when another publisher takes over.
    pub(super) fn go_live(
        &mut self,
        now: Instant,
        meta: TrackMeta,
        largest: Option<Location>,
        snapshot: Vec<Append>,
    ) {
        self.log.write(|log| {
            for chunk in snapshot {
                log.append(now, chunk);
            }
            if let Some(largest) = largest {
                log.seed_largest(largest);
            }
        });
        self.live = Some((meta, now));
        for (_, reply) in std::mem::take(&mut self.waiting) {
            match self.attached() {
                Some(attached) => reply.send(Ok(attached)),
                None => reply.send(Err(Unavailable::new(
                    RequestErrorReason::InternalError,
                    "the track failed",
                ))),
            }
        }
    }

    fn attached(&self) -> Option<Attached> {
        let meta = self.meta(Instant::now())?;
        let (edge, largest) = self.log.read(|log| (log.live_edge(), log.largest()))?;
        Some(Attached {
            log: self.log.id(),
            edge,
            largest,
            meta,
        })
    }

    /// What the publishers say has changed, for those who attach from now on; the order of groups is what it was.
    pub(super) fn restate(&mut self, now: Instant, meta: TrackMeta, largest: Option<Location>) {
        if let Some((known, since)) = &mut self.live {
            let group_order = known.group_order;
            (*known, *since) = (TrackMeta { group_order, ..meta }, now);
        }
        if let Some(largest) = largest {
            self.log.write(|log| log.seed_largest(largest));
        }
    }

    /// The place of END_OF_TRACK, once it came.
    pub(super) fn end_of_track(&self) -> Option<Location> {
        self.log.read(TrackLog::end_of_track).flatten()
    }

    /// Writes to the log, and wakes every reader that wants objects when `write` says so.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut TrackLog) -> bool) {
        if self.log.write(write).unwrap_or(false) {
            self.wake_all();
        }
    }

    /// Appends what another log has told, and wakes every reader that wants objects.
    pub(super) fn append(&mut self, now: Instant, batch: Vec<Append>) {
        self.write(|log| {
            let mut wakes = false;
            for chunk in batch {
                wakes |= log.append(now, chunk).wakes();
            }
            wakes
        });
    }

    pub(super) fn wake_all(&self) {
        for reader in self.readers.values() {
            if reader.forward {
                // [D14-LIM-7]: one credit for each. Who takes long to come finds more then, and nobody waits for it.
                reader.wake.wake(TrackAdvanced);
            }
        }
    }

    /// Drops what is too old or too much; returns when to look again.
    pub(super) fn evict(&mut self, now: Instant) -> Option<Instant> {
        self.log
            .write(|log| {
                log.evict(now);
                log.next_eviction()
            })
            .flatten()
    }

    /// The track has ended: readers may read on and then detach, those who wait get `unavailable`.
    pub(super) fn end(&mut self, gone: &TrackGone, unavailable: &Unavailable) {
        if std::mem::replace(&mut self.gone, true) {
            return;
        }
        for (reader, reply) in std::mem::take(&mut self.waiting) {
            self.readers.remove(&reader);
            reply.send(Err(unavailable.clone()));
        }
        for reader in self.readers.values() {
            mailbox::signal(&reader.gone, gone.clone());
        }
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.end(
            &TrackGone::new(PublishDoneStatus::InternalError, "the track failed in the relay"),
            &Unavailable::new(RequestErrorReason::InternalError, "the track failed in the relay"),
        );
    }
}
