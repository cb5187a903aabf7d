//! The relay: sessions, the tree of namespaces, and for each track a log with its merge and its desk. It does what the
//! actors of the product do, at once and without a network between.

use crate::downstream::Subscription;
use crate::wire::Wire;
use bytes::Bytes;
use laps_protocol::auth::{Action as Does, Resource, Rights, UnixSeconds};
use laps_protocol::moqt::data::StreamReader;
use laps_protocol::moqt::error::{CloseCode, ResetCode};
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::session::{Action, Command, ControlStream, Event, Input, Output, Session};
use laps_protocol::relay::fetch::{FetchDesk, FetchLimits, ReaderKey, Settled, Then};
use laps_protocol::relay::inbound::{Inbound as Limit, Ticket};
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::merge::{Merge, MergeLimits, PublisherKey};
use laps_protocol::relay::namespace_tree::NamespaceTree;
use laps_protocol::relay::track_log::{FillKey, Limits, StreamEnd, TrackLog};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::subs::ok;

const STREAM: ControlStream = ControlStream(0);
/// Streams of one publisher at a time.
pub(super) const MAX_INBOUND: u64 = 6;

/// What came of one stream of a publisher so far.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) reader: StreamReader,
    pub(super) chunks: Option<(SubgroupChunks, RequestId)>,
    pub(super) fetch: Option<RequestId>,
    pub(super) ticket: Option<Ticket>,
    pub(super) key: u64,
    pub(super) end: Option<StreamEnd>,
}

/// A FETCH of a peer, while it is served.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) track: FullTrackName,
    pub(super) key: ReaderKey,
    pub(super) order: GroupOrder,
    pub(super) stream: Option<u64>,
    pub(super) out: VecDeque<Bytes>,
    pub(super) begun: bool,
    pub(super) settled: Option<Settled>,
    pub(super) answered: bool,
    pub(super) then: Option<Then>,
    pub(super) reading: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) session: Session,
    /// What the session wrote, for the peer to read.
    pub(crate) written: Vec<Bytes>,
    pub(crate) wire: Wire,
    pub(super) rights: Rights,
    pub(super) inbound: BTreeMap<u64, Inbound>,
    /// Streams of which the rest is not read.
    pub(super) refused: BTreeSet<u64>,
    pub(super) limit: Limit,
    pub(crate) subs: BTreeMap<RequestId, (FullTrackName, Subscription)>,
    pub(super) serving: BTreeMap<RequestId, Serving>,
    pub(crate) closed: Option<(CloseCode, Cow<'static, str>)>,
}

/// Who feeds a track.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) key: PublisherKey,
    pub(super) is_live: bool,
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) log: TrackLog,
    pub(super) merge: Merge,
    pub(super) desk: FetchDesk,
    pub(super) sources: BTreeMap<(usize, RequestId), Source>,
    pub(super) waiting: Vec<(usize, RequestId, Subscribe)>,
    pub(super) readers: BTreeMap<ReaderKey, (usize, RequestId)>,
    pub(super) fills: BTreeMap<FillKey, (usize, RequestId)>,
    pub(super) held: BTreeSet<FillKey>,
    pub(super) is_over: bool,
    pub(crate) malformed: bool,
}

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) now: Instant,
    pub(crate) conns: BTreeMap<usize, Conn>,
    pub(crate) tracks: BTreeMap<FullTrackName, Track>,
    pub(crate) tree: NamespaceTree<usize, RequestId>,
    pub(super) limits: Limits,
    pub(super) next: u64,
}

impl Relay {
    pub(crate) fn new(now: Instant, limits: Limits) -> Self {
        Self {
            now,
            conns: BTreeMap::new(),
            tracks: BTreeMap::new(),
            tree: NamespaceTree::new(),
            limits,
            next: 0,
        }
    }

