//! Opening a client's connection and the actors around it.

use super::moving::Moving;
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
    /// How it follows a relay's wish to leave.
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

/// Why a session ended, as a client is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    pub(super) why: String,
    /// Over the token that was shown.
    pub(super) not_let_in: bool,
}

impl From<Ended> for ClientError {
    fn from(ended: Ended) -> Self {
        if ended.not_let_in {
            Self::NotLetIn(ended.why)
        } else {
            Self::Closed(ended.why)
        }
    }
}

impl Ended {
    /// From what the session's actor says last.
    pub(super) fn new(why: String, code: Option<CloseCode>) -> Self {
        let not_let_in = matches!(
            code,
            Some(CloseCode::Unauthorized | CloseCode::MalformedAuthToken | CloseCode::ExpiredAuthToken)
        );
        Self { why, not_let_in }
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
        let tls = ClientTls::new(&options.verify, &crate::transport::moqt_alpn())?;
        let endpoint = ClientEndpoint::for_remote(target.addr, &tls, &options.transport)?;
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
