//! Subscribing: one track of a relay, read object by object.

use super::connect::{ClientError, Node, Options, Target};
use crate::session::{SessionNews, Shutdown};
use crate::supervise::mailbox::{self, AskError, Credit, Wake};
use crate::track::handle::{self, LogId};
use crate::track::{
    self, Attach, Attached, Detach, Gather, ReaderId, Source, SourceId, TrackActor, TrackAdvanced, TrackGone,
    TrackMeta, UpstreamTerms, WantNewGroup,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::location::{GroupId, Location, SubgroupId};
use laps_protocol::moqt::message::{RequestError, SubscribeFilter};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::relay::track_log::{Cursor, Next, Position, Read, StreamEnd, SubgroupSeq, TrackLog};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long the end of the session may take to reach the relay.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// What is wanted of a track.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The track.
    pub track: FullTrackName,
    /// Which objects.
    pub filter: SubscribeFilter,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Ask the publisher to begin a new group soon.
    pub new_group: bool,
}

/// One whole object.
#[derive(Clone, Debug)]
pub struct ReceivedObject {
    /// Its place.
    pub location: Location,
    /// Its subgroup; none for a datagram.
    pub subgroup: Option<SubgroupId>,
    /// Publisher priority.
    pub priority: u8,
    /// Its status.
    pub status: ObjectStatus,
    /// The extension block as received.
    pub extensions: Bytes,
    /// The payload in the pieces in which it came.
    pub payload: Vec<Bytes>,
    /// When its last byte was read.
    pub at: Instant,
}

impl ReceivedObject {
    /// Bytes of payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.iter().map(Bytes::len).sum()
    }

    /// No payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.iter().all(Bytes::is_empty)
    }
}

/// What a subscriber reads next.
#[derive(Clone, Debug)]
pub enum Item {
    /// A subgroup's stream began.
    Opened {
        /// Its group.
        group: GroupId,
        /// Its number.
        subgroup: SubgroupId,
    },
    /// An object.
    Object(ReceivedObject),
    /// A subgroup's stream ended.
    Closed {
        /// Its group.
        group: GroupId,
        /// Its number.
        subgroup: SubgroupId,
        /// How it ended; an object that was not whole is lost.
        end: StreamEnd,
    },
    /// Objects that were not read in time.
    Lost,
    /// The track is over.
    Done(TrackGone),
}

#[derive(Debug, Default)]
struct Shared {
    news: Notify,
    gone: RefCell<Option<TrackGone>>,
    closed: RefCell<Option<String>>,
    established: RefCell<bool>,
    rejected: RefCell<Option<RequestError>>,
}

/// Hears of news of the track and the session.
///
/// Parent: the command that started it. Arbiter: the client's. Restart: never. In: `TrackAdvanced`, `TrackGone`,
/// [`SessionNews`]. Out: nothing; its [`Subscriber`] reads the log. Lost on death: the subscriber hears no more.
#[derive(Debug)]
pub struct SubscriberActor {
    shared: Rc<Shared>,
    credit: Credit,
}

impl Actor for SubscriberActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.shared.news.notify_one();
    }
}

impl Handler<TrackAdvanced> for SubscriberActor {
    type Result = ();
    fn handle(&mut self, _: TrackAdvanced, _: &mut Self::Context) {
        self.credit.consumed();
        self.shared.news.notify_one();
    }
}

impl Handler<TrackGone> for SubscriberActor {
    type Result = ();
    fn handle(&mut self, msg: TrackGone, _: &mut Self::Context) {
        *self.shared.gone.borrow_mut() = Some(msg);
        self.shared.news.notify_one();
    }
}

impl Handler<SessionNews> for SubscriberActor {
    type Result = ();
    fn handle(&mut self, msg: SessionNews, _: &mut Self::Context) {
        match msg {
            SessionNews::Established(_) => *self.shared.established.borrow_mut() = true,
            SessionNews::Closed { why, .. } => *self.shared.closed.borrow_mut() = Some(why),
            SessionNews::Rejected(_, _, error) => *self.shared.rejected.borrow_mut() = Some(error),
            SessionNews::NamespaceOk(_)
            | SessionNews::PublishOk(..)
            | SessionNews::Subscribed(_)
            | SessionNews::Goaway(_) => {}
        }
        self.shared.news.notify_one();
    }
}

