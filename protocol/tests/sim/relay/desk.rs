//! The relay's side of FETCH: what a track's home, a fetch's actor and the sessions' stream tasks do around the desk.

use super::upstream::Phase;
use super::world::{Sabotage, Timer, World};
use crate::common::{S, fetch, track};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::StreamItem;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    Fetch, FetchOk, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestError,
    RequestErrorReason, RequestId,
};
use laps_protocol::moqt::session::{Command, Event, PeerFetch};
use laps_protocol::relay::fetch::{Batch, Chunk, FetchDesk, Output, ReaderKey, Settled, Standing, Then};
use laps_protocol::relay::track_log::{Fill, FillKey, PastRange, StreamEnd, TrackLog};
use laps_protocol::sim::StreamId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Everything that the relay keeps for FETCH, beside the log.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) desk: FetchDesk,
    /// Fetches that came before it was known whether the track is subscribed.
    waiting: Vec<(usize, RequestId, PeerFetch)>,
    readers: BTreeMap<ReaderKey, (usize, RequestId)>,
    next_reader: u64,
    pub(crate) fills: BTreeMap<FillKey, Open>,
    timer: Option<(Instant, u64)>,
    /// Places behind which a compatibility rule took groups to be over.
    pub(crate) assumed: BTreeMap<u64, Option<u64>>,
    pub(crate) max_bytes: usize,
}

/// A FETCH of the relay.
#[derive(Debug)]
pub(crate) struct Open {
    request: RequestId,
    stream: Option<StreamId>,
    held: bool,
    answered: bool,
    ended: bool,
}

/// A FETCH of a subscriber, while it is served.
#[derive(Debug)]
pub(crate) struct Serving {
    key: ReaderKey,
    order: GroupOrder,
    stream: Option<StreamId>,
    out: VecDeque<Bytes>,
    begun: bool,
    settled: Option<Settled>,
    answered: bool,
    then: Option<Then>,
    reading: bool,
    finished: bool,
}

impl Desk {
    pub(crate) const fn new(desk: FetchDesk) -> Self {
        Self {
            desk,
            waiting: Vec::new(),
            readers: BTreeMap::new(),
            next_reader: 0,
            fills: BTreeMap::new(),
            timer: None,
            assumed: BTreeMap::new(),
            max_bytes: 0,
        }
    }

    /// Something is left over.
    pub(crate) fn leftovers(&self) -> Option<String> {
        let clean = self.desk.is_empty()
            && self.desk.poll_timeout().is_none()
            && self.waiting.is_empty()
            && self.readers.is_empty()
            && self.fills.is_empty();
        (!clean).then(|| format!("{self:?}"))
    }
}

impl World {
    pub(crate) fn relay_hears_fetch(&mut self, conn: usize, event: Event) {
        match event {
            Event::PeerFetch(request, fetch) => match self.relay.phase {
                Phase::Subscribing => self.desk.waiting.push((conn, request, fetch)),
                Phase::Created => self.open_fetch(conn, request, &fetch, Standing::Idle),
                Phase::Live => self.open_fetch(conn, request, &fetch, Standing::Live),
                Phase::Ended => self.refuse_fetch(conn, request, RequestErrorReason::InternalError),
            },
            Event::PeerFetchCancel(request) => {
                self.fetch_answered(conn, request, |truth| truth.cancel_heard = true);
                self.desk
                    .waiting
                    .retain(|(at, id, _)| (*at, *id) != (conn, request));
                if self.sabotage != Sabotage::FetchCancelIgnored {
                    // MOQT-14 §9.19 [D14-FETCH-16]
                    self.end_serving(conn, request, Some(ResetCode::Cancelled));
                }
            }
            _ => {}
        }
    }

    /// It is known whether the track is subscribed.
    pub(crate) fn open_waiting(&mut self, standing: Option<Standing>) {
        for (conn, request, fetch) in std::mem::take(&mut self.desk.waiting) {
            match standing {
                Some(standing) => self.open_fetch(conn, request, &fetch, standing),
                None => self.refuse_fetch(conn, request, RequestErrorReason::InternalError),
            }
        }
    }

