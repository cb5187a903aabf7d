//! The writer over a real connection.

use super::lane::Turned;
use super::*;
use crate::supervise::Faults;
use crate::track::handle::{self, LogOwner, Share};
use crate::transport::testing::pair;
use bytes::Bytes;
use futures::FutureExt;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::SnsId;
use laps_protocol::relay::follow;
use laps_protocol::relay::scheduler::{Place, SendOrder};
use laps_protocol::relay::track_log::{Append, Cursor, Limits, Next, Position, StreamEnd, TrackLog};
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

const TIMEOUT: Option<Duration> = Some(Duration::from_millis(300));

fn heads() -> Heads {
    Heads::new(FullNameHash::MAX, SnsId::FIRST, 5000)
}

/// A log with one object in one subgroup of this priority.
fn log(priority: u8) -> LogOwner {
    log_of(priority, 4, Bytes::from_static(b"payload"))
}

/// The same with this group and payload.
fn log_of(priority: u8, group: u64, payload: Bytes) -> LogOwner {
    let mut log = TrackLog::new(Limits::default());
    let stream = 1;
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: payload.len() as u64,
    };
    let chunks = [
        Append::SubgroupOpened {
            stream,
            group,
            subgroup: 0,
            priority,
            has_extensions: false,
            end_of_group: false,
        },
        Append::ObjectStarted { stream, header },
        Append::Payload {
            stream,
            bytes: payload,
        },
        Append::SubgroupClosed {
            stream,
            end: StreamEnd::Fin,
        },
    ];
    for chunk in chunks {
        log.append(Instant::now(), chunk);
    }
    LogOwner::new(log, &Arc::default(), Share::All)
}

/// The subgroup of that log, behind a prefix.
fn spec(log: &LogOwner, prefix: Bytes) -> LaneSpec {
    spec_as(log, prefix, 9)
}

/// The same under this alias, which on a link is a hash.
fn spec_as(log: &LogOwner, prefix: Bytes, alias: u64) -> LaneSpec {
    let everything = ResolvedFilter {
        start: Location::ZERO,
        end_group: None,
    };
    let found = handle::read(log.id(), |log| {
        follow::look(log, &mut Cursor::default(), &everything, alias, 9)
    });
    LaneSpec {
        log: log.id(),
        reader: found.unwrap().lanes.remove(0),
        filter: Rc::new(Cell::new(everything)),
        rank: Rc::new(Rank::new(RequestId(0), 128, GroupOrder::Ascending)),
        prefix,
    }
}

/// laps peering, "Data Header Messages": on a link the data header stands before the SUBGROUP_HEADER, and the first write
/// has all of both; what follows is what a session's peer gets.
#[actix::test]
async fn a_stream_on_a_link_begins_with_its_data_header() {
    let mut pair = pair().await;
    let (heads, conn) = (heads(), pair.server.handle.clone());
    let egress = Egress::new(conn, Codec::Draft14, SendPolicy::Priorities);
    let fault = Faults::default().at("egress", String::new);
    actix_rt::spawn(egress.clone().run(|error| panic!("{error:?}"), fault));
    let owner = log(7);
    let mut sent = Vec::new();
    for prefix in [Bytes::new(), heads.of_stream(7, TIMEOUT)] {
        let spec = spec(&owner, prefix);
        egress.open_lane(spec, &Rc::default());
        let mut stream = pair.client.uni.accept().await.unwrap().unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = stream.receive().await.unwrap() {
            pieces.push(piece);
        }
        sent.push(pieces);
    }
    let (plain, mut headed) = (sent[0].concat(), sent[1].concat());
    let mut begun = Bytes::from(headed.split_off(0));
    let head = StreamHeaderReader::new().read(&mut begun).unwrap().unwrap();
    assert_eq!((head.sns, head.track), (SnsId::FIRST, FullNameHash::MAX));
    assert_eq!((head.priority, head.ttl_ms), (7, 300));
    assert_eq!(begun, plain);
    let header_len = plain.len() - b"payload".len();
    assert!(sent[1][0].len() >= StreamHeader::LEN + header_len);
    egress.close();
}

