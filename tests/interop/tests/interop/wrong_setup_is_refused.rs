//! MOQT-14 §3.3, §9.3 [D14-SETUP-6, D14-SETUP-10, D14-SETUP-15, D14-SETUP-22]: what may come first, and what that says.

use crate::common::bystander::Bystander;
use crate::common::quic::Ended;
use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::wire::code::{
    CONTROL_MESSAGE_TIMEOUT, MALFORMED_PATH, PROTOCOL_VIOLATION, VERSION_NEGOTIATION_FAILED,
};
use crate::common::wire::{hex, kind};
use crate::common::within;

const CASES: &[(&str, &str, &[u64])] = &[
    (
        "V14-C2 offers only draft-13",
        "20001401c0000000ff00000d0101087465737470617468",
        &[VERSION_NEGOTIATION_FAILED],
    ),
    (
        "SUBSCRIBE first (V14-C11)",
        "0300170002046c6976650463616d3105766964656f8000010200",
        &[PROTOCOL_VIOLATION],
    ),
    (
        "SERVER_SETUP from a client (V14-C4)",
        "21000cc0000000ff00000e010243e8",
        &[PROTOCOL_VIOLATION],
    ),
    (
        "draft-10's CLIENT_SETUP type 0x40",
        "4040000d01c0000000ff00000e01024064",
        &[PROTOCOL_VIOLATION],
    ),
    (
        "SETUP with a byte too many",
        "20000e01c0000000ff00000e0102406400",
        &[PROTOCOL_VIOLATION],
    ),
    // Type 0x745 and a length that never comes: refused for its type, or when SETUP is overdue.
    (
        "an HTTP/1 request",
        "474554202f20485454502f312e310d0a0d0a",
        &[PROTOCOL_VIOLATION, CONTROL_MESSAGE_TIMEOUT],
    ),
];

/// D14-SETUP-6 D14-SETUP-9 D14-SETUP-10
#[tokio::test]
async fn each_case() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    for (name, bytes, codes) in CASES {
        let attack = async {
            let mut peer = RawPeer::before_setup(relay.address).await;
            peer.control.send(&hex(bytes)).await;
            peer.expect_closed(name, codes).await;
        };
        bystander.during(attack).await;
    }
    relay.assert_running();
}

/// [D14-SETUP-11, D14-SETUP-12]: versions and parameters we do not know are stepped over; 14 is chosen.
#[tokio::test]
async fn unknown_versions_and_parameters_are_ignored() {
    let relay = Relay::start().await;
    let mut peer = RawPeer::before_setup(relay.address).await;
    // Versions 0x0a0a0a0a and draft-14; MAX_REQUEST_ID 100, parameter 0x3a = 1 twice, parameter 0x3b of two bytes.
    peer.control
        .send(&hex(
            "20 0019 02 8a0a0a0a c0000000ff00000e 04 024064 3a01 3a01 3b02abcd",
        ))
        .await;
    let setup = peer.control.expect(kind::SERVER_SETUP).await;
    assert_eq!(setup.fields().varint(), Some(0xff00_000e), "{setup:x?}");
    peer.publish_namespace("alive").await;
}

/// [D14-SETUP-18]: the credit is always granted, and it is large.
#[tokio::test]
async fn server_setup_grants_requests() {
    let relay = Relay::start().await;
    let mut peer = RawPeer::before_setup(relay.address).await;
    peer.control.send(&hex(crate::common::wire::CLIENT_SETUP)).await;
    let setup = peer.control.expect(kind::SERVER_SETUP).await;
    let mut fields = setup.fields();
    fields.varint().expect("Selected Version");
    let mut credit = None;
    for _ in 0..fields.varint().expect("a count of parameters") {
        let parameter = fields.varint().expect("a parameter type");
        if parameter % 2 == 1 {
            fields.prefixed().expect("a parameter value");
        } else {
            let value = fields.varint().expect("a parameter value");
            if parameter == 2 {
                credit = Some(value);
            }
        }
    }
    assert!(
        credit.is_some_and(|credit| credit >= 10_000),
        "MAX_REQUEST_ID {credit:?} in {setup:x?}"
    );
}

/// V14-N25 [D14-SETUP-15]: an empty PATH may be taken for "/" or refused as malformed; nothing else.
#[tokio::test]
async fn an_empty_path_is_taken_or_refused_as_malformed() {
    let relay = Relay::start().await;
    let mut peer = RawPeer::before_setup(relay.address).await;
    peer.control.send(&hex("20000c01c0000000ff00000e010100")).await;
    let answer = tokio::select! {
        ended = peer.connection.closed() => Err(Ended::from(ended)),
        frame = peer.control.frame_or_end() => Ok(frame),
    };
    match answer {
        Ok(Some(frame)) => assert_eq!(frame.kind, kind::SERVER_SETUP),
        Ok(None) => peer.expect_closed("V14-N25", &[MALFORMED_PATH]).await,
        Err(Ended::Session { code, .. }) => assert_eq!(code, MALFORMED_PATH),
        Err(other @ (Ended::Transport { .. } | Ended::Silent(_))) => panic!("V14-N25 ended with {other:?}"),
    }
}

/// [D14-SETUP-22]: data that overtakes SETUP is kept or refused, but the session comes about.
#[tokio::test]
async fn data_before_setup_is_survived() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::before_setup(relay.address).await;
        // V14-D1 whole, V14-S1 left open, V14-G1.
        peer.open(&hex("1402000000000461626364000465666768"))
            .await
            .finish()
            .expect("an open stream");
        let _open = peer.open(&hex("1002410080")).await;
        peer.datagram(&hex("000c0a44d27f7061796c6f6164"));
        peer.control.send(&hex(crate::common::wire::CLIENT_SETUP)).await;
        peer.control.expect(kind::SERVER_SETUP).await;
        peer.publish_namespace("after/all").await;
    };
    within("the early data to be dealt with", bystander.during(attack)).await;
    relay.assert_running();
}
