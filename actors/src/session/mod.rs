//! Sessions: the actor around `protocol::moqt::session`, its streams, and the children that serve its requests.

mod authorise;
mod bindings;
mod children;
mod control;
pub mod egress;
mod events;
mod fetch_stream;
mod fetches;
mod handlers;
pub(crate) mod inbound;
pub mod incoming;
pub(crate) mod ingress;
pub(crate) mod inlet;
mod leaving;
mod limits;
pub mod messages;
mod namespaces;
mod reregister;
mod supervision;
#[cfg(test)]
mod tests;

pub(crate) use events::passed_on;
pub use incoming::Incoming;
pub(crate) use ingress::fresh_stream;
pub use leaving::{AskToLeave, Unread};
pub use messages::{
    AcceptPublish, Binding, Breach, CancelFetch, Drained, FetchStreamOver, FetchUpstream, Heard, Listed,
    NotAsked, PublishTrack, ReleaseUpstream, Request, ResolveAlias, ResolveFetch, Say, SessionNews, Shutdown,
    SubscribeUpstream, SubscriptionOver, UpdateUpstream,
};

use crate::auth::Auth;
use crate::limits::{Account, Kind, Limits};
use crate::registry::WithdrawPublisher;
use crate::reply::ReplyTo;
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::mailbox;
use crate::supervise::policy::Supervisor;
use crate::transport::ConnHandle;
use actix::{Actor, ActorContext, AsyncContext, Context, Message, Recipient, SpawnHandle};
use bindings::{Bindings, Pending};
use children::Children;
use control::ControlWriter;
use egress::Egress;
use fetches::OurFetches;
use inbound::Inbound;
use incoming::Acceptors;
use laps_protocol::auth::Rights;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::DataLimits;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::session as core;
use laps_protocol::moqt::version::Version;
use laps_protocol::relay::behind::SkipRules;
use laps_protocol::relay::draining;
use namespaces::Watched;
use slog::{Logger, debug, info, trace};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Messages that may wait for a session.
const MAILBOX: usize = 4096;
/// Ended aliases that are kept at most; each costs two table entries.
const MAX_ENDED: usize = 1024;

/// How sessions behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// What one session may have, and all of an address prefix together. [D14-LIM-2] [D14-LIM-4] [D14-FETCH-20]
    pub limits: Limits,
    /// The protocol's part. PATH and AUTHORITY are set per connection by clients.
    pub core: core::Config,
    /// Bounds of data streams.
    pub data: DataLimits,
    /// How long the header of a data stream may take. MOQT-14 §3.4 [D14-DATA-23]
    pub header_timeout: Duration,
    /// How long streams and datagrams wait for the message that explains their alias. [D14-DATA-16]
    pub alias_wait: Duration,
    /// Control bytes that may wait for a peer that reads slowly. [D14-LIM-4]
    pub max_control_backlog: usize,
    /// How long a SUBSCRIBE waits for a publisher; none means until one comes. [D14-SUB-10]
    pub subscribe_wait: Option<Duration>,
    /// How long a FETCH or TRACK_STATUS, which wait for nobody else, wait for publishers that are only known elsewhere in
    /// the mesh. Zero where this relay knows all of them: everywhere but on a stub.
    pub seek_wait: Duration,
    /// A SUBSCRIBE to a track that nobody publishes is accepted at once, and outlives its publisher (decision 0012).
    pub detached: bool,
    /// Downstream streams of one subscription that may be open at once.
    pub max_open_streams: usize,
    /// Bytes of payload that a subscription may be behind what its track's log has for it. [D14-LIM-4]
    pub max_behind: u64,
    /// Which subscriptions go on with the newest group then; the others end. [D14-SUB-30]
    pub skips: SkipRules,
    /// How long a subscriber may stand still with the rest of a track that has ended; no setting of the product changes it.
    /// See [`draining`].
    pub drain_still: Duration,
    /// The extension by which objects that FETCH finds in the cache are marked; none when they are not.
    pub cache_key: Option<u64>,
    /// The peer's PUBLISH, PUBLISH_NAMESPACE and SUBSCRIBE_NAMESPACE are served: a relay does, a client does not.
    pub accepts_publishers: bool,
    /// A client that is told of what the peer announces, for its user to see.
    pub lists_namespaces: bool,
    /// A session may have what it publishes itself: it is told of it, and may subscribe to it. A relay that does not
    /// let it deviates from MOQT-14 §5.1 and §6.1 (decision 0010). [D14-SUB-22] [D14-NS-3]
    pub allow_self: bool,
    /// Whose tokens are believed, and for what. [D14-AUTH-11]
    pub auth: Auth,
    /// In which order objects are sent; no setting of the product changes it.
    pub send_policy: egress::SendPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            core: core::Config::default(),
            data: DataLimits::default(),
            header_timeout: Duration::from_secs(10),
            alias_wait: Duration::from_secs(1),
            max_control_backlog: 1 << 20,
            subscribe_wait: Some(Duration::from_secs(1)),
            seek_wait: Duration::ZERO,
            detached: false,
            max_open_streams: 1024,
            max_behind: 16 << 20,
            skips: SkipRules {
                max_wait: Some(Duration::from_millis(500)),
                ..SkipRules::default()
            },
            drain_still: draining::STILL,
            cache_key: None,
            accepts_publishers: true,
            lists_namespaces: false,
            allow_self: true,
            auth: Auth::default(),
            send_policy: egress::SendPolicy::Priorities,
        }
    }
}

