//! `laps` and `laps relay`: runs the relay until a signal ends it.

use super::census;
use crate::certificate::{Certificate, Look, Reminder, state_folder};
use crate::cli::RelayOptions;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::keeper::Warden;
use crate::logging::Logging;
use crate::relay::{Peering, Relay, RelayError, Settings};
use crate::signals::{self, StopSignal};
use crate::systemd::Systemd;
use laps_actors::auth::Auth;
use laps_actors::discovery::Introductions;
use laps_actors::root::{Outcome, RootStatus};
use laps_actors::supervise::Faults;
use laps_actors::transport::ServerTls;
use laps_actors::watchdog;
use laps_actors::{session, track};
use laps_protocol::discovery::hex;
use laps_protocol::relay::load::Terms;
use slog::{Logger, info, warn};
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::MissedTickBehavior;

/// What each part of the relay gets to end after SIGINT, or when everybody has left; all of it is over inside two
/// seconds.
const DRAIN: Duration = Duration::from_millis(1500);

/// How often the certificate is looked at: nobody who has just replaced a file wants to wait, and a machine whose clock
/// is set an hour after its start soon has a certificate of today.
const LOOK: Duration = Duration::from_secs(5);

/// Runs the relay as the options, the environment and the file say.
///
/// # Errors
/// When it cannot start, or ended because a part of it failed.
pub fn run(options: &RelayOptions) -> Result<(), Failure> {
    let config = config::load(&options.layers()?)?;
    let logging = Logging::start(&config.logging);
    actix::System::new().block_on(serve(&config, &logging))
}

async fn serve(config: &Config, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let census = signals::census()?;
    let given = config.tls.pair();
    let folder = state_folder(|name| std::env::var_os(name));
    let (certificate, trouble) = Certificate::open(given, folder, SystemTime::now())?;
    if let Some(what) = trouble {
        warn!(logging.logger, "the certificate does not outlive the relay as it should"; "why" => what);
    }
    let auth = config.auth.verifier()?;
    let settings = Settings {
        faults: faults()?,
        discovery: config.found_by()?,
        peering: mesh(config)?,
        ..settings(config, logging, certificate.tls().clone(), auth)
    };
    if let Some(what) = config.workers_warning() {
        warn!(logging.logger, "{what}");
    }
    if config.discovery.peer && settings.discovery.is_none() {
        warn!(logging.logger, "no peers are looked for on the local network";
            "why" => "relay.bind is loopback, or this program was built without multicast DNS");
    }
    let peering = settings.peering.as_ref().and_then(Peering::tls).cloned();
    let relay = Relay::start(settings).await.map_err(refused)?;
    greet(config, &relay, &certificate);
    let mut systemd = Systemd::new(logging.logger.clone());
    // Before the watchdog begins, whose beats would otherwise be the first that the service manager hears.
    systemd.ready(&format!(
        "serving on {}, {} worker(s)",
        relay.local_addr(),
        config.workers()
    ));
    // Ends with this function, so that an end that takes its time is watched too.
    let _watching = watchdog::start(
        relay.board().clone(),
        watchdog::Terms::default(),
        Warden::new(),
        logging.logger.clone(),
    )
    .map_err(|error| Failure::run("watchdog", error.to_string(), ""))?;
    let handle = relay.handle().clone();
    // Both run for the life of the arbiter; nothing waits for them.
    drop(actix_rt::spawn(look_after(
        certificate,
        peering,
        logging.logger.clone(),
    )));
    drop(actix_rt::spawn(census::answer(
        census,
        handle.clone(),
        logging.logger.clone(),
    )));
    let mut status = handle.status();
    let mut ended = std::pin::pin!(relay.ended());
    let mut asked = false;
    let mut told = Told::default();
    let outcome = loop {
        tokio::select! {
            outcome = &mut ended => break outcome,
            signal = shutdown.recv() => {
                info!(logging.logger, "relay ends"; "signal" => %signal);
                // Each further signal is less patient: GOAWAY first, then an orderly close, then none.
                let _ended_already: bool = if signal == StopSignal::Terminate && !asked {
                    handle.retire(config.drain.retire(DRAIN)).is_err()
                } else {
                    handle.drain(DRAIN).is_err()
                };
                asked = true;
            }
            Ok(()) = status.changed() => {
                let status = status.borrow_and_update().clone();
                if told.tell(config, &status) {
                    systemd.stopping(&told.to_string());
                }
            }
        }
    };
    systemd.stopping(&outcome.to_string());
    if matches!(outcome, Outcome::Drained) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Fault,
        "relay",
        outcome.to_string(),
        "start it again",
    ))
}

