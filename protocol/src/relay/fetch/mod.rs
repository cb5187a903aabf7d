//! How a track answers FETCH: from its log, with what the log does not know asked upstream once for all who want it.
//!
//! One [`FetchDesk`] per track, beside its log. Readers hold nothing but a cursor; each asks for one [`Batch`] at a
//! time, so a slow one costs nothing. A hole in the log becomes one upstream FETCH (a *fill*), which every reader that
//! stands in it shares, and which is paced by the fastest of them: the next bytes are taken when some reader has read
//! the last ones.
//!
//! | file | what it decides |
//! |---|---|
//! | `range` | where a response ends, and what is refused at once |
//! | `reader` | one downstream FETCH: its place and what it waits for |
//! | `fill` | one upstream FETCH: its range, its answer, its pace |
//! | `serve` | who is served when, and which fills are opened, held and given up for it |
//! | `upstream` | what comes of an upstream FETCH's answer, objects and end |

mod fill;
mod range;
mod reader;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;

pub use range::{Resolved, Settled, Standing, resolve};
pub use reader::{Batch, Chunk, Then};

use super::track_log::{FillEnd, FillKey, PastCursor, PastRange, TrackLog};
use crate::moqt::message::{GroupOrder, RequestErrorReason};
use fill::Filling;
use reader::Reader;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How patient and how generous a desk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// How long an object that an open live stream may still bring is waited for before it is asked upstream.
    pub wait: Duration,
    /// How long an upstream FETCH may go without a sign of life while more of it is wanted: its answer, the beginning or
    /// the end of an object, or a kilobyte of one.
    pub upstream: Duration,
    /// Upstream FETCHes of one track at a time. [D14-FETCH-20]
    pub max_fills: usize,
    /// Downstream FETCHes of one track at a time; each costs a few hundred bytes. [D14-FETCH-20]
    pub max_readers: usize,
    /// Payload of one batch, in bytes; as much again to complete an object, and one piece more at most.
    pub batch_bytes: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(1),
            upstream: Duration::from_secs(5),
            max_fills: 4,
            max_readers: 10_000,
            batch_bytes: 64 * 1024,
        }
    }
}

/// One downstream FETCH, by a number that its owner chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderKey(pub u64);

/// Something for the owner to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The answer to the reader's last [`FetchDesk::read`].
    Answer(ReaderKey, Batch),
    /// Ask a publisher for this range, as a standalone FETCH.
    Ask {
        /// By which its answer, objects and end are named.
        fill: FillKey,
        /// What is wanted.
        range: PastRange,
        /// In which order.
        order: GroupOrder,
    },
    /// Take the next objects of this fill: answer the one who brought the last.
    Take(FillKey),
    /// Nobody wants this fill any more, or it broke the rules: cancel it. Nothing more is expected of it.
    Cancel(FillKey),
    /// A compatibility rule was used: the publisher cannot answer FETCH or is gone, and the ends of groups that were
    /// delivered whole are taken from its streams.
    AssumedFinished(PastRange),
}

/// The fetches of one track.
///
/// Give it one input, then drain [`Self::poll_output`], then ask [`Self::poll_timeout`].
#[derive(Debug)]
pub struct FetchDesk {
    limits: FetchLimits,
    /// There is nobody to ask: this process makes the objects, or the publisher is gone. MOQT-14 §9.16.3 [D14-FETCH-8]
    is_origin: bool,
    /// The last FETCH to the publishers was left without any answer, or there is none any more.
    silent: bool,
    /// The track breaks the rules for tracks.
    condemned: bool,
    readers: BTreeMap<ReaderKey, Reader>,
    fills: BTreeMap<FillKey, Filling>,
    next_fill: u64,
    /// Before this time nobody is looked at because the log advanced.
    next_look: Option<Instant>,
    /// The log has advanced since readers were looked at.
    unseen: bool,
    /// A reader has left since fills were asked for whom they are.
    left: bool,
    outputs: VecDeque<Output>,
    stats: FetchStats,
}

/// What became of fetches since the desk was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Fetches refused because too many were open.
    pub refused: u64,
    /// Upstream FETCHes made.
    pub asked: u64,
    /// Upstream FETCHes that broke the rules for tracks.
    pub malformed: u64,
    /// Upstream FETCHes given up because their readers were slow and others waited for room.
    pub displaced: u64,
}

impl FetchDesk {
    /// A desk without readers. `is_origin` when there is no upstream.
    #[must_use]
    pub const fn new(limits: FetchLimits, is_origin: bool) -> Self {
        Self {
            limits,
            is_origin,
            silent: false,
            condemned: false,
            readers: BTreeMap::new(),
            fills: BTreeMap::new(),
            next_fill: 1,
            next_look: None,
            unseen: false,
            left: false,
            outputs: VecDeque::new(),
            stats: FetchStats {
                refused: 0,
                asked: 0,
                malformed: 0,
                displaced: 0,
            },
        }
    }

