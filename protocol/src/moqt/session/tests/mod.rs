//! Tables of rules, one file per family.

mod endings;
mod joining;
mod names;
mod properties;
mod publish;
mod refusals;
mod requests;
mod setup;
mod subscribe;
mod timeouts;
mod tokens;

use super::*;
use crate::moqt::location::Location;
use crate::moqt::message::*;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use std::time::Duration;

/// One session and the wire on the other side of it.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) start: Instant,
    decoder: ControlDecoder,
}

/// What came out of a session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Out {
    pub(super) said: Vec<ControlMessage>,
    pub(super) events: Vec<Event>,
    pub(super) closed: Option<(CloseCode, String)>,
    pub(super) opened: usize,
}

pub(super) const STREAM: ControlStream = ControlStream(0);

#[expect(
    clippy::disallowed_methods,
    reason = "a test may read the clock once, for a base of virtual time"
)]
pub(super) fn base() -> Instant {
    Instant::now()
}

pub(super) fn config() -> Config {
    Config {
        path: Some(Bytes::from_static(b"/")),
        authority: Some(Bytes::from_static(b"host")),
        ..Config::default()
    }
}

impl Bench {
    /// A session with nothing done.
    pub(super) fn new(role: Role, config: Config) -> Self {
        let start = base();
        Self {
            session: Session::new(role, Version::Draft14, config, start),
            start,
            decoder: ControlDecoder::new(Codec::Draft14),
        }
    }

    /// An established session whose peer gave it this many ids.
    pub(super) fn ready(role: Role, config: Config, peer_maximum: u64) -> Self {
        let mut bench = Self::new(role, config);
        let params = SetupParams {
            max_request_id: Some(peer_maximum),
            ..SetupParams::default()
        };
        let version = Codec::Draft14.version_number();
        match role {
            Role::Client => {
                bench.input(Input::StreamOpened(STREAM));
                bench.hear(&ControlMessage::ServerSetup(ServerSetup { version, params }));
            }
            Role::Server => {
                bench.input(Input::StreamAccepted(STREAM));
                let versions = vec![version];
                bench.hear(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
            }
        }
        let out = bench.out();
        assert_eq!(out.closed, None);
        assert!(bench.session.established().is_some());
        bench
    }

    pub(super) fn server() -> Self {
        Self::ready(Role::Server, config(), 100)
    }

    pub(super) fn client() -> Self {
        Self::ready(Role::Client, config(), 100)
    }

    pub(super) fn input(&mut self, input: Input) {
        self.session.handle_input(self.start, input);
    }

    pub(super) fn hear(&mut self, message: &ControlMessage) {
        let mut bytes = BytesMut::new();
        Codec::Draft14.encode(message, &mut bytes).unwrap();
        self.input(Input::StreamBytes(STREAM, bytes.freeze()));
    }

    pub(super) fn command(&mut self, command: Command) -> Result<Option<RequestId>, CommandError> {
        self.session.command(self.start, command)
    }

    /// Starts a request that must be allowed.
    pub(super) fn ask(&mut self, command: Command) -> RequestId {
        self.command(command).unwrap().unwrap()
    }

    pub(super) fn out(&mut self) -> Out {
        let mut out = Out::default();
        while let Some(output) = self.session.poll_output() {
            assert_eq!(out.closed, None, "nothing comes after Close");
            match output {
                Output::Action(Action::OpenControl) => out.opened += 1,
                Output::Action(Action::Write(stream, bytes)) => {
                    assert_eq!(stream, STREAM);
                    self.decoder.push(bytes);
                    while let Some(message) = self.decoder.next().unwrap() {
                        out.said.push(message);
                    }
                }
                Output::Action(Action::Close { code, reason }) => out.closed = Some((code, reason.into())),
                Output::Event(event) => out.events.push(*event),
                Output::Trace(_) => {}
            }
        }
        out
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        let out = self.out();
        assert_eq!(out.closed, None);
        out.events
    }

    pub(super) fn said(&mut self) -> Vec<ControlMessage> {
        let out = self.out();
        assert_eq!(out.closed, None);
        out.said
    }

    pub(super) fn code(&mut self) -> Option<CloseCode> {
        self.out().closed.map(|(code, _)| code)
    }
}

pub(super) fn namespace(fields: &[&'static str]) -> TrackNamespace {
    TrackNamespace::new(fields.iter().map(|field| Bytes::from_static(field.as_bytes()))).unwrap()
}

pub(super) fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace(&["live"]), Bytes::from_static(name.as_bytes())).unwrap()
}

pub(super) fn subscribe(name: &'static str, filter: SubscribeFilter) -> Subscribe {
    Subscribe {
        track: track(name),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter,
        params: MessageParams::default(),
    }
}

pub(super) fn subscribe_ok(alias: TrackAlias, largest: Option<Location>) -> SubscribeOk {
    SubscribeOk {
        alias,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest,
        params: MessageParams::default(),
    }
}

pub(super) fn update(subscription: RequestId, start: Location, end_group: Option<u64>) -> SubscribeUpdate {
    SubscribeUpdate {
        subscription,
        start,
        end_group,
        priority: 1,
        forward: true,
        params: MessageParams::default(),
    }
}

pub(super) fn publish(name: &'static str, alias: TrackAlias) -> Publish {
    Publish {
        track: track(name),
        alias,
        group_order: GroupOrder::Ascending,
        largest: None,
        forward: true,
        params: MessageParams::default(),
    }
}

pub(super) fn publish_ok() -> PublishOk {
    PublishOk {
        forward: true,
        priority: 128,
        group_order: Some(GroupOrder::Ascending),
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    }
}

pub(super) fn done() -> PublishDone {
    PublishDone {
        status: PublishDoneStatus::TrackEnded,
        stream_count: Some(0),
        phrase: Bytes::new(),
    }
}

pub(super) fn announce(fields: &[&'static str]) -> NamespaceRequest {
    NamespaceRequest {
        namespace: namespace(fields),
        params: MessageParams::default(),
    }
}

pub(super) fn named(fields: &[&'static str]) -> Namespace {
    Namespace {
        namespace: namespace(fields),
    }
}

pub(super) fn error() -> RequestError {
    RequestError::new(RequestErrorReason::NotSupported, "no")
}

pub(super) fn standalone(start: Location, end: Location) -> Fetch {
    Fetch {
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        range: FetchRange::Standalone {
            track: track("a"),
            start,
            end,
        },
        params: MessageParams::default(),
    }
}

pub(super) fn fetch_ok(end: Location) -> FetchOk {
    FetchOk {
        group_order: GroupOrder::Ascending,
        end_of_track: false,
        end,
        params: MessageParams::default(),
    }
}
