//! A publisher and a subscriber of another track, who must not notice what a hostile client does.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use super::raw::RawPeer;
use super::stream::{Datagram, header_bytes, object_bytes};
use super::{payload, small_payload, within};

/// Publishes here, asserts there: every object, in order, unchanged.
pub(crate) struct Bystander {
    publisher: RawPeer,
    subscriber: RawPeer,
    /// Alias under which the subscriber gets the track.
    alias: u64,
    group: u64,
}

/// The publisher's alias of the stream track.
const ALIAS: u64 = 7;
const NAMESPACE: &str = "bystander";
const TRACK: &str = "frames";
const OBJECTS_PER_GROUP: u64 = 5;
/// The pace of the publisher while something else goes on: as a source with a frame rate, so that a waiting test does not
/// burn the machine.
const FRAME: Duration = Duration::from_millis(20);

impl Bystander {
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let mut publisher = RawPeer::connect(address).await;
        publisher.publish_namespace(NAMESPACE).await;
        let mut subscriber = RawPeer::connect(address).await;
        let id = subscriber.send_subscribe(NAMESPACE, TRACK).await;
        publisher.accept_subscribe(NAMESPACE, TRACK, ALIAS).await;
        let alias = subscriber.expect_subscribe_ok(id).await;
        let mut this = Self {
            publisher,
            subscriber,
            alias,
            group: 0,
        };
        this.exchange().await;
        this
    }

    /// One group, object by object: the next leaves when the last has arrived.
    pub(crate) async fn exchange(&mut self) {
        let group = self.group;
        self.group += 1;
        let mut stream = self.publisher.open(&header_bytes(ALIAS, group, 0)).await;
        let mut incoming = None;
        for object in 0..OBJECTS_PER_GROUP {
            let sent = payload(group, object);
            let bytes = object_bytes(sent.as_bytes());
            within("room on the bystander's stream", stream.write_all(&bytes))
                .await
                .expect("a stream that takes bytes");
            if incoming.is_none() {
                let mut opened = self.subscriber.incoming().await;
                let header = opened
                    .header()
                    .await
                    .expect("the bystander's stream is not reset");
                assert_eq!(
                    (header.alias, header.group),
                    (self.alias, group),
                    "the bystander's next group"
                );
                incoming = Some(opened);
            }
            if let Some(opened) = &mut incoming {
                let got = opened
                    .object()
                    .await
                    .expect("the bystander's stream is not reset")
                    .expect("an object");
                assert_eq!(
                    (got.id, String::from_utf8_lossy(&got.payload).as_ref()),
                    (object, sent.as_str())
                );
            }
        }
        stream.finish().expect("an open stream");
        if let Some(mut opened) = incoming {
            assert_eq!(opened.object().await, Ok(None), "the group ends with FIN");
        }
    }

    /// Runs `event` while groups go on; at least one whole group follows it.
    pub(crate) async fn during<T>(&mut self, event: impl Future<Output = T>) -> T {
        let over = Cell::new(false);
        let event = async {
            let value = event.await;
            over.set(true);
            value
        };
        let witness = async {
            let mut pace = tokio::time::interval(FRAME);
            while !over.get() {
                pace.tick().await;
                self.exchange().await;
            }
            self.exchange().await;
        };
        let (value, ()) = tokio::join!(event, witness);
        value
    }
}

/// Sends one datagram object on an alias of ours; used where a test wants a datagram that is well formed.
pub(crate) fn well_formed_datagram(alias: u64) -> Vec<u8> {
    Datagram::bytes(alias, 0, 0, small_payload(0, 0).as_bytes())
}
