//! MOQT-14 §9: a control message that breaks a rule closes the session it came on with the code the rule names, and no
//! other.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::wire::code::{
    INVALID_REQUEST_ID, KEY_VALUE_FORMATTING, PROTOCOL_VIOLATION, TOO_MANY_REQUESTS,
};
use crate::common::wire::hex;

const VIOLATION: &[u64] = &[PROTOCOL_VIOLATION];

/// Name, bytes before the filler, how many 0x61 of filler, bytes after it, accepted close codes.
type Case = (&'static str, &'static str, usize, &'static str, &'static [u64]);

const CASES: &[Case] = &[
    ("V14-N1 unknown type 0x3f", "3f000100", 0, "", VIOLATION),
    // [D14-MSG-31]
    ("reserved type 0x01", "01000100", 0, "", VIOLATION),
    ("reserved type 0x40", "4040000100", 0, "", VIOLATION),
    (
        "V14-N2 SUBSCRIBE order 3",
        "0300170002046c6976650463616d3105766964656f8003010200",
        0,
        "",
        VIOLATION,
    ),
    (
        "V14-N3 SUBSCRIBE forward 2",
        "0300170002046c6976650463616d3105766964656f8000020200",
        0,
        "",
        VIOLATION,
    ),
    (
        "V14-N4 SUBSCRIBE filter 5",
        "0300170002046c6976650463616d3105766964656f8000010500",
        0,
        "",
        VIOLATION,
    ),
    // [D14-ENC-7]
    (
        "V14-N5 namespace of 0 fields",
        "03000d000005766964656f8000010200",
        0,
        "",
        VIOLATION,
    ),
    (
        "V14-N6 namespace of 33 fields",
        "06 0045 00 21
         0161016101610161016101610161016101610161016101610161016101610161
         0161016101610161016101610161016101610161016101610161016101610161 0161 00",
        0,
        "",
        VIOLATION,
    ),
    // [D14-VAL-2, D14-VAL-4]
    (
        "V14-N7 SUBSCRIBE_OK order 0",
        "040006000100000000",
        0,
        "",
        VIOLATION,
    ),
    (
        "V14-N8 SUBSCRIBE_OK content 2",
        "040006000100010200",
        0,
        "",
        VIOLATION,
    ),
    ("V14-N9 length too long", "0a00020600", 0, "", VIOLATION),
    ("V14-N10 length too short", "0a000006", 0, "", VIOLATION),
    ("V14-N11 FETCH type 0", "1600050080010000", 0, "", VIOLATION),
    // Relative joining with its type changed, and V14-C28 with order 3.
    ("FETCH type 4", "160007 00 80 00 04 00 02 00", 0, "", VIOLATION),
    (
        "FETCH type 2^62-1",
        "16000e 00 80 00 ffffffffffffffff 00 02 00",
        0,
        "",
        VIOLATION,
    ),
    (
        "FETCH order 3",
        "16001a 00 80 03 01 02046c6976650463616d31 05766964656f 0000 0500 00",
        0,
        "",
        VIOLATION,
    ),
    // [D14-VAL-2, D14-VAL-9]: answers to a FETCH that was never made.
    (
        "FETCH_OK of nothing (V14-C31)",
        "1800060e01000a0400",
        0,
        "",
        &[PROTOCOL_VIOLATION, INVALID_REQUEST_ID],
    ),
    ("FETCH_OK order 0", "180006 01 00 00 0a04 00", 0, "", VIOLATION),
    (
        "FETCH_OK end of track 2",
        "180006 01 01 02 0a04 00",
        0,
        "",
        VIOLATION,
    ),
    // A relay may take order 0 here for old peers; the answer to a request it never made is wrong all the same.
    (
        "V14-N12 PUBLISH_OK order 0",
        "1e0006010180000200",
        0,
        "",
        &[PROTOCOL_VIOLATION, INVALID_REQUEST_ID],
    ),
    // [D14-ENC-6]
    (
        "V14-N13 reason of 1025 bytes",
        "05 0405 00 00 4401",
        1025,
        "",
        VIOLATION,
    ),
    // [D14-VAL-11]
    (
        "V14-N14 GOAWAY URI of 8193 bytes",
        "10 2003 6001",
        8193,
        "",
        VIOLATION,
    ),
    (
        "GOAWAY with a URI to a server (V14-C8)",
        "100016156d6f71743a2f2f72656c6179322e6578616d706c65",
        0,
        "",
        VIOLATION,
    ),
    // [D14-SETUP-9]: SETUP is the first message and only that.
    (
        "a second CLIENT_SETUP (V14-C1)",
        "20000d01c0000000ff00000e01024064",
        0,
        "",
        VIOLATION,
    ),
    // [D14-REQ-2]: PUBLISH_NAMESPACE ("a") with an odd id from a client, then with one that skips ahead.
    (
        "request id of the wrong parity",
        "060005 01 01 0161 00",
        0,
        "",
        &[INVALID_REQUEST_ID],
    ),
    (
        "request id that skips",
        "060005 08 01 0161 00",
        0,
        "",
        &[INVALID_REQUEST_ID],
    ),
    // [D14-REQ-3]: 2^30, far beyond any credit; strict order catches it first.
    (
        "request id beyond the credit",
        "06000c c000000040000000 01 0161 00",
        0,
        "",
        &[TOO_MANY_REQUESTS, INVALID_REQUEST_ID],
    ),
    // [D14-AUTH-1]: AUTHORIZATION_TOKEN of alias type 9 in PUBLISH_NAMESPACE ("a").
    (
        "token of unknown alias type",
        "060008 00 01 0161 01 030109",
        0,
        "",
        &[KEY_VALUE_FORMATTING],
    ),
    // [D14-ENC-4]: a parameter of 65536 bytes cannot fit a message; its length alone is wrong.
    (
        "parameter longer than 65535",
        "06000a 00 01 0161 01 0f 80010000",
        0,
        "",
        VIOLATION,
    ),
    // [D14-VAL-9]: SUBSCRIBE_UPDATE (V14-C18's fields) for a subscription that does not exist.
    (
        "SUBSCRIBE_UPDATE of nothing",
        "020008 00 06 0600 00 10 01 00",
        0,
        "",
        &[PROTOCOL_VIOLATION, INVALID_REQUEST_ID],
    ),
];

