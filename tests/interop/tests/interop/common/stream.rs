//! Subgroup streams and datagrams as a raw peer sees them.

use bytes::{Buf, BytesMut};

use super::wire::{Cursor, put_varint};
use super::within;

/// MOQT-14 §10.4.2: what a SUBGROUP_HEADER says. `subgroup` is `None` while it is "the first object's id".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u64,
    pub(crate) alias: u64,
    pub(crate) group: u64,
    pub(crate) subgroup: Option<u64>,
    pub(crate) priority: u8,
}

impl Header {
    fn has_extensions(&self) -> bool {
        self.kind & 1 == 1
    }

    /// [D14-DATA-6]: the last object before FIN ends the group.
    pub(crate) fn ends_group(&self) -> bool {
        self.kind & 8 == 8
    }

    fn parse(cursor: &mut Cursor<'_>) -> Option<Self> {
        let kind = cursor.varint()?;
        assert!(
            matches!(kind, 0x10..=0x15 | 0x18..=0x1d),
            "stream type {kind:#x} is no subgroup header"
        );
        let alias = cursor.varint()?;
        let group = cursor.varint()?;
        let subgroup = match kind & 6 {
            0 => Some(0),
            2 => None,
            _ => Some(cursor.varint()?),
        };
        let priority = cursor.byte()?;
        Some(Self {
            kind,
            alias,
            group,
            subgroup,
            priority,
        })
    }
}

/// One object of a subgroup: everything a relay has to keep ([D14-DATA-9]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: u64,
    pub(crate) extensions: Vec<u8>,
    pub(crate) status: u64,
    pub(crate) payload: Vec<u8>,
}

/// What a whole finished subgroup stream carried, in a form that two encodings of the same subgroup share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subgroup {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    pub(crate) priority: u8,
    pub(crate) ends_group: bool,
    pub(crate) objects: Vec<Object>,
}

impl Subgroup {
    fn new(header: &Header, objects: Vec<Object>) -> Self {
        let first = objects.first().map_or(0, |object| object.id);
        Self {
            group: header.group,
            subgroup: header.subgroup.unwrap_or(first),
            priority: header.priority,
            ends_group: header.ends_group(),
            objects,
        }
    }

    /// Reads a vector that holds a complete stream.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut cursor = Cursor::new(bytes);
        let header = Header::parse(&mut cursor).expect("a whole subgroup header");
        let mut objects: Vec<Object> = Vec::new();
        while !cursor.rest().is_empty() {
            let before = objects.last().map(|object| object.id);
            objects.push(parse_object(&mut cursor, &header, before).expect("whole objects"));
        }
        Self::new(&header, objects)
    }
}

/// [D14-DATA-3]: the first object's id is its delta, each later one is previous + delta + 1.
fn parse_object(cursor: &mut Cursor<'_>, header: &Header, before: Option<u64>) -> Option<Object> {
    let delta = cursor.varint()?;
    let id = before.map_or(delta, |before| before + delta + 1);
    let extensions = if header.has_extensions() {
        cursor.prefixed()?.to_vec()
    } else {
        Vec::new()
    };
    let len = usize::try_from(cursor.varint()?).expect("a payload length that fits memory");
    let status = if len == 0 { cursor.varint()? } else { 0 };
    let payload = cursor.take(len)?.to_vec();
    Some(Object {
        id,
        extensions,
        status,
        payload,
    })
}

/// The bytes of an explicit-subgroup header without extensions (type 0x14), priority 128.
pub(crate) fn header_bytes(alias: u64, group: u64, subgroup: u64) -> Vec<u8> {
    let mut out = vec![0x14];
    put_varint(&mut out, alias);
    put_varint(&mut out, group);
    put_varint(&mut out, subgroup);
    out.push(128);
    out
}

/// The bytes of the next consecutive object without extensions.
pub(crate) fn object_bytes(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    put_varint(&mut out, payload.len() as u64);
    if payload.is_empty() {
        out.push(0);
    }
    out.extend_from_slice(payload);
    out
}

/// A unidirectional stream the relay opened to us.
pub(crate) struct Incoming {
    stream: quinn::RecvStream,
    buffer: BytesMut,
    header: Option<Header>,
    last: Option<u64>,
}

