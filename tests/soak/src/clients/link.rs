//! A connection with a session on it: it answers what it is asked, and says what it is told to.

use super::feed::{self, CODEC};
use super::names;
use crate::Failure;
use crate::rng::Rng;
use bytes::{Bytes, BytesMut};
use laps_actors::transport::{
    ClientEndpoint, ClientTls, ConnHandle, DatagramReceiver, RecvGuard, SendGuard, TransportConfig,
    UniAcceptor, Verify, moqt_alpn,
};
use laps_protocol::moqt::codec::ControlDecoder;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, FetchOk, GroupOrder, MessageParams, PublishOk, RequestError,
    RequestErrorReason, RequestId, RequestKind, SetupParams, SubscribeFilter, SubscribeOk,
};
use laps_protocol::moqt::name::FullTrackName;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than a handshake takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that each side allows the other.
const REQUESTS: u64 = 10_000;

/// How a client treats the streams that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As they come.
    All,
    /// A little every now and then.
    Slowly,
    /// Not at all.
    Nothing,
}

/// A session; its tasks end with it.
pub(crate) struct Link {
    pub(crate) conn: ConnHandle,
    say: UnboundedSender<ControlMessage>,
    next_id: u64,
    _tasks: JoinSet<()>,
    _endpoint: ClientEndpoint,
}

impl Link {
    /// Connects and shakes hands.
    pub(crate) async fn connect(to: SocketAddr, reading: Reading, rng: &mut Rng) -> Result<Self, Failure> {
        let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn())?;
        let config = TransportConfig {
            // Each client has an endpoint of its own.
            recv_ring: 128 << 10,
            ..TransportConfig::default()
        };
        let endpoint = ClientEndpoint::for_remote(to, &tls, &config)?;
        let parts = timeout(PATIENCE, endpoint.connect(to, "localhost"))
            .await??
            .split();
        let mut conn = parts.handle;
        let (control, control_in) = timeout(PATIENCE, conn.open_bidi()).await??;
        let (say, said) = unbounded_channel();
        say.send(ControlMessage::ClientSetup(ClientSetup {
            versions: vec![CODEC.version_number()],
            params: SetupParams {
                max_request_id: Some(REQUESTS),
                path: Some(Bytes::from_static(b"/")),
                authority: Some(Bytes::from_static(b"localhost")),
                ..SetupParams::default()
            },
        }))?;
        let mut tasks = JoinSet::new();
        let hears = Hears {
            conn: conn.clone(),
            say: say.clone(),
            rng: Rng::new(rng.next()),
            feeds: JoinSet::new(),
        };
        // What ends a task ends the session, of which the next thing said hears.
        tasks.spawn_local(async move { drop(speak(control, said).await) });
        tasks.spawn_local(async move { drop(hears.listen(control_in).await) });
        tasks.spawn_local(read(parts.uni, reading));
        tasks.spawn_local(take(parts.datagrams));
        Ok(Self {
            conn,
            say,
            next_id: 0,
            _tasks: tasks,
            _endpoint: endpoint,
        })
    }

    /// Says a request, and gives the id that it has.
    pub(crate) fn request(
        &mut self,
        message: impl FnOnce(RequestId) -> ControlMessage,
    ) -> Result<RequestId, Failure> {
        let id = RequestId(self.next_id);
        self.next_id += 2;
        self.say(message(id))?;
        Ok(id)
    }

    /// Says something else.
    pub(crate) fn say(&self, message: ControlMessage) -> Result<(), Failure> {
        Ok(self.say.send(message)?)
    }
}

async fn speak(mut control: SendGuard, mut said: UnboundedReceiver<ControlMessage>) -> Result<(), Failure> {
    while let Some(message) = said.recv().await {
        let mut bytes = BytesMut::new();
        CODEC.encode(&message, &mut bytes)?;
        control.send(&mut [bytes.freeze()]).await?;
    }
    Ok(())
}

/// The half of a session that listens to the relay.
struct Hears {
    conn: ConnHandle,
    say: UnboundedSender<ControlMessage>,
    rng: Rng,
    feeds: JoinSet<()>,
}

impl Hears {
    async fn listen(mut self, mut control: RecvGuard) -> Result<(), Failure> {
        let mut decoder = ControlDecoder::new(CODEC);
        while let Some(bytes) = control.receive().await? {
            decoder.push(bytes);
            while let Some(message) = decoder.next()? {
                self.answer(message)?;
            }
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a client that lives at random does without the other answers"
    )]
    fn answer(&mut self, message: ControlMessage) -> Result<(), Failure> {
        let answer = match message {
            ControlMessage::Subscribe(id, asked) => {
                self.feed(id.0, &asked.track);
                let ok = SubscribeOk {
                    alias: id.0,
                    expires_ms: 0,
                    group_order: GroupOrder::Ascending,
                    largest: None,
                    params: MessageParams::default(),
                };
                ControlMessage::SubscribeOk(id, ok)
            }
            ControlMessage::Publish(id, _) if self.rng.one_in(2) => {
                let ok = PublishOk {
                    forward: true,
                    priority: 128,
                    group_order: Some(GroupOrder::Ascending),
                    filter: SubscribeFilter::LargestObject,
                    params: MessageParams::default(),
                };
                ControlMessage::PublishOk(id, ok)
            }
            ControlMessage::Publish(id, _) => refuse(id, RequestKind::Publish),
            ControlMessage::PublishNamespace(id, _) => ControlMessage::PublishNamespaceOk(id),
            ControlMessage::Fetch(id, _) if self.rng.one_in(2) => refuse(id, RequestKind::Fetch),
            ControlMessage::Fetch(id, _) if self.rng.one_in(2) => {
                let ok = FetchOk {
                    group_order: GroupOrder::Ascending,
                    end_of_track: false,
                    end: Location::new(feed::group_now(), 0),
                    params: MessageParams::default(),
                };
                // Its stream never comes.
                ControlMessage::FetchOk(id, ok)
            }
            _ => return Ok(()),
        };
        Ok(self.say.send(answer)?)
    }

    fn feed(&mut self, alias: u64, track: &FullTrackName) {
        let (conn, rng) = (self.conn.clone(), Rng::new(self.rng.next()));
        let datagrams = names::is_of_datagrams(track);
        self.feeds
            .spawn_local(async move { drop(feed::feed(conn, alias, datagrams, rng).await) });
    }
}

fn refuse(id: RequestId, kind: RequestKind) -> ControlMessage {
    let error = RequestError::new(RequestErrorReason::Uninterested, "not today");
    ControlMessage::RequestError(id, kind, error)
}

/// Takes the streams that come.
async fn read(mut uni: UniAcceptor, reading: Reading) {
    let (mut readers, mut held) = (JoinSet::new(), Vec::new());
    while let Ok(Some(stream)) = uni.accept().await {
        if reading == Reading::Nothing {
            held.push(stream);
        } else {
            readers.spawn_local(read_one(stream, reading));
        }
        while readers.try_join_next().is_some() {}
    }
}

async fn read_one(mut stream: RecvGuard, reading: Reading) {
    while let Ok(Some(_)) = stream.receive().await {
        if reading == Reading::Slowly {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn take(mut datagrams: DatagramReceiver) {
    while datagrams.recv().await.is_ok() {}
}
