//! One subgroup as it came over one stream.

use super::chunk::{StreamEnd, StreamKey};
use crate::moqt::location::{GroupId, ObjectId, SubgroupId};
use crate::moqt::object::ObjectHeader;
use bytes::Bytes;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::time::Instant;

/// What the header of a subgroup's stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupInfo {
    /// Its group.
    pub group: GroupId,
    /// Its number in the group.
    pub subgroup: SubgroupId,
    /// Publisher priority, 0 the most urgent.
    pub priority: u8,
    /// Every object carries an extension block, which may be empty.
    pub has_extensions: bool,
    /// The last object before FIN is the last of the group.
    pub end_of_group: bool,
}

/// The head of one object as bytes, kept so that it is encoded once and not once per subscriber.
///
/// The bytes depend on the object before it on the stream (ids are deltas), so only a reader that also sent the
/// previous object of this subgroup may use them.
#[derive(Debug, Default)]
pub struct EncodedHead(OnceCell<(u8, Bytes)>);

/// Longer heads (with long extension blocks) are encoded anew each time, so that the cache stays inside the fixed
/// cost of an object.
pub const MAX_CACHED_HEAD_BYTES: usize = 64;

impl EncodedHead {
    /// The head for the wire `family`, encoded by `encode` unless that was done before. One family is remembered:
    /// the first.
    pub fn get_or_encode(&self, family: u8, encode: impl FnOnce() -> Bytes) -> Bytes {
        match self.0.get() {
            Some((kept, head)) if *kept == family => head.clone(),
            Some(_) => encode(),
            None => {
                let head = encode();
                if head.len() <= MAX_CACHED_HEAD_BYTES {
                    // The cell is empty: nobody else runs between the look and this line.
                    drop(self.0.set((family, head.clone())));
                }
                head
            }
        }
    }
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) header: ObjectHeader,
    /// When its first byte came.
    pub(super) at: Instant,
    /// The object before it in this subgroup, even if that is evicted.
    pub(super) previous: Option<ObjectId>,
    pub(super) encoded: EncodedHead,
    /// Number, in its subgroup, of its first chunk of payload.
    pub(super) first_chunk: u64,
    /// Chunks that came.
    pub(super) chunks: u64,
    /// Its chunks, when it is too large to keep and they stand apart from those of the others; the last ones only.
    pub(super) window: Option<VecDeque<Bytes>>,
    /// Bytes of payload that came, evicted ones included.
    pub(super) received: u64,
    /// Bytes of payload that came and are gone.
    pub(super) lost: u64,
    /// Bytes of payload that came for the subgroup before it.
    pub(super) offset: u64,
    /// Stands in its group's order of eviction.
    pub(super) listed: bool,
}

impl Object {
    pub(super) const fn is_complete(&self) -> bool {
        self.received == self.header.payload_len
    }

    pub(super) const fn end_chunk(&self) -> u64 {
        self.first_chunk + self.chunks
    }
}

/// Chunks that went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    pub(super) chunks: usize,
    /// Bytes of payload in them.
    pub(super) bytes: usize,
}

impl Gone {
    fn add(&mut self, chunk: &Bytes) {
        self.chunks += 1;
        self.bytes += chunk.len();
    }
}

/// The objects of one subgroup that came over one stream, oldest first. Objects and chunks are numbered from 0 in
/// the order of arrival and keep their number when older ones are evicted.
#[derive(Debug)]
pub(super) struct Subgroup {
    pub(super) info: SubgroupInfo,
    pub(super) stream: StreamKey,
    pub(super) objects: VecDeque<Object>,
    /// Number of the front of `objects`.
    pub(super) first_object: u64,
    pub(super) chunks: VecDeque<Bytes>,
    /// Number of the front of `chunks`.
    pub(super) first_chunk: u64,
    /// The object that was started last.
    pub(super) last_id: Option<ObjectId>,
    /// Bytes of payload that came, evicted ones included.
    pub(super) received: u64,
    pub(super) end: Option<StreamEnd>,
    /// It brings objects that another entry of the subgroup has passed already, so its end says nothing of the subgroup.
    pub(super) is_aside: bool,
}

impl Subgroup {
    pub(super) const fn new(info: SubgroupInfo, stream: StreamKey) -> Self {
        Self {
            info,
            stream,
            objects: VecDeque::new(),
            first_object: 0,
            chunks: VecDeque::new(),
            first_chunk: 0,
            last_id: None,
            received: 0,
            end: None,
            is_aside: false,
        }
    }

    /// Number that the next object gets.
    pub(super) fn end_object(&self) -> u64 {
        self.first_object + self.objects.len() as u64
    }

    /// Number that the next chunk gets.
    pub(super) fn end_chunk(&self) -> u64 {
        self.first_chunk + self.chunks.len() as u64
    }

    pub(super) fn object(&self, number: u64) -> Option<&Object> {
        let index = number.checked_sub(self.first_object)?;
        self.objects.get(usize::try_from(index).ok()?)
    }

