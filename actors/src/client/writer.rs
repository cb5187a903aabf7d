//! Writing a track's objects, no further ahead of the transport than the log keeps.

use super::connect::ClientError;
use super::publisher::ANSWER_DEADLINE;
use super::tether::Hold;
use crate::supervise::mailbox;
use crate::track::handle::{self, LogId};
use crate::track::{Ingest, SourceId, TrackActor, UpstreamDone};
use actix::Addr;
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::{GroupId, Location, ObjectId};
use laps_protocol::moqt::message::{PublishDone, PublishDoneStatus};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::moqt::session::CommandError;
use laps_protocol::relay::track_log::{Append, LogDatagram, StreamEnd, StreamKey};
use std::time::Duration;
use tokio::sync::watch;

/// How long the last objects may take to reach the relay.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes that a writer may be ahead of the transport: an eighth of what a log keeps.
const AHEAD: u64 = 4 << 20;
/// Large groups that may be on their way at once. One would idle for a round trip at each end of a group.
const STREAMS: usize = 3;
/// How long a relay may take nothing before the writer goes on without it.
const STALL: Duration = Duration::from_secs(10);

/// Writes the objects of one track, group by group, one stream a group.
#[derive(Debug)]
pub struct TrackWriter {
    home: Addr<TrackActor>,
    log: LogId,
    /// Those of the group that is being written.
    group_bytes: u64,
    source: SourceId,
    wants: watch::Receiver<bool>,
    /// Who wanted it may only be away.
    hold: Hold,
    /// Counts the new groups that subscribers asked for.
    new_groups: watch::Receiver<u64>,
    stream: Option<(StreamKey, GroupId)>,
    next_key: StreamKey,
    priority: u8,
    whole_groups: bool,
    /// True for streams, false for datagrams; none before the first object.
    on_streams: Option<bool>,
}

impl TrackWriter {
    pub(super) fn new(
        home: Addr<TrackActor>,
        log: LogId,
        source: SourceId,
        (wants, hold): (watch::Receiver<bool>, Hold),
        new_groups: watch::Receiver<u64>,
    ) -> Self {
        Self {
            home,
            log,
            group_bytes: 0,
            source,
            wants,
            hold,
            new_groups,
            stream: None,
            next_key: 0,
            priority: 128,
            whole_groups: true,
            on_streams: None,
        }
    }

