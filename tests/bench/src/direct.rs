//! The publisher as a server of its own: the latency of a connection with nothing in between.

use crate::load::Work;
use crate::publisher::{Shared, send_objects};
use crate::wire::{Control, subscribe_ok, unexpected};
use crate::{Failure, runtime};
use laps_protocol::moqt::message::ControlMessage;
use std::net::SocketAddr;
use tokio::sync::{mpsc, watch};

/// Serves the subscribers and sends each object to all of them.
pub(crate) async fn publish(
    told: mpsc::UnboundedSender<SocketAddr>,
    going: watch::Receiver<bool>,
    work: &Work,
    shared: &Shared,
) -> Result<(), Failure> {
    let alias = 7;
    let mut server = runtime::server()?;
    told.send(server.local_addr())?;
    let (mut conns, mut held) = (Vec::new(), Vec::new());
    for _ in 0..work.subscribers {
        let parts = server.accept().await.ok_or("the server ended")?.split();
        let mut bidi = parts.bidi;
        let mut control = Control::new(bidi.accept().await?.ok_or("no control stream")?);
        control.accept().await?;
        match control.answer().await? {
            ControlMessage::Subscribe(request, _) => control.send(&subscribe_ok(request, alias)).await?,
            other => return Err(unexpected(&other)),
        }
        conns.push(parts.handle);
        held.push(control);
    }
    send_objects(conns, alias, going, work, shared).await
}