/// Bytes of the control stream, from the task that reads it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ControlEvent(pub(crate) core::Input);

/// One MOQT session.
///
/// Parent: its connection. Arbiter: the connection's shard. Restart: temporary; when it dies the connection is
/// closed with INTERNAL_ERROR, its streams are reset and what it registered is withdrawn. In: [`messages`], control
/// bytes, new streams and datagrams. Out: commands to the peer, `UpstreamOk`, `UpstreamDone`, `SourceGone` to
/// tracks, `RegisterPublisher` to the registry, [`SessionNews`] to a client. Lost on death: the session.
#[derive(Debug)]
pub struct SessionActor {
    env: Env,
    core: core::Session,
    codec: Codec,
    conn: ConnHandle,
    acceptors: Option<Acceptors>,
    controls: Vec<(core::ControlStream, ControlWriter)>,
    next_control: u64,
    tasks: Vec<actix_rt::task::JoinHandle<()>>,
    ingress_tasks: tokio::task::JoinSet<()>,
    egress: Egress,
    children: Children,
    /// How many requests failed for good of late.
    patience: Supervisor,
    bindings: Bindings,
    watched: Watched,
    fetches: OurFetches,
    /// What the peer may do by what it showed in SETUP, and how many of its requests were refused for what it may not.
    rights: Rights,
    denied: u64,
    /// Oddities of the peer that were told.
    noted: Vec<core::Note>,
    account: Account,
    inbound: Inbound,
    /// When the machine wants to be woken, and what wakes it.
    timer: Option<(Instant, SpawnHandle)>,
    /// Something waits for its alias, and is looked at when that has taken too long.
    sweeping: bool,
    /// Who waits until no subscription of the peer is left.
    unread: Vec<ReplyTo<()>>,
    news: Option<Recipient<SessionNews>>,
    log: Logger,
    over: Option<(String, bool)>,
    /// The code by which the peer ended it, or we did.
    peer_code: Option<CloseCode>,
    our_code: Option<CloseCode>,
    /// The machine's outputs are being carried out.
    draining: bool,
    /// Somebody on this machine who comes only to see whether there is a session.
    is_health_check: bool,
    _guard: Option<ChildGuard>,
}

/// How MOQT_IMPLEMENTATION ends of somebody who asks for a session only to see whether there is one. From this machine,
/// and so every few seconds, that is nothing for an operator's log.
pub const HEALTH_CHECK: &str = "health";