    fn open_fetch(&mut self, conn: usize, request: RequestId, fetch: &PeerFetch, standing: Standing) {
        let Some(range) = PastRange::new(fetch.start, fetch.end) else {
            self.refuse_fetch(conn, request, RequestErrorReason::InvalidRange);
            return;
        };
        let largest = self.log.largest();
        self.fetch_answered(conn, request, |truth| {
            truth.range = Some(range);
            truth.largest = largest;
            truth.idle = standing == Standing::Idle;
        });
        let mut order = match fetch.group_order {
            GroupOrderRequest::Fixed(order) => order,
            GroupOrderRequest::Publisher => GroupOrder::Ascending,
        };
        if self.sabotage == Sabotage::FetchWrongOrder {
            order = GroupOrder::Ascending;
        }
        let mut range = range;
        if self.sabotage == Sabotage::FetchOverlaps && range.end.object > 0 {
            range.end.object += 1;
        }
        let key = ReaderKey(self.desk.next_reader);
        self.desk.next_reader += 1;
        let now = self.now;
        match self.desk.desk.open(now, &self.log, standing, key, range, order) {
            Ok(()) => {
                self.desk.readers.insert(key, (conn, request));
                let serving = Serving {
                    key,
                    order,
                    stream: None,
                    out: VecDeque::new(),
                    begun: false,
                    settled: None,
                    answered: false,
                    then: None,
                    reading: false,
                    finished: false,
                };
                self.conns[conn].serving.insert(request, serving);
                self.drive(conn, request);
            }
            Err(reason) => self.refuse_fetch(conn, request, reason),
        }
    }

    fn refuse_fetch(&mut self, conn: usize, request: RequestId, reason: RequestErrorReason) {
        let live = self.relay.phase == Phase::Live;
        self.fetch_answered(conn, request, |truth| truth.failed = Some((reason, live)));
        let error = RequestError::new(reason, "not to be had");
        self.say(Some(conn), S, Command::Reject(request, error));
        self.say(Some(conn), S, Command::FetchDone(request));
    }

    /// Gives the desk one input and carries out what comes of it.
    fn desk_input<R>(&mut self, input: impl FnOnce(&mut FetchDesk, Instant, &mut TrackLog) -> R) -> R {
        let result = input(&mut self.desk.desk, self.now, &mut self.log);
        self.carry_out();
        result
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.desk.desk.poll_output() {
            match output {
                Output::Answer(key, batch) => {
                    if let Some(&(conn, request)) = self.desk.readers.get(&key) {
                        self.batch(conn, request, batch);
                    }
                }
                Output::Ask { fill, range, order } => self.ask(fill, range, order),
                Output::Take(fill) => {
                    if let Some(open) = self.desk.fills.get_mut(&fill) {
                        open.held = false;
                        let wait = Duration::from_micros(self.rng.below(2000));
                        self.after(wait, Timer::Take(fill));
                    }
                }
                Output::Cancel(fill) => {
                    if let Some(open) = self.desk.fills.remove(&fill) {
                        self.say(None, S, Command::FetchCancel(open.request));
                        if let Some(stream) = open.stream {
                            self.stop_fill(stream);
                        }
                    }
                }
                Output::AssumedFinished(range) => {
                    self.note(|| format!("relay assumes {range:?}"));
                    // Other groups of the readers' ranges may be taken for over too.
                    for group in 0..20 {
                        let known = self.arrivals.objects.keys().filter(|at| at.group == group);
                        let last = known.map(|at| at.object).max();
                        let kept = self.desk.assumed.entry(group).or_insert(last);
                        *kept = (*kept).min(last);
                    }
                }
            }
        }
        if let Some(timer) = self.desk.timer.take() {
            self.forget_timer(timer);
        }
        if let Some(at) = self.desk.desk.poll_timeout() {
            let wait = at.saturating_duration_since(self.now);
            self.desk.timer = Some(self.after(wait.max(Duration::from_millis(1)), Timer::Desk));
        }
    }

    pub(crate) fn desk_timeout(&mut self) {
        self.desk.timer = None;
        self.desk_input(|desk, now, log| desk.timeout(now, log));
    }

    pub(crate) fn past_advanced(&mut self) {
        if !self.desk.desk.is_empty() {
            self.desk_input(|desk, now, log| desk.advanced(now, log));
        }
    }

    /// The publisher is gone: what it was asked will not come, and nobody else can be asked.
    pub(crate) fn past_ends(&mut self, lost: bool) {
        if lost {
            let fills: Vec<_> = self.desk.fills.keys().copied().collect();
            for fill in fills {
                self.desk.fills.remove(&fill);
                let end = StreamEnd::Reset(ResetCode::SessionClosed);
                self.desk_input(|desk, now, log| desk.ended(now, log, fill, end));
            }
        }
        self.open_waiting(None);
        self.desk_input(|desk, now, log| desk.detach(now, log));
    }

