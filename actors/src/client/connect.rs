//! Opening a client's connection and the actors around it.

use super::moving::Moving;
use super::silence;
use crate::limits::{Limits, Prefixes, Strain};
use crate::registry::{RegistryActor, ShardRef};
use crate::session::incoming::Acceptors;
use crate::session::{self, SessionActor, SessionNews};
use crate::shard::{Env, ShardActor};
use crate::supervise::Faults;
use crate::track;
use crate::transport::{
    ClientEndpoint, ClientTls, ConnHandle, ConnectError, StartError, TlsError, TransportConfig, Verify,
};
use actix::{Actor, Addr, AsyncContext, Context, Recipient};
use bytes::Bytes;
use laps_protocol::auth::Token;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::{CloseCode, EncodeError};
use laps_protocol::moqt::message::{AuthToken, RequestError, RequestErrorReason};
use laps_protocol::moqt::session::{CommandError, Role};
use laps_protocol::moqt::version::Version;
use laps_protocol::relay::behind::SkipRules;
use slog::Logger;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a client connects to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The relay's address.
    pub addr: SocketAddr,
    /// The name its certificate is for.
    pub server_name: String,
    /// AUTHORITY of the SETUP: host and port as the user wrote them. MOQT-14 §9.3.2.1 [D14-LIB-1]
    pub authority: String,
    /// PATH of the SETUP with its query; at least "/". MOQT-14 §9.3.2.2 [D14-LIB-1]
    pub path: String,
}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose certificate is believed.
    pub verify: Verify,
    /// Shown to the relay in each session's SETUP, and so for all its requests. MOQT-14 §9.3.2.5
    pub token: Option<Token>,
    /// QUIC settings.
    pub transport: TransportConfig,
    /// Session settings.
    pub session: session::Config,
    /// Track settings.
    pub track: track::Config,
    /// How it goes on when its session ends.
    pub moving: Moving,
    /// Where it logs.
    pub log: Logger,
}

/// Why a client cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The certificate settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No socket.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The relay cannot be reached, or is not trusted.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The host of the URL leads nowhere.
    #[error("{0}")]
    Unresolved(String),
    /// GOAWAY names a place that this client cannot go to.
    #[error("the relay sends us to `{uri}`: {why}")]
    Elsewhere {
        /// Where to.
        uri: String,
        /// Why not.
        why: String,
    },
    /// The relay said GOAWAY, so nothing new is asked of it in this session. MOQT-14 §9.4 [D14-GOAWAY-1]
    #[error("the relay asked to leave, {}", whereto(.0))]
    AskedAway(Bytes),
    /// The session ended.
    #[error("the session ended: {0}")]
    Closed(String),
    /// The session ended because one side broke a rule, as it would do again.
    #[error("the session ended: {0}")]
    Broken(String),
    /// The session was lost, and no other came about.
    #[error("the session ended: {why}; tried again for {} s: {last}", .tried.as_secs_f64())]
    Lost {
        /// Why it ended.
        why: String,
        /// How long another one was tried for.
        tried: Duration,
        /// Why the last try failed.
        last: Arc<Self>,
    },
    /// The relay ended the session because of the token that was shown. MOQT-14 §3.4
    #[error("the relay refused the token: {0}")]
    NotLetIn(String),
    /// The relay refused a request.
    #[error("refused by the relay: {}, {}", told(.0.reason), String::from_utf8_lossy(&.0.phrase))]
    Rejected(RequestError),
    /// The token cannot be shown.
    #[error("the token cannot be sent: {0}")]
    Token(#[from] EncodeError),
    /// The request could not be made.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The relay did not answer in time.
    #[error("no answer from the relay in time")]
    Timeout,
}

impl ClientError {
    /// The next try cannot mend it.
    pub(super) const fn is_lasting(&self) -> bool {
        match self {
            Self::Tls(_)
            | Self::Elsewhere { .. }
            | Self::NotLetIn(_)
            | Self::Broken(_)
            | Self::Lost { .. }
            | Self::Token(_) => true,
            Self::Connect(fault) => matches!(
                fault,
                ConnectError::ServerName { .. }
                    | ConnectError::Untrusted { .. }
                    | ConnectError::NoCommonProtocol { .. }
            ),
            Self::Rejected(error) => matches!(
                error.reason,
                RequestErrorReason::Unauthorized
                    | RequestErrorReason::MalformedAuthToken
                    | RequestErrorReason::ExpiredAuthToken
                    | RequestErrorReason::NotSupported
                    | RequestErrorReason::MalformedTrack
            ),
            Self::Command(error) => matches!(error, CommandError::NotAllowed(_) | CommandError::Encode(_)),
            Self::Start(_) | Self::Unresolved(_) | Self::AskedAway(_) | Self::Closed(_) | Self::Timeout => {
                false
            }
        }
    }
}

/// Why a session ended, as a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) why: String,
    lasts: Lasts,
}

/// Whether another session would end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    /// Not that one knows.
    No,
    /// Yes, since one side broke a rule.
    Broken,
    /// Yes, over the token that was shown.
    NotLetIn,
}

impl From<Ended> for ClientError {
    fn from(ended: Ended) -> Self {
        match ended.lasts {
            Lasts::No => Self::Closed(ended.why),
            Lasts::Broken => Self::Broken(ended.why),
            Lasts::NotLetIn => Self::NotLetIn(ended.why),
        }
    }
}