/// A subgroup that is being read.
#[derive(Debug)]
struct Open {
    group: GroupId,
    subgroup: SubgroupId,
    priority: u8,
    position: Position,
    object: Option<(ObjectHeader, Vec<Bytes>, u64)>,
}

/// A session that reads one track at a time.
#[derive(Debug)]
pub struct Subscriber {
    node: Node,
    actor: Addr<SubscriberActor>,
    shared: Rc<Shared>,
    credit: Credit,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    track: Addr<TrackActor>,
    reader: ReaderId,
    log: LogId,
    cursor: Cursor,
    open: BTreeMap<SubgroupSeq, Open>,
    ready: VecDeque<Item>,
}

impl Subscriber {
    /// Connects and completes SETUP.
    ///
    /// # Errors
    /// [`ClientError`] says what stood in the way.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ClientError> {
        let shared = Rc::new(Shared::default());
        let context = Context::<SubscriberActor>::new();
        let (_, credit) = Wake::<TrackAdvanced>::new(context.address().recipient());
        let actor = context.run(SubscriberActor {
            shared: Rc::clone(&shared),
            credit: credit.clone(),
        });
        let deadline = options.session.core.setup_timeout;
        let node = Node::start(target, options, actor.clone().recipient()).await?;
        let subscriber = Self {
            node,
            actor,
            shared,
            credit,
            reading: None,
        };
        let established = async {
            while !*subscriber.shared.established.borrow() {
                subscriber.check()?;
                subscriber.shared.news.notified().await;
            }
            Ok(())
        };
        tokio::time::timeout(deadline, established)
            .await
            .unwrap_or(Err(ClientError::Timeout))?;
        Ok(subscriber)
    }

    fn check(&self) -> Result<(), ClientError> {
        match &*self.shared.closed.borrow() {
            Some(why) => Err(ClientError::Closed(why.clone())),
            None => Ok(()),
        }
    }

    /// Subscribes; the answer is the largest place that existed before.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the relay refuses, or why it could not be asked.
    pub async fn subscribe(&mut self, wanted: Wanted) -> Result<(Option<Location>, TrackMeta), ClientError> {
        self.unsubscribe();
        self.shared.gone.take();
        self.shared.rejected.take();
        let env = &self.node.env;
        let track = TrackActor::new(track::Birth {
            name: wanted.track,
            epoch: 0,
            config: Arc::clone(&env.track),
            registry: env.registry.clone(),
            log: env.log.clone(),
            faults: env.faults.clone(),
            guard: None,
            terms: UpstreamTerms {
                filter: wanted.filter,
                priority: wanted.priority,
                ..UpstreamTerms::default()
            },
            source: (
                SourceId::next(),
                Source::Announced {
                    session: self.node.session.clone(),
                },
            ),
        })
        .start();
        let reader = ReaderId::next();
        mailbox::signal(
            &track,
            Gather {
                readers: vec![reader],
            },
        );
        if wanted.new_group {
            mailbox::signal(&track, WantNewGroup);
        }
        let attach = Attach {
            reader,
            wake: Wake::sharing(self.actor.clone().recipient(), &self.credit),
            gone: self.actor.clone().recipient(),
            forward: true,
        };
        let deadline = env.track.answer_deadline();
        match mailbox::ask(&track, attach, deadline).await {
            Ok(Ok(Attached {
                log,
                edge,
                largest,
                meta,
            })) => {
                let (open, ready) = (BTreeMap::new(), VecDeque::new());
                self.reading = Some(Reading {
                    track,
                    reader,
                    log,
                    cursor: edge.cursor,
                    open,
                    ready,
                });
                Ok((largest, meta))
            }
            Ok(Err(why)) => {
                self.check()?;
                Err(ClientError::Rejected(RequestError {
                    reason: why.reason,
                    phrase: why.phrase,
                }))
            }
            Err(AskError::Deadline) => Err(ClientError::Timeout),
            Err(AskError::MailboxClosed) => {
                self.check()?;
                Err(ClientError::Closed("the track failed".to_owned()))
            }
        }
    }

    /// The next thing that happened on the track.
    ///
    /// # Errors
    /// The end of the session.
    pub async fn next(&mut self) -> Result<Item, ClientError> {
        loop {
            let Some(reading) = &mut self.reading else {
                return Err(ClientError::Closed("nothing is subscribed".to_owned()));
            };
            if reading.ready.is_empty() {
                reading.read();
            }
            if let Some(item) = reading.ready.pop_front() {
                return Ok(item);
            }
            if let Some(gone) = self.shared.gone.borrow().clone() {
                return Ok(Item::Done(gone));
            }
            self.check()?;
            self.shared.news.notified().await;
        }
    }

    /// Ends the subscription.
    pub fn unsubscribe(&mut self) {
        if let Some(reading) = self.reading.take() {
            mailbox::signal(
                &reading.track,
                Detach {
                    reader: reading.reader,
                },
            );
        }
    }

    /// The connection, for its figures.
    #[must_use]
    pub const fn conn(&self) -> &crate::transport::ConnHandle {
        &self.node.conn
    }

    /// Ends the session in an orderly way and waits until the relay was told.
    pub async fn close(mut self) {
        self.unsubscribe();
        mailbox::signal(
            &self.node.session,
            Shutdown {
                code: CloseCode::NoError,
                reason: "done",
            },
        );
        let closed = async {
            while self.shared.closed.borrow().is_none() {
                self.shared.news.notified().await;
            }
        };
        drop(tokio::time::timeout(CLOSE_DEADLINE, closed).await);
        let mut endpoint = self.node.endpoint.clone();
        drop(tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await);
    }
}

