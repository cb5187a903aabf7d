//! A track whose publisher goes at the pace of its subscriber, while a test has something happen to them: with fewer than
//! [`AHEAD`] objects on their way none is in the way of another, and each is to come once.

use super::PATIENCE;
use actix_rt::task::JoinHandle;
use bytes::Bytes;
use laps_actors::client::{Flow, Item, Options, Publisher, Subscriber, Target, TrackWriter, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::track_log::StreamEnd;
use tokio::sync::mpsc;

/// Objects a group.
const GOP: u64 = 10;
/// Objects that are on their way at most.
pub const AHEAD: usize = 15;

/// The publisher and the subscriber of the track.
pub struct Paced {
    pub publisher: Publisher,
    pub subscriber: Subscriber,
    /// None when no more objects are to be written.
    permit: Option<mpsc::UnboundedSender<()>>,
    written: JoinHandle<u64>,
    got: Vec<Location>,
    opened: Vec<u64>,
    closed: Vec<u64>,
}

const fn place(number: u64) -> Location {
    Location::new(number / GOP, number % GOP)
}

fn payload(number: u64) -> Vec<u8> {
    vec![u8::try_from(number % 256).unwrap(); 100]
}

/// Writes an object for each permit, and ends the track when there are no more.
async fn write(mut writer: TrackWriter, mut permits: mpsc::UnboundedReceiver<()>) -> u64 {
    writer.wanted().await.unwrap();
    let mut number = 0;
    while permits.recv().await.is_some() {
        let payload = vec![Bytes::from(payload(number))];
        writer.object(place(number), payload).await.unwrap();
        number += 1;
    }
    writer.finish().await.unwrap();
    number
}

impl Paced {
    /// Both connect, and the first objects are on their way.
    pub async fn begin(
        name: FullTrackName,
        (flow, filter): (Flow, SubscribeFilter),
        publisher: (&Target, Options),
        subscriber: (&Target, Options),
    ) -> Self {
        let mut publisher = Publisher::connect(publisher.0, publisher.1).await.unwrap();
        let writer = publisher.publish(name.clone(), flow).await.unwrap();
        let mut subscriber = Subscriber::connect(subscriber.0, subscriber.1).await.unwrap();
        let wanted = Wanted {
            track: name,
            filter,
            priority: 128,
            new_group: false,
        };
        subscriber.subscribe(wanted).await.unwrap();
        let (permit, permits) = mpsc::unbounded_channel();
        let written = actix_rt::spawn(write(writer, permits));
        for _ in 0..AHEAD {
            permit.send(()).unwrap();
        }
        Self {
            publisher,
            subscriber,
            permit: Some(permit),
            written,
            got: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// The next object comes; the value is how many have come by then, none when the track has ended. Follow with
    /// [`Self::goes_on`] or [`Self::ends`].
    pub async fn next(&mut self) -> Option<usize> {
        loop {
            match self.subscriber.next().await.unwrap() {
                Item::Object(object) => {
                    let number = object.location.group * GOP + object.location.object;
                    assert_eq!(object.payload.concat(), payload(number));
                    self.got.push(object.location);
                    return Some(self.got.len());
                }
                Item::Opened { group, .. } => self.opened.push(group),
                Item::Closed { group, end, .. } => {
                    assert_eq!(end, StreamEnd::Fin, "group {group}");
                    self.closed.push(group);
                }
                Item::Lost => panic!("objects were lost"),
                Item::Done(gone) => {
                    assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                    return None;
                }
            }
        }
    }

    /// Another object is written, unless the track is to end.
    pub fn goes_on(&self) {
        if let Some(permit) = &self.permit {
            permit.send(()).unwrap();
        }
    }

    /// What is on its way is the last.
    pub fn ends(&mut self) {
        self.permit = None;
    }

    /// Whether all objects, and all streams, have come, and each once; then both leave.
    pub async fn came_once(mut self) {
        let written = tokio::time::timeout(PATIENCE, self.written).await.unwrap();
        let expected: Vec<_> = (0..written.unwrap()).map(place).collect();
        self.got.sort();
        assert_eq!(self.got, expected, "each object once");
        let all: Vec<_> = (0..=expected.last().unwrap().group).collect();
        for mut groups in [self.opened, self.closed] {
            groups.sort_unstable();
            assert_eq!(groups, all, "each stream once");
        }
        self.subscriber.close().await;
        self.publisher.close().await;
    }
}
