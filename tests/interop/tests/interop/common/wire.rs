//! The least MOQT a raw peer needs: varints, control frames, a message builder. Written from the draft for these tests
//! and deliberately independent of `laps-protocol`.

use bytes::{Buf, BytesMut};

/// MOQT-14 §9: control message types the tests name.
pub(crate) mod kind {
    pub(crate) const SUBSCRIBE_UPDATE: u64 = 0x2;
    pub(crate) const SUBSCRIBE: u64 = 0x3;
    pub(crate) const SUBSCRIBE_OK: u64 = 0x4;
    pub(crate) const PUBLISH_NAMESPACE: u64 = 0x6;
    pub(crate) const PUBLISH_NAMESPACE_OK: u64 = 0x7;
    pub(crate) const PUBLISH_NAMESPACE_DONE: u64 = 0x9;
    pub(crate) const UNSUBSCRIBE: u64 = 0xa;
    pub(crate) const PUBLISH_DONE: u64 = 0xb;
    pub(crate) const TRACK_STATUS: u64 = 0xd;
    pub(crate) const TRACK_STATUS_OK: u64 = 0xe;
    pub(crate) const TRACK_STATUS_ERROR: u64 = 0xf;
    pub(crate) const GOAWAY: u64 = 0x10;
    pub(crate) const SUBSCRIBE_NAMESPACE: u64 = 0x11;
    pub(crate) const SUBSCRIBE_NAMESPACE_OK: u64 = 0x12;
    pub(crate) const SUBSCRIBE_NAMESPACE_ERROR: u64 = 0x13;
    pub(crate) const MAX_REQUEST_ID: u64 = 0x15;
    pub(crate) const FETCH: u64 = 0x16;
    pub(crate) const FETCH_CANCEL: u64 = 0x17;
    pub(crate) const FETCH_OK: u64 = 0x18;
    pub(crate) const FETCH_ERROR: u64 = 0x19;
    pub(crate) const PUBLISH: u64 = 0x1d;
    pub(crate) const PUBLISH_OK: u64 = 0x1e;
    pub(crate) const CLIENT_SETUP: u64 = 0x20;
    pub(crate) const SERVER_SETUP: u64 = 0x21;
}

/// MOQT-14 §3.4: session termination codes the tests expect.
pub(crate) mod code {
    pub(crate) const PROTOCOL_VIOLATION: u64 = 0x3;
    pub(crate) const INVALID_REQUEST_ID: u64 = 0x4;
    pub(crate) const KEY_VALUE_FORMATTING: u64 = 0x6;
    pub(crate) const TOO_MANY_REQUESTS: u64 = 0x7;
    pub(crate) const MALFORMED_PATH: u64 = 0x9;
    pub(crate) const GOAWAY_TIMEOUT: u64 = 0x10;
    pub(crate) const CONTROL_MESSAGE_TIMEOUT: u64 = 0x11;
    pub(crate) const DATA_STREAM_TIMEOUT: u64 = 0x12;
    pub(crate) const VERSION_NEGOTIATION_FAILED: u64 = 0x15;
}

/// V14-C1: CLIENT_SETUP for draft-14 without PATH and AUTHORITY, MAX_REQUEST_ID 100.
pub(crate) const CLIENT_SETUP: &str = "20000d01c0000000ff00000e01024064";
/// V14-C4: SERVER_SETUP for draft-14, MAX_REQUEST_ID 1000.
pub(crate) const SERVER_SETUP: &str = "21000cc0000000ff00000e010243e8";

/// Bytes of a hex string; blanks are ignored so that vectors can be written field by field.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hex digit")).expect("a nibble"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "odd number of hex digits: {text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Appends `value` as the shortest QUIC varint (RFC 9000 §16).
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(u8::try_from(value).expect("6 bits")),
        0x40..=0x3fff => {
            out.extend_from_slice(&(u16::try_from(value).expect("14 bits") | 0x4000).to_be_bytes());
        }
        0x4000..=0x3fff_ffff => {
            out.extend_from_slice(&(u32::try_from(value).expect("30 bits") | 0x8000_0000).to_be_bytes());
        }
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads fields off a byte slice; `None` means more bytes are needed.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    /// Bytes consumed so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.all.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let first = *self.all.get(self.at)?;
        let bytes = self.take(1 << (first >> 6))?;
        Some(bytes.iter().skip(1).fold(u64::from(first & 0x3f), |value, byte| {
            value << 8 | u64::from(*byte)
        }))
    }

    /// A varint length and that many bytes.
    pub(crate) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).expect("a length that fits memory");
        self.take(len)
    }

    /// A namespace: a varint count and that many prefixed fields.
    pub(crate) fn tuple(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.varint()?;
        (0..count).map(|_| self.prefixed().map(<[u8]>::to_vec)).collect()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.all[self.at..]
    }
}

/// One control message as it came: its type and its payload, unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u64,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// MOQT-14 §9 [D14-ENC-11]: Type (i), Length (16), payload. Leaves `buffer` alone while the frame is incomplete.
    pub(crate) fn take(buffer: &mut BytesMut) -> Option<Self> {
        let mut cursor = Cursor::new(buffer);
        let kind = cursor.varint()?;
        let len = cursor.take(2)?;
        let payload = cursor
            .take(usize::from(u16::from_be_bytes([len[0], len[1]])))?
            .to_vec();
        let used = cursor.position();
        buffer.advance(used);
        Some(Self { kind, payload })
    }

    pub(crate) fn fields(&self) -> Cursor<'_> {
        Cursor::new(&self.payload)
    }

    /// The request id most messages begin with.
    pub(crate) fn request_id(&self) -> u64 {
        self.fields()
            .varint()
            .expect("a message that begins with a request id")
    }
}

/// Builds one control message.
pub(crate) struct Message {
    kind: u64,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: u64) -> Self {
        Self {
            kind,
            body: Vec::new(),
        }
    }

    pub(crate) fn varint(mut self, value: u64) -> Self {
        put_varint(&mut self.body, value);
        self
    }

    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.body.push(value);
        self
    }

    pub(crate) fn prefixed(mut self, bytes: &[u8]) -> Self {
        put_varint(&mut self.body, bytes.len() as u64);
        self.body.extend_from_slice(bytes);
        self
    }

    /// A namespace written as `a/b/c`.
    pub(crate) fn namespace(mut self, path: &str) -> Self {
        let fields: Vec<&str> = path.split('/').collect();
        put_varint(&mut self.body, fields.len() as u64);
        for field in fields {
            self = self.prefixed(field.as_bytes());
        }
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.kind);
        let len = u16::try_from(self.body.len()).expect("a body of 16-bit length");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}
