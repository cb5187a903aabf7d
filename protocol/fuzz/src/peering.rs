//! Relays among themselves: what a peer sends in any pieces, and a link on which both sides say and do anything.

use crate::feed::Feed;
use crate::messages::{namespace, publish_done, request_error, subscribe_ok, track};
use crate::peering_fetch::{fetches, step_of_fetch};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::error::{DecodeError, ErrorCode};
use laps_protocol::peering::hash::{FullNameHash, TrackHash, endpoint_node_id, hash, prefix_hashes};
use laps_protocol::peering::info_base::OwnMessage;
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::*;
use laps_protocol::peering::node::{Degrees, NodeId, NodeInfo, NodeType, PathItem};
use laps_protocol::peering::reader::{ControlReader, Incoming};
use laps_protocol::peering::session::{
    Action, Command, CommandError, Config, ControlStream, Event, Input, Output, PeerSession, Role,
};
use std::collections::BTreeSet;
use std::time::Duration;

fn dialect(feed: &mut Feed<'_>) -> Dialect {
    [Dialect::Laps14, Dialect::Laps16, Dialect::Own][feed.below(3)]
}

/// Small enough that inputs reach them.
fn limits() -> Limits {
    Limits::default()
        .with_max_message_bytes(300)
        .with_max_contact_bytes(40)
        .with_max_path_items(4)
        .with_max_set_nodes(8)
        .with_max_subscribe_data_bytes(60)
}

/// Everything that comes out of these pieces, then the error if there is one.
fn read_control(dialect: Dialect, limits: Limits, pieces: &[Bytes]) -> (Vec<Incoming>, Option<DecodeError>) {
    let mut reader = ControlReader::new(dialect, limits);
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(incoming)) => found.push(incoming),
                Ok(None) => break,
                Err(error) => {
                    let code = error.code;
                    assert!(matches!(
                        code,
                        ErrorCode::InvalidEncoding | ErrorCode::InvalidMessageType
                    ));
                    assert_eq!(ErrorCode::from_number(code.number()), Some(code));
                    assert_eq!((reader.next(), reader.buffered()), (Err(error.clone()), 0));
                    return (found, Some(error));
                }
            }
        }
        assert!(reader.buffered() < HEADER_BYTES + limits.max_message_bytes as usize);
    }
    (found, None)
}

/// What was read is written so that it is read as the same, and is within the limits.
fn comes_back(dialect: Dialect, message: &Message) {
    let plain = message.clone().unstamped().0;
    let unsayable = matches!(
        plain,
        Message::ConnectResponse(ConnectResponse::Refused(ResponseCode::Unknown(_)))
    );
    let mut out = BytesMut::new();
    assert_eq!(
        message.encode(dialect, &mut out).is_err(),
        unsayable,
        "{message:?}"
    );
    if unsayable {
        assert!(out.is_empty());
        return;
    }
    let again = read_control(dialect, limits(), &[out.freeze()]);
    assert_eq!(again, (vec![Incoming::Message(message.clone())], None));
    match &plain {
        Message::NodeInfoAdvertise(info) => {
            assert!(info.path_len() <= 4 && info.contact.len() <= 40);
            assert!(info.longitude.get().is_finite() && info.latitude.get().is_finite());
            assert!(info.path.iter().all(|item| info.path_contains(item.node)));
            assert!(info.path.iter().all(|item| info.sum_srtt() >= item.srtt_us));
        }
        Message::SubscribeInfoAdvertise(info) => {
            assert!(info.data.len() <= 60);
            assert!(!info.sequence.is_newer_than(info.sequence));
            assert!(info.sequence.next().is_newer_than(info.sequence));
            if let Ok((id, subscribe)) = parse_subscribe_data(dialect, &info.data) {
                let data = encode_subscribe_data(dialect, id, &subscribe).unwrap();
                assert_eq!(parse_subscribe_data(dialect, &data), Ok((id, subscribe)));
            }
        }
        Message::PublishInfoAdvertise(info) => {
            assert_eq!(info.is_consistent(), info.hash == info.what.hash().full);
            assert!(!info.what.namespace().fields().is_empty());
        }
        Message::Relayed(relayed) => {
            if let Ok(Some(infos)) = relayed.infos(&limits()) {
                let again = Relayed::of_infos(relayed.target, &infos).unwrap();
                assert_eq!(again.infos(&limits()), Ok(Some(infos)));
            }
            answer(relayed.request_id, &relayed.body);
            step_of_fetch(relayed.request_id, &relayed.body);
        }
        Message::NodeSetAdvertise(set) => {
            assert!(set.nodes().len() <= 8 && set.nodes().is_sorted_by(|a, b| a < b));
            assert!(set.nodes().iter().all(|node| set.contains(*node)));
        }
        _ => {}
    }
}

