//! draft-ietf-moq-transport-14: the only place with its codepoints.
//!
//! Everything here is reached through [`crate::moqt::codec::Codec`], extension headers through
//! [`crate::moqt::extensions`].

pub(crate) mod codepoints;
pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod datagram;
pub(crate) mod extensions;
mod fields;
mod params;
pub(crate) mod reasons;
pub(crate) mod token;
