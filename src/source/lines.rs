//! Lines of text as objects.

use super::bytes::Cutter;
use super::{MAX_OBJECT_BYTES, Places, SourceError, Step};
use bytes::BytesMut;
use std::collections::VecDeque;

/// Cuts bytes at newlines; an object is a line without its newline. A last line that has none is an object too.
#[derive(Debug)]
pub struct Lines {
    gop: u64,
    pending: BytesMut,
    consumed: u64,
    places: Places,
}

impl Lines {
    /// `gop` lines a group (at least 1), groups from `first_group` on.
    #[must_use]
    pub fn new(gop: u64, first_group: u64) -> Self {
        Self {
            gop: gop.max(1),
            pending: BytesMut::new(),
            consumed: 0,
            places: Places::new(first_group),
        }
    }

    fn put(&mut self, out: &mut VecDeque<Step>) {
        self.consumed += self.pending.len() as u64 + 1;
        self.places.place(self.pending.split().freeze(), out);
        if self.places.next_object == self.gop {
            self.places.next_group();
        }
    }
}

impl Cutter for Lines {
    fn push(&mut self, input: &[u8], out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        for piece in input.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = piece
                .strip_suffix(b"\n")
                .map_or((piece, false), |text| (text, true));
            if self.pending.len() + text.len() > MAX_OBJECT_BYTES {
                return Err(SourceError::TooLong {
                    what: "line",
                    at: self.consumed,
                });
            }
            self.pending.extend_from_slice(text);
            if ends {
                self.put(out);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        if !self.pending.is_empty() {
            self.put(out);
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
    fn a_line_is_an_object() {
        let got = all(ReadSource::new(&b"a\n\nb\r\nc"[..], Lines::new(3, 0))).unwrap();
        let want = [(0, 0, "a"), (0, 1, ""), (0, 2, "b\r"), (1, 0, "c")];
        assert_eq!(
            got,
            want.map(|(g, o, p)| (Location::new(g, o), p.as_bytes().to_vec()))
        );
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = std::io::Read::take(std::io::repeat(b'x'), MAX_OBJECT_BYTES as u64 + 1);
        let error = all(ReadSource::new(endless, Lines::new(3, 0))).unwrap_err();
        assert!(matches!(error, SourceError::TooLong { at: 0, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn lines_with_their_newlines_are_the_input(
            input in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), step in 1..30_usize,
        ) {
            let mut got = all(ReadSource::new(Slow(&input, step), Lines::new(2, 0))).unwrap();
            for (_, line) in &mut got {
                line.push(b'\n');
            }
            let mut want = input;
            if want.last().is_some_and(|&b| b != b'\n') {
                want.push(b'\n');
            }
            prop_assert_eq!(got.into_iter().flat_map(|(_, p)| p).collect::<Vec<_>>(), want);
        }
    }
}
