//! Links between relays: who is let in, as whom, and what the other side is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use laps_protocol::peering::node::NodeId;

use super::super::testing::*;
use super::super::*;

const A: NodeId = NodeId(0x1_0000_0001);
const B: NodeId = NodeId(0x1_0002_0000_04d2);
const HOUR: Duration = Duration::from_hours(1);

fn text(pem: &str) -> Pem {
    Pem::Text(pem.to_owned())
}

fn mutual(trusted: &PeerCa, own: &NodeCert) -> PeerTls {
    let ca = text(trusted.cert_pem());
    PeerTls::mutual(&ca, &text(&own.cert_pem), &text(&own.key_pem), own.node).unwrap()
}

/// TLS of a relay that does not hold its own certificate against the authority first, as an attacker's would not.
fn unchecked(trusted: &PeerCa, own: &NodeCert) -> (ServerTls, ClientTls) {
    let (cert, key) = (text(&own.cert_pem), text(&own.key_pem));
    let members = || Arc::new(peer_tls::Members::of(&text(trusted.cert_pem())).unwrap());
    let alpn = [LINK_ALPN.to_vec()];
    (
        ServerTls::asking(&cert, &key, &alpn, Some(members())).unwrap(),
        ClientTls::showing(&cert, &key, &alpn, members()).unwrap(),
    )
}

fn listen(tls: &ServerTls) -> ServerEndpoint {
    let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
    ServerEndpoint::start(socket, tls, &link_config(), ResetKey::random()).unwrap()
}

fn dialler(tls: &ClientTls) -> ClientEndpoint {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    ClientEndpoint::bind(local, tls, &link_config()).unwrap()
}

fn link_config() -> TransportConfig {
    TransportConfig {
        recv_ring: 1 << 20,
        ..TransportConfig::for_links(LinkTimes::default())
    }
}

/// What becomes of a client that the server refuses: how the client's connection ends, and what the server tells.
async fn refused(server: &ServerTls, client: &ClientTls) -> (ConnError, Refusal) {
    let mut server = listen(server);
    let mut refusals = server.take_refusals().unwrap();
    let client = dialler(client);
    let to = server.local_addr();
    let dial = async {
        match client.connect(to, "localhost").await {
            // In TLS 1.3 the client is done before the server looks at its certificate.
            Ok(conn) => {
                let mut conn = conn.split();
                let end = conn.uni.accept().await.unwrap_err();
                let said = conn.handle.peer_close().unwrap();
                assert_eq!(Some(said.reason.as_str()), end.own_certificate_fault());
                end
            }
            Err(ConnectError::Closed { reason, .. }) => reason,
            Err(error) => panic!("{error}"),
        }
    };
    let both = async { futures::join!(dial, refusals.recv()) };
    tokio::select! {
        (end, refusal) = both => (end, refusal.unwrap()),
        _ = server.accept() => panic!("let in"),
    }
}

/// Each side knows which node the other is, whatever host name was dialled.
#[test]
fn members_of_a_mesh_know_each_other() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let (a, b) = (
            mutual(&ca, &ca.certify(A).unwrap()),
            mutual(&ca, &ca.certify(B).unwrap()),
        );
        let mut server = listen(a.server());
        let client = dialler(b.client());
        let to = server.local_addr();
        for name in ["localhost", "127.0.0.1", "anything.example"] {
            let (accepted, connected) = futures::join!(server.accept(), client.connect(to, name));
            let (mut accepted, mut connected) = (accepted.unwrap().split(), connected.unwrap().split());
            assert_eq!(accepted.handle.peer_node(), Some(B));
            assert_eq!(connected.handle.peer_node(), Some(A));
            assert_eq!(accepted.handle.alpn(), LINK_ALPN);
            let heard = accepted.handle.stats().heard();
            let (mut send, _) = connected.handle.open_bidi().await.unwrap();
            send.send(&mut [bytes::Bytes::from_static(b"CONNECT")])
                .await
                .unwrap();
            assert!(accepted.bidi.accept().await.unwrap().is_some());
            assert!(accepted.handle.stats().heard() > heard);
            assert!(connected.handle.max_datagram() > 0);
        }
        assert!(a.is_mutual());
    });
}

