//! One session that watches: what a relay tells in it of the namespaces and tracks below a prefix.

use super::connect::{ClientError, Ended, Node, Options, Target};
use super::journey::{Departure, Fate};
use super::watcher::Change;
use crate::session::{Listed, Request, Say, SessionNews, Shutdown};
use crate::shard::Env;
use crate::supervise::mailbox::{self, AskError};
use crate::transport::ConnHandle;
use actix::{Actor, Addr, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::{MessageParams, NamespaceRequest, RequestError, RequestId};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{Command, CommandError};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long the relay may take to answer a request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How long the end of the session may take to reach the relay.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// Request ids that the relay has at least: each namespace that it tells of holds one as long as it is there.
pub(super) const MIN_WINDOW: u64 = 1 << 24;

/// Hears of a session's news.
///
/// Parent: the command that started it. Arbiter: the client's. Restart: never. In: [`SessionNews`]. Out: nothing; its
/// [`Sight`] reads. Lost on death: that one is told that the session ended.
#[derive(Debug)]
pub(super) struct WatcherActor {
    news: mpsc::UnboundedSender<SessionNews>,
    over: watch::Sender<Option<Ended>>,
}

impl Actor for WatcherActor {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for WatcherActor {
    type Result = ();
    fn handle(&mut self, msg: SessionNews, _: &mut Self::Context) {
        if let SessionNews::Closed { why, code, ours, .. } = &msg {
            self.over
                .send_replace(Some(Ended::new(why.clone(), *code, *ours)));
        }
        // What waits is bounded by the request ids that the relay is given, and a watcher that is gone needs no news.
        drop(self.news.send(msg));
    }
}

/// A session that watches one prefix.
#[derive(Debug)]
pub(super) struct Sight {
    node: Node,
    news: mpsc::UnboundedReceiver<SessionNews>,
    prefix: Option<TrackNamespace>,
    /// Which namespace a request of the relay announced, and by which one it is announced now.
    requests: HashMap<RequestId, TrackNamespace>,
    pub(super) there: BTreeMap<TrackNamespace, RequestId>,
    pub(super) tracks: BTreeSet<FullTrackName>,
    /// Changes that came while something else was waited for.
    pub(super) ready: VecDeque<Change>,
    answers: HashMap<RequestId, Result<(), RequestError>>,
    /// Announcements, withdrawals and offers so far.
    heard: u64,
    rounds: u64,
    /// Where the relay wants us to go.
    leaving: Option<Bytes>,
    over: watch::Receiver<Option<Ended>>,
    _actor: Addr<WatcherActor>,
}

impl Drop for Sight {
    /// An attempt that another one was faster than leaves no session behind.
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Sight {
    /// Connects and completes SETUP.
    ///
    /// # Errors
    /// [`ClientError`] says what stood in the way.
    pub(super) async fn connect(env: Env, options: &Options, target: &Target) -> Result<Self, ClientError> {
        let deadline = options.session.core.setup_timeout;
        let (sender, news) = mpsc::unbounded_channel();
        let (told, over) = watch::channel(None);
        let actor = WatcherActor {
            news: sender,
            over: told,
        }
        .start();
        let node = Node::join(env, options, target, actor.clone().recipient()).await?;
        let mut sight = Self {
            node,
            news,
            prefix: None,
            requests: HashMap::new(),
            there: BTreeMap::new(),
            tracks: BTreeSet::new(),
            ready: VecDeque::new(),
            answers: HashMap::new(),
            heard: 0,
            rounds: 0,
            leaving: None,
            over,
            _actor: actor,
        };
        let established = async {
            while !matches!(sight.hear().await?, Some(SessionNews::Established(_))) {}
            Ok(())
        };
        tokio::time::timeout(deadline, established)
            .await
            .unwrap_or(Err(ClientError::Timeout))?;
        Ok(sight)
    }

    /// Watches the prefix, which is done once in a session.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the relay refuses, or why it could not be asked.
    pub(super) async fn watch(&mut self, prefix: TrackNamespace) -> Result<(), ClientError> {
        let id = self.subscribe(prefix.clone()).await?;
        self.prefix = Some(prefix);
        self.answered(id).await
    }

    /// Waits until the relay has told everything that was there when this was asked.
    ///
    /// Draft 14 has no message that says so. But a relay forwards what exists *at once* (MOQT-14 §9.28), on the one
    /// control stream that its answers to later requests go over too: so a request that is made when the prefix was
    /// accepted is answered behind them. Once such an answer brings nothing new with it, there was nothing left. The
    /// request is a watch of a prefix that nobody uses, because a relay that serves the first serves this one.
    ///
    /// # Errors
    /// The end of the session, silence of the relay, or [`ClientError::AskedAway`].
    pub(super) async fn settled(&mut self) -> Result<(), ClientError> {
        loop {
            let before = self.heard;
            self.rounds += 1;
            let own = format!("laps-ns-{:x}-{}", std::process::id(), self.rounds);
            let Ok(own) = TrackNamespace::new([Bytes::from(own)]) else {
                return Ok(());
            };
            let id = self.subscribe(own).await?;
            match self.answered(id).await {
                Ok(()) => drop(mailbox::signal(
                    &self.node.session,
                    Say(Command::UnsubscribeNamespace(id)),
                )),
                Err(ClientError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
            if self.heard == before {
                return Ok(());
            }
        }
    }

    /// Ends the session in an orderly way and waits until the relay was told.
    pub(super) async fn close(&mut self) {
        self.shut_down();
        let closed = async { while self.hear().await.is_ok() {} };
        drop(tokio::time::timeout(CLOSE_DEADLINE, closed).await);
        let endpoint = self.node.endpoint.clone();
        drop(tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await);
    }

    fn shut_down(&self) {
        let bye = Shutdown {
            code: CloseCode::NoError,
            reason: "done",
        };
        mailbox::signal(&self.node.session, bye);
    }

    pub(super) const fn conn(&self) -> &ConnHandle {
        &self.node.conn
    }

    /// What becomes of the session, for who waits for its end beside what it says.
    pub(super) fn lot(&self) -> Lot {
        Lot(self.over.clone())
    }

    async fn subscribe(&mut self, namespace: TrackNamespace) -> Result<RequestId, ClientError> {
        let request = NamespaceRequest {
            namespace,
            params: MessageParams::default(),
        };
        let request = Request(Command::SubscribeNamespace(request));
        match mailbox::ask(&self.node.session, request, ANSWER_DEADLINE).await {
            Ok(Ok(id)) => Ok(id),
            Ok(Err(CommandError::GoingAway)) => loop {
                self.check()?;
                self.hear().await?;
            },
            Ok(Err(error)) => Err(error.into()),
            Err(AskError::Deadline) => Err(ClientError::Timeout),
            Err(AskError::MailboxClosed) => {
                // The session's own words say why.
                while self.hear().await?.is_some() {}
                Err(ClientError::Closed("the session ended".to_owned()))
            }
        }
    }

    /// # Errors
    /// [`ClientError::AskedAway`] when the relay said GOAWAY.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        let asked = |uri: &Bytes| Err(ClientError::AskedAway(uri.clone()));
        self.leaving.as_ref().map_or(Ok(()), asked)
    }

    async fn answered(&mut self, id: RequestId) -> Result<(), ClientError> {
        let answer = async {
            loop {
                if let Some(answer) = self.answers.remove(&id) {
                    return answer.map_err(ClientError::Rejected);
                }
                self.hear().await?;
            }
        };
        tokio::time::timeout(ANSWER_DEADLINE, answer)
            .await
            .unwrap_or(Err(ClientError::Timeout))
    }

    /// Takes in the next piece of news.
    pub(super) async fn hear(&mut self) -> Result<Option<SessionNews>, ClientError> {
        let Some(news) = self.news.recv().await else {
            return Err(ClientError::Closed("the session failed".to_owned()));
        };
        match &news {
            SessionNews::Closed { why, code, ours, .. } => {
                return Err(Ended::new(why.clone(), *code, *ours).into());
            }
            SessionNews::NamespaceOk(id) => drop(self.answers.insert(*id, Ok(()))),
            SessionNews::Rejected(id, _, error) => drop(self.answers.insert(*id, Err(error.clone()))),
            SessionNews::Listed(listed) => self.listed(listed),
            SessionNews::Established(_) | SessionNews::PublishOk(..) | SessionNews::Subscribed(_) => {}
            SessionNews::Goaway(uri) => self.leaving = Some(uri.clone()),
        }
        Ok(Some(news))
    }

    fn listed(&mut self, listed: &Listed) {
        self.heard += 1;
        match listed {
            Listed::Announced(id, namespace) => self.announced(*id, namespace),
            Listed::Withdrawn(id) => self.withdrawn(*id),
            // Offered again it has begun anew, which is no change to somebody who lists.
            Listed::Offered(track) => {
                if self.is_below(track.namespace()) && self.tracks.insert(track.clone()) {
                    self.ready.push_back(Change::Track(track.clone()));
                }
            }
        }
    }

    fn is_below(&self, namespace: &TrackNamespace) -> bool {
        self.prefix
            .as_ref()
            .is_some_and(|prefix| prefix.is_prefix_of(namespace))
    }

    fn announced(&mut self, id: RequestId, namespace: &TrackNamespace) {
        // MOQT-14 §6.2: a relay MAY announce what nobody asked for.
        if !self.is_below(namespace) {
            return;
        }
        self.requests.insert(id, namespace.clone());
        // [D14-NS-14]: announced again it is the same namespace.
        if self.there.insert(namespace.clone(), id).is_none() {
            self.ready.push_back(Change::Namespace(namespace.clone()));
        }
    }

    fn withdrawn(&mut self, id: RequestId) {
        let Some(namespace) = self.requests.remove(&id) else {
            return;
        };
        if self.there.get(&namespace) == Some(&id) {
            self.there.remove(&namespace);
            self.ready.push_back(Change::NamespaceGone(namespace));
        }
    }
}

/// Whether a session that watches is over. One that is asked to leave stays: what it was told may not be so elsewhere.
#[derive(Debug)]
pub(super) struct Lot(watch::Receiver<Option<Ended>>);

impl Lot {
    /// Why the session is over, once it is.
    pub(super) async fn ended(&self) -> Ended {
        let mut over = self.0.clone();
        let ended = over.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|ended| ended.clone())
            .unwrap_or_else(Ended::unsaid)
    }
}

impl Fate for Lot {
    async fn left(&self) -> Departure {
        Departure::Over(self.ended().await)
    }

    async fn over(&self) {
        self.ended().await;
    }
}
