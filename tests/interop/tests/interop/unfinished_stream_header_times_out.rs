//! MOQT-14 §3.4, §10 [D14-DATA-23]: a data stream whose header never becomes complete is stopped, or its session closed with
//! DATA_STREAM_TIMEOUT. Other sessions go on.

use crate::common::bystander::Bystander;
use crate::common::quic::Ended;
use crate::common::raw::RawPeer;
use crate::common::relay::{DATA_STREAM_TIMEOUT_MS, Options};
use crate::common::wire::code::DATA_STREAM_TIMEOUT;
use crate::common::wire::hex;
use crate::common::within;

#[tokio::test]
async fn headers_cut_at_each_field() {
    let mut relay = Options::default()
        .detached()
        .env(DATA_STREAM_TIMEOUT_MS, 700)
        .start()
        .await;
    let mut bystander = Bystander::start(relay.address).await;
    // A type alone, a type and half an alias, everything of V14-S5 but the priority.
    for bytes in ["14", "1441", "1402410007"] {
        let attack = async {
            let mut subscriber = RawPeer::connect(relay.address).await;
            let id = subscriber.send_subscribe("hostile/headers", bytes).await;
            let mut publisher = RawPeer::connect(relay.address).await;
            publisher.publish_until_wanted("hostile/headers", bytes, 2).await;
            subscriber.expect_subscribe_ok(id).await;
            let stream = publisher.open(&hex(bytes)).await;
            match within("an end to an unfinished header", stream.stopped()).await {
                Ok(code) => assert!(code.is_some(), "{bytes}: the stream counts as delivered"),
                Err(_) => match publisher.ended().await {
                    Ended::Session { code, reason } => {
                        assert_eq!(code, DATA_STREAM_TIMEOUT, "{bytes}: {reason}")
                    }
                    other @ (Ended::Transport { .. } | Ended::Silent(_)) => panic!("{bytes}: {other:?}"),
                },
            }
            subscriber.assert_served(&format!("alive/{bytes}")).await;
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}
