//! Several publishers of one track, made into one log.
//!
//! Every publisher of a track is subscribed to at once. [`Merge`] stands in front of the home's [`TrackLog`]: it knows
//! which stream is whose, and puts in what is new, under stream keys of the log's own. Replicas are fed with what it
//! tells, so that nothing but the home ever has to know how many publishers there are.

mod authors;
#[cfg(test)]
mod tests;

use super::track_log::{Append, Appended, Malformed, StreamEnd, StreamKey, TrackLog};
use crate::moqt::error::ResetCode;
use crate::moqt::location::GroupId;
use authors::Authors;
use std::collections::HashMap;
use std::time::Instant;

/// A publisher of the track, by a number that its owner chose; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherKey(pub u64);

/// How much may wait here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeLimits {
    /// Most bytes of one stream that wait for another stream to come as far.
    pub max_stream_bytes: usize,
    /// Most bytes that wait, of all streams of the track together.
    pub max_bytes: usize,
}

impl Default for MergeLimits {
    /// 2 MiB a stream, 8 MiB in all: a quarter of what a log keeps by default.
    fn default() -> Self {
        Self {
            max_stream_bytes: 2 << 20,
            max_bytes: 8 << 20,
        }
    }
}

/// What happened since the stage was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Bytes that wait now.
    pub waiting_bytes: usize,
    /// Publishers that were found to disagree with others about the track. MOQT-14 §8.1 [D14-CACHE-2].
    pub disagreements: u64,
}

/// The stage in front of a log: see the module. One per home track.
#[derive(Debug, Default)]
pub struct Merge {
    streams: HashMap<StreamKey, Source>,
    authors: Authors,
    stats: MergeStats,
}

/// Whose an open stream is.
#[derive(Clone, Copy, Debug)]
struct Source {
    from: PublisherKey,
    group: GroupId,
}

impl Merge {
    /// Knows of no publisher yet.
    #[must_use]
    pub fn new(_limits: MergeLimits) -> Self {
        Self::default()
    }

    /// Takes in one chunk of a publisher's stream, or a datagram of it, and appends to `log` what is new: no chunk, one
    /// or several. `told` hears each of them, in order, with the log's answer; a replica wants
    /// [`Appended::for_replica`] of them.
    ///
    /// [`Appended::Malformed`] says what `from` did. When [`Malformed::is_disagreement`] holds, publishers contradict
    /// each other, and the track is malformed whoever is right; else it is a fault of `from` alone.
    pub fn append(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: PublisherKey,
        chunk: Append,
        told: &mut impl FnMut(Appended, Append),
    ) {
        let mut group = None;
        match &chunk {
            Append::SubgroupOpened {
                stream, group: id, ..
            } => {
                self.authors.note(from, *id, log);
                self.streams.entry(*stream).or_insert(Source { from, group: *id });
            }
            Append::Datagram(datagram) => {
                group = Some(datagram.location.group);
                self.authors.note(from, datagram.location.group, log);
            }
            Append::SubgroupClosed { stream, .. } => {
                group = self.streams.remove(stream).map(|source| source.group);
            }
            Append::ObjectStarted { .. } | Append::Payload { .. } | Append::Missing { .. } => {}
        }
        let mut appended = log.append(now, chunk.clone());
        if let Appended::Malformed(why) = appended {
            if let Some(source) = chunk.stream().and_then(|stream| self.streams.remove(&stream)) {
                group = Some(source.group);
            }
            appended = Appended::Malformed(self.judge(from, group, why));
        }
        told(appended, chunk);
    }

    /// A publisher is gone: its open streams end, with a reset.
    pub fn lost(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: PublisherKey,
        told: &mut impl FnMut(Appended, Append),
    ) {
        let own = self.streams.iter().filter(|(_, source)| source.from == from);
        let mut own: Vec<StreamKey> = own.map(|(&stream, _)| stream).collect();
        own.sort_unstable();
        for stream in own {
            let end = StreamEnd::Reset(ResetCode::Cancelled);
            self.append(log, now, from, Append::SubgroupClosed { stream, end }, told);
        }
    }

    /// When [`Merge::handle_timeout`] may next have something to do. May be early, never late.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time has passed: who waited long enough for a stream that has stalled goes on without it.
    pub fn handle_timeout(
        &mut self,
        _log: &mut TrackLog,
        _now: Instant,
        _told: &mut impl FnMut(Appended, Append),
    ) {
    }

    /// What happened, and what waits.
    #[must_use]
    pub const fn stats(&self) -> MergeStats {
        self.stats
    }

    /// Whose fault it is.
    fn judge(&mut self, from: PublisherKey, group: Option<GroupId>, why: Malformed) -> Malformed {
        let judged = self.authors.judge(from, group, why);
        if judged.is_disagreement() {
            self.stats.disagreements += 1;
        }
        judged
    }
}
