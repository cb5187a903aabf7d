//! A client without manners: it says what a test tells it to and writes down what it sees, in order.

use super::{PATIENCE, target};
use actix_rt::task::JoinHandle;
use bytes::{Bytes, BytesMut};
use laps::relay::Relay;
use laps_actors::transport::{
    ClientEndpoint, ClientTls, ConnError, ConnHandle, RecvGuard, SendGuard, StreamError, TransportConfig,
    Verify, moqt_alpn,
};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, NamespaceRequest, Publish,
    PublishDone, PublishDoneStatus, PublishOk, RequestError, RequestId, RequestKind, ServerSetup,
    SetupParams, Subscribe, SubscribeFilter, SubscribeOk, SubscribeUpdate,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{
    DatagramObject, FetchObjectHeader, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode, TrackAlias,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};

/// The one draft there is.
pub const CODEC: Codec = Codec::Draft14;

/// Something that was seen. Streams are numbered in the order in which they were accepted.
#[derive(Clone, Debug)]
pub enum News {
    Control(ControlMessage),
    /// A stream was accepted, and is held.
    Held(usize),
    /// A stream began.
    Stream(usize, SubgroupHeader),
    Object(usize, ObjectHeader),
    Payload(usize, Bytes),
    Fin(usize),
    Reset(usize, u64),
    /// The stream of a fetch began.
    FetchStream(usize, RequestId),
    FetchObject(usize, FetchObjectHeader),
    Datagram(DatagramObject),
    Closed(ConnError),
}

/// A whole object that came on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub stream: usize,
    pub alias: TrackAlias,
    pub location: Location,
    pub payload: Vec<u8>,
}

/// What the client does with streams that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Everything,
    /// It holds them and takes no byte.
    Nothing,
    /// It holds them and takes no byte before [`Raw::read_held`].
    Later,
    /// It stops the first one when its first bytes are there, and takes every byte of the others.
    StopFirst,
    /// It takes no byte of the first one, and every byte of the others.
    AllButFirst,
}

/// The client.
pub struct Raw {
    pub conn: ConnHandle,
    /// Everything seen so far.
    pub log: Vec<News>,
    pub setup: ServerSetup,
    /// Set, the client takes nothing more from its control stream, which stays open.
    pub deaf: Rc<Cell<bool>>,
    reads: Rc<Notify>,
    control: SendGuard,
    news: mpsc::UnboundedReceiver<News>,
    next_id: u64,
    tasks: Vec<JoinHandle<()>>,
    _endpoint: ClientEndpoint,
}

impl Drop for Raw {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.conn.close(0, "the test is done with it");
    }
}

/// Connects and completes SETUP.
pub async fn raw(relay: &Relay) -> Raw {
    Raw::connect(relay, Reading::Everything, TransportConfig::default()).await
}

/// Connects to a relay that is not of this thread, and completes SETUP.
pub async fn raw_at(addr: SocketAddr) -> Raw {
    Raw::connect_to(addr, Reading::Everything, TransportConfig::default()).await
}

impl Raw {
    pub async fn connect(relay: &Relay, reading: Reading, transport: TransportConfig) -> Self {
        Self::connect_to(relay.local_addr(), reading, transport).await
    }

    pub async fn connect_to(addr: SocketAddr, reading: Reading, transport: TransportConfig) -> Self {
        Self::connect_as(addr, reading, transport, 100_000, Vec::new()).await
    }

    /// Shows these tokens in SETUP, whatever they are.
    pub async fn connect_with_tokens(
        addr: SocketAddr,
        reading: Reading,
        transport: TransportConfig,
        authorization_tokens: Vec<Bytes>,
    ) -> Self {
        Self::connect_as(addr, reading, transport, 100_000, authorization_tokens).await
    }

    /// A client that lets the relay use ids below `max_request_id`.
    pub async fn connect_with(
        addr: SocketAddr,
        reading: Reading,
        transport: TransportConfig,
        max_request_id: u64,
    ) -> Self {
        Self::connect_as(addr, reading, transport, max_request_id, Vec::new()).await
    }

