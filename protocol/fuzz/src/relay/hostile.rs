//! Who keeps to no rule: any message, any stream, any datagram, at any time.

use super::core::Relay;
use crate::feed::Feed;
use crate::messages::{self, CODEC, Ids};
use crate::truth::{GROUPS, PRIORITY, Truth};
use crate::wire::Got;
use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::codec::ControlDecoder;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ClientSetup, ControlMessage, RequestId, Subscribe, SubscribeFilter};
use laps_protocol::moqt::object::{
    DatagramObject, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode,
};
use laps_protocol::moqt::session::{ControlStream, Input};
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::BTreeMap;

/// A stream of it.
#[derive(Debug)]
struct Open {
    reader: StreamReader,
    header: Option<SubgroupHeader>,
    is_fetch: bool,
    previous: Option<u64>,
    current: Option<Got>,
}

#[derive(Debug)]
pub(crate) struct Hostile {
    pub(crate) at: usize,
    ids: Ids,
    ear: ControlDecoder,
    streams: BTreeMap<u64, Open>,
    next_stream: u64,
    /// Aliases that it named, or was asked under.
    aliases: Vec<u64>,
    /// What the relay asked it, and waits for.
    asked: Vec<ControlMessage>,
    lie: Truth,
    /// Objects that it said whole, as it said them.
    pub(crate) said: Vec<Got>,
}

impl Hostile {
    pub(crate) fn new(at: usize, relay: &mut Relay, lie: Truth) -> Self {
        let mut this = Self {
            at,
            ids: Ids {
                next: 0,
                known: Vec::new(),
            },
            ear: ControlDecoder::new(CODEC),
            streams: BTreeMap::new(),
            next_stream: 0,
            aliases: Vec::new(),
            asked: Vec::new(),
            lie,
            said: Vec::new(),
        };
        let mut setup = ClientSetup {
            versions: vec![CODEC.version_number()],
            ..ClientSetup::default()
        };
        setup.params.max_request_id = Some(40);
        setup.params.path = Some(Bytes::from_static(b"/"));
        setup.params.authority = Some(Bytes::from_static(b"h"));
        this.say(relay, &mut Feed::new(&[]), &ControlMessage::ClientSetup(setup));
        this
    }

    fn say(&mut self, relay: &mut Relay, feed: &mut Feed<'_>, message: &ControlMessage) {
        use ControlMessage as M;
        match message {
            M::Subscribe(id, _)
            | M::Fetch(id, _)
            | M::TrackStatus(id, _)
            | M::PublishNamespace(id, _)
            | M::SubscribeNamespace(id, _)
            | M::SubscribeUpdate(id, _)
            | M::Publish(id, _) => {
                self.ids.known.push(id.0);
                self.ids.next = self.ids.next.max(id.0.saturating_add(2));
            }
            _ => {}
        }
        if let M::Publish(_, publish) = message {
            self.aliases.push(publish.alias);
        }
        let bytes = messages::encoded(feed, message);
        relay.input(self.at, Input::StreamBytes(ControlStream(0), bytes));
        self.listen(relay);
    }

    /// What the relay says: all of it is a message.
    pub(crate) fn listen(&mut self, relay: &mut Relay) {
        let written = relay
            .conns
            .get_mut(&self.at)
            .map(|conn| std::mem::take(&mut conn.written));
        for bytes in written.unwrap_or_default() {
            self.ear.push(bytes);
        }
        while let Some(message) = self.ear.next().unwrap() {
            use ControlMessage as M;
            match &message {
                M::Subscribe(id, _) | M::Fetch(id, _) | M::PublishNamespace(id, _) => {
                    self.ids.known.push(id.0);
                    self.asked.push(message);
                }
                _ => {}
            }
        }
        let excess = self.ids.known.len().saturating_sub(12);
        self.ids.known.drain(..excess);
    }