/// What was last said of the sessions that are left.
#[derive(Default)]
struct Told(Option<usize>);

impl Told {
    /// Tells an operator, whatever the log level, whom the end waits for. True when there is news of the end.
    fn tell(&mut self, config: &Config, status: &RootStatus) -> bool {
        let sessions = match status {
            RootStatus::Retiring { sessions } => sessions,
            RootStatus::Draining => return true,
            RootStatus::Starting | RootStatus::Running | RootStatus::Ended(_) => return false,
        };
        if *sessions == 0 || self.0.is_some_and(|before| before <= *sessions) {
            return self.0.is_none();
        }
        // One by one they would fill a screen: the first number, then each half of the one before.
        if self.0.is_none_or(|before| *sessions <= before / 2) {
            self.0 = Some(*sessions);
            let mut out = std::io::stdout().lock();
            let grace = config.drain.grace;
            drop(writeln!(
                out,
                "draining: {sessions} session(s) left, cut off {grace} s after the signal"
            ));
            drop(out.flush());
            return true;
        }
        false
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(sessions) => write!(f, "draining, {sessions} session(s) left or less"),
            None => f.write_str("draining"),
        }
    }
}

pub(super) fn settings(config: &Config, logging: &Logging, tls: ServerTls, auth: Auth) -> Settings {
    Settings {
        listen: config.relay.listen(),
        port: config.relay.port,
        shards: usize::from(config.workers()),
        tls,
        transport: config.transport.settings(),
        session: session::Config {
            auth,
            ..config.session_settings()
        },
        track: track::Config {
            limits: config.track_limits(),
            budget: config.cache.budget(),
            fetch: config.fetch.settings(),
            dampen: Duration::from_millis(config.subscribe.dampen_ms),
            upstream_timeout: Duration::from_millis(config.subscribe.answer_ms),
            max_publishers: config.limits.max_publishers(),
            ..track::Config::default()
        },
        max_waiting: config.max_waiting(),
        peering: None,
        load: (config.gauge(), Terms::default()),
        discovery: None,
        admin: config.admin.listen(),
        log: logging.logger.clone(),
        faults: Faults::default(),
    }
}

/// How the relay is part of a mesh, if it is.
fn mesh(config: &Config) -> Result<Option<Peering>, Failure> {
    let name = config.relay.endpoint_text();
    let node = config.relay.node_id();
    let node = node.map_err(|error| Failure::config("relay.endpoint_id", error.to_string(), ""))?;
    let mut peering = config.peering.relay(node, &name)?;
    if let Some(peering) = peering.as_mut().filter(|_| config.discovery.peer) {
        peering.setup.found = Some(Introductions::default());
    }
    Ok(peering)
}

/// What the chaos harness wants to fail, in a build for it; nothing in any other.
#[cfg(feature = "chaos")]
fn faults() -> Result<Faults, Failure> {
    crate::chaos::faults()
}

#[cfg(not(feature = "chaos"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build for the chaos harness can fail here"
)]
fn faults() -> Result<Faults, Failure> {
    Ok(Faults::default())
}

