//! One session of a publisher, and what was offered in it.

use super::connect::{ClientError, Ended, Node, Options, Target};
use super::journey::{Departure, Fate};
use super::publisher::{ANSWER_DEADLINE, Flow};
use super::silence;
use super::tether::Tether;
use crate::session::{PublishTrack, Request, Say, SessionNews, Shutdown, Unread};
use crate::shard::Env;
use crate::supervise::mailbox;
use crate::track::TrackRef;
use crate::track::handle::{self, LogId};
use actix::{Actor, Addr, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::{MessageParams, NamespaceRequest, RequestError, RequestId};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::track_log::TrackLog;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// How long the last packets of a session may take.
const IDLE_DEADLINE: Duration = Duration::from_secs(1);

/// What a publisher knows of one session.
#[derive(Clone, Debug, Default)]
struct Progress {
    established: bool,
    accepted: HashMap<RequestId, Result<(), RequestError>>,
    goaway: Option<Bytes>,
    closed: Option<Ended>,
}

/// Hears what becomes of a publisher's session.
///
/// Parent: the command that started it. Arbiter: the client's. Restart: never. In: [`SessionNews`]. Out: nothing; its
/// [`Publisher`](super::Publisher) watches. Lost on death: the session, which its publisher tries again.
#[derive(Debug)]
pub struct PublisherActor {
    progress: watch::Sender<Progress>,
    /// Learns of the loss before the tracks lose their readers, whom the session's actor takes along.
    tether: Tether,
    number: u64,
}

impl Actor for PublisherActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        // Who hears nothing any more has no session.
        self.tether.lost(self.number);
        self.progress.send_modify(|progress| {
            progress.closed.get_or_insert_with(Ended::unsaid);
        });
    }
}

impl Handler<SessionNews> for PublisherActor {
    type Result = ();

    fn handle(&mut self, msg: SessionNews, _: &mut Self::Context) {
        if matches!(&msg, SessionNews::Closed { .. }) {
            self.tether.lost(self.number);
        }
        self.progress.send_modify(|progress| match msg {
            SessionNews::Established(_) => progress.established = true,
            SessionNews::NamespaceOk(id) | SessionNews::PublishOk(id, _) => {
                progress.accepted.insert(id, Ok(()));
            }
            SessionNews::Rejected(id, _, error) => {
                progress.accepted.insert(id, Err(error));
            }
            SessionNews::Goaway(uri) => progress.goaway = Some(uri),
            SessionNews::Closed { why, code, ours, .. } => {
                progress.closed = Some(Ended::new(why, code, ours));
            }
            SessionNews::Subscribed(_) | SessionNews::Listed(_) => {}
        });
    }
}

/// A track that is offered, and how.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) track: TrackRef,
    pub(super) log: LogId,
    pub(super) flow: Flow,
}

/// One session that publishes. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Voice {
    /// The how manieth session of its publisher it is.
    pub(super) number: u64,
    node: Node,
    target: Target,
    progress: watch::Receiver<Progress>,
    announced: RefCell<Vec<(TrackNamespace, RequestId)>>,
    _actor: Addr<PublisherActor>,
}

impl Voice {
    /// Connects and completes SETUP.
    pub(super) async fn connect(
        env: &Env,
        options: &Options,
        target: &Target,
        (tether, number): (Tether, u64),
    ) -> Result<Self, ClientError> {
        let (sender, progress) = watch::channel(Progress::default());
        let actor = PublisherActor {
            progress: sender,
            tether,
            number,
        }
        .start();
        let node = Node::join(env.clone(), options, target, actor.clone().recipient()).await?;
        let voice = Self {
            number,
            node,
            target: target.clone(),
            progress,
            announced: RefCell::default(),
            _actor: actor,
        };
        let established = voice.until(|progress| progress.established.then_some(Ok(())));
        established.await?;
        Ok(voice)
    }

    /// Offers a track and waits until it is accepted.
    pub(super) async fn offer(&self, offer: &Offer) -> Result<(), ClientError> {
        let request = match offer.flow {
            Flow::Announce => {
                let namespace = offer.track.name.namespace();
                if self
                    .announced
                    .borrow()
                    .iter()
                    .any(|(known, _)| known == namespace)
                {
                    return Ok(());
                }
                let request = NamespaceRequest {
                    namespace: namespace.clone(),
                    params: MessageParams::default(),
                };
                let request = Request(Command::PublishNamespace(request));
                let asked = mailbox::ask(&self.node.session, request, ANSWER_DEADLINE).await;
                let request = asked.map_err(|_| self.ended())??;
                self.announced.borrow_mut().push((namespace.clone(), request));
                request
            }
            Flow::Publish => {
                let publish = PublishTrack {
                    track: offer.track.clone(),
                    largest: handle::read(offer.log, TrackLog::largest).flatten(),
                };
                let asked = mailbox::ask(&self.node.session, publish, ANSWER_DEADLINE).await;
                asked.map_err(|_| self.ended())??
            }
        };
        // [D14-LIB-6]
        let accepted = self.until(|progress| {
            let answer = progress.accepted.get(&request)?;
            Some(answer.clone().map_err(ClientError::Rejected))
        });
        let accepted = accepted.await;
        if let Err(ClientError::Rejected(_)) = accepted {
            self.announced.borrow_mut().retain(|(_, known)| *known != request);
        }
        accepted
    }

