//! The same forwarding without actors: what the relay's cost is compared with.
//!
//! One publisher, one track, any number of subscribers. A task per inbound stream reads it as the product does, header
//! by header and payload as it arrives, into a list that all subscribers share; a task per outbound stream writes what
//! is new in the list as soon as it is there. Nothing is cached once it is written, nothing is bounded, nobody is
//! supervised: it is the least that forwarding can cost on this transport.

use crate::wire::{CODEC, Control, subscribe, subscribe_ok, unexpected};
use crate::{Failure, runtime};
use bytes::{Bytes, BytesMut};
use futures::future::poll_fn;
use laps_actors::transport::{BidiAcceptor, Conn, ConnHandle, RecvGuard, SendGuard};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use laps_protocol::moqt::object::{ObjectHeader, SubgroupHeader};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// Pieces taken from and handed to the transport in one call; the product's numbers.
const READ: usize = 16;
const WRITE: usize = 32;

#[derive(Default)]
struct Track {
    subscribers: RefCell<Vec<ConnHandle>>,
    wanted: Notify,
}

/// One subgroup on its way through.
struct Subgroup {
    header: SubgroupHeader,
    pieces: RefCell<Vec<Bytes>>,
    ended: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Subgroup {
    fn wake(&self) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.drain(..).for_each(Waker::wake);
    }
}

/// Runs until the parent is gone.
pub(crate) async fn run() -> Result<(), Failure> {
    let mut server = runtime::server()?;
    runtime::announce(server.local_addr())?;
    let track = Rc::new(Track::default());
    spawn_local(async move {
        while let Some(conn) = server.accept().await {
            serve(conn, &track);
        }
    });
    runtime::parent_gone().await;
    Ok(())
}

fn serve(conn: Conn, track: &Rc<Track>) {
    let parts = conn.split();
    let (handle, bidi, mut uni) = (parts.handle, parts.bidi, parts.uni);
    let streams = Rc::clone(track);
    spawn_local(async move {
        while let Ok(Some(stream)) = uni.accept().await {
            let track = Rc::clone(&streams);
            spawn_local(async move { forward(stream, &track).await.ok() });
        }
    });
    let track = Rc::clone(track);
    // A session that ends is the generator's way to end the measurement.
    spawn_local(async move { requests(bidi, &handle, &track).await.ok() });
}

/// Answers what the two kinds of clients ask.
async fn requests(mut bidi: BidiAcceptor, handle: &ConnHandle, track: &Track) -> Result<(), Failure> {
    let mut control = Control::new(bidi.accept().await?.ok_or("no control stream")?);
    control.accept().await?;
    loop {
        match control.next().await? {
            ControlMessage::PublishNamespace(request, _) => {
                control.send(&ControlMessage::PublishNamespaceOk(request)).await?;
                track.wanted.notified().await;
                control.send(&subscribe(RequestId(1))?).await?;
            }
            ControlMessage::Subscribe(request, _) => {
                control.send(&subscribe_ok(request, 1)).await?;
                track.subscribers.borrow_mut().push(handle.clone());
                track.wanted.notify_one();
            }
            ControlMessage::SubscribeOk(..) => {}
            other => return Err(unexpected(&other)),
        }
    }
}

/// Reads one inbound stream into a subgroup and starts a writer for each subscriber.
async fn forward(mut stream: RecvGuard, track: &Track) -> Result<(), Failure> {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    let mut subgroup: Option<Rc<Subgroup>> = None;
    let mut previous = None;
    loop {
        while let Some(item) = reader.next()? {
            match (item, &subgroup) {
                (StreamItem::SubgroupHeader(header), None) => {
                    let new = Rc::new(Subgroup {
                        header: SubgroupHeader { alias: 1, ..header },
                        pieces: RefCell::default(),
                        ended: Cell::new(false),
                        waiting: RefCell::default(),
                    });
                    for conn in track.subscribers.borrow().iter() {
                        let (conn, subgroup) = (conn.clone(), Rc::clone(&new));
                        spawn_local(async move { write(conn, &subgroup).await.ok() });
                    }
                    subgroup = Some(new);
                }
                (StreamItem::Object(header), Some(subgroup)) => {
                    let head = head(&subgroup.header, previous.replace(header.id), &header)?;
                    subgroup.pieces.borrow_mut().push(head);
                }
                (StreamItem::Payload(bytes), Some(subgroup)) => subgroup.pieces.borrow_mut().push(bytes),
                _ => return Err("not the stream of a subgroup".into()),
            }
        }
        if let Some(subgroup) = &subgroup {
            subgroup.wake();
        }
        let mut pieces = [const { Bytes::new() }; READ];
        let received = stream.receive_vectored(&mut pieces).await?;
        for piece in pieces.into_iter().take(received.chunks) {
            reader.push(piece);
        }
        if received.fin && received.chunks == 0 {
            break;
        }
    }
    reader.fin()?;
    if let Some(subgroup) = &subgroup {
        subgroup.ended.set(true);
        subgroup.wake();
    }
    Ok(())
}

fn head(stream: &SubgroupHeader, previous: Option<u64>, object: &ObjectHeader) -> Result<Bytes, Failure> {
    let mut head = BytesMut::with_capacity(32);
    CODEC.encode_object_header(stream.has_extensions, previous, object, &mut head)?;
    Ok(head.freeze())
}

/// Writes one subgroup to one subscriber.
async fn write(mut conn: ConnHandle, subgroup: &Subgroup) -> Result<(), Failure> {
    let mut stream = conn.open_uni().await?;
    let mut header = BytesMut::with_capacity(32);
    CODEC.encode_subgroup_header(&subgroup.header, &mut header)?;
    let mut out = vec![header.freeze()];
    let mut position = 0;
    loop {
        position += take(subgroup, position, &mut out);
        if out.is_empty() {
            if subgroup.ended.get() {
                break;
            }
            more(subgroup, position).await;
            continue;
        }
        send(&mut stream, &mut out).await?;
    }
    stream.finish()?;
    stream.delivered().await?;
    Ok(())
}

fn take(subgroup: &Subgroup, position: usize, out: &mut Vec<Bytes>) -> usize {
    let pieces = subgroup.pieces.borrow();
    let new = pieces.get(position..).unwrap_or_default();
    let before = out.len();
    out.extend(new.iter().take(WRITE).cloned());
    out.len() - before
}

async fn more(subgroup: &Subgroup, position: usize) {
    poll_fn(|cx| {
        if subgroup.pieces.borrow().len() > position || subgroup.ended.get() {
            return Poll::Ready(());
        }
        subgroup.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

async fn send(stream: &mut SendGuard, out: &mut Vec<Bytes>) -> Result<(), Failure> {
    stream.send(out).await?;
    out.clear();
    Ok(())
}
