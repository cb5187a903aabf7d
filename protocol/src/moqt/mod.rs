//! Media over QUIC Transport: meaning, codecs per draft, the session and its data streams.
//!
//! Codepoints stand only inside `draftNN/`; everything else speaks the neutral types of [`message`] and
//! [`object`], which are shaped after the newest draft.

pub mod codec;
pub mod data;
pub mod draft14;
pub mod error;
pub mod extensions;
pub mod filter;
pub mod location;
pub mod message;
pub mod name;
pub mod name_text;
pub mod object;
pub mod session;
pub mod version;