/// What a session is made of.
#[derive(Debug)]
pub struct Birth {
    /// What the shard shares.
    pub env: Env,
    /// Which side this is.
    pub role: core::Role,
    /// The protocol's settings for this session.
    pub core: core::Config,
    /// Where streams are opened.
    pub conn: ConnHandle,
    /// Where the peer's streams and datagrams come from.
    pub incoming: Acceptors,
    /// Who is told of its progress, in a client.
    pub news: Option<Recipient<SessionNews>>,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

impl SessionActor {
    /// A session that starts its handshake when it starts.
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        let version = Version::Draft14;
        let codec = Codec::new(version);
        let log = birth.env.log.new(slog::o!("conn" => birth.conn.id()));
        let share = limits::share(&birth.env, &birth.conn);
        let account = Account::new(birth.env.session.limits.session, share);
        Self {
            codec,
            egress: Egress::new(birth.conn.clone(), codec, birth.env.session.send_policy),
            conn: birth.conn,
            acceptors: Some(birth.incoming),
            controls: Vec::new(),
            next_control: 0,
            tasks: Vec::new(),
            ingress_tasks: tokio::task::JoinSet::new(),
            children: Children::default(),
            patience: children::patience(),
            bindings: Bindings::new(account.clone(), log.clone(), max_ended(birth.core.max_request_id)),
            watched: Watched::default(),
            core: core::Session::new(birth.role, version, birth.core, Instant::now()),
            fetches: OurFetches::default(),
            rights: Rights::new(birth.env.session.auth.anonymous()),
            denied: 0,
            noted: Vec::new(),
            inbound: Inbound::new(account.clone(), log.clone()),
            account,
            timer: None,
            sweeping: false,
            unread: Vec::new(),
            news: birth.news,
            log,
            over: None,
            peer_code: None,
            our_code: None,
            draining: false,
            is_health_check: false,
            env: birth.env,
            _guard: birth.guard,
        }
    }

    /// Gives the machine one input and carries out what comes of it.
    fn input(&mut self, ctx: &mut Context<Self>, input: core::Input) {
        self.core.handle_input(Instant::now(), input);
        self.drain(ctx);
    }

    /// Gives the machine one command and carries out what comes of it.
    fn command(
        &mut self,
        ctx: &mut Context<Self>,
        command: core::Command,
    ) -> Result<Option<laps_protocol::moqt::message::RequestId>, core::CommandError> {
        let result = self.core.command(Instant::now(), command);
        self.drain(ctx);
        result
    }

    /// Says something to the peer that it may have made pointless meanwhile.
    fn say(&mut self, ctx: &mut Context<Self>, command: core::Command) {
        if let Err(error) = self.command(ctx, command) {
            debug!(self.log, "nobody to say it to"; "error" => %error);
        }
    }

