//! The crate `moq-transport` 0.14.2 as publisher and as subscriber over raw QUIC.
//!
//! It keeps only the newest subgroup and the newest datagram of a track, on both sides, and gives a subscription up when
//! an older one still wants to be written. So tests move it in lock-step: the next object leaves when the last arrived.

use std::net::SocketAddr;

use bytes::Bytes;
use moq_transport::coding::TrackNamespace;
use moq_transport::serve::{
    DatagramsReader, DatagramsWriter, Subgroup, SubgroupReader, SubgroupWriter, SubgroupsReader,
    SubgroupsWriter, Track, TrackReader, TrackReaderMode, Tracks, TracksWriter,
};
use moq_transport::session::{Publisher, Session, SessionError, Subscribe, Subscriber, Transport};
use tokio::task::JoinHandle;

use super::quic::{ALPN, dial};
use super::within;

/// A session of the crate; its task ends when the session does.
pub(crate) struct MoqPeer {
    publisher: Publisher,
    subscriber: Subscriber,
    running: JoinHandle<Result<(), SessionError>>,
    _endpoint: quinn::Endpoint,
}

impl Drop for MoqPeer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl MoqPeer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (endpoint, connection) = within("a QUIC handshake", dial(address, ALPN))
            .await
            .expect("a QUIC connection");
        let url: url::Url = format!("moqt://{address}").parse().expect("a url");
        let response = web_transport_quinn::proto::ConnectResponse::OK;
        let session = web_transport_quinn::Session::raw(connection, url, response);
        let setup = Session::connect(session.into(), None, Transport::RawQuic);
        let (session, publisher, subscriber) = within("SETUP by moq-transport", setup).await.expect("SETUP");
        let running = tokio::spawn(session.run());
        Self {
            publisher,
            subscriber,
            running,
            _endpoint: endpoint,
        }
    }

    /// Announces `namespace` and serves the one track in it.
    pub(crate) fn announce(&self, namespace: &str, track: &str) -> MoqPublisher {
        let (mut tracks, _requests, reader) =
            Tracks::new(TrackNamespace::from_utf8_path(namespace)).produce();
        let writer = tracks.create(track).expect("a reader that still exists");
        let mut publisher = self.publisher.clone();
        let serving = tokio::spawn(async move { publisher.announce(reader).await });
        MoqPublisher {
            track: Some(writer),
            writing: Writing::Nothing,
            _tracks: tracks,
            serving,
        }
    }

    /// Subscribes and waits for SUBSCRIBE_OK.
    pub(crate) async fn subscribe(&mut self, namespace: &str, track: &str) -> MoqSubscription {
        let (writer, reader) = Track {
            namespace: TrackNamespace::from_utf8_path(namespace),
            name: track.to_owned(),
        }
        .produce();
        let held = within(
            "SUBSCRIBE_OK for moq-transport",
            self.subscriber.subscribe_open(writer),
        )
        .await
        .expect("an accepted subscription");
        MoqSubscription {
            held,
            track: reader,
            reading: Reading::Nothing,
        }
    }

    /// Waits for the end of the session.
    pub(crate) async fn session_end(mut self) -> Result<(), SessionError> {
        within("the end of a moq-transport session", &mut self.running)
            .await
            .expect("a task that does not panic")
    }

    /// Fails with the reason when the crate has given its session up.
    pub(crate) async fn assert_alive(&mut self) {
        if self.running.is_finished() {
            let end = (&mut self.running).await;
            panic!("moq-transport gave its session up: {end:?}");
        }
    }
}

enum Writing {
    Nothing,
    Subgroups {
        all: SubgroupsWriter,
        open: Option<(u64, SubgroupWriter)>,
    },
    Datagrams(DatagramsWriter),
}

/// One announced track.
pub(crate) struct MoqPublisher {
    track: Option<moq_transport::serve::TrackWriter>,
    writing: Writing,
    _tracks: TracksWriter,
    serving: JoinHandle<Result<(), SessionError>>,
}

impl Drop for MoqPublisher {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl MoqPublisher {
    /// Writes the next object of `group` on a stream; a new group ends the stream of the one before.
    pub(crate) fn object(&mut self, group: u64, payload: &str) {
        if let Some(track) = self.track.take() {
            let all = track.subgroups().expect("a track without objects");
            self.writing = Writing::Subgroups { all, open: None };
        }
        let Writing::Subgroups { all, open } = &mut self.writing else {
            panic!("this track is of datagrams")
        };
        if open.as_ref().is_none_or(|(current, _)| *current != group) {
            drop(open.take());
            let header = Subgroup {
                group_id: group,
                subgroup_id: 0,
                priority: 127,
            };
            *open = Some((group, all.create(header).expect("a track that is read")));
        }
        if let Some((_, subgroup)) = open {
            subgroup
                .write(Bytes::copy_from_slice(payload.as_bytes()))
                .expect("a subgroup that is read");
        }
    }

    /// Writes one object as a datagram.
    pub(crate) fn datagram(&mut self, group: u64, object: u64, payload: &str) {
        if let Some(track) = self.track.take() {
            self.writing = Writing::Datagrams(track.datagrams().expect("a track without objects"));
        }
        let Writing::Datagrams(all) = &mut self.writing else {
            panic!("this track is of streams")
        };
        all.write(moq_transport::serve::Datagram {
            group_id: group,
            object_id: object,
            priority: 127,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            extension_headers: Default::default(),
        })
        .expect("a track that is read");
    }

    /// Ends the track: the crate sends PUBLISH_DONE with status 0 and stream count 0, whatever was sent.
    pub(crate) fn end(&mut self) {
        self.track = None;
        self.writing = Writing::Nothing;
    }
}

enum Reading {
    Nothing,
    Subgroups {
        all: SubgroupsReader,
        open: Option<SubgroupReader>,
    },
    Datagrams(DatagramsReader),
}

/// An accepted subscription and what it delivers.
pub(crate) struct MoqSubscription {
    held: Subscribe,
    track: TrackReader,
    reading: Reading,
}

impl MoqSubscription {
    /// The next object: group id and payload.
    pub(crate) async fn next(&mut self) -> (u64, String) {
        let (group, payload) = within("an object at moq-transport", self.receive()).await;
        (group, String::from_utf8(payload.to_vec()).expect("text"))
    }

    async fn receive(&mut self) -> (u64, Bytes) {
        loop {
            match &mut self.reading {
                Reading::Nothing => {
                    self.reading = match self.track.mode().await.expect("a live track") {
                        TrackReaderMode::Subgroups(all) => Reading::Subgroups { all, open: None },
                        TrackReaderMode::Datagrams(all) => Reading::Datagrams(all),
                        TrackReaderMode::Stream(_) => panic!("draft-14 has no track streams"),
                    };
                }
                Reading::Subgroups { all, open } => {
                    if let Some(subgroup) = open
                        && let Some(payload) = subgroup.read_next().await.expect("a whole object")
                    {
                        return (subgroup.group_id, payload);
                    }
                    *open = all.next().await.expect("a live track");
                    assert!(open.is_some(), "the track ended");
                }
                Reading::Datagrams(all) => {
                    let datagram = all.read().await.expect("a live track").expect("another datagram");
                    return (datagram.group_id, datagram.payload);
                }
            }
        }
    }

    /// Waits for PUBLISH_DONE (or the end of the session) and says how the crate reports it.
    pub(crate) async fn closed(&self) -> moq_transport::serve::ServeError {
        within("the end of a subscription", self.held.closed())
            .await
            .expect_err("a reason for the end")
    }
}
