//! Bytes of every draft: integers, cursors, key-value pairs, strings.
//!
//! Nothing here knows a draft. A value that has not arrived whole is [`cursor::Stop::Incomplete`], which says how
//! many bytes are missing at least; whether that means "wait" or "too short" is the caller's to say.

pub mod cursor;
pub mod kvp;
pub mod string;
pub mod varint;
