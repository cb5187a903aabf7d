//! A laps relay, played. It says what one was seen to say, and takes no more than one takes: one control message out of
//! each chunk of the control stream, the whole data header and MOQT's subgroup header in the first chunk of a stream, data
//! of sets that it was told before. What one could not have taken fails the test.

use super::PATIENCE;
use actix_rt::task::JoinHandle;
use bytes::{Bytes, BytesMut};
use laps::relay::Settings;
use laps_actors::transport::{
    ClientEndpoint, Conn, ConnError, ConnHandle, LAPS_ALPN, LinkTimes, Listen, PeerTls, RecvGuard, ResetKey,
    SendGuard, ServerEndpoint, StreamError, TransportConfig, bind,
};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::object::{DatagramObject, ObjectHeader, SubgroupHeader};
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{Dialect, Message, MessageKind, NodeSet, SnsId};
use laps_protocol::peering::node::NodeId;
use laps_protocol::peering::reader::{ControlReader, Incoming};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Who the relay of most vectors is: `-e relay-a`.
pub const RELAY_A: NodeId = NodeId(0xb97e_0ef0_37b1_7f89);

/// Who the peer of the captured link is.
pub const FAKE_PEER: NodeId = NodeId(0x0001_0002_0003_0004);

/// The bytes of this vector, which laps wrote or took.
pub fn vector(id: &str) -> Bytes {
    let table = include_str!("../../protocol/tests/vectors/peering.txt");
    let row = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(id));
    let digits: String = row.unwrap().split_whitespace().skip(2).collect();
    let bytes = (0..digits.len()).step_by(2);
    bytes
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// A message as laps writes it.
pub fn bytes_of(message: &Message) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(Dialect::Laps14, &mut bytes).unwrap();
    bytes.freeze()
}

/// SUBSCRIBE_NODE_SET_ADV as laps writes it.
pub fn set_of(id: u32, nodes: &[NodeId]) -> Bytes {
    let set = NodeSet::new(SnsId::new(id).unwrap(), NodeSet::PRIORITY, nodes.iter().copied());
    bytes_of(&Message::NodeSetAdvertise(set))
}

/// Bytes of objects of a subgroup stream, behind its header: id delta 0, no extensions.
pub fn objects(payloads: &[&str]) -> Bytes {
    let object = |payload: &&str| {
        let len = u8::try_from(payload.len()).unwrap();
        [&[0, 0, len], payload.as_bytes()].concat()
    };
    payloads.iter().flat_map(object).collect()
}

/// Both headers of a stream of the track of the vectors, as captured, for this set and group.
pub fn heads(set: u8, group: u8) -> Bytes {
    let mut heads = vector("U1")[..30].to_vec();
    (heads[5], heads[28]) = (set, group);
    assert_eq!((heads.len(), heads[29]), (30, 0x80));
    heads.into()
}

/// Lets laps relays dial a relay of a mesh, from this machine.
pub fn listens(settings: &mut Settings) {
    let peering = settings.peering.as_mut().unwrap();
    peering.laps_listen = Some((Listen::Ip(std::net::Ipv4Addr::LOCALHOST.into()), 0));
    let setup = &mut peering.setup;
    setup.laps_from = vec![std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST).into()];
    // laps peering, "Unsubscribe/Subscribe Misuse": no test waits for seconds.
    setup.settings.unsubscribe_hold = Duration::from_millis(50);
    // A machine that is busy with other tests is no dead link.
    setup.times.keep_alive = PATIENCE;
    setup.transport.idle_timeout = PATIENCE;
}

/// Something that happened, in order. Data streams are numbered in the order in which they were accepted.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A control message, and its bytes; on which of the control streams.
    Said(usize, Message, Bytes),
    /// A control stream ended: by a reset with this code, or in order.
    Over(usize, Option<u64>),
    Stream(usize, StreamHeader, SubgroupHeader),
    Object(usize, ObjectHeader),
    Payload(usize, Bytes),
    Fin(usize),
    Reset(usize, u64),
    Datagram(DatagramHeader, DatagramObject),
    Closed(ConnError),
    /// A real one would have stalled, or lost something.
    Fault(String),
}

/// The sets that it was told, and the tracks that their data turned out to be of.
type Sets = Rc<RefCell<BTreeMap<SnsId, Option<FullNameHash>>>>;

/// The relay, at its end of one link.
pub struct LapsPeer {
    pub conn: ConnHandle,
    /// Everything so far.
    pub log: Vec<Heard>,
    control: SendGuard,
    controls: usize,
    sets: Sets,
    tell: mpsc::UnboundedSender<Heard>,
    news: mpsc::UnboundedReceiver<Heard>,
    tasks: Vec<JoinHandle<()>>,
    _endpoint: Option<ClientEndpoint>,
}

