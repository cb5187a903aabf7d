//! FETCH as raw peers play it, on either side of a relay: messages field by field, fetch streams as bare bytes.

use super::raw::RawPeer;
use super::wire::{Cursor, Frame, Message, kind, put_varint};
use super::within;

/// Group and object.
pub(crate) type Place = (u64, u64);

/// MOQT-14 §9.16: the group orders a FETCH may ask for.
pub(crate) mod order {
    pub(crate) const PUBLISHER: u8 = 0;
    pub(crate) const ASCENDING: u8 = 1;
    pub(crate) const DESCENDING: u8 = 2;
}

/// MOQT-14 §9.16.2: the two kinds of joining FETCH.
pub(crate) mod join {
    pub(crate) const RELATIVE: u64 = 2;
    pub(crate) const ABSOLUTE: u64 = 3;
}

/// MOQT-14 §9.18: FETCH_ERROR codes the tests name.
pub(crate) mod refusal {
    pub(crate) const INTERNAL_ERROR: u64 = 0x0;
    pub(crate) const NOT_SUPPORTED: u64 = 0x3;
    pub(crate) const TRACK_DOES_NOT_EXIST: u64 = 0x4;
    pub(crate) const INVALID_RANGE: u64 = 0x5;
    pub(crate) const NO_OBJECTS: u64 = 0x6;
    pub(crate) const INVALID_JOINING_REQUEST_ID: u64 = 0x7;
    pub(crate) const UNKNOWN_STATUS_IN_RANGE: u64 = 0x8;
}

/// The largest number a varint holds.
pub(crate) const LARGEST: u64 = (1 << 62) - 1;

/// V14-C28's fields: a standalone FETCH of priority 128.
pub(crate) fn standalone(
    id: u64,
    (namespace, track): (&str, &str),
    start: Place,
    end: Place,
    order: u8,
) -> Vec<u8> {
    Message::new(kind::FETCH)
        .varint(id)
        .byte(128)
        .byte(order)
        .varint(1)
        .namespace(namespace)
        .prefixed(track.as_bytes())
        .varint(start.0)
        .varint(start.1)
        .varint(end.0)
        .varint(end.1)
        .varint(0)
        .bytes()
}

/// The fields of V14-C29 and V14-C30: a joining FETCH of priority 128 in ascending order.
pub(crate) fn joining(id: u64, how: u64, subscription: u64, start: u64) -> Vec<u8> {
    Message::new(kind::FETCH)
        .varint(id)
        .byte(128)
        .byte(order::ASCENDING)
        .varint(how)
        .varint(subscription)
        .varint(start)
        .varint(0)
        .bytes()
}

/// The payload of FETCH_OK as V14-C31 has it: no parameters.
pub(crate) fn ok(id: u64, order: u8, end_of_track: u8, end: Place) -> Message {
    Message::new(kind::FETCH_OK)
        .varint(id)
        .byte(order)
        .byte(end_of_track)
        .varint(end.0)
        .varint(end.1)
        .varint(0)
}

/// V14-F1: what a fetch stream begins with.
pub(crate) fn stream_header(id: u64) -> Vec<u8> {
    let mut out = vec![0x05];
    put_varint(&mut out, id);
    out
}

/// V14-F2's fields: an object of subgroup 0 and priority 128 without extensions, after FETCH_HEADER.
pub(crate) fn object((group, object): Place, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, group);
    put_varint(&mut out, 0);
    put_varint(&mut out, object);
    out.extend_from_slice(&[128, 0]);
    put_varint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// The request id at the head of a fetch stream, and the places of its objects, in order.
pub(crate) fn places(bytes: &[u8]) -> (u64, Vec<Place>) {
    let mut cursor = Cursor::new(bytes);
    assert_eq!(cursor.varint(), Some(0x05), "no FETCH_HEADER: {bytes:x?}");
    let id = cursor.varint().expect("Request ID");
    let mut places = Vec::new();
    while !cursor.rest().is_empty() {
        places.push(place(&mut cursor).expect("whole objects"));
    }
    (id, places)
}

/// MOQT-14 §10.4.4 [D14-DATA-19].
fn place(cursor: &mut Cursor<'_>) -> Option<Place> {
    let group = cursor.varint()?;
    cursor.varint()?;
    let object = cursor.varint()?;
    cursor.byte()?;
    cursor.prefixed()?;
    let len = usize::try_from(cursor.varint()?).expect("a payload length that fits memory");
    if len == 0 {
        cursor.varint()?;
    }
    cursor.take(len)?;
    Some((group, object))
}

