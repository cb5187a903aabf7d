//! What a relay in between tells the origin of data that did not get further, in a NODE_MESSAGE. laps has no such word.
//! Decision 0029.
//!
//! The body is the ids of the nodes that the data was for. There is no answer, and its request id is 0.

use super::codepoints::node_message;
use crate::peering::error::DecodeError;
use crate::peering::limits::Limits;
use crate::peering::node::NodeId;
use bytes::{BufMut, Bytes, BytesMut};

const SECTION: &str = "NODE_MESSAGE, lost";
const ID_BYTES: usize = 8;

/// Something of the target's tracks was lost on its way to these nodes: a link behind the sender died, or none led to them
/// for a while. The sender keeps nothing, so that the origin sends again what is open, and says what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostNodes(pub Vec<NodeId>);

impl LostNodes {
    /// The kind of a NODE_MESSAGE that says so.
    pub const KIND: u8 = node_message::LOST;
    /// Nodes in one message, at most: as many as a set has. See [`Limits::max_set_nodes`].
    pub const MOST: usize = 16_384;

    /// The body of the NODE_MESSAGE. What is beyond [`Self::MOST`] is for another one.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let nodes = self.0.iter().take(Self::MOST);
        let mut body = BytesMut::with_capacity(ID_BYTES * nodes.len());
        nodes.for_each(|node| body.put_u64(node.0));
        body.freeze()
    }

    /// Reads the body of a NODE_MESSAGE of this kind.
    ///
    /// # Errors
    /// When it is no such list. The link is not at fault: who handed it on did not look.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let wrong = |what: &'static str| DecodeError::encoding(what, SECTION);
        let (ids, rest) = body.as_chunks::<ID_BYTES>();
        if !rest.is_empty() || ids.is_empty() {
            return Err(wrong("not whole node ids"));
        }
        if ids.len() > limits.max_set_nodes {
            return Err(wrong("more nodes than a set may have"));
        }
        Ok(Self(
            ids.iter().map(|id| NodeId(u64::from_be_bytes(*id))).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_back() {
        let said = LostNodes(vec![NodeId(1), NodeId(7 << 32 | 9), NodeId(u64::MAX)]);
        let body = said.encode();
        assert_eq!(&body[..16], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 9]);
        assert_eq!(LostNodes::decode(&body, &Limits::default()), Ok(said));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let limits = Limits::default().with_max_set_nodes(2);
        let refused = |body: &[u8]| LostNodes::decode(body, &limits).unwrap_err().what.into_owned();
        for length in [0, 1, 7, 9, 15] {
            assert_eq!(refused(&vec![0; length]), "not whole node ids", "{length}");
        }
        assert_eq!(refused(&[0; 24]), "more nodes than a set may have");
        assert_eq!(LostNodes::MOST, Limits::default().max_set_nodes);
    }

    /// Two messages say what one cannot.
    #[test]
    fn no_message_has_more_than_a_set() {
        let all = LostNodes((0..20_000).map(NodeId).collect());
        let said = LostNodes::decode(&all.encode(), &Limits::default()).unwrap();
        assert_eq!(said.0, all.0[..LostNodes::MOST]);
    }
}
