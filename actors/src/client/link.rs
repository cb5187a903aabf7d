//! One session of a subscriber, with at most one subscription.

use super::connect::{ClientError, Ended, Node, Options, Target};
use super::item::{Item, ReceivedObject, Wanted};
use super::journey::{Departure, Fate};
use super::reading::Reading;
use super::silence;
use crate::session::{SessionActor, SessionNews, Shutdown};
use crate::shard::Env;
use crate::supervise::mailbox::{self, AskError, Credit, Wake};
use crate::track::{
    self, Attach, Attached, Detach, Gather, ReaderId, Source, SourceId, TrackActor, TrackAdvanced, TrackGone,
    TrackMeta, UpstreamTerms, Urgency, WantNewGroup, Wants,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestError;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long the end of the session may take to reach the relay.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// How long the last packets of a session may take.
const IDLE_DEADLINE: Duration = Duration::from_secs(1);

/// How far a session has come.
#[derive(Clone, Debug, Default)]
struct State {
    established: bool,
    goaway: Option<Bytes>,
    closed: Option<Ended>,
}

/// What a session's actor tells those who read.
#[derive(Debug, Default)]
struct Shared {
    news: Notify,
    state: watch::Sender<State>,
    gone: RefCell<Option<TrackGone>>,
}

/// Hears of news of the track and the session.
///
/// Parent: the command that started it. Arbiter: the client's. Restart: never. In: `TrackAdvanced`, `TrackGone`,
/// [`SessionNews`]. Out: nothing; its [`Subscriber`](super::Subscriber) reads the log. Lost on death: the session, which
/// its subscriber tries again.
#[derive(Debug)]
pub struct SubscriberActor {
    shared: Rc<Shared>,
    credit: Credit,
}

impl Actor for SubscriberActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        // Who hears nothing any more has no session.
        self.shared.state.send_modify(|state| {
            state.closed.get_or_insert_with(Ended::unsaid);
        });
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
        self.shared.state.send_modify(|state| match msg {
            SessionNews::Established(_) => state.established = true,
            SessionNews::Goaway(uri) => state.goaway = Some(uri),
            SessionNews::Closed { why, code, ours, .. } => state.closed = Some(Ended::new(why, code, ours)),
            SessionNews::NamespaceOk(_)
            | SessionNews::PublishOk(..)
            | SessionNews::Rejected(..)
            | SessionNews::Subscribed(_)
            | SessionNews::Listed(_) => {}
        });
        self.shared.news.notify_one();
    }
}

/// What a subscription has for its reader.
#[derive(Debug)]
pub(super) enum Polled {
    /// Something that happened on the track.
    Item(Item),
    /// Nothing until [`Link::news`].
    Pending,
    /// The relay ended the subscription.
    Gone(TrackGone),
    /// The session is over.
    Over(ClientError),
}

/// A session of a subscriber. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Link {
    node: Node,
    target: Target,
    /// Several share a session only while one subscription takes over from another.
    last: Rc<()>,
    actor: Addr<SubscriberActor>,
    shared: Rc<Shared>,
    credit: Credit,
    reading: Option<Reading>,
    /// Asked for, and not answered.
    asking: Option<(Addr<TrackActor>, ReaderId)>,
}

/// Sees how a session fares.
#[derive(Clone, Debug)]
pub(super) struct Watch(watch::Receiver<State>);

impl Fate for Watch {
    async fn left(&self) -> Departure {
        let mut state = self.0.clone();
        let told = state.wait_for(|state| state.goaway.is_some() || state.closed.is_some());
        let Ok(state) = told.await else {
            return Departure::Over(Ended::unsaid());
        };
        match (&state.goaway, &state.closed) {
            (Some(uri), _) => Departure::Asked(uri.clone()),
            (None, closed) => Departure::Over(closed.clone().unwrap_or_else(Ended::unsaid)),
        }
    }

    async fn over(&self) {
        let mut state = self.0.clone();
        drop(state.wait_for(|state| state.closed.is_some()).await);
    }
}

impl Link {
    /// Connects and completes SETUP.
    pub(super) async fn connect(env: &Env, options: &Options, target: &Target) -> Result<Self, ClientError> {
        let shared = Rc::new(Shared::default());
        let context = Context::<SubscriberActor>::new();
        let (_, credit) = Wake::<TrackAdvanced>::new(context.address().recipient());
        let actor = context.run(SubscriberActor {
            shared: Rc::clone(&shared),
            credit: credit.clone(),
        });
        let deadline = options.session.core.setup_timeout;
        let node = Node::join(env.clone(), options, target, actor.clone().recipient()).await?;
        let link = Self {
            node,
            target: target.clone(),
            last: Rc::default(),
            actor,
            shared,
            credit,
            reading: None,
            asking: None,
        };
        let mut state = link.shared.state.subscribe();
        let established = state.wait_for(|state| state.established || state.closed.is_some());
        match tokio::time::timeout(deadline, established).await {
            Ok(_) => link.check()?,
            Err(_) => return Err(ClientError::Timeout),
        }
        Ok(link)
    }

    /// The same session, for a subscription that takes over from this one.
    pub(super) fn again(&self) -> Self {
        Self {
            node: self.node.clone(),
            target: self.target.clone(),
            last: Rc::clone(&self.last),
            actor: self.actor.clone(),
            shared: Rc::clone(&self.shared),
            credit: self.credit.clone(),
            reading: None,
            asking: None,
        }
    }

