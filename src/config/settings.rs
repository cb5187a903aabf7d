//! Sections as the settings of the crates that obey them.

use super::check::NEW_SECRET;
use super::limits::bound;
use super::sections::{Auth, Cache, Config, Drain, Fetch, Relay, Session, Subscribe, Tls, Transport};
use crate::exit::Failure;
use bytes::Bytes;
use laps_actors::auth;
use laps_actors::root::Retire;
use laps_actors::track::Budget;
use laps_actors::transport::{Listen, Pem, TransportConfig};
use laps_protocol::moqt::session;
use laps_protocol::relay::behind::SkipRules;
use laps_protocol::relay::fetch::FetchLimits;
use laps_protocol::relay::track_log::Limits;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Our name and version in SETUP's MOQT_IMPLEMENTATION.
pub const IMPLEMENTATION: &str = concat!("laps/", env!("CARGO_PKG_VERSION"));

impl Transport {
    /// Settings of a QUIC endpoint; what has no key keeps its default.
    #[must_use]
    pub fn settings(&self) -> TransportConfig {
        TransportConfig {
            max_uni_streams: self.max_uni_streams,
            max_bidi_streams: self.max_bidi_streams,
            connection_window: self.connection_window_bytes,
            uni_stream_window: self.stream_window_bytes,
            bidi_stream_window: self.stream_window_bytes,
            send_buffer: self.send_buffer_bytes,
            keep_alive: Some(Duration::from_millis(self.keep_alive_ms)),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            initial_rtt: Duration::from_millis(self.initial_rtt_ms),
            retry_above_handshakes: count(self.retry_above_handshakes),
            max_connections: count(self.max_connections),
            ..TransportConfig::default()
        }
    }
}

impl Relay {
    /// Which addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> Listen {
        if self.bind == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            Listen::All
        } else {
            Listen::Ip(self.bind)
        }
    }
}

impl Session {
    /// Settings of the protocol's part of a session, of a client as well as of the relay.
    #[must_use]
    pub fn settings(&self) -> session::Config {
        session::Config {
            implementation: Bytes::from_static(IMPLEMENTATION.as_bytes()),
            max_request_id: self.max_request_id,
            setup_timeout: Duration::from_millis(self.setup_timeout_ms),
            message_timeout: Duration::from_millis(self.message_timeout_ms),
            idle_timeout: (self.idle_timeout_ms > 0).then(|| Duration::from_millis(self.idle_timeout_ms)),
            ..session::Config::default()
        }
    }
}

impl Config {
    /// How much of a track is kept.
    #[must_use]
    pub fn track_limits(&self) -> Limits {
        Limits {
            max_bytes: count(self.cache.track_mb).saturating_mul(1 << 20),
            max_age: self.cache.duration.0,
            max_object: self.limits.max_object_mb.saturating_mul(1 << 20),
            ..Limits::default()
        }
    }
}

impl Auth {
    /// Whose tokens are believed; the secret is read from its file where it has one.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no secret: nobody is let in by mistake then.
    pub fn verifier(&self) -> Result<auth::Auth, Failure> {
        if self.is_open() {
            return Ok(auth::Auth::default());
        }
        let secret = if self.secret_file.is_empty() {
            let unfit =
                |error: auth::SecretError| Failure::config("auth.secret", error.to_string(), NEW_SECRET);
            auth::Secret::new(self.secret.expose()).map_err(unfit)
        } else {
            read_secret("auth.secret_file", Path::new(&self.secret_file))
        };
        secret.map(|secret| auth::Auth::new(Arc::new(auth::SharedSecret::new(&secret))))
    }
}

