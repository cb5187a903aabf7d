//! Parameters of control messages. MOQT-14 §9.2, §9.3.2.

use super::codepoints::{message_param, setup_param};
use super::fields::{FieldReader, FieldWriter};
use super::token;
use crate::moqt::error::{CloseCode, DecodeError, EncodeError};
use crate::moqt::message::{KeyValue, MessageParams, SetupParams, Value};
use crate::wire::kvp;
use bytes::Bytes;

/// Which of the known parameters a message may have. MOQT-14 §9.2.1.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    delivery_timeout: bool,
    tokens: bool,
    cache_duration: bool,
    new_group: bool,
}

impl Allowed {
    const fn new(delivery_timeout: bool, tokens: bool, cache_duration: bool) -> Self {
        Self {
            delivery_timeout,
            tokens,
            cache_duration,
            new_group: false,
        }
    }

    const fn and_new_group(self) -> Self {
        Self {
            new_group: true,
            ..self
        }
    }

    // MOQT-14 §9.2.1.1 to §9.2.1.3 [D14-PARAM-3] [D14-PARAM-4] [D14-PARAM-5]
    /// SUBSCRIBE, SUBSCRIBE_UPDATE.
    pub(super) const SUBSCRIBE: Self = Self::new(true, true, false).and_new_group();
    /// TRACK_STATUS, which wants no objects and so no new group.
    pub(super) const TRACK_STATUS: Self = Self::new(true, true, false);
    /// SUBSCRIBE_OK, TRACK_STATUS_OK.
    pub(super) const SUBSCRIBE_OK: Self = Self::new(true, false, true);
    /// PUBLISH.
    pub(super) const PUBLISH: Self = Self::new(true, true, true);
    /// PUBLISH_OK.
    pub(super) const PUBLISH_OK: Self = Self::new(true, false, false).and_new_group();
    /// FETCH, PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE.
    pub(super) const TOKENS: Self = Self::new(false, true, false);
    /// FETCH_OK.
    pub(super) const FETCH_OK: Self = Self::new(false, false, true);
}

/// Reads the parameters of a message that is not a SETUP.
pub(super) fn read(reader: &mut FieldReader<'_>, allowed: Allowed) -> Result<MessageParams, DecodeError> {
    let mut params = MessageParams::default();
    for_each_pair(reader, |key, value| {
        match key {
            // MOQT-14 §9.2.1 [D14-PARAM-2]: where it may not appear, a known parameter is ignored.
            message_param::DELIVERY_TIMEOUT if !allowed.delivery_timeout => {}
            message_param::AUTHORIZATION_TOKEN if !allowed.tokens => {}
            message_param::MAX_CACHE_DURATION if !allowed.cache_duration => {}
            message_param::NEW_GROUP_REQUEST if !allowed.new_group => {}
            message_param::DELIVERY_TIMEOUT => once(&mut params.delivery_timeout_ms, number(value)?, key)?,
            message_param::AUTHORIZATION_TOKEN => params.authorization_tokens.push(token_bytes(value)?),
            message_param::MAX_CACHE_DURATION => {
                once(&mut params.max_cache_duration_ms, number(value)?, key)?
            }
            // The draft does not know it, so a second one is no breach: the first counts. [D14-PARAM-1]
            message_param::NEW_GROUP_REQUEST => {
                params.new_group_request.get_or_insert(number(value)?);
            }
            // MOQT-14 §9.2 [D14-PARAM-1]: also when it comes twice.
            _ => params.unknown.push(KeyValue { key, value }),
        }
        Ok(())
    })?;
    Ok(params)
}

/// Writes the parameters of a message that is not a SETUP, known ones first and by type.
pub(super) fn write(
    params: &MessageParams,
    allowed: Allowed,
    writer: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    let misplaced = params.delivery_timeout_ms.is_some() && !allowed.delivery_timeout
        || params.max_cache_duration_ms.is_some() && !allowed.cache_duration
        || params.new_group_request.is_some() && !allowed.new_group
        || !params.authorization_tokens.is_empty() && !allowed.tokens;
    if misplaced {
        return Err(EncodeError::NoCodepoint(
            "a parameter that this message may not have",
        ));
    }
    let count = usize::from(params.delivery_timeout_ms.is_some())
        + params.authorization_tokens.len()
        + usize::from(params.max_cache_duration_ms.is_some())
        + usize::from(params.new_group_request.is_some())
        + params.unknown.len();
    writer.varint(count as u64)?;
    write_number(
        message_param::DELIVERY_TIMEOUT,
        params.delivery_timeout_ms,
        writer,
    )?;
    write_bytes(
        message_param::AUTHORIZATION_TOKEN,
        &params.authorization_tokens,
        writer,
    )?;
    write_number(
        message_param::MAX_CACHE_DURATION,
        params.max_cache_duration_ms,
        writer,
    )?;
    write_number(message_param::NEW_GROUP_REQUEST, params.new_group_request, writer)?;
    write_unknown(
        &params.unknown,
        &[
            message_param::DELIVERY_TIMEOUT,
            message_param::AUTHORIZATION_TOKEN,
            message_param::MAX_CACHE_DURATION,
            message_param::NEW_GROUP_REQUEST,
        ],
        writer,
    )
}

