//! What is this relay's own.

use super::*;
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::limits::{Account, Full, Share};
use crate::peering::plane::bindings::Bindings;
use crate::peering::plane::inlet::Whose;
use crate::registry::RegistryActor;
use crate::track::{
    self, AttachReplica, Gather, ReaderId, Replicate, Source, SourceId, TrackActor, UpstreamTerms, Wants,
};
use bytes::BytesMut;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{
    DatagramObject, FetchObjectHeader, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode,
};
use laps_protocol::relay::track_log::{Append, Fill, FillKey, StreamEnd};
use std::sync::Arc;

const LONG: Duration = Duration::from_secs(20);

/// Sees everything that its track takes in.
struct Seer(mpsc::UnboundedSender<Append>);

impl Actor for Seer {
    type Context = Context<Self>;
}

impl Handler<Replicate> for Seer {
    type Result = ();
    fn handle(&mut self, msg: Replicate, _: &mut Self::Context) {
        for append in msg.batch {
            self.0.send(append).ok();
        }
    }
}

pub(super) struct Track {
    pub(super) binding: Binding,
    seen: mpsc::UnboundedReceiver<Append>,
}

/// A live track of this relay.
pub(super) async fn live() -> Track {
    let log = Logger::root(Discard, o!());
    let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
    let source = SourceId::next();
    let home = TrackActor::new(track::Birth {
        name: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
        epoch: 1,
        config: Arc::default(),
        registry: RegistryActor::new(log.clone(), 1, None).start().into(),
        log,
        faults: Faults::default(),
        guard: None,
        terms: UpstreamTerms::default(),
        source: (
            source,
            Source::Local {
                wanted: watch::Sender::new(false),
                new_group: watch::Sender::new(0),
            },
        ),
    })
    .start();
    mailbox::ask(&home, Gather { readers: Vec::new() }, LONG)
        .await
        .unwrap();
    let (tell, seen) = mpsc::unbounded_channel();
    let attach = AttachReplica {
        own: true,
        wants: Wants::of(true, 128),
        id: ReaderId::next(),
        replica: Seer(tell).start().recipient(),
    };
    mailbox::ask(&home, attach, LONG).await.unwrap().unwrap();
    Track {
        binding: Binding::new(home, source),
        seen,
    }
}

/// A subgroup with one object, as the bytes of its stream.
pub(super) fn subgroup(group: u64, payload: &[u8]) -> Bytes {
    let header = SubgroupHeader {
        alias: 9,
        group,
        subgroup: SubgroupIdMode::Zero,
        priority: 7,
        has_extensions: false,
        end_of_group: false,
    };
    let object = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: payload.len() as u64,
    };
    let (codec, mut out) = (Codec::Draft14, BytesMut::new());
    codec.encode_subgroup_header(&header, &mut out).unwrap();
    codec
        .encode_object_header(false, None, &object, &mut out)
        .unwrap();
    out.extend_from_slice(payload);
    out.freeze()
}

impl Track {
    /// Payload of the next stream, and how it ends.
    pub(super) async fn stream(&mut self) -> (Vec<u8>, StreamEnd) {
        let mut all = Vec::new();
        loop {
            let seen = self.seen.recv().await.unwrap();
            if let Append::Payload { bytes, .. } = &seen {
                all.extend_from_slice(bytes);
            }
            if let Append::SubgroupClosed { end, .. } = seen {
                return (all, end);
            }
        }
    }

    async fn datagram(&mut self) -> Bytes {
        loop {
            if let Append::Datagram(datagram) = self.seen.recv().await.unwrap() {
                return datagram.payload;
            }
        }
    }
}

async fn edge() -> Scene {
    scene(NodeType::Edge, Config::default(), Faults::default()).await
}

async fn send(end: &mut End, id: u32, bytes: &[&[u8]]) {
    let mut source = end.open().await;
    let mut pieces: Vec<Bytes> = bytes.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    pieces.insert(0, Bytes::copy_from_slice(&head(id, 9).encode()));
    source.send(&mut pieces).await.unwrap();
    source.finish().unwrap();
    // One that nobody reads is stopped.
    source.delivered().await.ok();
}

