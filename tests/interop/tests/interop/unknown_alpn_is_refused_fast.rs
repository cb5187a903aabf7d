//! RFC 7301 §3.2, MOQT-14 §3.1.2 [D14-SETUP-3]: a client that offers nothing we speak hears so at once, instead of waiting
//! for its own handshake timeout.

use std::time::{Duration, Instant};

use crate::common::bystander::Bystander;
use crate::common::quic::{Ended, dial};
use crate::common::relay::Relay;
use crate::common::within;

/// TLS alert 120, no_application_protocol, as a QUIC error code (RFC 9001 §4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
/// A refusal is one round trip; this is far below the 30 s after which quinn gives up by itself.
const FAST: Duration = Duration::from_secs(5);

/// D14-SETUP-3
#[tokio::test]
async fn garbage_and_future_tokens() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    for alpn in [b"garbage".as_slice(), b"moqt-99", b"\xff\x00\xfe"] {
        let attack = async {
            let started = Instant::now();
            let refused = within("a refusal", dial(relay.address, alpn)).await;
            let ended = Ended::from(refused.expect_err("a refusal"));
            assert!(
                matches!(
                    ended,
                    Ended::Transport {
                        code: NO_APPLICATION_PROTOCOL,
                        ..
                    }
                ),
                "{alpn:?}: {ended:?}"
            );
            assert!(
                started.elapsed() < FAST,
                "{alpn:?} was refused after {:?}",
                started.elapsed()
            );
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}
