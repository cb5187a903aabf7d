//! Fetches of peers, and those that the relay makes for them.

use super::core::{Relay, Serving, Track};
use crate::messages::CODEC;
use bytes::BytesMut;
use laps_protocol::auth::{Action as Does, Resource};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::session::{Command, PeerFetch};
use laps_protocol::relay::fetch::{Chunk, Output as Desk, ReaderKey, Settled, Standing, Then};
use laps_protocol::relay::track_log::{Fill, FillKey, PastRange, StreamEnd};
use std::collections::VecDeque;
use std::time::Instant;

impl Relay {
    pub(super) fn fetch(&mut self, at: usize, id: RequestId, fetch: &PeerFetch) {
        let range = PastRange::new(fetch.start, fetch.end);
        let allowed = self.may(at, Does::Fetch, Resource::Track(&fetch.track));
        let key = ReaderKey(self.number());
        let (now, name) = (self.now, fetch.track.clone());
        let Some((range, track)) = range.filter(|_| allowed).zip(self.tracks.get_mut(&name)) else {
            self.reject(at, id, RequestErrorReason::InvalidRange);
            self.command(at, Command::FetchDone(id));
            return;
        };
        let order = match fetch.group_order {
            GroupOrderRequest::Fixed(order) => order,
            GroupOrderRequest::Publisher => GroupOrder::Ascending,
        };
        let live = track.sources.values().any(|source| source.is_live);
        let standing = if live { Standing::Live } else { Standing::Idle };
        match track.desk.open(now, &track.log, standing, key, range, order) {
            Ok(()) => {
                track.readers.insert(key, (at, id));
                let serving = Serving {
                    track: name,
                    key,
                    order,
                    stream: None,
                    out: VecDeque::new(),
                    begun: false,
                    settled: None,
                    answered: false,
                    then: None,
                    reading: false,
                };
                if let Some(conn) = self.conns.get_mut(&at) {
                    conn.serving.insert(id, serving);
                }
            }
            Err(reason) => {
                self.reject(at, id, reason);
                self.command(at, Command::FetchDone(id));
            }
        }
    }

    pub(super) fn end_serving(&mut self, at: usize, id: RequestId, reset: Option<ResetCode>) {
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        let Some(serving) = conn.serving.remove(&id) else {
            return;
        };
        if let Some(stream) = serving.stream {
            conn.wire
                .end(stream, reset.map_or(StreamEnd::Fin, StreamEnd::Reset));
        }
        let now = self.now;
        let track = self.track(&serving.track);
        track.readers.remove(&serving.key);
        track.desk.close(now, &mut track.log, serving.key);
        self.carry_out(&serving.track);
        self.command(at, Command::FetchDone(id));
    }

    pub(super) fn with_fill(
        &mut self,
        at: usize,
        id: RequestId,
        act: impl FnOnce(Instant, &mut Track, FillKey),
    ) {
        let now = self.now;
        let found = self.tracks.iter().find_map(|(name, track)| {
            let fill = track.fills.iter().find(|(_, of)| **of == (at, id))?;
            Some((name.clone(), *fill.0))
        });
        if let Some((name, fill)) = found {
            act(now, self.track(&name), fill);
            self.carry_out(&name);
        }
    }

    /// Pieces of an answer to a FETCH of ours. What comes while the last ones wait is kept no longer here than there.
    pub(super) fn fill(&mut self, at: usize, request: RequestId, chunks: Vec<Fill>, end: Option<StreamEnd>) {
        self.with_fill(at, request, |now, track, fill| {
            if !chunks.is_empty() && track.desk.filled(now, &mut track.log, fill, chunks).is_err() {
                track.desk.broken(now, &mut track.log, fill);
            }
            if let Some(end) = end {
                track.desk.ended(now, &mut track.log, fill, end);
            }
        });
        if end.is_some() {
            self.command(at, Command::FetchDone(request));
        }
    }