    pub(crate) fn act(&mut self, relay: &mut Relay, feed: &mut Feed<'_>, good: [&'static str; 2]) {
        use ControlMessage as M;
        match feed.u8() {
            0..=49 => {
                let message = messages::message(feed, &self.ids);
                self.say(relay, feed, &message);
            }
            // What leads somewhere: it asks for the good track, offers one, answers as it is asked.
            50..=69 => {
                let track = super::good::track(good[feed.below(2)]);
                let id = RequestId(self.ids.next);
                let message = match feed.below(5) {
                    0 | 1 => M::Subscribe(id, messages::subscribe(feed, track)),
                    2 => {
                        let plain = messages::subscribe(&mut Feed::new(&[]), track);
                        M::Subscribe(
                            id,
                            Subscribe {
                                filter: SubscribeFilter::LargestObject,
                                forward: true,
                                ..plain
                            },
                        )
                    }
                    3 => {
                        let alias = 1 + feed.number() % 4;
                        let mut publish = messages::publish(feed, track, alias);
                        publish.largest = publish.largest.filter(|_| feed.u8() > 200);
                        M::Publish(id, publish)
                    }
                    _ => M::Fetch(
                        id,
                        messages::fetch(feed, track, RequestId(self.ids.next.saturating_sub(2))),
                    ),
                };
                self.say(relay, feed, &message);
            }
            70..=89 => self.answer(relay, feed),
            90..=199 => self.stream(relay, feed),
            200..=209 => {
                let bytes = self.datagram(feed);
                relay.datagram(self.at, bytes);
            }
            210..=219 => {
                if let Some(conn) = relay.conns.get_mut(&self.at) {
                    conn.wire.room += usize::from(feed.u8()) * 8;
                }
            }
            220..=229 => {
                let open: Vec<u64> = relay
                    .conns
                    .get(&self.at)
                    .into_iter()
                    .flat_map(|conn| {
                        conn.wire
                            .streams
                            .iter()
                            .filter(|(_, came)| came.end.is_none())
                            .map(|(stream, _)| *stream)
                    })
                    .collect();
                if let Some(stream) = open.get(feed.below(open.len())) {
                    relay.stop(self.at, *stream);
                }
            }
            230..=239 => {
                let bytes = if feed.flag() {
                    messages::frame(feed)
                } else {
                    feed.bytes(40)
                };
                relay.input(self.at, Input::StreamBytes(ControlStream(0), bytes));
            }
            240..=244 => {
                let input = match feed.below(4) {
                    0 => Input::StreamFin(ControlStream(0)),
                    1 => Input::StreamReset(ControlStream(0)),
                    2 => Input::StreamAccepted(ControlStream(1)),
                    _ => Input::StreamBytes(ControlStream(5), Bytes::from_static(b"x")),
                };
                relay.input(self.at, input);
            }
            _ => {}
        }
        self.listen(relay);
    }

    /// Answers what the relay asked, in its way.
    fn answer(&mut self, relay: &mut Relay, feed: &mut Feed<'_>) {
        use ControlMessage as M;
        if self.asked.is_empty() {
            return;
        }
        let message = match self.asked.remove(feed.below(self.asked.len())) {
            M::Subscribe(id, _) if feed.u8() < 220 => {
                let alias = 1 + feed.number() % 4;
                self.aliases.push(alias);
                let mut ok = messages::subscribe_ok(feed, alias);
                ok.largest = ok.largest.filter(|_| feed.u8() > 200);
                M::SubscribeOk(id, ok)
            }
            M::Fetch(id, _) if feed.u8() < 220 => {
                let mut bytes = BytesMut::new();
                CODEC.encode_fetch_header(id, &mut bytes).unwrap();
                let stream = self.open(true);
                self.send(relay, stream, bytes.freeze(), None);
                if feed.flag() {
                    return;
                }
                M::FetchOk(id, messages::fetch_ok(feed))
            }
            M::PublishNamespace(id, _) => M::PublishNamespaceOk(id),
            M::Subscribe(id, _) | M::Fetch(id, _) => {
                M::RequestError(id, messages::request_kind(feed), messages::request_error(feed))
            }
            _ => return,
        };
        self.say(relay, feed, &message);
    }

    fn open(&mut self, is_fetch: bool) -> u64 {
        let stream = self.next_stream;
        self.next_stream += 1;
        let open = Open {
            reader: StreamReader::new(CODEC, DataLimits::default()),
            header: None,
            is_fetch,
            previous: None,
            current: None,
        };
        self.streams.insert(stream, open);
        stream
    }

    fn send(&mut self, relay: &mut Relay, stream: u64, bytes: Bytes, end: Option<StreamEnd>) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.reader.push(bytes.clone());
            while let Ok(Some(item)) = open.reader.next() {
                match item {
                    StreamItem::SubgroupHeader(header) => open.header = Some(header),
                    StreamItem::Object(object) => {
                        let header = open.header.unwrap();
                        open.current = Some(Got {
                            at: Location::new(header.group, object.id),
                            subgroup: 0,
                            status: object.status,
                            priority: header.priority,
                            extensions: object.extensions,
                            payload_len: object.payload_len,
                            payload: Vec::new(),
                        });
                    }
                    StreamItem::Payload(bytes) => {
                        if let Some(current) = &mut open.current {
                            current.payload.extend_from_slice(&bytes);
                        }
                    }
                    _ => {}
                }
                if let Some(current) = open.current.take_if(|current| current.is_whole()) {
                    self.said.push(current);
                }
            }
        }
        if end.is_some() {
            self.streams.remove(&stream);
        }
        relay.stream(self.at, stream, bytes, end);
    }

    fn alias(&self, feed: &mut Feed<'_>) -> u64 {
        match feed.u8() {
            choice @ 0..=240 if !self.aliases.is_empty() => {
                self.aliases[usize::from(choice) % self.aliases.len()]
            }
            _ => feed.number(),
        }
    }

    fn stream(&mut self, relay: &mut Relay, feed: &mut Feed<'_>) {
        let open: Vec<u64> = self.streams.keys().copied().collect();
        let mut bytes = BytesMut::new();
        let choice = feed.u8();
        if open.is_empty() || choice < 40 {
            let group = u64::from(feed.u8()) % GROUPS;
            let modes = [
                SubgroupIdMode::Zero,
                SubgroupIdMode::FirstObject,
                SubgroupIdMode::Explicit(1),
            ];
            let header = SubgroupHeader {
                alias: self.alias(feed),
                group,
                subgroup: modes[feed.below(3)],
                priority: if feed.u8() < 240 { PRIORITY } else { feed.u8() },
                has_extensions: if feed.u8() < 240 {
                    Truth::has_extensions(group)
                } else {
                    feed.flag()
                },
                end_of_group: feed.u8() > 240,
            };
            CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
            let stream = self.open(false);
            return self.send(relay, stream, bytes.freeze(), None);
        }
        let stream = open[feed.below(open.len())];
        match choice {
            40..=69 => {
                let ends = [
                    StreamEnd::Fin,
                    StreamEnd::Fin,
                    StreamEnd::Reset(ResetCode::Cancelled),
                ];
                self.send(relay, stream, Bytes::new(), Some(ends[feed.below(3)]));
            }
            70..=79 => {
                let bytes = feed.bytes(30);
                self.send(relay, stream, bytes, None);
            }
            _ => {
                let Some(open) = self.streams.get_mut(&stream) else {
                    return;
                };
                let group = match (open.header, open.is_fetch) {
                    (Some(header), _) => header.group,
                    _ => u64::from(feed.u8()) % GROUPS,
                };
                let at = Location::new(group, u64::from(feed.u8() % 6));
                // As it is, or otherwise.
                let truth = if feed.u8() < 128 {
                    Truth {
                        version: 0,
                        ..self.lie
                    }
                } else {
                    self.lie
                };
                let (mut header, payload) = (truth.header(at), truth.payload(at));
                if feed.u8() > 235 {
                    header = strange(feed, header);
                }
                let done = if open.is_fetch {
                    let mut fetched = truth.fetched(at);
                    (fetched.status, fetched.payload_len) = (header.status, header.payload_len);
                    CODEC.encode_fetch_object_header(&fetched, &mut bytes)
                } else {
                    let has = open.header.is_some_and(|header| header.has_extensions);
                    CODEC.encode_object_header(has, open.previous, &header, &mut bytes)
                };
                if done.is_ok() {
                    open.previous = Some(at.object);
                    let len = if feed.u8() > 220 {
                        payload.len() / 2
                    } else {
                        payload.len()
                    };
                    bytes.put(payload.slice(..len));
                }
                self.send(relay, stream, bytes.freeze(), None);
            }
        }
    }

    fn datagram(&self, feed: &mut Feed<'_>) -> Bytes {
        if feed.u8() > 220 {
            return feed.bytes(30);
        }
        let at = Location::new(u64::from(feed.u8()) % GROUPS, feed.number());
        let object = DatagramObject {
            alias: self.alias(feed),
            location: at,
            priority: feed.u8(),
            extensions: Bytes::new(),
            end_of_group: feed.u8() > 230,
            status: ObjectStatus::Normal,
            payload: feed.bytes(20),
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_datagram_header(&object, &mut bytes).unwrap();
        bytes.put(object.payload);
        bytes.freeze()
    }
}

/// A header that says something else than its payload.
fn strange(feed: &mut Feed<'_>, header: ObjectHeader) -> ObjectHeader {
    let statuses = [
        ObjectStatus::Normal,
        ObjectStatus::EndOfGroup,
        ObjectStatus::EndOfTrack,
        ObjectStatus::DoesNotExist,
    ];
    let status = statuses[feed.below(4)];
    let payload_len = if status == ObjectStatus::Normal {
        feed.number()
    } else {
        0
    };
    ObjectHeader {
        status,
        payload_len,
        ..header
    }
}