impl Incoming {
    pub(crate) fn new(stream: quinn::RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            header: None,
            last: None,
        }
    }

    /// More bytes into the buffer: `Ok(false)` at FIN, `Err(code)` at a reset.
    async fn fill(&mut self) -> Result<bool, u64> {
        match within("bytes of a data stream", self.stream.read_chunk(64 * 1024, true)).await {
            Ok(Some(chunk)) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(quinn::ReadError::Reset(code)) => Err(code.into_inner()),
            Err(other) => panic!("data stream failed: {other}"),
        }
    }

    pub(crate) async fn header(&mut self) -> Result<Header, u64> {
        loop {
            if let Some(header) = &self.header {
                return Ok(header.clone());
            }
            let mut cursor = Cursor::new(&self.buffer);
            if let Some(header) = Header::parse(&mut cursor) {
                let used = cursor.position();
                self.buffer.advance(used);
                self.header = Some(header);
            } else if !self.fill().await? {
                panic!("a data stream ended inside its header: {:?}", self.buffer);
            }
        }
    }

    /// The next whole object; `Ok(None)` at a FIN on an object boundary, `Err(code)` when the stream was reset.
    pub(crate) async fn object(&mut self) -> Result<Option<Object>, u64> {
        let header = self.header().await?;
        loop {
            let mut cursor = Cursor::new(&self.buffer);
            if let Some(object) = parse_object(&mut cursor, &header, self.last) {
                let used = cursor.position();
                self.buffer.advance(used);
                self.last = Some(object.id);
                return Ok(Some(object));
            }
            if !self.fill().await? {
                // MOQT-14 §10.4 [D14-DATA-18]: a relay that ends a stream inside an object lies about its completeness.
                assert!(
                    self.buffer.is_empty(),
                    "FIN inside an object; left over: {:?}",
                    self.buffer
                );
                return Ok(None);
            }
        }
    }

    /// Everything up to FIN; `Err(code)` when the stream was reset.
    pub(crate) async fn subgroup(&mut self) -> Result<Subgroup, u64> {
        let header = self.header().await?;
        let mut objects = Vec::new();
        while let Some(object) = self.object().await? {
            objects.push(object);
        }
        Ok(Subgroup::new(&header, objects))
    }

    /// Waits until at least `len` bytes after the header have arrived and returns all there are, without parsing.
    pub(crate) async fn unparsed(&mut self, len: usize) -> Result<Vec<u8>, u64> {
        self.header().await?;
        while self.buffer.len() < len {
            assert!(
                self.fill().await?,
                "FIN after {} of {len} bytes",
                self.buffer.len()
            );
        }
        Ok(self.buffer.to_vec())
    }
}

/// MOQT-14 §10.3.1 [D14-DATA-12]: one object datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) alias: u64,
    pub(crate) group: u64,
    pub(crate) object: u64,
    pub(crate) priority: u8,
    pub(crate) ends_group: bool,
    pub(crate) extensions: Vec<u8>,
    pub(crate) status: Option<u64>,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self::fields(&mut Cursor::new(bytes)).expect("a whole datagram")
    }

    fn fields(cursor: &mut Cursor<'_>) -> Option<Self> {
        let kind = cursor.varint()?;
        assert!(
            matches!(kind, 0x00..=0x07 | 0x20 | 0x21),
            "datagram type {kind:#x} does not exist"
        );
        let alias = cursor.varint()?;
        let group = cursor.varint()?;
        let object = if kind & 4 == 4 { 0 } else { cursor.varint()? };
        let priority = cursor.byte()?;
        let extensions = if kind & 1 == 1 {
            cursor.prefixed()?.to_vec()
        } else {
            Vec::new()
        };
        let status = if kind & 0x20 == 0x20 {
            Some(cursor.varint()?)
        } else {
            None
        };
        let payload = cursor.rest().to_vec();
        Some(Self {
            alias,
            group,
            object,
            priority,
            ends_group: kind & 2 == 2,
            extensions,
            status,
            payload,
        })
    }

    /// Type 0x00: object id present, no extensions, priority 128.
    pub(crate) fn bytes(alias: u64, group: u64, object: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x00];
        put_varint(&mut out, alias);
        put_varint(&mut out, group);
        put_varint(&mut out, object);
        out.push(128);
        out.extend_from_slice(payload);
        out
    }
}
