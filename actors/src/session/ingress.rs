//! One task per inbound unidirectional stream: bytes in, chunks to the track, one batch in flight.

use super::inbound::Inbound;
use super::inlet::Inlet;
use super::messages::Binding;
use crate::metrics::{Count, tally};
use crate::supervise::FaultPoint;
use crate::supervise::mailbox::{self, AskError};
use crate::track::Ingest;
use crate::transport::{Received, RecvGuard, StreamError};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::{CloseCode, DecodeError, ResetCode};
use laps_protocol::moqt::object::{DatagramObject, SubgroupHeader};
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::track_log::{Append, LogDatagram, StreamEnd, StreamKey};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a track may take to make room for a batch. A track is slow only while another shard is, which has a
/// shorter deadline of its own.
const INGEST_DEADLINE: Duration = Duration::from_secs(30);
/// Pieces taken from the transport in one call.
pub(super) const PIECES: usize = 16;

static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// The number of a stream, which no other one has in the process.
pub(crate) fn fresh_stream() -> StreamKey {
    NEXT_STREAM.fetch_add(1, Ordering::Relaxed)
}

/// What every stream task of a session or a link needs.
#[derive(Clone, Debug)]
pub(crate) struct Ingress {
    /// Whose streams they are.
    pub(crate) inlet: Inlet,
    pub(crate) codec: Codec,
    pub(crate) limits: DataLimits,
    /// How long a stream's header may take, counted from when it is begun to be read.
    pub(crate) header_timeout: Duration,
    /// How long a stream may wait for its alias to be known.
    pub(crate) alias_wait: Duration,
    pub(crate) inbound: Inbound,
    /// Injected faults, in tests.
    pub(crate) fault: FaultPoint,
}

/// Where the bytes of a stream come from: the stack, or a link that hands them to others as well.
pub(crate) trait Feed {
    /// Waits for bytes and takes what there is, up to one piece for each place in `pieces`, which are empty. Cancel-safe.
    async fn take(&mut self, pieces: &mut [Bytes]) -> Result<Received, StreamError>;

    /// Wants no more, with this code for the peer.
    fn stop(&mut self, code: u64);
}

impl Feed for RecvGuard {
    async fn take(&mut self, pieces: &mut [Bytes]) -> Result<Received, StreamError> {
        self.receive_vectored(pieces).await
    }

    fn stop(&mut self, code: u64) {
        Self::stop(self, code);
    }
}

/// Why a stream task ended early.
pub(super) enum Stop {
    /// The peer is to stop sending this stream, and nothing else happens.
    Stream,
    /// The connection is gone or the peer reset the stream.
    Reset(ResetCode),
    /// The session has to end.
    Breach(DecodeError),
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self::Breach(error)
    }
}

/// Closes the stream in the track's log however the task ends; by a reset unless it was finished in order.
struct OpenStream {
    binding: Binding,
    key: StreamKey,
    closed: bool,
}

impl OpenStream {
    fn chunk(&mut self, end: StreamEnd) -> Append {
        self.closed = true;
        Append::SubgroupClosed {
            stream: self.key,
            end,
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if !self.closed {
            let chunk = self.chunk(StreamEnd::Reset(ResetCode::InternalError));
            mailbox::signal(
                &self.binding.track,
                Ingest {
                    source: self.binding.source,
                    batch: vec![chunk],
                },
            );
        }
    }
}

impl Ingress {
    /// Reads one stream to its end. What of it was read already, behind a head that is not MOQT's, is `begun`.
    pub(crate) async fn run(self, mut stream: impl Feed, begun: Bytes) {
        match self.read(&mut stream, begun).await {
            Ok(()) => {}
            Err(Stop::Stream) => stream.stop(self.codec.reset_code(ResetCode::Cancelled)),
            Err(Stop::Reset(_)) => {}
            Err(Stop::Breach(error)) => self.inlet.breach(error),
        }
    }

    async fn read(&self, stream: &mut impl Feed, begun: Bytes) -> Result<(), Stop> {
        tally::count(Count::StreamsIn, 1);
        let mut reader = StreamReader::new(self.codec, self.limits);
        if !begun.is_empty() {
            reader.push(begun);
        }
        let deadline = Instant::now() + self.header_timeout;
        let header = loop {
            match reader.next()? {
                Some(StreamItem::SubgroupHeader(header)) => break header,
                Some(StreamItem::FetchHeader(request)) => {
                    return self.fetched(stream, &mut reader, request).await;
                }
                // A reader gives a header first.
                Some(_) => return Err(Stop::Stream),
                None => {}
            }
            // A piece at a time: what the header does not need stays in the transport, where a window bounds it.
            let received = timeout_at(deadline, self.receive(1, stream, &mut reader)).await;
            match received {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    reader.fin()?;
                    return Ok(());
                }
                Ok(Err(stop)) => return Err(stop),
                // MOQT-14 §3.4 [D14-DATA-23], §12.2 [D14-LIM-6]
                Err(_) => {
                    return Err(Stop::Breach(DecodeError::with_code(
                        CloseCode::DataStreamTimeout,
                        "a data stream's header was left unfinished",
                        "MOQT-14 §3.4",
                    )));
                }
            }
        };
        let mut reading = self.inbound.read(header.priority);
        tokio::select! {
            biased;
            // MOQT-14 §12.1 [D14-LIM-1]: the session has too many, and this one is the least urgent.
            () = reading.given_up() => Err(Stop::Stream),
            done = self.carry(stream, &mut reader, &header) => done,
        }
    }