    pub(crate) fn connect(&mut self, at: usize, session: Session, rights: Rights, wire: Wire) {
        let conn = Conn {
            session,
            written: Vec::new(),
            wire,
            rights,
            inbound: BTreeMap::new(),
            refused: BTreeSet::new(),
            limit: Limit::new(MAX_INBOUND),
            subs: BTreeMap::new(),
            serving: BTreeMap::new(),
            closed: None,
        };
        self.conns.insert(at, conn);
        self.input(at, Input::StreamAccepted(STREAM));
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn input(&mut self, at: usize, input: Input) {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(&at) {
            conn.session.handle_input(now, input);
        }
        self.drain(at);
    }

    pub(super) fn command(&mut self, at: usize, command: Command) -> Option<RequestId> {
        let now = self.now;
        let id = self
            .conns
            .get_mut(&at)?
            .session
            .command(now, command)
            .ok()
            .flatten();
        self.drain(at);
        id
    }

    pub(super) fn drain(&mut self, at: usize) {
        while let Some(output) = self
            .conns
            .get_mut(&at)
            .and_then(|conn| conn.session.poll_output())
        {
            match output {
                Output::Action(Action::Write(_, bytes)) => {
                    if let Some(conn) = self.conns.get_mut(&at) {
                        conn.written.push(bytes);
                    }
                }
                Output::Action(Action::Close { code, reason }) => {
                    if let Some(conn) = self.conns.get_mut(&at) {
                        conn.closed = Some((code, reason));
                    }
                    self.lose(at);
                }
                Output::Action(Action::OpenControl) | Output::Trace(_) => {}
                Output::Event(event) => self.on(at, *event),
            }
        }
    }

    /// A connection is gone, with everything that hung on it.
    pub(crate) fn lose(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        conn.wire.is_gone = true;
        conn.inbound.clear();
        conn.subs.values_mut().for_each(|(_, sub)| sub.forget());
        conn.subs.clear();
        let serving = std::mem::take(&mut conn.serving);
        self.tree.remove_owner(&at);
        let now = self.now;
        for serving in serving.into_values() {
            if let Some(track) = self.tracks.get_mut(&serving.track) {
                track.readers.remove(&serving.key);
                track.desk.close(now, &mut track.log, serving.key);
            }
            self.carry_out(&serving.track);
        }
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        for name in names {
            if let Some(track) = self.tracks.get_mut(&name) {
                track.waiting.retain(|(conn, ..)| *conn != at);
                let ours: Vec<_> = track
                    .sources
                    .keys()
                    .filter(|(conn, _)| *conn == at)
                    .copied()
                    .collect();
                for source in ours {
                    self.source_gone(&name, source, PublishDoneStatus::InternalError);
                }
            }
        }
    }

    pub(super) fn may(&self, at: usize, action: Does, resource: Resource<'_>) -> bool {
        let rights = self.conns.get(&at).map(|conn| &conn.rights);
        rights.is_some_and(|rights| rights.decide(&[], action, resource, UnixSeconds(1)).is_ok())
    }

    pub(super) fn reject(&mut self, at: usize, id: RequestId, reason: RequestErrorReason) {
        self.command(at, Command::Reject(id, RequestError::new(reason, "no")));
    }

    pub(super) fn on(&mut self, at: usize, event: Event) {
        match event {
            Event::PeerPublishNamespace(id, request) => {
                if self.may(
                    at,
                    Does::PublishNamespace,
                    Resource::Namespace(&request.namespace),
                ) {
                    self.tree.insert(&request.namespace, at, id);
                    self.command(at, Command::AcceptNamespace(id));
                } else {
                    self.reject(at, id, RequestErrorReason::Unauthorized);
                }
            }
            Event::PeerPublishNamespaceDone(id) => {
                let mine = self.tree.remove_owner(&at);
                for (namespace, request) in mine.into_iter().filter(|(_, request)| *request != id) {
                    self.tree.insert(&namespace, at, request);
                }
            }
            Event::PeerSubscribeNamespace(id, request) => {
                let announced = self.tree.below(&request.namespace).len();
                self.command(at, Command::AcceptNamespace(id));
                if announced > 0 {
                    let params = MessageParams::default();
                    self.command(
                        at,
                        Command::PublishNamespace(NamespaceRequest { params, ..request }),
                    );
                }
            }
            Event::PeerPublish(id, publish) => {
                if self.may(at, Does::Publish, Resource::Track(&publish.track)) {
                    let key = PublisherKey(self.number());
                    let track = self.track(&publish.track);
                    if let Some(largest) = publish.largest {
                        track.log.seed_largest(largest);
                    }
                    track.is_over = false;
                    track.sources.insert((at, id), Source { key, is_live: true });
                    let ok = PublishOk {
                        forward: true,
                        priority: 128,
                        group_order: Some(GroupOrder::Ascending),
                        filter: SubscribeFilter::LargestObject,
                        params: MessageParams::default(),
                    };
                    self.command(at, Command::AcceptPublish(id, ok));
                    self.attach_waiting(&publish.track);
                } else {
                    self.reject(at, id, RequestErrorReason::Unauthorized);
                    self.forget(at, id);
                }
            }
            Event::PeerSubscribe(id, subscribe) => self.subscribe(at, id, subscribe),
            Event::SubscribeOk(id, ok) => self.subscribed(at, id, &ok),
            Event::PeerSubscribeUpdate(id, update) => self.update(at, id, &update),
            Event::PeerUnsubscribe(id) => self.unsubscribe(at, id),
            Event::PublishDone(id, done) => {
                for name in self.names_of((at, id)) {
                    self.source_gone(&name, (at, id), done.status);
                }
                self.forget(at, id);
            }
            Event::Rejected(id, RequestKind::Subscribe | RequestKind::Publish, error) => {
                for name in self.names_of((at, id)) {
                    self.source_gone(&name, (at, id), PublishDoneStatus::InternalError);
                }
                let _ = error;
            }
            Event::PeerFetch(id, fetch) => self.fetch(at, id, &fetch),
            Event::PeerFetchCancel(id) => self.end_serving(at, id, Some(ResetCode::Cancelled)),
            Event::FetchOk(id, ok) => self.with_fill(at, id, |now, track, fill| {
                track.desk.answered(now, &mut track.log, fill, ok);
            }),
            Event::Rejected(id, RequestKind::Fetch, error) => self.with_fill(at, id, |now, track, fill| {
                track.fills.remove(&fill);
                track.desk.refused(now, &mut track.log, fill, error.reason);
            }),
            Event::PeerTrackStatus(id, subscribe) => match self.tracks.get(&subscribe.track) {
                Some(track) => {
                    let ok = ok(0, track.log.largest());
                    self.command(at, Command::AcceptTrackStatus(id, ok));
                }
                None => self.reject(at, id, RequestErrorReason::TrackDoesNotExist),
            },
            _ => {}
        }
    }

    pub(super) fn forget(&mut self, at: usize, id: RequestId) {
        if let Some(conn) = self.conns.get_mut(&at) {
            conn.session.forget_alias(id);
        }
        self.drain(at);
    }

    pub(super) fn names_of(&self, source: (usize, RequestId)) -> Vec<FullTrackName> {
        let fed = self
            .tracks
            .iter()
            .filter(|(_, track)| track.sources.contains_key(&source));
        fed.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn track(&mut self, name: &FullTrackName) -> &mut Track {
        let limits = self.limits;
        self.tracks.entry(name.clone()).or_insert_with(|| Track {
            log: TrackLog::new(limits),
            merge: Merge::new(MergeLimits {
                max_stream_bytes: 2_000,
                max_bytes: 4_000,
            }),
            desk: FetchDesk::new(
                FetchLimits {
                    max_readers: 4,
                    max_fills: 2,
                    ..FetchLimits::default()
                },
                false,
            ),
            sources: BTreeMap::new(),
            waiting: Vec::new(),
            readers: BTreeMap::new(),
            fills: BTreeMap::new(),
            held: BTreeSet::new(),
            is_over: false,
            malformed: false,
        })
    }

    /// Everything that can go out does, and who is through is told.
    pub(crate) fn pump(&mut self) {
        let conns: Vec<usize> = self.conns.keys().copied().collect();
        for at in conns {
            let Some(conn) = self.conns.get_mut(&at) else {
                continue;
            };
            let mut done = Vec::new();
            for (id, (name, sub)) in &mut conn.subs {
                let Some(track) = self.tracks.get(name) else {
                    continue;
                };
                sub.pump(self.now, &track.log, &mut conn.wire);
                // MOQT-14 §9.12
                if let Some(status) = sub.ending.filter(|_| sub.is_settled()) {
                    done.push((*id, status, sub.opened));
                }
            }
            for (id, status, opened) in done {
                conn.subs.remove(&id);
                let done = PublishDone {
                    status,
                    stream_count: Some(opened),
                    phrase: Bytes::new(),
                };
                let said = conn.session.command(self.now, Command::PublishDone(id, done));
                assert!(said.is_ok() || conn.session.is_closed(), "{said:?}");
            }
            self.drain(at);
            let serving: Vec<_> = self
                .conns
                .get(&at)
                .into_iter()
                .flat_map(|conn| conn.serving.keys().copied())
                .collect();
            for id in serving {
                self.drive(at, id);
            }
        }
    }

    /// Time has passed.
    pub(crate) fn wait(&mut self, by: Duration) {
        self.now += by;
        let now = self.now;
        let conns: Vec<usize> = self.conns.keys().copied().collect();
        for at in conns {
            let due = self.conns.get(&at).and_then(|conn| conn.session.poll_timeout());
            if due.is_some_and(|due| due <= now) {
                self.input(at, Input::Timeout);
                let due = self.conns.get(&at).and_then(|conn| conn.session.poll_timeout());
                assert!(due.is_none_or(|due| due > now), "a deadline that stays");
            }
        }
        let names: Vec<_> = self.tracks.keys().cloned().collect();
        for name in names {
            let track = self.track(&name);
            track.merge.handle_timeout(&mut track.log, now, &mut |_, _| {});
            track.log.evict(now);
            for fill in track.desk.overdue(now) {
                track.fills.remove(&fill);
            }
            track.desk.timeout(now, &mut track.log);
            assert!(
                track.desk.poll_timeout().is_none_or(|due| due > now),
                "a deadline that stays"
            );
            self.carry_out(&name);
        }
    }

    /// Nothing is left over of those who are gone.
    pub(crate) fn is_empty(&self) -> Result<(), String> {
        if !self.tree.is_empty() {
            return Err(format!("{} namespaces", self.tree.len()));
        }
        for (name, track) in &self.tracks {
            let left = (
                track.sources.len(),
                track.waiting.len(),
                track.readers.len(),
                track.fills.len(),
                track.desk.is_empty(),
                track.desk.poll_timeout(),
            );
            if left != (0, 0, 0, 0, true, None) {
                return Err(format!("{name}: {left:?}"));
            }
        }
        Ok(())
    }
}