/// D14-ENC-4 D14-ENC-6 D14-ENC-7 D14-ENC-11 D14-ENC-12 D14-VAL-1 D14-VAL-2 D14-VAL-3 D14-VAL-4 D14-VAL-5 D14-VAL-7
/// D14-VAL-9 D14-VAL-11 D14-MSG-31 D14-SETUP-9 D14-REQ-2 D14-REQ-3 D14-AUTH-1
#[tokio::test]
async fn each_case() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    for (name, head, filler, tail, codes) in CASES {
        let mut bytes = hex(head);
        bytes.extend(std::iter::repeat_n(0x61, *filler));
        bytes.extend(hex(tail));
        bystander
            .during(async {
                let mut peer = RawPeer::connect(relay.address).await;
                peer.control.send(&bytes).await;
                peer.expect_closed(name, codes).await;
            })
            .await;
    }
    relay.assert_running();
}

/// MOQT-14 §9: a message cut into single bytes is the same message, good or bad.
/// D14-ENC-11
#[tokio::test]
async fn byte_by_byte_is_judged_alike() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::connect(relay.address).await;
        peer.publish_namespace("still/fine").await;
        for byte in hex("0a00020600") {
            peer.control.send(&[byte]).await;
        }
        peer.expect_closed("V14-N9 byte by byte", VIOLATION).await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}

/// MOQT-14 §9: a message that declares more than it brings is waited for, as it may still come; it harms nobody.
#[tokio::test]
async fn an_unfinished_message_is_only_waited_for() {
    let mut relay = Relay::start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let attack = async {
        let mut peer = RawPeer::connect(relay.address).await;
        // SUBSCRIBE that declares 65535 bytes, then three of them.
        peer.control.send(&hex("03ffff 000102")).await;
        let mut honest = RawPeer::connect(relay.address).await;
        honest.publish_namespace("served/meanwhile").await;
    };
    bystander.during(attack).await;
    relay.assert_running();
}
