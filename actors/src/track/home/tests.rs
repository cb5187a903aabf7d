//! The home copy beside a replica that is slow.

use super::{Birth, TrackActor};
use crate::registry::RegistryActor;
use crate::reply::{Reply, ReplyTo};
use crate::session::SessionActor;
use crate::supervise::inject::Faults;
use crate::supervise::mailbox;
use crate::track::replication::MAX_PENDING_BYTES;
use crate::track::{
    AddSource, AttachReplica, Audience, AudienceNow, Config, Gather, Ingest, Joined, ReaderId, ReplicaState,
    Replicate, Source, SourceId, Superseded, TrackGone, UpstreamTerms, WantNewGroup, Wants,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::relay::track_log::Append;
use slog::{Discard, Logger, o};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const LONG: Duration = Duration::from_secs(9);

/// Keeps what it is sent and answers when it is told to.
struct SlowReplica {
    unanswered: Vec<ReplyTo<()>>,
    seen: mpsc::UnboundedSender<Replicate>,
}

impl Actor for SlowReplica {
    type Context = Context<Self>;
}

impl Handler<Replicate> for SlowReplica {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Replicate, _: &mut Self::Context) -> Self::Result {
        drop(self.seen.send(msg));
        let (reply, to) = Reply::later();
        self.unanswered.push(to);
        reply
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Answer;

impl Handler<Answer> for SlowReplica {
    type Result = ();
    fn handle(&mut self, _: Answer, _: &mut Self::Context) {
        for reply in self.unanswered.drain(..) {
            reply.send(());
        }
    }
}

/// A live track of this process, whose writer is told by `wanted` that somebody wants objects.
async fn live(wanted: watch::Sender<bool>) -> (Addr<TrackActor>, SourceId) {
    let log = Logger::root(Discard, o!());
    let registry = RegistryActor::new(log.clone(), 1, None).start();
    let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
    let source = SourceId::next();
    let home = TrackActor::new(Birth {
        name: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
        epoch: 1,
        config: Arc::new(Config::default()),
        registry: registry.into(),
        log,
        faults: Faults::default(),
        guard: None,
        terms: UpstreamTerms::default(),
        source: (
            source,
            Source::Local {
                wanted,
                new_group: watch::Sender::new(0),
            },
        ),
    })
    .start();
    mailbox::ask(&home, Gather { readers: Vec::new() }, LONG)
        .await
        .unwrap();
    (home, source)
}

/// The same with one replica.
async fn track() -> (
    Addr<TrackActor>,
    SourceId,
    Addr<SlowReplica>,
    mpsc::UnboundedReceiver<Replicate>,
) {
    let (home, source) = live(watch::Sender::new(false)).await;
    let (seen, batches) = mpsc::unbounded_channel();
    let replica = SlowReplica {
        unanswered: Vec::new(),
        seen,
    }
    .start();
    let attach = AttachReplica {
        own: true,
        wants: Wants::of(true, 128),
        id: ReaderId::next(),
        replica: replica.clone().recipient(),
    };
    mailbox::ask(&home, attach, LONG).await.unwrap().unwrap();
    (home, source, replica, batches)
}

/// One object on a stream of its own.
fn object(source: SourceId, stream: u64, len: usize) -> Ingest {
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: len as u64,
    };
    Ingest {
        source,
        batch: vec![
            Append::SubgroupOpened {
                stream,
                group: stream,
                subgroup: 0,
                priority: 128,
                has_extensions: false,
                end_of_group: false,
            },
            Append::ObjectStarted { stream, header },
            Append::Payload {
                stream,
                bytes: Bytes::from(vec![0; len]),
            },
        ],
    }
}

/// House rule 5: the home's queue for a shard is bounded by slowing the publisher down. D14-LIM-4
#[test]
fn a_slow_replica_slows_the_publisher() {
    actix::System::new().block_on(async {
        let (home, source, replica, mut batches) = track().await;
        // In flight, and so not waiting here.
        mailbox::ask(&home, object(source, 1, 1000), LONG).await.unwrap();
        assert_eq!(batches.recv().await.unwrap().batch.len(), 3);
        // Within the bound.
        mailbox::ask(&home, object(source, 2, MAX_PENDING_BYTES / 2), LONG)
            .await
            .unwrap();
        let beyond = mailbox::ask(&home, object(source, 3, MAX_PENDING_BYTES), LONG);
        futures::pin_mut!(beyond);
        assert!(futures::poll!(&mut beyond).is_pending());
        // Messages are handled in order, so the one above was handled when this is answered.
        mailbox::ask(&home, Gather { readers: Vec::new() }, LONG)
            .await
            .unwrap();
        assert!(
            futures::poll!(&mut beyond).is_pending(),
            "the publisher has to wait"
        );
        assert!(batches.try_recv().is_err(), "one batch is in flight at a time");
        mailbox::ask(&replica, Answer, LONG).await.unwrap();
        beyond.await.unwrap();
        // All that waited goes as one.
        assert_eq!(batches.recv().await.unwrap().batch.len(), 6);
    });
}

/// D14-SUB-26: a replica comes before its first reader, who may not want objects.
#[test]
fn a_replica_wants_objects_when_a_reader_does() {
    actix::System::new().block_on(async {
        let (wanted, told) = watch::channel(false);
        let (home, _) = live(wanted).await;
        let id = ReaderId::next();
        let replica = SlowReplica {
            unanswered: Vec::new(),
            seen: mpsc::unbounded_channel().0,
        };
        let attach = AttachReplica {
            own: true,
            wants: Wants::of(true, 128),
            id,
            replica: replica.start().recipient(),
        };
        mailbox::ask(&home, attach, LONG).await.unwrap().unwrap();
        assert!(!*told.borrow());
        let readers = Arc::new(AudienceNow::default());
        assert!(readers.set(Audience::of(true, Wants::of(true, 128))));
        let closed = false;
        mailbox::ask(&home, ReplicaState { id, readers, closed }, LONG)
            .await
            .unwrap();
        assert!(*told.borrow());
    });
}

/// A replica that does not answer in time is given up, and told: no reader on its shard waits for what never comes.
#[test]
fn a_replica_that_is_given_up_is_told() {
    actix::System::new().block_on(async {
        let (home, source, _replica, mut batches) = track().await;
        mailbox::ask(&home, object(source, 1, 1000), LONG).await.unwrap();
        assert_eq!(batches.recv().await.unwrap().gone, None);
        // It is not answered.
        let gone = batches.recv().await.unwrap().gone.unwrap();
        assert_eq!(
            gone,
            TrackGone::new(PublishDoneStatus::InternalError, "the track failed in the relay")
        );
    });
}

/// Fails like a bug would.
#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for TrackActor {
    type Result = ();
    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("injected");
    }
}

