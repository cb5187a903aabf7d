//! One session over a real connection, its peer played by hand.

use super::egress::{Egress, LanesChanged, SendPolicy};
use super::inbound::Inbound;
use super::incoming::Acceptors;
use super::ingress::Ingress;
use super::{Birth, Config, ControlEvent, SessionActor};
use crate::announce::{self, AnnounceActor};
use crate::connection::ConnectionActor;
use crate::limits::{Account, Kind, PerKind, Questions, Share, Strain, UNLIMITED};
use crate::limits::{Limits, Prefixes};
use crate::namespace;
use crate::registry::{RegistryActor, ShardRef, WatchId, WatchNamespace};
use crate::shard::{Env, ShardActor};
use crate::subscription::{self, Origin, Spec};
use crate::supervise::mailbox::{self, Wake};
use crate::supervise::{ChildGuard, ChildId, Faults};
use crate::track::TrackGone;
use crate::transport::testing::{Pair, pair};
use crate::transport::{ClientEndpoint, ConnError, ConnParts, RecvGuard, SendGuard, ServerEndpoint};
use actix::{Actor, Addr, AsyncContext, Context};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::data::DataLimits;
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, GroupOrderRequest, MessageParams, NamespaceRequest, PublishDoneStatus,
    RequestId, SetupParams, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{ControlStream, Input, Role};
use slog::{Logger, o};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const CODEC: Codec = Codec::Draft14;
const PATIENCE: Duration = Duration::from_secs(60);

/// A relay's session and the connection's other end.
struct Scene {
    session: Addr<SessionActor>,
    client: ConnParts,
    _endpoints: (ServerEndpoint, ClientEndpoint),
    control: SendGuard,
    answers: RecvGuard,
    decoder: ControlDecoder,
}

fn env(config: Config) -> Env {
    let log = Logger::root(slog::Discard, o!());
    let context = Context::<ShardActor>::new();
    let env = Env {
        registry: RegistryActor::new(log.clone(), 10, None).start().into(),
        shard: ShardRef {
            index: 0,
            tracks: context.address().recipient(),
        },
        replicas: None,
        session: Arc::new(config),
        track: Arc::default(),
        prefixes: Arc::new(Prefixes::new(Limits::NONE)),
        strain: Strain::none(),
        log,
        faults: Faults::default(),
    };
    context.run(ShardActor::new(env.clone(), None, 0, None));
    env
}

/// With a registry that gives no answer until it runs.
fn env_with_silent_registry() -> (Env, Context<RegistryActor>) {
    let registry = Context::<RegistryActor>::new();
    let env = Env {
        registry: registry.address().into(),
        ..env(Config::default())
    };
    (env, registry)
}

/// D14-NS-1 D14-NS-15: a namespace or a watch that the peer was told to be accepted does not end with a registry that
/// is slow when its actor starts again.
#[actix::test]
async fn what_was_accepted_is_asked_for_again() {
    let (env, registry) = env_with_silent_registry();
    let session = Context::<SessionActor>::new();
    tokio::time::pause();
    let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
    let questions = Questions::default();
    let announce = AnnounceActor::new(announce::Birth {
        request: RequestId(0),
        namespace: namespace.clone(),
        answered: Rc::new(Cell::new(true)),
        asking: Some(questions.ask()),
        env: env.clone(),
        session: session.address(),
        log: env.log.clone(),
        guard: None,
    })
    .start();
    let watch = namespace::Birth {
        request: RequestId(2),
        prefix: namespace.clone(),
        answered: true,
        env: env.clone(),
        session: session.address(),
        asking: questions.ask(),
        log: env.log.clone(),
        guard: None,
    }
    .start();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(announce.connected() && watch.connected());
    registry.run(RegistryActor::new(env.log.clone(), 10, None));
    let looking = WatchNamespace {
        id: WatchId(u64::MAX),
        prefix: Some(namespace.clone()),
        whose: crate::registry::Whose::Everybody,
        wake: Wake::new(watch.clone().recipient()).0,
    };
    let there = env.registry.ask(looking, PATIENCE).await.unwrap();
    assert_eq!(there.namespaces, [(namespace, true)]);
}

