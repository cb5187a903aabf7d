//! The first payload of a stream, as far as a laps relay wants it in one piece with the head.

use bytes::{Bytes, BytesMut};
use std::time::Instant;

/// The most that the header of a subgroup takes: a type below 64, a priority, and three integers of eight bytes.
pub(super) const START_BYTES: usize = 26;

/// Payload that waits for more of it, and until when.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) bytes: BytesMut,
    pub(super) until: Instant,
}

impl Start {
    /// Takes from the front of `piece` what may belong to the header; true once that is whole.
    pub(super) fn fill(&mut self, piece: &mut Bytes) -> bool {
        let room = START_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&piece.split_to(piece.len().min(room)));
        is_whole(&self.bytes)
    }
}

/// Whether the payload of a stream has the whole header with which MOQT begins one. Of what is no header of drafts 14 and
/// 16, which laps relays speak, nothing is known that would have to come together.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some(kind) = bytes.first() else { return false };
    let (integers, priority) = match kind {
        // MOQT-14 §10.4.2: an alias, a group, a subgroup unless the type says which, and a priority; MOQT-16 §10.4.2: none
        // where the type says that it is the track's.
        0x10..=0x1f | 0x30..=0x3f => (
            2 + usize::from(kind & 0x06 == 0x04),
            usize::from(kind & 0x20 == 0),
        ),
        // MOQT-14 §10.4.4: the id of a request.
        0x05 => (1, 0),
        _ => (0, 0),
    };
    let mut end = 1;
    for _ in 0..integers {
        let Some(first) = bytes.get(end) else { return false };
        end += 1 << (first >> 6);
    }
    bytes.len() >= end + priority
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_whole_with_its_last_byte() {
        let long = [0xc0, 0, 0, 0, 0, 0, 0, 7];
        let header = |kind: u8, integers: &[&[u8]], priority: &[u8]| {
            [&[kind], &integers.concat()[..], priority].concat()
        };
        for whole in [
            header(0x10, &[&[1], &[2]], &[128]),
            header(0x13, &[&long, &[0x40, 2]], &[128]),
            header(0x14, &[&long, &long, &long], &[128]),
            header(0x1d, &[&[1], &[0x80, 0, 0, 2], &[3]], &[128]),
            header(0x30, &[&[1], &[2]], &[]),
            header(0x34, &[&[1], &[2], &[3]], &[]),
            header(0x05, &[&long], &[]),
        ] {
            assert!(whole.len() <= START_BYTES);
            for end in 0..=whole.len() {
                assert_eq!(is_whole(&whole[..end]), end == whole.len(), "{whole:?} {end}");
            }
        }
        assert!(is_whole(b"abc") && !is_whole(b""));
    }
}
