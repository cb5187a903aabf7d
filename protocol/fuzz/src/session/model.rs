//! What must hold of everything that a session says and tells, worked out beside it.
// LENGTH: one model of one session

use crate::messages::CODEC;
use bytes::Bytes;
use laps_protocol::moqt::codec::ControlDecoder;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{
    Action, Command, CommandError, Config, ControlStream, Event, Input, Output, Role, Session,
};
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of a varint.
const LARGEST: u64 = (1 << 62) - 1;

pub(super) fn done() -> PublishDone {
    PublishDone {
        status: PublishDoneStatus::TrackEnded,
        stream_count: Some(0),
        phrase: Bytes::new(),
    }
}

/// A request of the peer, as its message made it.
#[derive(Clone, Debug)]
struct Asked {
    kind: RequestKind,
    answered: bool,
    watches: Option<TrackNamespace>,
}

/// The other side's view of a session, and what follows from the rules.
pub(super) struct Model {
    role: Role,
    window: u64,
    gaps: bool,
    max_queued: usize,
    cache: u64,
    pub(super) webtransport: bool,
    /// Reads what the peer says.
    ear: ControlDecoder,
    /// Reads what the session says.
    mouth: ControlDecoder,
    setup_heard: bool,
    /// The stream that the session takes for its control stream.
    control: Option<ControlStream>,
    /// A rule was broken that ends the session, and which.
    must_close: Option<&'static str>,
    closed: Option<CloseCode>,
    /// The peer's next id, and the maximum that it was told.
    next: u64,
    maximum: u64,
    /// Our next id on the wire, and the maximum that the peer told.
    our_next: u64,
    our_maximum: u64,
    asked: BTreeMap<u64, Asked>,
    told: BTreeSet<u64>,
    ours: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    /// Tracks of subscriptions that are not over, and the aliases that the peer gave them.
    tracks: BTreeMap<RequestId, FullTrackName>,
    aliases: BTreeMap<RequestId, u64>,
    ranges: BTreeMap<RequestId, (Location, Option<u64>)>,
    tokens: BTreeMap<u64, (u64, Bytes)>,
    /// What the peer registered can no longer be followed from here.
    tokens_lost: bool,
    shown: BTreeMap<u64, Vec<AuthToken>>,
}

