//! The product: its own composition, with its own defaults.

use crate::{Failure, runtime};
use laps::relay::{Relay, Settings};
use laps_actors::limits::Gauge;
use laps_actors::supervise::Faults;
use laps_actors::transport::{Listen, TransportConfig};
use laps_actors::{session, track};
use laps_protocol::relay::load::Terms;
use slog::{Discard, Logger, o};
use std::time::Duration;

/// Runs until the parent is gone.
pub(crate) fn run(listen: Listen, shards: usize, session: session::Config) -> Result<(), Failure> {
    let settings = Settings {
        listen,
        port: 0,
        shards,
        tls: runtime::server_tls()?,
        transport: TransportConfig::default(),
        session,
        track: track::Config::default(),
        max_waiting: 1000,
        peering: None,
        discovery: None,
        load: (Gauge::default(), Terms::default()),
        admin: None,
        log: Logger::root(Discard, o!()),
        faults: Faults::default(),
    };
    actix::System::new().block_on(async move {
        let relay = Relay::start(settings).await?;
        runtime::announce(relay.local_addr())?;
        runtime::parent_gone().await;
        relay.drain(Duration::from_millis(500));
        relay.ended().await;
        Ok(())
    })
}