/// Issue 6, "Pipeline forwarding": a stream that is this relay's own goes to its track, alone or beside other links, and the
/// bytes of both are the same.
#[actix::test]
async fn a_stream_goes_to_its_track_and_on() {
    let mut scene = edge().await;
    let mut own = live().await;
    scene
        .plane
        .bindings()
        .bind(track(9), Some(NodeId(1)), own.binding.clone());
    let (mut a, mut b) = (scene.ends.remove(&A).unwrap(), scene.ends.remove(&B).unwrap());
    for (round, nodes) in [&[ME][..], &[ME, NodeId(2)]].into_iter().enumerate() {
        scene.advertise(5, nodes);
        for (group, len) in [0_usize, 1, 1_200, 400_000].into_iter().enumerate() {
            let payload = payload(len, 5);
            let bytes = subgroup((round * 10 + group) as u64, &payload);
            let here = async {
                send(&mut a, 5, &[&bytes[..3], &bytes[3..]]).await;
                own.stream().await
            };
            let there = async {
                if nodes.len() > 1 {
                    let mut stream = b.accept().await;
                    let got = read(&mut stream).await.1;
                    assert!(got == bytes, "{} bytes", got.len());
                }
            };
            let ((got, end), ()) = futures::join!(here, there);
            assert!(got == payload, "{} of {len}", got.len());
            assert_eq!(end, StreamEnd::Fin);
        }
    }
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

/// C2 of the mesh: data is of the relay that its set names, and waits for its binding within a bound.
#[actix::test]
async fn data_waits_for_its_binding_and_finds_the_one_of_its_origin() {
    let mut scene = edge().await;
    let (mut own, mut other) = (live().await, live().await);
    let bindings = scene.plane.bindings();
    scene.advertise(5, &[ME]);
    bindings.bind(track(9), Some(NodeId(77)), other.binding.clone());
    send(scene.end(A), 5, &[&subgroup(1, b"first")]).await;
    scene.until(|plane| plane.bindings().sizes() == (1, 1, 0)).await;
    let account = scene.plane.link(A).unwrap().account;
    assert_eq!(account.used(Kind::EarlyStreams), 1);
    bindings.bind(track(9), Some(NodeId(1)), own.binding.clone());
    assert_eq!(own.stream().await, (b"first".to_vec(), StreamEnd::Fin));
    assert_eq!(account.used(Kind::EarlyStreams), 0);
    assert_eq!(bindings.counts().waited, 1);
    // By laps relays nobody says whose it is: the first that is bound gets it.
    let set = NodeSet::new(sns(6), NodeSet::PRIORITY, [ME]);
    scene.plane.advertised(A, &set);
    send(scene.end(A), 6, &[&subgroup(2, b"second")]).await;
    assert_eq!(other.stream().await, (b"second".to_vec(), StreamEnd::Fin));
    // What is not wanted any more is stopped.
    let mut source = scene.end(A).open().await;
    let bytes = subgroup(3, &[3; 100]);
    let begin = [&head(5, 9).encode()[..], &bytes[..20]].concat();
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    while !matches!(own.seen.recv().await.unwrap(), Append::ObjectStarted { .. }) {}
    bindings.unbind(track(9), Some(NodeId(1)));
    let stopped = futures::future::poll_fn(|cx| source.poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    assert!(*own.binding.released.borrow());
    assert_eq!(bindings.sizes(), (1, 0, 0));
}

/// D14-LIM-4: a stream that waits for its binding is not read on, so that its peer keeps what the window does not take.
#[actix::test]
async fn what_waits_for_its_binding_is_not_read_on() {
    let mut scene = edge().await;
    let mut own = live().await;
    scene.advertise(5, &[ME]);
    let payload = payload(4 << 20, 5);
    let bytes = subgroup(1, &payload);
    let mut a = scene.ends.remove(&A).unwrap();
    let plane = scene.plane.clone();
    let here = async {
        let (mut before, mut still) = (0, 0);
        while still < 5_000 {
            tokio::task::yield_now().await;
            let now = plane.counts().forward.bytes_in;
            still = if now == before && now > 0 { still + 1 } else { 0 };
            before = now;
        }
        // What came in a flight or two: the rest is in the window of the stream, or was not sent.
        assert!(before < 256 << 10, "{before} bytes were taken in");
        plane.bindings().bind(track(9), None, own.binding.clone());
        own.stream().await
    };
    let there = async { send(&mut a, 5, &[&bytes]).await };
    let ((), (got, end)) = futures::join!(there, here);
    assert!(got == payload && end == StreamEnd::Fin, "{} bytes", got.len());
}

/// D14-LIM-4: too much does not wait for bindings, and not for too long.
#[actix::test]
async fn what_waits_for_its_binding_is_bounded() {
    let mut config = Config::default();
    config.per_link.early_streams = 1;
    config.binding_wait = Duration::from_millis(300);
    let mut scene = scene(NodeType::Edge, config, Faults::default()).await;
    scene.advertise(5, &[ME]);
    send(scene.end(A), 5, &[&subgroup(1, b"first")]).await;
    scene.until(|plane| plane.bindings().counts().waited == 1).await;
    send(scene.end(A), 5, &[&subgroup(2, b"second")]).await;
    let object = object(b"late");
    scene
        .end(A)
        .conn
        .handle
        .send_datagram(datagram(5, &object))
        .unwrap();
    let counts = |plane: &Plane| {
        let counts = plane.bindings().counts();
        (counts.waited, counts.refused, counts.expired)
    };
    scene.until(|plane| counts(plane) == (3, 1, 2)).await;
    assert_eq!(scene.plane.bindings().sizes(), (0, 0, 0));
    let account = scene.plane.link(A).unwrap().account;
    let used = (account.used(Kind::EarlyStreams), account.used(Kind::EarlyBytes));
    assert_eq!(used, (0, 0));
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

fn object(payload: &'static [u8]) -> DatagramObject {
    DatagramObject {
        // That of the publisher: laps relays do not rewrite it.
        alias: 4,
        location: Location::ZERO,
        priority: 7,
        extensions: Bytes::new(),
        end_of_group: false,
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(payload),
    }
}

fn datagram(id: u32, object: &DatagramObject) -> Bytes {
    let head = DatagramHeader {
        sns: sns(id),
        track: track(9),
    };
    let mut out = BytesMut::from(&head.encode()[..]);
    Codec::Draft14.encode_datagram_header(object, &mut out).unwrap();
    out.extend_from_slice(&object.payload);
    out.freeze()
}

/// Issue 6: datagrams of this relay's own, before and after their binding.
#[actix::test]
async fn a_datagram_goes_to_its_track() {
    let mut scene = edge().await;
    let mut own = live().await;
    scene.advertise(5, &[ME]);
    let early = datagram(5, &object(b"early"));
    scene.end(A).conn.handle.send_datagram(early).unwrap();
    scene.until(|plane| plane.bindings().sizes() == (0, 0, 1)).await;
    scene.plane.bindings().bind(track(9), None, own.binding.clone());
    assert_eq!(own.datagram().await, b"early"[..]);
    let mut later = object(b"later");
    later.location.object = 1;
    let later = datagram(5, &later);
    scene.end(A).conn.handle.send_datagram(later).unwrap();
    assert_eq!(own.datagram().await, b"later"[..]);
    // What MOQT can make nothing of costs the link nothing.
    let head = DatagramHeader {
        sns: sns(5),
        track: track(9),
    };
    let rubbish = [&head.encode()[..], &[0xff; 9]].concat();
    scene.end(A).conn.handle.send_datagram(rubbish.into()).unwrap();
    scene.until(|plane| plane.counts().datagrams_unread == 1).await;
}

/// A stream that breaks MOQT's rules ends, and only it.
#[actix::test]
async fn a_breach_ends_its_stream_alone() {
    let mut scene = edge().await;
    let mut own = live().await;
    scene.plane.bindings().bind(track(9), None, own.binding.clone());
    scene.advertise(5, &[ME]);
    let mut wrong = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[0x7f, 0xff, 0xff]].concat();
    wrong.send(&mut [Bytes::from(begin)]).await.unwrap();
    let stopped = futures::future::poll_fn(|cx| wrong.poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    send(scene.end(A), 5, &[&subgroup(1, b"right")]).await;
    assert_eq!(own.stream().await, (b"right".to_vec(), StreamEnd::Fin));
    let told = scene.plane.0.links()[0].once.told();
    assert_eq!(told, ["a stream of a link breaks MOQT's rules"]);
}

/// Hears what a FETCH brings.
struct Fetcher(mpsc::UnboundedSender<String>);

impl Actor for Fetcher {
    type Context = Context<Self>;
}

impl Handler<Fetched> for Fetcher {
    type Result = ();
    fn handle(&mut self, msg: Fetched, _: &mut Self::Context) {
        for chunk in msg.chunks {
            let told = match chunk {
                Fill::Object(header) => self.0.send(format!("object {}", header.location.object)),
                Fill::Payload(bytes) => self.0.send(String::from_utf8(bytes.to_vec()).unwrap()),
            };
            told.ok();
        }
    }
}

impl Handler<FetchNews> for Fetcher {
    type Result = ();
    fn handle(&mut self, msg: FetchNews, _: &mut Self::Context) {
        if let FetchProgress::Ended(end) = msg.progress {
            self.0.send(format!("{end:?}")).ok();
        }
    }
}

/// Issue 6, "FETCH across relays": what answers a FETCH comes on a set of its own, and finds who wanted it by its number.
#[actix::test]
async fn what_a_fetch_brings_finds_who_wanted_it() {
    let mut scene = edge().await;
    scene.advertise(5, &[ME]);
    let (tell, mut heard) = mpsc::unbounded_channel();
    let fetcher = Fetcher(tell).start();
    let sink = FetchSink {
        key: FillKey(1),
        objects: fetcher.clone().recipient(),
        news: fetcher.recipient(),
    };
    scene.plane.fetches().expect(RequestId(44), sink);
    assert!(scene.plane.fetches().expects(RequestId(44)) && !scene.plane.fetches().expects(RequestId(45)));
    let (codec, mut bytes) = (Codec::Draft14, BytesMut::new());
    let header = StreamHeader {
        track: unicast(ME),
        ..head(5, 9)
    };
    bytes.extend_from_slice(&header.encode());
    codec.encode_fetch_header(RequestId(44), &mut bytes).unwrap();
    let object = FetchObjectHeader {
        location: Location { group: 3, object: 8 },
        subgroup: 0,
        priority: 7,
        extensions: Bytes::new(),
        status: ObjectStatus::Normal,
        payload_len: 5,
    };
    codec.encode_fetch_object_header(&object, &mut bytes).unwrap();
    bytes.extend_from_slice(b"cache");
    let bytes = bytes.freeze();
    for known in [true, false] {
        let mut source = scene.end(A).open().await;
        source.send(&mut [bytes.clone()]).await.unwrap();
        if known {
            source.finish().unwrap();
            for expected in ["object 8", "cache", "Fin"] {
                assert_eq!(heard.recv().await.unwrap(), expected);
            }
        } else {
            // Nobody wants it any more.
            futures::future::poll_fn(|cx| source.poll_stopped(cx)).await;
        }
        assert!(scene.plane.fetches().is_empty());
    }
}

/// laps peering, "Subscribe Node Set": a set of a laps relay says nothing of where its data comes from. Where several laps
/// relays have publishers of one track, the data of each is its own, and does not end with another one's.
#[actix::test]
async fn data_of_a_laps_relay_is_its_own() {
    let (one, other) = (live().await, live().await);
    let bindings = Bindings::default();
    let [first, second, third, ours] = [7, 8, 9, 10].map(NodeId);
    bindings.bind(track(9), Some(first), one.binding.clone());
    bindings.bind(track(9), Some(second), other.binding.clone());
    let account = Account::new(Config::default().per_link, Share::unbounded());
    let comes = |origin: Option<NodeId>| {
        let whose = Whose {
            track: track(9),
            origin,
        };
        bindings.resolve(whose, 0, &account, LONG)
    };
    let source = |found: Result<Option<Binding>, Full>| found.unwrap().unwrap().source;
    bindings.set_laps(third, true);
    for (origin, of) in [
        (Some(second), &other),
        (Some(first), &one),
        // It has none: what it brings is of somebody behind it, as far as anybody knows the first one's.
        (Some(third), &one),
        (None, &one),
    ] {
        assert_eq!(source(comes(origin).await), of.binding.source, "{origin:?}");
    }
    // What a relay of ours brings waits until that is known to be its publisher's.
    let late = live().await;
    let (found, ()) = futures::join!(comes(Some(ours)), async {
        assert_eq!(bindings.sizes().1, 1);
        bindings.bind(track(9), Some(ours), late.binding.clone());
    });
    assert_eq!(source(found), late.binding.source);
    // And what another laps relay brings until that is known to be one. When it is gone, it is forgotten.
    for _ in 0..2 {
        let (found, ()) = futures::join!(comes(Some(NodeId(11))), async {
            assert_eq!(bindings.sizes().1, 1);
            bindings.set_laps(NodeId(11), true);
        });
        assert_eq!(source(found), one.binding.source);
        bindings.set_laps(NodeId(11), false);
    }
}
