//! MOQT-14 §3.3 [D14-SETUP-7]: draft-14 has one bidirectional stream; a second one closes its session.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::wire::code::PROTOCOL_VIOLATION;
use crate::common::wire::hex;
use crate::common::within;

/// D14-SETUP-7
#[tokio::test]
async fn second_bidirectional_stream() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let peer = RawPeer::connect(relay.address).await;
        let (mut send, _recv) = within("credit", peer.connection.open_bi())
            .await
            .expect("credit for a second stream");
        // What it carries does not matter: a whole CLIENT_SETUP, V14-C1. The relay may have closed already.
        let written = send.write_all(&hex(crate::common::wire::CLIENT_SETUP)).await;
        drop(written);
        peer.expect_closed("a second bidirectional stream", &[PROTOCOL_VIOLATION])
            .await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}
