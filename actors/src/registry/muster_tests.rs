//! A registry in its second life, with shards that tell what is theirs when the test says so.

use super::*;
use crate::limits::{Limits, Prefixes, Strain};
use crate::namespace::NamespacesChanged;
use crate::registry::{
    AnnounceId, CreateTrack, RegisterNamespace, RegistryHandle, Reregister, ShardRef, Whose,
};
use crate::session::SessionActor;
use crate::shard::{Env, ShardActor};
use crate::supervise::mailbox::Wake;
use crate::track::{TrackActor, TrackMeta, Unavailable};
use actix::{Actor, Addr, Message, MessageResult};
use bytes::Bytes;
use futures::FutureExt;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::TrackNamespace;
use slog::{Discard, Logger, o};
use std::sync::Arc;
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(60);

/// A shard that has nothing, and does not say so before it is told to. Its tracks are addresses only.
#[derive(Default)]
struct Silent(Vec<Reregister>);

#[derive(Message)]
#[rtype(result = "()")]
struct Tell;

impl Actor for Silent {
    type Context = Context<Self>;
}

impl Handler<Reregister> for Silent {
    type Result = ();
    fn handle(&mut self, msg: Reregister, _: &mut Self::Context) {
        self.0.push(msg);
    }
}

impl Handler<Tell> for Silent {
    type Result = ();
    fn handle(&mut self, _: Tell, _: &mut Self::Context) {
        self.0.clear();
    }
}

impl Handler<CreateTrack> for Silent {
    type Result = MessageResult<CreateTrack>;
    fn handle(&mut self, _: CreateTrack, _: &mut Self::Context) -> Self::Result {
        MessageResult(Context::<TrackActor>::new().address())
    }
}

/// Watches, and does not care.
struct Watcher;

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<NamespacesChanged> for Watcher {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, _: &mut Self::Context) {}
}

fn name(text: &str) -> FullTrackName {
    let namespace = TrackNamespace::new([Bytes::from(text.to_owned())]).unwrap();
    FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap()
}

fn question(text: &str) -> ResolveTrack {
    ResolveTrack {
        name: name(text),
        reader: ReaderId::next(),
        stale: None,
        wait: false,
        except: None,
        seek: true,
    }
}

fn begin(handle: &RegistryHandle, epoch: u32) {
    let registry = RegistryActor::new(Logger::root(Discard, o!()), 10, None).in_life(epoch);
    handle.renew(registry.start(), epoch);
}

fn announcement(silent: &Addr<Silent>, text: &str) -> RegisterNamespace {
    RegisterNamespace {
        id: AnnounceId(1),
        namespace: name(text).namespace().clone(),
        upstream: Context::<SessionActor>::new().address().into(),
        shard: ShardRef {
            index: 0,
            tracks: silent.clone().recipient(),
        },
    }
}

/// A registry in its second life that waits for a shard.
fn second_life() -> (RegistryHandle, Addr<Silent>) {
    let handle = RegistryHandle::new();
    let silent = Silent::default().start();
    handle.enlist(0, silent.clone().recipient());
    begin(&handle, 1);
    (handle, silent)
}

/// D14-SUB-10: nobody is told that a track does not exist, and none is made, while there is somebody to tell of it.
#[actix::test]
async fn questions_wait_until_everybody_has_told() {
    tokio::time::pause();
    let (handle, silent) = second_life();
    let began = Instant::now();
    let asked = handle.ask(question("live"), LONG);
    let told = async {
        tokio::time::sleep(PATIENCE / 2).await;
        handle.signal(announcement(&silent, "live"));
        mailbox::ask(&silent, Tell, LONG).await.unwrap();
    };
    let (answer, ()) = futures::join!(asked, told);
    let track = answer.unwrap().unwrap();
    assert!(
        track.epoch > 1 << 40,
        "above what the first life gave out: {}",
        track.epoch
    );
    assert!(began.elapsed() < PATIENCE);
}

#[actix::test]
async fn a_shard_that_does_not_tell_holds_nobody_up_for_ever() {
    tokio::time::pause();
    let (handle, _silent) = second_life();
    let began = Instant::now();
    let answer = handle.ask(question("live"), LONG).await.unwrap();
    assert!(answer.is_err_and(|why| why.for_now));
    assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
}

