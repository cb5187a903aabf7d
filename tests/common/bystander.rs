//! Whoever has nothing to do with what a test does to a relay of a mesh, and must not notice.

use super::mesh::Member;
use super::reading::{name, object, wants};
use super::{publisher, subscriber};
use bytes::Bytes;
use laps::relay::{Relay, Settings};
use laps_actors::client::{Flow, Publisher, Subscriber, TrackWriter};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;

/// A publisher at another relay, and a subscriber at the one that is tried.
pub struct Bystander {
    _relay: Relay,
    _publisher: Publisher,
    writer: TrackWriter,
    subscriber: Subscriber,
    next: u64,
}

impl Bystander {
    /// Starts the relay that is tried, `1:1` with these settings, and another one, `1:2`, that dials it.
    pub async fn beside(ca: &PeerCa, change: impl FnOnce(&mut Settings) + 'static) -> (Relay, Self) {
        let tried = Member::edge(ca, 1, &[]).but(change).start().await;
        let relay = Member::edge(ca, 2, &[&tried]).start().await;
        let mut publisher = publisher(&relay).await;
        let track = name(&["bystander"], "t");
        let mut writer = publisher.publish(track.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = subscriber(&tried).await;
        wants(&mut subscriber, &track).await;
        writer.wanted().await.unwrap();
        let bystander = Self {
            _relay: relay,
            _publisher: publisher,
            writer,
            subscriber,
            next: 0,
        };
        (tried, bystander)
    }

    /// The next object arrives, once.
    pub async fn goes_on(&mut self) {
        let group = self.next;
        self.next += 1;
        let payload = Bytes::from(group.to_string());
        self.writer
            .object(Location::new(group, 0), vec![payload.clone()])
            .await
            .unwrap();
        assert_eq!(object(&mut self.subscriber).await, (group, 0, payload.to_vec()));
    }
}
