//! Bytes as objects of equal size.

use super::bytes::Cutter;
use super::{Places, SourceError, Step};
use bytes::BytesMut;
use std::collections::VecDeque;

/// Cuts bytes into objects of equal size; the last may be shorter. Their payloads in order are the input.
#[derive(Debug)]
pub struct Raw {
    size: usize,
    gop: u64,
    pending: BytesMut,
    places: Places,
}

impl Raw {
    /// Objects of `size` bytes, `gop` of them a group (each at least 1), groups from `first_group` on.
    #[must_use]
    pub fn new(size: usize, gop: u64, first_group: u64) -> Self {
        Self {
            size: size.max(1),
            gop: gop.max(1),
            pending: BytesMut::new(),
            places: Places::new(first_group),
        }
    }

    fn put(&mut self, bytes: usize, out: &mut VecDeque<Step>) {
        self.places.place(self.pending.split_to(bytes).freeze(), out);
        if self.places.next_object == self.gop {
            self.places.next_group();
        }
    }
}

impl Cutter for Raw {
    fn push(&mut self, input: &[u8], out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        self.pending.extend_from_slice(input);
        while self.pending.len() >= self.size {
            self.put(self.size, out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        if !self.pending.is_empty() {
            self.put(self.pending.len(), out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Slow, all};
    use super::super::{Location, ReadSource};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn objects_fill_groups() {
        let got = all(ReadSource::new(&b"aabbccd"[..], Raw::new(2, 2, 5))).unwrap();
        let want = [(5, 0, "aa"), (5, 1, "bb"), (6, 0, "cc"), (6, 1, "d")];
        assert_eq!(
            got,
            want.map(|(g, o, p)| (Location::new(g, o), p.as_bytes().to_vec()))
        );
        assert_eq!(all(ReadSource::new(&b""[..], Raw::new(2, 2, 0))).unwrap(), []);
    }

    proptest! {
        #[test]
        fn payloads_in_order_are_the_input(input: Vec<u8>, size in 1..20_usize, gop in 1..5_u64, step in 1..30_usize) {
            let got = all(ReadSource::new(Slow(&input, step), Raw::new(size, gop, 0))).unwrap();
            prop_assert!(got.iter().rev().skip(1).all(|(_, p)| p.len() == size));
            prop_assert_eq!(got.into_iter().flat_map(|(_, p)| p).collect::<Vec<_>>(), input);
        }
    }
}