/// Reads the parameters of a SETUP. Whether PATH and AUTHORITY may be there is for the session to say.
pub(super) fn read_setup(reader: &mut FieldReader<'_>) -> Result<SetupParams, DecodeError> {
    let mut params = SetupParams::default();
    for_each_pair(reader, |key, value| {
        match key {
            setup_param::PATH => once(&mut params.path, bytes(value)?, key)?,
            setup_param::MAX_REQUEST_ID => once(&mut params.max_request_id, number(value)?, key)?,
            setup_param::AUTHORIZATION_TOKEN => params.authorization_tokens.push(token_bytes(value)?),
            setup_param::MAX_AUTH_TOKEN_CACHE_SIZE => {
                once(&mut params.max_auth_token_cache_size, number(value)?, key)?;
            }
            setup_param::AUTHORITY => once(&mut params.authority, bytes(value)?, key)?,
            // MOQT-14 §9.3.2.6 [D14-SETUP-21]: a name is no reason to close, so a second one is only kept aside.
            setup_param::MOQT_IMPLEMENTATION if params.implementation.is_none() => {
                params.implementation = Some(bytes(value)?);
            }
            // MOQT-14 §9.3 [D14-SETUP-12]
            _ => params.unknown.push(KeyValue { key, value }),
        }
        Ok(())
    })?;
    Ok(params)
}

/// Writes the parameters of a SETUP, known ones first and by type.
pub(super) fn write_setup(params: &SetupParams, writer: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    let count = usize::from(params.path.is_some())
        + usize::from(params.max_request_id.is_some())
        + params.authorization_tokens.len()
        + usize::from(params.max_auth_token_cache_size.is_some())
        + usize::from(params.authority.is_some())
        + usize::from(params.implementation.is_some())
        + params.unknown.len();
    writer.varint(count as u64)?;
    write_bytes(setup_param::PATH, &params.path, writer)?;
    write_number(setup_param::MAX_REQUEST_ID, params.max_request_id, writer)?;
    write_bytes(
        setup_param::AUTHORIZATION_TOKEN,
        &params.authorization_tokens,
        writer,
    )?;
    write_number(
        setup_param::MAX_AUTH_TOKEN_CACHE_SIZE,
        params.max_auth_token_cache_size,
        writer,
    )?;
    write_bytes(setup_param::AUTHORITY, &params.authority, writer)?;
    write_bytes(setup_param::MOQT_IMPLEMENTATION, &params.implementation, writer)?;
    write_unknown(
        &params.unknown,
        &[
            setup_param::PATH,
            setup_param::MAX_REQUEST_ID,
            setup_param::AUTHORIZATION_TOKEN,
            setup_param::MAX_AUTH_TOKEN_CACHE_SIZE,
            setup_param::AUTHORITY,
        ],
        writer,
    )
}

fn for_each_pair(
    reader: &mut FieldReader<'_>,
    mut take: impl FnMut(u64, Value) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    // The declared count reserves nothing; each pair takes two bytes at least, so the message ends the loop.
    let count = reader.varint()?;
    for _ in 0..count {
        let KeyValue { key, value } = kvp::read(reader.raw()).map_err(|stop| reader.fault(stop))?;
        take(key, value)?;
    }
    Ok(())
}

/// MOQT-14 §9.2 [D14-SETUP-12]: a known parameter comes once.
fn once<T>(slot: &mut Option<T>, value: T, key: u64) -> Result<(), DecodeError> {
    if slot.replace(value).is_some() {
        return Err(DecodeError::violation(
            format!("parameter {key:#x} comes twice"),
            "MOQT-14 §9.2",
        ));
    }
    Ok(())
}

fn number(value: Value) -> Result<u64, DecodeError> {
    match value {
        Value::Number(number) => Ok(number),
        Value::Bytes(_) => Err(wrong_shape()),
    }
}

fn bytes(value: Value) -> Result<Bytes, DecodeError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Number(_) => Err(wrong_shape()),
    }
}

/// The bytes of a token, once they are known to be one.
fn token_bytes(value: Value) -> Result<Bytes, DecodeError> {
    let bytes = bytes(value)?;
    token::decode(&bytes)?;
    Ok(bytes)
}

/// MOQT-14 §1.4.2 [D14-ENC-5].
fn wrong_shape() -> DecodeError {
    DecodeError::with_code(
        CloseCode::KeyValueFormatting,
        "the value of a known parameter has the wrong form",
        "MOQT-14 §1.4.2",
    )
}

fn write_number(key: u64, value: Option<u64>, writer: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |number| Ok(kvp::write_number(key, number, writer.out)?))
}

fn write_bytes<'b>(
    key: u64,
    values: impl IntoIterator<Item = &'b Bytes>,
    writer: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    for value in values {
        kvp::write_bytes(key, value, writer.out)?;
    }
    Ok(())
}

fn write_unknown(pairs: &[KeyValue], known: &[u64], writer: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    for pair in pairs {
        if known.contains(&pair.key) {
            return Err(EncodeError::NoCodepoint(
                "a known parameter among the unknown ones",
            ));
        }
        kvp::write(pair, writer.out)?;
    }
    Ok(())
}