    /// Reads the objects of a subgroup to their end.
    async fn carry(
        &self,
        stream: &mut impl Feed,
        reader: &mut StreamReader,
        header: &SubgroupHeader,
    ) -> Result<(), Stop> {
        let binding = self.resolve(header, reader).await?;
        let mut open = OpenStream {
            binding,
            key: fresh_stream(),
            closed: false,
        };
        let result = self.forward(stream, reader, header, &mut open).await;
        if let Err(Stop::Reset(code)) = result {
            let chunk = open.chunk(StreamEnd::Reset(code));
            self.ingest(&open.binding, vec![chunk]).await?;
        }
        result
    }

    /// Waits for bytes and gives them to the reader; false at the end of the stream.
    pub(super) async fn receive(
        &self,
        most: usize,
        stream: &mut impl Feed,
        reader: &mut StreamReader,
    ) -> Result<bool, Stop> {
        self.fault.check();
        let mut pieces = [const { Bytes::new() }; PIECES];
        let (pieces, _) = pieces.split_at_mut(most.min(PIECES));
        match stream.take(pieces).await {
            Ok(received) => {
                for piece in pieces.iter_mut().take(received.chunks) {
                    reader.push(std::mem::take(piece));
                }
                Ok(!received.fin || received.chunks > 0)
            }
            Err(StreamError::Reset { code }) => {
                let code = self.codec.reset_code_from(code);
                tally::count(Count::reset_in(code), 1);
                Err(Stop::Reset(code))
            }
            Err(_) => Err(Stop::Reset(ResetCode::SessionClosed)),
        }
    }

    /// MOQT-14 §10.4.2 [D14-DATA-16]: the message that explains an alias may come after the stream that uses it. The
    /// stream waits unread, so the transport's window bounds what it holds.
    async fn resolve(&self, header: &SubgroupHeader, reader: &StreamReader) -> Result<Binding, Stop> {
        let held = u64::try_from(reader.buffered()).unwrap_or(u64::MAX);
        let binding = self.inlet.resolve(header.alias, held, self.alias_wait).await;
        binding.ok_or(Stop::Stream)
    }

    async fn ingest(&self, binding: &Binding, batch: Vec<Append>) -> Result<(), Stop> {
        let batch = batch.into_iter().map(Append::settled).collect();
        let sent = mailbox::ask(
            &binding.track,
            Ingest {
                source: binding.source,
                batch,
            },
            INGEST_DEADLINE,
        )
        .await;
        sent.map_err(|error| match error {
            AskError::Deadline | AskError::MailboxClosed => Stop::Stream,
        })
    }

    async fn forward(
        &self,
        stream: &mut impl Feed,
        reader: &mut StreamReader,
        header: &SubgroupHeader,
        open: &mut OpenStream,
    ) -> Result<(), Stop> {
        let mut released = open.binding.released.subscribe();
        let mut chunks = SubgroupChunks::new(open.key, *header);
        loop {
            let mut batch = Vec::new();
            let (mut objects, mut bytes) = (0, 0);
            while let Some(item) = reader.next()? {
                if let StreamItem::Payload(payload) = &item {
                    bytes += payload.len() as u64;
                } else {
                    objects += u64::from(matches!(item, StreamItem::Object(_)));
                }
                chunks.push(item, &mut batch);
            }
            tally::count(Count::StreamObjectsIn, objects);
            tally::count(Count::StreamBytesIn, bytes);
            if !batch.is_empty() {
                self.ingest(&open.binding, batch).await?;
            }
            let more = tokio::select! {
                biased;
                more = self.receive(PIECES, stream, reader) => more?,
                // MOQT-14 §9.13 [D14-SUB-25], §5.1 [D14-REQ-9]: a refused PUBLISH, like a subscription that was given
                // up, has no use for its streams, also for those that came before that was decided.
                _ = released.wait_for(|released| *released) => return Err(Stop::Stream),
            };
            if !more {
                break;
            }
        }
        // MOQT-14 §10.4 [D14-DATA-18]: a FIN inside an object is the peer's breach, and no FIN downstream.
        reader.fin()?;
        let chunk = open.chunk(StreamEnd::Fin);
        self.ingest(&open.binding, vec![chunk]).await
    }
}

/// Gives one datagram's object to its track; false when the track is busy and the object is lost, as datagrams are.
pub(crate) fn datagram(binding: &Binding, object: DatagramObject) -> bool {
    tally::count(Count::DatagramObjectsIn, 1);
    tally::count(Count::DatagramBytesIn, object.payload.len() as u64);
    let chunk = Append::Datagram(LogDatagram {
        location: object.location,
        priority: object.priority,
        extensions: object.extensions,
        end_of_group: object.end_of_group,
        status: object.status,
        payload: object.payload,
    });
    let ingest = Ingest {
        source: binding.source,
        batch: vec![chunk.settled()],
    };
    let taken = mailbox::offer(&binding.track, ingest).is_ok();
    tally::count(Count::DropBusyTrack, u64::from(!taken));
    taken
}
