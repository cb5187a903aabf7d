//! Fetching: past objects of a track, read one by one in the order in which they come.

use super::connect::ClientError;
use super::item::ReceivedObject;
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::reply::{Reply, ReplyTo};
use crate::session::{CancelFetch, FetchUpstream, SessionActor};
use crate::supervise::mailbox;
use actix::{Actor, Addr, Context, Handler};
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{Fetch, FetchOk, RequestError, RequestId};
use laps_protocol::moqt::object::FetchObjectHeader;
use laps_protocol::relay::track_log::{Fill, FillKey, StreamEnd};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long the session may take to make the request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// What a fetch brings next.
#[derive(Clone, Debug)]
pub enum FetchItem {
    /// The relay accepted; it may say so after objects have come.
    Accepted(FetchOk),
    /// An object.
    Object(ReceivedObject),
    /// All of it came: what was not given between start and end does not exist. MOQT-14 §9.16.3 [D14-FETCH-5]
    Done,
}

/// Why a fetch ended early.
#[derive(Debug)]
enum Failure {
    Refused(RequestError),
    Reset(ResetCode),
}

#[derive(Debug, Default)]
struct Shared {
    ready: VecDeque<FetchItem>,
    object: Option<(FetchObjectHeader, Vec<Bytes>, u64)>,
    /// Bytes of payload so far.
    bytes: u64,
    /// Who brought the last objects, and waits until they are read.
    held: Option<ReplyTo<()>>,
    accepted: bool,
    finished: bool,
    failure: Option<Failure>,
    gone: bool,
}

/// Receives what a fetch brings.
///
/// Parent: the command that started it. Arbiter: the client's. Restart: never. In: [`Fetched`], [`FetchNews`]. Out:
/// nothing; its [`Fetcher`] reads. Lost on death: the fetch.
#[derive(Debug)]
pub struct FetcherActor {
    shared: Rc<RefCell<Shared>>,
    news: Rc<Notify>,
}

impl Actor for FetcherActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        // Also while a panic unwinds, so it cannot fail.
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.gone = true;
        }
        self.news.notify_one();
    }
}

impl Handler<Fetched> for FetcherActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Fetched, _: &mut Self::Context) -> Self::Result {
        let (answer, reply) = Reply::later();
        let mut shared = self.shared.borrow_mut();
        msg.chunks.into_iter().for_each(|chunk| shared.take(chunk));
        shared.held = Some(reply);
        self.news.notify_one();
        answer
    }
}

impl Handler<FetchNews> for FetcherActor {
    type Result = ();
    fn handle(&mut self, msg: FetchNews, _: &mut Self::Context) {
        let mut shared = self.shared.borrow_mut();
        match msg.progress {
            FetchProgress::Accepted(ok) => {
                shared.accepted = true;
                shared.ready.push_back(FetchItem::Accepted(ok));
            }
            FetchProgress::Refused(error) => shared.failure = Some(Failure::Refused(error)),
            FetchProgress::Ended(StreamEnd::Fin) => shared.finished = true,
            FetchProgress::Ended(StreamEnd::Reset(code)) => shared.failure = Some(Failure::Reset(code)),
        }
        if shared.accepted && shared.finished {
            shared.ready.push_back(FetchItem::Done);
        }
        self.news.notify_one();
    }
}

impl Shared {
    fn take(&mut self, chunk: Fill) {
        match chunk {
            Fill::Object(header) => self.object = Some((header, Vec::new(), 0)),
            Fill::Payload(bytes) => {
                self.bytes += bytes.len() as u64;
                if let Some((_, payload, have)) = &mut self.object {
                    *have += bytes.len() as u64;
                    payload.push(bytes);
                }
            }
        }
        let whole = |(header, _, have): &(FetchObjectHeader, Vec<Bytes>, u64)| *have >= header.payload_len;
        if self.object.as_ref().is_some_and(whole)
            && let Some((header, payload, _)) = self.object.take()
        {
            self.ready.push_back(FetchItem::Object(ReceivedObject {
                location: header.location,
                subgroup: Some(header.subgroup),
                priority: header.priority,
                status: header.status,
                extensions: header.extensions,
                payload,
                at: Instant::now(),
            }));
        }
    }
}

/// A FETCH that was made. Dropped before its end it is cancelled.
#[derive(Debug)]
pub struct Fetcher {
    session: Addr<SessionActor>,
    request: RequestId,
    shared: Rc<RefCell<Shared>>,
    news: Rc<Notify>,
    over: bool,
    _actor: Addr<FetcherActor>,
}

impl Fetcher {
    /// Makes the request.
    pub(super) async fn start(session: &Addr<SessionActor>, fetch: Fetch) -> Result<Self, ClientError> {
        let (shared, news) = (Rc::new(RefCell::new(Shared::default())), Rc::new(Notify::new()));
        let actor = FetcherActor {
            shared: Rc::clone(&shared),
            news: Rc::clone(&news),
        }
        .start();
        let sink = FetchSink {
            key: FillKey(0),
            objects: actor.clone().recipient(),
            news: actor.clone().recipient(),
        };
        let asked = mailbox::ask(session, FetchUpstream { sink, fetch }, REQUEST_DEADLINE).await;
        let request = asked.map_err(|_| ClientError::Closed("the session ended".to_owned()))??;
        Ok(Self {
            session: session.clone(),
            request,
            shared,
            news,
            over: false,
            _actor: actor,
        })
    }

    /// What comes next. After [`FetchItem::Done`] nothing does.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the relay refuses, perhaps after some objects, and [`ClientError::Closed`] when
    /// something is missing: what came before stays true. MOQT-14 §5.1 [D14-FETCH-18]
    pub async fn next(&mut self) -> Result<FetchItem, ClientError> {
        loop {
            let item = self.shared.borrow_mut().ready.pop_front();
            if let Some(item) = item {
                self.over |= matches!(item, FetchItem::Done);
                return Ok(item);
            }
            // All that came is read, so more may come.
            let held = self.shared.borrow_mut().held.take();
            if let Some(reply) = held {
                reply.send(());
            }
            let failure = self.shared.borrow_mut().failure.take();
            if let Some(failure) = failure {
                self.over = true;
                return Err(match failure {
                    Failure::Refused(error) => ClientError::Rejected(error),
                    Failure::Reset(code) => ClientError::Closed(format!("the fetch was reset: {code:?}")),
                });
            }
            if self.over || self.shared.borrow().gone {
                return Err(ClientError::Closed("the fetch is over".to_owned()));
            }
            self.news.notified().await;
        }
    }

    /// Bytes of payload that came so far, of incomplete objects too: whether something comes while
    /// [`next`](Self::next) has nothing yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.borrow().bytes
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        if !self.over {
            // MOQT-14 §5.1 [D14-FETCH-16]
            let request = self.request;
            mailbox::signal(&self.session, CancelFetch { request });
        }
    }
}
