//! MOQT-14 §10 [D14-VAL-13, D14-DATA-7, D14-DATA-13, D14-DATA-18]: bad data closes its publisher's session. The subscriber
//! who waited for that data keeps its session ([D14-MAL-4]), and everybody else notices nothing.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::wire::code::PROTOCOL_VIOLATION;
use crate::common::wire::hex;

#[derive(Clone, Copy)]
enum Via {
    /// The stream stays open.
    OpenStream,
    WholeStream,
    Datagram,
}

/// Name, alias inside the bytes, how it is sent, bytes.
const CASES: &[(&str, u64, Via, &str)] = &[
    ("V14-N15 stream type 0x16", 2, Via::OpenStream, "1602050080"),
    ("V14-N16 stream type 0x1e", 2, Via::OpenStream, "1e02050080"),
    ("V14-N17 stream type 0x30", 2, Via::OpenStream, "300205"),
    ("V14-N18 datagram type 0x08", 12, Via::Datagram, "080c0a05aa"),
    ("V14-N19 datagram type 0x22", 12, Via::Datagram, "220c0a057f03"),
    (
        "V14-N20 datagram with empty extensions",
        12,
        Via::Datagram,
        "010c0a057f00aa",
    ),
    ("V14-N22 object status 2", 2, Via::WholeStream, "10020080000002"),
    (
        "V14-N23 absent object with extensions",
        2,
        Via::WholeStream,
        "11020080040202050001",
    ),
    (
        "V14-N24 FIN inside a payload",
        2,
        Via::WholeStream,
        "100200800005aabb",
    ),
    ("FIN inside a header", 2, Via::WholeStream, "1402"),
    (
        "a datagram that ends inside its header",
        12,
        Via::Datagram,
        "000c",
    ),
];

/// A publisher whose track somebody wants, so that nothing is thrown away unread.
async fn wanted(relay: &Relay, name: &str, alias: u64) -> (RawPeer, RawPeer) {
    let mut subscriber = RawPeer::connect(relay.address).await;
    let id = subscriber.send_subscribe("hostile/data", name).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_until_wanted("hostile/data", name, alias).await;
    subscriber.expect_subscribe_ok(id).await;
    (publisher, subscriber)
}

/// D14-VAL-13 D14-DATA-1 D14-DATA-7 D14-DATA-8 D14-DATA-12 D14-DATA-13 D14-DATA-18 D14-MAL-4
#[tokio::test]
async fn each_case() {
    let mut relay = Options::default().patient().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    for (name, alias, via, bytes) in CASES {
        let attack = async {
            let (publisher, mut subscriber) = wanted(&relay, name, *alias).await;
            let _open = match via {
                Via::OpenStream => Some(publisher.open(&hex(bytes)).await),
                Via::WholeStream => {
                    publisher
                        .open(&hex(bytes))
                        .await
                        .finish()
                        .expect("an open stream");
                    None
                }
                Via::Datagram => {
                    publisher.datagram(&hex(bytes));
                    None
                }
            };
            publisher.expect_closed(name, &[PROTOCOL_VIOLATION]).await;
            // PUBLISH_DONE may come first; an answer shows that the session lives.
            subscriber
                .assert_served(&format!("after {}", name.replace('/', "-")))
                .await;
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}

/// V14-N21, the control case: an object that does not exist is a fact like any other.
/// D14-DATA-7
#[tokio::test]
async fn an_absent_object_is_no_violation() {
    let relay = Options::default().patient().start().await;
    let (mut publisher, subscriber) = wanted(&relay, "absent", 2).await;
    publisher
        .open(&hex("10020080000001"))
        .await
        .finish()
        .expect("an open stream");
    let got = subscriber.incoming().await.subgroup().await.expect("no reset");
    assert_eq!(
        (got.objects.len(), got.objects[0].id, got.objects[0].status),
        (1, 0, 1)
    );
    publisher.assert_served("absent/alive").await;
}
