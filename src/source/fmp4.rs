//! Fragmented MP4 as objects: the init segment, then a fragment each, a group from each random access point.
//!
//! Group 0 has one object, `ftyp` to `moov`. Each object after it is a `moof` with its `mdat`, and whatever boxes
//! stand before them (`styp`, `sidx`, `emsg`, ...). A fragment whose first video sample is a sync sample starts a
//! group; without video each fragment does. Boxes behind the last fragment (`mfra`) are one last object. So the
//! payloads in order are the file, byte by byte.

use super::bytes::Cutter;
use super::iso_bmff::{Movie, read_header};
use super::{MAX_OBJECT_BYTES, Places, SourceError, Step};
use bytes::BytesMut;
use std::collections::VecDeque;

/// Cuts a fragmented MP4 at its fragments, each as soon as its last byte is there.
#[derive(Debug)]
pub struct Fmp4 {
    /// Bytes that no object has yet. Grows with what arrives, never with what a box declares.
    pending: BytesMut,
    /// How much of `pending` is complete boxes.
    scanned: usize,
    /// Where `pending` starts in the input.
    start: u64,
    movie: Option<Movie>,
    starts_group: bool,
    places: Places,
}

impl Fmp4 {
    /// Groups from `first_group` on, which is the init segment's.
    #[must_use]
    pub fn new(first_group: u64) -> Self {
        Self {
            pending: BytesMut::new(),
            scanned: 0,
            start: 0,
            movie: None,
            starts_group: false,
            places: Places::new(first_group),
        }
    }

    fn at(&self) -> u64 {
        self.start + self.scanned as u64
    }

    const fn not_fmp4(&self, reason: &'static str, at: u64) -> SourceError {
        SourceError::NotFmp4 { reason, at }
    }

    /// Takes one complete box of `size` bytes, its body from `head` on.
    fn take_box(
        &mut self,
        kind: [u8; 4],
        head: usize,
        size: usize,
        out: &mut VecDeque<Step>,
    ) -> Result<(), SourceError> {
        let at = self.at();
        let body = self
            .pending
            .get(self.scanned + head..self.scanned + size)
            .unwrap_or_default();
        match (&kind, &self.movie) {
            (b"moov", None) => {
                let movie = Movie::read(body);
                if !movie.fragmented {
                    return Err(self.not_fmp4(NOT_FRAGMENTED, at));
                }
                self.movie = Some(movie);
                self.scanned += size;
                self.put(out);
                self.places.next_group();
            }
            (b"moof" | b"mdat", None) => {
                return Err(self.not_fmp4(MEDIA_FIRST, at));
            }
            (b"moof", Some(movie)) => {
                self.starts_group |= movie.is_sync(body);
                self.scanned += size;
            }
            (b"mdat", Some(_)) => {
                self.scanned += size;
                // The first fragment starts a group in any case.
                if std::mem::take(&mut self.starts_group) && self.places.next_object > 0 {
                    self.places.next_group();
                }
                self.put(out);
            }
            _ => self.scanned += size,
        }
        Ok(())
    }

    /// Everything scanned becomes an object.
    fn put(&mut self, out: &mut VecDeque<Step>) {
        self.start += self.scanned as u64;
        let payload = self.pending.split_to(self.scanned).freeze();
        self.scanned = 0;
        self.places.place(payload, out);
    }

    fn too_long(&self) -> SourceError {
        SourceError::TooLong {
            what: "box or fragment",
            at: self.at(),
        }
    }
}

impl Cutter for Fmp4 {
    fn push(&mut self, input: &[u8], out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        self.pending.extend_from_slice(input);
        loop {
            let rest = self.pending.get(self.scanned..).unwrap_or_default();
            let header = read_header(rest).map_err(|reason| self.not_fmp4(reason, self.at()))?;
            let Some(header) = header else { return Ok(()) };
            if self.at() == 0 && !FIRST_BOXES.contains(&&header.kind) {
                return Err(self.not_fmp4("the first box is not ftyp", 0));
            }
            let room = (MAX_OBJECT_BYTES - self.scanned) as u64;
            let held = rest.len() as u64;
            match header.size {
                Some(size) if size > room => return Err(self.too_long()),
                None if held > room => return Err(self.too_long()),
                // A box to the end of the file is complete when the file is.
                None => return Ok(()),
                Some(size) if size > held => return Ok(()),
                Some(size) => {
                    let size = usize::try_from(size).map_err(|_| self.too_long())?;
                    self.take_box(header.kind, header.head, size, out)?;
                }
            }
        }
    }

    fn finish(&mut self, out: &mut VecDeque<Step>) -> Result<(), SourceError> {
        let rest = self.pending.get(self.scanned..).unwrap_or_default();
        if !rest.is_empty() {
            match read_header(rest) {
                Ok(Some(header)) if header.size.is_none() => {
                    let size = rest.len();
                    self.take_box(header.kind, header.head, size, out)?;
                }
                _ => return Err(self.not_fmp4("the input ends within the box", self.at())),
            }
        }
        if self.movie.is_none() {
            return Err(self.not_fmp4("the input ends without a moov box", self.at()));
        }
        if self.scanned > 0 {
            self.put(out);
        }
        Ok(())
    }
}

const MEDIA_FIRST: &str = "media before the moov box (ffmpeg -movflags +frag_keyframe+empty_moov+default_base_moof makes fragments)";
const NOT_FRAGMENTED: &str =
    "its moov has no mvex box (ffmpeg -movflags +frag_keyframe+empty_moov+default_base_moof makes fragments)";
/// What a file may begin with; anything else is most likely no MP4 at all.
const FIRST_BOXES: [&[u8; 4]; 4] = [b"ftyp", b"styp", b"moov", b"free"];

#[cfg(test)]
#[path = "fmp4_tests.rs"]
mod tests;
