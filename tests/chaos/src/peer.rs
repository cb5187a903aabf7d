//! Peers that are no `laps`: each a process of its own in a client's namespace.

use crate::Failure;
use bytes::{Bytes, BytesMut};
use laps_actors::transport::{
    ClientEndpoint, ClientTls, ConnHandle, ConnParts, SendGuard, TransportConfig, Verify, moqt_alpn,
};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, GroupOrderRequest, MessageParams, RequestId, SetupParams, Subscribe,
    SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use structopt::StructOpt;
use tokio::sync::mpsc;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, interval, timeout};

const CODEC: Codec = Codec::Draft14;
/// How long the relay may take for anything.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a slow peer is watched until it has to be cut off.
const CUT: Duration = Duration::from_secs(20);
/// How long a peer that is refused comes back, and after which pause.
const PATIENCE: Duration = Duration::from_secs(60);
const BACK: Duration = Duration::from_millis(200);
/// The pace of a peer that is slow on purpose.
const SLOW: Duration = Duration::from_secs(1);

/// What a peer does.
#[derive(Clone, Debug, StructOpt)]
pub(crate) enum Part {
    /// Asks for the status of the track and prints `answered` or `refused`
    Status,
    /// Writes one byte a second of everything and prints how long it was let
    Slow,
    /// Opens sessions with a subscription in each, one after the other, and prints how many were ended by the relay
    Hammer {
        /// Sessions at once
        #[structopt(long, default_value = "8")]
        workers: usize,
        /// Sessions in all
        #[structopt(long)]
        sessions: u64,
    },
    /// Subscribes to tracks, prints `holds` when it has them, and stays; prints for each line of its standard input how many
    /// streams of objects have come since the last one, to the session with the fewest and to that with the most
    Hold {
        /// Their namespace, of one field
        namespace: String,
        /// Their names
        tracks: Vec<String>,
        /// Sessions that do so
        #[structopt(long, default_value = "1")]
        sessions: usize,
    },
}

