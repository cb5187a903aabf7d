//! A peer that plays bytes: quinn, a control stream, frames. It can hold either end, so the harness can test itself.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::quic::{ALPN, Ended, dial};
use super::stream::{Datagram, Incoming, header_bytes, object_bytes};
use super::wire::{CLIENT_SETUP, Cursor, Frame, Message, SERVER_SETUP, hex, kind};
use super::within;

/// The control stream.
pub(crate) struct Control {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    buffer: BytesMut,
}

impl Control {
    pub(crate) fn new((send, recv): (quinn::SendStream, quinn::RecvStream)) -> Self {
        Self {
            send,
            recv,
            buffer: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("room on the control stream", self.send.write_all(bytes))
            .await
            .expect("an open control stream");
    }

    /// The next message, whatever it is.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.frame_or_end()
            .await
            .expect("a control message; the stream is over")
    }

    /// The next message, or `None` when the control stream ended or failed instead.
    pub(crate) async fn frame_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer) {
                return Some(frame);
            }
            let read = within("a control message", self.recv.read_chunk(64 * 1024, true)).await;
            match read {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next message, which has to be of this type. Credit may come at any time and is stepped over.
    pub(crate) async fn expect(&mut self, kind: u64) -> Frame {
        loop {
            let frame = self.frame().await;
            if frame.kind == kind {
                return frame;
            }
            assert_eq!(
                frame.kind,
                kind::MAX_REQUEST_ID,
                "wanted message {kind:#x}, got {frame:x?}"
            );
        }
    }

    /// True once the peer has ended its direction, by FIN or by reset.
    pub(crate) async fn at_end(&mut self) -> bool {
        let read = within(
            "the end of the control stream",
            self.recv.read_chunk(64 * 1024, true),
        )
        .await;
        matches!(read, Ok(None) | Err(quinn::ReadError::Reset(_)))
    }

    /// Ends our direction as `how` says: FIN or RESET_STREAM.
    pub(crate) fn close(&mut self, how: CloseControl) {
        match how {
            CloseControl::Fin => self.send.finish().expect("an open control stream"),
            CloseControl::Reset => self.send.reset(0_u32.into()).expect("an open control stream"),
        }
    }
}

/// Two ways to end a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CloseControl {
    Fin,
    Reset,
}

/// A session after SETUP.
pub(crate) struct RawPeer {
    pub(crate) connection: quinn::Connection,
    pub(crate) control: Control,
    /// Keeps the socket of a client; a server's endpoint lives elsewhere.
    _endpoint: Option<quinn::Endpoint>,
    next_request: u64,
}

