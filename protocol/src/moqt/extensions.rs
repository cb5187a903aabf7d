//! What a relay reads in the extension headers of an object. It only reads: the block goes on as it came.
//!
//! The gaps say which places of the track will stay empty, so that a cache can tell "does not exist" from "not known"
//! (MOQT-14 §11.1, §11.3). Everything else in a block is for endpoints.

use super::draft14;
use bytes::Bytes;

/// What a block says that concerns a relay. MOQT-14 §11 [D14-DATA-10].
///
/// Headers inside Immutable Extensions count like those outside it (MOQT-14 §11.2). Whether a gap is larger than the
/// id it stands beside, or contradicts another object, is for the one who knows the track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// So many groups directly before this object's do not and will never exist. MOQT-14 §11.1.
    pub prior_group_gap: Option<u64>,
    /// So many objects directly before this one in its group do not and will never exist. MOQT-14 §11.3.
    pub prior_object_gap: Option<u64>,
}

/// Why the track that has this block is malformed. Never a reason to close the session: MOQT-14 §2.5 [D14-MAL-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionFault {
    /// The block is not a sequence of whole key-value pairs.
    #[error("the extension headers are not key-value pairs")]
    NotPairs,
    /// One object has the same gap twice. MOQT-14 §11.1, §11.3.
    #[error("an object has the same gap twice")]
    GapTwice,
    /// Immutable Extensions inside Immutable Extensions. MOQT-14 §11.2.
    #[error("immutable extensions stand inside immutable extensions")]
    NestedImmutable,
    /// What Immutable Extensions hold is not a sequence of whole key-value pairs. MOQT-14 §11.2.
    #[error("immutable extensions are not key-value pairs")]
    ImmutableNotPairs,
}

/// Reads a block without its length, as [`super::object::ObjectHeader::extensions`] holds it. Allocates nothing.
///
/// Objects are kept in the form of draft 14, the only one spoken, so no codec is needed to read them again.
///
/// # Errors
/// When the block makes its track malformed; see [`ExtensionFault`].
pub fn inspect(block: &Bytes) -> Result<Known, ExtensionFault> {
    draft14::extensions::inspect(block)
}

/// Whether a draft that is spoken here defines the extension header of this type, so that it cannot be used for anything
/// else. MOQT-14 §11
#[must_use]
pub const fn is_defined(key: u64) -> bool {
    draft14::extensions::is_defined(key)
}
