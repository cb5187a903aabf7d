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
//! | `upstream` | what comes of an upstream FETCH's answer, objects and end |

mod fill;
mod range;
mod reader;
#[cfg(test)]
mod tests;
mod upstream;

pub use range::{Resolved, Settled, Standing, resolve};
pub use reader::{Batch, Chunk, Then};

use super::track_log::{FillEnd, FillKey, PastCursor, PastRange, TrackLog};
use crate::moqt::message::{GroupOrder, RequestErrorReason};
use fill::Filling;
use reader::{Reader, Stop};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How patient and how generous a desk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// How long an object that an open live stream may still bring is waited for before it is asked upstream.
    pub wait: Duration,
    /// How long an upstream FETCH may go without a sign of life.
    pub upstream: Duration,
    /// Upstream FETCHes of one track at a time. [D14-FETCH-20]
    pub max_fills: usize,
    /// Downstream FETCHes of one track at a time; each costs a few hundred bytes. [D14-FETCH-20]
    pub max_readers: usize,
    /// Payload of one batch, in bytes; one piece more at most.
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

/// Times that a reader asks for the same place again before it is told that its status is unknown.
const ATTEMPTS: u8 = 2;

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
    /// A compatibility rule was used: this publisher cannot answer FETCH, and the ends of groups that were delivered
    /// whole are taken from its streams.
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
    /// The last FETCH to the publisher was left without any answer.
    silent: bool,
    readers: BTreeMap<ReaderKey, Reader>,
    fills: BTreeMap<FillKey, Filling>,
    next_fill: u64,
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
}