/// A node that holds a valid certificate is that node and no other: what it states in its CONNECT can be held against it.
#[test]
fn a_certificate_of_another_node_is_seen_as_that() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let (a, b) = (
            mutual(&ca, &ca.certify(A).unwrap()),
            mutual(&ca, &ca.certify(B).unwrap()),
        );
        let mut server = listen(a.server());
        let (mut many, stated) = (Vec::new(), A);
        // Several at once, from one socket: none takes another's name.
        for tls in [&b, &a, &b] {
            let client = dialler(tls.client());
            let to = server.local_addr();
            let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
            many.push((accepted.unwrap(), connected.unwrap(), client));
        }
        let named: Vec<_> = many.iter().map(|(conn, ..)| conn.handle().peer_node()).collect();
        assert_eq!(named, [Some(B), Some(A), Some(B)]);
        assert_ne!(named[0], Some(stated));
    });
}

#[test]
fn a_client_of_another_authority_is_refused_and_told_why() {
    run(async {
        let (ours, theirs) = (PeerCa::generate().unwrap(), PeerCa::generate().unwrap());
        let (server, _) = unchecked(&ours, &ours.certify(A).unwrap());
        // It trusts us, so that only its own certificate is at fault.
        let (_, client) = unchecked(&ours, &theirs.certify(B).unwrap());
        let (end, refusal) = refused(&server, &client).await;
        assert_eq!(end.own_certificate_fault(), Some(refusal.fault), "{end}");
        assert!(refusal.fault.contains("signed"), "{refusal:?}");
        assert!(refusal.from.ip().is_loopback());
    });
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let (server, _) = unchecked(&ca, &ca.certify(A).unwrap());
        let client = ClientTls::new(&Verify::Insecure, &[LINK_ALPN.to_vec()]).unwrap();
        let (end, refusal) = refused(&server, &client).await;
        assert_eq!(end.own_certificate_fault(), Some("there was none"), "{end}");
        assert_eq!(refusal.fault, "there was none");
    });
}

#[test]
fn a_client_whose_certificate_has_expired_is_refused() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let (server, _) = unchecked(&ca, &ca.certify(A).unwrap());
        let now = SystemTime::now();
        for (from, until) in [(now - 2 * HOUR, now - HOUR), (now + HOUR, now + 2 * HOUR)] {
            let (_, client) = unchecked(&ca, &ca.certify_for(B, from, until).unwrap());
            let (_, refusal) = refused(&server, &client).await;
            assert_eq!(refusal.fault, "it has expired or is not valid yet");
        }
    });
}

/// A certificate that the mesh's authority has signed for anything else than a node is none of a member.
#[test]
fn a_client_that_is_no_node_is_refused() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let (server, _) = unchecked(&ca, &ca.certify(A).unwrap());
        let nameless = ca.certify_nameless().unwrap();
        let (_, client) = unchecked(&ca, &nameless);
        let (end, refusal) = refused(&server, &client).await;
        assert_eq!(refusal.fault, "it is not for this name");
        assert!(end.own_certificate_fault().is_some());
    });
}

