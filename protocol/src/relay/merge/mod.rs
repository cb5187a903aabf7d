//! Several publishers of one track, made into one log.
//!
//! Every publisher of a track is subscribed to at once. [`Merge`] stands in front of the home's [`TrackLog`]: it knows
//! which stream is whose, and puts in what is new, under stream keys of the log's own. Replicas are fed with what it
//! tells, so that nothing but the home ever has to know how many publishers there are.
//!
//! A stream that has its subgroup to itself passes straight through. As soon as a second one comes for the same
//! subgroup, whoever has come farthest writes on, byte by byte, and the others are compared with what was written as
//! far as that is at hand. When the one that leads ends without FIN, the next byte of another one follows on the same
//! stream of the log. Nothing depends on who comes first.
//!
//! # When an object was cut short
//!
//! A part of it has left. Another stream completes it there when its length, status, subgroup and priority are the same,
//! and every byte that came before is at hand and the same. Extension headers may differ (MOQT-14 §8.1 [D14-CACHE-2]);
//! readers have had those of the first copy.
//!
//! - Length, status, subgroup or priority differ: the track is malformed.
//! - A byte differs: the track is malformed, wherever in the object it is and whoever is still there. MOQT-14 §2.5
//!   [D14-MAL-2], [D14-MAL-3].
//! - The bytes cannot be compared, since they are evicted: nobody knows whether what follows belongs to them. The
//!   subgroup is reset for readers, and goes on with the next object of the other stream as another entry.
//!
//! # When a stream is ahead
//!
//! A stream that begins behind what is written waits, within bounds, until others have come there: they may bring what
//! lies between. It goes on without them, in another entry after a reset, when they end, when nothing has come for
//! [`OVERTAKE_AFTER`], when too little has come for [`OVERTAKE_AT_LAST`], or when it has no room to wait. What the others
//! bring late is still delivered if it is new.
//!
//! | file | what it holds |
//! |---|---|
//! | `lane` | the streams of one subgroup: who leads, who waits, what readers see of them |
//! | `step` | what becomes of each chunk of such a stream |
//! | `member` | one of those streams |
//! | `again` | a stream that brings what is known: the bytes are compared |
//! | `desk` | the log, who listens, and who is told what |
//! | `stats` | how much may wait, and what happened |
//! | `authors` | who brought what, to say whose fault a contradiction is |

mod again;
mod authors;
mod desk;
mod lane;
mod member;
mod stats;
mod step;
#[cfg(test)]
mod tests;

use super::track_log::{
    Append, Appended, CHUNK_OVERHEAD, Ignored, Malformed, StreamEnd, StreamKey, SubgroupInfo, TrackLog,
};
use crate::moqt::error::ResetCode;
use crate::moqt::location::{GroupId, SubgroupId};
use again::Again;
use authors::Authors;
use desk::Desk;
use lane::{Lane, MAX_MEMBERS};
use member::Member;
pub use stats::{MergeLimits, MergeStats};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long a stream that is ahead waits for another one that brings nothing.
pub const OVERTAKE_AFTER: Duration = Duration::from_secs(1);

/// How long a stream that is ahead waits for others that do bring something, before it is judged whether that is worth it;
/// and again after each time that it is.
pub const OVERTAKE_AT_LAST: Duration = Duration::from_secs(5);

/// What the others have to bring in [`OVERTAKE_AT_LAST`] to be worth it: a kilobyte a second, as for a FETCH, and this part
/// of what had to wait meanwhile. Whoever has the track at all brings it about as fast as another one; how long a large
/// object takes does not matter, and what waits for it is bounded by [`MergeLimits`].
const PROGRESS_BYTES: u64 = 5 * 1024;
const PROGRESS_SHARE: u64 = 4;
/// What an object counts beside its payload, here as where it waits.
const OBJECT_COST: u64 = 2 * CHUNK_OVERHEAD as u64;

/// A publisher of the track, by a number that its owner chose; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherKey(pub u64);

/// One subgroup of one group.
type Place = (GroupId, SubgroupId);