    /// Waits until the relay wants objects.
    ///
    /// # Errors
    /// When the track is over before that.
    pub async fn wanted(&mut self) -> Result<(), ClientError> {
        match self.wants.wait_for(|wanted| *wanted).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ClientError::Closed("the track ended".to_owned())),
        }
    }

    /// Waits until the relay wants no objects.
    ///
    /// # Errors
    /// When the track is over before that.
    pub async fn unwanted(&mut self) -> Result<(), ClientError> {
        match self.wants.wait_for(|wanted| !*wanted).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ClientError::Closed("the track ended".to_owned())),
        }
    }

    /// Whether the relay wants objects right now, or wanted them when its session was lost: they are kept for when it is
    /// back.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.hold.counts_as_wanted(self.is_read())
    }

    fn is_read(&self) -> bool {
        *self.wants.borrow()
    }

    /// Whether a subscriber has asked for a new group since this was last called: whoever writes begins one soon.
    pub fn take_new_group_request(&mut self) -> bool {
        let asked = self.new_groups.has_changed().unwrap_or(false);
        self.new_groups.mark_unchanged();
        asked
    }

    /// Waits until a subscriber asks for a new group; [`Self::take_new_group_request`] says so once more.
    ///
    /// # Errors
    /// When the track is over before that.
    pub async fn new_group_requested(&mut self) -> Result<(), ClientError> {
        let asked = self.new_groups.changed().await;
        self.new_groups.mark_changed();
        asked.map_err(|_| ClientError::Closed("the track ended".to_owned()))
    }

    /// Publisher priority of the streams and datagrams from here on, 0 the most urgent.
    pub const fn set_priority(&mut self, priority: u8) {
        self.priority = priority;
    }

    /// Whether the streams from here on say that their end is the end of their group, which is so at the start. A
    /// writer that may be cut off, and another go on with its group, must not say it. MOQT-14 §10.4.2 [D14-DATA-6]
    pub const fn set_whole_groups(&mut self, whole: bool) {
        self.whole_groups = whole;
    }

    /// Ends the stream of the group that was written last, ahead of the first object of the next one.
    ///
    /// # Errors
    /// When the track is over.
    pub async fn end_group(&mut self) -> Result<(), ClientError> {
        let mut batch = Vec::new();
        self.end_stream(&mut batch, StreamEnd::Fin);
        self.ingest(batch).await?;
        // Streams share the connection unevenly: one that is left behind must not fall out of the log while later
        // groups pass it.
        let group = std::mem::take(&mut self.group_bytes);
        if group * (STREAMS as u64) < AHEAD {
            // Of small groups many fit into the log, and each would cost a round trip.
            let streams = usize::try_from(AHEAD / group.max(1)).unwrap_or(usize::MAX);
            self.catch_up(AHEAD, streams).await;
        } else {
            self.catch_up(0, STREAMS).await;
        }
        Ok(())
    }

    /// Resets the stream of the group that was written last: the rest of the group will not come.
    ///
    /// # Errors
    /// When the track is over.
    pub async fn cut(&mut self) -> Result<(), ClientError> {
        let mut batch = Vec::new();
        self.end_stream(&mut batch, StreamEnd::Reset(ResetCode::Cancelled));
        self.ingest(batch).await
    }

    /// Writes one object on its group's stream; a new group ends the one before. The payload may come in pieces.
    ///
    /// # Errors
    /// When the track is over, or its objects so far were datagrams.
    pub async fn object(&mut self, place: Location, payload: Vec<Bytes>) -> Result<(), ClientError> {
        self.prefer(true)?;
        if self.stream.is_some_and(|(_, group)| group != place.group) {
            self.end_group().await?;
        }
        let mut batch = Vec::with_capacity(payload.len() + 3);
        let stream = match self.stream {
            Some((stream, group)) if group == place.group => stream,
            _ => {
                let stream = self.next_key;
                self.next_key += 1;
                self.stream = Some((stream, place.group));
                batch.push(Append::SubgroupOpened {
                    stream,
                    group: place.group,
                    subgroup: 0,
                    priority: self.priority,
                    has_extensions: false,
                    // MOQT-14 §10.4.2 [D14-DATA-6]: a group has one stream here, so its FIN ends the group.
                    end_of_group: self.whole_groups,
                });
                stream
            }
        };
        let header = ObjectHeader {
            id: place.object,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: payload.iter().map(|piece| piece.len() as u64).sum(),
        };
        let bytes = header.payload_len;
        batch.push(Append::ObjectStarted { stream, header });
        batch.extend(
            payload
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .map(|bytes| Append::Payload { stream, bytes }),
        );
        handle::wrote(self.log, bytes);
        self.ingest(batch).await?;
        self.group_bytes += bytes;
        self.catch_up(AHEAD, usize::MAX).await;
        Ok(())
    }

    /// Waits until what was written is with the transport, all but so many bytes, and on so few streams, in each session
    /// that reads: the log would drop the oldest, and what it drops is not sent.
    async fn catch_up(&mut self, ahead: u64, streams: usize) {
        loop {
            // Who is away finds in the log what it keeps.
            if !self.is_read() {
                handle::forgive(self.log);
            }
            let Some(behind) = handle::behind(self.log) else {
                return;
            };
            if behind.bytes <= ahead && behind.streams <= streams {
                return;
            }
            tokio::select! {
                () = handle::behind_changes(self.log, behind) => {}
                _ = self.wants.changed() => {}
                // The rest of a stream that the relay refused is never taken.
                () = tokio::time::sleep(STALL) => {
                    handle::forgive(self.log);
                    return;
                }
            }
        }
    }

    /// Sends one object as a datagram.
    ///
    /// # Errors
    /// When the track is over, or its objects so far were on streams.
    pub async fn datagram(
        &mut self,
        group: GroupId,
        object: ObjectId,
        payload: Bytes,
    ) -> Result<(), ClientError> {
        self.prefer(false)?;
        let datagram = LogDatagram {
            location: Location::new(group, object),
            priority: self.priority,
            extensions: Bytes::new(),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload,
        };
        self.ingest(vec![Append::Datagram(datagram)]).await
    }

    /// Ends the track and waits until every subscriber has what was written, those too whose session is being made anew.
    ///
    /// No END_OF_TRACK is sent: the publisher may come back under the same name with larger groups.
    /// MOQT-14 §2.5.1 [D14-LIB-3] [D14-LIB-4]
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn finish(mut self) -> Result<(), ClientError> {
        self.end_group().await?;
        if self.is_wanted() {
            self.hold.all_are_back(self.wants.clone()).await;
        }
        let done = PublishDone {
            status: PublishDoneStatus::TrackEnded,
            stream_count: None,
            phrase: Bytes::from_static(b"done"),
        };
        mailbox::signal(
            &self.home,
            UpstreamDone {
                source: self.source,
                done,
            },
        );
        // The sending half lives in the track's actor, which stops when its last reader is gone.
        let drained = async { while self.wants.changed().await.is_ok() {} };
        tokio::time::timeout(DRAIN_DEADLINE, drained)
            .await
            .map_err(|_| ClientError::Timeout)
    }

    /// MOQT-14 §10 [D14-LIB-3] [D14-DATA-15]: a track whose objects come both ways is malformed, which would end it.
    fn prefer(&mut self, streams: bool) -> Result<(), ClientError> {
        if *self.on_streams.get_or_insert(streams) == streams {
            return Ok(());
        }
        let mixed = CommandError::NotAllowed("a track uses streams or datagrams, not both");
        Err(ClientError::Command(mixed))
    }

    fn end_stream(&mut self, batch: &mut Vec<Append>, end: StreamEnd) {
        if let Some((stream, _)) = self.stream.take() {
            batch.push(Append::SubgroupClosed { stream, end });
        }
    }

    async fn ingest(&self, batch: Vec<Append>) -> Result<(), ClientError> {
        if batch.is_empty() {
            return Ok(());
        }
        let asked = mailbox::ask(
            &self.home,
            Ingest {
                source: self.source,
                batch,
            },
            ANSWER_DEADLINE,
        )
        .await;
        asked.map_err(|_| ClientError::Closed("the track ended".to_owned()))
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
