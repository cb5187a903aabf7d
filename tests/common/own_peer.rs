//! A relay of ours, played: it has a certificate of the mesh and keeps to the rules of a link, and says of other nodes
//! what a test has it say.

use super::mesh::id;
use bytes::Bytes;
use laps_actors::transport::{
    ClientEndpoint, Conn, ConnHandle, LinkTimes, PeerCa, PeerTls, Pem, RecvGuard, SendGuard, TransportConfig,
};
use laps_protocol::peering::message::{Dialect, Message, Sequence, Stamp};
use laps_protocol::peering::node::{NodeInfo, NodeType};
use laps_protocol::peering::session::{
    Action, Command, Config, ControlStream, Event, Input, Output, PeerSession, Role,
};
use std::net::SocketAddr;
use std::time::Instant;

/// The one control stream.
const STREAM: ControlStream = ControlStream(0);
/// When this relay began.
const EPOCH: u64 = 7;

/// The relay, at its end of one link that it dialled.
pub struct OwnPeer {
    session: PeerSession,
    send: SendGuard,
    receive: RecvGuard,
    _conn: (ConnHandle, ClientEndpoint),
}

impl OwnPeer {
    /// Dials as the edge `1:low`, whose certificate the mesh's authority has signed, and has a link that stands.
    pub async fn dial(addr: SocketAddr, ca: &PeerCa, low: u64) -> Self {
        let own = ca.certify(id(low)).unwrap();
        let text = |pem: &str| Pem::Text(pem.to_owned());
        let (ca, cert, key) = (text(ca.cert_pem()), text(&own.cert_pem), text(&own.key_pem));
        let tls = PeerTls::mutual(&ca, &cert, &key, id(low)).unwrap();
        let config = TransportConfig::for_links(LinkTimes::default());
        let endpoint = ClientEndpoint::for_remote(addr, tls.client(), &config).unwrap();
        let conn: Conn = endpoint.connect(addr, "localhost").await.unwrap();
        let mut handle = conn.handle();
        let mut config = Config::new(NodeInfo::new(id(low), NodeType::Edge, Bytes::new()));
        config.epoch = EPOCH;
        let session = PeerSession::new(Role::Dialler, Dialect::Own, config, Instant::now());
        let (send, receive) = handle.open_bidi().await.unwrap();
        let mut peer = Self {
            session,
            send,
            receive,
            _conn: (handle, endpoint),
        };
        peer.input(Input::StreamOpened(STREAM)).await;
        while !peer.session.is_established() {
            let bytes = peer.receive.receive().await.unwrap().unwrap();
            peer.input(Input::StreamBytes(STREAM, bytes)).await;
        }
        peer
    }

    /// Says this of itself and of others, as it would in its own life.
    pub async fn say(&mut self, message: Message) {
        let stamped = message.stamped(Stamp {
            epoch: EPOCH,
            sequence: Sequence(0),
        });
        self.session
            .command(Instant::now(), Command::Send(stamped))
            .unwrap();
        self.obey().await;
    }

    async fn input(&mut self, input: Input) {
        self.session.handle_input(Instant::now(), input);
        self.obey().await;
    }

    async fn obey(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Action(Action::Write(stream, bytes)) => {
                    self.send.send(&mut [bytes]).await.unwrap();
                    self.session.handle_input(Instant::now(), Input::Flushed(stream));
                }
                Output::Action(Action::Close { reason, .. }) => panic!("{reason}"),
                Output::Event(event) => assert!(!matches!(*event, Event::Refused(_)), "{event:?}"),
                Output::Action(Action::OpenControl | Action::Reset(..)) | Output::Trace(_) => {}
            }
        }
    }
}