/// The stage in front of a log: see the module. One per home track.
#[derive(Debug)]
pub struct Merge {
    limits: MergeLimits,
    streams: HashMap<StreamKey, Source>,
    /// Subgroups with an open stream, or with one that ended and still waits.
    subgroups: HashMap<Place, Bringer>,
    /// Streams that bring what is known, and subgroups that several streams bring. While there is none, chunks need no
    /// look at all.
    busy: usize,
    /// When to look at a subgroup in which a stream waits. May be early, never late.
    timeouts: BTreeSet<(Instant, Place)>,
    authors: Authors,
    /// Faults of publishers that brought nothing since.
    blamed: Vec<(PublisherKey, Malformed)>,
    stats: MergeStats,
}

/// An open stream.
#[derive(Debug)]
struct Source {
    from: PublisherKey,
    info: SubgroupInfo,
    /// It has its subgroup to itself, and the object that it is in is known.
    again: Option<Again>,
}

/// Who brings a subgroup.
#[derive(Debug)]
enum Bringer {
    One(StreamKey),
    Several(Box<Lane>),
}

impl Merge {
    /// Knows of no publisher yet.
    #[must_use]
    pub fn new(limits: MergeLimits) -> Self {
        Self {
            limits,
            streams: HashMap::new(),
            subgroups: HashMap::new(),
            busy: 0,
            timeouts: BTreeSet::new(),
            authors: Authors::default(),
            blamed: Vec::new(),
            stats: MergeStats::default(),
        }
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
        if !self.blamed.is_empty() {
            self.tell_faults(from, told);
        }
        match &chunk {
            Append::SubgroupOpened { .. } => self.opened(log, now, from, chunk, told),
            Append::SubgroupClosed { stream, .. } => {
                let stream = *stream;
                self.routed(log, now, from, stream, chunk, told);
                self.ended(stream);
            }
            Append::Datagram(datagram) => {
                let group = datagram.location.group;
                self.authors.note(from, group, log);
                self.desk(log, now, Some(from), told).tell(from, group, chunk);
            }
            Append::ObjectStarted { stream, .. } | Append::Payload { stream, .. } if self.busy > 0 => {
                let stream = *stream;
                self.routed(log, now, from, stream, chunk, told);
            }
            Append::ObjectStarted { .. } | Append::Payload { .. } | Append::Missing { .. } => {
                self.pass(log, now, from, chunk, told);
            }
        }
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
        self.blamed.retain(|(by, _)| *by != from);
        for stream in own {
            // MOQT-14 §8.4.1, §8.4.2 [D14-PUB-6]: whoever else brings the subgroup goes on where this one stopped.
            let end = StreamEnd::Reset(ResetCode::Cancelled);
            self.append(log, now, from, Append::SubgroupClosed { stream, end }, told);
        }
    }