    fn ask(&mut self, fill: FillKey, range: PastRange, order: GroupOrder) {
        self.note(|| format!("relay asks {fill:?} for {range:?}"));
        if PastRange::new(range.start, range.end).is_none_or(|range| range.is_empty()) {
            self.fail(format!("the relay asks for {range:?}"));
        }
        let mut start = range.start;
        match self.sabotage {
            Sabotage::FetchGapNotAsked => {
                let ok = FetchOk {
                    group_order: order,
                    end_of_track: false,
                    end: range.end,
                    params: MessageParams::default(),
                };
                self.desk_input(|desk, now, log| desk.answered(now, log, fill, ok));
                self.desk_input(|desk, now, log| desk.ended(now, log, fill, StreamEnd::Fin));
                return;
            }
            Sabotage::FetchFillOff if range.end.object != start.object + 1 => start.object += 1,
            _ => {}
        }
        let ask = Fetch {
            group_order: GroupOrderRequest::Fixed(order),
            range: FetchRange::Standalone {
                track: track(0),
                start,
                end: range.end,
            },
            ..fetch(0)
        };
        let Some(request) = self.say(None, S, Command::Fetch(ask)) else {
            let reason = RequestErrorReason::InternalError;
            self.desk_input(|desk, now, log| desk.refused(now, log, fill, reason));
            return;
        };
        let open = Open {
            request,
            stream: None,
            held: false,
            answered: false,
            ended: false,
        };
        self.desk.fills.insert(fill, open);
    }

    fn fill_of(&self, request: RequestId) -> Option<FillKey> {
        let mut fills = self.desk.fills.iter();
        fills
            .find(|(_, open)| open.request == request)
            .map(|(key, _)| *key)
    }

    pub(crate) fn fill_answered(&mut self, request: RequestId, ok: FetchOk) {
        if let Some(fill) = self.fill_of(request) {
            self.fill_over(fill, |open| open.answered = true);
            self.desk_input(|desk, now, log| desk.answered(now, log, fill, ok));
        }
    }

    pub(crate) fn fill_refused(&mut self, request: RequestId, reason: RequestErrorReason) {
        if let Some(fill) = self.fill_of(request) {
            let open = self.desk.fills.remove(&fill);
            if let Some(stream) = open.and_then(|open| open.stream) {
                self.stop_fill(stream);
            }
            self.desk_input(|desk, now, log| desk.refused(now, log, fill, reason));
        }
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-1]: a fill is over when it is answered and its stream has ended, in any order.
    fn fill_over(&mut self, fill: FillKey, note: impl FnOnce(&mut Open)) {
        if let Some(open) = self.desk.fills.get_mut(&fill) {
            note(open);
            if open.answered && open.ended {
                self.desk.fills.remove(&fill);
            }
        }
    }

    fn stop_fill(&mut self, stream: StreamId) {
        let now = self.now;
        self.relay.refused.insert(stream);
        if self.relay.streams.remove(&stream).is_some() {
            self.uplink
                .stop(now, stream, Codec::Draft14.reset_code(ResetCode::Cancelled));
        }
    }

    pub(crate) fn take_fill(&mut self, fill: FillKey) {
        if let Some(stream) = self.desk.fills.get(&fill).and_then(|open| open.stream) {
            self.pump_fill(stream);
        }
    }

    /// Reads what there is of a fetch stream, one batch in flight.
    pub(crate) fn pump_fill(&mut self, stream: StreamId) {
        loop {
            let Some(request) = self.relay.streams.get(&stream).and_then(|inbound| inbound.fetch) else {
                return;
            };
            let Some(fill) = self.fill_of(request) else {
                self.stop_fill(stream);
                return;
            };
            let Some(open) = self.desk.fills.get_mut(&fill) else {
                return;
            };
            open.stream = Some(stream);
            if open.held {
                return;
            }
            let Some(inbound) = self.relay.streams.get_mut(&stream) else {
                return;
            };
            let mut chunks = Vec::new();
            while let Some(item) = inbound.reader.next().unwrap() {
                chunks.push(match item {
                    StreamItem::FetchObject(header) => Fill::Object(header).settled(),
                    StreamItem::Payload(bytes) => Fill::Payload(bytes).settled(),
                    _ => continue,
                });
            }
            let size: usize = chunks
                .iter()
                .map(|chunk| match chunk {
                    Fill::Payload(bytes) => bytes.len(),
                    Fill::Object(_) => 0,
                })
                .sum();
            if !chunks.is_empty() {
                open.held = true;
                let malformed = self.desk.desk.stats().malformed;
                self.desk_input(|desk, now, log| {
                    if desk.filled(now, log, fill, chunks).is_err() {
                        desk.broken(now, log, fill);
                    }
                });
                if self.desk.desk.stats().malformed > malformed && !self.plan.is_rogue {
                    self.fail(format!("what {fill:?} brings is called malformed"));
                }
                self.check_size(size);
                continue;
            }
            let Some(mut end) = inbound.end else { return };
            if end == StreamEnd::Fin {
                self.relay.streams.remove(&stream).unwrap().reader.fin().unwrap();
            } else {
                self.relay.streams.remove(&stream);
                if self.sabotage == Sabotage::FetchResetIsFin {
                    end = StreamEnd::Fin;
                }
            }
            match end {
                StreamEnd::Fin => self.fill_over(fill, |open| open.ended = true),
                StreamEnd::Reset(_) => _ = self.desk.fills.remove(&fill),
            }
            self.desk_input(|desk, now, log| desk.ended(now, log, fill, end));
            self.say(None, S, Command::FetchDone(request));
            return;
        }
    }

