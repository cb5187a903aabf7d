//! A subscriber that is read object by object.

use bytes::Bytes;
use laps_actors::client::{Item, Subscriber, Wanted};
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

/// The track `name` in the namespace of these fields.
pub fn name(fields: &[&'static str], name: &'static str) -> FullTrackName {
    let fields = fields.iter().map(|field| Bytes::from_static(field.as_bytes()));
    let namespace = TrackNamespace::new(fields).unwrap();
    FullTrackName::new(namespace, Bytes::from_static(name.as_bytes())).unwrap()
}

/// Subscribes.
pub async fn wants(subscriber: &mut Subscriber, track: &FullTrackName) {
    let wanted = Wanted {
        track: track.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 3,
        new_group: false,
    };
    subscriber.subscribe(wanted).await.unwrap();
}

/// The next object: group, id, payload.
pub async fn object(subscriber: &mut Subscriber) -> (u64, u64, Vec<u8>) {
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let at = object.location;
                return (at.group, at.object, object.payload.concat());
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
            other @ (Item::Lost | Item::Done(_)) => panic!("{other:?}"),
        }
    }
}
