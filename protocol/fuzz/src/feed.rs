//! Decisions out of bytes. When the bytes are over every decision is the first one, so each input has an end.

use bytes::Bytes;
use laps_protocol::wire::varint;

/// What is left of an input.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    data: &'a [u8],
    /// What is made has to be right: it is our own side that says it.
    pub(crate) is_ours: bool,
}

impl<'a> Feed<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, is_ours: false }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.data.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        match self.data.split_first() {
            Some((&first, rest)) => {
                self.data = rest;
                first
            }
            None => 0,
        }
    }

    /// A number below `n`, which is at most 256.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.u8()) % n.max(1)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Small numbers mostly, and those near each change of length.
    pub(crate) fn number(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            63,
            64,
            16_383,
            16_384,
            65_535,
            65_536,
            (1 << 30) - 1,
            1 << 30,
            (1 << 31) - 1,
            varint::MAX - 1,
            varint::MAX,
            varint::MAX / 2,
        ];
        match self.u8() {
            small @ 0..=239 => u64::from(small % 48),
            edge @ 240..=251 => EDGES[usize::from(edge - 240)],
            252 => self.wide() & 0xff,
            253 => self.wide() & 0xffff,
            254 => self.wide() & 0xffff_ffff,
            _ => self.wide() & varint::MAX,
        }
    }

    fn wide(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.u8()))
    }

    /// At most `max` bytes, their count first.
    pub(crate) fn bytes(&mut self, max: usize) -> Bytes {
        let len = self.below(max + 1).min(self.data.len());
        let (taken, rest) = self.data.split_at(len);
        self.data = rest;
        Bytes::copy_from_slice(taken)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.data))
    }

    /// `bytes` in pieces; all in one when the input is over.
    pub(crate) fn split(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() && !self.is_over() && pieces.len() < 64 {
            let len = match self.u8() {
                short @ 0..=127 => usize::from(short % 8),
                longer => usize::from(longer),
            };
            pieces.push(bytes.split_to(len.min(bytes.len())));
        }
        pieces.push(bytes);
        pieces
    }
}