/// Plays `part` towards the relay at `to`.
pub(crate) fn run(to: SocketAddr, part: &Part) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let said = LocalSet::new().block_on(&runtime, async {
        match part {
            Part::Status => status(to).await,
            Part::Slow => slow(to).await,
            Part::Hammer { workers, sessions } => hammer(to, *workers, *sessions).await,
            Part::Hold {
                namespace,
                tracks,
                sessions,
            } => hold(to, namespace, tracks, *sessions).await,
        }
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{said}")?;
    Ok(out.flush()?)
}

/// A session without manners.
struct Peer {
    conn: ConnHandle,
    control: SendGuard,
    heard: mpsc::UnboundedReceiver<ControlMessage>,
    /// Ready with the code when the relay has closed the connection.
    closed: tokio::sync::oneshot::Receiver<String>,
    /// Streams of objects that have come since somebody asked.
    streams: Rc<Cell<u64>>,
    _endpoint: ClientEndpoint,
}

impl Peer {
    /// A connection with a control stream on which nothing was said.
    async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn())?;
        let endpoint = ClientEndpoint::for_remote(to, &tls, &TransportConfig::default())?;
        let ConnParts {
            mut handle, mut uni, ..
        } = endpoint.connect(to, "localhost").await?.split();
        let (control, mut incoming) = handle.open_bidi().await?;
        let (tell, heard) = mpsc::unbounded_channel();
        spawn_local(async move {
            let mut decoder = ControlDecoder::new(CODEC);
            while let Ok(Some(bytes)) = incoming.receive().await {
                decoder.push(bytes);
                while let Ok(Some(message)) = decoder.next() {
                    drop(tell.send(message));
                }
            }
            std::future::pending::<()>().await;
        });
        let (end, closed) = tokio::sync::oneshot::channel();
        let streams = Rc::<Cell<u64>>::default();
        let counted = Rc::clone(&streams);
        spawn_local(async move {
            let why = loop {
                match uni.accept().await {
                    // Read, so that the relay has something to do for it.
                    Ok(Some(mut stream)) => {
                        counted.set(counted.get() + 1);
                        spawn_local(async move { while let Ok(Some(_)) = stream.receive().await {} });
                    }
                    Ok(None) => break "ended".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            drop(end.send(why));
        });
        Ok(Self {
            conn: handle,
            control,
            heard,
            closed,
            streams,
            _endpoint: endpoint,
        })
    }

    /// A connection with a session on it.
    async fn session(to: SocketAddr) -> Result<Self, Failure> {
        let mut peer = Self::connect(to).await?;
        peer.say(&setup(to)).await?;
        peer.hear(|message| matches!(message, ControlMessage::ServerSetup(_)).then_some(()))
            .await?;
        Ok(peer)
    }

    async fn say(&mut self, message: &ControlMessage) -> Result<(), Failure> {
        Ok(self.control.send(&mut [encoded(message)?]).await?)
    }

    async fn hear<T>(&mut self, look: impl Fn(&ControlMessage) -> Option<T>) -> Result<T, Failure> {
        let until = Instant::now() + ANSWER;
        loop {
            tokio::select! {
                message = self.heard.recv() => match message {
                    Some(message) => if let Some(found) = look(&message) { return Ok(found) },
                    None => return Err("nothing more is heard".into()),
                },
                why = &mut self.closed => return Err(why.unwrap_or_default().into()),
                () = tokio::time::sleep_until(until) => return Err("the relay does not answer".into()),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.conn.close(0, "done");
    }
}

fn setup(to: SocketAddr) -> ControlMessage {
    ControlMessage::ClientSetup(ClientSetup {
        versions: vec![CODEC.version_number()],
        params: SetupParams {
            max_request_id: Some(100),
            path: Some(Bytes::from_static(b"/")),
            authority: Some(Bytes::from(to.to_string())),
            ..SetupParams::default()
        },
    })
}

fn subscribe() -> Result<Subscribe, Failure> {
    subscribe_to("chaos", "video")
}

fn subscribe_to(namespace: &str, track: &str) -> Result<Subscribe, Failure> {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    let namespace = TrackNamespace::new([bytes(namespace)])?;
    Ok(Subscribe {
        track: FullTrackName::new(namespace, bytes(track))?,
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    })
}

fn encoded(message: &ControlMessage) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    CODEC.encode(message, &mut bytes)?;
    Ok(bytes.freeze())
}

async fn status(to: SocketAddr) -> Result<String, Failure> {
    let mut peer = Peer::session(to).await?;
    peer.say(&ControlMessage::TrackStatus(RequestId(0), subscribe()?))
        .await?;
    let answer = peer
        .hear(|message| match message {
            ControlMessage::TrackStatusOk(..) => Some("answered"),
            ControlMessage::RequestError(..) => Some("refused"),
            _ => None,
        })
        .await?;
    Ok(answer.to_owned())
}

/// Three peers at once: one slow with its SETUP, one with a request, one with the headers of its streams.
async fn slow(to: SocketAddr) -> Result<String, Failure> {
    let begun = Instant::now();
    let drip = async |stream: &mut SendGuard, bytes: Bytes| {
        let mut pace = interval(SLOW);
        for at in 0..bytes.len() {
            pace.tick().await;
            if stream.send(&mut [bytes.slice(at..=at)]).await.is_err() {
                return;
            }
        }
    };
    let in_setup = async {
        let mut peer = Peer::connect(to).await?;
        let bytes = encoded(&setup(to))?;
        let Peer { control, closed, .. } = &mut peer;
        cut(closed, drip(control, bytes)).await
    };
    let in_request = async {
        let mut peer = Peer::session(to).await?;
        let bytes = encoded(&ControlMessage::Subscribe(RequestId(0), subscribe()?))?;
        let Peer { control, closed, .. } = &mut peer;
        cut(closed, drip(control, bytes)).await
    };
    let in_streams = async {
        let mut peer = Peer::session(to).await?;
        let mut streams = Vec::new();
        for _ in 0..10 {
            streams.push(peer.conn.open_uni().await?);
        }
        // A subgroup's header with large numbers: type, alias, group, subgroup, priority.
        let header = Bytes::from_static(&[
            0x14, 0xc0, 0, 0, 0, 0, 0, 0, 9, 0xc0, 0, 0, 0, 0, 0, 0, 9, 0xc0, 0, 0, 0, 0, 0, 0, 9, 1,
        ]);
        let all = futures_all(streams.iter_mut().map(|stream| drip(stream, header.clone())));
        cut(&mut peer.closed, all).await
    };
    let (in_setup, in_request, in_streams) = tokio::join!(in_setup, in_request, in_streams);
    Ok(format!(
        "cut after {} ms; {}; {}; {}",
        begun.elapsed().as_millis(),
        in_setup?,
        in_request?,
        in_streams?
    ))
}

async fn futures_all(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Why the relay closed the connection while `slowly` went on.
async fn cut(
    closed: &mut tokio::sync::oneshot::Receiver<String>,
    slowly: impl Future<Output = ()>,
) -> Result<String, Failure> {
    let watched = async {
        let never = async {
            slowly.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            why = closed => why.unwrap_or_default(),
            () = never => String::new(),
        }
    };
    Ok(timeout(CUT, watched)
        .await
        .map_err(|_| "a slow peer was not cut off")?)
}

async fn hammer(to: SocketAddr, workers: usize, sessions: u64) -> Result<String, Failure> {
    let (mut ended, mut failed, mut left) = (0_u64, 0_u64, sessions);
    let mut running = JoinSet::new();
    let one = move || async move {
        let mut peer = Peer::session(to).await?;
        peer.say(&ControlMessage::Subscribe(RequestId(0), subscribe()?))
            .await?;
        let closed = timeout(ANSWER, &mut peer.closed).await;
        closed
            .map_err(|_| Failure::from("it was not ended"))?
            .map_err(Failure::from)
    };
    let limit = u64::try_from(workers)?;
    while left > 0 || !running.is_empty() {
        while left > 0 && (running.len() as u64) < limit {
            left -= 1;
            running.spawn_local(one());
        }
        match running.join_next().await {
            Some(Ok(Ok(_))) => ended += 1,
            // Ended before it was set up, which is an end like any other.
            Some(Ok(Err(_))) => failed += 1,
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(format!("{ended} {failed}"))
}

/// A session with subscriptions to these tracks. A relay on a busy machine refuses newcomers, who come back.
async fn holder(to: SocketAddr, namespace: &str, tracks: &[String]) -> Result<Peer, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let subscribed = async {
            let mut peer = Peer::session(to).await?;
            for (id, track) in (0..).step_by(2).zip(tracks) {
                let subscribe = subscribe_to(namespace, track)?;
                peer.say(&ControlMessage::Subscribe(RequestId(id), subscribe))
                    .await?;
            }
            for _ in tracks {
                let answer = peer.hear(|message| match message {
                    ControlMessage::SubscribeOk(..) => Some(Ok(())),
                    ControlMessage::RequestError(_, _, error) => Some(Err(format!("{error:?}"))),
                    _ => None,
                });
                answer.await??;
            }
            Ok::<_, Failure>(peer)
        };
        match subscribed.await {
            Err(_) if Instant::now() < until => tokio::time::sleep(BACK).await,
            held => return held,
        }
    }
}

async fn hold(
    to: SocketAddr,
    namespace: &str,
    tracks: &[String],
    sessions: usize,
) -> Result<String, Failure> {
    let mut peers = Vec::new();
    for _ in 0..sessions {
        peers.push(holder(to, namespace, tracks).await?);
    }
    let tell = |line: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    };
    tell("holds")?;
    let (asks, mut asked) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines();
        lines.map_while(Result::ok).try_for_each(|_| asks.send(()))
    });
    while asked.recv().await.is_some() {
        for peer in &mut peers {
            match peer.closed.try_recv() {
                Err(TryRecvError::Empty) => {}
                why => return Err(format!("a session has ended: {why:?}").into()),
            }
        }
        let streams = peers.iter().map(|peer| peer.streams.take()).collect::<Vec<_>>();
        let streams = streams.iter().copied();
        let (least, most) = (streams.clone().min(), streams.max());
        tell(&format!("{} {}", least.unwrap_or(0), most.unwrap_or(0)))?;
    }
    Ok(String::new())
}