impl Reading {
    /// Takes everything that the log has.
    fn read(&mut self) {
        let log = self.log;
        if handle::read(log, |log| self.read_from(log)).is_none() && !self.open.is_empty() {
            self.open.clear();
            self.ready.push_back(Item::Lost);
        }
    }

    fn read_from(&mut self, log: &TrackLog) {
        let now = Instant::now();
        loop {
            match log.next_subgroup(&mut self.cursor) {
                Next::Ready(seq) => {
                    if let Some(info) = log.subgroup(seq) {
                        let (group, subgroup) = (info.group, info.subgroup);
                        self.ready.push_back(Item::Opened { group, subgroup });
                        let open = Open {
                            group,
                            subgroup,
                            priority: info.priority,
                            position: Position::default(),
                            object: None,
                        };
                        self.open.insert(seq, open);
                    }
                }
                Next::Lagged(_) => self.ready.push_back(Item::Lost),
                Next::Pending => break,
            }
        }
        let ready = &mut self.ready;
        self.open.retain(|seq, open| open.read(log, *seq, now, ready));
        loop {
            match log.next_datagram(&mut self.cursor) {
                Next::Ready(datagram) => self.ready.push_back(Item::Object(ReceivedObject {
                    location: datagram.location,
                    subgroup: None,
                    priority: datagram.priority,
                    status: datagram.status,
                    extensions: datagram.extensions.clone(),
                    payload: vec![datagram.payload.clone()],
                    at: now,
                })),
                Next::Lagged(_) => self.ready.push_back(Item::Lost),
                Next::Pending => break,
            }
        }
    }
}

impl Open {
    /// Reads what there is; false when the subgroup is over.
    fn read(&mut self, log: &TrackLog, seq: SubgroupSeq, now: Instant, ready: &mut VecDeque<Item>) -> bool {
        loop {
            match log.read(seq, &mut self.position) {
                Read::Object(object) => self.object = Some((object.header.clone(), Vec::new(), 0)),
                Read::Payload(bytes) => {
                    if let Some((_, payload, have)) = &mut self.object {
                        *have += bytes.len() as u64;
                        payload.push(bytes);
                    }
                }
                Read::End(end) => {
                    ready.push_back(Item::Closed {
                        group: self.group,
                        subgroup: self.subgroup,
                        end,
                    });
                    return false;
                }
                Read::Pending => return true,
                Read::Evicted => {
                    ready.push_back(Item::Lost);
                    return false;
                }
            }
            let whole = self
                .object
                .as_ref()
                .is_some_and(|(header, _, have)| *have >= header.payload_len);
            if whole && let Some((header, payload, _)) = self.object.take() {
                ready.push_back(Item::Object(ReceivedObject {
                    location: Location::new(self.group, header.id),
                    subgroup: Some(self.subgroup),
                    priority: self.priority,
                    status: header.status,
                    extensions: header.extensions,
                    payload,
                    at: now,
                }));
            }
        }
    }
}