    /// The desk has an answer for a reader.
    fn batch(&mut self, conn: usize, request: RequestId, batch: Batch) {
        let Batch {
            chunks,
            settled,
            then,
        } = batch;
        self.note(|| {
            format!(
                "desk: sub{conn} {request} gets {} chunks, {settled:?}, {then:?}",
                chunks.len()
            )
        });
        if then != Then::More {
            self.desk.readers.retain(|_, at| *at != (conn, request));
        }
        let sabotage = self.sabotage;
        let Some(serving) = self.conns[conn].serving.get_mut(&request) else {
            return;
        };
        serving.reading = false;
        serving.settled = serving.settled.or(settled);
        serving.then = Some(then);
        if !chunks.is_empty() && !std::mem::replace(&mut serving.begun, true) {
            let mut header = BytesMut::new();
            Codec::Draft14.encode_fetch_header(request, &mut header).unwrap();
            serving.out.push_back(header.freeze());
        }
        let mut skips = sabotage == Sabotage::FetchSkips && chunks.len() > 8;
        let mut skipping = false;
        let mut again = Vec::new();
        for chunk in chunks {
            match chunk {
                Chunk::Object { header, .. } => {
                    skipping = std::mem::take(&mut skips);
                    if skipping {
                        continue;
                    }
                    let mut head = BytesMut::new();
                    Codec::Draft14
                        .encode_fetch_object_header(&header, &mut head)
                        .unwrap();
                    let head = head.freeze();
                    if header.payload_len == 0 {
                        again.push(head.clone());
                    }
                    serving.out.push_back(head);
                }
                Chunk::Payload(_) if skipping => {}
                Chunk::Payload(bytes) => serving.out.push_back(bytes),
            }
        }
        if sabotage == Sabotage::FetchRepeats {
            serving.out.extend(again);
        }
        if serving.begun {
            self.accept_fetch(conn, request);
        }
        self.drive(conn, request);
    }

    /// MOQT-14 §9.17 [D14-FETCH-2]
    fn accept_fetch(&mut self, conn: usize, request: RequestId) {
        let Some(serving) = self.conns[conn].serving.get_mut(&request) else {
            return;
        };
        let Some(settled) = serving.settled.filter(|_| !serving.answered && serving.begun) else {
            return;
        };
        serving.answered = true;
        let mut ok = FetchOk {
            group_order: serving.order,
            end_of_track: settled.end_of_track,
            end: settled.end,
            params: MessageParams::default(),
        };
        if self.sabotage == Sabotage::FetchEndOff {
            ok.end = Location::new(ok.end.group, ok.end.object + 1);
        }
        if self.sabotage == Sabotage::FetchNeverOk && self.rng.one_in(4) {
            return;
        }
        self.say(Some(conn), S, Command::AcceptFetch(request, ok));
    }

    /// Lets every fetch of a connection do what it can.
    pub(crate) fn drive_all(&mut self, conn: usize) {
        let requests: Vec<_> = self.conns[conn].serving.keys().copied().collect();
        for request in requests {
            self.drive(conn, request);
        }
    }