#[test]
fn a_server_is_held_to_the_same() {
    run(async {
        let (ours, theirs) = (PeerCa::generate().unwrap(), PeerCa::generate().unwrap());
        let now = SystemTime::now();
        let client = dialler(mutual(&ours, &ours.certify(B).unwrap()).client());
        let web = cert::generate::<&str>(&[]).unwrap();
        let web = ServerTls::load(&text(&web.cert_pem), &text(&web.key_pem), &[LINK_ALPN.to_vec()]).unwrap();
        let expired = ours.certify_for(A, now - 2 * HOUR, now - HOUR).unwrap();
        for (server, why) in [
            (unchecked(&theirs, &theirs.certify(A).unwrap()).0, "signed"),
            (unchecked(&ours, &expired).0, "expired"),
            (
                unchecked(&ours, &ours.certify_nameless().unwrap()).0,
                "names no node",
            ),
            (web, "signed"),
        ] {
            let server = listen(&server);
            let error = client
                .connect(server.local_addr(), "localhost")
                .await
                .unwrap_err();
            assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    });
}

/// A link and a session are kept apart by their ALPN, so that a client of the relay that finds the port learns nothing.
#[test]
fn a_client_of_another_protocol_is_turned_away() {
    run(async {
        let ca = PeerCa::generate().unwrap();
        let server = listen(mutual(&ca, &ca.certify(A).unwrap()).server());
        let error = start_client(&Verify::Insecure)
            .connect(server.local_addr(), "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::NoCommonProtocol { .. }), "{error}");
    });
}

/// laps relays and meshes without certificates: nobody is named, and only the listed addresses get in.
#[test]
fn without_certificates_the_address_decides() {
    run(async {
        for alpn in [LAPS_ALPN, LINK_ALPN] {
            let tls = PeerTls::open(alpn).unwrap();
            let mut server = listen(tls.server());
            assert!(server.take_refusals().is_none());
            server.door().admit(&["127.0.0.0/8".parse().unwrap()]);
            let client = dialler(tls.client());
            let to = server.local_addr();
            let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
            let (accepted, connected) = (accepted.unwrap().handle(), connected.unwrap().handle());
            assert_eq!((accepted.peer_node(), connected.peer_node()), (None, None));
            assert_eq!(accepted.alpn(), alpn);
            assert!(!tls.is_mutual() && tls.lasts(HOUR));

            let closed = listen(tls.server());
            let mut strangers = closed
                .door()
                .admit(&["192.0.2.0/24".parse().unwrap(), "::1/128".parse().unwrap()]);
            let error = client
                .connect(closed.local_addr(), "localhost")
                .await
                .unwrap_err();
            assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
            let stranger = strangers.recv().await.unwrap();
            assert_eq!(stranger.from.ip(), Ipv4Addr::LOCALHOST);
            assert_eq!(stranger.fault, "its address is none that is let in");
        }
    });
}

/// On a socket of both families an IPv4 address is one of IPv4.
#[test]
fn admitted_networks_are_of_the_family_they_are_written_in() {
    run(async {
        let tls = PeerTls::open(LAPS_ALPN).unwrap();
        let Ok(mut sockets) = bind(Listen::Ip(IpAddr::from([0_u16; 8])), 0, 1) else {
            return;
        };
        let config = link_config();
        let mut server =
            ServerEndpoint::start(sockets.remove(0), tls.server(), &config, ResetKey::random()).unwrap();
        server.door().admit(&["127.0.0.1/32".parse().unwrap()]);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.local_addr().port()));
        let client = dialler(tls.client());
        let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
        assert!(accepted.is_some());
        connected.unwrap();
    });
}

#[test]
fn a_relay_learns_at_its_start_what_is_wrong_with_its_certificate() {
    let (ours, theirs) = (PeerCa::generate().unwrap(), PeerCa::generate().unwrap());
    let now = SystemTime::now();
    let fault = |own: &NodeCert, node: NodeId| {
        let (ca, cert, key) = (text(ours.cert_pem()), text(&own.cert_pem), text(&own.key_pem));
        PeerTls::mutual(&ca, &cert, &key, node).unwrap_err().to_string()
    };
    let error = fault(&theirs.certify(A).unwrap(), A);
    assert!(error.contains("CA has not signed it"), "{error}");
    let error = fault(&ours.certify_for(A, now - 2 * HOUR, now - HOUR).unwrap(), A);
    assert!(error.contains("has expired"), "{error}");
    let error = fault(&ours.certify(A).unwrap(), B);
    assert!(
        error.contains("is that of node 1:1") && error.contains("relay is node 1.2:1234"),
        "{error}"
    );
    let error = fault(&ours.certify_nameless().unwrap(), A);
    assert!(error.contains("names no node"), "{error}");
    let mixed = NodeCert {
        key_pem: ours.certify(A).unwrap().key_pem,
        ..ours.certify(A).unwrap()
    };
    let error = fault(&mixed, A);
    assert!(error.contains("does not match"), "{error}");
}

#[test]
fn a_relay_can_tell_how_long_its_certificate_lasts() {
    let ca = PeerCa::generate().unwrap();
    let now = SystemTime::now();
    let tls = mutual(&ca, &ca.certify_for(A, now - HOUR, now + 2 * HOUR).unwrap());
    assert!(tls.lasts(Duration::ZERO) && tls.lasts(HOUR));
    assert!(!tls.lasts(3 * HOUR) && !tls.lasts(Duration::MAX));
}