/// laps peering, "Data Header Messages": a turn that is nearly used up writes both headers or, in a session, a part.
#[actix::test]
async fn a_short_turn_does_not_part_the_headers() {
    let mut pair = pair().await;
    let conn = pair.server.handle.clone();
    let gate = Rc::new(Gate::new(conn.clone(), SendPolicy::Priorities));
    let openers = Rc::new(Openers::new(conn.clone()));
    let owner = log(7);
    for (prefix, at_least) in [
        (Bytes::new(), 1),
        (heads().of_stream(7, TIMEOUT), StreamHeader::LEN + 4),
    ] {
        let spec = spec(&owner, prefix);
        let opener = openers.opener();
        let mut lane = Lane::new(spec, Codec::Draft14, conn.clone(), opener, Rc::default()).at(&gate);
        let turned = poll_fn(|cx| {
            // It is known by its waker from then on.
            assert!(lane.poll_unpin(cx).is_pending());
            Poll::Ready(lane.lane.borrow_mut().turn(1))
        });
        assert_eq!(turned.await, Turned::More);
        let mut stream = pair.client.uni.accept().await.unwrap().unwrap();
        let first = stream.receive().await.unwrap().unwrap();
        assert!(first.len() >= at_least, "{first:?}");
        assert_eq!(first.len() == 1, at_least == 1, "{first:?}");
    }
}

/// laps peering, "Data Header Messages": the stack puts as much of a stream into a packet as there is room for behind what
/// others have there. On a link to a laps relay nobody is before a stream that begins, so its first frame has both headers.
#[actix::test]
async fn one_by_one_the_headers_are_in_one_frame() {
    let mut shortest = Vec::new();
    for policy in [SendPolicy::Priorities, SendPolicy::OneByOne] {
        let mut pair = pair().await;
        let (heads, conn) = (heads(), pair.server.handle.clone());
        let egress = Egress::new(conn.clone(), Codec::Draft14, policy);
        let fault = Faults::default().at("egress", String::new);
        actix_rt::spawn(egress.clone().run(|error| panic!("{error:?}"), fault));
        // Of every size, so that there is a stream behind which any number of bytes is left in a packet.
        for some in (0..1500).collect::<Vec<_>>().chunks(50) {
            // As the group of who takes the time for its number.
            let log = |size: &usize| log_of(7, 1 << 40, vec![0; *size].into());
            let logs: Vec<_> = some.iter().map(log).collect();
            for log in &logs {
                let head = heads.of_stream(7, TIMEOUT);
                egress.open_lane(spec_as(log, head, FullNameHash::MAX.get()), &Rc::default());
            }
            for _ in some {
                let mut stream = pair.client.uni.accept().await.unwrap().unwrap();
                while stream.receive().await.unwrap().is_some() {}
            }
        }
        egress.close();
        shortest.push(conn.stats().shortest_begin());
    }
    // Its type, the alias, group and priority.
    let whole = (StreamHeader::LEN + 1 + 8 + 8 + 1) as u64;
    assert!(shortest[0] < whole && whole <= shortest[1], "{shortest:?}");
}

/// laps peering, "Datagram Data"
#[test]
fn a_datagram_on_a_link_begins_with_its_data_header() {
    let mut datagram = heads().of_datagram().to_vec();
    datagram.extend_from_slice(b"object");
    let (head, payload) = DatagramHeader::split(datagram.into()).unwrap();
    assert_eq!(
        (head.sns, head.track, &*payload),
        (SnsId::FIRST, FullNameHash::MAX, &b"object"[..])
    );
}

