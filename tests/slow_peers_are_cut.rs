//! Peers that do everything right, and do it byte by byte: they are cut, and cost nobody else anything.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::feeding::{Feeder, Flow};
use common::raw::{CODEC, Raw, payload, raw, subscribe};
use common::{relay, run, settings, target, track};
use laps::relay::{Relay, Settings};
use laps_actors::transport::{
    ClientEndpoint, ClientTls, ConnError, ConnParts, RecvGuard, SendGuard, TransportConfig, Verify, moqt_alpn,
};
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, RequestId, RequestKind, SetupParams, SubscribeFilter,
};
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode};
use std::time::Duration;

const ALIAS: u64 = 9;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §3.4 [D14-TERM-1]
const CONTROL_MESSAGE_TIMEOUT: u64 = 0x11;
const DATA_STREAM_TIMEOUT: u64 = 0x12;
/// What a slow peer may take; and how long it takes for each byte of what has many more than would be in time.
const PATIENCE: Duration = Duration::from_millis(200);
const A_BYTE: Duration = Duration::from_millis(20);

/// What a peer is slow with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Setup,
    Request,
    Header,
}

impl Slow {
    const ALL: [Self; 3] = [Self::Setup, Self::Request, Self::Header];

    const fn code(self) -> u64 {
        match self {
            Self::Setup | Self::Request => CONTROL_MESSAGE_TIMEOUT,
            Self::Header => DATA_STREAM_TIMEOUT,
        }
    }

    /// Connects and is slow, until the relay has had enough; the value is the code by which it says so.
    async fn cut(self, relay: std::net::SocketAddr) -> u64 {
        let mut peer = Peer::connect(relay).await;
        let long = "a".repeat(1000);
        match self {
            Self::Setup => peer.drip(None, setup(&long)).await,
            Self::Request => {
                peer.set_up().await;
                let wanted = subscribe(&track("slow", &long), NEWEST);
                let message = ControlMessage::Subscribe(RequestId(0), wanted);
                peer.drip(None, encoded(&message)).await
            }
            Self::Header => {
                peer.set_up().await;
                let stream = peer.parts.handle.open_uni().await.unwrap();
                // Numbers of eight bytes each.
                let header = SubgroupHeader {
                    alias: 1 << 60,
                    group: 1 << 60,
                    subgroup: SubgroupIdMode::Explicit(1 << 60),
                    priority: 128,
                    has_extensions: false,
                    end_of_group: false,
                };
                let mut bytes = BytesMut::new();
                CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
                peer.drip(Some(stream), bytes.freeze()).await
            }
        }
    }
}

fn encoded(message: &ControlMessage) -> Bytes {
    let mut bytes = BytesMut::new();
    CODEC.encode(message, &mut bytes).unwrap();
    bytes.freeze()
}

fn setup(path: &str) -> Bytes {
    encoded(&ControlMessage::ClientSetup(ClientSetup {
        versions: vec![CODEC.version_number()],
        params: SetupParams {
            max_request_id: Some(100),
            path: Some(Bytes::from(format!("/{path}"))),
            authority: Some(Bytes::from_static(b"localhost")),
            ..SetupParams::default()
        },
    }))
}

/// A connection and its control stream.
struct Peer {
    parts: ConnParts,
    control: SendGuard,
    answers: RecvGuard,
    _endpoint: ClientEndpoint,
}

