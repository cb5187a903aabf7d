//! A client without manners: it says what a test tells it to and writes down what it sees, in order.

mod requests;
mod seen;
mod writing;

#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use requests::{publish, subscribe};
#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use seen::{Got, News, end};
#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use writing::{RawStream, payload};

use super::{PATIENCE, target};
use actix_rt::task::JoinHandle;
use bytes::{Bytes, BytesMut};
use laps::relay::Relay;
use laps_actors::transport::{
    ClientEndpoint, ClientTls, ConnError, ConnHandle, SendGuard, TransportConfig, Verify, moqt_alpn,
};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::DataLimits;
use laps_protocol::moqt::message::{ClientSetup, ControlMessage, RequestId, ServerSetup, SetupParams};
use seen::{read_control, read_stream};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::{Notify, Semaphore, mpsc};

/// The one draft there is.
pub const CODEC: Codec = Codec::Draft14;

/// What the client does with streams that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Everything,
    /// It holds them and takes no byte.
    Nothing,
    /// It holds them and takes no byte before [`Raw::read_held`].
    Later,
    /// It takes as many pieces, of whichever stream, as [`Raw::take_pieces`] says.
    Slowly,
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
    pieces: Rc<Semaphore>,
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
        let slowly = (reading == Reading::Slowly).then_some(0);
        let pieces = Rc::new(Semaphore::new(slowly.unwrap_or(Semaphore::MAX_PERMITS)));
        let permits = Rc::clone(&pieces);
        tasks.push(actix_rt::spawn(async move {
            let (mut held, mut number, mut reading) = (Vec::new(), 0, reading);
            let closed = loop {
                let accepted = tokio::select! {
                    accepted = uni.accept() => accepted,
                    () = told.notified() => {
                        reading = Reading::Everything;
                        for (number, stream) in held.drain(..).enumerate() {
                            drop(actix_rt::spawn(read_stream(number, stream, streams.clone(), Rc::clone(&permits))));
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
                        drop(actix_rt::spawn(read_stream(number, stream, streams.clone(), Rc::clone(&permits))));
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
            pieces,
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

    /// Takes so many pieces more.
    pub fn take_pieces(&self, pieces: usize) {
        self.pieces.add_permits(pieces);
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
