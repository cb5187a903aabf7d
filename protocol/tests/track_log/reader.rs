//! A reader that holds positions only, and what a script should show it.

use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::relay::track_log::{
    Append, Cursor, LogDatagram, Next, Position, Read, StreamEnd, SubgroupSeq, TrackLog,
};
use std::collections::BTreeMap;

/// One object as a reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) id: u64,
    pub(crate) extensions: Bytes,
    pub(crate) len: u64,
    pub(crate) payload: Vec<u8>,
}

/// One subgroup as a reader saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) place: (u64, u64),
    pub(crate) objects: Vec<Got>,
    pub(crate) end: Option<StreamEnd>,
}

struct Lane {
    seq: SubgroupSeq,
    pos: Position,
    seen: Seen,
    evicted: bool,
}

pub(crate) struct Reader {
    /// Chunks that were appended before it came.
    pub(crate) attached: usize,
    cursor: Cursor,
    lanes: Vec<Lane>,
    pub(crate) datagrams: Vec<LogDatagram>,
    pub(crate) lagged: u64,
}

impl Reader {
    pub(crate) fn attach(log: &TrackLog, attached: usize) -> Self {
        let edge = log.live_edge();
        let mut reader = Self {
            attached,
            cursor: edge.cursor,
            lanes: Vec::new(),
            datagrams: Vec::new(),
            lagged: 0,
        };
        for (seq, pos) in edge.open {
            reader.add_lane(log, seq, pos);
        }
        reader
    }

    fn add_lane(&mut self, log: &TrackLog, seq: SubgroupSeq, pos: Position) {
        let info = log.subgroup(seq).unwrap();
        let seen = Seen {
            place: (info.group, info.subgroup),
            ..Seen::default()
        };
        self.lanes.push(Lane {
            seq,
            pos,
            seen,
            evicted: false,
        });
    }

    /// Takes what is new, and up to `budget` steps in each subgroup.
    pub(crate) fn poll(&mut self, log: &TrackLog, budget: usize) {
        loop {
            match log.next_subgroup(&mut self.cursor) {
                Next::Ready(seq) => self.add_lane(log, seq, Position::default()),
                Next::Lagged(skipped) => self.lagged += skipped,
                Next::Pending => break,
            }
        }
        for _ in 0..budget {
            match log.next_datagram(&mut self.cursor) {
                Next::Ready(datagram) => self.datagrams.push(datagram.clone()),
                Next::Lagged(skipped) => self.lagged += skipped,
                Next::Pending => break,
            }
        }
        for lane in &mut self.lanes {
            for _ in 0..budget {
                if lane.evicted || !lane.step(log) {
                    break;
                }
            }
        }
    }

    pub(crate) fn drain(&mut self, log: &TrackLog) {
        self.poll(log, usize::MAX);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lanes.iter().map(|lane| lane.seen.clone()).collect()
    }

    /// What it saw of each subgroup, and whether the log had to give up on it.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&Seen, bool)> {
        self.lanes.iter().map(|lane| (&lane.seen, lane.evicted))
    }
}

impl Lane {
    fn step(&mut self, log: &TrackLog) -> bool {
        match log.read(self.seq, &mut self.pos) {
            Read::Object(view) => {
                if let Some(last) = self.seen.objects.last() {
                    assert_eq!(view.previous, Some(last.id), "an object was passed over");
                }
                self.seen.objects.push(Got {
                    id: view.header.id,
                    extensions: view.header.extensions.clone(),
                    len: view.header.payload_len,
                    payload: Vec::new(),
                });
                true
            }
            Read::Payload(bytes) => {
                self.seen
                    .objects
                    .last_mut()
                    .unwrap()
                    .payload
                    .extend_from_slice(&bytes);
                true
            }
            Read::End(end) => {
                assert!(self.seen.end.is_none_or(|old| old == end), "an end changed");
                self.seen.end = Some(end);
                false
            }
            Read::Pending => {
                assert_eq!(self.seen.end, None, "a subgroup was reopened");
                false
            }
            Read::Evicted => {
                self.evicted = true;
                false
            }
        }
    }
}

/// What a reader that came after `attached` chunks should see of a script without duplicates.
pub(crate) fn expected(script: &[Append], attached: usize) -> Vec<Seen> {
    struct Stream {
        place: (u64, u64),
        /// Index in the result.
        seen: Option<usize>,
        /// Payload still to come, and whether the reader wants it.
        missing: u64,
        wanted: bool,
    }
    let mut streams = BTreeMap::new();
    let mut result: Vec<(Seen, bool)> = Vec::new();
    for (i, chunk) in script.iter().enumerate() {
        match chunk {
            Append::SubgroupOpened {
                stream,
                group,
                subgroup,
                ..
            } => {
                let stream_state = Stream {
                    place: (*group, *subgroup),
                    seen: None,
                    missing: 0,
                    wanted: false,
                };
                streams.insert(*stream, stream_state);
            }
            Append::ObjectStarted { stream, header } => {
                let state = streams.get_mut(stream).unwrap();
                let index = *state.seen.get_or_insert_with(|| {
                    let seen = Seen {
                        place: state.place,
                        ..Seen::default()
                    };
                    result.push((seen, true));
                    result.len() - 1
                });
                state.missing = header.payload_len;
                state.wanted = i >= attached;
                if state.wanted {
                    result[index].0.objects.push(Got {
                        id: header.id,
                        extensions: header.extensions.clone(),
                        len: header.payload_len,
                        payload: Vec::new(),
                    });
                }
            }
            Append::Payload { stream, bytes } => {
                let state = streams.get_mut(stream).unwrap();
                state.missing -= bytes.len() as u64;
                if state.wanted {
                    let seen = &mut result[state.seen.unwrap()].0;
                    seen.objects.last_mut().unwrap().payload.extend_from_slice(bytes);
                }
            }
            Append::SubgroupClosed { stream, end } => {
                let state = &streams[stream];
                let whole = state.missing == 0;
                if let Some(index) = state.seen {
                    let cut = StreamEnd::Reset(ResetCode::InternalError);
                    result[index].0.end = Some(if *end == StreamEnd::Fin && !whole {
                        cut
                    } else {
                        *end
                    });
                    // Over before the reader came: none of its business.
                    result[index].1 = i >= attached;
                }
            }
            Append::Missing { .. } | Append::Datagram(_) => panic!("not in a script"),
        }
    }
    result
        .into_iter()
        .filter(|(_, alive)| *alive)
        .map(|(seen, _)| seen)
        .collect()
}
