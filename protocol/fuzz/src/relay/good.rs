//! A publisher and a subscriber that keep to every rule.

use super::core::Relay;
use crate::feed::Feed;
use crate::messages::CODEC;
use crate::truth::{GROUPS, PRIORITY, Truth};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode};
use laps_protocol::moqt::session::{
    Action, Command, Config, ControlStream, Event, Input, Output, Role, Session,
};
use laps_protocol::moqt::version::Version;
use laps_protocol::relay::track_log::{PastRange, StreamEnd};
use std::collections::BTreeMap;

const STREAM: ControlStream = ControlStream(0);

pub(crate) fn namespace(name: &'static str) -> TrackNamespace {
    TrackNamespace::new([Bytes::from_static(name.as_bytes())]).unwrap()
}

pub(crate) fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace(name), Bytes::from_static(b"t")).unwrap()
}

pub(crate) fn config() -> Config {
    Config {
        path: Some(Bytes::from_static(b"/")),
        authority: Some(Bytes::from_static(b"h")),
        ..Config::default()
    }
}

/// The client's end of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) at: usize,
    pub(crate) session: Session,
    events: Vec<Event>,
}

impl Client {
    pub(crate) fn new(at: usize, relay: &mut Relay) -> Self {
        let session = Session::new(Role::Client, Version::Draft14, config(), relay.now);
        let mut client = Self {
            at,
            session,
            events: Vec::new(),
        };
        client
            .session
            .handle_input(relay.now, Input::StreamOpened(STREAM));
        client.talk(relay);
        client
    }

    pub(crate) fn say(&mut self, relay: &mut Relay, command: Command) -> RequestId {
        let id = self.session.command(relay.now, command).unwrap();
        self.talk(relay);
        id.unwrap_or(RequestId(u64::MAX))
    }

    /// As [`Self::say`], of a fetch that the relay may have given up meanwhile.
    fn attempt(&mut self, relay: &mut Relay, command: Command) {
        if self.session.command(relay.now, command).is_ok() {
            self.talk(relay);
        }
    }

    /// Both ends hear what the other one said, until there is nothing more.
    pub(crate) fn talk(&mut self, relay: &mut Relay) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.session.poll_output() {
                quiet = false;
                match output {
                    Output::Action(Action::Write(_, bytes)) => {
                        relay.input(self.at, Input::StreamBytes(STREAM, bytes))
                    }
                    Output::Action(Action::Close { code, reason }) => {
                        panic!("{} closes: {code:?} {reason}", self.at)
                    }
                    Output::Event(event) => self.events.push(*event),
                    _ => {}
                }
            }
            let written = relay
                .conns
                .get_mut(&self.at)
                .map(|conn| std::mem::take(&mut conn.written));
            for bytes in written.unwrap_or_default() {
                quiet = false;
                self.session
                    .handle_input(relay.now, Input::StreamBytes(STREAM, bytes));
            }
            if quiet {
                return;
            }
        }
    }

    pub(crate) fn hear(&mut self, relay: &mut Relay) -> Vec<Event> {
        self.talk(relay);
        std::mem::take(&mut self.events)
    }
}

/// A stream of the publisher.
#[derive(Debug)]
struct Open {
    stream: u64,
    group: u64,
    subgroup: u64,
    next: u64,
    previous: Option<u64>,
    /// The object that it is in, and what is left of it.
    now: Option<(Location, Bytes)>,
}

/// Publishes the truth, in order, once somebody subscribes.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) truth: Truth,
    /// The relay's subscription, and the alias that it has.
    pub(crate) live: Option<(RequestId, u64)>,
    open: Vec<Open>,
    next: (u64, u64),
    streams: u64,
    /// Objects that went out whole, and the largest that was begun.
    pub(crate) whole: BTreeMap<Location, ()>,
    pub(crate) largest: Option<Location>,
}

impl Publisher {
    pub(crate) fn new(mut client: Client, relay: &mut Relay, truth: Truth) -> Self {
        let announce = NamespaceRequest {
            namespace: namespace("good"),
            params: MessageParams::default(),
        };
        client.say(relay, Command::PublishNamespace(announce));
        Self {
            client,
            truth,
            live: None,
            open: Vec::new(),
            next: (0, 0),
            streams: 0,
            whole: BTreeMap::new(),
            largest: None,
        }
    }

    /// Answers what the relay asks.
    pub(crate) fn answer(&mut self, relay: &mut Relay) {
        for event in self.client.hear(relay) {
            match event {
                Event::PeerSubscribe(id, subscribe)
                    if subscribe.track == track("good") && self.live.is_none() =>
                {
                    let alias = self.client.session.new_alias();
                    self.live = Some((id, alias));
                    let ok = SubscribeOk {
                        alias,
                        expires_ms: 0,
                        group_order: GroupOrder::Ascending,
                        largest: self.largest,
                        params: MessageParams::default(),
                    };
                    self.client.say(relay, Command::AcceptSubscribe(id, ok));
                }
                Event::PeerSubscribe(id, _) => {
                    let no = RequestError::new(RequestErrorReason::TrackDoesNotExist, "no such track");
                    self.client.say(relay, Command::Reject(id, no));
                }
                Event::PeerFetch(id, fetch) => {
                    assert_eq!(fetch.track, track("good"));
                    self.fetched(
                        relay,
                        id,
                        PastRange::new(fetch.start, fetch.end).unwrap(),
                        fetch.group_order,
                    );
                }
                Event::PeerUnsubscribe(_) => panic!("the relay leaves a good publisher"),
                _ => {}
            }
        }
    }

