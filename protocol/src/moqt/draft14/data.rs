//! Headers on unidirectional streams. MOQT-14 §10.4.

use super::codepoints::{object_status, stream};
use crate::moqt::data::limits::DataLimits;
use crate::moqt::data::stream_reader::{Halt, StreamItem};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::location::{Location, ObjectId};
use crate::moqt::message::RequestId;
use crate::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use crate::wire::cursor::Reader;
use crate::wire::{kvp, string, varint};
use bytes::{BufMut, Bytes, BytesMut};

/// Reads what a stream starts with.
pub(crate) fn read_stream_header(reader: &mut Reader<'_>) -> Result<StreamItem, Halt> {
    let stream_type = reader.varint()?;
    if stream_type == stream::FETCH_HEADER {
        return Ok(StreamItem::FetchHeader(RequestId(reader.varint()?)));
    }
    let flags = stream_type ^ stream::SUBGROUP_HEADER;
    let id_kind = flags & stream::SUBGROUP_ID_MASK;
    let known = stream::EXTENSIONS | stream::SUBGROUP_ID_MASK | stream::END_OF_GROUP;
    if flags & !known != 0 || id_kind == stream::SUBGROUP_ID_MASK {
        // MOQT-14 §10 [D14-DATA-1] [D14-VAL-13]
        return Err(Halt::Malformed(DecodeError::violation(
            format!("stream type {stream_type:#x} is not defined"),
            "MOQT-14 §10",
        )));
    }
    let alias = reader.varint()?;
    let group = reader.varint()?;
    // MOQT-14 §10.4.2 [D14-DATA-2]
    let subgroup = match id_kind {
        stream::SUBGROUP_ID_ZERO => SubgroupIdMode::Zero,
        stream::SUBGROUP_ID_FIRST_OBJECT => SubgroupIdMode::FirstObject,
        _ => SubgroupIdMode::Explicit(reader.varint()?),
    };
    Ok(StreamItem::SubgroupHeader(SubgroupHeader {
        alias,
        group,
        subgroup,
        priority: reader.u8()?,
        has_extensions: flags & stream::EXTENSIONS != 0,
        end_of_group: flags & stream::END_OF_GROUP != 0,
    }))
}

/// Appends the header of a subgroup stream.
pub(crate) fn put_subgroup_header(header: &SubgroupHeader, out: &mut BytesMut) -> Result<(), EncodeError> {
    let (id_kind, id) = match header.subgroup {
        SubgroupIdMode::Zero => (stream::SUBGROUP_ID_ZERO, None),
        SubgroupIdMode::FirstObject => (stream::SUBGROUP_ID_FIRST_OBJECT, None),
        SubgroupIdMode::Explicit(id) => (stream::SUBGROUP_ID_EXPLICIT, Some(id)),
    };
    let extensions = if header.has_extensions {
        stream::EXTENSIONS
    } else {
        0
    };
    let end_of_group = if header.end_of_group {
        stream::END_OF_GROUP
    } else {
        0
    };
    varint::write(stream::SUBGROUP_HEADER | id_kind | extensions | end_of_group, out)?;
    varint::write(header.alias, out)?;
    varint::write(header.group, out)?;
    if let Some(id) = id {
        varint::write(id, out)?;
    }
    out.put_u8(header.priority);
    Ok(())
}

/// Reads what stands before the payload of an object in a subgroup. MOQT-14 §10.4.2 [D14-DATA-3].
pub(crate) fn read_object(
    reader: &mut Reader<'_>,
    has_extensions: bool,
    previous: Option<ObjectId>,
    limits: &DataLimits,
) -> Result<ObjectHeader, Halt> {
    let delta = reader.varint()?;
    let id = match previous {
        None => delta,
        // Neither operand is above 2^62-1, so the sum of them does not wrap.
        Some(previous) => previous.saturating_add(delta).saturating_add(1),
    };
    if id > varint::MAX {
        return Err(Halt::Malformed(DecodeError::violation(
            "an object id above 2^62-1",
            "MOQT-14 §10.4.2",
        )));
    }
    // MOQT-14 §10.4.2 [D14-DATA-4]
    let extensions = if has_extensions {
        read_extensions(reader, limits)?
    } else {
        Bytes::new()
    };
    let (payload_len, status) = read_length_and_status(reader, &extensions)?;
    Ok(ObjectHeader {
        id,
        status,
        extensions,
        payload_len,
    })
}

/// Appends what stands before the payload of an object in a subgroup.
pub(crate) fn put_object_header(
    has_extensions: bool,
    previous: Option<ObjectId>,
    header: &ObjectHeader,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let delta = match previous {
        None => header.id,
        // MOQT-14 §10.4.2 [D14-DATA-3]: one less than the distance.
        Some(previous) => {
            let after = previous.saturating_add(1);
            header
                .id
                .checked_sub(after)
                .ok_or(EncodeError::ObjectIdNotRising {
                    previous,
                    next: header.id,
                })?
        }
    };
    if header.id > varint::MAX {
        return Err(EncodeError::NumberTooLarge(header.id));
    }
    varint::write(delta, out)?;
    if has_extensions {
        string::write(&header.extensions, out)?;
    } else if !header.extensions.is_empty() {
        return Err(EncodeError::NoCodepoint(
            "extensions on a stream without extensions",
        ));
    }
    put_length_and_status(header.payload_len, header.status, &header.extensions, out)
}

