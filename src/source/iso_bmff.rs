//! As much of ISO/IEC 14496-12 as it takes to see where fragments begin and which of them a decoder can start with.
//!
//! Every reader here takes what is missing or malformed as absent: the bytes are passed on in any case, and the
//! worst that a wrong answer does is a group boundary elsewhere.

/// Head of a box. ISO/IEC 14496-12 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoxHeader {
    /// Its type, four characters.
    pub(super) kind: [u8; 4],
    /// Bytes of the head itself.
    pub(super) head: usize,
    /// Bytes of the whole box, head included; none when it runs to the end of the file.
    pub(super) size: Option<u64>,
}

/// The head at the front of `bytes`; none when there are too few yet.
pub(super) fn read_header(bytes: &[u8]) -> Result<Option<BoxHeader>, &'static str> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some((kind, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let (head, size) = match u32::from_be_bytes(*size) {
        0 => (8, None),
        1 => match rest.first_chunk::<8>() {
            None => return Ok(None),
            Some(large) => (16, Some(u64::from_be_bytes(*large))),
        },
        size => (8, Some(u64::from(size))),
    };
    if size.is_some_and(|size| size < head as u64) {
        return Err("a box is smaller than its own head");
    }
    Ok(Some(BoxHeader {
        kind: *kind,
        head,
        size,
    }))
}

/// Boxes within a box, up to the first that does not fit.
fn children(mut body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let header = read_header(body).ok()??;
        let size = header
            .size
            .map_or(Some(body.len()), |size| usize::try_from(size).ok())?;
        let (this, rest) = body.split_at_checked(size)?;
        body = rest;
        Some((header.kind, this.get(header.head..)?))
    })
}

fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(body).find_map(|(k, inner)| (k == *kind).then_some(inner))
}

fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    body.get(at..)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// What the `moov` says that matters for its fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Movie {
    /// True when it has an `mvex`: its media is in fragments.
    pub(super) fragmented: bool,
    /// The first track whose handler is `vide`.
    video: Option<u32>,
    /// Sample flags of that track where a fragment says nothing.
    video_flags: u32,
}

impl Movie {
    /// Reads the body of a `moov`.
    pub(super) fn read(moov: &[u8]) -> Self {
        let tracks = children(moov).filter(|(kind, _)| kind == b"trak");
        let video = tracks
            .filter(|(_, trak)| is_video(trak))
            .find_map(|(_, trak)| track_id(trak));
        let mvex = child(moov, b"mvex");
        // §8.8.3: track id at byte 4, default sample flags at byte 20.
        let mut trex = children(mvex.unwrap_or_default()).filter(|(kind, _)| kind == b"trex");
        let video_flags = trex.find(|(_, body)| video.is_some() && u32_at(body, 4) == video);
        let video_flags = video_flags
            .and_then(|(_, body)| u32_at(body, 20))
            .unwrap_or_default();
        Self {
            fragmented: mvex.is_some(),
            video,
            video_flags,
        }
    }

    /// True when a decoder can start with the fragment of this `moof`: its first video sample is a sync sample, or
    /// there is no video in the file at all.
    pub(super) fn is_sync(&self, moof: &[u8]) -> bool {
        let Some(video) = self.video else { return true };
        let of_video = |traf: &&[u8]| child(traf, b"tfhd").and_then(|tfhd| u32_at(tfhd, 4)) == Some(video);
        let traf = children(moof)
            .filter(|(kind, _)| kind == b"traf")
            .map(|(_, traf)| traf)
            .find(of_video);
        // §8.8.3.1: sample_is_non_sync_sample.
        traf.and_then(|traf| self.first_sample_flags(traf))
            .is_some_and(|flags| flags & 0x0001_0000 == 0)
    }

    /// Flags of the first sample of a `traf`; none when it has no sample.
    fn first_sample_flags(&self, traf: &[u8]) -> Option<u32> {
        let has_sample = |trun: &&[u8]| u32_at(trun, 4).is_some_and(|count| count > 0);
        let trun = children(traf)
            .filter(|(kind, _)| kind == b"trun")
            .map(|(_, trun)| trun)
            .find(has_sample)?;
        // §8.8.8: optional fields stand in the order of their flag bits.
        let given = u32_at(trun, 0)?;
        let present = |bit: u32| if given & bit == 0 { 0 } else { 4 };
        let after_offset = 8 + present(0x1);
        if given & 0x4 != 0 {
            return u32_at(trun, after_offset);
        }
        if given & 0x400 != 0 {
            return u32_at(trun, after_offset + present(0x100) + present(0x200));
        }
        // §8.8.7: likewise, after the track id; the base data offset has 8 bytes.
        let tfhd = child(traf, b"tfhd")?;
        let given = u32_at(tfhd, 0)?;
        if given & 0x20 == 0 {
            return Some(self.video_flags);
        }
        let present = |bit: u32| if given & bit == 0 { 0 } else { 4 };
        u32_at(
            tfhd,
            8 + 2 * present(0x1) + present(0x2) + present(0x8) + present(0x10),
        )
    }
}

/// §8.4.3: the handler type stands at byte 8.
fn is_video(trak: &[u8]) -> bool {
    let hdlr = child(trak, b"mdia").and_then(|mdia| child(mdia, b"hdlr"));
    hdlr.and_then(|hdlr| hdlr.get(8..12)) == Some(b"vide")
}

/// §8.3.2: the times before the id have 4 bytes each in version 0, 8 in version 1.
fn track_id(trak: &[u8]) -> Option<u32> {
    let tkhd = child(trak, b"tkhd")?;
    u32_at(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 })
}
