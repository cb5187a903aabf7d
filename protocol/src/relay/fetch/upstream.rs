//! What comes of an upstream FETCH: its answer, its objects, its end.

use super::fill::Filling;
use super::range::Settled;
use super::reader::Reader;
use super::{FetchDesk, Output};
use crate::moqt::location::Location;
use crate::moqt::message::{FetchOk, RequestErrorReason};
use crate::relay::track_log::{Fill, FillEnd, FillError, FillKey, PastRange, StreamEnd, TrackLog};
use std::time::Instant;

impl FetchDesk {
    /// FETCH_OK came. MOQT-14 §9.17 [D14-FETCH-10]
    pub fn answered(&mut self, now: Instant, log: &mut TrackLog, key: FillKey, ok: FetchOk) {
        let Some(fill) = self.fills.get_mut(&key) else {
            return;
        };
        fill.alive(now);
        self.silent = false;
        let (range, finished) = (fill.range, fill.finished);
        let settled = Settled {
            end: ok.end,
            end_of_track: ok.end_of_track,
        };
        fill.ok = Some(ok);
        self.settle(range, settled);
        if finished {
            self.complete(now, log, key, settled.end);
        } else {
            self.serve_those(now, log, |reader| reader.moved);
            self.settle_up(now, log);
        }
    }

    /// The publisher refused, perhaps after it had sent objects, which stay. MOQT-14 §5.1 [D14-FETCH-18]
    pub fn refused(&mut self, now: Instant, log: &mut TrackLog, key: FillKey, reason: RequestErrorReason) {
        let Some(Filling { range, .. }) = self.fills.get(&key) else {
            return;
        };
        let range = *range;
        self.silent = false;
        self.forget(log, key, FillEnd::Broken);
        if reason == RequestErrorReason::NoObjects {
            self.nothing_in(log, range);
        } else if reason == RequestErrorReason::InvalidRange && self.ends_before(log, range) {
            // MOQT-14 §9.16.3 [D14-FETCH-7]: the hole begins behind the Largest Object, and the response ends before it.
        } else if reason == RequestErrorReason::InvalidRange
            && log.last_published().is_some_and(|last| last >= range.start)
        {
            // It was true when it was said; more is published since, so it is asked again.
            self.missed(now, range);
        } else if log.assume_finished(range) {
            self.outputs.push_back(Output::AssumedFinished(range));
        } else {
            self.fail_in(range, reason);
        }
        self.serve_in(now, log, range);
    }

    /// Nothing exists in `range`. MOQT-14 §9.18
    ///
    /// What is not published yet may come all the same, so it is not taken to be absent: a response that reaches
    /// further ends with what is published.
    fn nothing_in(&mut self, log: &mut TrackLog, range: PastRange) {
        let (published, to_come) = log.split_at_published(range);
        if let Some(published) = published {
            log.absent(published);
        }
        if let Some(to_come) = to_come {
            self.ends_before(log, to_come);
            // Those whose range begins there have nothing that could end before it.
            let open = |reader: &Reader| !reader.is_settled() && is_waiting_in(reader, to_come);
            let waiting = self.readers.iter().filter(|(_, reader)| open(reader));
            let keys: Vec<_> = waiting.map(|(key, _)| *key).collect();
            for key in keys {
                self.fail(key, RequestErrorReason::NoObjects);
            }
        }
    }

    /// No sign of life came in time.
    ///
    /// MOQT-14 §9.16.3 DEVIATION: publishers that do not know FETCH may not refuse it either. Who says nothing at all is
    /// taken for one of them, and not waited for again at the ends of groups until it answers a FETCH: each costs
    /// those who join a deadline, and one of the request ids that such publishers seldom grant anew.
    pub(super) fn unanswered(&mut self, now: Instant, log: &mut TrackLog, key: FillKey) {
        let Some(fill) = self.fills.get(&key) else {
            return;
        };
        let range = fill.range;
        if !fill.is_unheard() || !log.assume_finished(range) {
            self.abandon(now, log, key, RequestErrorReason::Timeout);
            return;
        }
        self.silent = true;
        self.forget(log, key, FillEnd::Broken);
        self.outputs.push_back(Output::AssumedFinished(range));
        self.serve_in(now, log, range);
    }

