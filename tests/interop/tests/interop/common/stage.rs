//! A track with a past: a raw publisher, a watcher that has received all of it, and the relay between them.

use super::raw::RawPeer;
use super::relay::{Options, Relay};
use super::stream::{Incoming, header_bytes, object_bytes};
use super::wire::{Message, hex, kind};

/// The publisher's alias of the track.
pub(crate) const ALIAS: u64 = 7;

pub(crate) struct Stage {
    pub(crate) relay: Relay,
    pub(crate) publisher: RawPeer,
    pub(crate) watcher: RawPeer,
}

impl Stage {
    /// A publisher that sends PUBLISH, to a relay as most tests want it.
    pub(crate) async fn start(track: (&str, &str)) -> Self {
        Self::publish(Options::default().patient(), track).await
    }

    pub(crate) async fn publish(options: Options, track: (&str, &str)) -> Self {
        let relay = options.start().await;
        let mut watcher = RawPeer::connect(relay.address).await;
        let id = watcher.send_subscribe(track.0, track.1).await;
        let mut publisher = RawPeer::connect(relay.address).await;
        let upstream = publisher.send_publish(track.0, track.1, ALIAS).await;
        assert_eq!(
            publisher.expect_publish_ok(upstream).await,
            1,
            "the watcher is there"
        );
        watcher.expect_subscribe_ok(id).await;
        Self {
            relay,
            publisher,
            watcher,
        }
    }

    /// A publisher that announces, and has objects up to `largest` when the relay subscribes.
    pub(crate) async fn announce(track: (&str, &str), largest: (u64, u64)) -> Self {
        let relay = Options::default().patient().start().await;
        let mut publisher = RawPeer::connect(relay.address).await;
        publisher.publish_namespace(track.0).await;
        let mut watcher = RawPeer::connect(relay.address).await;
        let id = watcher.send_subscribe(track.0, track.1).await;
        let upstream = publisher.control.expect(kind::SUBSCRIBE).await.request_id();
        let ok = Message::new(kind::SUBSCRIBE_OK)
            .varint(upstream)
            .varint(ALIAS)
            .varint(0)
            .byte(1)
            .byte(1)
            .varint(largest.0)
            .varint(largest.1)
            .varint(0);
        publisher.control.send(&ok.bytes()).await;
        watcher.expect_subscribe_ok(id).await;
        Self {
            relay,
            publisher,
            watcher,
        }
    }

    /// Sends a whole subgroup stream, `rest` being what follows the alias, and waits until the watcher has all of it.
    pub(crate) async fn stream(&self, kind: &str, rest: &str) {
        let bytes = hex(&format!("{kind} 07 {rest}"));
        self.publisher
            .open(&bytes)
            .await
            .finish()
            .expect("an open stream");
        self.watcher.incoming().await.subgroup().await.expect("no reset");
    }

    /// A whole group of subgroup 0 whose end is not marked, as many publishers send it.
    pub(crate) async fn group(&self, group: u64, payloads: &[&[u8]]) {
        self.publisher.send_group(ALIAS, group, payloads).await;
        self.watcher.incoming().await.subgroup().await.expect("no reset");
    }

    /// A group of subgroup 0 that goes on: both ends of its stream, when the watcher has what was sent.
    pub(crate) async fn begin_group(&self, group: u64, payloads: &[&[u8]]) -> (quinn::SendStream, Incoming) {
        let mut bytes = header_bytes(ALIAS, group, 0);
        for payload in payloads {
            bytes.extend_from_slice(&object_bytes(payload));
        }
        let stream = self.publisher.open(&bytes).await;
        let mut incoming = self.watcher.incoming().await;
        for _ in payloads {
            incoming.object().await.expect("no reset").expect("an object");
        }
        (stream, incoming)
    }

    pub(crate) async fn client(&self) -> RawPeer {
        RawPeer::connect(self.relay.address).await
    }
}
