//! The subscribers of a flood: those that keep up, and those that cannot.

use crate::publisher::{STAMP, Shared};
use crate::wire::{CODEC, Control, subscribe, unexpected};
use crate::{Failure, runtime};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use laps_actors::transport::{ClientEndpoint, RecvGuard, StreamError, TransportConfig, UniAcceptor};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, RequestId};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Window of a subscriber that cannot keep up (bytes), as a slow link has one: what is under way to it is little.
const SLOW_WINDOW: u64 = 64 << 10;

/// How fast the subscribers of a kind take what they are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speed {
    /// As it comes.
    Fast,
    /// At most so many bytes a second.
    Slow(f64),
}

/// What all subscribers of a kind have seen together.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Objects that came whole, and their bytes.
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Nanoseconds from the stamp of a whole object to its last byte.
    pub(super) latency: Histogram<u64>,
    /// Streams that ended whole, and those that were reset.
    pub(super) whole: u64,
    pub(super) reset: u64,
    /// Streams that ended by FIN in the middle of an object.
    pub(super) truncated: u64,
    /// Subscriptions that ended because they were too far behind, and for another reason.
    pub(super) too_far: u64,
    pub(super) done: u64,
}

struct Seen {
    tally: RefCell<Tally>,
    measuring: Cell<bool>,
}

impl Seen {
    fn ended(&self, end: End) {
        let mut tally = self.tally.borrow_mut();
        match end {
            End::Whole => tally.whole += 1,
            End::Reset => tally.reset += 1,
            End::Truncated => tally.truncated += 1,
            End::Lost => {}
        }
    }
}

/// Subscribers of one kind, on a thread of their own.
pub(super) struct Readers {
    /// Set when what comes counts, and when it is over.
    pub(super) phase: watch::Sender<Phase>,
    ready: tokio::sync::mpsc::UnboundedReceiver<()>,
    thread: std::thread::JoinHandle<Result<Tally, Failure>>,
}

/// Where a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Warming,
    Measuring,
    Over,
}

impl Readers {
    /// Connects `count` subscribers.
    pub(super) fn start(addr: SocketAddr, count: usize, speed: Speed, shared: &Arc<Shared>) -> Self {
        let (phase, phases) = watch::channel(Phase::Warming);
        let (told, ready) = tokio::sync::mpsc::unbounded_channel();
        let shared = Arc::clone(shared);
        let thread = std::thread::spawn(move || {
            runtime::block_on(async move {
                let seen = Rc::new(Seen {
                    tally: RefCell::new(Tally {
                        objects: 0,
                        bytes: 0,
                        latency: Histogram::new_with_bounds(1, 600_000_000_000, 3)?,
                        whole: 0,
                        reset: 0,
                        truncated: 0,
                        too_far: 0,
                        done: 0,
                    }),
                    measuring: Cell::new(false),
                });
                let mut all = Vec::new();
                for _ in 0..count {
                    all.push(Reader::connect(addr, speed, &seen, &shared).await?);
                }
                told.send(())?;
                follow(phases, &seen).await;
                drop(all);
                let tally = seen.tally.borrow().clone();
                Ok(tally)
            })
        });
        Self { phase, ready, thread }
    }

    /// Waits until all are subscribed.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        self.ready.recv().await.ok_or("a subscriber did not start")?;
        Ok(())
    }

    /// Ends them; what they saw.
    pub(super) fn end(self) -> Result<Tally, Failure> {
        self.phase.send_replace(Phase::Over);
        self.thread.join().map_err(|_| "a subscriber panicked")?
    }
}

async fn follow(mut phases: watch::Receiver<Phase>, seen: &Seen) {
    loop {
        let phase = *phases.borrow_and_update();
        seen.measuring.set(phase == Phase::Measuring);
        if phase == Phase::Over || phases.changed().await.is_err() {
            return;
        }
    }
}

/// One subscriber; its tasks end with it.
struct Reader {
    _tasks: tokio::task::JoinSet<()>,
    _endpoint: ClientEndpoint,
}

