//! `laps health` of a Via, which takes no clients: a CONNECT at its port for relays.

use super::health::GOODBYE;
use crate::config::Config;
use crate::exit::Failure;
use laps_actors::peering::{Dialer, HostPort};
use laps_actors::transport::{Conn, ConnHandle, RecvGuard, SendGuard};
use laps_protocol::peering::message::Dialect;
use laps_protocol::peering::node::{NodeInfo, NodeType};
use laps_protocol::peering::session::{self, Action, ControlStream, Event, Input, Output, PeerSession, Role};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The one stream there is.
const STREAM: ControlStream = ControlStream(0);

/// Whether the relay that the configuration describes is a Via.
pub(super) fn is_via(config: &Config) -> bool {
    config.peering.node_type.0 == NodeType::Via
}

/// Dials the Via that the configuration describes as another relay would, with its own certificate, and asks for a link.
/// It answers that this is its own id, and so shows that it takes links: nothing of a link comes about. Gives how long that
/// took, and where it was.
///
/// # Errors
/// When it does not answer within `deadline`, or the configuration has nothing to prove who is there.
pub(super) async fn ask(config: &Config, deadline: Duration) -> Result<(String, Duration), Failure> {
    let at = address(config)?;
    let node = config.relay.node_id();
    let node = node.map_err(|error| Failure::config("relay.endpoint_id", error.to_string(), ""))?;
    let Some(tls) = config.peering.tls(node)? else {
        let remedy = "make certificates with `laps cert ca`";
        return Err(Failure::config(
            "peering.ca",
            "not given, and this is a via",
            remedy,
        ));
    };
    let mut settings = session::Config::new(NodeInfo::new(node, NodeType::Via, Default::default()));
    settings.epoch = life();
    let mut dialer = Dialer::new(tls.client().clone(), config.peering.settings(), deadline);
    let began = Instant::now();
    let asking = async {
        let conn = dialer.dial(&at).await.map_err(|error| error.to_string())?;
        connect(conn, settings).await
    };
    let answer = tokio::time::timeout(deadline, asking).await;
    let took = began.elapsed();
    // It counts whoever asks it among its links until it hears that they have left.
    drop(tokio::time::timeout(GOODBYE, dialer.wait_idle()).await);
    let why = match answer {
        Ok(Ok(())) => return Ok((at.to_string(), took)),
        Ok(Err(why)) => why,
        Err(_) => format!("no answer to CONNECT within {} s", deadline.as_secs()),
    };
    let remedy = "check that the relay runs, and its peering.port";
    Err(Failure::run(at.to_string(), why, remedy))
}

/// Where relays dial it, on this machine.
fn address(config: &Config) -> Result<HostPort, Failure> {
    let (bind, port) = (config.peering.bind, config.peering.port);
    if port == 0 {
        let why = "0: the system chose one, and nobody here knows which";
        return Err(Failure::config("peering.port", why, "name its port"));
    }
    // Every address of this machine is this one too.
    let ip: IpAddr = if bind.is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        bind
    };
    let text = SocketAddr::new(ip, port).to_string();
    text.parse()
        .map_err(|error| Failure::config("peering.bind", format!("{text}: {error}"), ""))
}

/// A life of this node; no relay of ours has none. Decision 0029.
fn life() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Says CONNECT, and waits for the answer, whatever it is: only a relay that takes links gives one.
async fn connect(conn: Conn, settings: session::Config) -> Result<(), String> {
    let mut handle = conn.handle();
    let mut session = PeerSession::new(Role::Dialler, Dialect::Own, settings, Instant::now());
    let mut pipe: Option<(SendGuard, RecvGuard)> = None;
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Action(Action::OpenControl) => {
                    pipe = Some(handle.open_bidi().await.map_err(|error| ended(&handle, &error))?);
                    session.handle_input(Instant::now(), Input::StreamOpened(STREAM));
                }
                Output::Action(Action::Write(stream, bytes)) => {
                    let Some((send, _)) = &mut pipe else { continue };
                    send.send(&mut [bytes])
                        .await
                        .map_err(|error| ended(&handle, &error))?;
                    session.handle_input(Instant::now(), Input::Flushed(stream));
                }
                // A refusal is an answer too: this is its own id, it says.
                Output::Event(event) => {
                    if matches!(*event, Event::Refused(_) | Event::Established { .. }) {
                        handle.close(0, "health check");
                        return Ok(());
                    }
                }
                Output::Action(Action::Close { reason, .. }) => return Err(reason.into_owned()),
                Output::Action(Action::Reset(..)) | Output::Trace(_) => {}
            }
        }
        let Some((_, receive)) = &mut pipe else {
            return Err("no stream for CONNECT".to_owned());
        };
        let input = match receive.receive().await {
            Ok(Some(bytes)) => Input::StreamBytes(STREAM, bytes),
            Ok(None) => Input::StreamFin(STREAM),
            Err(error) => return Err(ended(&handle, &error)),
        };
        session.handle_input(Instant::now(), input);
    }
}

/// Why the connection is over, in the peer's words where it said any.
fn ended(conn: &ConnHandle, error: &dyn std::fmt::Display) -> String {
    let said = conn.peer_close().map(|close| &close.reason);
    said.filter(|reason| !reason.is_empty())
        .map_or_else(|| error.to_string(), |reason| format!("the relay says: {reason}"))
}
