//! A track that is written from its begin to its end, and read so.

use bytes::Bytes;
use laps_actors::client::{Item, Subscriber, TrackWriter, Wanted};
use laps_actors::track::TrackGone;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::FullTrackName;

/// An object, as a test compares it.
pub type Object = (Location, Bytes);

/// So many groups of so many objects, each of 3000 bytes of its own.
pub fn objects(groups: u64, each: u64) -> Vec<Object> {
    let places = (0..groups).flat_map(|group| (0..each).map(move |object| Location::new(group, object)));
    let payload = |place: &Location| {
        let own = u8::try_from((place.group * each + place.object) % 251).unwrap();
        Bytes::from(vec![own; 3000])
    };
    places.map(|place| (place, payload(&place))).collect()
}

/// Writes them in order.
pub async fn write(writer: &mut TrackWriter, objects: &[Object]) {
    for (place, payload) in objects {
        writer.object(*place, vec![payload.clone()]).await.unwrap();
    }
}

/// The track, from its next object on.
pub fn wanted(name: &FullTrackName) -> Wanted {
    Wanted {
        track: name.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    }
}

/// Subscribes. A subscription waits for its publisher; news of one reach another relay in a moment.
pub async fn subscribe(subscriber: &mut Subscriber, name: &FullTrackName) {
    subscriber.subscribe(wanted(name)).await.unwrap();
}

/// All that comes, by place, and the end of it.
pub async fn read_to_the_end(subscriber: &mut Subscriber) -> (Vec<Object>, TrackGone) {
    let mut got = Vec::new();
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => got.push((object.location, Bytes::from(object.payload.concat()))),
            Item::Done(gone) => {
                got.sort_by_key(|(place, _)| *place);
                return (got, gone);
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Lost => panic!("objects were lost"),
        }
    }
}

/// The next object.
pub async fn next_object(subscriber: &mut Subscriber) -> Object {
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => return (object.location, Bytes::from(object.payload.concat())),
            Item::Opened { .. } | Item::Closed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