    /// Carries out what the machine wants done, in order.
    ///
    /// Carrying out an event gives the machine commands, which end up here again. The outermost call does the work:
    /// one read of the control stream holds thousands of requests, and a call for each of them inside the one before
    /// would end the stack, and the process with it.
    fn drain(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                core::Output::Action(action) => self.act(ctx, action),
                core::Output::Event(event) if self.over.is_none() => self.event(ctx, *event),
                // A SETUP that is refused takes along what came in one breath with it. MOQT-14 §3.4 [D14-SETUP-24]
                core::Output::Event(_) => {}
                core::Output::Trace(traced) => {
                    trace!(self.log, "control message"; "inbound" => traced.inbound, "message" => ?traced.message);
                }
            }
        }
        self.draining = false;
        self.rearm(ctx);
    }

    fn act(&mut self, ctx: &mut Context<Self>, action: core::Action) {
        match action {
            core::Action::OpenControl => self.open_control(ctx),
            core::Action::Write(stream, bytes) => {
                let writer = self
                    .controls
                    .iter()
                    .find(|(id, _)| *id == stream)
                    .map(|(_, writer)| writer);
                if writer.is_some_and(|writer| !writer.write(bytes)) {
                    let why = "the peer does not read its control stream";
                    self.close(ctx, CloseCode::ControlMessageTimeout, Cow::Borrowed(why));
                }
            }
            core::Action::Close { code, reason } => {
                if code == CloseCode::TooManyRequests {
                    // MOQT-14 §9.5 [D14-REQ-3] [D14-LIM-2]: the window is the session's bound for requests of all kinds.
                    self.account
                        .note(&self.log, self.account.refuse(Kind::Requests, false));
                }
                self.close(ctx, code, reason);
            }
        }
    }

    /// Closes the connection and ends the actor.
    fn close(&mut self, ctx: &mut Context<Self>, code: CloseCode, reason: Cow<'static, str>) {
        if self.over.is_some() {
            return;
        }
        info!(self.log, "session closed by us"; "code" => ?code, "reason" => %reason);
        // The transport takes only words that outlive the connection.
        let words = match &reason {
            Cow::Borrowed(words) => *words,
            Cow::Owned(_) => "",
        };
        self.conn.close(self.codec.close_code(code), words);
        self.our_code = Some(code);
        self.end(ctx, reason.into_owned(), code == CloseCode::NoError);
    }

    /// The connection is gone, or about to be.
    fn end(&mut self, ctx: &mut Context<Self>, why: String, clean: bool) {
        if self.over.is_none() {
            self.over = Some((why, clean));
            ctx.stop();
        }
    }

    /// One timer, at the machine's next wish.
    fn rearm(&mut self, ctx: &mut Context<Self>) {
        let Some(at) = self.core.poll_timeout() else {
            if let Some((_, timer)) = self.timer.take() {
                ctx.cancel_future(timer);
            }
            return;
        };
        // One that fires too early finds nothing to do and is set anew: each message would cost a timer otherwise.
        if self.timer.is_some_and(|(due, _)| due <= at) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let wait = at.saturating_duration_since(Instant::now());
        let timer = ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.input(ctx, core::Input::Timeout);
        });
        self.timer = Some((at, timer));
    }

    fn tell(&self, news: SessionNews) {
        if let Some(client) = &self.news {
            mailbox::signal(client, news);
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        debug!(self.log, "session starts"; "peer" => ?self.conn.remote_addr());
        if let Some(acceptors) = self.acceptors.take() {
            acceptors.attach(ctx);
        }
        let faults = &self.env.faults;
        faults.attend(ctx, "session", || self.conn.peer_name());
        let fault = faults.at("egress", || self.conn.peer_name());
        let session = ctx.address();
        let failed = move |error| {
            mailbox::signal(&session, Breach(error));
        };
        let writer = self.egress.clone().run(failed, fault);
        self.tasks.push(actix_rt::spawn(writer));
        self.drain(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let (why, clean) = self
            .over
            .clone()
            .unwrap_or_else(|| ("the session failed here".to_owned(), false));
        debug!(self.log, "session ends"; "why" => &why, "refused_early" => self.bindings.refused,
            "unauthorized" => self.denied, "held" => %self.account,
            "registry_questions" => self.account.questions().peak());
        let (code, ours) = (self.peer_code, self.our_code);
        self.tell(SessionNews::Closed {
            why,
            clean,
            code,
            ours,
        });
    }
}

/// Ended aliases that are kept. They hold places in the peer's window of requests, so they get a quarter of it.
fn max_ended(max_request_id: u64) -> usize {
    // Every other id is the peer's.
    usize::try_from(max_request_id / 8).map_or(MAX_ENDED, |quarter| quarter.clamp(1, MAX_ENDED))
}

/// Takes back a PUBLISH that the registry was asked to place. Follows the question, so it finds what that made.
fn withdraw(env: &Env, pending: Pending) {
    let Pending { name, source, .. } = pending;
    env.registry.signal(WithdrawPublisher { name, id: source });
}

impl Drop for SessionActor {
    fn drop(&mut self) {
        // Runs after a panic too: tasks outlive their actor unless they are ended, and a connection without its
        // session must not linger.
        self.egress.close();
        for task in &self.tasks {
            task.abort();
        }
        self.bindings.abandon();
        self.fetches.abandon();
        // The registry has these and may be making their tracks just now.
        for pending in self.bindings.take_pending() {
            withdraw(&self.env, pending);
        }
        // A track that a subscription reads holds its address, so it would live on and read for nobody.
        self.children.abandon();
        if self.over.is_none() {
            self.conn.close(
                self.codec.close_code(CloseCode::InternalError),
                "the session ended in the relay",
            );
        }
    }
}
