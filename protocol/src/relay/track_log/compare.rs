//! What a stage that joins several streams into one must see of a log.

use super::chunk::Malformed;
use super::past::Live;
use super::past::fill::conflicts;
use super::{StreamKey, SubgroupSeq, TrackLog};
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::{FetchObjectHeader, ObjectStatus};

/// Where the last comparison inside an object stopped, so that the next need not search. Any value is right for any
/// object; the default knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyHint {
    seq: u64,
    object: u64,
    /// A chunk of it, and the bytes of the object that stand before that chunk.
    chunk: u64,
    before: u64,
}

/// How far an open ingress stream has come in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTail {
    /// The object that began last.
    pub last: ObjectId,
    /// Its status.
    pub status: ObjectStatus,
    /// Bytes of its payload, and how many of them came.
    pub payload_len: u64,
    /// See `payload_len`.
    pub received: u64,
}

impl TrackLog {
    /// How far the open stream `stream` has come; none when it has brought nothing new yet, or what it brought is
    /// evicted.
    #[must_use]
    pub fn stream_tail(&self, stream: StreamKey) -> Option<StreamTail> {
        let entry = self.entries.get(&self.streams.get(&stream)?.seq?)?;
        let object = entry.objects.back()?;
        Some(StreamTail {
            last: object.header.id,
            status: object.header.status,
            payload_len: object.header.payload_len,
            received: object.received,
        })
    }

    /// Whether an open stream feeds an entry, or did until that was evicted.
    pub(in crate::relay) fn has_begun(&self, stream: StreamKey) -> bool {
        self.streams
            .get(&stream)
            .is_some_and(|ingress| ingress.seq.is_some())
    }

    /// Whether the payload of the live object at `at` holds `bytes` from the byte `offset` on; none when not all of
    /// that is at hand, because it did not come or is evicted. MOQT-14 §8.1 [D14-CACHE-2] [D14-MAL-3]: nothing is kept
    /// for the sake of it.
    #[must_use]
    pub fn compare(
        &self,
        at: Location,
        mut offset: u64,
        mut bytes: &[u8],
        hint: &mut CopyHint,
    ) -> Option<bool> {
        let Live::Object {
            entry,
            object,
            seq,
            number,
        } = self.live_at(at)?
        else {
            return None;
        };
        let end = object.end_chunk();
        let SubgroupSeq(seq) = seq;
        let known = (hint.seq, hint.object) == (seq, number) && hint.before <= offset && hint.chunk < end;
        if !known || entry.chunk_of(object, hint.chunk).is_none() {
            // The chunks that are kept are the last ones, behind the bytes that are gone.
            let kept = match &object.window {
                Some(window) => window.len() as u64,
                None => end - object.first_chunk.max(entry.first_chunk).min(end),
            };
            *hint = CopyHint {
                seq,
                object: number,
                chunk: end - kept,
                before: object.lost,
            };
        }
        if offset < hint.before {
            return None;
        }
        while !bytes.is_empty() {
            let chunk = entry.chunk_of(object, hint.chunk)?;
            let len = chunk.len() as u64;
            let skipped = offset - hint.before;
            if skipped >= len {
                hint.before += len;
                hint.chunk += 1;
                continue;
            }
            let there = chunk.get(usize::try_from(skipped).ok()?..)?;
            let both = there.len().min(bytes.len());
            let (now, later) = bytes.split_at(both);
            if there.get(..both)? != now {
                return Some(false);
            }
            offset += both as u64;
            bytes = later;
        }
        Some(true)
    }

    /// The open stream `stream` brought the object `id`, which was not appended under its key.
    pub(in crate::relay) fn note_brought(&mut self, stream: StreamKey, id: ObjectId) {
        if let Some(ingress) = self
            .streams
            .get_mut(&stream)
            .filter(|ingress| ingress.seq.is_none())
        {
            ingress.ignored = ingress.ignored.max(Some(id));
        }
    }

    /// Malformed when the live copy that is kept of an object has other properties. MOQT-14 §8.1 [D14-CACHE-2].
    pub(in crate::relay) fn check_kept(&self, new: &FetchObjectHeader) -> Result<(), Malformed> {
        self.live_at(new.location)
            .map_or(Ok(()), |kept| conflicts(&kept.header(), new))
    }

    /// Whether of every id from `first` to `last` it is known that it came live, or will never exist.
    pub(in crate::relay) fn is_settled(&self, group: GroupId, first: ObjectId, last: ObjectId) -> bool {
        let live = self.groups.get(&group).map(|group| group.known.ranges());
        let told = self.past.groups.get(&group).map(|group| &group.told);
        let gone = self.gone.get(group).map(super::ranges::IdRanges::ranges);
        let mut next = first;
        while next <= last {
            let cover = |set: &super::ranges::Ranges| set.cover(next).map(|(_, end)| end);
            let ends = [live.and_then(cover), told.and_then(cover), gone.and_then(cover)];
            match ends.into_iter().flatten().max().map(|end| end.checked_add(1)) {
                Some(Some(behind)) => next = behind,
                Some(None) => return true,
                None => return false,
            }
        }
        true
    }
}
