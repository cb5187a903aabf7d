//! The registry alone, with watchers whose news are counted.

use super::*;
use crate::namespace::NamespacesChanged;
use crate::peering::mesh::remote::NodeActor;
use crate::session::SessionActor;
use crate::supervise::mailbox::{Credit, Wake};
use crate::track::{ReaderId, Source, TrackActor, TrackMeta};
use actix::{Addr, MessageResult};
use bytes::Bytes;
use laps_protocol::moqt::message::RequestId;
use slog::o;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PATIENCE: Duration = Duration::from_secs(60);

/// Counts how often it is woken, and never gives the leave to be woken again.
struct Sleeper(Arc<AtomicUsize>);

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<NamespacesChanged> for Sleeper {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, _: &mut Self::Context) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A shard that makes no tracks.
struct NoShard;

impl Actor for NoShard {
    type Context = Context<Self>;
}

impl Handler<CreateTrack> for NoShard {
    type Result = MessageResult<CreateTrack>;
    fn handle(&mut self, _: CreateTrack, _: &mut Self::Context) -> Self::Result {
        MessageResult(Context::<TrackActor>::new().address())
    }
}

fn ns(text: &str) -> TrackNamespace {
    TrackNamespace::new(text.split('/').map(|field| Bytes::from(field.to_owned()))).unwrap()
}

struct Scene {
    registry: Addr<RegistryActor>,
    /// Never runs: only its address counts.
    session: Addr<SessionActor>,
    shard: ShardRef,
    woken: Arc<AtomicUsize>,
    _credit: Credit,
}

impl Scene {
    async fn watching(prefix: &str) -> (Self, Changes) {
        let registry = RegistryActor::new(Logger::root(slog::Discard, o!()), 10, None).start();
        let woken = Arc::new(AtomicUsize::new(0));
        let (wake, credit) = Wake::new(Sleeper(Arc::clone(&woken)).start().recipient());
        let watch = WatchNamespace {
            id: WatchId(1),
            prefix: Some(ns(prefix)),
            whose: Whose::Everybody,
            wake,
        };
        let changes = mailbox::ask(&registry, watch, PATIENCE).await.unwrap();
        let scene = Self {
            registry,
            session: Context::<SessionActor>::new().address(),
            shard: ShardRef {
                index: 0,
                tracks: NoShard.start().recipient(),
            },
            woken,
            _credit: credit,
        };
        (scene, changes)
    }

    async fn announce(&self, id: u64, namespace: &str) {
        let register = RegisterNamespace {
            id: AnnounceId(id),
            namespace: ns(namespace),
            upstream: self.session.clone().into(),
            shard: self.shard.clone(),
        };
        mailbox::ask(&self.registry, register, PATIENCE).await.unwrap();
    }

    async fn withdraw(&self, id: u64, namespace: &str) {
        let gone = UnregisterNamespace {
            id: AnnounceId(id),
            namespace: ns(namespace),
        };
        mailbox::ask(&self.registry, gone, PATIENCE).await.unwrap();
    }

    async fn take(&self) -> Changes {
        mailbox::ask(&self.registry, TakeChanges(WatchId(1)), PATIENCE)
            .await
            .unwrap()
            .unwrap()
    }
}

/// D14-LIM-3 D14-NS-14: however much changes, a watcher that sleeps is woken once and has a name to take for each that
/// there is.
#[actix::test]
async fn changes_for_a_sleeping_watcher_do_not_add_up() {
    let (scene, first) = Scene::watching("live").await;
    assert!(first.namespaces.is_empty() && !first.more);
    for n in 0..500 {
        scene.announce(2 * n, "live/a").await;
        scene.announce(2 * n + 1, "live/b").await;
        scene.withdraw(2 * n, "live/a").await;
        scene.announce(5000, "other").await;
    }
    let changes = scene.take().await;
    assert_eq!(changes.namespaces, [(ns("live/a"), false), (ns("live/b"), true)]);
    assert!(!changes.more && changes.tracks.is_empty());
    assert_eq!(scene.woken.load(Ordering::Relaxed), 1);
    assert!(scene.take().await.namespaces.is_empty());
}

/// D14-LIM-3 D14-NS-2: a short prefix is taken in parts, each name once.
#[actix::test]
async fn a_short_prefix_is_taken_in_parts() {
    const NAMES: usize = 2500;
    let (scene, _) = Scene::watching("live").await;
    for n in 0..NAMES as u64 {
        scene.announce(n, &format!("live/{n}")).await;
    }
    let (mut names, mut parts) = (Vec::new(), 0);
    loop {
        let changes = scene.take().await;
        assert!(changes.namespaces.len() <= 1024);
        names.extend(changes.namespaces.into_iter().map(|(name, _)| name));
        parts += 1;
        if !changes.more {
            break;
        }
    }
    names.dedup();
    assert_eq!((names.len(), parts), (NAMES, 3));
    mailbox::ask(&scene.registry, UnwatchNamespace(WatchId(1)), PATIENCE)
        .await
        .unwrap();
    scene.announce(9999, "live/late").await;
    let taken = mailbox::ask(&scene.registry, TakeChanges(WatchId(1)), PATIENCE).await;
    assert!(taken.unwrap().is_none());
}