/// Any body is an answer or none, and one that is can be told again.
fn answer(request_id: u64, body: &Bytes) {
    let Ok(answer) = TrackAnswer::decode(request_id, body) else {
        return;
    };
    assert_eq!(answer.request.0, request_id);
    let again = answer.encode().map(|body| TrackAnswer::decode(request_id, &body));
    assert_eq!(again, Ok(Ok(answer)));
}

/// Answers of an origin, whole and with a byte that is another one. Decision 0029.
fn answers(feed: &mut Feed<'_>) {
    let track = TrackHash::of(&track(feed)).full;
    let said = TrackAnswer {
        track,
        request: RequestId(feed.number()),
        answer: match feed.below(3) {
            0 => Answer::Ok(subscribe_ok(feed, track.get())),
            1 => Answer::Error(request_error(feed)),
            _ => Answer::Done(publish_done(feed)),
        },
    };
    let Ok(body) = said.encode() else { return };
    let read = TrackAnswer::decode(said.request.0, &body).unwrap();
    assert_eq!((read.track, read.request), (said.track, said.request));
    let mut bent = body.to_vec();
    let at = feed.below(bent.len());
    bent[at] = feed.u8();
    answer(said.request.0, &bent.into());
}

/// The head of a stream in these pieces, and how much of them it took.
fn read_head(pieces: &[Bytes]) -> Result<Option<(StreamHeader, usize)>, DecodeError> {
    let mut reader = StreamHeaderReader::new();
    let mut taken = 0;
    for piece in pieces {
        let mut rest = piece.clone();
        let head = reader.read(&mut rest)?;
        taken += piece.len() - rest.len();
        if let Some(head) = head {
            return Ok(Some((head, taken)));
        }
        assert!(rest.is_empty() && reader.filled() == taken);
    }
    Ok(None)
}

/// A control stream, a data stream, a datagram and a node id as text, cut anywhere. laps peering, "Messages".
pub(crate) fn peering(data: &[u8]) {
    let mut feed = Feed::new(data);
    let dialect = dialect(&mut feed);
    let cuts = feed.bytes(16);
    let bytes = feed.rest();
    let pieces = Feed::new(&cuts).split(bytes.clone());
    let whole = read_control(dialect, limits(), std::slice::from_ref(&bytes));
    assert_eq!(read_control(dialect, limits(), &pieces), whole);
    for incoming in &whole.0 {
        if let Incoming::Message(message) = incoming {
            comes_back(dialect, message);
        }
    }
    let head = read_head(std::slice::from_ref(&bytes));
    assert_eq!(read_head(&pieces), head);
    match head {
        Ok(Some((head, taken))) => {
            assert_eq!((&head.encode()[..], taken), (&bytes[..taken], StreamHeader::LEN))
        }
        Ok(None) => assert!(bytes.len() < StreamHeader::LEN),
        Err(error) => assert_eq!(error.code, ErrorCode::InvalidStartOfStream),
    }
    match DatagramHeader::split(bytes.clone()) {
        Ok((head, payload)) => assert_eq!([&head.encode()[..], &payload].concat(), bytes),
        Err(error) => assert_eq!(error.code, ErrorCode::InvalidStartOfStream),
    }
    let text = String::from_utf8_lossy(&bytes);
    if let Ok(id) = text.parse::<NodeId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.0.to_string().parse(), Ok(id));
    }
    let id = endpoint_node_id(&text);
    assert_eq!(id.to_string().parse(), Ok(id));
    // Any bytes are a name; the hash stays a track alias.
    let of_bytes = TrackHash::combined(hash(&cuts), hash(&bytes));
    assert!(of_bytes.is_consistent() && of_bytes.full <= FullNameHash::MAX);
    assert_eq!(FullNameHash::new(of_bytes.full.get()), Some(of_bytes.full));
    names(&mut Feed::new(data));
    answers(&mut Feed::new(data));
    fetches(&mut Feed::new(data));
}

/// Hashes of names, and what is made of them.
fn names(feed: &mut Feed<'_>) {
    let track = track(feed);
    let found = TrackHash::of(&track);
    assert!(found.is_consistent() && found.full <= FullNameHash::MAX);
    assert_eq!(found.namespace, hash(&track.namespace().fields().concat()));
    assert_eq!(
        prefix_hashes(track.namespace()).count(),
        track.namespace().fields().len()
    );
    let subscribe = laps_subscribe(track, feed.u8(), feed.flag().then(|| feed.number()));
    let id = RequestId(feed.number());
    let data = encode_subscribe_data(Dialect::Laps14, id, &subscribe).unwrap();
    assert_eq!(parse_subscribe_data(Dialect::Laps14, &data), Ok((id, subscribe)));
}

