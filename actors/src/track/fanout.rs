//! The readers of a track on one arbiter, shared by the home copy and its replicas.

use super::audience::Audience;
use super::budget::Budget;
use super::handle::{LogId, LogOwner, Share};
use super::messages::{Attach, Attached, ReaderId, TrackAdvanced, TrackGone, TrackMeta, Unavailable};
use super::wants::{Tally, Wants};
use crate::reply::{Reply, ReplyTo};
use crate::supervise::mailbox::{self, Wake};
use actix::Recipient;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::relay::track_log::{Append, TrackLog};
use std::collections::{BTreeMap, BTreeSet};
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
    wants: Wants,
    own: bool,
}

/// A log, those who read it, and those who wait for it to go live.
///
/// Dropped by a panic, it tells every reader that the track failed.
#[derive(Debug)]
pub(super) struct Fanout {
    log: LogOwner,
    readers: BTreeMap<ReaderId, Reader>,
    /// Those of them that stand for links.
    links: BTreeSet<ReaderId>,
    /// Links that were told of an end, and read what is left.
    parting: BTreeSet<ReaderId>,
    /// What those of this relay want, and links that are not leaving.
    own_want: Tally,
    links_want: Tally,
    waiting: Vec<(ReaderId, ReplyTo<Result<Attached, Unavailable>>)>,
    /// What the publisher said, and when.
    live: Option<(TrackMeta, Instant)>,
    /// Who wants objects waits for a word of the publisher, though the track is live.
    awaited: bool,
    gone: bool,
}

impl Fanout {
    pub(super) fn new(log: TrackLog, budget: &Arc<Budget>, share: Share) -> Self {
        Self {
            log: LogOwner::new(log, budget, share),
            readers: BTreeMap::new(),
            links: BTreeSet::new(),
            parting: BTreeSet::new(),
            own_want: Tally::default(),
            links_want: Tally::default(),
            waiting: Vec::new(),
            live: None,
            awaited: false,
            gone: false,
        }
    }

    /// Takes a reader in; answers at once when the track is live.
    pub(super) fn attach(&mut self, attach: Attach) -> Reply<Result<Attached, Unavailable>> {
        let reader = attach.reader;
        match self.take(attach) {
            Some(answer) => Reply::Now(answer),
            None => {
                let (reply, to) = Reply::later();
                self.waiting.push((reader, to));
                reply
            }
        }
    }

    /// The same for one that was promised an answer before.
    pub(super) fn attach_promised(&mut self, attach: Attach, to: ReplyTo<Result<Attached, Unavailable>>) {
        let reader = attach.reader;
        match self.take(attach) {
            Some(answer) => to.send(answer),
            None => self.waiting.push((reader, to)),
        }
    }

    /// The same for one whose place was fixed earlier, if it was.
    pub(super) fn attach_at(
        &mut self,
        attach: Attach,
        place: Option<Attached>,
        to: ReplyTo<Result<Attached, Unavailable>>,
    ) {
        let Some(place) = place else {
            return self.attach_promised(attach, to);
        };
        let reader = attach.reader;
        match self.take(attach) {
            Some(answer) => to.send(answer.map(|_| place)),
            None => self.waiting.push((reader, to)),
        }
    }

    /// Takes a reader in; the answer, when it is known.
    fn take(&mut self, attach: Attach) -> Option<Result<Attached, Unavailable>> {
        if self.gone {
            return Some(Err(Unavailable::for_now("the track has ended")));
        }
        if self.readers.len() >= MAX_READERS {
            return Some(Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the track has too many subscribers here",
            )));
        }
        let Attach {
            reader,
            wake,
            gone,
            wants,
            own,
        } = attach;
        self.drop_reader(reader);
        let entry = Reader {
            wake,
            gone,
            wants,
            own,
        };
        self.readers.insert(reader, entry);
        if own {
            self.own_want.add(wants);
        } else {
            self.links.insert(reader);
            self.links_want.add(wants);
        }
        let waits = wants.objects() && self.awaited;
        self.attached().filter(|_| !waits).map(Ok)
    }

    fn drop_reader(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.remove(&id) else {
            return;
        };
        if reader.own {
            self.own_want.remove(reader.wants);
        } else if self.links.remove(&id) {
            self.links_want.remove(reader.wants);
        } else {
            self.parting.remove(&id);
        }
    }

    pub(super) fn detach(&mut self, reader: ReaderId) {
        self.drop_reader(reader);
        self.waiting.retain(|(id, _)| *id != reader);
    }

    pub(super) fn set_wants(&mut self, id: ReaderId, wants: Wants) {
        if let Some(reader) = self.readers.get_mut(&id) {
            let before = std::mem::replace(&mut reader.wants, wants);
            let tally = match reader.own {
                true => Some(&mut self.own_want),
                false => self.links.contains(&id).then_some(&mut self.links_want),
            };
            if let Some(tally) = tally {
                tally.remove(before);
                tally.add(wants);
            }
        }
        if !wants.objects() {
            // It waits for no word that objects come.
            self.answer_waiting();
        }
    }

    /// Who wants objects has to wait for a word of the publisher, or does not have to any more.
    pub(super) fn await_word(&mut self, awaited: bool) {
        if std::mem::replace(&mut self.awaited, awaited) && !awaited {
            self.answer_waiting();
        }
    }

    pub(super) const fn is_word_awaited(&self) -> bool {
        self.awaited
    }

    /// Once the track is live, whoever waits for nothing else gets its place.
    fn answer_waiting(&mut self) {
        if !self.is_live() || self.waiting.is_empty() {
            return;
        }
        let wants = |reader: &ReaderId| {
            let reader = self.readers.get(reader);
            reader.is_some_and(|reader| reader.wants.objects())
        };
        let (waiting, due): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(reader, _)| self.awaited && wants(reader));
        self.waiting = waiting;
        for (_, reply) in due {
            match self.attached() {
                Some(attached) => reply.send(Ok(attached)),
                None => reply.send(Err(Unavailable::new(
                    RequestErrorReason::InternalError,
                    "the track failed",
                ))),
            }
        }
    }

    pub(super) const fn log_id(&self) -> LogId {
        self.log.id()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Who reads, but for links that are leaving.
    pub(super) fn audience(&self) -> Audience {
        Audience {
            own: self.own_want.most(),
            links: self.links_want.most(),
        }
    }

    /// For links the track has ended: they may read on and then detach, as all do at its [end](Self::end).
    pub(super) fn end_links(&mut self, gone: &TrackGone) {
        for id in std::mem::take(&mut self.links) {
            if let Some(reader) = self.readers.get(&id) {
                mailbox::signal(&reader.gone, gone.clone());
                self.links_want.remove(reader.wants);
                self.parting.insert(id);
            }
        }
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
        self.answer_waiting();
    }

    pub(super) fn attached(&self) -> Option<Attached> {
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
            self.seed_largest(largest);
        }
    }

    /// The track has a larger place than the log.
    pub(super) fn seed_largest(&mut self, largest: Location) {
        self.log.write(|log| log.seed_largest(largest));
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
            if reader.wants.objects() {
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
            self.drop_reader(reader);
            reply.send(Err(unavailable.clone()));
        }
        for (id, reader) in &self.readers {
            if !self.parting.contains(id) {
                mailbox::signal(&reader.gone, gone.clone());
            }
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
