//! Extension headers of objects. MOQT-14 §11.

use super::codepoints::extension;
use crate::moqt::extensions::{ExtensionFault, Known};
use crate::wire::cursor::Reader;
use crate::wire::kvp::{self, KeyValue, Value};
use bytes::{Bytes, BytesMut};

/// Where a header stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Block,
    Immutable,
}

/// Whether `key` is a header of the draft itself. MOQT-14 §11 [D14-DATA-10] [D14-DATA-11].
pub(crate) const fn is_defined(key: u64) -> bool {
    matches!(
        key,
        extension::IMMUTABLE | extension::PRIOR_GROUP_ID_GAP | extension::PRIOR_OBJECT_ID_GAP
    )
}

/// Reads the headers that concern a relay. MOQT-14 §11 [D14-DATA-10] [D14-DATA-11].
pub(crate) fn inspect(block: &Bytes) -> Result<Known, ExtensionFault> {
    let mut known = Known::default();
    read_pairs(block, Place::Block, &mut known)?;
    Ok(known)
}

/// `block` with one header more, a mark without a meaning of its own: the number 1 for an even key, the byte 1 for an
/// odd one. None when `key` is no header's.
///
/// MOQT-14 §11.2: what stands outside of the immutable extensions may be added to by a relay.
pub(crate) fn marked(block: &Bytes, key: u64) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(block.len() + 16);
    out.extend_from_slice(block);
    let written = if key.is_multiple_of(2) {
        kvp::write_number(key, 1, &mut out)
    } else {
        kvp::write_bytes(key, &[1], &mut out)
    };
    written.ok().map(|()| out.freeze())
}

/// At most two levels deep: what would be the third is refused.
fn read_pairs(block: &Bytes, place: Place, known: &mut Known) -> Result<(), ExtensionFault> {
    let mut reader = Reader::new(block);
    while reader.remaining() > 0 {
        let KeyValue { key, value } = kvp::read(&mut reader).map_err(|_| match place {
            Place::Block => ExtensionFault::NotPairs,
            // MOQT-14 §11.2 [D14-DATA-11]
            Place::Immutable => ExtensionFault::ImmutableNotPairs,
        })?;
        match (key, value, place) {
            // MOQT-14 §11.1, §11.3 [D14-DATA-10]: one instance in an object, wherever it stands.
            (extension::PRIOR_GROUP_ID_GAP, Value::Number(gap), _) => once(&mut known.prior_group_gap, gap)?,
            (extension::PRIOR_OBJECT_ID_GAP, Value::Number(gap), _) => {
                once(&mut known.prior_object_gap, gap)?;
            }
            // MOQT-14 §11.2 [D14-DATA-11]: what is inside are headers of the object too.
            (extension::IMMUTABLE, Value::Bytes(inner), Place::Block) => {
                read_pairs(&inner, Place::Immutable, known)?;
            }
            (extension::IMMUTABLE, _, Place::Immutable) => return Err(ExtensionFault::NestedImmutable),
            _ => {}
        }
    }
    Ok(())
}

fn once(slot: &mut Option<u64>, gap: u64) -> Result<(), ExtensionFault> {
    match slot.replace(gap) {
        None => Ok(()),
        Some(_) => Err(ExtensionFault::GapTwice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_appended_in_the_form_of_its_key() {
        let block = Bytes::from_static(&[0x3e, 2]);
        assert_eq!(marked(&block, 0x20).unwrap(), [0x3e, 2, 0x20, 1].as_slice());
        assert_eq!(marked(&block, 0x21).unwrap(), [0x3e, 2, 0x21, 1, 1].as_slice());
        assert_eq!(marked(&block, u64::MAX), None);
    }

    fn read(block: &[u8]) -> Result<Known, ExtensionFault> {
        inspect(&Bytes::copy_from_slice(block))
    }

    fn known(prior_group_gap: Option<u64>, prior_object_gap: Option<u64>) -> Result<Known, ExtensionFault> {
        Ok(Known {
            prior_group_gap,
            prior_object_gap,
        })
    }

    /// D14-DATA-10: both gaps, in any order, among headers that nobody here knows; 0 is a gap too.
    #[test]
    fn gaps_are_read() {
        for (block, expected) in [
            (&[][..], known(None, None)),
            (&[0x3c, 2], known(Some(2), None)),
            (&[0x3e, 0], known(None, Some(0))),
            (&[0x3e, 1, 0x3c, 0x41, 0x00], known(Some(256), Some(1))),
            (
                &[0x01, 2, 0x3c, 9, 0x04, 7, 0x3c, 3, 0x01, 0],
                known(Some(3), None),
            ),
            (&[0x40, 0x3c, 5], known(Some(5), None)),
        ] {
            assert_eq!(read(block), expected, "{block:02x?}");
        }
    }

    /// D14-DATA-10: the same gap twice, also when one of them stands inside Immutable Extensions, and if both agree.
    #[test]
    fn a_gap_comes_once() {
        for block in [
            &[0x3c, 2, 0x3c, 2][..],
            &[0x3e, 2, 0x01, 0, 0x3e, 3],
            &[0x3c, 2, 0x0b, 2, 0x3c, 2],
            &[0x0b, 4, 0x3e, 1, 0x3e, 1],
            &[0x0b, 2, 0x3e, 1, 0x0b, 2, 0x3e, 1],
        ] {
            assert_eq!(read(block), Err(ExtensionFault::GapTwice), "{block:02x?}");
        }
    }

    /// D14-DATA-11: what Immutable Extensions hold are headers of the object; the header may be empty, or come twice.
    #[test]
    fn immutable_extensions_are_looked_into() {
        for (block, expected) in [
            (&[0x0b, 0][..], known(None, None)),
            (&[0x0b, 4, 0x3c, 2, 0x3e, 3], known(Some(2), Some(3))),
            (&[0x0b, 2, 0x3c, 2, 0x0b, 2, 0x3e, 3], known(Some(2), Some(3))),
            // The type of Immutable Extensions as a value is only a value.
            (&[0x0b, 3, 0x05, 1, 0x0b], known(None, None)),
        ] {
            assert_eq!(read(block), expected, "{block:02x?}");
        }
    }

    /// D14-DATA-11: nested ones, and pairs inside that are cut short or too long.
    #[test]
    fn immutable_extensions_that_are_none() {
        assert_eq!(read(&[0x0b, 2, 0x0b, 0]), Err(ExtensionFault::NestedImmutable));
        assert_eq!(
            read(&[0x0b, 4, 0x3c, 1, 0x0b, 0]),
            Err(ExtensionFault::NestedImmutable)
        );
        for block in [
            &[0x0b, 1, 0x3c][..],
            &[0x0b, 1, 0x01],
            &[0x0b, 2, 0x01, 1],
            &[0x0b, 5, 0x01, 0x80, 1, 0, 0],
        ] {
            assert_eq!(
                read(block),
                Err(ExtensionFault::ImmutableNotPairs),
                "{block:02x?}"
            );
        }
    }

    #[test]
    fn a_block_that_is_cut_short() {
        for block in [&[0x3c][..], &[0x01], &[0x01, 1], &[0x0b, 3, 0x3c, 1]] {
            assert_eq!(read(block), Err(ExtensionFault::NotPairs), "{block:02x?}");
        }
    }

    /// D14-DATA-10 D14-DATA-11
    #[test]
    fn the_drafts_own_headers_are_told_from_others() {
        let defined: Vec<u64> = (0..0x100).filter(|key| is_defined(*key)).collect();
        assert_eq!(defined, [0x0b, 0x3c, 0x3e]);
    }
}