/// laps peering, "Data Header Messages": the id of who gets it may change, and only what has no end is said to have none.
#[test]
fn heads_say_who_gets_it_and_for_how_long() {
    let (heads, other) = (heads(), SnsId::new(9).unwrap());
    let read = |mut head: Bytes| StreamHeaderReader::new().read(&mut head).unwrap().unwrap();
    let shared = heads.clone();
    assert_eq!(read(heads.of_stream(1, None)).ttl_ms, 5000);
    shared.set_sns(other);
    let head = read(heads.of_stream(1, Some(Duration::from_micros(3))));
    assert_eq!((head.sns, head.priority, head.ttl_ms), (other, 1, 1));
    assert_eq!(read(heads.of_stream(1, Some(Duration::MAX))).ttl_ms, u32::MAX);
    let (head, _) = DatagramHeader::split(Bytes::copy_from_slice(&heads.of_datagram())).unwrap();
    assert_eq!(head.sns, other);
}

/// MOQT-14 §7.2 [D14-PRIO-1]: what is handed on from a link leaves at once where nobody waits, and passes over nobody.
#[actix::test]
async fn what_is_handed_on_waits_for_its_turn_like_others() {
    let pair = pair().await;
    let mut conn = pair.server.handle.clone();
    let gate = Rc::new(Gate::new(conn.clone(), SendPolicy::Priorities));
    let order = |publisher| SendOrder {
        subscriber: 128,
        publisher,
        request: RequestId(u64::from(publisher)),
        place: Place::new(GroupOrder::Ascending, 0, 0),
    };
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(conn.open_uni().await.unwrap());
    }
    let tickets: Vec<_> = (0..3).map(|_| gate.ticket()).collect();
    let mut write = |at: usize, publisher, cx: &mut Context<'_>| {
        let (mut out, mut written) = (vec![Bytes::from_static(b"piece")], 0);
        let out = (&mut out, 0);
        let polled = tickets[at].poll_hand_on(&mut streams[at], order(publisher), out, &mut written, cx);
        (polled.is_ready(), written)
    };
    poll_fn(|cx| {
        assert_eq!(write(0, 9, cx), (true, 5));
        // One that waits: its bytes come by another way.
        assert!(tickets[1].poll_write_later(order(1), cx));
        assert_eq!(write(2, 9, cx), (false, 0));
        // The writer gives leave to the first in the order, and when that is used to the next.
        while gate.serve(cx) {}
        assert_eq!(write(2, 9, cx), (false, 0));
        assert_eq!(write(1, 1, cx), (true, 5));
        while gate.serve(cx) {}
        assert_eq!(write(2, 9, cx), (true, 5));
        assert_eq!(write(0, 9, cx), (true, 5));
        Poll::Ready(())
    })
    .await;
}

/// A subscription gives way to others: what all of them bring is reset, and what one of them does not bring goes on.
#[test]
fn what_others_do_not_bring_goes_on() {
    let (mut log, mut cursor) = (TrackLog::new(Limits::default()), Cursor::default());
    let all = [1, 2, 3, 4].map(|group| {
        let opened = Append::SubgroupOpened {
            stream: group,
            group,
            subgroup: 0,
            priority: 0,
            has_extensions: false,
            end_of_group: false,
        };
        let header = ObjectHeader {
            id: 0,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 0,
        };
        let object = Append::ObjectStarted {
            stream: group,
            header,
        };
        for chunk in [opened, object] {
            log.append(Instant::now(), chunk);
        }
        match log.next_subgroup(&mut cursor) {
            Next::Ready(seq) => (seq, group),
            other @ (Next::Pending | Next::Lagged(_)) => panic!("{other:?}"),
        }
    });
    let of = |groups: &[u64]| {
        let streams = Rc::new(Streams::default());
        let lanes = all.iter().filter(|(_, group)| groups.contains(group));
        let lanes: Vec<_> = lanes
            .map(|(seq, group)| streams.add(*seq, *group, Position::default()))
            .collect();
        (streams, lanes)
    };
    let (streams, lanes) = of(&[1, 2, 3, 4]);
    let (one, _) = of(&[1, 3, 4]);
    let (other, of_other) = of(&[2, 3, 4]);
    of_other[2].reset.set(Some(ResetCode::DeliveryTimeout));
    streams.give_way(&[one, other]);
    let reset: Vec<_> = lanes.iter().map(|lane| lane.reset.get()).collect();
    assert_eq!(reset, [None, None, Some(ResetCode::Cancelled), None]);
    assert!(!streams.has_all());
}
