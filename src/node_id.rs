//! Which node this relay is among its peers: the endpoint id as text, and the 64-bit node id behind it.
//!
//! LAPS "Node ID": the text `high:low` is the id itself, each half an unsigned 32-bit number or two unsigned 16-bit
//! numbers with a dot between them (`1:1`, `1.2:1234`, `100.2:9001.2001`). Any other text is hashed: the first 8
//! bytes of its SHA-256, big endian, so that the same text is the same node on every machine and in every version.

use sha2::{Digest, Sha256};
use std::fmt;

/// The id of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A text that is meant as `high:low` and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// Not two halves.
    #[error("`{0}` is not a node id: it has {1} colons, not one")]
    Halves(String, usize),
    /// A half that is neither a number below 2^32 nor two below 2^16.
    #[error(
        "`{0}` is not a node id: its half `{1}` is neither a number below 2^32 nor two below 2^16 with a dot"
    )]
    Half(String, String),
}

impl NodeId {
    /// The node id of an endpoint id.
    ///
    /// # Errors
    /// When the text begins like a node id, with digits (or nothing) before a colon, and is not one.
    pub fn of_endpoint(text: &str) -> Result<Self, NodeIdError> {
        let Some((high, low)) = text.split_once(':') else {
            return Ok(Self::hashed(text));
        };
        if !high.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Ok(Self::hashed(text));
        }
        if low.contains(':') {
            return Err(NodeIdError::Halves(text.to_owned(), text.matches(':').count()));
        }
        let half =
            |half: &str| parse_half(half).ok_or_else(|| NodeIdError::Half(text.to_owned(), half.to_owned()));
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }

    fn hashed(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(
            digest
                .iter()
                .take(8)
                .fold(0, |id, &byte| id << 8 | u64::from(byte)),
        )
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

fn parse_half(text: &str) -> Option<u32> {
    match text.split_once('.') {
        None => digits(text)?.parse().ok(),
        Some((upper, lower)) => {
            let upper: u16 = digits(upper)?.parse().ok()?;
            let lower: u16 = digits(lower)?.parse().ok()?;
            Some(u32::from(upper) << 16 | u32::from(lower))
        }
    }
}

/// Rust's number parser also takes a sign, a node id does not.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|b| b.is_ascii_digit()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_id_itself() {
        for (text, id) in [
            ("1:1", 0x1_0000_0001),
            ("0:0", 0),
            ("4294967295:4294967295", u64::MAX),
            ("1.2:1234", 0x1_0002_0000_04d2),
            ("100.2:9001.2001", 0x0064_0002_2329_07d1),
            ("123456:789.100", 0x0001_e240_0315_0064),
        ] {
            assert_eq!(NodeId::of_endpoint(text), Ok(NodeId(id)), "{text}");
        }
        assert_eq!(NodeId(0x1_0000_0002).to_string(), "1:2");
    }

    #[test]
    fn other_text_is_hashed_the_same_everywhere() {
        // sha256("relay-1") begins with these bytes; the id must never change between versions.
        let id = NodeId::of_endpoint("relay-1").unwrap();
        assert_eq!(id, NodeId(RELAY_1));
        for text in [
            "",
            "paris",
            "edge:paris",
            "relay.example:33435",
            "10.0.0.1",
            "-1:2",
        ] {
            assert!(NodeId::of_endpoint(text).is_ok(), "{text}");
        }
        assert_ne!(NodeId::of_endpoint("relay-2"), Ok(id));
    }

    #[test]
    fn only_malformed_ids_are_errors() {
        for text in [
            "1:x",
            "1:2:3",
            "99999999999:1",
            "1:",
            ":1",
            ":",
            "1:4294967296",
            "1.2.3:4",
            "65536.1:1",
            "1:+2",
            "1:2 ",
        ] {
            assert!(NodeId::of_endpoint(text).is_err(), "{text}");
        }
    }

    const RELAY_1: u64 = 0x4045_d2ef_356c_7f67;
}