/// The secret in a file that this key or option names.
///
/// # Errors
/// [`crate::exit::Exit::Config`] when it cannot be read, or is no secret; what is in it is not told.
pub fn read_secret(named_by: &str, path: &Path) -> Result<auth::Secret, Failure> {
    let thing = format!("{named_by} {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::config(thing.clone(), error.to_string(), "name a file with the secret"))?;
    auth::Secret::new(&text).map_err(|error| Failure::config(thing, error.to_string(), NEW_SECRET))
}

impl super::limits::Limits {
    /// Publishers that may feed one track at once.
    #[must_use]
    pub fn max_publishers(&self) -> usize {
        count(self.publishers_per_track)
    }
}

impl Subscribe {
    /// Bytes of objects that wait for one subscription.
    #[must_use]
    pub const fn max_behind(&self) -> u64 {
        self.max_behind_mb.saturating_mul(1 << 20)
    }

    /// Whose subscriptions go on with the newest group when more waits for them, or for longer.
    #[must_use]
    pub fn skips(&self) -> SkipRules {
        SkipRules {
            all: false,
            below: self.newest_group.list().to_vec(),
            max_wait: (self.max_behind_ms > 0).then(|| Duration::from_millis(self.max_behind_ms)),
        }
    }
}

impl Fetch {
    /// How a track answers FETCH.
    #[must_use]
    pub fn settings(&self) -> FetchLimits {
        FetchLimits {
            wait: Duration::from_millis(self.wait_ms),
            upstream: Duration::from_millis(self.answer_ms),
            ..FetchLimits::default()
        }
    }
}

impl Config {
    /// How sessions behave.
    #[must_use]
    pub fn session_settings(&self) -> laps_actors::session::Config {
        let (configured, limits) = (&self.session, &self.limits);
        laps_actors::session::Config {
            limits: self.peer_limits(),
            core: session::Config {
                max_auth_token_cache_size: self.auth.token_cache_bytes,
                ..configured.settings()
            },
            header_timeout: Duration::from_millis(configured.header_timeout_ms),
            alias_wait: Duration::from_millis(configured.alias_wait_ms),
            max_control_backlog: count(configured.control_backlog_bytes),
            subscribe_wait: Some(self.subscribe.wait()),
            detached: self.subscribe.detached,
            max_behind: self.subscribe.max_behind(),
            skips: self.subscribe.skips(),
            max_open_streams: count(bound(limits.subscription_streams)),
            cache_key: self.cache.mark(),
            allow_self: self.relay.allow_self,
            ..laps_actors::session::Config::default()
        }
    }

    /// Subscriptions and statuses of all sessions that may wait for a publisher.
    #[must_use]
    pub fn max_waiting(&self) -> usize {
        count(bound(self.limits.waiting_total))
    }
}

impl Cache {
    /// How much of all tracks is kept; made once for a process.
    #[must_use]
    pub fn budget(&self) -> Arc<Budget> {
        Arc::new(Budget::new(count(self.max_mb).saturating_mul(1 << 20)))
    }

    /// The extension that marks objects from the cache.
    #[must_use]
    pub const fn mark(&self) -> Option<u64> {
        match self.key {
            0 => None,
            key => Some(key),
        }
    }
}

impl Drain {
    /// What the relay is told when it is to end without cutting anybody off; `deadline` is what each part of it gets
    /// after that.
    #[must_use]
    pub fn retire(&self, deadline: Duration) -> Retire {
        Retire {
            uri: Bytes::from(self.uri.clone()),
            grace: Duration::from_secs(self.grace),
            deadline,
        }
    }
}

impl Tls {
    /// Certificate and key, if they are configured; [`super::load()`] has seen to it that both or neither are.
    #[must_use]
    pub fn pair(&self) -> Option<(Pem, Pem)> {
        let given = !self.cert.is_empty() && !self.key.is_empty();
        given.then(|| (Pem::File((&self.cert).into()), Pem::File((&self.key).into())))
    }
}

/// Numbers larger than this machine can count are as good as no limit.
pub(super) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_crates_below() {
        assert_eq!(Transport::default().settings(), TransportConfig::default());
        assert_eq!(Config::default().track_limits(), Limits::default());
        assert_eq!(Cache::default().budget().max(), 256 << 20);
        assert_eq!(Fetch::default().settings(), FetchLimits::default());
        let (session, below) = (
            Config::default().session_settings(),
            laps_actors::session::Config::default(),
        );
        assert_eq!(session.limits, below.limits);
        let counts =
            |config: &laps_actors::session::Config| (config.max_open_streams, config.max_control_backlog);
        assert_eq!(counts(&session), counts(&below));
        let times = |config: &laps_actors::session::Config| {
            (config.header_timeout, config.alias_wait, config.subscribe_wait)
        };
        assert_eq!(times(&session), times(&below));
        assert_eq!(Cache::default().mark(), below.cache_key);
        let track = laps_actors::track::Config::default();
        assert_eq!(
            Duration::from_millis(Config::default().subscribe.answer_ms),
            track.upstream_timeout
        );
        assert_eq!(Config::default().limits.max_publishers(), track.max_publishers);
        assert_eq!(
            (session.max_behind, session.skips),
            (below.max_behind, below.skips)
        );
        let session = Session::default().settings();
        assert_eq!(session.implementation, IMPLEMENTATION);
        // A relay gives up sessions in which nobody asks for anything; clients know what they stay for.
        assert_eq!(session.idle_timeout, Some(Duration::from_hours(1)));
        assert_eq!(
            session::Config {
                implementation: Bytes::new(),
                idle_timeout: None,
                ..session
            },
            session::Config::default()
        );
    }

    #[test]
    fn a_pair_needs_both() {
        let tls = |cert: &str, key: &str| {
            Tls {
                cert: cert.into(),
                key: key.into(),
            }
            .pair()
        };
        assert!(tls("", "").is_none() && tls("c", "").is_none());
        assert_eq!(
            tls("c", "k"),
            Some((Pem::File("c".into()), Pem::File("k".into())))
        );
    }
}
