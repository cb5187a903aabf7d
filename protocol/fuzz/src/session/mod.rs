//! A hostile peer: messages in any order, bytes that are none, streams, resets and silence, while our side asks and
//! answers as it likes.
//!
//! | file | what it holds |
//! |---|---|
//! | `model` | what must hold of everything that the session says and tells, worked out beside it |
//! | `commands` | what our side says |

mod commands;
mod model;

use crate::feed::Feed;
use crate::messages::{self, Ids};
use bytes::Bytes;
use laps_protocol::moqt::message::{ClientSetup, ServerSetup, SetupParams};
use laps_protocol::moqt::message::{ControlMessage, Namespace, RequestError, RequestErrorReason, RequestId};
use laps_protocol::moqt::session::{Command, Config, ControlStream, Input, Role, Session};
use laps_protocol::moqt::version::Version;
use model::Model;
use std::time::{Duration, Instant};

const STREAM: ControlStream = ControlStream(0);
/// Steps of one run, at most.
const STEPS: usize = 160;
/// What the peer allows us in its SETUP.
const WINDOWS: [u64; 4] = [100, 2, 0, 10_000];

struct Run {
    session: Session,
    model: Model,
    now: Instant,
}

/// A hostile peer of one session.
pub(crate) fn session(data: &[u8]) {
    let mut feed = Feed::new(data);
    let role = if feed.u8() % 4 == 3 {
        Role::Client
    } else {
        Role::Server
    };
    let config = config(&mut feed);
    let now = crate::base();
    let session = Session::new(role, Version::Draft14, config.clone(), now);
    let mut run = Run {
        session,
        model: Model::new(role, &config),
        now,
    };
    run.drain();
    run.begin(&mut feed, role);
    for _ in 0..STEPS {
        if feed.is_over() || run.session.is_closed() {
            break;
        }
        run.step(&mut feed);
    }
    // A closed session takes nothing in and says nothing.
    if run.session.is_closed() {
        run.step(&mut feed);
        assert_eq!(run.session.poll_timeout(), None);
    } else {
        run.finish();
    }
}

fn config(feed: &mut Feed<'_>) -> Config {
    let windows = [10_000, 8, 2, 100, 0, 1, 40, u64::MAX];
    Config {
        implementation: Bytes::from_static(b"fuzz"),
        max_request_id: windows[feed.below(windows.len())],
        max_queued_requests: feed.below(4),
        idle_timeout: feed.flag().then_some(Duration::from_secs(20)),
        path: feed.flag().then_some(Bytes::from_static(b"/p?q")),
        authority: feed.flag().then_some(Bytes::from_static(b"host:1")),
        authorization_tokens: Vec::new(),
        max_auth_token_cache_size: [0, 64, 1000][feed.below(3)],
        webtransport: feed.u8() % 8 == 7,
        allow_request_id_gaps: feed.u8() % 8 == 7,
        trace: feed.u8() % 8 == 7,
        ..Config::default()
    }
}