    /// [`Voice::offer`], given up when the relay falls silent.
    pub(super) async fn offer_awake(&self, offer: &Offer) -> Result<(), ClientError> {
        tokio::select! {
            offered = self.offer(offer) => offered,
            () = silence::suspected(self.conn()) => Err(ClientError::Timeout),
        }
    }

    fn ended(&self) -> ClientError {
        let closed = self.progress.borrow().closed.clone();
        closed.unwrap_or_else(Ended::unsaid).into()
    }

    async fn until<T>(
        &self,
        mut done: impl FnMut(&Progress) -> Option<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let mut progress = self.progress.clone();
        let mut result = None;
        let wait = progress.wait_for(|progress| {
            let closed = || Some(Err(progress.closed.clone()?.into()));
            result = done(progress).or_else(closed);
            result.is_some()
        });
        match tokio::time::timeout(ANSWER_DEADLINE, wait).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(Ended::unsaid().into()),
            Err(_) => return Err(ClientError::Timeout),
        }
        result.unwrap_or(Err(ClientError::Timeout))
    }

    /// Whether another session is to take its place: because the relay wants it, or because this one failed and such
    /// a one `comes_back`.
    pub(super) fn is_left(&self, comes_back: bool) -> bool {
        let progress = self.progress.borrow();
        let failed = progress.closed.as_ref().is_some_and(Ended::may_come_back);
        progress.goaway.is_some() || comes_back && failed
    }

    /// Resolves when the session is over, with why.
    pub(super) async fn closed(&self) -> Ended {
        let mut progress = self.progress.clone();
        let closed = progress.wait_for(|progress| progress.closed.is_some()).await;
        let ended = closed.ok().and_then(|progress| progress.closed.clone());
        ended.unwrap_or_else(Ended::unsaid)
    }

    /// Resolves when nobody reads in this session any more, or it is over.
    pub(super) async fn unread(&self) {
        let unread = async {
            while let Err(mailbox::AskError::Deadline) =
                mailbox::ask(&self.node.session, Unread, mailbox::LONGEST_ASK).await
            {}
        };
        tokio::select! {
            () = unread => {}
            () = self.over() => {}
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    pub(super) const fn conn(&self) -> &crate::transport::ConnHandle {
        &self.node.conn
    }

    /// Withdraws what was announced, ends the session in an orderly way and waits until the relay was told.
    pub(super) async fn leave(&self) {
        // MOQT-14 §6.2: nobody is to ask for tracks that are not served here any more.
        for (_, request) in self.announced.take() {
            mailbox::signal(&self.node.session, Say(Command::PublishNamespaceDone(request)));
        }
        self.shut_down();
        drop(tokio::time::timeout(ANSWER_DEADLINE, self.over()).await);
        let endpoint = self.node.endpoint.clone();
        drop(tokio::time::timeout(IDLE_DEADLINE, endpoint.wait_idle()).await);
    }

    fn shut_down(&self) {
        // MOQT-14 §3.5 [D14-GOAWAY-3]
        let code = CloseCode::NoError;
        mailbox::signal(&self.node.session, Shutdown { code, reason: "done" });
    }
}

impl Drop for Voice {
    /// An attempt that another one was faster than leaves no session behind.
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Fate for Voice {
    async fn left(&self) -> Departure {
        let mut progress = self.progress.clone();
        let told = progress.wait_for(|progress| progress.goaway.is_some() || progress.closed.is_some());
        let Ok(progress) = told.await else {
            return Departure::Over(Ended::unsaid());
        };
        match (&progress.goaway, &progress.closed) {
            (Some(uri), _) => Departure::Asked(uri.clone()),
            (None, closed) => Departure::Over(closed.clone().unwrap_or_else(Ended::unsaid)),
        }
    }

    async fn over(&self) {
        let mut progress = self.progress.clone();
        drop(progress.wait_for(|progress| progress.closed.is_some()).await);
    }
}
