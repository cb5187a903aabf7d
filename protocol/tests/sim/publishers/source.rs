//! A publisher at work: one life, writing its objects as it likes.

use super::lives::Attempt;
use super::plan::{Plan, usize};
use super::world::{Timer, World};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::DatagramObject;
use laps_protocol::relay::track_log::StreamEnd;
use laps_protocol::sim::{Link, StreamId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) link: Link,
    pub(crate) state: State,
    queue: VecDeque<Attempt>,
    sends: VecDeque<(u64, Location)>,
    writing: BTreeMap<StreamId, Writing>,
    /// Streams that are left open without another word.
    silent: Vec<StreamId>,
    writes: u64,
    /// When everything was written.
    written_out: Option<u64>,
    /// Which subgroup each stream was to carry.
    pub(crate) carries: BTreeMap<StreamId, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unborn,
    Alive,
    /// Over, and the relay does not know.
    Dead,
    Gone,
}

#[derive(Debug)]
struct Writing {
    place: (u64, u64),
    rest: Bytes,
    end: Option<StreamEnd>,
}

impl Source {
    pub(crate) fn new(plan: &Plan, life: usize, seed: u64) -> Self {
        let life = &plan.lives[life];
        Self {
            link: Link::new(seed, life.weather, usize::MAX, usize::MAX),
            state: State::Unborn,
            queue: life.attempts.clone().into(),
            sends: life.sends.clone().into(),
            writing: BTreeMap::new(),
            silent: Vec::new(),
            writes: 0,
            written_out: None,
            carries: BTreeMap::new(),
        }
    }
}

impl World {
    pub(crate) fn begin_life(&mut self, life: usize) {
        self.sources[life].state = State::Alive;
        self.note(|| format!("life{life} begins"));
        self.after(Duration::ZERO, Timer::Write(life));
    }

    /// The connection breaks, and nobody is told.
    pub(crate) fn die(&mut self, life: usize) {
        let source = &mut self.sources[life];
        if source.state != State::Alive {
            return;
        }
        source.state = State::Dead;
        source.link.cut();
        self.note(|| format!("life{life} dies"));
        let notice = Duration::from_millis(self.plan.lives[life].notice_ms);
        self.after(notice, Timer::Notice(life));
    }

    /// Writes a little, somewhere.
    pub(crate) fn write(&mut self, life: usize) {
        if self.sources[life].state != State::Alive {
            return;
        }
        let now_ms = self.elapsed_ms();
        let plan = &self.plan.lives[life];
        let source = &mut self.sources[life];
        source.writes += 1;
        if let Some((after, ms)) = plan.stalls
            && source.writes == after
        {
            self.note(|| format!("life{life} stalls for {ms} ms"));
            self.after(Duration::from_millis(ms), Timer::Write(life));
            return;
        }
        let pace = plan.pace_us;
        if !self.send_next(life, now_ms) && !self.open_next(life, now_ms) && !self.write_some(life) {
            let source = &self.sources[life];
            let sends = source.sends.front().map(|(due, _)| *due);
            let opens = source.queue.front().map(|attempt| attempt.due_ms);
            match sends.or(opens) {
                None => self.say_goodbye(life),
                Some(due) => {
                    let wait = due.saturating_sub(now_ms).max(1);
                    self.after(Duration::from_millis(wait), Timer::Write(life));
                }
            }
            return;
        }
        let wait = Duration::from_micros(self.rng.below(2 * pace + 1));
        self.after(wait, Timer::Write(life));
    }

    fn send_next(&mut self, life: usize, now_ms: u64) -> bool {
        let source = &mut self.sources[life];
        let Some(&(due, at)) = source.sends.front() else {
            return false;
        };
        if due > now_ms {
            return false;
        }
        source.sends.pop_front();
        let object = self.plan.version(self.plan.lives[life].lies, at).unwrap();
        let datagram = DatagramObject {
            alias: life as u64,
            location: at,
            priority: object.priority,
            extensions: object.header.extensions.clone(),
            end_of_group: object.end_of_group,
            status: object.header.status,
            payload: object.payload.clone(),
        };
        let mut bytes = BytesMut::new();
        Codec::Draft14
            .encode_datagram_header(&datagram, &mut bytes)
            .unwrap();
        bytes.extend_from_slice(&datagram.payload);
        let now = self.now;
        self.sources[life].link.send_datagram(now, bytes.freeze());
        true
    }

    /// Opens the next stream, when there is one and it may be.
    fn open_next(&mut self, life: usize, now_ms: u64) -> bool {
        let plan = &self.plan.lives[life];
        let source = &mut self.sources[life];
        let more = source.writing.len() < plan.at_once && (source.writing.is_empty() || self.rng.one_in(3));
        let Some(next) = source.queue.front().filter(|_| more) else {
            return false;
        };
        let place = (next.header.group, next.subgroup);
        if next.due_ms > now_ms || source.writing.values().any(|writing| writing.place == place) {
            return false;
        }
        let (Some(attempt), Some(stream)) = (source.queue.pop_front(), source.link.open()) else {
            return false;
        };
        let (mut bytes, _) = self.plan.encode(&attempt, plan.lies, life as u64);
        bytes.truncate(attempt.cut);
        let writing = Writing {
            place,
            rest: bytes,
            end: attempt.end,
        };
        source.writing.insert(stream, writing);
        source.carries.insert(stream, attempt.subgroup);
        self.note(|| format!("life{life} publishes {stream:?}: {attempt:?}"));
        true
    }

    /// Writes the next bytes of some stream; false when all is written.
    fn write_some(&mut self, life: usize) -> bool {
        let piece = self.plan.lives[life].piece;
        let source = &mut self.sources[life];
        let pick = usize(self.rng.below(source.writing.len() as u64));
        let Some((&stream, writing)) = source.writing.iter_mut().nth(pick) else {
            return false;
        };
        let size = usize(1 + self.rng.below(piece));
        let piece = writing.rest.split_to(size.min(writing.rest.len()));
        let end = writing.rest.is_empty().then_some(writing.end);
        let now = self.now;
        source.link.write(now, stream, piece);
        if let Some(end) = end {
            source.writing.remove(&stream);
            match end {
                Some(StreamEnd::Fin) => source.link.finish(now, stream),
                Some(StreamEnd::Reset(code)) => {
                    source.link.reset(now, stream, Codec::Draft14.reset_code(code));
                }
                None => source.silent.push(stream),
            }
        }
        true
    }

    /// All is written: once it has arrived, the relay is told.
    fn say_goodbye(&mut self, life: usize) {
        let (now, now_ms) = (self.now, self.elapsed_ms());
        let lingers_ms = self.plan.lives[life].lingers_ms;
        let source = &mut self.sources[life];
        let since = *source.written_out.get_or_insert(now_ms);
        if now_ms < since + lingers_ms {
            let wait = Duration::from_millis(since + lingers_ms - now_ms);
            self.after(wait, Timer::Write(life));
            return;
        }
        for stream in std::mem::take(&mut source.silent) {
            let code = Codec::Draft14.reset_code(ResetCode::Cancelled);
            source.link.reset(now, stream, code);
        }
        if source.link.open_streams() > 0 || source.link.datagrams() > 0 {
            self.after(Duration::from_millis(20), Timer::Write(life));
            return;
        }
        source.state = State::Dead;
        self.note(|| format!("life{life} says good-bye"));
        self.after(Duration::ZERO, Timer::Notice(life));
    }
}
