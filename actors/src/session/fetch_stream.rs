//! The stream of a FETCH of ours: bytes in, objects to whoever fetched, one batch in flight.

use super::ingress::{Feed, Ingress, PIECES, Stop};
use super::inlet::Inlet;
use crate::fetch::{FetchSink, Fetched};
use crate::metrics::{Count, tally};
use crate::supervise::mailbox;
use bytes::Bytes;
use laps_protocol::moqt::data::{StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::relay::track_log::{COPY_BELOW_BYTES, Fill, StreamEnd};
use std::time::Duration;

/// How long whoever fetched may take to want more: a slow reader slows the fetch and is not hurried.
const HELD_DEADLINE: Duration = Duration::from_mins(10);

/// Tells its inlet how the stream ended, however its task ends; by a reset unless it was finished in order.
struct Over {
    inlet: Inlet,
    request: RequestId,
    end: StreamEnd,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.inlet.fetch_over(self.request, self.end);
    }
}

impl Ingress {
    /// Reads the stream of the fetch `request` to its end.
    pub(super) async fn fetched(
        &self,
        stream: &mut impl Feed,
        reader: &mut StreamReader,
        request: RequestId,
    ) -> Result<(), Stop> {
        let sink = self.inlet.resolve_fetch(request, self.alias_wait).await;
        // One that was cancelled, or was never made, is not read. MOQT-14 §10.1 [D14-DATA-20]
        let sink = sink.ok_or(Stop::Stream)?;
        let mut over = Over {
            inlet: self.inlet.clone(),
            request,
            end: StreamEnd::Reset(ResetCode::InternalError),
        };
        loop {
            let mut chunks = Vec::new();
            while let Some(item) = reader.next()? {
                chunks.extend(fill(item));
            }
            if !chunks.is_empty() {
                give(&sink, chunks).await?;
            }
            match self.receive(PIECES, stream, reader).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(Stop::Reset(code)) => {
                    over.end = StreamEnd::Reset(code);
                    return Err(Stop::Reset(code));
                }
                Err(stop) => return Err(stop),
            }
        }
        // MOQT-14 §10.4 [D14-DATA-18]: a FIN inside an object is the peer's breach, and no end of a range.
        reader.fin()?;
        over.end = StreamEnd::Fin;
        Ok(())
    }
}

async fn give(sink: &FetchSink, chunks: Vec<Fill>) -> Result<(), Stop> {
    let batch = Fetched {
        key: sink.key,
        chunks,
    };
    mailbox::ask(&sink.objects, batch, HELD_DEADLINE)
        .await
        .map_err(|_| Stop::Stream)
}

fn fill(item: StreamItem) -> Option<Fill> {
    match item {
        StreamItem::FetchObject(mut header) => {
            tally::count(Count::FetchObjectsIn, 1);
            header.extensions = settled(header.extensions);
            Some(Fill::Object(header))
        }
        StreamItem::Payload(bytes) => {
            tally::count(Count::FetchBytesIn, bytes.len() as u64);
            Some(Fill::Payload(settled(bytes)))
        }
        StreamItem::SubgroupHeader(_) | StreamItem::FetchHeader(_) | StreamItem::Object(_) => None,
    }
}

/// Small pieces would pin the slab that the transport received them in, as `Append::settled` explains.
fn settled(bytes: Bytes) -> Bytes {
    if bytes.is_empty() || bytes.len() >= COPY_BELOW_BYTES {
        return bytes;
    }
    Bytes::copy_from_slice(&bytes)
}