/// What an arbiter drops that ends before a connection had its turn: its actor starts without a runtime, and makes no
/// session there, of which a second would end the process.
#[test]
fn a_connection_that_never_had_a_turn_starts_no_session() {
    let (never_polled, _share) = crate::transport::testing::run(async {
        let Pair {
            server, _endpoints, ..
        } = pair().await;
        let env = env(Config::default());
        let share = Share::unbounded();
        let lease = share.take(Kind::Connections, 1).unwrap();
        let (context, shard) = (Context::<ConnectionActor>::new(), Context::<ShardActor>::new());
        let guard = ChildGuard::new(shard.address().recipient(), ChildId::fresh(), "connection");
        let actor = ConnectionActor::of_parts(env, server, lease, guard);
        (context.into_future(actor), share)
    });
    drop(never_polled);
}

/// A session whose SETUP is complete.
async fn scene(config: Config) -> Scene {
    let Pair {
        server,
        mut client,
        _endpoints,
    } = pair().await;
    let env = env(config);
    let session = SessionActor::new(Birth {
        role: Role::Server,
        core: env.session.core.clone(),
        env,
        conn: server.handle,
        incoming: Acceptors {
            uni: server.uni,
            bidi: server.bidi,
            datagrams: server.datagrams,
        },
        news: None,
        guard: None,
    })
    .start();
    let (control, answers) = client.handle.open_bidi().await.unwrap();
    let mut scene = Scene {
        session,
        client,
        _endpoints,
        control,
        answers,
        decoder: ControlDecoder::new(CODEC),
    };
    let setup = ControlMessage::ClientSetup(ClientSetup {
        versions: vec![CODEC.version_number()],
        params: SetupParams {
            max_request_id: Some(100_000),
            path: Some(Bytes::from_static(b"/")),
            authority: Some(Bytes::from_static(b"localhost")),
            ..SetupParams::default()
        },
    });
    scene.control.send(&mut [encoded([setup])]).await.unwrap();
    assert!(matches!(scene.answer().await, ControlMessage::ServerSetup(_)));
    scene
}

fn encoded(messages: impl IntoIterator<Item = ControlMessage>) -> Bytes {
    let mut bytes = BytesMut::new();
    for message in messages {
        CODEC.encode(&message, &mut bytes).unwrap();
    }
    bytes.freeze()
}

/// A request that is refused at once, except the first one.
fn watch(n: u64) -> ControlMessage {
    let request = NamespaceRequest {
        namespace: TrackNamespace::new([Bytes::from_static(b"prefix")]).unwrap(),
        params: MessageParams::default(),
    };
    ControlMessage::SubscribeNamespace(RequestId(n * 2), request)
}

impl Scene {
    async fn closed(&mut self) -> ConnError {
        let closed = tokio::time::timeout(PATIENCE, self.client.uni.accept()).await;
        closed.unwrap().unwrap_err()
    }

    async fn answer(&mut self) -> ControlMessage {
        loop {
            if let Some(message) = self.decoder.next().unwrap() {
                return message;
            }
            let bytes = tokio::time::timeout(PATIENCE, self.answers.receive()).await;
            self.decoder.push(bytes.unwrap().unwrap().unwrap());
        }
    }
}

/// D14-LIM-2
#[actix::test]
async fn thousands_of_requests_in_one_read_are_answered_in_order() {
    const REQUESTS: u64 = 4900;
    let mut scene = scene(Config::default()).await;
    let bytes = encoded((0..REQUESTS).map(watch));
    let event = ControlEvent(Input::StreamBytes(ControlStream(0), bytes));
    mailbox::ask(&scene.session, event, PATIENCE).await.unwrap();
    let mut refused = 1;
    while refused < REQUESTS {
        if let ControlMessage::RequestError(id, ..) = scene.answer().await {
            assert_eq!(id, RequestId(refused * 2));
            refused += 1;
        }
    }
}