    /// What a desk wants done.
    pub(super) fn carry_out(&mut self, name: &FullTrackName) {
        while let Some(output) = self
            .tracks
            .get_mut(name)
            .and_then(|track| track.desk.poll_output())
        {
            match output {
                Desk::Answer(key, batch) => {
                    let Some((at, id)) = self.track(name).readers.get(&key).copied() else {
                        continue;
                    };
                    if batch.then != Then::More {
                        self.track(name).readers.remove(&key);
                    }
                    let Some(serving) = self.conns.get_mut(&at).and_then(|conn| conn.serving.get_mut(&id))
                    else {
                        continue;
                    };
                    serving.take(id, batch.chunks, batch.settled, batch.then);
                }
                Desk::Ask { fill, range, order } => self.ask(name, fill, range, order),
                Desk::Take(fill) => _ = self.track(name).held.remove(&fill),
                Desk::Cancel(fill) => {
                    if let Some((at, request)) = self.track(name).fills.remove(&fill) {
                        self.command(at, Command::FetchCancel(request));
                    }
                }
                Desk::AssumedFinished(_) => {}
            }
        }
    }

    pub(super) fn ask(&mut self, name: &FullTrackName, fill: FillKey, range: PastRange, order: GroupOrder) {
        let now = self.now;
        let live = self
            .track(name)
            .sources
            .iter()
            .find(|(_, source)| source.is_live)
            .map(|(of, _)| of.0);
        let asked = live.and_then(|at| {
            let fetch = Fetch {
                priority: 128,
                group_order: GroupOrderRequest::Fixed(order),
                range: FetchRange::Standalone {
                    track: name.clone(),
                    start: range.start,
                    end: range.end,
                },
                params: MessageParams::default(),
            };
            Some((at, self.command(at, Command::Fetch(fetch))?))
        });
        let track = self.track(name);
        match asked {
            Some(asked) => _ = track.fills.insert(fill, asked),
            None => track
                .desk
                .refused(now, &mut track.log, fill, RequestErrorReason::InternalError),
        }
    }

    /// One fetch does what it can.
    pub(super) fn drive(&mut self, at: usize, id: RequestId) {
        for _ in 0..1_000 {
            let now = self.now;
            let Some(conn) = self.conns.get_mut(&at) else {
                return;
            };
            let Some(serving) = conn.serving.get_mut(&id) else {
                return;
            };
            if let Some(settled) = serving.settled.filter(|_| serving.begun && !serving.answered) {
                serving.answered = true;
                let ok = FetchOk {
                    group_order: serving.order,
                    end_of_track: settled.end_of_track,
                    end: settled.end,
                    params: MessageParams::default(),
                };
                self.command(at, Command::AcceptFetch(id, ok));
                continue;
            }
            if let Some(piece) = serving.out.front_mut() {
                let Some(stream) = serving.stream.or_else(|| conn.wire.open()) else {
                    return;
                };
                serving.stream = Some(stream);
                if !conn.wire.write(stream, piece) {
                    return;
                }
                serving.out.pop_front();
                continue;
            }
            match serving.then {
                None if serving.reading => return,
                None => {
                    serving.reading = true;
                    let (name, key) = (serving.track.clone(), serving.key);
                    let track = self.track(&name);
                    track.desk.read(now, &mut track.log, key);
                    self.carry_out(&name);
                }
                Some(Then::More) => serving.then = None,
                Some(Then::Done) => {
                    if !serving.answered {
                        self.reject(at, id, RequestErrorReason::NoObjects);
                    }
                    return self.end_serving(at, id, None);
                }
                Some(Then::Failed(reason)) => {
                    if !serving.answered {
                        self.reject(at, id, reason);
                    }
                    return self.end_serving(at, id, Some(ResetCode::InternalError));
                }
            }
        }
        panic!("a fetch that is read without end");
    }
}

impl Serving {
    fn take(&mut self, id: RequestId, chunks: Vec<Chunk>, settled: Option<Settled>, then: Then) {
        self.reading = false;
        self.settled = self.settled.or(settled);
        self.then = Some(then);
        if !chunks.is_empty() && !std::mem::replace(&mut self.begun, true) {
            let mut header = BytesMut::new();
            CODEC.encode_fetch_header(id, &mut header).unwrap();
            self.out.push_back(header.freeze());
        }
        for chunk in chunks {
            self.out.push_back(match chunk {
                Chunk::Object { header, .. } => {
                    let mut head = BytesMut::new();
                    CODEC.encode_fetch_object_header(&header, &mut head).unwrap();
                    head.freeze()
                }
                Chunk::Payload(bytes) => bytes,
            });
        }
    }
}