fn node(feed: &mut Feed<'_>) -> NodeInfo {
    let node_type = NodeType::ALL[feed.below(3)];
    let mut info = NodeInfo::new(NodeId(u64::from(feed.u8() % 4)), node_type, feed.bytes(9));
    info.longitude = Degrees::new(f64::from(feed.u8()));
    for _ in 0..feed.u8() / 100 {
        info.path.push(PathItem {
            node: NodeId(feed.number()),
            srtt_us: feed.number(),
        });
    }
    info
}

fn message(feed: &mut Feed<'_>, dialect: Dialect) -> Message {
    let info = |feed: &mut Feed<'_>| SubscribeInfo {
        sequence: Sequence(u16::from(feed.u8())),
        source: NodeId(feed.number()),
        track: TrackHash::of(&track(feed)),
        data: feed.bytes(20),
    };
    let publish = |feed: &mut Feed<'_>| {
        let what = if feed.flag() {
            Published::Namespace(namespace(feed))
        } else {
            Published::Track(track(feed))
        };
        PublishInfo::new(NodeId(feed.number()), what)
    };
    let stamp = Stamp {
        // 0 is not allowed where a node tells of itself.
        epoch: u64::from(feed.u8() % 4),
        sequence: Sequence(u16::from(feed.u8())),
    };
    let sns = |feed: &mut Feed<'_>| SnsId::new(u32::from(feed.u8())).unwrap_or(SnsId::FIRST);
    let message = match feed.below(16) {
        0 | 1 => Message::Connect(Connect {
            mode: PeerMode::ALL[feed.below(if dialect == Dialect::Own { 4 } else { 3 })],
            node: node(feed),
        }),
        2 => Message::ConnectResponse(ConnectResponse::Accepted(node(feed))),
        3 => Message::ConnectResponse(ConnectResponse::Refused(ResponseCode::NotAuthorized)),
        4 => Message::NodeInfoAdvertise(node(feed)),
        5 => Message::NodeInfoWithdraw(node(feed)),
        6 => Message::SubscribeInfoAdvertise(info(feed)),
        7 => Message::SubscribeInfoWithdraw(info(feed)),
        8 => Message::PublishInfoAdvertise(publish(feed)),
        9 => Message::PublishInfoWithdraw(publish(feed)),
        10 => {
            let id = sns(feed);
            let own = dialect == Dialect::Own;
            let nodes: Vec<_> = (0..feed.below(5))
                .map(|node| (NodeId(node as u64), if own { feed.u8() } else { 128 }))
                .collect();
            let set = NodeSet::urgent(id, nodes);
            let origin = (own && feed.flag()).then(|| NodeId(feed.number()));
            Message::NodeSetAdvertise(set.from_origin(origin))
        }
        11 => Message::NodeSetWithdraw(sns(feed)),
        12 => Message::Ping(feed.number()),
        13 => Message::Pong(feed.number()),
        14 => Message::Own(OwnMessage::Watch(namespace(feed))),
        _ => Message::Relayed(Relayed {
            target: NodeId(feed.number()),
            source: NodeId(feed.number()),
            hop_limit: feed.u8(),
            kind: feed.u8() % 5,
            request_id: feed.number(),
            body: feed.bytes(20),
        }),
    };
    if dialect == Dialect::Own {
        message.stamped(stamp)
    } else {
        message
    }
}

/// What has come out of a link, and what must hold of it.
#[derive(Default)]
struct Watch {
    over: bool,
    established: bool,
    /// Streams with a message that has not been flushed.
    under_way: BTreeSet<ControlStream>,
}

impl Watch {
    fn output(&mut self, session: &PeerSession, output: Output) {
        assert!(!self.over, "{output:?} after the end");
        let handshake = |kind| matches!(kind, MessageKind::Connect | MessageKind::ConnectResponse);
        match output {
            Output::Action(Action::Write(stream, bytes)) => {
                assert!(self.under_way.insert(stream), "two messages share a flush");
                let (found, error) = read_control(session.dialect(), Limits::default(), &[bytes]);
                let [Incoming::Message(message)] = &found[..] else {
                    panic!("{found:?} {error:?} is not one message");
                };
                assert!(self.established || handshake(message.kind()));
            }
            Output::Action(Action::Reset(stream, _)) => drop(self.under_way.remove(&stream)),
            Output::Action(Action::OpenControl) => assert_eq!(session.role(), Role::Dialler),
            Output::Action(Action::Close { reason, .. }) => {
                assert!(!reason.is_empty());
                self.over = true;
            }
            Output::Event(event) => match *event {
                Event::Established { peer, .. } => {
                    assert!(!std::mem::replace(&mut self.established, true));
                    assert!(peer.id != NodeId(1) && peer.path.is_empty());
                }
                Event::Message(message) => assert!(self.established && !handshake(message.kind())),
                Event::PeerConnect(_) => assert_eq!(session.role(), Role::Acceptor),
                Event::Refused(_) => assert_eq!(session.role(), Role::Dialler),
                Event::ControlMoved => assert!(self.established),
                _ => {}
            },
            Output::Trace(_) => {}
        }
    }
}

