//! The raw peer sends and reads vector bytes, and sees resets, FINs and close codes as they were sent.

use crate::common::quic::{ALPN, Ended, dial};
use crate::common::raw::{CloseControl, RawPeer};
use crate::common::scripted::Scripted;
use crate::common::stream::{Datagram, Object, Subgroup, header_bytes, object_bytes};
use crate::common::wire::{Cursor, hex, put_varint};
use crate::common::within;

/// V14-P1.
#[test]
fn varints() {
    let bytes = hex("257bbd9d7f3e7dc2197c5eff14e88c");
    let mut cursor = Cursor::new(&bytes);
    let mut again = Vec::new();
    for value in [37, 15_293, 494_878_333, 151_288_809_941_952_652] {
        assert_eq!(cursor.varint(), Some(value));
        put_varint(&mut again, value);
    }
    assert_eq!((again, cursor.varint()), (bytes.clone(), None));
}

/// V14-D2, V14-D3, V14-D5: extensions, first-object subgroup, statuses.
#[test]
fn subgroups() {
    let with_extensions = Subgroup::parse(&hex(
        "1502000000001a04c00000008257dcd3404d0e747261636549443a313233343536046162636400000465666768",
    ));
    let sizes: Vec<(u64, usize, &[u8])> = with_extensions
        .objects
        .iter()
        .map(|object| (object.id, object.extensions.len(), object.payload.as_slice()))
        .collect();
    assert_eq!(sizes, [(0, 26, b"abcd".as_slice()), (1, 0, b"efgh".as_slice())]);

    let first_object = Subgroup::parse(&hex("120203800501aa0301bb"));
    assert_eq!(
        (first_object.group, first_object.subgroup, first_object.priority),
        (3, 5, 128)
    );
    assert_eq!(
        first_object.objects[1],
        Object {
            id: 9,
            extensions: vec![],
            status: 0,
            payload: vec![0xbb]
        }
    );

    let statuses = Subgroup::parse(&hex("10020380040001000004"));
    let got: Vec<(u64, u64)> = statuses
        .objects
        .iter()
        .map(|object| (object.id, object.status))
        .collect();
    assert_eq!(got, [(4, 1), (5, 4)]);
}

/// V14-G4 and V14-G9.
#[test]
fn datagrams() {
    let got = Datagram::parse(&hex("030c0a44d27f07407b04000102037061796c6f6164"));
    assert_eq!(
        (got.alias, got.group, got.object, got.priority, got.ends_group),
        (12, 10, 1234, 127, true)
    );
    assert_eq!(
        (got.extensions.len(), got.payload.as_slice()),
        (7, b"payload".as_slice())
    );
    assert_eq!(Datagram::parse(&hex("200c0a44d27f04")).status, Some(4));
}

#[tokio::test]
async fn streams_end_as_they_were_ended() {
    let scripted = Scripted::bind();
    let (client, (server, _)) = tokio::join!(RawPeer::connect(scripted.address), scripted.session());
    // V14-D1, whole.
    server
        .open(&hex("1402000000000461626364000465666768"))
        .await
        .finish()
        .expect("an open stream");
    let got = client.incoming().await.subgroup().await.expect("no reset");
    assert_eq!(got, Subgroup::parse(&hex("1402000000000461626364000465666768")));

    // Reset after one object and a half: the object arrives, then the code.
    let mut bytes = header_bytes(2, 1, 0);
    bytes.extend_from_slice(&object_bytes(b"whole"));
    bytes.extend_from_slice(&hex("0009"));
    let mut stream = server.open(&bytes).await;
    let mut incoming = client.incoming().await;
    assert_eq!(
        incoming
            .object()
            .await
            .expect("no reset yet")
            .expect("an object")
            .payload,
        b"whole"
    );
    stream.reset(2_u32.into()).expect("an open stream");
    assert_eq!(incoming.object().await, Err(2));
}

#[tokio::test]
async fn close_codes_arrive() {
    let scripted = Scripted::bind();
    let (client, (server, _)) = tokio::join!(RawPeer::connect(scripted.address), scripted.session());
    server.connection.close(0x11_u32.into(), b"too slow");
    assert_eq!(
        client.ended().await,
        Ended::Session {
            code: 0x11,
            reason: "too slow".to_owned()
        }
    );
}

#[tokio::test]
async fn control_stream_can_be_ended_both_ways() {
    for how in [CloseControl::Fin, CloseControl::Reset] {
        let scripted = Scripted::bind();
        let (mut client, (mut server, _)) =
            tokio::join!(RawPeer::connect(scripted.address), scripted.session());
        client.control.close(how);
        assert!(server.control.at_end().await, "{how:?} was not seen");
    }
}

/// RFC 7301 §3.2: no_application_protocol is TLS alert 120, QUIC error 0x100 + 120.
#[tokio::test]
async fn a_refused_alpn_is_seen() {
    let scripted = Scripted::bind();
    let accept = async {
        let incoming = within("a client", scripted.accept_raw()).await;
        assert!(incoming.is_err(), "a handshake without common ALPN succeeded");
    };
    let (refused, ()) = tokio::join!(dial(scripted.address, b"garbage"), accept);
    let ended = Ended::from(refused.expect_err("a refusal"));
    assert!(matches!(ended, Ended::Transport { code: 0x178, .. }), "{ended:?}");
    let accepted = async {
        within("a client", scripted.accept_raw())
            .await
            .expect("a handshake")
    };
    let (served, _kept) = tokio::join!(dial(scripted.address, ALPN), accepted);
    served.expect("a handshake");
}