/// A shard that ends instead of telling is not waited for.
#[actix::test]
async fn a_shard_that_is_gone_holds_nobody_up() {
    let handle = RegistryHandle::new();
    let gone = Context::<Silent>::new();
    handle.enlist(0, gone.address().recipient());
    begin(&handle, 1);
    drop(gone);
    let began = Instant::now();
    assert!(handle.ask(question("live"), LONG).await.unwrap().is_err());
    assert!(began.elapsed() < PATIENCE);
}

/// D14-NS-2 D14-NS-13: what is late to be told of is not gone, and is in the first that a watcher hears.
#[actix::test]
async fn a_watcher_hears_when_everybody_has_told() {
    let (handle, silent) = second_life();
    let (wake, _credit) = Wake::new(Watcher.start().recipient());
    let watch = |prefix| WatchNamespace {
        id: WatchId(1),
        prefix: Some(name(prefix).namespace().clone()),
        whose: Whose::Everybody,
        wake: wake.clone(),
    };
    // Asked twice, as by a watcher that was told of the new life while its question was under way.
    let (first, asked) = (handle.ask(watch("other"), LONG), handle.ask(watch("live"), LONG));
    let told = async {
        handle.signal(announcement(&silent, "live"));
        mailbox::ask(&silent, Tell, LONG).await.unwrap();
    };
    let later = async {
        // It lost its place to the second and is asked again.
        drop(first);
    };
    let (answer, (), ()) = futures::join!(asked, told, later);
    let namespaces = answer.unwrap().namespaces;
    assert_eq!(namespaces, [(name("live").namespace().clone(), true)]);
}

/// D14-LIM-2
#[test]
fn questions_that_wait_are_bounded() {
    let mut muster = Muster::default();
    let ask = |muster: &mut Muster| {
        let (reply, mut answer) = ReplyTo::asked();
        muster.resolve(question("live"), reply);
        answer
            .try_recv()
            .is_ok_and(|answer: Result<_, Unavailable>| answer.is_err())
    };
    assert!((0..MAX_QUESTIONS).all(|_| !ask(&mut muster)));
    assert!(ask(&mut muster), "refused at once");
    assert_eq!((muster.questions, muster.refused), (MAX_QUESTIONS, 1));
}

/// A relay of one shard without a socket.
fn env() -> (Env, Addr<ShardActor>) {
    let log = Logger::root(Discard, o!());
    let registry = RegistryHandle::new();
    begin(&registry, 0);
    let context = Context::<ShardActor>::new();
    let env = Env {
        registry,
        shard: ShardRef {
            index: 0,
            tracks: context.address().recipient(),
        },
        replicas: None,
        session: Arc::default(),
        track: Arc::default(),
        prefixes: Arc::new(Prefixes::new(Limits::NONE)),
        strain: Strain::none(),
        log,
        faults: crate::supervise::Faults::default(),
    };
    let shard = context.run(ShardActor::new(env.clone(), None, 0, None));
    (env, shard)
}

/// Makes a track as a registry does that is lost before it has the answer.
async fn orphan(shard: &Addr<ShardActor>, epoch: u64, source: Source) -> Addr<TrackActor> {
    let create = CreateTrack {
        name: name("live"),
        epoch,
        id: SourceId::next(),
        source,
    };
    mailbox::ask(shard, create, LONG).await.unwrap()
}

fn published(session: &Context<SessionActor>) -> Source {
    Source::Published {
        upstream: session.address().into(),
        request: RequestId(0),
        largest: None,
        meta: TrackMeta::default(),
    }
}

