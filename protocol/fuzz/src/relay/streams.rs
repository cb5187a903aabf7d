//! Streams and datagrams of publishers, as far as the log of their track.

use super::core::{Inbound, MAX_INBOUND, Relay};
use crate::messages::CODEC;
use bytes::Bytes;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::inbound::Ticket;
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::track_log::{Append, Appended, Fill, LogDatagram, StreamEnd};

impl Relay {
    /// Bytes of a unidirectional stream of a peer.
    pub(crate) fn stream(&mut self, at: usize, stream: u64, bytes: Bytes, end: Option<StreamEnd>) {
        let key = self.number();
        let Some(conn) = self.conns.get_mut(&at).filter(|conn| conn.closed.is_none()) else {
            return;
        };
        if conn.refused.contains(&stream) {
            return;
        }
        let inbound = conn.inbound.entry(stream).or_insert_with(|| Inbound {
            reader: StreamReader::new(CODEC, DataLimits::default()),
            chunks: None,
            fetch: None,
            ticket: None,
            key,
            end: None,
        });
        inbound.reader.push(bytes);
        inbound.end = end;
        self.read(at, stream);
    }

    pub(super) fn read(&mut self, at: usize, stream: u64) {
        let mut batch = Vec::new();
        let mut fills = Vec::new();
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        let Some(inbound) = conn.inbound.get_mut(&stream) else {
            return;
        };
        let mut given_up = None;
        let wrong = loop {
            match inbound.reader.next() {
                Ok(Some(StreamItem::SubgroupHeader(header))) => {
                    let Some(request) = conn.session.peer_alias(header.alias) else {
                        conn.inbound.remove(&stream);
                        conn.refused.insert(stream);
                        return;
                    };
                    let (ticket, out) = conn.limit.open(header.priority);
                    inbound.ticket = Some(ticket);
                    given_up = out;
                    inbound.chunks = Some((SubgroupChunks::new(inbound.key, header), request));
                }
                Ok(Some(StreamItem::FetchHeader(request))) => inbound.fetch = Some(request),
                Ok(Some(StreamItem::FetchObject(header))) => fills.push(Fill::Object(header).settled()),
                Ok(Some(StreamItem::Payload(bytes))) if inbound.fetch.is_some() => {
                    fills.push(Fill::Payload(bytes).settled());
                }
                Ok(Some(item)) => {
                    if let Some((chunks, _)) = &mut inbound.chunks {
                        chunks.push(item, &mut batch);
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let (request, fetch, key, end) = (
            inbound.chunks.as_ref().map(|(_, request)| *request),
            inbound.fetch,
            inbound.key,
            inbound.end,
        );
        // MOQT-14 §10.4: FIN inside an object ends the session too.
        let wrong = wrong.or_else(|| {
            (end == Some(StreamEnd::Fin))
                .then(|| inbound.reader.fin().err())
                .flatten()
        });
        if end.is_some() {
            if let Some(ticket) = inbound.ticket {
                conn.limit.close(ticket);
            }
            conn.inbound.remove(&stream);
        }
        assert!(conn.limit.len() as u64 <= MAX_INBOUND);
        if let Some(request) = request {
            if let (Some(end), None) = (end, &wrong) {
                batch.push(Append::SubgroupClosed { stream: key, end });
            }
            self.append(at, request, batch);
        }
        if let Some(fetch) = fetch {
            self.fill(at, fetch, fills, end.filter(|_| wrong.is_none()));
        }
        if let Some(error) = wrong {
            self.command(at, Command::Close(error.code, error.what));
        }
        if let Some(ticket) = given_up {
            self.shed(at, ticket);
        }
    }

    /// A stream is given up for a newer one. MOQT-14 §12.1
    pub(super) fn shed(&mut self, at: usize, ticket: Ticket) {
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        let found = conn
            .inbound
            .iter()
            .find(|(_, inbound)| inbound.ticket == Some(ticket));
        let Some((&stream, _)) = found else { return };
        conn.refused.insert(stream);
        if let Some(inbound) = conn.inbound.remove(&stream)
            && let Some((_, request)) = inbound.chunks
        {
            let end = StreamEnd::Reset(ResetCode::Cancelled);
            self.append(
                at,
                request,
                vec![Append::SubgroupClosed {
                    stream: inbound.key,
                    end,
                }],
            );
        }
    }

    pub(super) fn append(&mut self, at: usize, request: RequestId, batch: Vec<Append>) {
        let now = self.now;
        for name in self.names_of((at, request)) {
            let mut fault = None;
            let max = self.limits.max_bytes;
            let track = self.track(&name);
            let Some(key) = track.sources.get(&(at, request)).map(|source| source.key) else {
                continue;
            };
            for chunk in batch.clone() {
                track
                    .merge
                    .append(&mut track.log, now, key, chunk.settled(), &mut |appended, _| {
                        if let Appended::Malformed(why) = appended {
                            fault = Some(why);
                        }
                    });
                assert!(
                    track.log.bytes() <= max + 16 * 1024,
                    "the log holds {}",
                    track.log.bytes()
                );
            }
            track.desk.advanced(now, &mut track.log);
            self.carry_out(&name);
            // MOQT-14 §2.5
            match fault {
                Some(why) if why.is_disagreement() => {
                    let track = self.track(&name);
                    track.malformed = true;
                    track.desk.condemn(now, &mut track.log);
                    let all: Vec<_> = track.sources.keys().copied().collect();
                    for source in all {
                        self.source_gone(&name, source, PublishDoneStatus::MalformedTrack);
                    }
                }
                Some(_) => {
                    self.source_gone(&name, (at, request), PublishDoneStatus::MalformedTrack);
                    self.command(at, Command::Unsubscribe(request));
                }
                None => {}
            }
        }
    }

    /// A datagram of a peer.
    pub(crate) fn datagram(&mut self, at: usize, bytes: Bytes) {
        let Some(conn) = self.conns.get_mut(&at).filter(|conn| conn.closed.is_none()) else {
            return;
        };
        match CODEC.decode_datagram(bytes, &DataLimits::default()) {
            Ok(datagram) => {
                if let Some(request) = conn.session.peer_alias(datagram.alias) {
                    let datagram = LogDatagram {
                        location: datagram.location,
                        priority: datagram.priority,
                        extensions: datagram.extensions,
                        end_of_group: datagram.end_of_group,
                        status: datagram.status,
                        payload: datagram.payload,
                    };
                    self.append(at, request, vec![Append::Datagram(datagram)]);
                }
            }
            Err(error) => _ = self.command(at, Command::Close(error.code, error.what)),
        }
    }

    /// The peer wants no more of a stream.
    pub(crate) fn stop(&mut self, at: usize, stream: u64) {
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        if conn.subs.values_mut().any(|(_, sub)| sub.stopped(stream)) {
            return;
        }
        let fetch = conn
            .serving
            .iter()
            .find(|(_, serving)| serving.stream == Some(stream));
        if let Some((&id, serving)) = fetch {
            if !serving.answered {
                self.reject(at, id, RequestErrorReason::InternalError);
            }
            self.end_serving(at, id, Some(ResetCode::Cancelled));
        }
    }
}