    /// Another publisher is asked for a fill from its start, under the number that this gives; what comes under the
    /// old one is not taken any more. None when the fill is over.
    pub fn renew(&mut self, now: Instant, log: &mut TrackLog, key: FillKey) -> Option<FillKey> {
        let Filling { range, order, .. } = *self.fills.get(&key)?;
        self.forget(log, key, FillEnd::Broken);
        Some(self.open_fill(now, log, range, order))
    }

    /// Objects came. [`Output::Take`] says when the next may come.
    ///
    /// An unknown fill has been given up already: what comes of it is dropped.
    ///
    /// # Errors
    /// The rule that the publisher breaks. The fill stays as it is: the owner [renews](Self::renew) it with another
    /// publisher, [breaks it off](Self::broken), or [condemns](Self::condemn) the track.
    pub fn filled(
        &mut self,
        now: Instant,
        log: &mut TrackLog,
        key: FillKey,
        chunks: Vec<Fill>,
    ) -> Result<(), FillError> {
        let Some(fill) = self.fills.get_mut(&key) else {
            return Ok(());
        };
        for chunk in chunks {
            fill.brings_next(now, &chunk);
            // MOQT-14 §2.5 [D14-MAL-2]
            if let Err(why) = log.fill(now, key, chunk) {
                self.stats.malformed += 1;
                return Err(why);
            }
        }
        fill.hold(now);
        let range = fill.range;
        self.serve_in(now, log, range);
        Ok(())
    }

    /// What a publisher brings cannot be used, and nobody else is asked: those who wait for it are told.
    pub fn broken(&mut self, now: Instant, log: &mut TrackLog, key: FillKey) {
        self.outputs.push_back(Output::Cancel(key));
        self.abandon(now, log, key, RequestErrorReason::MalformedTrack);
    }

    /// The track breaks the rules for tracks: nobody is given any more of it.
    ///
    /// MOQT-14 §2.5 [D14-MAL-1]: the publishers are told FETCH_CANCEL, and every fetch fails.
    pub fn condemn(&mut self, now: Instant, log: &mut TrackLog) {
        self.condemned = true;
        let readers: Vec<_> = self.readers.keys().copied().collect();
        for key in readers {
            self.fail(key, RequestErrorReason::MalformedTrack);
        }
        self.detach(now, log);
    }

    /// The stream of a fill has ended, or cannot come any more.
    pub fn ended(&mut self, now: Instant, log: &mut TrackLog, key: FillKey, end: StreamEnd) {
        let Some(fill) = self.fills.get_mut(&key) else {
            return;
        };
        match (end, &fill.ok) {
            (StreamEnd::Fin, Some(ok)) => {
                let end = ok.end;
                self.complete(now, log, key, end);
            }
            // MOQT-14 §9.16.3 [D14-FETCH-1]: FETCH_OK may come last. Until then the end is not known.
            (StreamEnd::Fin, None) => {
                fill.finished = true;
                fill.release(now);
                fill.alive(now);
            }
            (StreamEnd::Reset(_), _) => {
                let range = fill.range;
                self.forget(log, key, FillEnd::Broken);
                self.missed(now, range);
                self.serve_in(now, log, range);
            }
        }
    }

    fn complete(&mut self, now: Instant, log: &mut TrackLog, key: FillKey, end: Location) {
        let Some(fill) = self.fills.get(&key) else {
            return;
        };
        let range = fill.range;
        self.forget(log, key, FillEnd::Complete { end });
        // Whoever finds its place still unknown was not helped, and does not ask for ever.
        self.missed(now, range);
        self.serve_in(now, log, range);
    }

