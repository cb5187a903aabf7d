//! One subscriber: a connection and a socket of its own, reading as little as shows that the objects are right.

use crate::publisher::{STAMP, Shared};
use crate::wire::{CODEC, Control, subscribe, unexpected};
use crate::{Failure, runtime};
use bytes::Bytes;
use hdrhistogram::Histogram;
use laps_actors::transport::{
    ClientEndpoint, ClientTls, DatagramReceiver, RecvGuard, TransportConfig, UniAcceptor,
};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What all subscribers of a run have seen together.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Objects that arrived whole, since the start.
    pub(crate) objects: Cell<u64>,
    /// Their payload bytes.
    pub(crate) bytes: Cell<u64>,
    /// Nanoseconds from the stamp to the last byte, while `measuring`.
    pub(crate) latency: RefCell<Histogram<u64>>,
    pub(crate) measuring: Cell<bool>,
    /// Streams that did not end as they should.
    pub(crate) broken: Cell<u64>,
}

impl Seen {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            objects: Cell::new(0),
            bytes: Cell::new(0),
            latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000_000, 3)?),
            measuring: Cell::new(false),
            broken: Cell::new(0),
        })
    }

    fn object(&self, bytes: u64, stamp: [u8; STAMP], shared: &Shared) {
        self.objects.set(self.objects.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        if self.measuring.get() {
            let now = u64::try_from(shared.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let latency = now.saturating_sub(u64::from_be_bytes(stamp));
            self.latency.borrow_mut().saturating_record(latency);
        }
    }
}

/// A subscriber whose request was accepted; its tasks run until it is dropped.
pub(crate) struct Subscriber {
    _control: Control,
    _endpoint: ClientEndpoint,
    accepting: tokio::task::JoinHandle<()>,
    hearing: tokio::task::JoinHandle<()>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.accepting.abort();
        self.hearing.abort();
    }
}

/// Connects from a socket of its own, as subscribers do: packets to several of them never share a system call.
pub(crate) async fn connect(
    addr: SocketAddr,
    tls: &ClientTls,
    seen: &Rc<Seen>,
    shared: &Arc<Shared>,
) -> Result<Subscriber, Failure> {
    let config = TransportConfig {
        // Fifty endpoints of the default size would fill the memory of a small machine.
        recv_ring: 512 << 10,
        ..TransportConfig::default()
    };
    let endpoint = ClientEndpoint::for_remote(addr, tls, &config)?;
    let parts = endpoint.connect(addr, "localhost").await?.split();
    let mut conn = parts.handle;
    let mut control = Control::connect(&mut conn).await?;
    control.send(&subscribe(RequestId(0))?).await?;
    match control.answer().await? {
        ControlMessage::SubscribeOk(..) => {}
        other => return Err(unexpected(&other)),
    }
    let accepting = tokio::task::spawn_local(accept(parts.uni, Rc::clone(seen), Arc::clone(shared)));
    let hearing = tokio::task::spawn_local(hear(parts.datagrams, Rc::clone(seen), Arc::clone(shared)));
    Ok(Subscriber {
        _control: control,
        _endpoint: endpoint,
        accepting,
        hearing,
    })
}

async fn accept(mut uni: UniAcceptor, seen: Rc<Seen>, shared: Arc<Shared>) {
    while let Ok(Some(stream)) = uni.accept().await {
        let (seen, shared) = (Rc::clone(&seen), Arc::clone(&shared));
        tokio::task::spawn_local(async move {
            if read(stream, &seen, &shared).await.is_err() {
                seen.broken.set(seen.broken.get() + 1);
            }
        });
    }
}

async fn hear(mut datagrams: DatagramReceiver, seen: Rc<Seen>, shared: Arc<Shared>) {
    while let Ok(datagram) = datagrams.recv().await {
        let object = CODEC.decode_datagram(datagram, &DataLimits::default());
        let stamp = object
            .as_ref()
            .ok()
            .and_then(|object| object.payload.first_chunk::<STAMP>().copied());
        match (object, stamp) {
            (Ok(object), Some(stamp)) => seen.object(object.payload.len() as u64, stamp, &shared),
            _ => seen.broken.set(seen.broken.get() + 1),
        }
    }
}

async fn read(mut stream: RecvGuard, seen: &Seen, shared: &Shared) -> Result<(), Failure> {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    let (mut len, mut left, mut stamp) = (0_u64, 0_u64, [0; STAMP]);
    loop {
        let mut pieces = [const { Bytes::new() }; 16];
        let received = stream.receive_vectored(&mut pieces).await?;
        for piece in pieces.into_iter().take(received.chunks) {
            reader.push(piece);
        }
        while let Some(item) = reader.next()? {
            match item {
                StreamItem::SubgroupHeader(_) => {}
                StreamItem::Object(header) => (len, left) = (header.payload_len, header.payload_len),
                StreamItem::Payload(bytes) => {
                    let at = usize::try_from(len - left)?;
                    if let Some(room) = stamp.get_mut(at..) {
                        room.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                    }
                    left -= bytes.len() as u64;
                    if left == 0 {
                        seen.object(len, stamp, shared);
                    }
                }
                StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => {
                    return Err("a fetch stream".into());
                }
            }
        }
        if received.fin && received.chunks == 0 {
            return Ok(reader.fin()?);
        }
    }
}

/// TLS of all subscribers.
pub(crate) fn tls() -> Result<ClientTls, Failure> {
    runtime::client_tls()
}