    pub(super) fn chunk(&self, number: u64) -> Option<&Bytes> {
        let index = number.checked_sub(self.first_chunk)?;
        self.chunks.get(usize::try_from(index).ok()?)
    }

    /// A chunk of `object`, which is one of this subgroup.
    pub(super) fn chunk_of<'a>(&'a self, object: &'a Object, number: u64) -> Option<&'a Bytes> {
        let Some(window) = &object.window else {
            return self.chunk(number);
        };
        let first = object.end_chunk() - window.len() as u64;
        window.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// Adds a chunk to the object that was started last. Of a large one, those chunks go that do not fit into
    /// `window` bytes.
    pub(super) fn push_chunk(&mut self, bytes: Bytes, window: u64) -> Gone {
        let mut gone = Gone::default();
        let Some(object) = self.objects.back_mut() else {
            return gone;
        };
        object.chunks += 1;
        let Some(chunks) = &mut object.window else {
            self.chunks.push_back(bytes);
            return gone;
        };
        chunks.push_back(bytes);
        while object.received - object.lost > window
            && chunks.len() > 1
            && let Some(chunk) = chunks.pop_front()
        {
            object.lost += chunk.len() as u64;
            gone.add(&chunk);
        }
        gone
    }

    /// Drops the first chunk of the oldest object.
    pub(super) fn lose_first_chunk(&mut self) -> Gone {
        let mut gone = Gone::default();
        let Some(object) = self.objects.front_mut() else {
            return gone;
        };
        let chunk = match &mut object.window {
            Some(chunks) => chunks.pop_front(),
            None => {
                let chunk = self.chunks.pop_front();
                self.first_chunk += u64::from(chunk.is_some());
                chunk
            }
        };
        if let Some(chunk) = chunk {
            object.lost += chunk.len() as u64;
            gone.add(&chunk);
        }
        gone
    }

    /// Drops the oldest object.
    pub(super) fn lose_first_object(&mut self) -> Option<(Object, Gone)> {
        let object = self.objects.pop_front()?;
        self.first_object += 1;
        let mut gone = Gone::default();
        match &object.window {
            Some(chunks) => chunks.iter().for_each(|chunk| gone.add(chunk)),
            None => {
                while self.first_chunk < object.end_chunk()
                    && let Some(chunk) = self.chunks.pop_front()
                {
                    self.first_chunk += 1;
                    gone.add(&chunk);
                }
            }
        }
        Some((object, gone))
    }

    /// Some payload of the oldest object is kept.
    pub(super) fn has_first_chunk(&self) -> bool {
        match self.objects.front().and_then(|object| object.window.as_ref()) {
            Some(chunks) => !chunks.is_empty(),
            None => !self.chunks.is_empty(),
        }
    }

    /// All chunks that are kept.
    pub(super) fn all_chunks(&self) -> impl Iterator<Item = &Bytes> {
        let windows = self.objects.iter().filter_map(|object| object.window.as_ref());
        self.chunks.iter().chain(windows.flat_map(|chunks| chunks.iter()))
    }

    /// The object with this id, if it is kept.
    pub(super) fn find(&self, id: ObjectId) -> Option<&Object> {
        let index = self
            .objects
            .binary_search_by_key(&id, |object| object.header.id)
            .ok()?;
        self.objects.get(index)
    }

    pub(super) fn in_progress(&self) -> Option<&Object> {
        self.objects.back().filter(|object| !object.is_complete())
    }

    /// Begins an object. Of a large one, no more stays than the window that is given with its chunks.
    pub(super) fn start(&mut self, now: Instant, header: ObjectHeader, is_large: bool) {
        let object = Object {
            at: now,
            previous: self.last_id.replace(header.id),
            header,
            encoded: EncodedHead::default(),
            first_chunk: self.end_chunk(),
            chunks: 0,
            window: is_large.then(VecDeque::new),
            received: 0,
            lost: 0,
            offset: self.received,
            listed: true,
        };
        self.objects.push_back(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_head_is_encoded_once_per_family() {
        let head = EncodedHead::default();
        let calls = Cell::new(0);
        let encode = |text: &'static [u8]| {
            calls.set(calls.get() + 1);
            Bytes::from_static(text)
        };
        assert_eq!(head.get_or_encode(14, || encode(b"a")), "a");
        assert_eq!(head.get_or_encode(14, || encode(b"b")), "a");
        assert_eq!(calls.get(), 1);
        assert_eq!(head.get_or_encode(18, || encode(b"c")), "c");
        assert_eq!(head.get_or_encode(14, || encode(b"d")), "a");
    }

    #[test]
    fn long_heads_are_not_kept() {
        let head = EncodedHead::default();
        let long = || Bytes::from(vec![0; MAX_CACHED_HEAD_BYTES + 1]);
        assert_eq!(head.get_or_encode(14, long).len(), 65);
        assert_eq!(head.get_or_encode(14, || Bytes::from_static(b"x")), "x");
    }
}
