//! Control streams and requests, as little of MOQT as a measurement needs.

use crate::Failure;
use bytes::{Bytes, BytesMut};
use laps_actors::transport::{ConnHandle, RecvGuard, SendGuard};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, NamespaceRequest, RequestId,
    ServerSetup, SetupParams, Subscribe, SubscribeFilter, SubscribeOk,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::version::Version;
use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use std::time::Duration;
use tokio::time::timeout;

/// The draft that is measured.
pub(crate) const CODEC: Codec = Codec::new(Version::Draft14);
/// Requests that either side allows the other.
const REQUESTS: u64 = 1000;
/// Longer than any answer takes on loopback.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a control stream.
pub(crate) struct Control {
    send: SendGuard,
    recv: RecvGuard,
    decoder: ControlDecoder,
}

impl Control {
    pub(crate) fn new((send, recv): (SendGuard, RecvGuard)) -> Self {
        Self {
            send,
            recv,
            decoder: ControlDecoder::new(CODEC),
        }
    }

    /// Opens it and shakes hands, as a client.
    pub(crate) async fn connect(conn: &mut ConnHandle) -> Result<Self, Failure> {
        let mut control = Self::new(conn.open_bidi().await?);
        let setup = ClientSetup {
            versions: vec![CODEC.version_number()],
            params: SetupParams {
                path: Some(Bytes::from_static(b"/")),
                authority: Some(Bytes::from_static(b"localhost")),
                max_request_id: Some(REQUESTS),
                ..SetupParams::default()
            },
        };
        control.send(&ControlMessage::ClientSetup(setup)).await?;
        match control.answer().await? {
            ControlMessage::ServerSetup(_) => Ok(control),
            other => Err(unexpected(&other)),
        }
    }

    /// Answers the handshake, as a server.
    pub(crate) async fn accept(&mut self) -> Result<(), Failure> {
        match self.answer().await? {
            ControlMessage::ClientSetup(_) => {}
            other => return Err(unexpected(&other)),
        }
        let setup = ServerSetup {
            version: CODEC.version_number(),
            params: SetupParams {
                max_request_id: Some(REQUESTS),
                ..SetupParams::default()
            },
        };
        self.send(&ControlMessage::ServerSetup(setup)).await
    }

    pub(crate) async fn send(&mut self, message: &ControlMessage) -> Result<(), Failure> {
        let mut bytes = BytesMut::new();
        CODEC.encode(message, &mut bytes)?;
        self.send.send(&mut [bytes.freeze()]).await?;
        Ok(())
    }

    /// The next message; an error when the stream or the connection ended.
    pub(crate) async fn next(&mut self) -> Result<ControlMessage, Failure> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(message);
            }
            let bytes = self.recv.receive().await?.ok_or("the control stream ended")?;
            self.decoder.push(bytes);
        }
    }

    /// The next message that is an answer to something, within reason.
    pub(crate) async fn answer(&mut self) -> Result<ControlMessage, Failure> {
        timeout(PATIENCE, self.next())
            .await
            .map_err(|_| "no answer in time")?
    }
}

/// A message that nothing here waits for.
pub(crate) fn unexpected(message: &ControlMessage) -> Failure {
    format!("not expected here: {message:?}").into()
}

fn namespace() -> Result<TrackNamespace, Failure> {
    Ok(TrackNamespace::new([Bytes::from_static(b"bench")])?)
}

/// PUBLISH_NAMESPACE for the namespace of the measured track.
pub(crate) fn publish_namespace() -> Result<ControlMessage, Failure> {
    let request = NamespaceRequest {
        namespace: namespace()?,
        params: MessageParams::default(),
    };
    Ok(ControlMessage::PublishNamespace(RequestId(0), request))
}

/// SUBSCRIBE for the measured track.
pub(crate) fn subscribe(request: RequestId) -> Result<ControlMessage, Failure> {
    subscribe_to(request, "objects", DEFAULT_PRIORITY)
}

/// SUBSCRIBE for any track, with this priority.
pub(crate) fn subscribe_to(request: RequestId, name: &str, priority: u8) -> Result<ControlMessage, Failure> {
    let subscribe = Subscribe {
        track: FullTrackName::new(namespace()?, Bytes::from(name.to_owned()))?,
        priority,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    };
    Ok(ControlMessage::Subscribe(request, subscribe))
}

/// SUBSCRIBE_OK to it.
pub(crate) fn subscribe_ok(request: RequestId, alias: u64) -> ControlMessage {
    let ok = SubscribeOk {
        alias,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest: None,
        params: MessageParams::default(),
    };
    ControlMessage::SubscribeOk(request, ok)
}