    /// Gives a fill up and fails whoever waits for it.
    pub(super) fn abandon(
        &mut self,
        now: Instant,
        log: &mut TrackLog,
        key: FillKey,
        reason: RequestErrorReason,
    ) {
        if let Some(fill) = self.fills.get(&key) {
            let range = fill.range;
            self.forget(log, key, FillEnd::Broken);
            self.fail_in(range, reason);
            self.serve_in(now, log, range);
        }
    }

    fn forget(&mut self, log: &mut TrackLog, key: FillKey, end: FillEnd) {
        if self.fills.remove(&key).is_some() {
            log.fill_closed(key, end);
        }
    }

    /// Counts a fill that did not help those who wait in its range.
    fn missed(&mut self, now: Instant, range: PastRange) {
        for reader in self.waiting_in(range) {
            reader.missed(now);
        }
    }

    fn fail_in(&mut self, range: PastRange, reason: RequestErrorReason) {
        let waiting = self
            .readers
            .iter()
            .filter(|(_, reader)| is_waiting_in(reader, range));
        let keys: Vec<_> = waiting.map(|(key, _)| *key).collect();
        for key in keys {
            self.fail(key, passed_on(reason));
        }
    }

    fn waiting_in(&mut self, range: PastRange) -> impl Iterator<Item = &mut Reader> {
        self.readers
            .values_mut()
            .filter(move |reader| is_waiting_in(reader, range))
    }

    /// The upstream knows where the response ends, for those who asked as far as the fill did.
    fn settle(&mut self, range: PastRange, settled: Settled) {
        let open = |reader: &&mut Reader| !reader.is_settled() && reader.cursor.range().end == range.end;
        for reader in self.readers.values_mut().filter(open) {
            reader.settles(settled);
        }
    }

    /// The upstream has nothing from the start of `range` on: responses whose end was not known end there. False when
    /// there is none.
    fn ends_before(&mut self, log: &TrackLog, range: PastRange) -> bool {
        // MOQT-14 §9.17 [D14-FETCH-9]: right behind the last object.
        let last = log.last_published().filter(|last| *last < range.start);
        let behind = last.map(|last| Location::new(last.group, last.object.saturating_add(1)));
        let Some(end) = behind.or_else(|| end_before(range.start)) else {
            return false;
        };
        let settled = Settled {
            end,
            end_of_track: false,
        };
        let mut any = false;
        let open = |reader: &&mut Reader| {
            !reader.is_settled()
                && reader.cursor.range().end == range.end
                && reader.cursor.range().start < range.start
        };
        for reader in self.readers.values_mut().filter(open) {
            reader.settles(settled);
            any = true;
        }
        any
    }
}

/// The end, as it stands on the wire, of a range that stops right before `place`. MOQT-14 §9.16.1 [D14-FETCH-3]
fn end_before(place: Location) -> Option<Location> {
    if place.object > 0 {
        return Some(place);
    }
    place.group.checked_sub(1).map(|group| Location::new(group, 0))
}

fn is_waiting_in(reader: &Reader, range: PastRange) -> bool {
    reader.hungry && range.contains(reader.place())
}

/// What a publisher's refusal means to those whom this relay serves.
fn passed_on(reason: RequestErrorReason) -> RequestErrorReason {
    let of_the_relay = [
        RequestErrorReason::Unauthorized,
        RequestErrorReason::MalformedAuthToken,
        RequestErrorReason::ExpiredAuthToken,
        RequestErrorReason::InvalidJoiningRequestId,
    ];
    if of_the_relay.contains(&reason) {
        // These speak of the relay or its token, not of the track.
        RequestErrorReason::InternalError
    } else if reason == RequestErrorReason::NotSupported {
        // MOQT-14 §9.18: nobody can say what stands in the hole.
        RequestErrorReason::UnknownStatusInRange
    } else {
        reason
    }
}
