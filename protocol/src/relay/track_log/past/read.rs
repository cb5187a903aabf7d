//! How past objects are read.

use super::range::Inside;
use super::{PastCursor, PastObject, PastRange};
use crate::moqt::location::Location;
use crate::moqt::object::FetchObjectHeader;
use crate::relay::track_log::group::Place;
use crate::relay::track_log::subgroup::{Object, Subgroup};
use crate::relay::track_log::{LogDatagram, SubgroupSeq, TrackLog};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What follows at a [`PastCursor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Past {
    /// An object begins; its payload follows unless it has none.
    Object {
        /// What stands before its payload. MOQT-14 §9.16.3 [D14-FETCH-15]: the subgroup of an object that came as a
        /// datagram is its object id.
        header: FetchObjectHeader,
        /// When its first byte came.
        at: Instant,
    },
    /// The next piece of the payload of the object that was begun last, shared with the log.
    Payload(Bytes),
    /// Nothing yet, but an open live stream or an open answer from upstream may still bring it.
    Arriving,
    /// Nobody here knows what stands at the cursor: the largest contiguous range from there on, in the cursor's
    /// order, that should be asked upstream.
    Unknown(PastRange),
    /// The object that was begun cannot be completed: it was cut short, or evicted. Read again, the same.
    Broken,
    /// The range was read; everything in it that was not given does not exist.
    End,
}

/// A live object.
#[derive(Clone, Copy)]
pub(in crate::relay::track_log) enum Live<'a> {
    Object {
        entry: &'a Subgroup,
        object: &'a Object,
        seq: SubgroupSeq,
        number: u64,
    },
    Datagram {
        at: Instant,
        datagram: &'a LogDatagram,
    },
}

impl Live<'_> {
    const fn at(&self) -> Instant {
        match self {
            Self::Object { object, .. } => object.at,
            Self::Datagram { at, .. } => *at,
        }
    }

    const fn is_complete(&self) -> bool {
        match self {
            Self::Object { object, .. } => object.is_complete(),
            Self::Datagram { .. } => true,
        }
    }

    /// As it stands on a fetch stream. MOQT-14 §8.1 [D14-CACHE-1]: with all its properties, §10.2.1.1 [D14-CACHE-5]:
    /// its status among them.
    pub(in crate::relay::track_log) fn header(&self) -> FetchObjectHeader {
        match self {
            Self::Object { entry, object, .. } => FetchObjectHeader {
                location: Location::new(entry.info.group, object.header.id),
                subgroup: entry.info.subgroup,
                priority: entry.info.priority,
                status: object.header.status,
                extensions: object.header.extensions.clone(),
                payload_len: object.header.payload_len,
            },
            Self::Datagram { datagram, .. } => FetchObjectHeader {
                location: datagram.location,
                // MOQT-14 §10.4.4 [D14-FETCH-15]
                subgroup: datagram.location.object,
                priority: datagram.priority,
                status: datagram.status,
                extensions: datagram.extensions.clone(),
                payload_len: datagram.payload.len() as u64,
            },
        }
    }

    fn inside(&self) -> Option<Inside> {
        match self {
            Self::Object {
                object, seq, number, ..
            } => (object.header.payload_len > 0).then_some(Inside::Live {
                seq: *seq,
                object: *number,
                chunk: object.first_chunk,
            }),
            Self::Datagram { datagram, .. } => {
                (!datagram.payload.is_empty()).then(|| Inside::Datagram(datagram.payload.clone()))
            }
        }
    }
}

enum Found<'a> {
    Live(Live<'a>),
    Past(&'a PastObject),
}

impl TrackLog {
    /// What follows at `cursor`, which moves behind it. MOQT-14 §9.16.3 [D14-FETCH-4]: groups in the cursor's order,
    /// in each all objects by ascending id, whatever subgroup, datagram or answer brought them.
    ///
    /// Costs O(log n) for each object or range of absence that is passed, however large the range is.
    pub fn read_past(&self, now: Instant, cursor: &mut PastCursor) -> Past {
        loop {
            let place = cursor.at();
            if let Some(inside) = &mut cursor.inside {
                match self.read_inside(inside, place) {
                    Some((past, over)) => {
                        if over {
                            cursor.inside = None;
                            cursor.pass(place.object);
                        }
                        return past;
                    }
                    None => {
                        cursor.inside = None;
                        cursor.pass(place.object);
                        continue;
                    }
                }
            }
            if cursor.ended() {
                return Past::End;
            }
            if let Some(found) = self.find_past(now, place) {
                return begin(cursor, found);
            }
            // MOQT-14 §9.16.3 [D14-FETCH-5]: passing over a place says that nothing stands there.
            if let Some((first, last)) = self.empty_groups(place.group) {
                cursor.pass_groups(first, last);
            } else if let Some(last) = self.absent_until(place) {
                cursor.pass(self.before_next_kept(now, place, last));
            } else if self.is_arriving(place) {
                return Past::Arriving;
            } else if let Some(last) = self.never_made_until(place) {
                cursor.pass(last);
            } else {
                return Past::Unknown(self.hole(now, cursor));
            }
        }
    }

    /// The next piece inside an object, and whether it is the last; none when the object was whole already.
    fn read_inside(&self, inside: &mut Inside, at: Location) -> Option<(Past, bool)> {
        match inside {
            Inside::Datagram(payload) => Some((Past::Payload(std::mem::take(payload)), true)),
            Inside::Live { seq, object, chunk } => {
                let broken = Some((Past::Broken, false));
                let Some(entry) = self.entries.get(seq) else {
                    return broken;
                };
                let Some(object) = entry.object(*object) else {
                    return broken;
                };
                if *chunk < object.end_chunk() {
                    let Some(bytes) = entry.chunk_of(object, *chunk) else {
                        return broken;
                    };
                    *chunk += 1;
                    let over = *chunk == object.end_chunk() && object.is_complete();
                    return Some((Past::Payload(bytes.clone()), over));
                }
                if object.is_complete() {
                    return None;
                }
                let waits = if entry.end.is_some() {
                    Past::Broken
                } else {
                    Past::Arriving
                };
                Some((waits, false))
            }
            Inside::Past { serial, chunk } => {
                let group = self.past.groups.get(&at.group);
                let object = group.and_then(|group| group.objects.get(&at.object));
                let Some(object) = object.filter(|object| object.serial == *serial) else {
                    return Some((Past::Broken, false));
                };
                if *chunk < object.end_chunk() {
                    // None also when the window of a large object has moved on.
                    let index = chunk.checked_sub(object.first_chunk);
                    let index = index.and_then(|index| usize::try_from(index).ok());
                    let Some(bytes) = index.and_then(|index| object.chunks.get(index)) else {
                        return Some((Past::Broken, false));
                    };
                    *chunk += 1;
                    let over = *chunk == object.end_chunk() && object.is_complete();
                    return Some((Past::Payload(bytes.clone()), over));
                }
                (!object.is_complete()).then_some((Past::Arriving, false))
            }
        }
    }

    /// The object at `at` that a reader may begin. MOQT-14 §8.1 [D14-CACHE-6]: of two copies either may be given;
    /// whole ones first.
    fn find_past(&self, now: Instant, at: Location) -> Option<Found<'_>> {
        let live = self.find_live(now, at);
        if let Some(live) = live.filter(Live::is_complete) {
            return Some(Found::Live(live));
        }
        let group = self.past.groups.get(&at.group);
        let past = group
            .and_then(|group| group.objects.get(&at.object))
            .filter(|object| self.can_begin(now, object));
        match (live, past) {
            (Some(live), Some(past)) if !past.is_complete() => Some(Found::Live(live)),
            (_, Some(past)) => Some(Found::Past(past)),
            (live, None) => live.map(Found::Live),
        }
    }

    /// The live object at `at` that a reader may begin.
    pub(super) fn find_live(&self, now: Instant, at: Location) -> Option<Live<'_>> {
        self.live_at(at).filter(|live| {
            let lost = matches!(live, Live::Object { object, .. } if object.lost > 0);
            !lost && !self.is_expired(now, live.at())
        })
    }

    /// The live object that is kept at `at`, whether or not it can be begun.
    pub(in crate::relay::track_log) fn live_at(&self, at: Location) -> Option<Live<'_>> {
        match *self.groups.get(&at.group)?.index.get(&at.object)? {
            Place::Object(seq, number) => {
                let entry = self.entries.get(&seq)?;
                let object = entry.object(number)?;
                Some(Live::Object {
                    entry,
                    object,
                    seq,
                    number,
                })
            }
            Place::Datagram(number) => {
                let (at, datagram) = self.datagrams.get(&number)?;
                Some(Live::Datagram { at: *at, datagram })
            }
        }
    }

    /// Whether a reader may begin an object that came by FETCH.
    pub(super) fn can_begin(&self, now: Instant, object: &PastObject) -> bool {
        object.lost == 0 && !self.is_expired(now, object.at)
    }

    /// MOQT-14 §9.2.1.3 [D14-CACHE-4]: whether an object of which the first byte came at `at` may no longer be begun.
    /// Counted in whole milliseconds, as the parameter is.
    pub(in crate::relay::track_log) fn is_expired(&self, now: Instant, at: Instant) -> bool {
        let age = || now.saturating_duration_since(at).as_millis();
        self.max_cache
            .is_some_and(|most: Duration| age() > most.as_millis())
    }
}

fn begin(cursor: &mut PastCursor, found: Found<'_>) -> Past {
    let (header, at, inside) = match found {
        Found::Live(live) => (live.header(), live.at(), live.inside()),
        Found::Past(object) => {
            let inside = (object.header.payload_len > 0).then_some(Inside::Past {
                serial: object.serial,
                chunk: object.first_chunk,
            });
            (object.header.clone(), object.at, inside)
        }
    };
    cursor.inside = inside;
    if cursor.inside.is_none() {
        // Nothing follows an empty object, so the cursor is behind it at once.
        cursor.pass(cursor.at().object);
    }
    Past::Object { header, at }
}
