//! Objects in datagrams. MOQT-14 §10.3.1.

use super::codepoints::datagram;
use super::data::{put_status, read_extensions, read_status};
use crate::moqt::data::limits::DataLimits;
use crate::moqt::data::stream_reader::Halt;
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::location::Location;
use crate::moqt::object::{DatagramObject, ObjectStatus};
use crate::wire::cursor::Reader;
use crate::wire::{string, varint};
use bytes::{BufMut, Bytes, BytesMut};

const SECTION: &str = "MOQT-14 §10.3.1";

/// Reads one datagram; the payload is a slice of it.
pub(crate) fn read(bytes: &Bytes, limits: &DataLimits) -> Result<DatagramObject, DecodeError> {
    read_fields(&mut Reader::new(bytes), limits).map_err(|halt| match halt {
        Halt::Malformed(error) => error,
        // A datagram is whole; what is missing never comes.
        Halt::Incomplete(_) => DecodeError::violation("the datagram ends inside its header", SECTION),
    })
}

fn read_fields(reader: &mut Reader<'_>, limits: &DataLimits) -> Result<DatagramObject, Halt> {
    let datagram_type = reader.varint()?;
    let payload_bits = datagram::EXTENSIONS | datagram::END_OF_GROUP | datagram::NO_OBJECT_ID;
    let has_status = datagram_type & datagram::STATUS != 0;
    let known = if has_status {
        datagram::STATUS | datagram::EXTENSIONS
    } else {
        payload_bits
    };
    if datagram_type & !known != 0 {
        // MOQT-14 §10 [D14-DATA-12] [D14-VAL-13]
        return Err(Halt::Malformed(DecodeError::violation(
            format!("datagram type {datagram_type:#x} is not defined"),
            "MOQT-14 §10",
        )));
    }
    let alias = reader.varint()?;
    let group = reader.varint()?;
    let object = if datagram_type & datagram::NO_OBJECT_ID == 0 {
        reader.varint()?
    } else {
        0
    };
    let priority = reader.u8()?;
    let extensions = if datagram_type & datagram::EXTENSIONS == 0 {
        Bytes::new()
    } else {
        read_some(reader, limits)?
    };
    let status = if has_status {
        read_status(reader, &extensions)?
    } else {
        ObjectStatus::Normal
    };
    let payload = reader.rest();
    if has_status && !payload.is_empty() {
        return Err(Halt::Malformed(DecodeError::violation(
            "bytes after the status of a datagram",
            SECTION,
        )));
    }
    Ok(DatagramObject {
        alias,
        location: Location { group, object },
        priority,
        extensions,
        end_of_group: datagram_type & datagram::END_OF_GROUP != 0,
        status,
        payload,
    })
}

/// An extension block that may not be empty. MOQT-14 §10.3.1 [D14-DATA-13].
fn read_some(reader: &mut Reader<'_>, limits: &DataLimits) -> Result<Bytes, Halt> {
    let block = read_extensions(reader, limits)?;
    if block.is_empty() {
        return Err(Halt::Malformed(DecodeError::violation(
            "a datagram with extensions has none",
            SECTION,
        )));
    }
    Ok(block)
}

/// Appends everything of a datagram that stands before its payload.
///
/// An object of status Normal without a payload goes out as a status unless it ends its group, which only the types
/// with a payload can say. Both forms mean the same.
pub(crate) fn put_header(object: &DatagramObject, out: &mut BytesMut) -> Result<(), EncodeError> {
    let has_status =
        object.status != ObjectStatus::Normal || object.payload.is_empty() && !object.end_of_group;
    if object.status != ObjectStatus::Normal && !object.payload.is_empty() {
        return Err(EncodeError::NoCodepoint("a payload beside a status"));
    }
    if has_status && object.end_of_group {
        return Err(EncodeError::NoCodepoint("a status datagram that ends its group"));
    }
    let omits_object = object.location.object == 0 && !has_status;
    let mut datagram_type = 0;
    for (set, bit) in [
        (!object.extensions.is_empty(), datagram::EXTENSIONS),
        (object.end_of_group, datagram::END_OF_GROUP),
        (omits_object, datagram::NO_OBJECT_ID),
        (has_status, datagram::STATUS),
    ] {
        if set {
            datagram_type |= bit;
        }
    }
    varint::write(datagram_type, out)?;
    varint::write(object.alias, out)?;
    varint::write(object.location.group, out)?;
    if !omits_object {
        varint::write(object.location.object, out)?;
    }
    out.put_u8(object.priority);
    if !object.extensions.is_empty() {
        string::write(&object.extensions, out)?;
    }
    if has_status {
        put_status(object.status, &object.extensions, out)?;
    }
    Ok(())
}
