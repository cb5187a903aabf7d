//! What a relay tells those whom it has refused a track, in a NODE_MESSAGE: it may have it now. laps has no such word.
//! Decision 0029.
//!
//! The body is the namespace, as in a publish info. There is no answer, and its request id is 0.

use super::codepoints::node_message;
use super::fields::FieldReader;
use super::publish_info::{put_namespace, read_namespace};
use crate::moqt::name::TrackNamespace;
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::limits::Limits;
use bytes::{Bytes, BytesMut};

const SECTION: &str = "NODE_MESSAGE, more publishers";

/// Another publisher has announced this namespace at the sender, which publishes it already: its publish info stays as it is,
/// so nobody hears of that. Whoever was refused a track in it may ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePublishers(pub TrackNamespace);

impl MorePublishers {
    /// The kind of a NODE_MESSAGE that says so.
    pub const KIND: u8 = node_message::MORE;

    /// The body of the NODE_MESSAGE.
    ///
    /// # Errors
    /// When a field is longer than a publish info can say.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut body = BytesMut::new();
        put_namespace(&self.0, &mut body)?;
        Ok(body.freeze())
    }

    /// Reads the body of a NODE_MESSAGE of this kind.
    ///
    /// # Errors
    /// When it is no namespace. The link is not at fault: who handed it on did not look.
    pub fn decode(body: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let mut r = FieldReader::new(body, limits, SECTION);
        let namespace = read_namespace(&mut r)?;
        r.finish()?;
        Ok(Self(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_comes_back_and_nothing_else_is_one() {
        let fields = ["live", "cam"].map(|field| Bytes::from_static(field.as_bytes()));
        let said = MorePublishers(TrackNamespace::new(fields).unwrap());
        let body = said.encode().unwrap();
        assert_eq!(&body[..], b"\x02\0\x04live\0\x03cam");
        let limits = Limits::default();
        assert_eq!(MorePublishers::decode(&body, &limits), Ok(said));
        for length in 0..body.len() {
            assert!(MorePublishers::decode(&body.slice(..length), &limits).is_err());
        }
        let longer = [&body[..], b"\0"].concat().into();
        assert!(MorePublishers::decode(&longer, &limits).is_err());
    }
}
