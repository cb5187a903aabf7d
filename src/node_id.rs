//! Which node this relay is among its peers: the endpoint id as text, and the 64-bit node id behind it.
//!
//! laps peering, "Node ID": the text `high:low` is the id itself, as [`NodeId`] reads it. Any other text is hashed: the
//! first 8 bytes of its SHA-256, big endian, so that the same text is the same node on every machine and in every version.

pub use laps_protocol::peering::node::NodeId;

use laps_protocol::peering::node::NodeIdError;
use sha2::{Digest, Sha256};

/// A text that is meant as `high:low` and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a node id: {fault}")]
pub struct NotANodeId {
    text: String,
    fault: NodeIdError,
}

/// The node id of an endpoint id.
///
/// # Errors
/// When the text begins like a node id, with digits (or nothing) before a colon, and is not one.
pub fn of_endpoint(text: &str) -> Result<NodeId, NotANodeId> {
    let meant = text
        .split_once(':')
        .is_some_and(|(high, _)| high.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if !meant {
        return Ok(hashed(text));
    }
    text.parse().map_err(|fault| NotANodeId {
        text: text.to_owned(),
        fault,
    })
}

fn hashed(text: &str) -> NodeId {
    let digest = Sha256::digest(text.as_bytes());
    NodeId(
        digest
            .iter()
            .take(8)
            .fold(0, |id, &byte| id << 8 | u64::from(byte)),
    )
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
            assert_eq!(of_endpoint(text), Ok(NodeId(id)), "{text}");
        }
        assert_eq!(NodeId(0x1_0000_0002).to_string(), "1:2");
    }

    #[test]
    fn other_text_is_hashed_the_same_everywhere() {
        // sha256("relay-1") begins with these bytes; the id must never change between versions.
        let id = of_endpoint("relay-1").unwrap();
        assert_eq!(id, NodeId(RELAY_1));
        for text in [
            "",
            "paris",
            "edge:paris",
            "relay.example:33435",
            "10.0.0.1",
            "-1:2",
        ] {
            assert!(of_endpoint(text).is_ok(), "{text}");
        }
        assert_ne!(of_endpoint("relay-2"), Ok(id));
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
            assert!(of_endpoint(text).is_err(), "{text}");
        }
    }

    const RELAY_1: u64 = 0x4045_d2ef_356c_7f67;
}
