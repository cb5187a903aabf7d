//! The subscriber: one connection for all tracks.

use super::{BULK_PRIORITY, URGENT, URGENT_PRIORITY, Work, bulk_name, now};
use crate::wire::{CODEC, Control, subscribe_to, unexpected};
use crate::{Failure, runtime};
use bytes::Bytes;
use hdrhistogram::Histogram;
use laps_actors::transport::{ClientEndpoint, RecvGuard, TransportConfig};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What one run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Urgent objects that arrived whole while it was measured.
    pub(crate) urgent: u64,
    /// Median from the publisher's stamp to the last byte of an urgent object.
    pub(crate) p50_ms: f64,
    /// The same for 99 of 100.
    pub(crate) p99_ms: f64,
    /// Payload of bulk, megabits per second.
    pub(crate) bulk_mbit: f64,
    /// Streams that did not end as they should.
    pub(crate) broken: u64,
}

struct Seen {
    urgent_alias: Cell<Option<u64>>,
    latency: RefCell<Histogram<u64>>,
    bulk_bytes: Cell<u64>,
    broken: Cell<u64>,
    measuring: Cell<bool>,
}

/// Subscribes, warms up, measures, prints.
pub(crate) async fn watch(to: SocketAddr, work: Work) -> Result<(), Failure> {
    let endpoint = ClientEndpoint::for_remote(to, &runtime::client_tls()?, &TransportConfig::default())?;
    let parts = endpoint.connect(to, "localhost").await?.split();
    let (mut conn, mut uni) = (parts.handle, parts.uni);
    let mut control = Control::connect(&mut conn).await?;
    let seen = Rc::new(Seen {
        urgent_alias: Cell::new(None),
        latency: RefCell::new(Histogram::new_with_bounds(1, 600_000_000_000, 3)?),
        bulk_bytes: Cell::new(0),
        broken: Cell::new(0),
        measuring: Cell::new(false),
    });
    let reading = Rc::clone(&seen);
    tokio::task::spawn_local(async move {
        while let Ok(Some(stream)) = uni.accept().await {
            let seen = Rc::clone(&reading);
            tokio::task::spawn_local(async move {
                if read(stream, &seen).await.is_err() {
                    seen.broken.set(seen.broken.get() + 1);
                }
            });
        }
    });
    let mut wanted = HashMap::new();
    // Bulk first: the urgent track comes to a connection that is busy.
    let tracks = (0..work.bulk).map(|number| (bulk_name(number), BULK_PRIORITY));
    for ((name, priority), id) in tracks
        .chain([(URGENT.to_owned(), URGENT_PRIORITY)])
        .zip((0..).step_by(2))
    {
        control
            .send(&subscribe_to(RequestId(id), &name, priority)?)
            .await?;
        wanted.insert(RequestId(id), name);
    }
    while !wanted.is_empty() {
        match control.answer().await? {
            ControlMessage::SubscribeOk(id, ok) => {
                if wanted.remove(&id).is_some_and(|name| name == URGENT) {
                    seen.urgent_alias.set(Some(ok.alias));
                }
            }
            ControlMessage::MaxRequestId(_) => {}
            other => return Err(unexpected(&other)),
        }
    }
    tokio::time::sleep(Duration::from_secs_f64(work.warmup)).await;
    seen.measuring.set(true);
    tokio::time::sleep(Duration::from_secs_f64(work.seconds)).await;
    seen.measuring.set(false);
    let latency = seen.latency.borrow();
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
    super::options::print_json(&Found {
        urgent: latency.len(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        bulk_mbit: seen.bulk_bytes.get() as f64 * 8.0 / 1e6 / work.seconds,
        broken: seen.broken.get(),
    })
}

async fn read(mut stream: RecvGuard, seen: &Seen) -> Result<(), Failure> {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    let (mut alias, mut left, mut stamp) = (None, 0_u64, Vec::new());
    loop {
        let mut pieces = [const { Bytes::new() }; 16];
        let received = stream.receive_vectored(&mut pieces).await?;
        for piece in pieces.into_iter().take(received.chunks) {
            reader.push(piece);
        }
        while let Some(item) = reader.next()? {
            match item {
                StreamItem::SubgroupHeader(header) => alias = Some(header.alias),
                StreamItem::Object(header) => {
                    left = header.payload_len;
                    stamp.clear();
                }
                StreamItem::Payload(bytes) => {
                    left -= bytes.len() as u64;
                    let room = size_of::<u64>().saturating_sub(stamp.len());
                    stamp.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
                    seen.payload(alias, bytes.len() as u64, left == 0, &stamp)?;
                }
                StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => {
                    return Err("a fetch stream".into());
                }
            }
        }
        if received.fin && received.chunks == 0 {
            return Ok(reader.fin()?);
        }
    }
}

impl Seen {
    fn payload(&self, alias: Option<u64>, bytes: u64, whole: bool, stamp: &[u8]) -> Result<(), Failure> {
        if !self.measuring.get() {
            return Ok(());
        }
        if alias != self.urgent_alias.get() {
            self.bulk_bytes.set(self.bulk_bytes.get() + bytes);
        } else if whole {
            let sent = u64::from_be_bytes(stamp.try_into()?);
            self.latency
                .borrow_mut()
                .saturating_record(now().saturating_sub(sent));
        }
        Ok(())
    }
}
