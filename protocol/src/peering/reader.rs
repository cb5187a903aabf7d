//! Control messages out of the bytes of a control stream.

use super::error::DecodeError;
use super::limits::Limits;
use super::message::{Dialect, HEADER_BYTES, Header, Message};
use bytes::{Buf, BytesMut};

/// One thing that stood on a control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message(Message),
    /// A message of a type that this build does not know; it was passed over. laps peering, "Control Messages".
    Unknown {
        /// Its type.
        message_type: u16,
        /// Bytes of its body.
        length: u32,
    },
}

/// Control messages out of the bytes of one control stream, however they are split.
///
/// Call [`Self::next`] until it gives none after each [`Self::push`]; what is held back then is the start of one message,
/// below [`Limits::max_message_bytes`] and a header. An error is final: it is given again by each later call.
#[derive(Debug)]
pub struct ControlReader {
    dialect: Dialect,
    limits: Limits,
    buffer: BytesMut,
    failed: Option<DecodeError>,
}

impl ControlReader {
    /// A reader at the start of a control stream.
    #[must_use]
    pub fn new(dialect: Dialect, limits: Limits) -> Self {
        Self {
            dialect,
            limits,
            buffer: BytesMut::new(),
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes taken and not yet given out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What stands next, or none when more bytes are needed for it.
    ///
    /// # Errors
    /// When the bytes cannot be a message, as soon as that is known, or declare more than the limits allow.
    #[expect(
        clippy::should_implement_trait,
        reason = "none does not mean that it is over, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Incoming>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }

    fn take(&mut self) -> Result<Option<Incoming>, DecodeError> {
        let Some(header) = Header::read(&self.buffer, &self.limits)? else {
            return Ok(None);
        };
        let length = header.length as usize;
        if self.buffer.len() - HEADER_BYTES < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(length).freeze();
        let Some(kind) = header.kind else {
            return Ok(Some(Incoming::Unknown {
                message_type: header.number,
                length: header.length,
            }));
        };
        let message = Message::decode(kind, &body, self.dialect, &self.limits)?;
        Ok(Some(Incoming::Message(message)))
    }
}