    /// All that was published of a range, on one stream.
    fn fetched(&mut self, relay: &mut Relay, id: RequestId, range: PastRange, order: GroupOrderRequest) {
        let largest = self.largest.unwrap_or(Location::ZERO);
        let mut places: Vec<_> = Truth::places()
            .filter(|at| *at <= largest && range.contains(*at))
            .collect();
        if self.largest.is_none() || places.is_empty() {
            let no = RequestError::new(RequestErrorReason::NoObjects, "nothing there");
            self.client.attempt(relay, Command::Reject(id, no));
            return;
        }
        if order == GroupOrderRequest::Fixed(GroupOrder::Descending) {
            places.sort_by_key(|at| (u64::MAX - at.group, at.object));
        }
        let after = Location::new(largest.group, largest.object + 1);
        let end = if range.contains(after) { after } else { range.end };
        let mut bytes = BytesMut::new();
        CODEC.encode_fetch_header(id, &mut bytes).unwrap();
        for at in places {
            CODEC
                .encode_fetch_object_header(&self.truth.fetched(at), &mut bytes)
                .unwrap();
            bytes.extend_from_slice(&self.truth.payload(at));
        }
        let ok = FetchOk {
            group_order: GroupOrder::Ascending,
            end_of_track: false,
            end,
            params: MessageParams::default(),
        };
        self.client.attempt(relay, Command::AcceptFetch(id, ok));
        let stream = self.stream();
        relay.stream(self.client.at, stream, bytes.freeze(), Some(StreamEnd::Fin));
        self.client.attempt(relay, Command::FetchDone(id));
    }

    const fn stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    /// The next piece of the track; false when it is all published.
    pub(crate) fn publish(&mut self, relay: &mut Relay, feed: &mut Feed<'_>) -> bool {
        let Some((_, alias)) = self.live else { return false };
        let (group, subgroup) = self.next;
        if group < GROUPS && (self.open.is_empty() || (self.open.len() < 3 && feed.u8() < 64)) {
            self.next = if subgroup + 1 < Truth::subgroups(group) {
                (group, subgroup + 1)
            } else {
                (group + 1, 0)
            };
            let stream = self.stream();
            let header = SubgroupHeader {
                alias,
                group,
                subgroup: if subgroup == 0 {
                    SubgroupIdMode::Zero
                } else {
                    SubgroupIdMode::Explicit(subgroup)
                },
                priority: PRIORITY,
                has_extensions: Truth::has_extensions(group),
                end_of_group: false,
            };
            let mut bytes = BytesMut::new();
            CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
            relay.stream(self.client.at, stream, bytes.freeze(), None);
            self.open.push(Open {
                stream,
                group,
                subgroup,
                next: 0,
                previous: None,
                now: None,
            });
            return true;
        }
        if self.open.is_empty() {
            return false;
        }
        let number = feed.below(self.open.len());
        let open = &mut self.open[number];
        let mut bytes = BytesMut::new();
        if let Some((at, left)) = &mut open.now {
            let take = match feed.u8() {
                0..=127 => left.len(),
                some => (usize::from(some) - 127).min(left.len()),
            };
            bytes.extend_from_slice(&left.split_to(take));
            if left.is_empty() {
                self.whole.insert(*at, ());
                open.now = None;
            }
            relay.stream(self.client.at, open.stream, bytes.freeze(), None);
            return true;
        }
        let Some(id) = Truth::next(open.group, open.subgroup, open.next) else {
            let open = self.open.remove(number);
            relay.stream(self.client.at, open.stream, Bytes::new(), Some(StreamEnd::Fin));
            return true;
        };
        let at = Location::new(open.group, id);
        let header = self.truth.header(at);
        CODEC
            .encode_object_header(
                Truth::has_extensions(at.group),
                open.previous,
                &header,
                &mut bytes,
            )
            .unwrap();
        (open.previous, open.next) = (Some(id), id + 1);
        let payload = self.truth.payload(at);
        if payload.is_empty() {
            self.whole.insert(at, ());
        } else {
            open.now = Some((at, payload));
        }
        self.largest = self.largest.max(Some(at));
        relay.stream(self.client.at, open.stream, bytes.freeze(), None);
        true
    }

    /// The rest of everything, and the end of the track.
    pub(crate) fn finish(&mut self, relay: &mut Relay) {
        let mut nothing = Feed::new(&[]);
        while !self.open.is_empty() {
            self.publish(relay, &mut nothing);
            relay.pump();
            self.next.0 = GROUPS;
        }
        if let Some((id, _)) = self.live.take() {
            let done = PublishDone {
                status: PublishDoneStatus::TrackEnded,
                stream_count: Some(self.streams),
                phrase: Bytes::new(),
            };
            self.client.say(relay, Command::PublishDone(id, done));
        }
    }
}