/// The registry forgets what a failed shard did not live to withdraw, and nothing else.
#[actix::test]
async fn what_a_lost_shard_had_is_forgotten() {
    let (scene, _) = Scene::watching("live").await;
    scene.announce(1, "live/lost").await;
    scene.announce(2, "live/both").await;
    let elsewhere = RegisterNamespace {
        id: AnnounceId(3),
        namespace: ns("live/both"),
        upstream: Context::<SessionActor>::new().address().into(),
        shard: ShardRef {
            index: 1,
            ..scene.shard.clone()
        },
    };
    mailbox::ask(&scene.registry, elsewhere, PATIENCE).await.unwrap();
    scene.take().await;
    mailbox::ask(&scene.registry, ShardLost { index: 0 }, PATIENCE)
        .await
        .unwrap();
    let changes = scene.take().await;
    assert_eq!(
        changes.namespaces,
        [(ns("live/both"), true), (ns("live/lost"), false)]
    );
}

/// A shard that fails over a track that it is to make is not the end of who waits for the track, nor of who publishes it
/// elsewhere.
#[actix::test]
async fn a_track_is_made_elsewhere_when_its_shard_is_lost() {
    let (scene, _) = Scene::watching("live").await;
    let lost = Context::<NoShard>::new();
    let name = FullTrackName::new(ns("live"), Bytes::new()).unwrap();
    let publish = |index, tracks| RegisterPublisher {
        name: name.clone(),
        id: SourceId::next(),
        source: Source::Published {
            upstream: scene.session.clone().into(),
            request: RequestId(0),
            largest: None,
            meta: TrackMeta::default(),
        },
        shard: ShardRef { index, tracks },
    };
    let resolve = ResolveTrack {
        name: name.clone(),
        reader: ReaderId::next(),
        stale: None,
        wait: true,
        except: None,
        seek: true,
    };
    let first = publish(1, lost.address().recipient());
    let first = mailbox::ask(&scene.registry, first, PATIENCE);
    let reader = mailbox::ask(&scene.registry, resolve, PATIENCE);
    let second = publish(0, scene.shard.tracks.clone());
    let second = mailbox::ask(&scene.registry, second, PATIENCE);
    // The shard goes when all of them have been handled.
    let failure = async {
        scene.take().await;
        drop(lost);
    };
    let (first, reader, second, ()) = futures::join!(first, reader, second, failure);
    assert!(first.unwrap().is_err());
    assert!(reader.unwrap().is_err_and(|why| why.for_now), "it looks again");
    assert_eq!(second.unwrap().unwrap().shard, 0);
}

/// Decision 0029: the mesh is told of what this relay's own sessions publish, of all of it and of nothing else, and hears
/// of it once. Two lives of the registry ask the watcher to watch again.
#[actix::test]
async fn of_its_own_a_relay_publishes_what_sessions_publish() {
    let (scene, _) = Scene::watching("live").await;
    scene.announce(1, "live/ours").await;
    let (wake, _credit) = Wake::new(Sleeper(Arc::clone(&scene.woken)).start().recipient());
    let watch = WatchNamespace {
        id: WatchId(2),
        prefix: None,
        whose: Whose::Ours,
        wake,
    };
    let take = || mailbox::ask(&scene.registry, TakeChanges(WatchId(2)), PATIENCE);
    for _ in 0..2 {
        let told = mailbox::ask(&scene.registry, watch.clone(), PATIENCE)
            .await
            .unwrap();
        assert_eq!(told.namespaces, [(ns("live/ours"), true)]);
    }
    // What other nodes publish is none of it, be it the same or not.
    let elsewhere = Upstream::Node(Context::<NodeActor>::new().address());
    for (id, text) in [(8, "live/ours"), (9, "live/theirs")] {
        let register = RegisterNamespace {
            id: AnnounceId(id),
            namespace: ns(text),
            upstream: elsewhere.clone(),
            shard: scene.shard.clone(),
        };
        mailbox::ask(&scene.registry, register, PATIENCE).await.unwrap();
    }
    let told = take().await.unwrap().unwrap();
    assert_eq!(
        told.namespaces,
        [(ns("live/ours"), true), (ns("live/theirs"), false)]
    );
    let name = FullTrackName::new(ns("other"), Bytes::from_static(b"track")).unwrap();
    let publish = RegisterPublisher {
        name: name.clone(),
        id: SourceId::next(),
        source: Source::Published {
            upstream: scene.session.clone().into(),
            request: RequestId(0),
            largest: None,
            meta: TrackMeta::default(),
        },
        shard: scene.shard.clone(),
    };
    mailbox::ask(&scene.registry, publish, PATIENCE)
        .await
        .unwrap()
        .unwrap();
    scene.withdraw(1, "live/ours").await;
    let told = take().await.unwrap().unwrap();
    assert_eq!(told.namespaces, [(ns("live/ours"), false)]);
    let told: Vec<_> = told
        .tracks
        .iter()
        .map(|(name, track)| (name, track.is_some()))
        .collect();
    assert_eq!(told, [(&name, true)]);
    mailbox::ask(&scene.registry, UnwatchNamespace(WatchId(2)), PATIENCE)
        .await
        .unwrap();
    scene.announce(1, "live/ours").await;
    assert!(take().await.unwrap().is_none());
}