    /// [`Link::subscribe`], given up when the relay falls silent.
    pub(super) async fn subscribe_awake(
        &mut self,
        wanted: Wanted,
    ) -> Result<(Option<Location>, TrackMeta), ClientError> {
        let conn = self.node.conn.clone();
        tokio::select! {
            answer = self.subscribe(wanted) => answer,
            () = silence::suspected(&conn) => Err(ClientError::Timeout),
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        match &self.shared.state.borrow().closed {
            Some(ended) => Err(ended.clone().into()),
            None => Ok(()),
        }
    }

    /// The session, while it lasts.
    pub(super) fn session(&self) -> Result<&Addr<SessionActor>, ClientError> {
        self.check().map(|()| &self.node.session)
    }

    /// The track that is read.
    pub(super) fn source(&self) -> Option<&Addr<TrackActor>> {
        self.reading.as_ref().map(|reading| &reading.track)
    }

    /// Subscribes; the answer is the largest place that existed before.
    pub(super) async fn subscribe(
        &mut self,
        wanted: Wanted,
    ) -> Result<(Option<Location>, TrackMeta), ClientError> {
        self.unsubscribe();
        self.shared.gone.take();
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
                    upstream: self.node.session.clone().into(),
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
            mailbox::signal(&track, WantNewGroup::default());
        }
        let attach = Attach {
            reader,
            wake: Wake::sharing(self.actor.clone().recipient(), &self.credit),
            gone: self.actor.clone().recipient(),
            wants: Wants::Objects(Urgency::default()),
            own: true,
        };
        let deadline = env.track.answer_deadline();
        self.asking = Some((track.clone(), reader));
        match mailbox::ask(&track, attach, deadline).await {
            Ok(Ok(Attached {
                log,
                edge,
                largest,
                meta,
            })) => {
                self.asking = None;
                self.reading = Some(Reading::new(track, reader, log, edge.cursor));
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

    /// What there is now; the end only when all before it is read.
    pub(super) fn poll(&mut self) -> Polled {
        let Some(reading) = &mut self.reading else {
            return Polled::Over(ClientError::Closed("nothing is subscribed".to_owned()));
        };
        if let Some(item) = reading.next() {
            return Polled::Item(item);
        }
        if let Some(gone) = self.shared.gone.borrow().clone() {
            return Polled::Gone(gone);
        }
        match self.check() {
            Ok(()) => Polled::Pending,
            Err(error) => Polled::Over(error),
        }
    }

    /// The first object that waits to be read.
    pub(super) fn first_waiting(&mut self) -> Option<&ReceivedObject> {
        self.reading.as_mut()?.first_waiting()
    }

    /// Resolves when there may be something to read.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(self.shared.state.subscribe())
    }

    /// Where the relay wants us to go, if it does; empty for where it is.
    pub(super) fn asked_away_to(&self) -> Option<Bytes> {
        self.shared.state.borrow().goaway.clone()
    }

    /// The session has failed, in a way after which another one may be had.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.shared.state.borrow();
        state.closed.as_ref().is_some_and(Ended::may_come_back)
    }

    /// Whether another session is to take its place: because the relay wants it, or because this one failed and such
    /// a one `comes_back`.
    pub(super) fn is_left(&self, comes_back: bool) -> bool {
        let asked = self.shared.state.borrow().goaway.is_some();
        asked || comes_back && self.has_failed()
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    pub(super) const fn conn(&self) -> &crate::transport::ConnHandle {
        &self.node.conn
    }

    fn let_go(&mut self) -> Option<(Addr<TrackActor>, ReaderId)> {
        let reading = self.reading.take();
        self.asking
            .take()
            .or_else(|| reading.map(|reading| (reading.track, reading.reader)))
    }

    /// Ends the subscription.
    pub(super) fn unsubscribe(&mut self) {
        if let Some((track, reader)) = self.let_go() {
            mailbox::signal(&track, Detach { reader });
        }
    }

    /// Ends the subscription, then the session in an orderly way, and waits until the relay was told.
    pub(super) async fn leave(mut self) {
        if let Some((track, reader)) = self.let_go() {
            // MOQT-14 §8.3.1 [D14-GOAWAY-5]: answered when the track has told the session to unsubscribe, so that
            // UNSUBSCRIBE goes ahead of the end.
            mailbox::ask(&track, Detach { reader }, CLOSE_DEADLINE).await.ok();
        }
        if !self.shut_down() {
            return;
        }
        drop(tokio::time::timeout(CLOSE_DEADLINE, self.watch().over()).await);
        let endpoint = self.node.endpoint.clone();
        drop(tokio::time::timeout(IDLE_DEADLINE, endpoint.wait_idle()).await);
    }

    /// False when the session goes on for another subscription.
    fn shut_down(&self) -> bool {
        if Rc::strong_count(&self.last) > 1 {
            return false;
        }
        // MOQT-14 §3.5 [D14-GOAWAY-3]
        let code = CloseCode::NoError;
        mailbox::signal(&self.node.session, Shutdown { code, reason: "done" });
        true
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.unsubscribe();
        self.shut_down();
    }
}
