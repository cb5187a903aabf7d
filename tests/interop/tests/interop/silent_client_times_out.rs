//! MOQT-14 §12.2 [D14-SETUP-23]: a connection without SETUP is closed with CONTROL_MESSAGE_TIMEOUT.

use std::time::{Duration, Instant};

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, SETUP_TIMEOUT_MS};
use crate::common::wire::code::CONTROL_MESSAGE_TIMEOUT;
use crate::common::wire::hex;

const TIMEOUT: Duration = Duration::from_millis(700);

/// D14-SETUP-23
#[tokio::test]
async fn nothing_or_half_a_setup() {
    let mut relay = Options::default()
        .env(SETUP_TIMEOUT_MS, TIMEOUT.as_millis())
        .start()
        .await;
    let mut bystander = Bystander::start(relay.address).await;
    // Nothing at all (the control stream is not even visible), one byte, all but the last byte of V14-C1.
    for bytes in ["", "20", "20000d01c0000000ff00000e010240"] {
        let attack = async {
            let mut peer = RawPeer::before_setup(relay.address).await;
            let started = Instant::now();
            peer.control.send(&hex(bytes)).await;
            peer.expect_closed(&format!("SETUP that says {bytes:?}"), &[CONTROL_MESSAGE_TIMEOUT])
                .await;
            let waited = started.elapsed();
            assert!(
                waited > TIMEOUT / 2,
                "closed after {waited:?}: a slow client has {TIMEOUT:?}"
            );
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}