/// Looks after the certificate for as long as the relay runs, and tells when it, or that of the mesh, is about to end.
async fn look_after(mut certificate: Certificate, peering: Option<ServerTls>, log: Logger) {
    let mut reminders = [Reminder::default(); 2];
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match certificate.look(SystemTime::now(), Instant::now()) {
            Look::Same => {}
            Look::Renewed(trouble) => {
                let line = shown(&certificate);
                info!(log, "another certificate is shown to newcomers"; "is" => &line);
                if let Some(what) = trouble {
                    warn!(log, "the certificate does not outlive the relay as it should"; "why" => what);
                }
                // For whoever copied the line before from there.
                drop(writeln!(std::io::stdout(), "{line}"));
            }
            Look::Trouble(why) => {
                warn!(log, "the certificate stays as it was: the new one cannot be used"; "why" => why);
            }
        }
        remind(&mut reminders, &certificate, peering.as_ref(), &log);
    }
}

/// Warns of what its operator has to renew.
fn remind(
    reminders: &mut [Reminder; 2],
    certificate: &Certificate,
    peering: Option<&ServerTls>,
    log: &Logger,
) {
    let now = SystemTime::now();
    let lives = [certificate.to_be_renewed(), peering.and_then(ServerTls::lifetime)];
    let what = [
        (
            "tls.cert",
            "put another one in its place, it is loaded within 5 s",
        ),
        (
            "peering.cert",
            "put another one in its place, and start the relay again",
        ),
    ];
    for ((reminder, life), (key, remedy)) in reminders.iter_mut().zip(lives).zip(what) {
        if let Some(words) = life.and_then(|life| reminder.due(life, now)) {
            warn!(log, "the certificate of {key} {words}"; "do" => remedy);
        }
    }
}

/// What a client may want to know of the certificate.
fn shown(certificate: &Certificate) -> String {
    let hash = hex(&certificate.tls().known_by().certificate).to_string();
    format!("certificate SHA-256 {hash} ({})", certificate.origin())
}

fn refused(error: RelayError) -> Failure {
    match error {
        // Its own text says what to do.
        RelayError::Bind(error) => Failure::run("relay", error.to_string(), ""),
        RelayError::Admin(error) => Failure::run("relay", error.to_string(), ""),
        RelayError::Start(outcome) => Failure::run("relay", outcome.to_string(), ""),
    }
}

/// The lines that an operator needs, whatever the log level. A closed standard output is nobody's loss.
fn greet(config: &Config, relay: &Relay, certificate: &Certificate) {
    let addr = relay.local_addr();
    let mut out = std::io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    let (name, workers) = (config.relay.endpoint_text(), config.workers());
    drop(writeln!(
        out,
        "laps {version} \"{name}\" listening on {addr}, {workers} worker(s)"
    ));
    drop(writeln!(out, "{}", shown(certificate)));
    if let Some(key) = certificate.lasting() {
        let key = hex(&key);
        drop(writeln!(
            out,
            "its key SHA-256 {key} (stays; --cert-hash takes either)"
        ));
    }
    let kinds = ["relays", "laps relays"].into_iter().zip(relay.peer_addrs());
    for (kind, addr) in kinds.filter_map(|(kind, addr)| Some((kind, addr?))) {
        drop(writeln!(out, "{kind} may dial {addr}"));
    }
    if let Some(admin) = relay.admin_addr() {
        drop(writeln!(
            out,
            "admin port http://{admin} (/healthz, /readyz, /metrics)"
        ));
    }
    let via = config.peering.is_via();
    if via {
        let what = "it is a via (peering.node_type): it passes on what relays send";
        drop(writeln!(out, "clients are refused, {what}"));
    }
    if config.auth.is_open() && !via && !addr.ip().to_canonical().is_loopback() {
        drop(writeln!(
            out,
            "OPEN RELAY: there is no authentication, whoever reaches {addr} can publish and subscribe; \
             auth.secret asks for a token, --bind_ip 127.0.0.1 keeps it to this machine"
        ));
    }
    drop(out.flush());
}
