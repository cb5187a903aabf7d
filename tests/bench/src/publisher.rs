//! The publisher: a thread of its own, so that subscribers that are busy do not delay it.

use crate::load::Work;
use crate::wire::{CODEC, Control, publish_namespace, subscribe_ok, unexpected};
use crate::{Failure, direct, runtime};
use bytes::{BufMut, Bytes, BytesMut};
use laps_actors::transport::{ClientEndpoint, ConnHandle, SendGuard, TransportConfig};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::ControlMessage;
use laps_protocol::moqt::object::{
    DatagramObject, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Bytes of the stamp at the start of each payload: nanoseconds since [`Shared::epoch`].
pub(crate) const STAMP: usize = 8;

/// How objects get to the subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// By a forwarder at this address.
    Through(SocketAddr),
    /// From a forwarder here to one there, with others in between.
    Along {
        /// Where the publisher goes.
        from: SocketAddr,
        /// Where the subscribers go.
        to: SocketAddr,
    },
    /// Straight from the publisher's own server.
    Direct,
}

/// What the publisher's thread and the subscribers' thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What stamps count from.
    pub(crate) epoch: Instant,
    /// Objects written so far.
    pub(crate) sent: AtomicU64,
    /// No further object is to be written.
    pub(crate) stop: AtomicBool,
}

/// The publisher as the subscribers' thread sees it.
pub(crate) struct Publisher {
    /// Where subscribers connect to; told when it is ready for them.
    pub(crate) ready: mpsc::UnboundedReceiver<SocketAddr>,
    /// Set true when all subscribers are there.
    pub(crate) go: watch::Sender<bool>,
    pub(crate) thread: std::thread::JoinHandle<Result<(), Failure>>,
}

/// Starts the publisher's thread.
pub(crate) fn start(source: Source, work: &Work, shared: &Arc<Shared>) -> Publisher {
    let (told, ready) = mpsc::unbounded_channel();
    let (go, going) = watch::channel(false);
    let (work, shared) = (work.clone(), Arc::clone(shared));
    let thread = std::thread::spawn(move || {
        runtime::block_on(async move {
            match source {
                Source::Through(addr) => through(addr, addr, told, going, &work, &shared).await,
                Source::Along { from, to } => through(from, to, told, going, &work, &shared).await,
                Source::Direct => direct::publish(told, going, &work, &shared).await,
            }
        })
    });
    Publisher { ready, go, thread }
}

async fn through(
    addr: SocketAddr,
    to: SocketAddr,
    told: mpsc::UnboundedSender<SocketAddr>,
    going: watch::Receiver<bool>,
    work: &Work,
    shared: &Shared,
) -> Result<(), Failure> {
    let endpoint = ClientEndpoint::for_remote(addr, &runtime::client_tls()?, &TransportConfig::default())?;
    let mut conn = endpoint.connect(addr, "localhost").await?.handle();
    let mut control = Control::connect(&mut conn).await?;
    control.send(&publish_namespace()?).await?;
    match control.answer().await? {
        ControlMessage::PublishNamespaceOk(_) => told.send(to)?,
        other => return Err(unexpected(&other)),
    }
    let alias = 7;
    loop {
        match control.answer().await? {
            ControlMessage::Subscribe(request, _) => {
                control.send(&subscribe_ok(request, alias)).await?;
                break;
            }
            ControlMessage::MaxRequestId(_) => {}
            other => return Err(unexpected(&other)),
        }
    }
    send_objects(vec![conn], alias, going, work, shared).await
}

/// Writes objects at their times, each to every connection, until told to stop.
pub(crate) async fn send_objects(
    mut conns: Vec<ConnHandle>,
    alias: u64,
    mut going: watch::Receiver<bool>,
    work: &Work,
    shared: &Shared,
) -> Result<(), Failure> {
    going.wait_for(|go| *go).await?;
    let filler = Bytes::from(vec![0x55; work.size.saturating_sub(STAMP)]);
    // A rate of 0 is as fast as it goes.
    let mut ticks = (work.rate > 0.0)
        .then(|| Duration::from_secs_f64(1.0 / work.rate))
        .map(tokio::time::interval);
    let mut under_way: VecDeque<SendGuard> = VecDeque::new();
    let mut streams: Vec<SendGuard> = Vec::new();
    for number in 0_u64.. {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let (group, object) = (number / work.group, number % work.group);
        if work.datagrams {
            for conn in &conns {
                conn.send_datagram(datagram(alias, group, object, &filler, shared)?)?;
            }
            shared.sent.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if object == 0 {
            streams.iter_mut().try_for_each(SendGuard::finish)?;
            under_way.extend(streams.drain(..));
            // A stack takes any number of streams that fit their buffers; as fast as it goes is as fast as they leave.
            while ticks.is_none() && under_way.len() > 2 {
                if let Some(mut oldest) = under_way.pop_front() {
                    oldest.delivered().await?;
                }
            }
            if ticks.is_some() {
                under_way.clear();
            }
            for conn in &mut conns {
                let mut stream = conn.open_uni().await?;
                stream.send(&mut [stream_header(alias, group)?]).await?;
                streams.push(stream);
            }
        }
        let head = object_head(object, work, shared)?;
        for stream in &mut streams {
            stream.send(&mut [head.clone(), filler.clone()]).await?;
        }
        shared.sent.fetch_add(1, Ordering::Relaxed);
    }
    for stream in &mut streams {
        stream.finish()?;
        stream.delivered().await?;
    }
    // The connections end when the subscribers have seen the last objects and let go of the sender.
    while going.changed().await.is_ok() {}
    Ok(())
}

fn stream_header(alias: u64, group: u64) -> Result<Bytes, Failure> {
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupIdMode::Zero,
        priority: 128,
        has_extensions: false,
        end_of_group: true,
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_subgroup_header(&header, &mut bytes)?;
    Ok(bytes.freeze())
}

fn object_head(object: u64, work: &Work, shared: &Shared) -> Result<Bytes, Failure> {
    let header = ObjectHeader {
        id: object,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: work.size.max(STAMP) as u64,
    };
    let mut bytes = BytesMut::with_capacity(32);
    CODEC.encode_object_header(false, object.checked_sub(1), &header, &mut bytes)?;
    bytes.put_u64(u64::try_from(shared.epoch.elapsed().as_nanos())?);
    Ok(bytes.freeze())
}

fn datagram(alias: u64, group: u64, id: u64, filler: &Bytes, shared: &Shared) -> Result<Bytes, Failure> {
    let mut payload = BytesMut::with_capacity(STAMP + filler.len());
    payload.put_u64(u64::try_from(shared.epoch.elapsed().as_nanos())?);
    payload.put_slice(filler);
    let object = DatagramObject {
        alias,
        location: Location::new(group, id),
        priority: 128,
        extensions: Bytes::new(),
        end_of_group: false,
        status: ObjectStatus::Normal,
        payload: payload.freeze(),
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_datagram_header(&object, &mut bytes)?;
    bytes.put_slice(&object.payload);
    Ok(bytes.freeze())
}