/// All bytes up to FIN; `Err(code)` when the stream was reset.
pub(crate) async fn rest(mut stream: quinn::RecvStream) -> Result<Vec<u8>, u64> {
    match within("the end of a stream", stream.read_to_end(64 << 20)).await {
        Ok(bytes) => Ok(bytes),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Err(code.into_inner()),
        Err(other) => panic!("a stream failed: {other}"),
    }
}

impl RawPeer {
    /// A standalone FETCH; returns the request id at once.
    pub(crate) async fn send_fetch(
        &mut self,
        track: (&str, &str),
        start: Place,
        end: Place,
        order: u8,
    ) -> u64 {
        let id = self.request_id();
        self.control.send(&standalone(id, track, start, end, order)).await;
        id
    }

    /// A joining FETCH; returns the request id at once.
    pub(crate) async fn send_join(&mut self, how: u64, subscription: u64, start: u64) -> u64 {
        let id = self.request_id();
        self.control.send(&joining(id, how, subscription, start)).await;
        id
    }

    /// FETCH_OK for `id`, which has to be these bytes.
    pub(crate) async fn expect_fetch_ok(&mut self, id: u64, order: u8, end_of_track: u8, end: Place) {
        let got = self.control.expect(kind::FETCH_OK).await;
        let wanted = ok(id, order, end_of_track, end).bytes();
        // Type and Length are three bytes.
        assert_eq!(got.payload, wanted[3..], "FETCH_OK");
    }

    /// FETCH_ERROR for `id`; returns its code.
    pub(crate) async fn fetch_error(&mut self, id: u64) -> u64 {
        let error = self.control.expect(kind::FETCH_ERROR).await;
        let mut fields = error.fields();
        assert_eq!(fields.varint(), Some(id), "FETCH_ERROR names another request");
        let code = fields.varint().expect("Error Code");
        fields.prefixed().expect("Error Reason");
        assert!(fields.rest().is_empty(), "{error:x?}");
        code
    }

    /// All bytes of the next stream up to FIN; `Err(code)` when it was reset.
    pub(crate) async fn whole_stream(&self) -> Result<Vec<u8>, u64> {
        let stream = within("a stream", self.connection.accept_uni())
            .await
            .expect("an open connection");
        rest(stream).await
    }

    /// V14-C34.
    pub(crate) async fn cancel_fetch(&mut self, id: u64) {
        let cancel = Message::new(kind::FETCH_CANCEL).varint(id);
        self.control.send(&cancel.bytes()).await;
    }

    /// As a publisher: the relay's next FETCH, which has to be standalone, ascending, of priority 128, for exactly this.
    pub(crate) async fn fetch_asked(&mut self, track: (&str, &str), start: Place, end: Place) -> u64 {
        let asked = self.control.expect(kind::FETCH).await;
        let id = asked.request_id();
        let wanted = standalone(id, track, start, end, order::ASCENDING);
        let wanted = Frame::take(&mut wanted[..].into()).expect("a whole message");
        assert_eq!(asked, wanted, "the relay's FETCH");
        id
    }

    /// As a publisher: FETCH_ERROR.
    pub(crate) async fn refuse_fetch(&mut self, id: u64, code: u64) {
        let error = Message::new(kind::FETCH_ERROR)
            .varint(id)
            .varint(code)
            .prefixed(b"");
        self.control.send(&error.bytes()).await;
    }

    /// SUBSCRIBE_OK for `id` with content; returns Largest.
    pub(crate) async fn expect_largest(&mut self, id: u64) -> Place {
        let ok = self.control.expect(kind::SUBSCRIBE_OK).await;
        let mut fields = ok.fields();
        assert_eq!(fields.varint(), Some(id), "SUBSCRIBE_OK names another request");
        fields.varint().and_then(|_| fields.varint()).expect("Expires");
        fields.byte().expect("Group Order");
        assert_eq!(fields.byte(), Some(1), "Content Exists: {ok:x?}");
        (
            fields.varint().expect("Largest Group"),
            fields.varint().expect("Largest Object"),
        )
    }
}
