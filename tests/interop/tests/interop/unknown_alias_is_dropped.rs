//! MOQT-14 §10.3, §10.4.2 [D14-DATA-16, D14-DATA-20]: data of an alias that nobody ever names is kept a moment and dropped; the
//! session lives, and what it keeps is bounded ([D14-LIM-4]).

use tokio::task::JoinSet;

use crate::common::bystander::{Bystander, well_formed_datagram};
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::stream::{header_bytes, object_bytes};
use crate::common::within;

/// More than any buffer for such data should hold, of one session.
const OFFERED: usize = 48 << 20;
/// What the relay may grow by meanwhile: QUIC's receive windows for one connection plus the buffer, with room to spare.
const BOUND: u64 = 32 << 20;
const GROUPS_MEANWHILE: u32 = 300;

/// D14-DATA-16
#[tokio::test]
async fn session_lives() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::connect(relay.address).await;
        let mut bytes = header_bytes(99, 0, 0);
        bytes.extend_from_slice(&object_bytes(b"for nobody"));
        let open = peer.open(&bytes).await;
        peer.send_group(99, 1, &[b"for nobody", b"either"]).await;
        peer.datagram(&well_formed_datagram(99));
        peer.publish_namespace("alive/at/once").await;
        // The open stream is given up in the end: STOP_SENDING, whatever its code.
        let stopped = within("STOP_SENDING for a stream of an unknown alias", open.stopped()).await;
        assert!(matches!(stopped, Ok(Some(_))), "{stopped:?}");
        peer.publish_namespace("alive/afterwards").await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}

/// D14-DATA-16 D14-LIM-4
#[tokio::test]
async fn memory_is_bounded() {
    let mut relay = Options::default().alone().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let mut peer = RawPeer::connect(relay.address).await;
    let before = relay.resident_bytes();
    let object = object_bytes(&vec![0x61; 256 << 10]);
    let mut writers = JoinSet::new();
    for stream in 0..OFFERED / object.len() {
        let connection = peer.connection.clone();
        let mut bytes = header_bytes(1000 + stream as u64, 0, 0);
        bytes.extend_from_slice(&object);
        writers.spawn(async move {
            let mut stream = connection.open_uni().await?;
            // Flow control may hold it up for good, or STOP_SENDING end it; being buffered without bound is the fault.
            stream.write_all(&bytes).await?;
            Ok::<_, std::io::Error>(stream)
        });
    }
    // The bystander's groups are the clock: enough of them for all of it to travel over loopback.
    for _ in 0..GROUPS_MEANWHILE {
        bystander.exchange().await;
    }
    let grown = relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "grew by {grown} bytes for data of no track");
    peer.publish_namespace("alive/afterwards").await;
    relay.assert_running();
}