impl Drop for LapsPeer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.conn.close(0, "");
    }
}

/// Where it listens for relays that dial it.
pub struct LapsListener(ServerEndpoint);

impl LapsListener {
    pub fn start() -> Self {
        let loopback = Listen::Ip(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let socket = bind(loopback, 0, 1).unwrap().remove(0);
        let tls = PeerTls::open(LAPS_ALPN).unwrap();
        Self(ServerEndpoint::start(socket, tls.server(), &config(), ResetKey::random()).unwrap())
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Takes the next link, whose peer says CONNECT first, and answers.
    pub async fn accept(&mut self, answer: &Bytes) -> LapsPeer {
        let conn = self.0.accept().await.unwrap();
        assert_eq!(conn.handle().alpn(), LAPS_ALPN);
        let mut peer = LapsPeer::on(conn, None, true).await;
        let first = peer.said(|message| Some(message.clone())).await;
        assert_eq!(first.kind(), MessageKind::Connect);
        peer.say(answer).await;
        peer
    }
}

fn config() -> TransportConfig {
    TransportConfig {
        recv_ring: 1 << 20,
        idle_timeout: PATIENCE,
        ..TransportConfig::for_links(LinkTimes::default())
    }
}

impl LapsPeer {
    /// Dials, and says nothing.
    pub async fn reach(addr: SocketAddr) -> Self {
        let tls = PeerTls::open(LAPS_ALPN).unwrap();
        let endpoint = ClientEndpoint::for_remote(addr, tls.client(), &config()).unwrap();
        let conn = endpoint.connect(addr, "localhost").await.unwrap();
        Self::on(conn, Some(endpoint), false).await
    }

    /// Dials and says CONNECT, and has its answer.
    pub async fn dial(addr: SocketAddr, connect: &Bytes) -> Self {
        let mut peer = Self::reach(addr).await;
        peer.say(connect).await;
        let first = peer.said(|message| Some(message.clone())).await;
        assert_eq!(first.kind(), MessageKind::ConnectResponse);
        peer
    }

    async fn on(conn: Conn, endpoint: Option<ClientEndpoint>, dialled: bool) -> Self {
        let parts = conn.split();
        let (mut conn, mut bidi, mut uni, mut datagrams) =
            (parts.handle, parts.bidi, parts.uni, parts.datagrams);
        let (tell, news) = mpsc::unbounded_channel();
        let sets = Sets::default();
        // laps peering, "Sending/Receiving Control Messages": who dials creates the stream.
        let (control, ear) = if dialled {
            bidi.accept().await.unwrap().unwrap()
        } else {
            conn.open_bidi().await.unwrap()
        };
        let mut tasks = vec![actix_rt::spawn(read_control(
            0,
            ear,
            tell.clone(),
            Rc::clone(&sets),
        ))];
        let (streams, known) = (tell.clone(), Rc::clone(&sets));
        tasks.push(actix_rt::spawn(async move {
            let mut number = 0;
            let closed = loop {
                match uni.accept().await {
                    Ok(Some(stream)) => {
                        let read = read_stream(number, stream, streams.clone(), Rc::clone(&known));
                        drop(actix_rt::spawn(read));
                        number += 1;
                    }
                    Ok(None) => break ConnError::Ended,
                    Err(error) => break error,
                }
            };
            streams.send(Heard::Closed(closed)).ok();
        }));
        let (told, known) = (tell.clone(), Rc::clone(&sets));
        tasks.push(actix_rt::spawn(async move {
            while let Ok(datagram) = datagrams.recv().await {
                told.send(datagram_of(datagram, &known)).ok();
            }
        }));
        let more = tell.clone();
        tasks.push(actix_rt::spawn(async move {
            while let Ok(Some(_)) = bidi.accept().await {
                let fault = "a second control stream, where it has none to give up";
                more.send(Heard::Fault(fault.to_owned())).ok();
            }
        }));
        Self {
            conn,
            log: Vec::new(),
            control,
            controls: 1,
            sets,
            tell,
            news,
            tasks,
            _endpoint: endpoint,
        }
    }

    /// Writes one control message, and nothing with it.
    pub async fn say(&mut self, message: &Bytes) {
        self.control.send(&mut [message.clone()]).await.unwrap();
        // It may be the last that the relay takes.
        self.control.flush().await.ok();
    }

    /// Begins another control stream and says CONNECT on it; what is said from here on is said there.
    pub async fn another_control(&mut self, connect: &Bytes) {
        let (control, ear) = self.conn.open_bidi().await.unwrap();
        let (number, tell, sets) = (self.controls, self.tell.clone(), Rc::clone(&self.sets));
        self.controls += 1;
        self.tasks
            .push(actix_rt::spawn(read_control(number, ear, tell, sets)));
        // A real one holds on to the old one as well.
        let old = std::mem::replace(&mut self.control, control);
        self.tasks.push(actix_rt::spawn(async move {
            std::future::poll_fn(|cx| old.poll_stopped(cx)).await;
        }));
        self.say(connect).await;
    }

    /// Ends its control stream, whatever was said there.
    pub fn end_control(&mut self) {
        self.control.finish().unwrap();
    }

    /// Begins a data stream with these bytes in one write.
    pub async fn open(&mut self, first: &[Bytes]) -> SendGuard {
        let mut stream = self.conn.open_uni().await.unwrap();
        stream.send(&mut [first.concat().into()]).await.unwrap();
        stream
    }

    /// As a real one does when it tells of a set: a stream that it never uses.
    pub async fn open_and_reset(&mut self) {
        let mut stream = self.conn.open_uni().await.unwrap();
        stream.reset(0);
    }

    /// Waits until the log says yes; it is asked again after each thing that happens.
    pub async fn wait<T>(&mut self, mut look: impl FnMut(&[Heard]) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(&self.log) {
                return found;
            }
            match tokio::time::timeout(PATIENCE / 3, self.news.recv()).await {
                Ok(Some(Heard::Fault(fault))) => panic!("laps cannot take this: {fault}"),
                Ok(Some(heard)) => self.log.push(heard),
                Ok(None) | Err(_) => panic!("it never happened; heard: {:#?}", self.log),
            }
        }
    }

    /// Waits for a control message.
    pub async fn said<T>(&mut self, mut look: impl FnMut(&Message) -> Option<T>) -> T {
        self.wait(|log| {
            log.iter().find_map(|heard| match heard {
                Heard::Said(_, message, _) => look(message),
                _ => None,
            })
        })
        .await
    }

    /// Waits for a control message of these bytes.
    pub async fn said_bytes(&mut self, bytes: &Bytes) {
        self.wait(|log| {
            let same = |heard: &Heard| matches!(heard, Heard::Said(_, _, said) if said == bytes);
            log.iter().any(same).then_some(())
        })
        .await;
    }

    /// Waits for the end of the connection, and gives the code that the relay ended it with.
    pub async fn closed(&mut self) -> u64 {
        let error = self.wait(|log| match log.last() {
            Some(Heard::Closed(error)) => Some(*error),
            _ => None,
        });
        match error.await {
            ConnError::Peer { code } => code,
            other => panic!("{other}"),
        }
    }

    /// The whole objects of a data stream, so far.
    pub fn objects(&self, stream: usize) -> Vec<Vec<u8>> {
        let mut objects = Vec::new();
        for heard in &self.log {
            match heard {
                Heard::Object(at, _) if *at == stream => objects.push(Vec::new()),
                Heard::Payload(at, bytes) if *at == stream => {
                    objects.last_mut().unwrap().extend_from_slice(bytes);
                }
                _ => {}
            }
        }
        objects
    }

    /// Fails the test for what a real one could not have taken, also if nobody waited for it.
    pub fn is_content(&mut self) {
        while let Ok(heard) = self.news.try_recv() {
            if let Heard::Fault(fault) = heard {
                panic!("laps cannot take this: {fault}");
            }
            self.log.push(heard);
        }
    }
}

/// A real one takes one message out of each chunk: what follows it in the chunk waits for the next. One in two chunks is no
/// fault, as a packet may have room for a part of it: the first chunk has none then.
fn take(reader: &mut ControlReader, pending: &mut BytesMut, chunk: &[u8]) -> Result<Option<Message>, String> {
    reader.push(chunk);
    pending.extend_from_slice(chunk);
    let message = match reader.next() {
        Ok(Some(Incoming::Message(message))) => message,
        Ok(None) => return Ok(None),
        other => return Err(format!("{other:?}")),
    };
    if reader.buffered() != 0 {
        return Err(format!("more than one message in a chunk: {pending:?}"));
    }
    if bytes_of(&message) != *pending {
        return Err(format!("laps writes {message:?} otherwise than {pending:?}"));
    }
    Ok(Some(message))
}

async fn read_control(number: usize, mut ear: RecvGuard, tell: mpsc::UnboundedSender<Heard>, sets: Sets) {
    let mut reader = ControlReader::new(Dialect::Laps14, Limits::default());
    let mut pending = BytesMut::new();
    loop {
        let heard = match ear.receive().await {
            Ok(Some(chunk)) => match take(&mut reader, &mut pending, &chunk) {
                Ok(None) => continue,
                Ok(Some(message)) => {
                    match &message {
                        Message::NodeSetAdvertise(set) => {
                            sets.borrow_mut().entry(set.id).or_insert(None);
                        }
                        Message::NodeSetWithdraw(id) => {
                            sets.borrow_mut().remove(id);
                        }
                        _ => {}
                    }
                    Heard::Said(number, message, std::mem::take(&mut pending).freeze())
                }
                Err(fault) => Heard::Fault(fault),
            },
            Ok(None) => Heard::Over(number, None),
            Err(StreamError::Reset { code }) => Heard::Over(number, Some(code)),
            Err(_) => return,
        };
        let last = matches!(heard, Heard::Over(..) | Heard::Fault(_));
        tell.send(heard).ok();
        if last {
            return;
        }
    }
}

/// Data is of a set that was told, and of the same track as all of that set.
fn check_set(sets: &Sets, sns: SnsId, track: FullNameHash) -> Result<(), String> {
    let mut sets = sets.borrow_mut();
    let Some(bound) = sets.get_mut(&sns) else {
        return Err(format!("data of set {sns}, which it was not told"));
    };
    let first = *bound.get_or_insert(track);
    (first == track)
        .then_some(())
        .ok_or_else(|| format!("set {sns} stands for {first:?} and {track:?}"))
}

/// The first chunk of a stream: both headers are in it, or a real one loses the stream.
fn begin(sets: &Sets, mut chunk: Bytes) -> Result<(StreamHeader, SubgroupHeader, StreamReader), String> {
    let whole = chunk.clone();
    let header = StreamHeaderReader::new().read(&mut chunk);
    let Ok(Some(header)) = header else {
        return Err(format!("a stream begins with {whole:?}"));
    };
    check_set(sets, header.sns, header.track)?;
    let mut reader = StreamReader::new(Codec::Draft14, DataLimits::default());
    reader.push(chunk);
    match reader.next() {
        Ok(Some(StreamItem::SubgroupHeader(subgroup))) if subgroup.alias == header.track.get() => {
            Ok((header, subgroup, reader))
        }
        other => Err(format!("a stream begins with {whole:?}: {other:?}")),
    }
}

async fn read_stream(number: usize, mut stream: RecvGuard, tell: mpsc::UnboundedSender<Heard>, sets: Sets) {
    let mut reader: Option<StreamReader> = None;
    loop {
        let chunk = match stream.receive().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                let whole = reader.is_some_and(|reader| reader.fin().is_ok());
                let heard = if whole {
                    Heard::Fin(number)
                } else {
                    Heard::Fault(format!("stream {number} ends in the middle"))
                };
                tell.send(heard).ok();
                return;
            }
            Err(StreamError::Reset { code }) => {
                tell.send(Heard::Reset(number, code)).ok();
                return;
            }
            Err(_) => return,
        };
        let reader = match &mut reader {
            Some(reader) => {
                reader.push(chunk);
                reader
            }
            None => match begin(&sets, chunk) {
                Ok((header, subgroup, begun)) => {
                    tell.send(Heard::Stream(number, header, subgroup)).ok();
                    reader.insert(begun)
                }
                Err(fault) => {
                    tell.send(Heard::Fault(fault)).ok();
                    return;
                }
            },
        };
        while let Some(item) = reader.next().unwrap() {
            let heard = match item {
                StreamItem::Object(header) => Heard::Object(number, header),
                StreamItem::Payload(bytes) => Heard::Payload(number, bytes),
                other => Heard::Fault(format!("{other:?}")),
            };
            tell.send(heard).ok();
        }
    }
}

fn datagram_of(datagram: Bytes, sets: &Sets) -> Heard {
    let read = || {
        let (header, payload) = DatagramHeader::split(datagram).map_err(|error| error.to_string())?;
        check_set(sets, header.sns, header.track)?;
        let object = Codec::Draft14
            .decode_datagram(payload, &DataLimits::default())
            .map_err(|error| error.to_string())?;
        // It hands datagrams on as they are, to subscribers who know the track by its hash.
        (object.alias == header.track.get())
            .then_some(Heard::Datagram(header, object))
            .ok_or_else(|| "a datagram with another alias than the hash of its track".to_owned())
    };
    read().unwrap_or_else(Heard::Fault)
}