    /// Takes a FETCH in. It gets its first batch when it asks.
    ///
    /// # Errors
    /// What the peer is told.
    pub fn open(
        &mut self,
        now: Instant,
        log: &TrackLog,
        standing: Standing,
        key: ReaderKey,
        range: PastRange,
        order: GroupOrder,
    ) -> Result<(), RequestErrorReason> {
        if self.readers.len() >= self.limits.max_readers {
            self.stats.refused += 1;
            return Err(RequestErrorReason::InternalError);
        }
        let resolved = resolve(log, standing, range)?;
        let cursor = PastCursor::new(resolved.range, order);
        self.readers
            .insert(key, Reader::new(cursor, order, resolved.settled, now));
        Ok(())
    }

    /// The reader wants its next batch; it is answered by [`Output::Answer`] when there is something.
    pub fn read(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey) {
        let Some(reader) = self.readers.get_mut(&key) else {
            let reason = if self.condemned {
                RequestErrorReason::MalformedTrack
            } else {
                RequestErrorReason::InternalError
            };
            let failed = Batch::failed(reason);
            self.outputs.push_back(Output::Answer(key, failed));
            return;
        };
        reader.hungry = true;
        self.serve(now, log, key);
        self.settle_up(now, log);
    }

    /// The reader wants nothing more.
    pub fn close(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey) {
        self.left |= self.readers.remove(&key).is_some();
        self.settle_up(now, log);
    }

    /// The log has something new, or lost something. A crowd that waits is looked at now and then only.
    pub fn advanced(&mut self, now: Instant, log: &mut TrackLog) {
        self.unseen = true;
        if self.next_look.is_none_or(|at| now >= at) {
            self.serve_all(now, log);
        }
    }

    /// A time given by [`Self::poll_timeout`] has come.
    pub fn timeout(&mut self, now: Instant, log: &mut TrackLog) {
        for key in self.overdue(now) {
            // MOQT-14 §9.18: a relay that cannot fetch missing objects in time says so.
            self.outputs.push_back(Output::Cancel(key));
            self.unanswered(now, log, key);
        }
        if self.unseen && self.next_look.is_none_or(|at| now >= at) {
            self.serve_all(now, log);
        } else {
            let wait = self.limits.wait;
            self.serve_those(now, log, |reader| {
                reader.deadline(wait).is_some_and(|deadline| now >= deadline)
            });
            self.settle_up(now, log);
        }
    }

    /// The fills whose publishers have shown no sign of life in time. [`Self::timeout`] gives up those that are not
    /// [renewed](Self::renew).
    ///
    /// Who asks late was held up, and has not read what came meanwhile: it counts against no publisher, which gets
    /// as much more time, once.
    #[must_use]
    pub fn overdue(&mut self, now: Instant) -> Vec<FillKey> {
        let mut overdue = Vec::new();
        for (key, fill) in &mut self.fills {
            if fill.look(now) {
                overdue.push(*key);
            }
        }
        overdue
    }

    /// Nothing at all has come of this fill.
    #[must_use]
    pub fn is_unheard(&self, fill: FillKey) -> bool {
        self.fills.get(&fill).is_some_and(Filling::is_unheard)
    }

    /// There is somebody else to ask than before.
    pub const fn publishers_changed(&mut self) {
        self.silent = false;
    }

    /// The upstream is gone for good: what the log has is still given, what it does not know fails.
    ///
    /// A group that was delivered whole is taken to end where it does, as for a publisher that does not answer:
    /// whoever joined in time gets what came before, although the track ended in the meantime.
    pub fn detach(&mut self, now: Instant, log: &mut TrackLog) {
        self.silent |= !self.is_origin;
        self.is_origin = true;
        for key in std::mem::take(&mut self.fills).into_keys() {
            log.fill_closed(key, FillEnd::Broken);
            self.outputs.push_back(Output::Cancel(key));
        }
        self.serve_all(now, log);
    }

    /// The next output; none when everything is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fills = self.fills.values().filter_map(Filling::deadline);
        let hungry = || self.readers.values().filter(|reader| reader.hungry);
        let looks = self.next_look.filter(|_| self.unseen);
        fills
            .chain(hungry().filter_map(|reader| reader.deadline(self.limits.wait)))
            .chain(looks)
            .min()
    }

    /// Nobody reads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Something may still come of this fill: its answer, objects or its end.
    #[must_use]
    pub fn is_open(&self, fill: FillKey) -> bool {
        self.fills.contains_key(&fill)
    }

    /// Counters since it was made.
    #[must_use]
    pub const fn stats(&self) -> FetchStats {
        self.stats
    }
}