impl Ended {
    /// From what the session's actor says last: the peer's code, or ours. MOQT-14 §3.4 [D14-TERM-1]
    pub(super) fn new(why: String, peer: Option<CloseCode>, ours: Option<CloseCode>) -> Self {
        let lasts = match (ours, peer) {
            // The connection was lost, or ended with a code that says nothing.
            (None, None) => Lasts::No,
            (
                None,
                Some(CloseCode::Unauthorized | CloseCode::MalformedAuthToken | CloseCode::ExpiredAuthToken),
            ) => Lasts::NotLetIn,
            // A relay that fails, is ended, or found us too slow: another one may be there already.
            (None, Some(CloseCode::NoError | CloseCode::GoawayTimeout))
            | (
                _,
                Some(
                    CloseCode::InternalError
                    | CloseCode::ControlMessageTimeout
                    | CloseCode::DataStreamTimeout,
                ),
            )
            | (
                Some(
                    CloseCode::InternalError
                    | CloseCode::ControlMessageTimeout
                    | CloseCode::DataStreamTimeout,
                ),
                _,
            ) => Lasts::No,
            (Some(_), _) | (None, Some(_)) => Lasts::Broken,
        };
        Self { why, lasts }
    }

    /// Nobody said why.
    pub(super) fn unsaid() -> Self {
        Self::new("the session failed".to_owned(), None, None)
    }

    /// Another session may fare better.
    pub(super) fn may_come_back(&self) -> bool {
        self.lasts == Lasts::No
    }
}

/// A reason as a word for a person.
fn told(reason: RequestErrorReason) -> String {
    if reason == RequestErrorReason::Unauthorized {
        return "unauthorized".to_owned();
    }
    format!("{reason:?}")
}

/// A token as it stands in SETUP.
fn shown(token: Option<&Token>) -> Result<Vec<Bytes>, EncodeError> {
    let by_value = token.map(|token| AuthToken::UseValue {
        token_type: token.token_type,
        value: token.value.clone(),
    });
    let codec = Codec::new(Version::Draft14);
    by_value.iter().map(|token| codec.encode_token(token)).collect()
}

/// What the URI of a GOAWAY says to a person.
fn whereto(uri: &[u8]) -> String {
    if uri.is_empty() {
        // MOQT-14 §9.4 [D14-GOAWAY-2]
        return "its address stays the same".to_owned();
    }
    let uri: String = String::from_utf8_lossy(uri).chars().take(200).collect();
    format!("its new address is {uri}")
}

/// A client's actors.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) env: Env,
    pub(super) session: Addr<SessionActor>,
    pub(super) conn: ConnHandle,
    pub(super) endpoint: ClientEndpoint,
}

impl Node {
    /// Connects and starts a session, perhaps one of several that share `env` and with it their tracks. Its progress
    /// goes to `news`.
    pub(super) async fn join(
        env: Env,
        options: &Options,
        target: &Target,
        news: Recipient<SessionNews>,
    ) -> Result<Self, ClientError> {
        let mut transport = options.transport.clone();
        if options.moving.comes_back() {
            let keep_alive = transport.keep_alive.unwrap_or(silence::KEEP_ALIVE);
            transport.keep_alive = Some(keep_alive.min(silence::KEEP_ALIVE));
        }
        let tls = ClientTls::new(&options.verify, &crate::transport::moqt_alpn())?;
        let endpoint = ClientEndpoint::for_remote(target.addr, &tls, &transport)?;
        let parts = endpoint.connect(target.addr, &target.server_name).await?.split();
        let conn = parts.handle.clone();
        let mut core = env.session.core.clone();
        core.path = Some(Bytes::from(target.path.clone()));
        core.authority = Some(Bytes::from(target.authority.clone()));
        // By value: one message, of which the relay keeps nothing.
        core.authorization_tokens = shown(options.token.as_ref())?;
        let session = SessionActor::new(session::Birth {
            env: env.clone(),
            role: Role::Client,
            core,
            conn: parts.handle,
            incoming: Acceptors {
                uni: parts.uni,
                bidi: parts.bidi,
                datagrams: parts.datagrams,
            },
            news: Some(news),
            guard: None,
        })
        .start();
        Ok(Self {
            env,
            session,
            conn,
            endpoint,
        })
    }

    /// A registry and a shard without a socket.
    pub(super) fn env(options: &Options) -> Env {
        let Options {
            session, track, log, ..
        } = options.clone();
        let registry = RegistryActor::new(log.clone(), 1024, None).start();
        let session = Arc::new(session::Config {
            accepts_publishers: false,
            // A writer goes on without a relay that takes nothing, and the relay may come back.
            max_behind: u64::MAX,
            skips: SkipRules {
                all: true,
                ..SkipRules::default()
            },
            ..session
        });
        // Nobody comes back for a track that a client's own user let go of. MOQT-14 §8.3.1 [D14-GOAWAY-5]: its
        // UNSUBSCRIBE leaves ahead of the end of the session.
        let track = Arc::new(track::Config {
            linger: Duration::ZERO,
            ..track
        });
        let context = Context::<ShardActor>::new();
        let env = Env {
            registry: registry.into(),
            shard: ShardRef {
                index: 0,
                tracks: context.address().recipient(),
            },
            replicas: None,
            session,
            track,
            // Nobody but its one relay asks anything of it.
            prefixes: Arc::new(Prefixes::new(Limits::NONE)),
            strain: Strain::none(),
            log,
            faults: Faults::default(),
        };
        context.run(ShardActor::new(env.clone(), None, 0, None));
        env
    }
}
