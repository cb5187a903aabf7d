//! What a FETCH is answered: FETCH_OK or FETCH_ERROR, and one stream of objects.

use super::Birth;
use super::course::{Course, Line};
use crate::session::egress::Rank;
use crate::transport::ConnError;
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{FetchOk, GroupOrder, MessageParams, RequestError, RequestErrorReason};
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectStatus};
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::fetch::Chunk;
use laps_protocol::relay::scheduler::{DEFAULT_PRIORITY, SendOrder};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// How long the last bytes of a response may wait for the peer's acknowledgement.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

/// The stream cannot carry more: the peer stopped it, the connection is gone, or an object cannot be written.
#[derive(Debug)]
pub(super) struct Closed;

/// Carries on the response to one FETCH, from where its [`Course`] stands.
pub(super) struct Response<'a> {
    birth: &'a Birth,
    course: &'a Course,
    rank: Rank,
}

impl<'a> Response<'a> {
    pub(super) fn new(birth: &'a Birth) -> Self {
        // MOQT-14 §7.1 [D14-PRIO-4]: on one scale with those of SUBSCRIBE. The objects of a FETCH have one order, that
        // of its stream, so only the publisher's priority moves it among others.
        let rank = Rank::new(birth.request, birth.fetch.priority, GroupOrder::Ascending);
        Self {
            birth,
            course: &birth.course,
            rank,
        }
    }

    /// Sends what was taken in, as fast as the peer takes it and others let it.
    pub(super) async fn send(&self) -> Result<(), Closed> {
        self.accept();
        if self.course.is_unopened() {
            if self.course.is_empty() {
                return Ok(());
            }
            let line = self.open().await.map_err(|_| Closed)?;
            self.course.open(line);
        }
        loop {
            while self.course.encode(|chunk| self.encoded(chunk))? {}
            self.write().await?;
            if self.course.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes what is encoded.
    async fn write(&self) -> Result<(), Closed> {
        let mut lent = self.course.lend().ok_or(Closed)?;
        let ticket = self.birth.egress.ticket();
        let written = poll_fn(|cx| {
            let stepped = lent.step(|line| {
                let faults = &self.birth.env.faults;
                faults.check_named("fetch_write", &self.birth.fetch.track);
                let order = line.order.unwrap_or_else(|| self.rank.of(DEFAULT_PRIORITY, 0, 0));
                ticket.poll_write(&mut line.stream, order, &mut line.out, cx)
            });
            stepped.map_or(Poll::Ready(Err(Closed)), |polled| {
                polled.map(|written| written.map_err(|_| Closed))
            })
        });
        written.await
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-1]: all objects go on one stream, which begins with the request's id.
    async fn open(&self) -> Result<Line, ConnError> {
        let codec = self.birth.codec;
        let mut stream = self.birth.egress.open_uni().await?;
        // MOQT-14 §9.19 [D14-FETCH-16]: one that is given up early was cancelled, or fails.
        stream.set_abandon_code(codec.reset_code(ResetCode::Cancelled));
        let prefix = &self.birth.prefix;
        let mut header = BytesMut::with_capacity(prefix.len() + 16);
        header.extend_from_slice(prefix);
        // Fails only for ids beyond a varint, which no request has.
        drop(codec.encode_fetch_header(self.birth.request, &mut header));
        Ok(Line {
            stream,
            out: vec![header.freeze()],
            order: None,
            torn_code: codec.reset_code(ResetCode::InternalError),
        })
    }

    fn encoded(&self, chunk: &Chunk) -> Result<(Option<SendOrder>, Bytes), Closed> {
        match chunk {
            Chunk::Object { header, cached } => {
                // MOQT-14 §7.1 [D14-PRIO-5]: the objects of a FETCH have a priority each.
                let order = self.rank.of(header.priority, 0, 0);
                Ok((Some(order), self.head(header.clone(), *cached)?))
            }
            Chunk::Payload(payload) => Ok((None, payload.clone())),
        }
    }

    fn head(&self, mut header: FetchObjectHeader, cached: bool) -> Result<Bytes, Closed> {
        let markable = cached && header.status == ObjectStatus::Normal;
        if let Some(key) = self.birth.env.session.cache_key.filter(|_| markable)
            && let Some(marked) = self.birth.codec.marked(&header.extensions, key)
        {
            header.extensions = marked;
        }
        let mut head = BytesMut::with_capacity(48 + header.extensions.len());
        let encoded = self.birth.codec.encode_fetch_object_header(&header, &mut head);
        encoded.map(|()| head.freeze()).map_err(|_| Closed)
    }

    /// MOQT-14 §9.17 [D14-FETCH-2]: FETCH_OK is said when the end is known; and when an object is, since a range without
    /// any is answered with an error. [D14-FETCH-7]
    fn accept(&self) {
        let Some(settled) = self.course.to_accept() else {
            return;
        };
        let opened = self.course.opened();
        let ok = FetchOk {
            group_order: opened.group_order,
            end_of_track: settled.end_of_track,
            end: settled.end,
            params: MessageParams {
                max_cache_duration_ms: opened.max_cache_duration_ms,
                ..MessageParams::default()
            },
        };
        // The owner says it once, however often it is told.
        self.say(Command::AcceptFetch(self.birth.request, ok));
        self.course.answer();
    }

    /// Everything was sent.
    pub(super) async fn finish(&self) {
        self.accept();
        if !self.course.is_answered() {
            // MOQT-14 §9.16.3 [D14-FETCH-7]: there is nothing between start and end.
            let error = RequestError::new(RequestErrorReason::NoObjects, "no objects exist in the range");
            self.refuse(error);
        }
        let Some(mut lent) = self.course.lend() else {
            return;
        };
        if let Some(Ok(())) = lent.step(|line| line.stream.finish()) {
            self.course.finished();
            let delivered = poll_fn(|cx| {
                let polled = lent.step(|line| line.stream.poll_delivered(cx));
                polled.map_or(Poll::Ready(()), |polled| polled.map(drop))
            });
            // The request lives until its stream is closed on the peer's side. MOQT-14 §5.1 [D14-FETCH-16]
            drop(tokio::time::timeout(DELIVERY_DEADLINE, delivered).await);
        }
    }

    /// The stream ended before everything was sent. The request is answered all the same, and never by a FIN.
    pub(super) fn stopped(&self) {
        let error = RequestError::new(RequestErrorReason::InternalError, "the stream was stopped");
        self.fail(error);
    }

    /// Something is missing: what was begun is reset, never finished.
    ///
    /// MOQT-14 §9.16.3 [D14-FETCH-5] [D14-FETCH-6]: a FIN would say that what is missing does not exist.
    pub(super) fn fail(&self, error: RequestError) {
        if !self.course.is_answered() {
            self.refuse(error);
        }
        let code = self.birth.codec.reset_code(ResetCode::InternalError);
        self.course.reset(code);
    }

    fn refuse(&self, error: RequestError) {
        self.say(Command::Reject(self.birth.request, error));
        self.course.answer();
    }

    fn say(&self, command: Command) {
        self.birth.owner.say(command);
    }
}