impl Peer {
    async fn connect(relay: std::net::SocketAddr) -> Self {
        let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn()).unwrap();
        let remote = target(relay).addr;
        let endpoint = ClientEndpoint::for_remote(remote, &tls, &TransportConfig::default()).unwrap();
        let mut parts = endpoint.connect(remote, "localhost").await.unwrap().split();
        let (control, answers) = parts.handle.open_bidi().await.unwrap();
        Self {
            parts,
            control,
            answers,
            _endpoint: endpoint,
        }
    }

    async fn set_up(&mut self) {
        self.control.send(&mut [setup("")]).await.unwrap();
        self.answers.receive().await.unwrap().unwrap();
    }

    /// Writes a byte at a time, on this stream or the control stream; the value is the code of the relay's close.
    async fn drip(&mut self, stream: Option<SendGuard>, bytes: Bytes) -> u64 {
        let (mut bytes, mut stream) = (bytes.into_iter(), stream);
        let mut pace = tokio::time::interval(A_BYTE);
        loop {
            tokio::select! {
                closed = self.parts.uni.accept() => match closed {
                    Err(ConnError::Peer { code }) => return code,
                    other => panic!("not closed by the relay: {other:?}"),
                },
                _ = pace.tick() => {
                    let Some(byte) = bytes.next() else { panic!("it was let finish") };
                    let stream = stream.as_mut().unwrap_or(&mut self.control);
                    // It may be closed by now.
                    stream.send(&mut [Bytes::from(vec![byte])]).await.ok();
                }
            }
        }
    }
}

fn hasty() -> Settings {
    let mut settings = settings(2);
    settings.session.core.setup_timeout = PATIENCE;
    settings.session.core.message_timeout = PATIENCE;
    settings.session.header_timeout = PATIENCE;
    settings
}

/// Sends groups until `until` is over; the value is how many.
async fn live(publisher: &mut Raw, until: impl Future<Output = ()>) -> u64 {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let mut groups = 0;
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return groups,
            _ = pace.tick() => {
                publisher.group(ALIAS, groups, 2).await;
                groups += 1;
            }
        }
    }
}

fn all(groups: u64) -> Vec<(u64, u64)> {
    (0..groups).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

/// D14-SETUP-23 D14-LIM-6 D14-DATA-23 D14-LIM-7: a byte now and then buys no time, and many who try it cost those
/// who are served nothing.
#[test]
fn a_byte_now_and_then_buys_no_time() {
    run(|| async {
        let relay = relay(hasty()).await;
        let name = track("fast", "video");
        let (mut publisher, mut subscriber) = (raw(&relay).await, raw(&relay).await);
        publisher.announce(name.namespace()).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let addr = relay.local_addr();
        let slow = (0..36).map(|number| {
            let slow = Slow::ALL[number % 3];
            async move { assert_eq!(slow.cut(addr).await, slow.code(), "{slow:?}") }
        });
        let cut = async { drop(futures::future::join_all(slow).await) };
        let groups = live(&mut publisher, cut).await;
        let places = subscriber.until_objects(alias, all(groups).len()).await;
        let mut places = places;
        places.sort_unstable();
        assert_eq!(places, all(groups));
        publisher.fence().await;
    });
}

/// D14-PUB-1 D14-LIM-7: one publisher of a track that trickles an object, and another one that brings it: readers have
/// all of it from the second, byte by byte, and the same for what follows.
#[test]
fn a_publisher_that_trickles_holds_up_no_other() {
    run(|| async {
        let relay: Relay = relay(hasty()).await;
        let name = track("shared", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut slow = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut fast = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut stream = slow.raw.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        let object = payload(0, 0);
        stream.begin(0, object.len() as u64).await;
        let mut bytes = object.iter();
        let mut pace = tokio::time::interval(A_BYTE);
        let mut groups = 0;
        // As slow as it is, it is never done before the other.
        let last = loop {
            pace.tick().await;
            let Some(byte) = bytes.next().filter(|_| groups < 20) else {
                break groups;
            };
            stream.write(Bytes::from(vec![*byte])).await;
            fast.raw.group(ALIAS, groups, 2).await;
            groups += 1;
        };
        assert_eq!(last, 20);
        let mut places = subscriber.until_objects(alias, all(last).len()).await;
        places.sort_unstable();
        assert_eq!(places, all(last));
        for got in Raw::objects(&subscriber.log) {
            assert_eq!(got.payload, payload(got.location.group, got.location.object));
        }
        // What it does is legal, so its session lives.
        slow.raw.fence().await;
        let refused = subscriber.subscribe(&track("nobody", "video"), NEWEST).await;
        assert_eq!(subscriber.refused(refused).await.0, RequestKind::Subscribe);
    });
}
