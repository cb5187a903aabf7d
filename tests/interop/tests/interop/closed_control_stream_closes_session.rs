//! MOQT-14 §3.3 [D14-SETUP-8]: the control stream lives as long as its session; ending it is a violation.

use crate::common::bystander::Bystander;
use crate::common::raw::{CloseControl, RawPeer};
use crate::common::relay::Relay;
use crate::common::wire::code::PROTOCOL_VIOLATION;
use crate::common::wire::hex;

/// D14-SETUP-8
#[tokio::test]
async fn after_setup() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    for how in [CloseControl::Fin, CloseControl::Reset] {
        let attack = async {
            let mut peer = RawPeer::connect(relay.address).await;
            peer.control.close(how);
            peer.expect_closed(&format!("control stream ended by {how:?}"), &[PROTOCOL_VIOLATION])
                .await;
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}

/// D14-SETUP-8
#[tokio::test]
async fn inside_a_message() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::connect(relay.address).await;
        // The first half of V14-C11.
        peer.control.send(&hex("0300170002046c69")).await;
        peer.control.close(CloseControl::Fin);
        peer.expect_closed("control stream ended inside a message", &[PROTOCOL_VIOLATION])
            .await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}

/// D14-SETUP-8
#[tokio::test]
async fn inside_setup() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::before_setup(relay.address).await;
        peer.control.send(&hex("20000d01")).await;
        peer.control.close(CloseControl::Fin);
        peer.expect_closed("control stream ended inside SETUP", &[PROTOCOL_VIOLATION])
            .await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}
