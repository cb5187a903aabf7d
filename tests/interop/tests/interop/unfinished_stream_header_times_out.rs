//! MOQT-14 §3.4, §10 [D14-DATA-23]: a data stream whose header never becomes complete is stopped, or its session closed with
//! DATA_STREAM_TIMEOUT. Other sessions go on.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::wire::code::DATA_STREAM_TIMEOUT;
use crate::common::wire::hex;
use crate::common::within;

/// A type alone, a type and half an alias, everything of V14-S5 but the priority.
const HEADERS: [&str; 3] = ["14", "1441", "1402410007"];

/// A publisher whose subscriber waits for a stream that never says what it is.
async fn attack(relay: &Relay, header: &str) {
    let mut subscriber = RawPeer::connect(relay.address).await;
    let id = subscriber.send_subscribe("hostile/headers", header).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_until_wanted("hostile/headers", header, 2).await;
    subscriber.expect_subscribe_ok(id).await;
    let stream = publisher.open(&hex(header)).await;
    match within("an end to an unfinished header", stream.stopped()).await {
        Ok(code) => assert!(code.is_some(), "{header}: the stream counts as delivered"),
        Err(_) => publisher.expect_closed(header, &[DATA_STREAM_TIMEOUT]).await,
    }
    subscriber.assert_served(&format!("alive/{header}")).await;
}

/// D14-DATA-23
#[tokio::test]
async fn headers_cut_at_each_field() {
    let mut relay = Options::default().patient().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let [first, second, third] = HEADERS;
    let together = async {
        tokio::join!(
            attack(&relay, first),
            attack(&relay, second),
            attack(&relay, third)
        )
    };
    bystander.during(together).await;
    relay.assert_running();
}