impl FetchDesk {
    /// A desk without readers. `is_origin` when there is no upstream.
    #[must_use]
    pub const fn new(limits: FetchLimits, is_origin: bool) -> Self {
        Self {
            limits,
            is_origin,
            silent: false,
            readers: BTreeMap::new(),
            fills: BTreeMap::new(),
            next_fill: 1,
            outputs: VecDeque::new(),
            stats: FetchStats {
                refused: 0,
                asked: 0,
                malformed: 0,
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
            let failed = Batch::failed(RequestErrorReason::InternalError);
            self.outputs.push_back(Output::Answer(key, failed));
            return;
        };
        reader.hungry = true;
        self.serve(now, log, key);
        self.pace(now, log);
    }

    /// The reader wants nothing more.
    pub fn close(&mut self, log: &mut TrackLog, key: ReaderKey) {
        if self.readers.remove(&key).is_some() {
            self.drop_unwanted(log);
        }
    }

    /// The log has something new, or lost something.
    pub fn advanced(&mut self, now: Instant, log: &mut TrackLog) {
        self.serve_all(now, log);
    }

    /// A time given by [`Self::poll_timeout`] has come.
    pub fn timeout(&mut self, now: Instant, log: &mut TrackLog) {
        let overdue: Vec<_> = self
            .fills
            .iter()
            .filter(|(_, fill)| fill.is_overdue(now))
            .map(|(key, _)| *key)
            .collect();
        for key in overdue {
            // MOQT-14 §9.18: a relay that cannot fetch missing objects in time says so.
            self.outputs.push_back(Output::Cancel(key));
            self.unanswered(now, log, key);
        }
        self.serve_all(now, log);
    }

    /// The upstream is gone for good: what the log has is still given, what it does not know fails.
    pub fn detach(&mut self, now: Instant, log: &mut TrackLog) {
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
        let readers = self.readers.values().filter(|reader| reader.hungry);
        fills
            .chain(readers.filter_map(|reader| reader.deadline(self.limits.wait)))
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

    fn serve_all(&mut self, now: Instant, log: &mut TrackLog) {
        let hungry: Vec<_> = self
            .readers
            .iter()
            .filter(|(_, reader)| reader.hungry)
            .map(|(key, _)| *key)
            .collect();
        for key in hungry {
            self.serve(now, log, key);
        }
        self.pace(now, log);
    }

    /// Gives a hungry reader what there is, or sees to it that something comes.
    fn serve(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey) {
        let Some(reader) = self.readers.get_mut(&key).filter(|reader| reader.hungry) else {
            return;
        };
        reader.blocked = false;
        let (chunks, stop) = reader.take(now, log, self.limits.batch_bytes);
        let then = match stop {
            Stop::End => Then::Done,
            Stop::Broken => Then::Failed(RequestErrorReason::InternalError),
            _ if !chunks.is_empty() => Then::More,
            Stop::Full => return,
            Stop::Arriving => {
                self.wait(now, log, key);
                return;
            }
            Stop::Unknown(hole) => {
                self.ask(now, log, key, hole);
                return;
            }
        };
        reader.hungry = false;
        let batch = Batch {
            chunks,
            settled: reader.settle(&then, log),
            then,
        };
        if batch.then != Then::More {
            self.readers.remove(&key);
            self.drop_unwanted(log);
        }
        self.outputs.push_back(Output::Answer(key, batch));
    }

    /// What the reader wants next may come by itself; not for ever.
    fn wait(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey) {
        let Some(reader) = self.readers.get_mut(&key) else {
            return;
        };
        let place = reader.place();
        reader.stuck_at(place, now);
        // The bytes of an object that was begun come when its stream brings them, and a fill has a deadline of its own.
        let filled = self.fills.values().any(|fill| fill.covers(place));
        reader.live_wait = !filled && !reader.cursor.inside_object();
        if reader.live_wait
            && reader
                .deadline(self.limits.wait)
                .is_some_and(|deadline| now >= deadline)
        {
            let hole = log.overdue(now, &reader.cursor);
            self.ask(now, log, key, hole);
        }
    }

    /// Asks upstream for what nobody here knows, unless that is on its way.
    ///
    /// MOQT-14 §9.16.3 [D14-FETCH-6]: delivery pauses here until the status of the hole is known.
    fn ask(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey, hole: PastRange) {
        let Some(reader) = self.readers.get_mut(&key) else {
            return;
        };
        let place = reader.place();
        reader.stuck_at(place, now);
        reader.live_wait = false;
        if self.is_origin || reader.attempts() >= ATTEMPTS {
            // MOQT-14 §9.16.3 [D14-FETCH-8]
            self.fail(log, key, RequestErrorReason::UnknownStatusInRange);
            return;
        }
        if self.silent {
            // The other groups of the range too, so that this is not come back to for each of them.
            log.assume_finished(reader.cursor.range());
            if log.assume_finished(hole) {
                self.outputs.push_back(Output::AssumedFinished(hole));
                self.serve(now, log, key);
                return;
            }
        }
        if self.fills.values().any(|fill| fill.covers(place)) {
            return;
        }
        if self.fills.len() >= self.limits.max_fills {
            reader.blocked = true;
            return;
        }
        let fill = FillKey(self.next_fill);
        self.next_fill += 1;
        self.stats.asked += 1;
        let order = reader.order;
        log.fill_opened(fill, hole, order);
        let deadline = now.checked_add(self.limits.upstream);
        self.fills.insert(fill, Filling::new(hole, order, deadline));
        self.outputs.push_back(Output::Ask {
            fill,
            range: hole,
            order,
        });
    }

    fn fail(&mut self, log: &mut TrackLog, key: ReaderKey, reason: RequestErrorReason) {
        if self.readers.remove(&key).is_some() {
            self.outputs.push_back(Output::Answer(key, Batch::failed(reason)));
            self.drop_unwanted(log);
        }
    }

    /// Lets fills go on that a hungry reader waits for. Where no more may be open, one that nobody waits for makes
    /// room: a slow reader holds up nobody but itself.
    fn pace(&mut self, now: Instant, log: &mut TrackLog) {
        self.release(now);
        while let Some(reader) = self.blocked()
            && self.fills.len() >= self.limits.max_fills
            && let Some(idle) = self.idle_fill()
        {
            self.give_up(log, idle);
            self.serve(now, log, reader);
        }
    }

    fn release(&mut self, now: Instant) {
        for (key, fill) in self.fills.iter_mut().filter(|(_, fill)| fill.held) {
            let wanted = |reader: &Reader| reader.hungry && fill.brings(reader.place());
            if self.readers.values().any(wanted) {
                fill.held = false;
                fill.alive(now.checked_add(self.limits.upstream));
                self.outputs.push_back(Output::Take(*key));
            }
        }
    }

    fn blocked(&self) -> Option<ReaderKey> {
        let mut readers = self.readers.iter();
        let (key, _) = readers.find(|(_, reader)| reader.hungry && reader.blocked)?;
        Some(*key)
    }

    /// A fill that is held, which nobody waits for just now: its readers are slow, or it has gone past all of them and
    /// what it brought is evicted. It can be made again; one that somebody is in the middle of an object of cannot.
    fn idle_fill(&self) -> Option<FillKey> {
        let needs = |fill: &Filling, reader: &Reader| {
            let place = reader.place();
            let inside = reader.cursor.inside_object() && fill.last == Some(place);
            inside || (reader.hungry && fill.brings(place))
        };
        let idle = |fill: &Filling| fill.held && !self.readers.values().any(|reader| needs(fill, reader));
        let mut fills = self.fills.iter();
        let (key, _) = fills.find(|(_, fill)| idle(fill))?;
        Some(*key)
    }

    fn give_up(&mut self, log: &mut TrackLog, key: FillKey) {
        if self.fills.remove(&key).is_some() {
            log.fill_closed(key, FillEnd::Broken);
            self.outputs.push_back(Output::Cancel(key));
        }
    }

    /// Cancels the fills that no reader has before it.
    fn drop_unwanted(&mut self, log: &mut TrackLog) {
        let unwanted: Vec<_> = self
            .fills
            .iter()
            .filter(|(_, fill)| {
                !self
                    .readers
                    .values()
                    .any(|reader| fill.range.contains(reader.place()))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in unwanted {
            self.give_up(log, key);
        }
    }
}
