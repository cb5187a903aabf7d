//! MOQT-14 §10.4.2 [D14-LIM-8]: an object that declares 2^62-1 bytes is streamed through or refused, never allocated.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::stream::header_bytes;
use crate::common::wire::hex;
use crate::common::within;

/// Delta 0, payload length 2^62-1.
const DECLARED: &str = "00 ffffffffffffffff";
/// How much of it is sent.
const OFFERED: usize = 96 << 20;
/// What the relay may grow by: windows of two connections and what its log keeps of one track, with room to spare.
const BOUND: u64 = 64 << 20;
const PIECE: usize = 64 << 10;

async fn pair(relay: &Relay, track: &str) -> (RawPeer, RawPeer) {
    let mut subscriber = RawPeer::connect(relay.address).await;
    let id = subscriber.send_subscribe("hostile/endless", track).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_until_wanted("hostile/endless", track, 2).await;
    subscriber.expect_subscribe_ok(id).await;
    (publisher, subscriber)
}

/// The declaration alone: nothing may grow, and the bytes that did come arrive at once or the stream is refused.
/// D14-DATA-22 D14-LIM-8
#[tokio::test]
async fn a_declaration_allocates_nothing() {
    let mut relay = Options::default().patient().alone().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let (publisher, subscriber) = pair(&relay, "declared").await;
    let before = relay.resident_bytes();
    let mut bytes = header_bytes(2, 0, 0);
    bytes.extend(hex(DECLARED));
    bytes.extend_from_slice(&[0x61; 1000]);
    let stream = publisher.open(&bytes).await;
    // Cut-through [D14-DATA-22]: object header (9 bytes) and what there is of the payload.
    let through = async {
        let mut incoming = subscriber.incoming().await;
        incoming
            .unparsed(9 + 1000)
            .await
            .map(|got| assert_eq!(got[..9], hex(DECLARED)))
    };
    let refused = async { within("STOP_SENDING or the payload", stream.stopped()).await };
    bystander
        .during(async {
            tokio::select! {
                _ = through => {}
                _ = refused => {}
            }
        })
        .await;
    let grown = relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND / 4, "grew by {grown} bytes for a declaration");
    relay.assert_running();
}

/// A good part of it really sent, through to a subscriber that reads: memory stays what it is, and breaking off upstream is a
/// reset downstream ([D14-CLOSE-1]).
/// D14-LIM-8
#[tokio::test]
async fn sending_it_keeps_memory_bounded() {
    let mut relay = Options::default().patient().alone().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let (publisher, subscriber) = pair(&relay, "sent").await;
    let before = relay.resident_bytes();
    let mut bytes = header_bytes(2, 0, 0);
    bytes.extend(hex(DECLARED));
    let mut stream = publisher.open(&bytes).await;
    let send = async {
        let piece = vec![0x61; PIECE];
        for _ in 0..OFFERED / PIECE {
            // Stopped or closed: refused, which is an answer too.
            if within("room, or a refusal", stream.write_all(&piece))
                .await
                .is_err()
            {
                return;
            }
        }
        drop(stream.reset(1_u32.into()));
    };
    let receive = async {
        let stream = tokio::select! {
            stream = subscriber.connection.accept_uni() => stream,
            _ = publisher.connection.closed() => return None,
        };
        let mut stream = stream.expect("an open session");
        loop {
            match within("the rest of an endless object", stream.read_chunk(PIECE, true)).await {
                Ok(Some(_)) => {}
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
        }
    };
    let ((), end) = bystander.during(async { tokio::join!(send, receive) }).await;
    assert!(!matches!(end, Some(Ok(()))), "the broken object ended with FIN");
    let grown = relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "grew by {grown} bytes for one object");
    bystander.exchange().await;
    relay.assert_running();
}