/// D14-SETUP-8
#[actix::test]
async fn a_peer_that_stops_the_control_stream_loses_its_session() {
    let mut scene = scene(Config::default()).await;
    scene.answers.stop(0);
    // The relay finds out when it answers.
    for n in 0..2 {
        scene.control.send(&mut [encoded([watch(n)])]).await.unwrap();
    }
    let closed = scene.closed().await;
    assert!(matches!(closed, ConnError::Peer { code: 3 }), "{closed:?}");
}

/// D14-LIM-4
#[actix::test]
async fn many_small_answers_count_for_what_they_occupy() {
    let config = Config {
        // Enough for the bytes of the answers alone.
        max_control_backlog: 12_000,
        ..Config::default()
    };
    let mut scene = scene(config).await;
    let event = ControlEvent(Input::StreamBytes(ControlStream(0), encoded((0..200).map(watch))));
    // The writer has no turn while the session handles one event.
    mailbox::ask(&scene.session, event, PATIENCE).await.unwrap();
    let closed = scene.closed().await;
    assert!(matches!(closed, ConnError::Peer { code: 0x11 }), "{closed:?}");
}

/// D14-REQ-8 D14-REQ-10: the end of a track, heard of before the answer that it is had, does not end the request
/// unanswered.
#[actix::test]
async fn a_subscription_is_answered_before_it_ends() {
    let config = Config {
        subscribe_wait: None,
        ..Config::default()
    };
    let scene = scene(config.clone()).await;
    let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
    let subscribe = Subscribe {
        track: FullTrackName::new(namespace, Bytes::from_static(b"t")).unwrap(),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    };
    let conn = scene.client.handle.clone();
    let subscription = subscription::Birth {
        spec: Spec::new(RequestId(0), 1, subscribe, Origin::PeerSubscribe),
        resumed: false,
        env: env(config),
        owner: scene.session.clone().into(),
        egress: Egress::new(conn.clone(), CODEC, SendPolicy::Priorities),
        conn,
        codec: CODEC,
        streams: Rc::default(),
        account: Account::new(PerKind::all(UNLIMITED), Share::unbounded()),
        log: Logger::root(slog::Discard, o!()),
        guard: None,
    }
    .start();
    let gone = TrackGone::new(PublishDoneStatus::TrackEnded, "over");
    mailbox::ask(&subscription, gone, PATIENCE).await.unwrap();
    // It is still there, and waits for its track.
    mailbox::ask(&subscription, LanesChanged, PATIENCE).await.unwrap();
}

/// D14-DATA-1: what of a stream was read before it was known whose it is, is read like the rest of it.
#[actix::test]
async fn a_stream_may_have_been_begun_to_be_read() {
    let mut scene = scene(Config::default()).await;
    let mut link = pair().await;
    let mut send = link.client.handle.open_uni().await.unwrap();
    // Either half could be the start of a stream.
    let unknown = Bytes::from_static(&[0x7f, 0xff]);
    send.send(&mut [unknown.slice(1..)]).await.unwrap();
    let stream = link.server.uni.accept().await.unwrap().unwrap();
    let account = Account::new(PerKind::all(UNLIMITED), Share::unbounded());
    let ingress = Ingress {
        inlet: scene.session.clone().into(),
        codec: CODEC,
        limits: DataLimits::default(),
        header_timeout: PATIENCE,
        alias_wait: PATIENCE,
        inbound: Inbound::new(account, Logger::root(slog::Discard, o!())),
        fault: Faults::default().at("ingress", String::new),
    };
    ingress.run(stream, unknown.slice(..1)).await;
    let closed = scene.closed().await;
    assert!(matches!(closed, ConnError::Peer { code: 3 }), "{closed:?}");
}
