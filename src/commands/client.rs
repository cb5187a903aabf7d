//! What `laps pub` and `laps sub` share: settings, the way to the relay, and how a failure is told.

use crate::cli::{LogOptions, TrustOptions};
use crate::config::{self, Config, Layers, LogLevel};
use crate::exit::Failure;
use crate::logging::Logging;
use crate::url::{Host, MoqtUrl};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use laps_actors::client::{ClientError, Options, Target};
use laps_actors::transport::ConnectError;
use laps_actors::{session, track};
use slog::Logger;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Head start of each address over the next one. RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);

/// The configuration from flags and environment, and the log; quiet unless either asks for more.
pub(super) fn setup(log: &LogOptions) -> Result<(Config, Logging), Failure> {
    let layers = Layers::of_process(None, log.overrides());
    let mut config = config::load(&layers)?;
    let by_flag = layers.overrides.iter().any(|over| over.key == "logging.level");
    let by_env = std::env::vars_os().any(|(name, _)| name.eq_ignore_ascii_case("LAPS_LOGGING__LEVEL"));
    if !by_flag && !by_env {
        // Standard error is for the person who typed the command; a relay's log is for its operator.
        config.logging.level = LogLevel::Error;
    }
    let logging = Logging::start(&config.logging);
    Ok((config, logging))
}

/// Settings of a client session. `answer` is how long the relay may take to answer a SUBSCRIBE.
pub(super) fn options(
    config: &Config,
    trust: &TrustOptions,
    answer: Duration,
    log: Logger,
) -> Result<Options, Failure> {
    Ok(Options {
        verify: trust.verify()?,
        transport: config.transport.settings(),
        session: session::Config {
            core: config.session.settings(),
            ..session::Config::default()
        },
        track: track::Config {
            limits: config.cache.settings(),
            upstream_timeout: answer,
            ..track::Config::default()
        },
        log,
    })
}

/// Looks the host up and tries its addresses, each a moment after the one before; the first that answers is taken.
pub(super) async fn connect<T, F>(url: &MoqtUrl, attempt: impl Fn(Target) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut head_start = Duration::ZERO;
    let mut attempts = FuturesUnordered::new();
    for addr in resolve(url).await? {
        let (wait, tried) = (head_start, attempt(target(url, addr)));
        head_start += HEAD_START;
        attempts.push(async move {
            tokio::time::sleep(wait).await;
            tried.await
        });
    }
    let mut fault = None;
    while let Some(result) = attempts.next().await {
        match result {
            Ok(client) => return Ok(client),
            // The first fault is that of the address that the system prefers.
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    Err(match fault {
        Some(error) => failure(url, &error),
        None => Failure::run(url.to_string(), "the host has no address", "check the host name"),
    })
}

async fn resolve(url: &MoqtUrl) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port();
    let name = match url.host() {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => name.clone(),
    };
    // The system's resolver blocks.
    let found = tokio::task::spawn_blocking(move || (name.as_str(), port).to_socket_addrs()).await;
    let unknown = |reason: String| Failure::run(url.to_string(), reason, "check the host name");
    match found {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(unknown(format!("cannot look up the host: {error}"))),
        Err(_) => Err(unknown("cannot look up the host".to_owned())),
    }
}

/// MOQT-14 §9.3.2 [D14-LIB-1]: PATH and AUTHORITY come from the URL.
fn target(url: &MoqtUrl, addr: SocketAddr) -> Target {
    let path = url.path_and_query();
    Target {
        addr,
        server_name: url.server_name(),
        authority: url.authority(),
        path: if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        },
    }
}

/// What went wrong with the relay at `url`, as the line to end with.
pub(super) fn failure(url: &MoqtUrl, error: &ClientError) -> Failure {
    let ClientError::Connect(fault) = error else {
        return Failure::run(url.to_string(), error.to_string(), "");
    };
    let remedy = if matches!(fault, ConnectError::Untrusted { .. }) {
        "give the SHA-256 that the relay prints with --cert-hash, or its issuer with --ca"
    } else if matches!(fault, ConnectError::NoCommonProtocol { .. }) {
        "check that it is a relay for draft 14 over raw QUIC"
    } else {
        "check that the relay runs, its host and its port"
    };
    Failure::run(url.to_string(), error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> MoqtUrl {
        text.parse().unwrap()
    }

    /// D14-LIB-1
    #[test]
    fn path_and_authority_come_from_the_url() {
        // MOQT-14 §9.3.2 [D14-LIB-1]
        let addr = SocketAddr::from(([127, 0, 0, 1], 5));
        for (text, authority, path) in [
            ("moqt://h:5", "h:5", "/"),
            ("moqt://h/a?b=c", "h", "/a?b=c"),
            ("moqt://h?b=c", "h", "/?b=c"),
        ] {
            let target = target(&url(text), addr);
            assert_eq!(
                (target.authority.as_str(), target.path.as_str()),
                (authority, path)
            );
        }
    }

    #[actix_rt::test]
    async fn the_first_address_that_answers_is_taken() {
        let found: u16 = connect(&url("moqt://localhost:7"), |target| async move {
            Ok(target.addr.port())
        })
        .await
        .unwrap();
        assert_eq!(found, 7);
    }

    #[actix_rt::test]
    async fn when_no_address_answers_the_first_fault_is_told() {
        let failed: Result<(), Failure> = connect(&url("moqt://127.0.0.1:7/x"), |_| async {
            Err(ClientError::Timeout)
        })
        .await;
        let line = failed.unwrap_err().to_string();
        assert_eq!(line, "moqt://127.0.0.1:7/x: no answer from the relay in time");
    }
}