fn config(feed: &mut Feed<'_>) -> Config {
    let choice = feed.u8();
    let mut config = Config::new(NodeInfo::new(NodeId(1), NodeType::Edge, Bytes::new()));
    config.limits = limits();
    config.epoch = 5;
    config.trace = choice & 1 == 1;
    config.expected = (choice & 0xe == 0xe).then_some(NodeId(2));
    config.max_queued_messages = 6;
    config.max_queued_sets = 3;
    config.max_control_moves = 2;
    config.mode = PeerMode::ALL[usize::from(choice >> 4) % 4];
    if choice & 0xc0 == 0xc0 {
        config.accepted_modes = vec![PeerMode::Both];
    }
    config
}

/// One side of a link, whose peer and owner say and do anything. laps peering, "Connection Establishment".
pub(crate) fn link(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut now = crate::base();
    let role = if feed.flag() {
        Role::Dialler
    } else {
        Role::Acceptor
    };
    let dialect = dialect(&mut feed);
    let mut session = PeerSession::new(role, dialect, config(&mut feed), now);
    let mut watch = Watch::default();
    while !feed.is_over() {
        let stream = ControlStream(feed.number() % 4 * 4);
        let before = session.is_closed();
        match feed.below(12) {
            0..=3 => {
                let mut bytes = BytesMut::new();
                if feed.u8() < 240 {
                    message(&mut feed, dialect).encode(dialect, &mut bytes).ok();
                } else {
                    bytes.extend_from_slice(&feed.bytes(20));
                }
                for piece in Feed::new(&feed.bytes(3)).split(bytes.freeze()) {
                    session.handle_input(now, Input::StreamBytes(stream, piece));
                }
            }
            4 => session.handle_input(now, Input::StreamOpened(stream)),
            5 => session.handle_input(now, Input::StreamAccepted(stream)),
            6 => session.handle_input(
                now,
                if feed.flag() {
                    Input::StreamFin(stream)
                } else {
                    Input::StreamReset(stream)
                },
            ),
            7 | 8 => {
                // Nothing is flushed that was not written.
                if watch.under_way.remove(&stream) {
                    session.handle_input(now, Input::Flushed(stream));
                }
            }
            9 => {
                let command = match feed.below(9) {
                    3 => Command::Ping(feed.number()),
                    0 => Command::Refuse(ResponseCode::ModeNotAllowed, "not here".into()),
                    1 => Command::RecreateControl,
                    2 => Command::Close(ErrorCode::Close, "enough".into()),
                    _ => Command::Accept,
                };
                let done = session.command(now, command);
                assert!(!before || done == Err(CommandError::WrongState));
            }
            10 => {
                let message = message(&mut feed, dialect);
                let (room, kind) = (session.queue_room(), message.kind());
                let sent = session.sent().of(kind);
                let done = session.command(now, Command::Send(message));
                // Sets count when they are written, and only the latest of each is.
                if matches!(kind, MessageKind::NodeSetAdvertise | MessageKind::NodeSetWithdraw) {
                    assert!(session.sent().of(kind) <= sent + u64::from(done.is_ok()));
                } else {
                    assert_eq!(session.sent().of(kind), sent + u64::from(done.is_ok()));
                    assert!(room > 0 || !matches!(done, Ok(())));
                }
                assert!(!matches!(done, Err(CommandError::Overflow(_))) || session.is_closed());
            }
            _ => {
                if feed.flag() {
                    session.handle_input(now, Input::DataArrived);
                } else {
                    now += Duration::from_secs(u64::from(feed.u8() % 4));
                    session.handle_input(now, Input::Timeout);
                }
            }
        }
        while let Some(output) = session.poll_output() {
            watch.output(&session, output);
        }
        assert_eq!(watch.over, session.is_closed());
        assert!(!before || session.is_closed());
        assert!(watch.established || !session.is_established());
        assert!(session.queued().0 <= 6 + 3 && session.queued_sets() <= 3);
        assert!(session.received().total() < 10_000);
        assert!(!session.sends_data() || session.is_established() && session.mode().sends_data());
        assert!(!session.takes_data() || session.is_established() && session.mode().takes_data());
        assert!(!session.carries_control() || session.mode().has_control());
        assert!(!session.is_established() || session.peer().is_some());
    }
    // Left alone it stands, waits for its own side, or ends.
    for _ in 0..4 {
        let Some(deadline) = session.poll_timeout() else {
            break;
        };
        now = now.max(deadline);
        session.handle_input(now, Input::Timeout);
        while let Some(output) = session.poll_output() {
            watch.output(&session, output);
        }
    }
    assert_eq!(session.poll_timeout(), None);
}