impl RawPeer {
    /// Dials the relay and completes SETUP with V14-C1.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut peer = Self::before_setup(address).await;
        peer.control.send(&hex(CLIENT_SETUP)).await;
        peer.control.expect(kind::SERVER_SETUP).await;
        peer
    }

    /// Dials and opens the control stream, on which nothing has been sent: the peer cannot know of it yet.
    pub(crate) async fn before_setup(address: SocketAddr) -> Self {
        let (endpoint, connection) = within("a QUIC handshake", dial(address, ALPN))
            .await
            .expect("a QUIC connection");
        let control = Control::new(connection.open_bi().await.expect("credit for the control stream"));
        Self {
            connection,
            control,
            _endpoint: Some(endpoint),
            next_request: 0,
        }
    }

    /// Takes the server's part on an accepted connection.
    pub(crate) async fn accept(connection: quinn::Connection) -> (Self, Frame) {
        let streams = within("the control stream", connection.accept_bi())
            .await
            .expect("a control stream");
        let mut control = Control::new(streams);
        let setup = control.expect(kind::CLIENT_SETUP).await;
        control.send(&hex(SERVER_SETUP)).await;
        (
            Self {
                connection,
                control,
                _endpoint: None,
                next_request: 1,
            },
            setup,
        )
    }

    /// MOQT-14 §9.1 [D14-REQ-1]: our next request id.
    pub(crate) fn request_id(&mut self) -> u64 {
        let id = self.next_request;
        self.next_request += 2;
        id
    }

    /// PUBLISH_NAMESPACE and its OK. Also the way to ask "is this session still served?".
    pub(crate) async fn publish_namespace(&mut self, namespace: &str) {
        let id = self.request_id();
        let message = Message::new(kind::PUBLISH_NAMESPACE)
            .varint(id)
            .namespace(namespace)
            .varint(0);
        self.control.send(&message.bytes()).await;
        let ok = self.control.expect(kind::PUBLISH_NAMESPACE_OK).await;
        assert_eq!(ok.request_id(), id);
    }

    /// Asks something harmless and waits for its answer, whatever else comes before it.
    pub(crate) async fn assert_served(&mut self, namespace: &str) {
        let id = self.request_id();
        let message = Message::new(kind::PUBLISH_NAMESPACE)
            .varint(id)
            .namespace(namespace)
            .varint(0);
        self.control.send(&message.bytes()).await;
        loop {
            let frame = self.control.frame().await;
            if frame.kind == kind::PUBLISH_NAMESPACE_OK {
                assert_eq!(frame.request_id(), id);
                return;
            }
        }
    }

    /// PUBLISH in ascending order, Forward 1, nothing published yet; returns the request id at once.
    pub(crate) async fn send_publish(&mut self, namespace: &str, track: &str, alias: u64) -> u64 {
        let id = self.request_id();
        let message = Message::new(kind::PUBLISH)
            .varint(id)
            .namespace(namespace)
            .prefixed(track.as_bytes())
            .varint(alias)
            .byte(1)
            .byte(0)
            .byte(1)
            .varint(0);
        self.control.send(&message.bytes()).await;
        id
    }

    /// PUBLISH_OK for `id`; returns its Forward field.
    pub(crate) async fn expect_publish_ok(&mut self, id: u64) -> u8 {
        let ok = self.control.expect(kind::PUBLISH_OK).await;
        let mut fields = ok.fields();
        assert_eq!(fields.varint(), Some(id), "PUBLISH_OK names another request");
        let forward = fields.byte().expect("Forward");
        fields.byte().expect("Subscriber Priority");
        // MOQT-14 §9.14 [D14-VAL-2]: 0 is not an order one may answer with.
        assert!(
            matches!(fields.byte(), Some(1 | 2)),
            "Group Order in PUBLISH_OK: {ok:x?}"
        );
        forward
    }

    /// PUBLISH, then whatever it takes until the relay wants objects: Forward 1 in PUBLISH_OK, or a SUBSCRIBE_UPDATE.
    pub(crate) async fn publish_until_wanted(&mut self, namespace: &str, track: &str, alias: u64) {
        let id = self.send_publish(namespace, track, alias).await;
        if self.expect_publish_ok(id).await == 0 {
            let update = self.control.expect(kind::SUBSCRIBE_UPDATE).await;
            let mut fields = update.fields();
            fields.varint().expect("Request ID");
            assert_eq!(
                fields.varint(),
                Some(id),
                "SUBSCRIBE_UPDATE names another subscription"
            );
            fields.varint().and_then(|_| fields.varint()).expect("Start");
            fields.varint().expect("End Group");
            fields.byte().expect("Subscriber Priority");
            assert_eq!(
                fields.byte(),
                Some(1),
                "SUBSCRIBE_UPDATE that still wants nothing"
            );
        }
    }

    /// SUBSCRIBE with the Largest Object filter; returns the request id at once.
    pub(crate) async fn send_subscribe(&mut self, namespace: &str, track: &str) -> u64 {
        let id = self.request_id();
        let message = Message::new(kind::SUBSCRIBE)
            .varint(id)
            .namespace(namespace)
            .prefixed(track.as_bytes())
            .byte(128)
            .byte(0)
            .byte(1)
            .varint(2)
            .varint(0);
        self.control.send(&message.bytes()).await;
        id
    }

    /// SUBSCRIBE_OK for `id`; returns the track alias.
    pub(crate) async fn expect_subscribe_ok(&mut self, id: u64) -> u64 {
        let ok = self.control.expect(kind::SUBSCRIBE_OK).await;
        let mut fields = ok.fields();
        assert_eq!(fields.varint(), Some(id), "SUBSCRIBE_OK names another request");
        let alias = fields.varint().expect("Track Alias");
        fields.varint().expect("Expires");
        // MOQT-14 §9.8 [D14-VAL-2].
        assert!(
            matches!(fields.byte(), Some(1 | 2)),
            "Group Order in SUBSCRIBE_OK: {ok:x?}"
        );
        alias
    }

    /// Waits for the relay's SUBSCRIBE to this track and accepts it under `alias`.
    pub(crate) async fn accept_subscribe(&mut self, namespace: &str, track: &str, alias: u64) -> u64 {
        let subscribe = self.control.expect(kind::SUBSCRIBE).await;
        let mut fields = subscribe.fields();
        let id = fields.varint().expect("Request ID");
        assert_eq!(
            joined(&mut fields),
            namespace,
            "namespace of the relay's SUBSCRIBE"
        );
        assert_eq!(
            fields.prefixed(),
            Some(track.as_bytes()),
            "track of the relay's SUBSCRIBE"
        );
        let ok = Message::new(kind::SUBSCRIBE_OK)
            .varint(id)
            .varint(alias)
            .varint(0)
            .byte(1)
            .byte(0)
            .varint(0);
        self.control.send(&ok.bytes()).await;
        id
    }

    /// PUBLISH_DONE with TRACK_ENDED and the exact stream count.
    pub(crate) async fn publish_done(&mut self, id: u64, streams: u64) {
        let done = Message::new(kind::PUBLISH_DONE)
            .varint(id)
            .varint(2)
            .varint(streams)
            .prefixed(b"");
        self.control.send(&done.bytes()).await;
    }

    /// Opens a unidirectional stream and writes `bytes`; the caller ends it.
    pub(crate) async fn open(&self, bytes: &[u8]) -> quinn::SendStream {
        let mut stream = within("credit for a stream", self.connection.open_uni())
            .await
            .expect("an open connection");
        within("room on a stream", stream.write_all(bytes))
            .await
            .expect("a stream that takes bytes");
        stream
    }

    /// A whole subgroup stream: header, objects, FIN.
    pub(crate) async fn send_group(&self, alias: u64, group: u64, payloads: &[&[u8]]) {
        let mut bytes = header_bytes(alias, group, 0);
        for payload in payloads {
            bytes.extend_from_slice(&object_bytes(payload));
        }
        self.open(&bytes).await.finish().expect("an open stream");
    }

    pub(crate) fn datagram(&self, bytes: &[u8]) {
        self.connection
            .send_datagram(bytes.to_vec().into())
            .expect("a peer that takes datagrams of this size");
    }

    pub(crate) async fn next_datagram(&self) -> Datagram {
        let bytes = within("a datagram", self.connection.read_datagram())
            .await
            .expect("an open connection");
        Datagram::parse(&bytes)
    }

    /// The next stream the relay opens.
    pub(crate) async fn incoming(&self) -> Incoming {
        let stream = within("a data stream", self.connection.accept_uni())
            .await
            .expect("an open connection");
        Incoming::new(stream)
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&self) -> Ended {
        within("the relay to close this session", self.connection.closed())
            .await
            .into()
    }

    /// Waits for the end, which has to carry one of `codes`.
    pub(crate) async fn expect_closed(&self, what: &str, codes: &[u64]) {
        match self.ended().await {
            Ended::Session { code, reason } => {
                assert!(
                    codes.contains(&code),
                    "{what}: closed with {code:#x} ({reason}), wanted one of {codes:#x?}"
                );
            }
            other @ (Ended::Transport { .. } | Ended::Silent(_)) => {
                panic!("{what}: wanted a session close with one of {codes:#x?}, got {other:?}")
            }
        }
    }
}

fn joined(fields: &mut Cursor<'_>) -> String {
    let namespace = fields.tuple().expect("a namespace");
    let fields: Vec<String> = namespace
        .iter()
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect();
    fields.join("/")
}
