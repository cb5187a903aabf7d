//! Who is served when, and which fills are opened, held and given up for it.

use super::fill::Filling;
use super::reader::{Reader, Stop};
use super::{Batch, FetchDesk, Output, ReaderKey, Then};
use crate::moqt::message::{GroupOrder, RequestErrorReason};
use crate::relay::track_log::{FillEnd, FillKey, PastRange, TrackLog};
use std::time::{Duration, Instant};

/// Times that a reader asks for the same place again before it is told that its status is unknown.
pub(super) const ATTEMPTS: u8 = 2;
/// Waiting readers that are looked at whenever the log advances.
const LOOK_AT_ONCE: u32 = 32;
/// With more of them, how long the next look waits for each: ten to thirty times what looking at one costs, so that
/// a crowd that waits does not slow down what is live.
const LOOK_EVERY: Duration = Duration::from_micros(10);

impl FetchDesk {
    pub(super) fn serve_all(&mut self, now: Instant, log: &mut TrackLog) {
        self.unseen = false;
        let seen = self.serve_those(now, log, |_| true);
        self.next_look = (seen > LOOK_AT_ONCE)
            .then(|| now.checked_add(LOOK_EVERY.saturating_mul(seen)))
            .flatten();
        self.settle_up(now, log);
    }

    /// Serves those who stand in `range`, and those who stood there until their end was known.
    pub(super) fn serve_in(&mut self, now: Instant, log: &mut TrackLog, range: PastRange) {
        self.serve_those(now, log, |reader| reader.moved || range.contains(reader.place()));
        self.settle_up(now, log);
    }

    /// Serves the hungry readers that `which` chooses, and says how many they were.
    pub(super) fn serve_those(
        &mut self,
        now: Instant,
        log: &mut TrackLog,
        which: impl Fn(&Reader) -> bool,
    ) -> u32 {
        let chosen = self.readers.iter();
        let chosen = chosen.filter(|(_, reader)| reader.hungry && which(reader));
        let keys: Vec<_> = chosen.map(|(key, _)| *key).collect();
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        for key in keys {
            self.serve(now, log, key);
        }
        count
    }

    /// What follows from readers having moved or left: for the fills, and for those who wait for room for another.
    pub(super) fn settle_up(&mut self, now: Instant, log: &mut TrackLog) {
        loop {
            if std::mem::take(&mut self.left) {
                self.drop_unwanted(log);
            }
            // Where no more fills may be open, one that nobody waits for makes room: a slow reader holds up nobody but
            // itself. [D14-FETCH-20]
            let Some(key) = self.blocked() else {
                break;
            };
            self.release(now);
            if self.fills.len() >= self.limits.max_fills {
                let Some(idle) = self.idle_fill() else {
                    break;
                };
                self.stats.displaced += 1;
                self.passed_by(now, idle);
                self.give_up(log, idle);
            }
            self.serve(now, log, key);
        }
        self.release(now);
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
        let idle =
            |fill: &Filling| fill.is_held() && !self.readers.values().any(|reader| needs(fill, reader));
        let mut fills = self.fills.iter();
        let (key, _) = fills.find(|(_, fill)| idle(fill))?;
        Some(*key)
    }

    /// A fill is given up that has gone past readers who wait in its range: what it brought was evicted before they read
    /// it. It did not help them, and they do not ask for ever.
    fn passed_by(&mut self, now: Instant, key: FillKey) {
        if let Some(fill) = self.fills.get(&key) {
            let range = fill.range;
            let readers = self.readers.values_mut();
            for reader in readers.filter(|reader| reader.hungry && range.contains(reader.place())) {
                reader.missed(now);
            }
        }
    }

    fn give_up(&mut self, log: &mut TrackLog, key: FillKey) {
        if self.fills.remove(&key).is_some() {
            log.fill_closed(key, FillEnd::Broken);
            self.outputs.push_back(Output::Cancel(key));
        }
    }

    /// Gives a hungry reader what there is, or sees to it that something comes.
    pub(super) fn serve(&mut self, now: Instant, log: &mut TrackLog, key: ReaderKey) {
        let Some(reader) = self.readers.get_mut(&key).filter(|reader| reader.hungry) else {
            return;
        };
        (reader.blocked, reader.moved) = (false, false);
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
            self.left = true;
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
        let (place, order) = (reader.place(), reader.order);
        reader.stuck_at(place, now);
        reader.live_wait = false;
        let given_up = reader.attempts() >= ATTEMPTS;
        if self.silent && !given_up {
            // The other groups of the range too, so that this is not come back to for each of them.
            log.assume_finished(reader.cursor.range());
            if log.assume_finished(hole) {
                self.outputs.push_back(Output::AssumedFinished(hole));
                self.serve(now, log, key);
                return;
            }
        }
        if self.is_origin || given_up {
            // MOQT-14 §9.16.3 [D14-FETCH-8]
            self.fail(key, RequestErrorReason::UnknownStatusInRange);
            return;
        }
        if self.fills.values().any(|fill| fill.covers(place)) {
            return;
        }
        if self.fills.len() >= self.limits.max_fills {
            reader.blocked = true;
            return;
        }
        let fill = self.open_fill(now, log, hole, order);
        self.outputs.push_back(Output::Ask {
            fill,
            range: hole,
            order,
        });
    }

    pub(super) fn open_fill(
        &mut self,
        now: Instant,
        log: &mut TrackLog,
        range: PastRange,
        order: GroupOrder,
    ) -> FillKey {
        let fill = FillKey(self.next_fill);
        self.next_fill += 1;
        self.stats.asked += 1;
        log.fill_opened(fill, range, order);
        let patience = self.limits.upstream;
        self.fills.insert(fill, Filling::new(range, order, now, patience));
        fill
    }

    pub(super) fn fail(&mut self, key: ReaderKey, reason: RequestErrorReason) {
        if self.readers.remove(&key).is_some() {
            self.outputs.push_back(Output::Answer(key, Batch::failed(reason)));
            self.left = true;
        }
    }

    /// Lets fills go on that a hungry reader waits for.
    fn release(&mut self, now: Instant) {
        for (key, fill) in self.fills.iter_mut().filter(|(_, fill)| fill.is_held()) {
            let wanted = |reader: &Reader| reader.hungry && fill.brings(reader.place());
            if self.readers.values().any(wanted) {
                fill.release(now);
                self.outputs.push_back(Output::Take(*key));
            }
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
