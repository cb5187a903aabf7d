//! `laps health`: whether a relay lets somebody in. For what runs the relay, such as a container engine.

use super::client::failure;
use super::health_via;
use super::print;
use crate::cli::HealthOptions;
use crate::config::{self, Config, IMPLEMENTATION, Layers};
use crate::exit::Failure;
use crate::url::{Host, MoqtUrl};
use laps_actors::client::{Moving, Options, Subscriber, reach};
use laps_actors::session::{self, HEALTH_CHECK};
use laps_actors::track;
use laps_actors::transport::{CertFacts, Pem, Verify};
use slog::{Discard, Logger, o};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long the goodbye may take, which the answer does not wait for.
pub(super) const GOODBYE: Duration = Duration::from_millis(300);

/// Runs `laps health`.
///
/// # Errors
/// When the relay does not let us in, or nobody can say which one is meant.
pub fn run(options: &HealthOptions) -> Result<(), Failure> {
    let layers = Layers::of_process(options.config.clone(), Vec::new());
    let (url, config) = match &options.url {
        Some(url) => (url.clone(), Config::default()),
        None => {
            let config = config::load(&layers)?;
            if health_via::is_via(&config) {
                let asking = health_via::ask(&config, DEADLINE);
                let (at, took) = actix::System::new().block_on(asking)?;
                let also = also(&config, SystemTime::now());
                return print(&format!(
                    "ok: {at} takes links, after {} ms{also}",
                    took.as_millis()
                ));
            }
            (local(&config)?, config)
        }
    };
    let verify = if options.trust.is_open() && is_here(&url) {
        Verify::Insecure
    } else {
        options.trust.verify()?
    };
    let took = actix::System::new().block_on(ask(&url, &config, verify))?;
    let also = also(&config, SystemTime::now());
    print(&format!(
        "ok: {url} lets us in, after {} ms{also}",
        took.as_millis()
    ))
}

/// What is the matter with configured certificates. A relay with one that has expired is well all the same: to start it
/// again mends nothing, and would end the sessions that it still has.
fn also(config: &Config, now: SystemTime) -> String {
    let given = [
        ("tls.cert", &config.tls.cert),
        ("peering.cert", &config.peering.cert),
    ];
    let told = given.into_iter().filter(|(_, path)| !path.is_empty());
    told.filter_map(|(key, path)| {
        let facts = CertFacts::of(&Pem::File(path.into())).ok()?;
        Some(format!(
            "; the certificate of {key} {}",
            facts.lifetime.words(now)?
        ))
    })
    .collect()
}

/// Whether the relay that the configuration describes lets somebody in.
pub(super) fn answers(config: &Config) -> bool {
    if health_via::is_via(config) {
        return actix::System::new()
            .block_on(health_via::ask(config, DEADLINE))
            .is_ok();
    }
    let asked = local(config).and_then(|url| {
        let asking = ask(&url, config, Verify::Insecure);
        actix::System::new().block_on(asking)
    });
    asked.is_ok()
}

/// The relay that the configuration describes, on this machine.
fn local(config: &Config) -> Result<MoqtUrl, Failure> {
    let relay = &config.relay;
    if relay.port == 0 {
        let remedy = "name its port, or the relay with --url";
        return Err(Failure::config(
            "relay.port",
            "0: the system chose one, and nobody here knows which",
            remedy,
        ));
    }
    // Every address of this machine is this one too.
    let ip = if relay.bind.is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        relay.bind
    };
    let url = format!("moqt://{}", SocketAddr::new(ip, relay.port));
    url.parse()
        .map_err(|error| Failure::config("relay.bind", format!("{url}: {error}"), ""))
}

/// Whether the URL can lead nowhere but to this machine.
fn is_here(url: &MoqtUrl) -> bool {
    match url.host() {
        Host::Address(ip) => ip.to_canonical().is_loopback() || is_own(*ip),
        Host::Name(name) => name == "localhost",
    }
}

/// Only an address of its own can be bound.
fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// Connects, completes SETUP, and leaves; how long it took to be let in.
async fn ask(url: &MoqtUrl, config: &Config, verify: Verify) -> Result<Duration, Failure> {
    let options = Options {
        verify,
        token: None,
        transport: config.transport.settings(),
        session: session::Config {
            core: laps_protocol::moqt::session::Config {
                // The relay's log leaves out who comes every few seconds to ask this.
                implementation: format!("{IMPLEMENTATION} {HEALTH_CHECK}").into(),
                ..config.session.settings()
            },
            ..session::Config::default()
        },
        track: track::Config::default(),
        moving: Moving {
            retry: Duration::ZERO,
            ..Moving::default()
        },
        log: Logger::root(Discard, o!()),
    };
    let began = Instant::now();
    let asking = async {
        let targets = reach::targets(url).await?;
        reach::first(targets, |target| {
            let options = options.clone();
            async move { Subscriber::connect(&target, options).await }
        })
        .await
    };
    let session = match tokio::time::timeout(DEADLINE, asking).await {
        Ok(session) => session.map_err(|error| failure(url, &error))?,
        Err(_) => {
            let (why, remedy) = (
                "no session within 3 s",
                "check that the relay runs, its host and its port",
            );
            return Err(Failure::run(url.to_string(), why, remedy));
        }
    };
    let took = began.elapsed();
    drop(tokio::time::timeout(GOODBYE, session.close()).await);
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_relay_is_asked_on_this_machine() {
        let of = |bind: &str, port| {
            let mut config = Config::default();
            (config.relay.bind, config.relay.port) = (bind.parse().unwrap(), port);
            local(&config).map(|url| url.to_string())
        };
        for (bind, url) in [
            ("::", "127.0.0.1:5"),
            ("0.0.0.0", "127.0.0.1:5"),
            ("127.0.0.2", "127.0.0.2:5"),
            ("::1", "[::1]:5"),
        ] {
            let asked = of(bind, 5).unwrap();
            assert!(asked.contains(url), "{asked}");
        }
        assert!(of("::", 0).is_err());
    }

    #[test]
    fn only_this_machine_is_believed_without_a_certificate() {
        for (url, here) in [
            ("moqt://127.0.0.1:1", true),
            ("moqt://[::1]:1", true),
            ("moqt://localhost:1", true),
            ("moqt://192.0.2.1:1", false),
            ("moqt://localhost.example:1", false),
        ] {
            assert_eq!(is_here(&url.parse().unwrap()), here, "{url}");
        }
    }
}
