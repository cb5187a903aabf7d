//! The node information in CONNECT, its response, NODE_INFO_ADV and NODE_INFO_WD.

use super::codepoints;
use super::fields::FieldReader;
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use crate::wire::string;
use bytes::{BufMut, BytesMut};

/// Bytes of one item of a node path. laps peering, "Node Information Advertisement Message".
const PATH_ITEM_BYTES: usize = 16;

/// Reads it up to the end of the message: nothing tells how long the path is but that.
pub(super) fn read(r: &mut FieldReader<'_>) -> Result<NodeInfo, DecodeError> {
    let id = r.node_id()?;
    let number = r.u8()?;
    let mut types = NodeType::ALL.iter().copied();
    let node_type = types
        .find(|kind| codepoints::node_type_number(*kind) == number)
        .ok_or_else(|| r.breach(format!("node type {number} is not defined")))?;
    let contact_len = r.varint()?;
    let contact_len = r.at_most("bytes of a contact", contact_len, r.limits.max_contact_bytes)?;
    Ok(NodeInfo {
        id,
        node_type,
        contact: r.bytes(contact_len)?,
        longitude: r.degrees()?,
        latitude: r.degrees()?,
        path: read_path(r)?,
    })
}

fn read_path(r: &mut FieldReader<'_>) -> Result<Vec<PathItem>, DecodeError> {
    let bytes = r.remaining();
    if !bytes.is_multiple_of(PATH_ITEM_BYTES) {
        return Err(r.breach(format!(
            "a node path of {bytes} bytes, where each item has {PATH_ITEM_BYTES}"
        )));
    }
    let count = (bytes / PATH_ITEM_BYTES) as u64;
    let count = r.at_most("nodes on a path", count, r.limits.max_path_items)?;
    let mut path = Vec::with_capacity(count);
    for _ in 0..count {
        // Little-endian, against "Messages", as laps does: it copies these as they lie in the memory of its machines.
        path.push(PathItem {
            node: NodeId(r.u64_le()?),
            srtt_us: r.u64_le()?,
        });
    }
    Ok(path)
}

pub(super) fn put(info: &NodeInfo, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u64(info.id.0);
    out.put_u8(codepoints::node_type_number(info.node_type));
    string::write(&info.contact, out)?;
    out.put_f64(info.longitude.get());
    out.put_f64(info.latitude.get());
    for item in &info.path {
        // As laps does, see above.
        out.put_u64_le(item.node.0);
        out.put_u64_le(item.srtt_us);
    }
    Ok(())
}