    async fn connect_as(
        addr: SocketAddr,
        reading: Reading,
        transport: TransportConfig,
        max_request_id: u64,
        authorization_tokens: Vec<Bytes>,
    ) -> Self {
        let target = target(addr);
        let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn()).unwrap();
        let endpoint = ClientEndpoint::for_remote(target.addr, &tls, &transport).unwrap();
        let parts = endpoint.connect(target.addr, "localhost").await.unwrap().split();
        let mut conn = parts.handle;
        let (control, control_in) = conn.open_bidi().await.unwrap();
        let (tell, news) = mpsc::unbounded_channel();
        let (mut uni, mut datagrams, mut bidi) = (parts.uni, parts.datagrams, parts.bidi);
        let deaf = Rc::new(Cell::new(false));
        let control_task = read_control(control_in, tell.clone(), Rc::clone(&deaf));
        let mut tasks = vec![actix_rt::spawn(control_task)];
        let streams = tell.clone();
        let reads = Rc::new(Notify::new());
        let told = Rc::clone(&reads);
        tasks.push(actix_rt::spawn(async move {
            let (mut held, mut number, mut reading) = (Vec::new(), 0, reading);
            let closed = loop {
                let accepted = tokio::select! {
                    accepted = uni.accept() => accepted,
                    () = told.notified() => {
                        reading = Reading::Everything;
                        for (number, stream) in held.drain(..).enumerate() {
                            drop(actix_rt::spawn(read_stream(number, stream, streams.clone())));
                        }
                        continue;
                    }
                };
                match accepted {
                    Ok(Some(mut stream)) if reading == Reading::StopFirst && held.is_empty() => {
                        drop(stream.receive().await);
                        stream.stop(0);
                        held.push(stream);
                    }
                    Ok(Some(stream)) if reading == Reading::Later => {
                        held.push(stream);
                        drop(streams.send(News::Held(number)));
                        number += 1;
                    }
                    Ok(Some(stream)) if reading == Reading::AllButFirst && held.is_empty() => {
                        held.push(stream);
                    }
                    Ok(Some(stream)) if reading != Reading::Nothing => {
                        drop(actix_rt::spawn(read_stream(number, stream, streams.clone())));
                        number += 1;
                    }
                    Ok(Some(stream)) => held.push(stream),
                    Ok(None) => break ConnError::Ended,
                    Err(error) => break error,
                }
            };
            drop(streams.send(News::Closed(closed)));
            // What was not read stays unread for as long as the client lives.
            std::future::pending::<()>().await;
            drop(held);
        }));
        tasks.push(actix_rt::spawn(async move {
            while let Ok(bytes) = datagrams.recv().await {
                let object = CODEC.decode_datagram(bytes, &DataLimits::default()).unwrap();
                drop(tell.send(News::Datagram(object)));
            }
        }));
        tasks.push(actix_rt::spawn(async move {
            while let Ok(Some(_)) = bidi.accept().await {}
        }));
        let mut raw = Self {
            conn,
            log: Vec::new(),
            setup: ServerSetup {
                version: 0,
                params: SetupParams::default(),
            },
            deaf,
            reads,
            control,
            news,
            next_id: 0,
            tasks,
            _endpoint: endpoint,
        };
        raw.say(ControlMessage::ClientSetup(ClientSetup {
            versions: vec![CODEC.version_number()],
            params: SetupParams {
                max_request_id: Some(max_request_id),
                path: Some(Bytes::from_static(b"/")),
                authority: Some(Bytes::from(target.authority)),
                authorization_tokens,
                ..SetupParams::default()
            },
        }))
        .await;
        // Closed before it was let in, it has the setup that it began with.
        let none = raw.setup.clone();
        raw.setup = raw
            .wait(|log| {
                log.iter().find_map(|news| match news {
                    News::Control(ControlMessage::ServerSetup(setup)) => Some(setup.clone()),
                    News::Closed(_) => Some(none.clone()),
                    _ => None,
                })
            })
            .await;
        raw
    }

    /// Writes one control message.
    pub async fn say(&mut self, message: ControlMessage) {
        let mut bytes = BytesMut::new();
        CODEC.encode(&message, &mut bytes).unwrap();
        self.control.send(&mut [bytes.freeze()]).await.unwrap();
    }

    /// Writes control bytes as they are.
    pub async fn say_bytes(&mut self, bytes: Bytes) {
        self.control.send(&mut [bytes]).await.unwrap();
    }

    /// Writes one control message; false when the connection is gone.
    pub async fn try_say(&mut self, message: ControlMessage) -> bool {
        let mut bytes = BytesMut::new();
        CODEC.encode(&message, &mut bytes).unwrap();
        self.control.send(&mut [bytes.freeze()]).await.is_ok()
    }

    /// The id for the next request.
    pub fn id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 2;
        id
    }

    /// Waits until the log says yes; it is asked again after each thing that happens.
    pub async fn wait<T>(&mut self, mut look: impl FnMut(&[News]) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(&self.log) {
                return found;
            }
            let next = tokio::time::timeout(PATIENCE / 3, self.news.recv()).await;
            match next {
                Ok(Some(news)) => self.log.push(news),
                Ok(None) | Err(_) => panic!("it never happened; seen: {:#?}", self.summary()),
            }
        }
    }

    /// Reads the streams that were held, and all that come from here on.
    pub fn read_held(&self) {
        self.reads.notify_one();
    }

    /// Waits until so many streams are held.
    pub async fn until_held(&mut self, count: usize) {
        let held = |news: &&News| matches!(news, News::Held(_));
        self.wait(|log| (log.iter().filter(held).count() >= count).then_some(()))
            .await;
    }

    /// Takes in what has arrived already.
    pub fn catch_up(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.log.push(news);
        }
    }

    /// Waits for a control message.
    pub async fn control<T>(&mut self, mut look: impl FnMut(&ControlMessage) -> Option<T>) -> T {
        self.wait(|log| {
            log.iter().find_map(|news| match news {
                News::Control(message) => look(message),
                _ => None,
            })
        })
        .await
    }

    /// Writes what no control message begins with, right behind what comes before.
    pub async fn publish_and_garbage(&mut self, track: &FullTrackName, alias: TrackAlias) {
        let publish = ControlMessage::Publish(self.id(), publish(track, alias));
        let mut bytes = BytesMut::new();
        CODEC.encode(&publish, &mut bytes).unwrap();
        bytes.extend_from_slice(&[0x3f, 0, 0]);
        self.control.send(&mut [bytes.freeze()]).await.unwrap();
    }

    /// Sends PUBLISH and, in one breath with it, PUBLISH_DONE.
    pub async fn publish_and_done(&mut self, track: &FullTrackName, alias: TrackAlias) -> RequestId {
        let id = self.id();
        let done = PublishDone {
            status: PublishDoneStatus::TrackEnded,
            stream_count: Some(0),
            phrase: Bytes::new(),
        };
        let mut bytes = BytesMut::new();
        CODEC
            .encode(&ControlMessage::Publish(id, publish(track, alias)), &mut bytes)
            .unwrap();
        CODEC
            .encode(&ControlMessage::PublishDone(id, done), &mut bytes)
            .unwrap();
        self.control.send(&mut [bytes.freeze()]).await.unwrap();
        id
    }

    /// Waits until the relay has read every control message so far: it answers a request that it does not serve.
    pub async fn fence(&mut self) {
        let id = self.id();
        // MOQT-14 §9.7 [D14-VAL-6]: an inverted range is refused at once, by the session itself.
        let inverted = SubscribeFilter::AbsoluteRange {
            start: Location::new(1, 0),
            end_group: 0,
        };
        let status = subscribe(&super::track("fence", "status"), inverted);
        self.say(ControlMessage::TrackStatus(id, status)).await;
        self.refused(id).await;
    }

    /// Waits for the error answer to a request.
    pub async fn refused(&mut self, id: RequestId) -> (RequestKind, RequestError) {
        self.control(|message| match message {
            ControlMessage::RequestError(of, kind, error) if *of == id => Some((*kind, error.clone())),
            _ => None,
        })
        .await
    }

    /// Sends SUBSCRIBE.
    pub async fn subscribe(&mut self, track: &FullTrackName, filter: SubscribeFilter) -> RequestId {
        let id = self.id();
        self.say(ControlMessage::Subscribe(id, subscribe(track, filter)))
            .await;
        id
    }

    /// Sends SUBSCRIBE with this priority and order of groups, and waits for OK.
    pub async fn subscribed_at(
        &mut self,
        track: &FullTrackName,
        priority: u8,
        group_order: GroupOrderRequest,
    ) -> (RequestId, SubscribeOk) {
        let id = self.id();
        let subscribe = Subscribe {
            priority,
            group_order,
            ..subscribe(track, SubscribeFilter::LargestObject)
        };
        self.say(ControlMessage::Subscribe(id, subscribe)).await;
        let ok = self.answer(id).await.unwrap();
        (id, ok)
    }

    /// Waits for the answer to SUBSCRIBE.
    pub async fn answer(&mut self, id: RequestId) -> Result<SubscribeOk, RequestError> {
        self.control(|message| match message {
            ControlMessage::SubscribeOk(of, ok) if *of == id => Some(Ok(ok.clone())),
            ControlMessage::RequestError(of, _, error) if *of == id => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    /// Sends SUBSCRIBE and waits for OK.
    pub async fn subscribed(
        &mut self,
        track: &FullTrackName,
        filter: SubscribeFilter,
    ) -> (RequestId, SubscribeOk) {
        let id = self.subscribe(track, filter).await;
        let ok = self.answer(id).await.unwrap();
        (id, ok)
    }

    /// Sends SUBSCRIBE_UPDATE.
    pub async fn update(
        &mut self,
        subscription: RequestId,
        start: Location,
        end_group: Option<u64>,
        forward: bool,
    ) {
        let update = SubscribeUpdate {
            subscription,
            start,
            end_group,
            priority: 128,
            forward,
            params: MessageParams::default(),
        };
        self.update_as(update).await;
    }

    /// Sends this SUBSCRIBE_UPDATE.
    pub async fn update_as(&mut self, update: SubscribeUpdate) {
        let id = self.id();
        self.say(ControlMessage::SubscribeUpdate(id, update)).await;
    }

    /// Waits for PUBLISH_DONE.
    pub async fn done(&mut self, id: RequestId) -> PublishDone {
        self.control(|message| match message {
            ControlMessage::PublishDone(of, done) if *of == id => Some(done.clone()),
            _ => None,
        })
        .await
    }

    /// Announces a namespace and waits for OK.
    pub async fn announce(&mut self, namespace: &TrackNamespace) {
        let id = self.id();
        let request = NamespaceRequest {
            namespace: namespace.clone(),
            params: MessageParams::default(),
        };
        self.say(ControlMessage::PublishNamespace(id, request)).await;
        self.control(|message| {
            matches!(message, ControlMessage::PublishNamespaceOk(of) if *of == id).then_some(())
        })
        .await;
    }

    /// Waits for the relay's `nth` SUBSCRIBE for a track, the first being 0.
    pub async fn asked(&mut self, track: &FullTrackName, nth: usize) -> (RequestId, Subscribe) {
        self.wait(|log| {
            let asked = |news: &News| match news {
                News::Control(ControlMessage::Subscribe(id, subscribe)) if subscribe.track == *track => {
                    Some((*id, subscribe.clone()))
                }
                _ => None,
            };
            log.iter().filter_map(asked).nth(nth)
        })
        .await
    }

    /// Accepts a SUBSCRIBE of the relay.
    pub async fn accept(&mut self, id: RequestId, alias: TrackAlias, largest: Option<Location>) {
        self.accept_as(id, alias, largest, GroupOrder::Ascending).await;
    }

    /// Accepts a SUBSCRIBE of the relay to a track without objects, whose groups are best sent in this order.
    pub async fn accept_in(&mut self, id: RequestId, alias: TrackAlias, group_order: GroupOrder) {
        self.accept_as(id, alias, None, group_order).await;
    }

    async fn accept_as(
        &mut self,
        id: RequestId,
        alias: TrackAlias,
        largest: Option<Location>,
        group_order: GroupOrder,
    ) {
        let ok = SubscribeOk {
            alias,
            expires_ms: 0,
            group_order,
            largest,
            params: MessageParams::default(),
        };
        self.say(ControlMessage::SubscribeOk(id, ok)).await;
    }

    /// Waits for the relay's first SUBSCRIBE for the track and accepts it.
    pub async fn serve(&mut self, track: &FullTrackName, alias: TrackAlias) -> RequestId {
        let (id, _) = self.asked(track, 0).await;
        self.accept(id, alias, None).await;
        id
    }

    /// Sends PUBLISH.
    pub async fn publish(&mut self, track: &FullTrackName, alias: TrackAlias, forward: bool) -> RequestId {
        let id = self.id();
        let publish = Publish {
            track: track.clone(),
            alias,
            group_order: GroupOrder::Ascending,
            largest: None,
            forward,
            params: MessageParams::default(),
        };
        self.say(ControlMessage::Publish(id, publish)).await;
        id
    }

    /// Waits for PUBLISH_OK.
    pub async fn publish_ok(&mut self, id: RequestId) -> PublishOk {
        self.control(|message| match message {
            ControlMessage::PublishOk(of, ok) if *of == id => Some(ok.clone()),
            ControlMessage::RequestError(of, _, error) if *of == id => panic!("PUBLISH refused: {error:?}"),
            _ => None,
        })
        .await
    }

    /// The relay's SUBSCRIBE_UPDATEs for a request of ours.
    pub fn updates(log: &[News], id: RequestId) -> Vec<SubscribeUpdate> {
        log.iter()
            .filter_map(|news| match news {
                News::Control(ControlMessage::SubscribeUpdate(_, update)) if update.subscription == id => {
                    Some(update.clone())
                }
                _ => None,
            })
            .collect()
    }

    /// Says PUBLISH_DONE.
    pub async fn publish_done(
        &mut self,
        id: RequestId,
        status: PublishDoneStatus,
        stream_count: Option<u64>,
    ) {
        let done = PublishDone {
            status,
            stream_count,
            phrase: Bytes::from_static(b"over"),
        };
        self.say(ControlMessage::PublishDone(id, done)).await;
    }

    /// Opens a subgroup's stream.
    pub async fn open(&mut self, alias: TrackAlias, group: u64, subgroup: SubgroupIdMode) -> RawStream {
        let header = SubgroupHeader {
            alias,
            group,
            subgroup,
            priority: 128,
            has_extensions: false,
            end_of_group: false,
        };
        self.open_with(header).await
    }

    /// Opens a subgroup's stream whose last object is the last of its group.
    pub async fn open_last(&mut self, alias: TrackAlias, group: u64, subgroup: SubgroupIdMode) -> RawStream {
        let header = SubgroupHeader {
            alias,
            group,
            subgroup,
            priority: 128,
            has_extensions: false,
            end_of_group: true,
        };
        self.open_with(header).await
    }

    /// Opens a subgroup's stream with this header.
    pub async fn open_with(&mut self, header: SubgroupHeader) -> RawStream {
        let mut stream = RawStream {
            stream: self.conn.open_uni().await.unwrap(),
            previous: None,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
        stream.write(bytes.freeze()).await;
        stream
    }

    /// Writes a whole group on one stream: objects 0 to `objects`, each with its place as payload.
    pub async fn group(&mut self, alias: TrackAlias, group: u64, objects: u64) {
        let mut stream = self.open(alias, group, SubgroupIdMode::Zero).await;
        for object in 0..objects {
            stream.object(object, &payload(group, object)).await;
        }
        stream.fin();
    }

    /// Writes a whole group on one stream that says so: objects 0 to `objects`, each with its place as payload.
    pub async fn whole_group(&mut self, alias: TrackAlias, group: u64, objects: u64) {
        let mut stream = self.open_last(alias, group, SubgroupIdMode::Zero).await;
        for object in 0..objects {
            stream.object(object, &payload(group, object)).await;
        }
        stream.fin();
    }

    /// Sends a datagram.
    pub fn datagram(&mut self, alias: TrackAlias, location: Location, payload: &[u8]) {
        let object = DatagramObject {
            alias,
            location,
            priority: 128,
            extensions: Bytes::new(),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload: Bytes::copy_from_slice(payload),
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_datagram_header(&object, &mut bytes).unwrap();
        bytes.extend_from_slice(payload);
        self.conn.send_datagram(bytes.freeze()).unwrap();
    }

    /// Whole objects that came on streams, in order of completion.
    pub fn objects(log: &[News]) -> Vec<Got> {
        let mut streams: BTreeMap<usize, SubgroupHeader> = BTreeMap::new();
        let mut open: BTreeMap<usize, (Got, u64)> = BTreeMap::new();
        let mut whole = Vec::new();
        for news in log {
            let number = match news {
                News::Stream(number, header) => {
                    streams.insert(*number, *header);
                    continue;
                }
                News::Object(number, header) => {
                    let stream = &streams[number];
                    let got = Got {
                        stream: *number,
                        alias: stream.alias,
                        location: Location::new(stream.group, header.id),
                        payload: Vec::new(),
                    };
                    open.insert(*number, (got, header.payload_len));
                    *number
                }
                News::Payload(number, bytes) => {
                    // A fetch's stream is not looked at here.
                    let Some((got, _)) = open.get_mut(number) else {
                        continue;
                    };
                    got.payload.extend_from_slice(bytes);
                    *number
                }
                _ => continue,
            };
            if let Some((got, len)) = open.get(&number)
                && got.payload.len() as u64 == *len
            {
                whole.push(got.clone());
                open.remove(&number);
            }
        }
        whole
    }

    /// Places of whole objects of one alias, sorted.
    pub fn places(log: &[News], alias: TrackAlias) -> Vec<(u64, u64)> {
        let mut places: Vec<_> = Self::objects(log)
            .iter()
            .filter(|got| got.alias == alias)
            .map(|got| (got.location.group, got.location.object))
            .collect();
        places.sort_unstable();
        places
    }

    /// Waits until so many objects of the alias are whole.
    pub async fn until_objects(&mut self, alias: TrackAlias, count: usize) -> Vec<(u64, u64)> {
        self.wait(|log| {
            let places = Self::places(log, alias);
            (places.len() >= count).then_some(places)
        })
        .await
    }

    /// Waits until an object is whole.
    pub async fn until_object(&mut self, alias: TrackAlias, place: (u64, u64)) {
        self.wait(|log| Self::places(log, alias).contains(&place).then_some(()))
            .await;
    }

    /// Headers of the streams of one alias, in order.
    pub fn headers(log: &[News], alias: TrackAlias) -> Vec<(usize, SubgroupHeader)> {
        log.iter()
            .filter_map(|news| match news {
                News::Stream(number, header) if header.alias == alias => Some((*number, *header)),
                _ => None,
            })
            .collect()
    }

    /// How stream `number` ended: none for FIN, else the code; waits for it.
    pub async fn ended(&mut self, number: usize) -> Option<u64> {
        self.wait(|log| end(log, number)).await
    }

    /// Datagrams of one alias, in order of arrival.
    pub fn datagrams(log: &[News], alias: TrackAlias) -> Vec<(Location, Vec<u8>)> {
        log.iter()
            .filter_map(|news| match news {
                News::Datagram(object) if object.alias == alias => {
                    Some((object.location, object.payload.to_vec()))
                }
                _ => None,
            })
            .collect()
    }

    /// Waits until the relay has closed the connection; the value is its code.
    pub async fn closed(&mut self) -> u64 {
        self.wait(|log| {
            log.iter().find_map(|news| match news {
                News::Closed(ConnError::Peer { code }) => Some(*code),
                News::Closed(ConnError::Ended) => Some(0),
                _ => None,
            })
        })
        .await
    }

    /// The log without payload, for a failed test.
    fn summary(&self) -> Vec<String> {
        let short = |news: &News| match news {
            News::Payload(number, bytes) => format!("Payload({number}, {} bytes)", bytes.len()),
            other => format!("{other:?}"),
        };
        self.log.iter().map(short).collect()
    }
}

/// How stream `number` ended, if it did: FIN is `Some(None)`.
pub fn end(log: &[News], number: usize) -> Option<Option<u64>> {
    log.iter().find_map(|news| match news {
        News::Fin(of) if *of == number => Some(None),
        News::Reset(of, code) if *of == number => Some(Some(*code)),
        _ => None,
    })
}

/// The payload that [`Raw::group`] gives an object.
pub fn payload(group: u64, object: u64) -> Vec<u8> {
    format!("{group}/{object} ").repeat(20).into_bytes()
}

/// A SUBSCRIBE with nothing special about it.
pub fn subscribe(track: &FullTrackName, filter: SubscribeFilter) -> Subscribe {
    Subscribe {
        track: track.clone(),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter,
        params: MessageParams::default(),
    }
}

/// A PUBLISH with nothing special about it.
pub fn publish(track: &FullTrackName, alias: TrackAlias) -> Publish {
    Publish {
        track: track.clone(),
        alias,
        group_order: GroupOrder::Ascending,
        largest: None,
        forward: true,
        params: MessageParams::default(),
    }
}

/// A subgroup's stream that is being written.
pub struct RawStream {
    stream: SendGuard,
    previous: Option<u64>,
}

impl RawStream {
    /// Writes a whole object.
    pub async fn object(&mut self, id: u64, payload: &[u8]) {
        self.begin(id, payload.len() as u64).await;
        self.write(Bytes::copy_from_slice(payload)).await;
    }

    /// Writes what stands before an object's payload.
    pub async fn begin(&mut self, id: u64, payload_len: u64) {
        self.head(id, ObjectStatus::Normal, payload_len).await;
    }

    /// Writes a place at which no object stands, and why.
    pub async fn status(&mut self, id: u64, status: ObjectStatus) {
        self.head(id, status, 0).await;
    }

    async fn head(&mut self, id: u64, status: ObjectStatus, payload_len: u64) {
        let header = ObjectHeader {
            id,
            status,
            extensions: Bytes::new(),
            payload_len,
        };
        let mut bytes = BytesMut::new();
        CODEC
            .encode_object_header(false, self.previous, &header, &mut bytes)
            .unwrap();
        self.previous = Some(id);
        self.write(bytes.freeze()).await;
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: Bytes) {
        self.stream.send(&mut [bytes]).await.unwrap();
    }

    pub fn fin(mut self) {
        self.stream.finish().unwrap();
    }

    pub fn reset(mut self, code: u64) {
        self.stream.reset(code);
    }

    /// Waits until the relay refuses the stream; the value is its code.
    pub async fn stopped(mut self) -> u64 {
        loop {
            // An object of no bytes is the least that can be written.
            let sent = self.stream.send(&mut [Bytes::from_static(&[0, 0, 0])]).await;
            match sent {
                Ok(()) => actix_rt::task::yield_now().await,
                Err(StreamError::Stopped { code }) => return code,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn read_control(mut stream: RecvGuard, tell: mpsc::UnboundedSender<News>, deaf: Rc<Cell<bool>>) {
    let mut decoder = ControlDecoder::new(CODEC);
    while !deaf.get()
        && let Ok(Some(bytes)) = stream.receive().await
    {
        decoder.push(bytes);
        while let Some(message) = decoder.next().unwrap() {
            drop(tell.send(News::Control(message)));
        }
    }
    // A stop of the reading side would end the session.
    std::future::pending::<()>().await;
    drop(stream);
}

async fn read_stream(number: usize, mut stream: RecvGuard, tell: mpsc::UnboundedSender<News>) {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    loop {
        match stream.receive().await {
            Ok(Some(bytes)) => reader.push(bytes),
            Ok(None) => {
                reader.fin().unwrap();
                drop(tell.send(News::Fin(number)));
                return;
            }
            Err(StreamError::Reset { code }) => {
                drop(tell.send(News::Reset(number, code)));
                return;
            }
            Err(_) => return,
        }
        while let Some(item) = reader.next().unwrap() {
            let news = match item {
                StreamItem::SubgroupHeader(header) => News::Stream(number, header),
                StreamItem::Object(header) => News::Object(number, header),
                StreamItem::Payload(bytes) => News::Payload(number, bytes),
                StreamItem::FetchHeader(request) => News::FetchStream(number, request),
                StreamItem::FetchObject(header) => News::FetchObject(number, header),
            };
            drop(tell.send(news));
        }
    }
}
