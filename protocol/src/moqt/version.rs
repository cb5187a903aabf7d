//! The drafts this build speaks, and how each is asked for.

use std::fmt;

/// A draft of MOQT that a session can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// draft-ietf-moq-transport-14.
    Draft14,
}

impl Version {
    /// Every version of this build, the preferred one first.
    pub const ALL: &'static [Self] = &[Self::Draft14];

    /// The ALPN token under which a raw QUIC connection carries this version.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            // MOQT-14 §3.1.2 [D14-SETUP-3]: drafts up to 14 share one token; SETUP tells them apart.
            Self::Draft14 => b"moq-00",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draft14 => f.write_str("draft-14"),
        }
    }
}
