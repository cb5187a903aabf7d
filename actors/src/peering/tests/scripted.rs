//! A link whose peer is played message by message.

use super::fake::{FakeConn, connection, id, plan, start};
use super::{Net, run};
use crate::peering::Inbound;
use crate::peering::link::{LinkConn, Pipe, Reached};
use crate::supervise::mailbox::signal;
use bytes::{Bytes, BytesMut};
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{Connect, Dialect, Message, MessageKind, PeerMode, Sequence, Stamp};
use laps_protocol::peering::node::{NodeInfo, NodeType};
use laps_protocol::peering::reader::{ControlReader, Incoming};
use std::rc::Rc;

/// One stream of the played peer.
struct Line {
    pipe: Pipe,
    reader: ControlReader,
}

impl Line {
    async fn open(peer: &Reached<FakeConn>) -> Self {
        Self {
            pipe: peer.conn.open().await.unwrap(),
            reader: ControlReader::new(Dialect::Own, Limits::default()),
        }
    }

    async fn say(&mut self, message: Message) {
        let mut bytes = BytesMut::new();
        let stamp = Stamp {
            epoch: 5,
            sequence: Sequence::default(),
        };
        message.stamped(stamp).encode(Dialect::Own, &mut bytes).unwrap();
        assert!(self.pipe.0.write(bytes.freeze(), false).await);
    }

    async fn connect(&mut self) {
        self.connect_for(PeerMode::Both).await;
    }

    async fn connect_for(&mut self, mode: PeerMode) {
        let node = NodeInfo::new(id(7), NodeType::Edge, Bytes::new());
        self.say(Message::Connect(Connect { mode, node })).await;
    }

    /// The next message; none when the stream was reset.
    async fn hear(&mut self) -> Option<MessageKind> {
        loop {
            match self.reader.next().unwrap() {
                Some(Incoming::Message(message)) => return Some(message.kind()),
                Some(Incoming::Unknown { message_type, .. }) => panic!("type {message_type}"),
                None => {}
            }
            let bytes = self.pipe.1.read().await.ok().flatten()?;
            self.reader.push(&bytes);
        }
    }

    async fn hear_until(&mut self, kind: MessageKind) {
        while self.hear().await.unwrap() != kind {}
    }
}

fn dial(net: &Rc<Net>) -> Reached<FakeConn> {
    let relay = start(net, "relay", plan(1, &[]));
    let ([ours, theirs], _) = connection([Some(id(1)), Some(id(7))]);
    let dialect = Dialect::Own;
    signal(
        &relay.peering,
        Inbound {
            reached: theirs,
            dialect,
        },
    );
    ours
}

/// laps peering, "Sending/Receiving Control Messages": the newest stream of the dialler is the control stream from its
/// first message on; the old one is reset, and all is said again on the new one.
#[test]
fn the_control_stream_moves() {
    run(async {
        let net = Rc::new(Net::default());
        let peer = dial(&net);
        let mut first = Line::open(&peer).await;
        first.connect().await;
        assert_eq!(first.hear().await, Some(MessageKind::ConnectResponse));
        first.hear_until(MessageKind::Ping).await;
        let mut second = Line::open(&peer).await;
        // Nothing was said on it yet, so the old one goes on.
        first.say(Message::Ping(1)).await;
        first.hear_until(MessageKind::Pong).await;
        second.connect().await;
        while first.hear().await.is_some() {}
        assert_eq!(second.hear().await, Some(MessageKind::ConnectResponse));
        second.hear_until(MessageKind::Ping).await;
        second.say(Message::Ping(2)).await;
        second.hear_until(MessageKind::Pong).await;
        assert!(peer.conn.wire.over.borrow().is_none());
    });
}

/// laps peering, "Connect Message": nothing comes before CONNECT, and it has to come.
#[test]
fn connect_comes_first() {
    run(async {
        let net = Rc::new(Net::default());
        let peer = dial(&net);
        let mut line = Line::open(&peer).await;
        line.say(Message::Ping(1)).await;
        while line.hear().await.is_some() {}
        let over = *peer.conn.wire.over.borrow();
        assert_eq!(over.unwrap().0, ErrorCode::ConnectMissing.number());
        let silent = dial(&net);
        let mut over = silent.conn.wire.over.subscribe();
        let over = over.wait_for(Option::is_some).await.unwrap();
        assert_eq!(over.unwrap().0, ErrorCode::ConnectMissing.number());
    });
}

/// laps peering, "Peering Modes": data on a link for control messages alone ends it; on any other it is read.
#[test]
fn a_control_link_takes_no_data() {
    for (mode, ends) in [
        (PeerMode::Control, true),
        (PeerMode::Both, false),
        (PeerMode::Data, false),
    ] {
        run(async {
            let net = Rc::new(Net::default());
            let peer = dial(&net);
            let mut line = Line::open(&peer).await;
            line.connect_for(mode).await;
            assert_eq!(line.hear().await, Some(MessageKind::ConnectResponse));
            line.hear_until(MessageKind::Ping).await;
            peer.conn.wire.data[0].notify_one();
            if ends {
                while line.hear().await.is_some() {}
                let over = *peer.conn.wire.over.borrow();
                assert_eq!(over.unwrap().0, ErrorCode::InvalidStartOfStream.number());
            } else {
                line.hear_until(MessageKind::Ping).await;
                assert!(peer.conn.wire.over.borrow().is_none());
            }
        });
    }
}