impl Run {
    /// As far as SETUP, mostly.
    fn begin(&mut self, feed: &mut Feed<'_>, role: Role) {
        if feed.u8() >= 248 {
            return;
        }
        let opened = match role {
            Role::Client => Input::StreamOpened(STREAM),
            Role::Server => Input::StreamAccepted(STREAM),
        };
        self.input(opened);
        let setup = match (role, feed.u8()) {
            (Role::Server, 0..=199) => {
                let raw = !self.model.webtransport;
                ControlMessage::ClientSetup(ClientSetup {
                    versions: vec![messages::CODEC.version_number()],
                    params: SetupParams {
                        max_request_id: Some(WINDOWS[feed.below(4)]),
                        path: raw.then_some(Bytes::from_static(b"/")),
                        authority: raw.then_some(Bytes::from_static(b"h")),
                        ..SetupParams::default()
                    },
                })
            }
            (Role::Server, _) => ControlMessage::ClientSetup(messages::client_setup(feed)),
            (Role::Client, _) => ControlMessage::ServerSetup(ServerSetup {
                version: messages::CODEC.version_number(),
                params: SetupParams {
                    max_request_id: Some(WINDOWS[feed.below(4)]),
                    ..SetupParams::default()
                },
            }),
        };
        let bytes = messages::encoded(feed, &setup);
        self.bytes(bytes);
    }

    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() {
            0..=119 => {
                let ids = self.ids();
                let message = messages::message(feed, &ids);
                let bytes = messages::encoded(feed, &message);
                if feed.u8() >= 224 {
                    feed.split(bytes).into_iter().for_each(|piece| self.bytes(piece));
                } else {
                    self.bytes(bytes);
                }
            }
            120..=215 => {
                let command = commands::command(feed, &mut self.session, &self.model);
                self.command(command);
            }
            216..=223 => {
                let bytes = messages::frame(feed);
                self.bytes(bytes);
            }
            224..=227 => {
                let bytes = feed.bytes(60);
                self.bytes(bytes);
            }
            228..=239 => self.wait(feed),
            240..=247 => {
                let about = commands::any_id(feed, &self.model);
                self.session.forget_alias(about);
                self.drain();
            }
            other => {
                let stream = ControlStream(u64::from(feed.u8() % 3));
                let input = match other % 8 {
                    0 => Input::StreamAccepted(stream),
                    1 => Input::StreamOpened(stream),
                    2 => Input::StreamFin(ControlStream(stream.0 + 1)),
                    3 => Input::StreamReset(ControlStream(stream.0 + 1)),
                    4 => Input::StreamBytes(ControlStream(7), feed.bytes(20)),
                    5 => Input::StreamFin(stream),
                    6 => Input::StreamReset(stream),
                    _ => Input::Timeout,
                };
                self.input(input);
            }
        }
    }

    /// Ids for a message of the peer.
    fn ids(&self) -> Ids {
        Ids {
            next: self.model.next_of_peer(),
            known: self.model.some_ids(),
        }
    }

    fn bytes(&mut self, bytes: Bytes) {
        self.model.heard(&bytes);
        self.input(Input::StreamBytes(STREAM, bytes));
    }

    fn input(&mut self, input: Input) {
        let was_closed = self.session.is_closed();
        self.model.stream(&input);
        self.session.handle_input(self.now, input);
        self.model.handled(&self.session, was_closed);
        self.drain();
    }

    fn command(&mut self, command: Command) {
        let was_closed = self.session.is_closed();
        let closes = matches!(command, Command::Close(..));
        let done = self.session.command(self.now, command.clone());
        assert!(!was_closed || closes || done.is_err());
        assert_eq!(
            closes && !was_closed,
            self.session.is_closed() && !was_closed,
            "{command:?} {done:?}"
        );
        self.model.said(&command, &done);
        self.drain();
    }

    /// Time passes, to a deadline or not quite.
    fn wait(&mut self, feed: &mut Feed<'_>) {
        let due = self.session.poll_timeout();
        let now = match (feed.below(3), due) {
            (0, Some(due)) => due,
            (1, Some(due)) => due.checked_sub(Duration::from_millis(1)).unwrap_or(due),
            _ => self.now + Duration::from_millis(u64::from(feed.u8()) * 100),
        };
        self.now = self.now.max(now);
        let early = due.is_none_or(|due| self.now < due);
        let was_closed = self.session.is_closed();
        self.input(Input::Timeout);
        assert!(
            !early || was_closed == self.session.is_closed(),
            "closed before its time"
        );
        // Nobody may have to call again and again for the same moment.
        assert!(
            self.session.poll_timeout().is_none_or(|due| due > self.now),
            "a deadline that stays"
        );
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.session.poll_output() {
            self.model.came(&self.session, output);
            count += 1;
            assert!(count < 4096, "outputs without end");
        }
        self.model.drained(&self.session);
    }

    /// Whatever was begun can be ended, and nothing is left of it.
    fn finish(&mut self) {
        for (id, prefix) in self.model.requests_of_peer() {
            let error = RequestError::new(RequestErrorReason::InternalError, "over");
            for command in [
                Command::Reject(id, error.clone()),
                Command::PublishDone(id, model::done()),
                Command::Unsubscribe(id),
                Command::FetchDone(id),
                Command::PublishNamespaceCancel(id, error),
            ] {
                self.command(command);
            }
            if let Some(namespace) = prefix {
                let over = ControlMessage::UnsubscribeNamespace(Namespace { namespace });
                let bytes = messages::encoded(&mut Feed::new(&[]), &over);
                if !self.model.inside_message() {
                    self.bytes(bytes);
                }
            }
            self.session.forget_alias(RequestId(id.0));
            self.drain();
        }
        if !self.session.is_closed() && self.session.established().is_some() && !self.model.inside_message() {
            let (_, theirs) = self.session.open_requests();
            assert_eq!(
                theirs, 0,
                "requests of the peer that are never over: {:?}",
                self.session
            );
        }
    }
}
