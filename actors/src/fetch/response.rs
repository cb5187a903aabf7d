//! What a FETCH is answered: FETCH_OK or FETCH_ERROR, and one stream of objects.

use super::Birth;
use crate::session::Say;
use crate::session::egress::Rank;
use crate::supervise::mailbox;
use crate::track::PastOpened;
use crate::transport::{ConnError, SendGuard};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{FetchOk, GroupOrder, MessageParams, RequestError, RequestErrorReason};
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectStatus};
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::fetch::{Chunk, Settled};
use laps_protocol::relay::scheduler::{DEFAULT_PRIORITY, SendOrder};
use std::time::Duration;

/// How long the last bytes of a response may wait for the peer's acknowledgement.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

/// The stream cannot carry more: the peer stopped it, the connection is gone, or an object cannot be written.
#[derive(Debug)]
pub(super) struct Closed;

/// The response to one FETCH, as far as it has come.
///
/// Dropped early it resets its stream.
pub(super) struct Response<'a> {
    birth: &'a Birth,
    opened: PastOpened,
    settled: Option<Settled>,
    answered: bool,
    /// There from the first object on.
    stream: Option<SendGuard>,
    /// Where the object that was begun last stands among all that the session sends; none before the first.
    order: Option<SendOrder>,
    rank: Rank,
    any: bool,
}

impl<'a> Response<'a> {
    pub(super) fn new(birth: &'a Birth) -> Self {
        // MOQT-14 §7.1 [D14-PRIO-4]: on one scale with those of SUBSCRIBE. The objects of a FETCH have one order, that
        // of its stream, so only the publisher's priority moves it among others.
        let rank = Rank::new(birth.request, birth.fetch.priority, GroupOrder::Ascending);
        Self {
            birth,
            order: None,
            rank,
            opened: PastOpened::default(),
            settled: None,
            answered: false,
            stream: None,
            any: false,
        }
    }

    /// The track is found.
    pub(super) const fn opened(&mut self, opened: PastOpened) {
        self.opened = opened;
    }

    /// The end is known.
    pub(super) const fn settled(&mut self, settled: Settled) {
        self.settled = Some(settled);
    }

    /// Sends the next objects, as fast as the peer takes them and others let them.
    pub(super) async fn send(&mut self, chunks: Vec<Chunk>) -> Result<(), Closed> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.any = true;
        self.accept();
        let mut out = Vec::with_capacity(chunks.len() + 1);
        if self.stream.is_none() {
            out.push(self.open().await.map_err(|_| Closed)?);
        }
        for chunk in chunks {
            match chunk {
                Chunk::Object { header, cached } => {
                    // MOQT-14 §7.1 [D14-PRIO-5]: the objects of a FETCH have a priority each.
                    let order = self.rank.of(header.priority, 0, 0);
                    if self.order.is_some_and(|before| before != order) {
                        self.write(&mut out).await?;
                    }
                    self.order = Some(order);
                    out.push(self.head(header, cached)?);
                }
                Chunk::Payload(payload) => out.push(payload),
            }
        }
        self.write(&mut out).await
    }

    async fn write(&mut self, out: &mut Vec<Bytes>) -> Result<(), Closed> {
        let stream = self.stream.as_mut().ok_or(Closed)?;
        let order = self.order.unwrap_or_else(|| self.rank.of(DEFAULT_PRIORITY, 0, 0));
        let written = self.birth.egress.write(stream, order, out).await;
        written.map_err(|_| Closed)
    }

    /// MOQT-14 §9.16.3 [D14-FETCH-1]: all objects go on one stream, which begins with the request's id.
    async fn open(&mut self) -> Result<Bytes, ConnError> {
        let mut stream = self.birth.egress.open_uni().await?;
        // MOQT-14 §9.19 [D14-FETCH-16]: one that is given up early was cancelled, or fails.
        stream.set_abandon_code(self.birth.codec.reset_code(ResetCode::Cancelled));
        self.stream = Some(stream);
        let mut header = BytesMut::with_capacity(16);
        // Fails only for ids beyond a varint, which no request has.
        drop(
            self.birth
                .codec
                .encode_fetch_header(self.birth.request, &mut header),
        );
        Ok(header.freeze())
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
    fn accept(&mut self) {
        let Some(settled) = self.settled.filter(|_| self.any && !self.answered) else {
            return;
        };
        self.answered = true;
        let ok = FetchOk {
            group_order: self.opened.group_order,
            end_of_track: settled.end_of_track,
            end: settled.end,
            params: MessageParams {
                max_cache_duration_ms: self.opened.max_cache_duration_ms,
                ..MessageParams::default()
            },
        };
        self.say(Command::AcceptFetch(self.birth.request, ok));
    }

    /// Everything was sent.
    pub(super) async fn finish(mut self) {
        self.accept();
        if !self.answered {
            // MOQT-14 §9.16.3 [D14-FETCH-7]: there is nothing between start and end.
            let error = RequestError::new(RequestErrorReason::NoObjects, "no objects exist in the range");
            self.say(Command::Reject(self.birth.request, error));
        }
        if let Some(stream) = &mut self.stream
            && stream.finish().is_ok()
        {
            // The request lives until its stream is closed on the peer's side. MOQT-14 §5.1 [D14-FETCH-16]
            drop(tokio::time::timeout(DELIVERY_DEADLINE, stream.delivered()).await);
        }
    }

    /// The stream ended before everything was sent. The request is answered all the same, and never by a FIN.
    pub(super) fn stopped(self) {
        let error = RequestError::new(RequestErrorReason::InternalError, "the stream was stopped");
        self.fail(error);
    }

    /// Something is missing: what was begun is reset, never finished.
    ///
    /// MOQT-14 §9.16.3 [D14-FETCH-5] [D14-FETCH-6]: a FIN would say that what is missing does not exist.
    pub(super) fn fail(mut self, error: RequestError) {
        if !self.answered {
            self.say(Command::Reject(self.birth.request, error));
        }
        if let Some(mut stream) = self.stream.take() {
            stream.reset(self.birth.codec.reset_code(ResetCode::InternalError));
        }
    }

    fn say(&self, command: Command) {
        mailbox::signal(&self.birth.session, Say(command));
    }
}