async fn until_gone(track: &Addr<TrackActor>) {
    let gone = async {
        while track.connected() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

#[actix::test]
async fn a_track_that_was_being_made_for_nobody_ends() {
    let (env, shard) = env();
    let session = Context::<SessionActor>::new();
    let source = Source::Announced {
        upstream: session.address().into(),
    };
    let track = orphan(&shard, 7, source).await;
    begin(&env.registry, 1);
    until_gone(&track).await;
    let answer = env.registry.ask(question("live"), LONG).await.unwrap();
    assert!(answer.is_err_and(|why| why.for_now));
}

/// D14-PUB-2: the track is found in the life that it has, and is lost with its publisher, though nobody could be told.
#[actix::test]
async fn a_track_lives_on_with_its_publisher() {
    let (env, shard) = env();
    let session = Context::<SessionActor>::new();
    let track = orphan(&shard, 7, published(&session)).await;
    for life in 1..3 {
        begin(&env.registry, life);
        let found = env.registry.ask(question("live"), LONG).await.unwrap().unwrap();
        assert_eq!((found.epoch, &found.home), (7, &track));
    }
    drop(session);
    begin(&env.registry, 3);
    until_gone(&track).await;
}

/// A publisher that is offered again, as by a session that asks again, is the one that the track has.
#[actix::test]
async fn a_publisher_is_taken_once() {
    let (env, shard) = env();
    let session = Context::<SessionActor>::new();
    let track = orphan(&shard, 7, published(&session)).await;
    begin(&env.registry, 1);
    let register = RegisterPublisher {
        name: name("live"),
        id: SourceId::next(),
        source: published(&session),
        shard: env.shard.clone(),
    };
    for life in 2..4 {
        let taken = env.registry.ask(register.clone(), LONG).await.unwrap().unwrap();
        assert_eq!(taken.home, track);
        begin(&env.registry, life);
    }
    // Both of its PUBLISHes are withdrawn, and with the second one the track has nobody left.
    env.registry.signal(WithdrawPublisher {
        name: name("live"),
        id: register.id,
    });
    let found = env.registry.ask(question("live"), LONG).await.unwrap().unwrap();
    assert_eq!(found.home, track);
    drop(session);
    begin(&env.registry, 4);
    until_gone(&track).await;
}

/// Fails like a bug would.
#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for ShardActor {
    type Result = ();
    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("injected");
    }
}

/// The tracks of a shard that fails end before its thread does, and the registry hears of it from them.
#[actix::test]
async fn the_tracks_of_a_failed_shard_end_at_once() {
    let (env, shard) = env();
    let session = Context::<SessionActor>::new();
    let track = orphan(&shard, 7, published(&session)).await;
    begin(&env.registry, 1);
    let found = env.registry.ask(question("live"), LONG).await.unwrap().unwrap();
    assert_eq!(found.home, track);
    assert!(mailbox::ask(&shard, Fail, LONG).await.is_err());
    until_gone(&track).await;
    let answer = env.registry.ask(question("live"), LONG).await.unwrap();
    assert!(answer.is_err_and(|why| why.for_now));
}

/// A home that tells so late that the track was made anew is not a second one.
#[actix::test]
async fn of_two_homes_one_ends() {
    let (env, shard) = env();
    let session = Context::<SessionActor>::new();
    let old = orphan(&shard, 7, published(&session)).await;
    let new = orphan(&shard, 8, published(&session)).await;
    begin(&env.registry, 1);
    until_gone(&old).await;
    let found = env.registry.ask(question("live"), LONG).await.unwrap().unwrap();
    assert_eq!((found.epoch, &found.home), (8, &new));
    let late = orphan(&shard, 6, published(&session)).await;
    env.registry.signal(ReregisterTrack {
        track: TrackRef {
            name: name("live"),
            shard: 0,
            home: late.clone(),
            epoch: 6,
        },
        published: Vec::new(),
        announcers: Vec::new(),
    });
    until_gone(&late).await;
    assert!(new.connected());
}

/// A life that ends while it gathers leaves nothing to the next one.
#[actix::test]
async fn a_registry_may_fail_while_it_gathers() {
    let (handle, silent) = second_life();
    let asked = handle.ask(question("live"), LONG);
    let told = async {
        mailbox::ask(&handle.now(), crate::root::StopChild { deadline: LONG }, LONG)
            .await
            .unwrap();
        begin(&handle, 2);
        handle.signal(announcement(&silent, "live"));
        // For both lives.
        mailbox::ask(&silent, Tell, LONG).await.unwrap();
    };
    let (answer, ()) = futures::join!(asked, told);
    assert!(matches!(answer, Ok(Ok(track)) if track.epoch > 2 << 40));
    // Who asks for a life that has come already need not wait, and nobody is told of one that has not.
    assert_eq!(handle.life_after(1).now_or_never(), Some(Some(2)));
    assert_eq!(handle.life_after(2).now_or_never(), None);
}