    fn drive(&mut self, conn: usize, request: RequestId) {
        loop {
            let now = self.now;
            let me = &mut self.conns[conn];
            let Some(serving) = me.serving.get_mut(&request) else {
                return;
            };
            if serving.finished {
                let over = serving.stream.is_none_or(|stream| me.link.is_over(stream));
                if over {
                    me.serving.remove(&request);
                    self.say(Some(conn), S, Command::FetchDone(request));
                }
                return;
            }
            if let Some(piece) = serving.out.front_mut() {
                let stream = match serving.stream {
                    Some(stream) => stream,
                    None => {
                        let Some(stream) = me.link.open() else { return };
                        serving.stream = Some(stream);
                        me.fetch_streams.insert(stream, request);
                        stream
                    }
                };
                let room = me.link.room(stream).min(piece.len());
                if room == 0 && !piece.is_empty() {
                    return;
                }
                let part = piece.split_to(room);
                if piece.is_empty() {
                    serving.out.pop_front();
                }
                me.link.write(now, stream, part);
                // MOQT-14 §9.19 [D14-FETCH-16]
                if me.fetched[&request].cancel_heard {
                    self.fail(format!(
                        "[D14-FETCH-16] sub{conn} fetch {request}: objects after FETCH_CANCEL"
                    ));
                    return;
                }
                continue;
            }
            match serving.then {
                None if serving.reading => return,
                None => {
                    serving.reading = true;
                    let wait = Duration::from_micros(self.rng.below(2000));
                    self.after(wait, Timer::ReadPast(conn, request));
                    return;
                }
                Some(Then::More) => serving.then = None,
                Some(Then::Failed(reason))
                    if self.sabotage != Sabotage::FetchFinForFailure || !serving.begun =>
                {
                    let answered = serving.answered;
                    let live = self.relay.phase == Phase::Live;
                    self.fetch_answered(conn, request, |truth| truth.failed = Some((reason, live)));
                    if !answered {
                        let error = RequestError::new(reason, "not to be had");
                        self.say(Some(conn), S, Command::Reject(request, error));
                    }
                    // MOQT-14 §9.16.3 [D14-FETCH-5] [D14-FETCH-6]
                    self.end_serving(conn, request, Some(ResetCode::InternalError));
                    self.say(Some(conn), S, Command::FetchDone(request));
                    return;
                }
                Some(Then::Done | Then::Failed(_)) => {
                    serving.finished = true;
                    self.finish_serving(conn, request);
                }
            }
        }
    }

    pub(crate) fn read_past(&mut self, conn: usize, request: RequestId) {
        if let Some(serving) = self.conns[conn].serving.get(&request) {
            let key = serving.key;
            self.desk_input(|desk, now, log| desk.read(now, log, key));
        }
    }

    fn finish_serving(&mut self, conn: usize, request: RequestId) {
        let now = self.now;
        self.accept_fetch(conn, request);
        let Some(serving) = self.conns[conn].serving.get(&request) else {
            return;
        };
        let (answered, stream) = (serving.answered, serving.stream);
        if let Some(stream) = stream {
            self.conns[conn].link.finish(now, stream);
        }
        if !answered {
            // MOQT-14 §9.16.3 [D14-FETCH-7]
            let reason = RequestErrorReason::NoObjects;
            let live = self.relay.phase == Phase::Live;
            self.fetch_answered(conn, request, |truth| truth.failed = Some((reason, live)));
            let error = RequestError::new(reason, "no objects exist in the range");
            self.say(Some(conn), S, Command::Reject(request, error));
        }
    }

    /// The subscriber refuses the stream of a fetch; the request is answered all the same.
    pub(crate) fn fetch_stopped(&mut self, conn: usize, stream: StreamId) {
        let request = self.conns[conn].fetch_streams[&stream];
        let Some(serving) = self.conns[conn].serving.get(&request) else {
            return;
        };
        if !serving.answered {
            let error = RequestError::new(RequestErrorReason::InternalError, "the stream was stopped");
            self.say(Some(conn), S, Command::Reject(request, error));
        }
        self.end_serving(conn, request, Some(ResetCode::Cancelled));
        self.say(Some(conn), S, Command::FetchDone(request));
    }

    fn end_serving(&mut self, conn: usize, request: RequestId, reset: Option<ResetCode>) {
        let now = self.now;
        let Some(serving) = self.conns[conn].serving.remove(&request) else {
            return;
        };
        if let (Some(stream), Some(code)) = (serving.stream, reset) {
            let code = Codec::Draft14.reset_code(code);
            self.conns[conn].link.reset(now, stream, code);
        }
        self.desk.readers.remove(&serving.key);
        self.desk_input(|desk, now, log| desk.close(now, log, serving.key));
    }

    /// [D14-CACHE-6] [D14-LIM-4]: the log keeps to its budget, whoever fetches.
    fn check_size(&mut self, size: usize) {
        let (bytes, max) = (self.log.bytes(), self.plan.limits.max_bytes);
        self.desk.max_bytes = self.desk.max_bytes.max(bytes);
        if bytes > max + size + super::upstream::SLACK {
            self.fail(format!(
                "with what was fetched the log holds {bytes} bytes of {max}"
            ));
        }
    }
}
