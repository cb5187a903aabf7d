//! The token structure. MOQT-14 §9.2.1.1.

use super::codepoints::token;
use crate::moqt::error::{CloseCode, DecodeError, EncodeError};
use crate::moqt::message::AuthToken;
use crate::wire::cursor::{Reader, Stop};
use crate::wire::varint;
use bytes::{Bytes, BytesMut};

const SECTION: &str = "MOQT-14 §9.2.1.1";

/// Reads the value of one AUTHORIZATION_TOKEN parameter.
pub(crate) fn decode(parameter: &Bytes) -> Result<AuthToken, DecodeError> {
    let mut reader = Reader::new(parameter);
    let short = |_: Stop| malformed("a token ends inside a field");
    let token = match reader.varint().map_err(short)? {
        token::DELETE => AuthToken::Delete {
            alias: reader.varint().map_err(short)?,
        },
        token::REGISTER => AuthToken::Register {
            alias: reader.varint().map_err(short)?,
            token_type: reader.varint().map_err(short)?,
            value: reader.rest(),
        },
        token::USE_ALIAS => AuthToken::UseAlias {
            alias: reader.varint().map_err(short)?,
        },
        token::USE_VALUE => AuthToken::UseValue {
            token_type: reader.varint().map_err(short)?,
            value: reader.rest(),
        },
        _ => return Err(malformed("the alias type of a token is not defined")),
    };
    if reader.remaining() > 0 {
        return Err(malformed("a token without a value has bytes after its alias"));
    }
    Ok(token)
}

/// Appends the value of one AUTHORIZATION_TOKEN parameter.
pub(crate) fn encode(token: &AuthToken, out: &mut BytesMut) -> Result<(), EncodeError> {
    match token {
        AuthToken::Delete { alias } => {
            varint::write(token::DELETE, out)?;
            varint::write(*alias, out)?;
        }
        AuthToken::Register {
            alias,
            token_type,
            value,
        } => {
            varint::write(token::REGISTER, out)?;
            varint::write(*alias, out)?;
            varint::write(*token_type, out)?;
            out.extend_from_slice(value);
        }
        AuthToken::UseAlias { alias } => {
            varint::write(token::USE_ALIAS, out)?;
            varint::write(*alias, out)?;
        }
        AuthToken::UseValue { token_type, value } => {
            varint::write(token::USE_VALUE, out)?;
            varint::write(*token_type, out)?;
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

/// MOQT-14 §9.2.1.1 [D14-AUTH-1]: a structure that cannot be read has a close code of its own.
fn malformed(what: &'static str) -> DecodeError {
    DecodeError::with_code(CloseCode::KeyValueFormatting, what, SECTION)
}
