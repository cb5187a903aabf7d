//! What the admin port says over HTTP.

use super::{AdminActor, Scrape};
use crate::limits::Pressure;
use crate::metrics::page::CONTENT_TYPE;
use crate::root::{Health, HealthReport, RootHandle, RootStatus};
use crate::supervise::mailbox;
use crate::watchdog::Board;
use actix::Addr;
use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use laps_protocol::relay::load::Level;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Connections at once; more wait in the system's queue. Tools keep one each.
pub(super) const MAX_CONNECTIONS: usize = 16;
/// How long a request's head may take, and how long an end of the connection.
const HEAD: Duration = Duration::from_secs(2);
/// How long a connection is kept for the next request: longer than the usual pause between two scrapes would keep the
/// place of somebody else for nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the root may take to say how the relay is.
const HEALTH_DEADLINE: Duration = Duration::from_secs(1);
/// How long the page may take; longer than the actor waits for the parts of the relay.
const PAGE_DEADLINE: Duration = Duration::from_secs(4);

/// Whom requests are passed to.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) admin: Addr<AdminActor>,
    pub(super) root: RootHandle,
    pub(super) board: Board,
    pub(super) pressure: Arc<Pressure>,
}

/// The server; it serves while it is polled, on a thread of its own.
pub(super) fn server(listener: TcpListener, state: State) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().app_data(Data::new(state.clone())).configure(routes));
    // Signals are the relay's own affair.
    let server = server.disable_signals().workers(1).worker_max_blocking_threads(1);
    let server = server
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD);
    let server = server.client_disconnect_timeout(HEAD).keep_alive(KEEP_ALIVE);
    Ok(server.listen(listener)?.run())
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/healthz").get(healthz).head(healthz))
        .service(web::resource("/readyz").get(readyz).head(readyz))
        .service(web::resource("/metrics").get(metrics).head(metrics));
}

/// The process lives: every thread has run of late, as far as the watchdog has seen.
async fn healthz(state: Data<State>) -> HttpResponse {
    let late = state.board.late();
    if late.is_empty() {
        HttpResponse::Ok().body("ok\n")
    } else {
        unwell(&format!("does not run: {}", late.join(", ")))
    }
}

/// It takes new sessions.
async fn readyz(state: Data<State>) -> HttpResponse {
    match mailbox::ask(state.root.addr(), Health, HEALTH_DEADLINE).await {
        Ok(report) => match unready(&report, state.pressure.level()) {
            None => HttpResponse::Ok().body("ready\n"),
            Some(why) => unwell(&why),
        },
        Err(_) => unwell("the root does not answer"),
    }
}

/// Why it takes no new sessions; none when it does. `load` is what all of its shards refuse.
pub(super) fn unready(report: &HealthReport, load: Level) -> Option<String> {
    match &report.status {
        RootStatus::Running => {}
        RootStatus::Starting => return Some("starting".to_owned()),
        RootStatus::Retiring { sessions } => return Some(format!("draining, {sessions} session(s) left")),
        RootStatus::Draining | RootStatus::Ended(_) => return Some("draining".to_owned()),
    }
    // A part that the relay can do without keeps nobody from being served.
    if !report.missing.is_empty() {
        return Some(format!("down: {}", report.missing.join(", ")));
    }
    if !report.late.is_empty() {
        return Some(format!("does not run: {}", report.late.join(", ")));
    }
    (load >= Level::NoNewConnections).then(|| format!("short of memory: {}", load.words()))
}

async fn metrics(state: Data<State>) -> HttpResponse {
    match mailbox::ask(&state.admin, Scrape, PAGE_DEADLINE).await {
        Ok(page) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
            .body(page.to_string()),
        Err(_) => unwell("the metrics are not to be had"),
    }
}

fn unwell(why: &str) -> HttpResponse {
    HttpResponse::ServiceUnavailable().body(format!("{why}\n"))
}