impl Model {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let (first, peers) = match role {
            Role::Client => (0, 1),
            Role::Server => (1, 0),
        };
        Self {
            role,
            window: config.max_request_id.min(LARGEST),
            gaps: config.allow_request_id_gaps,
            max_queued: config.max_queued_requests,
            cache: config.max_auth_token_cache_size,
            webtransport: config.webtransport,
            ear: ControlDecoder::new(CODEC),
            mouth: ControlDecoder::new(CODEC),
            setup_heard: false,
            control: None,
            must_close: None,
            closed: None,
            next: peers,
            maximum: config.max_request_id.min(LARGEST),
            our_next: first,
            our_maximum: 0,
            asked: BTreeMap::new(),
            told: BTreeSet::new(),
            ours: BTreeSet::new(),
            ended: BTreeSet::new(),
            tracks: BTreeMap::new(),
            aliases: BTreeMap::new(),
            ranges: BTreeMap::new(),
            tokens: BTreeMap::new(),
            tokens_lost: false,
            shown: BTreeMap::new(),
        }
    }

    pub(super) const fn next_of_peer(&self) -> u64 {
        self.next
    }

    /// The newest requests of both sides.
    pub(super) fn some_ids(&self) -> Vec<u64> {
        let theirs = self.asked.keys().rev().take(6);
        let ours = self.ours.iter().rev().take(6);
        theirs
            .zip(ours.clone())
            .flat_map(|(a, b)| [*a, *b])
            .chain(self.asked.keys().rev().take(3).copied())
            .chain(ours.copied())
            .collect()
    }

    pub(super) fn requests_of_peer(&self) -> Vec<(RequestId, Option<TrackNamespace>)> {
        let all = self
            .asked
            .iter()
            .filter(|(id, _)| self.told.contains(id) || self.shown.contains_key(id));
        all.map(|(id, asked)| (RequestId(*id), asked.watches.clone()))
            .collect()
    }

    pub(super) fn inside_message(&self) -> bool {
        self.ear.buffered() > 0
    }

    fn must_close(&mut self, why: &'static str) {
        self.must_close.get_or_insert(why);
    }

    /// Streams come and go.
    pub(super) fn stream(&mut self, input: &Input) {
        match (input, self.role) {
            (Input::StreamOpened(stream), Role::Client) | (Input::StreamAccepted(stream), Role::Server)
                if self.control.is_none() =>
            {
                self.control = Some(*stream);
            }
            // MOQT-14 §3.3: one control stream, which lives as long as the session.
            (Input::StreamFin(stream) | Input::StreamReset(stream), _) if Some(*stream) == self.control => {
                self.must_close("the control stream was closed");
            }
            (Input::StreamAccepted(_), _) => self.must_close("a second bidirectional stream"),
            _ => {}
        }
    }

    /// The peer says this; the session hears it next.
    pub(super) fn heard(&mut self, bytes: &Bytes) {
        // Other streams are nothing that a session listens to.
        if self.control != Some(ControlStream(0)) {
            return;
        }
        self.ear.push(bytes.clone());
        loop {
            match self.ear.next() {
                Ok(Some(message)) => self.hears(&message),
                Ok(None) => return,
                Err(_) => return self.must_close("bytes that are no message"),
            }
        }
    }

    fn hears(&mut self, message: &ControlMessage) {
        use ControlMessage as M;
        if !self.setup_heard {
            self.setup_heard = true;
            match (self.role, message) {
                (Role::Server, M::ClientSetup(setup)) => {
                    self.our_maximum = setup.params.max_request_id.unwrap_or(0);
                    if !setup.versions.contains(&CODEC.version_number()) {
                        self.must_close("no version in common");
                    }
                    self.tokens_lost |= !setup.params.authorization_tokens.is_empty();
                }
                (Role::Client, M::ServerSetup(setup)) => {
                    self.our_maximum = setup.params.max_request_id.unwrap_or(0);
                    if setup.version != CODEC.version_number() {
                        self.must_close("a version that was not offered");
                    }
                }
                _ => self.must_close("something before SETUP"),
            }
            return;
        }
        match message {
            M::ClientSetup(_) | M::ServerSetup(_) => self.must_close("SETUP again"),
            M::Subscribe(id, body) => self.asks(*id, Some(RequestKind::Subscribe), None, &body.params),
            M::Publish(id, body) => self.asks(*id, Some(RequestKind::Publish), None, &body.params),
            M::Fetch(id, body) => self.asks(*id, Some(RequestKind::Fetch), None, &body.params),
            M::TrackStatus(id, body) => self.asks(*id, Some(RequestKind::TrackStatus), None, &body.params),
            M::PublishNamespace(id, body) => {
                self.asks(*id, Some(RequestKind::PublishNamespace), None, &body.params)
            }
            M::SubscribeNamespace(id, body) => {
                let prefix = Some(body.namespace.clone());
                self.asks(*id, Some(RequestKind::SubscribeNamespace), prefix, &body.params);
            }
            M::SubscribeUpdate(id, body) => self.asks(*id, None, None, &body.params),
            M::MaxRequestId(maximum) => {
                // MOQT-14 §9.5
                if *maximum <= self.our_maximum {
                    self.must_close("MAX_REQUEST_ID that does not rise");
                }
                self.our_maximum = *maximum;
            }
            M::SubscribeOk(id, _)
            | M::FetchOk(id, _)
            | M::TrackStatusOk(id, _)
            | M::PublishOk(id, _)
            | M::PublishNamespaceOk(id)
            | M::SubscribeNamespaceOk(id)
            | M::RequestError(id, ..)
                if id.0 >= self.our_next || id.0 % 2 != self.our_next % 2 =>
            {
                // MOQT-14 §9.1
                self.must_close("an answer to what was never asked");
            }
            _ => {}
        }
    }

    /// A message with an id of the peer's. MOQT-14 §9.1, §9.5.
    fn asks(
        &mut self,
        id: RequestId,
        kind: Option<RequestKind>,
        watches: Option<TrackNamespace>,
        params: &MessageParams,
    ) {
        if id.0 % 2 != self.next % 2 {
            return self.must_close("an id of the other side");
        }
        if id.0 >= self.maximum {
            return self.must_close("an id that was not granted");
        }
        if id.0 < self.next || (id.0 > self.next && !self.gaps) {
            return self.must_close("an id out of order");
        }
        self.next = id.0 + 2;
        if let Some(kind) = kind {
            self.asked.insert(
                id.0,
                Asked {
                    kind,
                    answered: false,
                    watches,
                },
            );
        }
        let shown = self.resolve(&params.authorization_tokens);
        self.shown.insert(id.0, shown);
    }

    /// The tokens of a message by value. MOQT-14 §9.2.1.1.
    fn resolve(&mut self, tokens: &[Bytes]) -> Vec<AuthToken> {
        let mut shown = Vec::new();
        // What an alias stands for is shown once in a message.
        let mut used = BTreeSet::new();
        for token in tokens {
            match CODEC.decode_token(token) {
                Ok(AuthToken::Register {
                    alias,
                    token_type,
                    value,
                }) => {
                    shown.push(AuthToken::UseValue {
                        token_type,
                        value: value.clone(),
                    });
                    used.insert(alias);
                    self.tokens_lost |= self.tokens.insert(alias, (token_type, value)).is_some();
                    let used: u64 = self
                        .tokens
                        .values()
                        .map(|(_, value)| 16 + value.len() as u64)
                        .sum();
                    // MOQT-14 §9.3.2.4
                    if used > self.cache && !self.tokens_lost {
                        self.must_close("more tokens than the cache holds");
                    }
                }
                Ok(AuthToken::UseAlias { alias }) => match self.tokens.get(&alias) {
                    Some(_) if !used.insert(alias) => {}
                    Some((token_type, value)) => {
                        shown.push(AuthToken::UseValue {
                            token_type: *token_type,
                            value: value.clone(),
                        });
                    }
                    None => self.tokens_lost = true,
                },
                Ok(AuthToken::Delete { alias }) => {
                    used.remove(&alias);
                    self.tokens_lost |= self.tokens.remove(&alias).is_none();
                }
                Ok(used @ AuthToken::UseValue { .. }) => shown.push(used),
                Err(_) => self.tokens_lost = true,
            }
        }
        shown
    }

    /// The session has taken it in.
    pub(super) fn handled(&mut self, session: &Session, was_closed: bool) {
        if let Some(why) = self.must_close {
            assert!(
                session.is_closed() || was_closed,
                "{why}, and the session goes on"
            );
        }
    }

    /// Our side said something.
    pub(super) fn said(&mut self, command: &Command, done: &Result<Option<RequestId>, CommandError>) {
        if let Ok(Some(id)) = done {
            assert!(id.0 % 2 == self.our_next % 2, "id {id} of the other side");
            assert!(self.ours.last().is_none_or(|last| last < &id.0) || self.ours.contains(&id.0));
            self.ours.insert(id.0);
        }
        match (command, done) {
            (Command::Subscribe(body), Ok(Some(id))) => _ = self.tracks.insert(*id, body.track.clone()),
            (Command::Unsubscribe(id), Ok(_)) => self.over(*id),
            (Command::Reject(id, _), Ok(_)) => {
                self.ranges.remove(id);
                self.over(*id);
            }
            _ => {}
        }
    }

    /// A subscription of ours is over: its alias may stand for another track.
    fn over(&mut self, id: RequestId) {
        self.tracks.remove(&id);
        self.aliases.remove(&id);
    }

    /// One output.
    pub(super) fn came(&mut self, session: &Session, output: Output) {
        assert_eq!(self.closed, None, "{output:?} after the end");
        match output {
            Output::Action(Action::Write(_, bytes)) => {
                self.mouth.push(bytes);
                while let Some(message) = self.mouth.next().unwrap() {
                    self.says(&message);
                }
                assert_eq!(self.mouth.buffered(), 0, "half a message is written");
            }
            Output::Action(Action::Close { code, reason }) => {
                assert!(session.is_closed() && reason.len() < 1024);
                self.closed = Some(code);
            }
            Output::Action(Action::OpenControl) | Output::Trace(_) => {}
            Output::Event(event) => self.tells(session, *event),
        }
    }

    /// What the session writes.
    fn says(&mut self, message: &ControlMessage) {
        use ControlMessage as M;
        match message {
            M::Subscribe(id, _)
            | M::Publish(id, _)
            | M::Fetch(id, _)
            | M::TrackStatus(id, _)
            | M::PublishNamespace(id, _)
            | M::SubscribeNamespace(id, _)
            | M::SubscribeUpdate(id, _) => {
                // MOQT-14 §9.1, §9.5
                assert_eq!(id.0, self.our_next, "an id out of order: {message:?}");
                assert!(
                    id.0 < self.our_maximum,
                    "an id that the peer did not grant: {message:?}"
                );
                self.our_next += 2;
                self.ours.insert(id.0);
            }
            M::MaxRequestId(maximum) => {
                assert!(
                    *maximum > self.maximum,
                    "MAX_REQUEST_ID {maximum} after {}",
                    self.maximum
                );
                self.maximum = *maximum;
            }
            M::RequestsBlocked(at) => assert_eq!(*at, self.our_maximum),
            M::SubscribeOk(id, _) => self.answers(*id, RequestKind::Subscribe),
            M::PublishOk(id, _) => self.answers(*id, RequestKind::Publish),
            M::FetchOk(id, _) => self.answers(*id, RequestKind::Fetch),
            M::TrackStatusOk(id, _) => self.answers(*id, RequestKind::TrackStatus),
            M::PublishNamespaceOk(id) => self.answers(*id, RequestKind::PublishNamespace),
            M::SubscribeNamespaceOk(id) => self.answers(*id, RequestKind::SubscribeNamespace),
            M::RequestError(id, kind, _) => self.answers(*id, *kind),
            M::PublishDone(id, _) => {
                assert!(self.ended.insert(id.0), "PUBLISH_DONE twice for {id}");
                let accepted = self.asked.get(&id.0).map(|asked| (asked.kind, asked.answered));
                let ours = self.ours.contains(&id.0);
                assert!(
                    ours || accepted == Some((RequestKind::Subscribe, true)),
                    "PUBLISH_DONE for {id}"
                );
            }
            _ => {}
        }
    }

    /// Each request gets one answer, of its kind. MOQT-14 §9.
    fn answers(&mut self, id: RequestId, kind: RequestKind) {
        let asked = self.asked.get_mut(&id.0);
        let Some(asked) = asked else {
            panic!("an answer to {id}, which was never asked");
        };
        assert_eq!(asked.kind, kind, "another kind of answer to {id}");
        assert!(
            !std::mem::replace(&mut asked.answered, true),
            "a second answer to {id}"
        );
    }

    /// What the session tells our side.
    fn tells(&mut self, session: &Session, event: Event) {
        assert!(
            self.must_close.is_none() || session.is_closed(),
            "{event:?} of a session that should be over"
        );
        match event {
            Event::Established(setup) => assert!(setup.version.alpn().len() > 2),
            Event::PeerSubscribe(id, body) => {
                self.peer_asked(id, RequestKind::Subscribe, &body.params);
                let range = match body.filter {
                    SubscribeFilter::AbsoluteStart(start) => (start, None),
                    SubscribeFilter::AbsoluteRange { start, end_group } => (start, Some(end_group)),
                    _ => (Location::ZERO, None),
                };
                self.ranges.insert(id, range);
            }
            Event::PeerPublish(id, body) => {
                self.peer_asked(id, RequestKind::Publish, &body.params);
                self.tracks.insert(id, body.track);
                self.alias(session, body.alias, id);
            }
            Event::PublishDone(id, _) | Event::Rejected(id, ..) => {
                assert!(
                    self.ours.contains(&id.0) || self.told.contains(&id.0),
                    "the end of {id}"
                );
                self.over(id);
            }
            Event::SubscribeOk(id, body) => {
                assert!(self.ours.contains(&id.0));
                self.alias(session, body.alias, id);
            }
            Event::PeerTrackStatus(id, body) => self.peer_asked(id, RequestKind::TrackStatus, &body.params),
            Event::PeerPublishNamespace(id, body) => {
                self.peer_asked(id, RequestKind::PublishNamespace, &body.params);
            }
            Event::PeerSubscribeNamespace(id, body) => {
                self.peer_asked(id, RequestKind::SubscribeNamespace, &body.params);
            }
            Event::PeerFetch(id, fetch) => {
                self.peer_asked(id, RequestKind::Fetch, &fetch.params);
                // MOQT-14 §9.16.1: the end is not before the start.
                let (start, end) = (fetch.start, fetch.end);
                let forward = end.group > start.group
                    || (end.group == start.group && (end.object == 0 || end.object >= start.object));
                assert!(forward, "a fetch that ends before it begins: {fetch:?}");
            }
            Event::PeerSubscribeUpdate(id, update) => {
                // MOQT-14 §9.10: never wider than what was said before.
                if let Some((start, end)) = self.ranges.get_mut(&id) {
                    assert!(
                        update.start >= *start,
                        "an update that begins earlier: {update:?}"
                    );
                    assert!(end.is_none_or(|end| update.end_group.is_some_and(|new| new <= end)));
                    (*start, *end) = (update.start, update.end_group);
                }
            }
            Event::FetchOk(id, _)
            | Event::PublishOk(id, _)
            | Event::TrackStatusOk(id, _)
            | Event::NamespaceOk(id, _) => {
                assert!(
                    self.ours.contains(&id.0),
                    "an answer to {id}, which we never asked"
                );
            }
            Event::PeerUnsubscribe(id)
            | Event::PeerFetchCancel(id)
            | Event::PeerUnsubscribeNamespace(id)
            | Event::PeerPublishNamespaceDone(id) => {
                let known = self.told.contains(&id.0) || self.ours.contains(&id.0);
                assert!(known, "the end of {id}, which nobody was told of");
            }
            _ => {}
        }
    }

    fn peer_asked(&mut self, id: RequestId, kind: RequestKind, params: &MessageParams) {
        assert_eq!(
            self.asked.get(&id.0).map(|asked| asked.kind),
            Some(kind),
            "request {id}"
        );
        assert!(self.told.insert(id.0), "request {id} is told twice");
        let shown: Vec<_> = params
            .authorization_tokens
            .iter()
            .map(|token| CODEC.decode_token(token).unwrap())
            .collect();
        assert!(
            shown
                .iter()
                .all(|token| matches!(token, AuthToken::UseValue { .. })),
            "a token not by value"
        );
        if !self.tokens_lost {
            assert_eq!(
                Some(&shown),
                self.shown.get(&id.0),
                "other tokens than the peer showed"
            );
        }
    }

    /// MOQT-14 §9.8, §9.13: an alias stands for one track.
    fn alias(&mut self, session: &Session, alias: u64, id: RequestId) {
        let track = self.tracks.get(&id);
        let same = self.aliases.iter().filter(|(_, other)| **other == alias);
        for (other, _) in same {
            assert!(
                self.tracks.get(other) == track,
                "alias {alias} stands for the tracks of {other} and {id}"
            );
        }
        self.aliases.insert(id, alias);
        assert!(session.is_closed() || session.peer_alias(alias).is_some());
    }

    /// Everything is drained.
    pub(super) fn drained(&mut self, session: &Session) {
        assert_eq!(session.is_closed(), self.closed.is_some(), "the end is not said");
        let (_, theirs) = session.open_requests();
        assert!(
            theirs as u64 <= self.window / 2 + 1,
            "{theirs} open requests of the peer, window {}",
            self.window
        );
        assert!(session.queued_requests() <= self.max_queued);
    }
}