/// A track that fails after its end: a replica that has yet to hear of that hears of it all the same.
#[test]
fn a_replica_hears_of_the_end_though_the_track_fails_over_it() {
    actix::System::new().block_on(async {
        let (home, source, _replica, mut batches) = track().await;
        mailbox::ask(&home, object(source, 1, 1000), LONG).await.unwrap();
        // In flight, and not answered, so that the end waits behind it.
        assert_eq!(batches.recv().await.unwrap().gone, None);
        mailbox::signal(&home, Superseded);
        assert!(mailbox::ask(&home, Fail, LONG).await.is_err());
        let last = tokio::time::timeout(LONG, batches.recv()).await.unwrap().unwrap();
        assert!(last.gone.is_some());
    });
}

/// An object that begins a group.
fn first_of(source: SourceId, group: u64) -> Ingest {
    object(source, group, 10)
}

/// Decision 0011: many wishes for a new group are one request, until a new group is there.
#[test]
fn a_writer_is_asked_for_one_group_at_a_time() {
    actix::System::new().block_on(async {
        let log = Logger::root(Discard, o!());
        let registry = RegistryActor::new(log.clone(), 1, None).start();
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        let source = SourceId::next();
        let (new_group, mut asked) = watch::channel(0);
        let home = TrackActor::new(Birth {
            name: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
            epoch: 1,
            config: Arc::new(Config::default()),
            registry: registry.into(),
            log,
            faults: Faults::default(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (
                source,
                Source::Local {
                    wanted: watch::Sender::new(false),
                    new_group,
                },
            ),
        })
        .start();
        // Before the track is live it is remembered.
        for _ in 0..3 {
            mailbox::ask(&home, WantNewGroup::default(), LONG).await.unwrap();
        }
        assert_eq!(*asked.borrow_and_update(), 0);
        mailbox::ask(&home, Gather { readers: Vec::new() }, LONG)
            .await
            .unwrap();
        mailbox::ask(&home, first_of(source, 1), LONG).await.unwrap();
        assert_eq!(*asked.borrow_and_update(), 1);
        mailbox::ask(&home, WantNewGroup::default(), LONG).await.unwrap();
        mailbox::ask(&home, WantNewGroup::default(), LONG).await.unwrap();
        assert_eq!(*asked.borrow_and_update(), 2);
        mailbox::ask(&home, first_of(source, 2), LONG).await.unwrap();
        mailbox::ask(&home, WantNewGroup::default(), LONG).await.unwrap();
        assert_eq!(*asked.borrow_and_update(), 3);
    });
}

/// D14-PUB-2: a registry that begins again may offer a publisher that the track has, which stays as it is.
#[test]
fn a_publisher_that_is_offered_again_stays_as_it_is() {
    actix::System::new().block_on(async {
        let log = Logger::root(Discard, o!());
        let registry = RegistryActor::new(log.clone(), 1, None).start();
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        let source = |wanted| Source::Local {
            wanted,
            new_group: watch::Sender::new(0),
        };
        let (wanted, wants) = watch::channel(false);
        let id = SourceId::next();
        let home = TrackActor::new(Birth {
            name: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
            epoch: 1,
            config: Arc::new(Config::default()),
            registry: registry.into(),
            log,
            faults: Faults::default(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (id, source(wanted)),
        })
        .start();
        let again = AddSource {
            id,
            source: source(watch::Sender::new(false)),
        };
        assert_eq!(mailbox::ask(&home, again, LONG).await.unwrap(), Joined::Taken);
        assert!(wants.has_changed().is_ok(), "nothing took its place");
    });
}

/// D14-SUB-10: a publisher that died a moment ago does not cost a subscriber its request: it looks for the track again.
#[test]
fn a_publisher_that_is_no_longer_there_is_no_refusal() {
    actix::System::new().block_on(async {
        let log = Logger::root(Discard, o!());
        let registry = RegistryActor::new(log.clone(), 1, None).start();
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        // Its mailbox goes with the context.
        let session = Context::<SessionActor>::new().address();
        let home = TrackActor::new(Birth {
            name: FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap(),
            epoch: 1,
            config: Arc::new(Config::default()),
            registry: registry.into(),
            log,
            faults: Faults::default(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (
                SourceId::next(),
                Source::Announced {
                    upstream: session.into(),
                },
            ),
        })
        .start();
        let replica = SlowReplica {
            unanswered: Vec::new(),
            seen: mpsc::unbounded_channel().0,
        };
        let attach = AttachReplica {
            own: true,
            wants: Wants::of(true, 128),
            id: ReaderId::next(),
            replica: replica.start().recipient(),
        };
        let everybody = Gather { readers: Vec::new() };
        let (attached, gathered) = futures::join!(
            mailbox::ask(&home, attach, LONG),
            mailbox::ask(&home, everybody, LONG)
        );
        gathered.unwrap();
        let why = attached.unwrap().unwrap_err();
        assert!(why.for_now, "{why:?}");
    });
}