impl Reader {
    async fn connect(
        addr: SocketAddr,
        speed: Speed,
        seen: &Rc<Seen>,
        shared: &Arc<Shared>,
    ) -> Result<Self, Failure> {
        let mut config = TransportConfig {
            recv_ring: 512 << 10,
            ..TransportConfig::default()
        };
        if matches!(speed, Speed::Slow(_)) {
            config.connection_window = SLOW_WINDOW;
            config.uni_stream_window = SLOW_WINDOW;
        }
        let endpoint = ClientEndpoint::for_remote(addr, &runtime::client_tls()?, &config)?;
        let parts = endpoint.connect(addr, "localhost").await?.split();
        let mut conn = parts.handle;
        let mut control = Control::connect(&mut conn).await?;
        control.send(&subscribe(RequestId(0))?).await?;
        match control.answer().await? {
            ControlMessage::SubscribeOk(..) => {}
            other => return Err(unexpected(&other)),
        }
        let mut tasks = tokio::task::JoinSet::new();
        let pace = Rc::new(Pace::new(speed));
        tasks.spawn_local(accept(parts.uni, pace, Rc::clone(seen), Arc::clone(shared)));
        let seen = Rc::clone(seen);
        tasks.spawn_local(async move {
            while let Ok(message) = control.next().await {
                if let ControlMessage::PublishDone(_, done) = message {
                    let mut tally = seen.tally.borrow_mut();
                    if done.status == PublishDoneStatus::TooFarBehind {
                        tally.too_far += 1;
                    } else {
                        tally.done += 1;
                    }
                }
            }
        });
        Ok(Self {
            _tasks: tasks,
            _endpoint: endpoint,
        })
    }
}

/// When the next bytes of a connection may be taken.
struct Pace {
    speed: Speed,
    next: Cell<Instant>,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self {
            speed,
            next: Cell::new(Instant::now()),
        }
    }

    /// So many bytes were taken: waits until more may be.
    async fn took(&self, bytes: usize) {
        if let Speed::Slow(per_second) = self.speed {
            let took = Duration::from_secs_f64(bytes as f64 / per_second);
            let next = self.next.get().max(Instant::now()) + took;
            self.next.set(next);
            sleep_until(next).await;
        }
    }
}

/// Reads all streams of a connection, one piece after the other: what a slow one has not taken yet waits in its windows, as
/// it would behind a slow link. A task for each stream would take the first piece of any number of them at once, and let
/// the rest of each grow old.
async fn accept(mut uni: UniAcceptor, pace: Rc<Pace>, seen: Rc<Seen>, shared: Arc<Shared>) {
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = uni.accept() => {
                let Ok(Some(stream)) = stream else {
                    return;
                };
                streams.push(Incoming::new(stream).receive());
            }
            Some((mut stream, received)) = streams.next() => {
                let (taken, end) = stream.took(received, &seen, &shared);
                match end {
                    None => streams.push(stream.receive()),
                    Some(end) => seen.ended(end),
                }
                pace.took(taken).await;
            }
        }
    }
}

/// How a stream ended.
enum End {
    Whole,
    Reset,
    /// By FIN in the middle of an object, or with something that is none.
    Truncated,
    /// With its connection.
    Lost,
}

/// One stream, and how far it is read.
struct Incoming {
    stream: RecvGuard,
    reader: StreamReader,
    len: u64,
    left: u64,
    stamp: [u8; STAMP],
}

type Received = Result<Option<Bytes>, StreamError>;

impl Incoming {
    fn new(stream: RecvGuard) -> Self {
        Self {
            stream,
            reader: StreamReader::new(CODEC, DataLimits::default()),
            len: 0,
            left: 0,
            stamp: [0; STAMP],
        }
    }

    async fn receive(mut self) -> (Self, Received) {
        let received = self.stream.receive().await;
        (self, received)
    }

    /// Takes what was received; how much that is, and how the stream ended if it did.
    fn took(&mut self, received: Received, seen: &Seen, shared: &Shared) -> (usize, Option<End>) {
        let bytes = match received {
            Ok(Some(bytes)) => bytes,
            Ok(None) if self.reader.fin().is_ok() => return (0, Some(End::Whole)),
            Ok(None) => return (0, Some(End::Truncated)),
            Err(StreamError::Reset { .. }) => return (0, Some(End::Reset)),
            Err(_) => return (0, Some(End::Lost)),
        };
        let taken = bytes.len();
        self.reader.push(bytes);
        loop {
            match self.reader.next() {
                Ok(Some(StreamItem::Object(header))) => {
                    (self.len, self.left) = (header.payload_len, header.payload_len);
                }
                Ok(Some(StreamItem::Payload(bytes))) => {
                    let at = usize::try_from(self.len - self.left).unwrap_or(usize::MAX);
                    if let Some(room) = self.stamp.get_mut(at..) {
                        room.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                    }
                    self.left -= bytes.len() as u64;
                    if self.left == 0 {
                        object(seen, shared, self.len, self.stamp);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return (taken, None),
                Err(_) => return (taken, Some(End::Truncated)),
            }
        }
    }
}

fn object(seen: &Seen, shared: &Shared, len: u64, stamp: [u8; STAMP]) {
    if seen.measuring.get() {
        let now = u64::try_from(shared.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut tally = seen.tally.borrow_mut();
        tally.objects += 1;
        tally.bytes += len;
        tally
            .latency
            .saturating_record(now.saturating_sub(u64::from_be_bytes(stamp)));
    }
}