    /// When [`Merge::handle_timeout`] may next have something to do. May be early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeouts.first().map(|(at, _)| *at)
    }

    /// Time has passed: who waited long enough for a stream that has stalled goes on without it.
    pub fn handle_timeout(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        told: &mut impl FnMut(Appended, Append),
    ) {
        let due: Vec<_> = self
            .timeouts
            .iter()
            .take_while(|(at, _)| *at <= now)
            .copied()
            .collect();
        for (at, place) in due {
            self.timeouts.remove(&(at, place));
            self.with_lane(log, now, None, place, told, |lane, desk| {
                lane.filed = None;
                if lane.deadline().is_some_and(|deadline| deadline <= now) {
                    lane.expire(desk);
                }
            });
        }
    }

    /// What happened, and what waits.
    #[must_use]
    pub const fn stats(&self) -> MergeStats {
        self.stats
    }

    /// Appends a chunk of a stream that has its subgroup to itself.
    fn pass(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: PublisherKey,
        chunk: Append,
        told: &mut dyn FnMut(Appended, Append),
    ) {
        let appended = log.append(now, chunk.clone());
        match (appended, &chunk) {
            (Appended::Ignored(Ignored::Duplicate), Append::ObjectStarted { stream, header }) => {
                if let Some(source) = self.streams.get_mut(stream) {
                    // MOQT-14 §8.1 [D14-MAL-3]: both copies are at hand, perhaps.
                    source.again = Some(Again::start(header));
                    self.busy += 1;
                }
                told(appended, chunk);
            }
            (Appended::Malformed(why), _) => {
                let source = chunk.stream().and_then(|stream| self.ended(stream));
                let group = source.map(|source| source.info.group);
                let why = self.authors.judge(from, group, why);
                self.stats.disagreements += u64::from(why.is_disagreement());
                told(Appended::Malformed(why), chunk);
            }
            _ => told(appended, chunk),
        }
    }

    /// A stream begins.
    fn opened(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: PublisherKey,
        chunk: Append,
        told: &mut dyn FnMut(Appended, Append),
    ) {
        let Append::SubgroupOpened {
            stream,
            group,
            subgroup,
            priority,
            has_extensions,
            end_of_group,
        } = chunk
        else {
            return;
        };
        if self.streams.contains_key(&stream) {
            told(Appended::Ignored(Ignored::StreamKeyInUse), chunk);
            return;
        }
        let place = (group, subgroup);
        let is_full = |bringer: &Bringer| matches!(bringer, Bringer::Several(lane) if lane.members.len() >= MAX_MEMBERS);
        if self.subgroups.get(&place).is_some_and(is_full) {
            self.stats.turned_away += 1;
            return;
        }
        self.authors.note(from, group, log);
        let info = SubgroupInfo {
            group,
            subgroup,
            priority,
            has_extensions,
            end_of_group,
        };
        let opened = self.desk(log, now, Some(from), told).append(from, group, chunk);
        if !matches!(opened, Ok(Appended::Noted)) {
            return;
        }
        let source = Source {
            from,
            info,
            again: None,
        };
        self.streams.insert(stream, source);
        let Some(bringer) = self.subgroups.get(&place) else {
            self.subgroups.insert(place, Bringer::One(stream));
            return;
        };
        let first = match *bringer {
            Bringer::One(first) => self.share(now, place, first),
            Bringer::Several(_) => None,
        };
        self.with_lane(log, now, Some(from), place, told, |lane, desk| {
            if let Some((first, again)) = first {
                lane.adopt(desk, first, again.map(Again::inside));
            }
            lane.members.push(Member::new(stream, from, info));
        });
    }

    /// `first` has its subgroup no longer to itself: says what becomes of it in the lane that is made.
    fn share(&mut self, now: Instant, place: Place, first: StreamKey) -> Option<(Member, Option<Again>)> {
        let source = self.streams.get_mut(&first)?;
        let again = source.again.take();
        self.busy -= usize::from(again.is_some());
        self.busy += 1;
        let lane = Bringer::Several(Box::new(Lane::new(now)));
        self.subgroups.insert(place, lane);
        Some((Member::new(first, source.from, source.info), again))
    }

    /// Takes in a chunk of a stream that may share its subgroup, or bring what is known.
    fn routed(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: PublisherKey,
        stream: StreamKey,
        chunk: Append,
        told: &mut dyn FnMut(Appended, Append),
    ) {
        let Some(source) = self.streams.get_mut(&stream) else {
            // Not to the log: the key of a stream that is over may go on there, with what others bring.
            told(Appended::Ignored(Ignored::UnknownStream), chunk);
            return;
        };
        let (group, place) = (source.info.group, (source.info.group, source.info.subgroup));
        if let Some(Bringer::Several(_)) = self.subgroups.get(&place) {
            self.with_lane(log, now, Some(from), place, told, |lane, desk| {
                lane.feed(desk, stream, chunk);
            });
            return;
        }
        let info = source.info;
        let Some(again) = &mut source.again else {
            self.pass(log, now, from, chunk, told);
            return;
        };
        let broke = match &chunk {
            // MOQT-14 §2.5 [D14-MAL-2], §8.1 [D14-CACHE-2]
            Append::Payload { bytes, .. } if !again.is_same(log, group, bytes) => Err(Malformed::Payload),
            Append::SubgroupClosed {
                end: StreamEnd::Fin, ..
            } => log.check_final(&info, again.id()),
            Append::SubgroupOpened { .. }
            | Append::ObjectStarted { .. }
            | Append::Payload { .. }
            | Append::Missing { .. }
            | Append::SubgroupClosed { .. }
            | Append::Datagram(_) => Ok(()),
        };
        if !matches!(chunk, Append::Payload { .. }) {
            source.again = None;
            self.busy -= 1;
        }
        if let Err(why) = broke {
            self.ended(stream);
            let mut desk = self.desk(log, now, Some(from), told);
            let end = StreamEnd::Reset(ResetCode::InternalError);
            desk.tell(from, group, Append::SubgroupClosed { stream, end });
            desk.blame(from, group, why);
            return;
        }
        self.pass(log, now, from, chunk, told);
    }

    /// A stream is over. What of it waits in a lane stays there.
    fn ended(&mut self, stream: StreamKey) -> Option<Source> {
        let source = self.streams.remove(&stream)?;
        self.busy -= usize::from(source.again.is_some());
        let place = (source.info.group, source.info.subgroup);
        if matches!(self.subgroups.get(&place), Some(Bringer::One(one)) if *one == stream) {
            self.subgroups.remove(&place);
        }
        Some(source)
    }

    /// Does something with the streams that share a subgroup, and sees whether they still do.
    fn with_lane(
        &mut self,
        log: &mut TrackLog,
        now: Instant,
        from: Option<PublisherKey>,
        place: Place,
        told: &mut dyn FnMut(Appended, Append),
        work: impl FnOnce(&mut Lane, &mut Desk<'_>),
    ) {
        let Some(Bringer::Several(lane)) = self.subgroups.get_mut(&place) else {
            return;
        };
        let mut desk = Desk {
            log,
            now,
            from,
            told,
            authors: &self.authors,
            limits: self.limits,
            stats: &mut self.stats,
            blamed: &mut self.blamed,
            ended: Vec::new(),
        };
        work(lane, &mut desk);
        for stream in std::mem::take(&mut desk.ended) {
            self.streams.remove(&stream);
        }
        let deadline = lane.deadline();
        let filed = lane.filed;
        let (is_empty, alone) = (lane.members.is_empty(), lane.alone());
        // While a stream waits, a time that is too early does no harm.
        lane.filed = deadline.map(|deadline| filed.unwrap_or(deadline));
        match (filed, lane.filed) {
            (None, Some(at)) => _ = self.timeouts.insert((at, place)),
            (Some(at), None) => _ = self.timeouts.remove(&(at, place)),
            _ => {}
        }
        if is_empty {
            self.subgroups.remove(&place);
            self.busy -= 1;
        } else if let Some(stream) = alone {
            self.subgroups.insert(place, Bringer::One(stream));
            self.busy -= 1;
        }
    }

    fn desk<'a>(
        &'a mut self,
        log: &'a mut TrackLog,
        now: Instant,
        from: Option<PublisherKey>,
        told: &'a mut dyn FnMut(Appended, Append),
    ) -> Desk<'a> {
        Desk {
            log,
            now,
            from,
            told,
            authors: &self.authors,
            limits: self.limits,
            stats: &mut self.stats,
            blamed: &mut self.blamed,
            ended: Vec::new(),
        }
    }

    /// Says what a publisher did that others brought to light.
    fn tell_faults(&mut self, from: PublisherKey, told: &mut dyn FnMut(Appended, Append)) {
        let end = StreamEnd::Reset(ResetCode::InternalError);
        let chunk = Append::SubgroupClosed {
            stream: desk::NOBODY,
            end,
        };
        self.blamed.retain(|&(by, why)| {
            if by == from {
                told(Appended::Malformed(why), chunk.clone());
            }
            by != from
        });
    }
}