/// Reads what stands before the payload of an object on a fetch stream. MOQT-14 §10.4.4 [D14-DATA-19].
pub(crate) fn read_fetch_object(
    reader: &mut Reader<'_>,
    limits: &DataLimits,
) -> Result<FetchObjectHeader, Halt> {
    let group = reader.varint()?;
    let subgroup = reader.varint()?;
    let object = reader.varint()?;
    let priority = reader.u8()?;
    let extensions = read_extensions(reader, limits)?;
    let (payload_len, status) = read_length_and_status(reader, &extensions)?;
    Ok(FetchObjectHeader {
        location: Location { group, object },
        subgroup,
        priority,
        status,
        extensions,
        payload_len,
    })
}

/// Appends the header of a fetch stream.
pub(crate) fn put_fetch_header(request: RequestId, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::write(stream::FETCH_HEADER, out)?;
    Ok(varint::write(request.0, out)?)
}

/// Appends what stands before the payload of an object on a fetch stream.
pub(crate) fn put_fetch_object_header(
    header: &FetchObjectHeader,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    varint::write(header.location.group, out)?;
    varint::write(header.subgroup, out)?;
    varint::write(header.location.object, out)?;
    out.put_u8(header.priority);
    // MOQT-14 §10.4.4 [D14-DATA-19]: the length is there for every object.
    string::write(&header.extensions, out)?;
    put_length_and_status(header.payload_len, header.status, &header.extensions, out)
}

/// Reads a block of extensions behind its length in bytes; checked, so that it can be passed on as it is.
///
/// MOQT-14 §10.2.1.2 [D14-DATA-9]: a slice of what came, which nothing here ever writes to.
pub(super) fn read_extensions(reader: &mut Reader<'_>, limits: &DataLimits) -> Result<Bytes, Halt> {
    let len = reader.varint()?;
    if len > limits.max_extension_bytes {
        // [D14-LIM-8]: a bound of our own; the draft has none.
        return Err(Halt::Malformed(DecodeError::violation(
            format!(
                "{len} bytes of extensions, {} are accepted",
                limits.max_extension_bytes
            ),
            "MOQT-14 §10.2.1.2",
        )));
    }
    let block = reader.bytes(len)?;
    check_extensions(&block)?;
    Ok(block)
}

/// Checks that a block is nothing but whole key-value pairs: one that is not would end the next hop's session.
///
/// MOQT-14 §8.4 [D14-MAL-4]. What the pairs mean is for others to judge.
fn check_extensions(block: &Bytes) -> Result<(), DecodeError> {
    let mut reader = Reader::new(block);
    while reader.remaining() > 0 {
        kvp::read(&mut reader)
            .map_err(|_| DecodeError::violation("extensions are not key-value pairs", "MOQT-14 §10.2.1.2"))?;
    }
    Ok(())
}

fn read_length_and_status(reader: &mut Reader<'_>, extensions: &Bytes) -> Result<(u64, ObjectStatus), Halt> {
    let payload_len = reader.varint()?;
    if payload_len > 0 {
        return Ok((payload_len, ObjectStatus::Normal));
    }
    // MOQT-14 §10.4.2 [D14-DATA-3]: a status only where there is no payload.
    Ok((0, read_status(reader, extensions)?))
}

fn put_length_and_status(
    payload_len: u64,
    status: ObjectStatus,
    extensions: &Bytes,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    varint::write(payload_len, out)?;
    if payload_len == 0 {
        return put_status(status, extensions, out);
    }
    if status != ObjectStatus::Normal {
        return Err(EncodeError::NoCodepoint("a payload beside a status"));
    }
    Ok(())
}

/// Reads an object status. MOQT-14 §10.2.1.1.
pub(super) fn read_status(reader: &mut Reader<'_>, extensions: &Bytes) -> Result<ObjectStatus, Halt> {
    match reader.varint()? {
        object_status::NORMAL => Ok(ObjectStatus::Normal),
        // MOQT-14 §10.2.1.2 [D14-DATA-8]
        object_status::DOES_NOT_EXIST if !extensions.is_empty() => {
            Err(Halt::Malformed(DecodeError::violation(
                "an object that does not exist has extensions",
                "MOQT-14 §10.2.1.2",
            )))
        }
        object_status::DOES_NOT_EXIST => Ok(ObjectStatus::DoesNotExist),
        object_status::END_OF_GROUP => Ok(ObjectStatus::EndOfGroup),
        object_status::END_OF_TRACK => Ok(ObjectStatus::EndOfTrack),
        // MOQT-14 §10.2.1.1 [D14-DATA-7]
        other => Err(Halt::Malformed(DecodeError::violation(
            format!("object status {other:#x} is not defined"),
            "MOQT-14 §10.2.1.1",
        ))),
    }
}

/// Appends an object status.
pub(super) fn put_status(
    status: ObjectStatus,
    extensions: &Bytes,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let code = match status {
        ObjectStatus::Normal => object_status::NORMAL,
        ObjectStatus::DoesNotExist if !extensions.is_empty() => {
            return Err(EncodeError::NoCodepoint(
                "an object that does not exist with extensions",
            ));
        }
        ObjectStatus::DoesNotExist => object_status::DOES_NOT_EXIST,
        ObjectStatus::EndOfGroup => object_status::END_OF_GROUP,
        ObjectStatus::EndOfTrack => object_status::END_OF_TRACK,
    };
    Ok(varint::write(code, out)?)
}
