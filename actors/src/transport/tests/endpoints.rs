use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime};

use super::*;

#[test]
fn both_ends_know_protocol_name_and_addresses() {
    run(async {
        let pair = pair().await;
        let (server, client) = (&pair.server.handle, &pair.client.handle);
        assert_eq!((server.alpn(), client.alpn()), (&b"moq-00"[..], &b"moq-00"[..]));
        assert_eq!(server.server_name(), Some("localhost"));
        assert_eq!(
            server.remote_addr().unwrap().port(),
            client.local_addr().unwrap().port()
        );
        assert!(client.rtt().is_some());
        assert!(server.stats().mtu() >= 1200);
    });
}

/// A client's packets leave from the address that its machine has then, not from the one that it had at first.
#[cfg(target_os = "linux")]
#[test]
fn a_client_holds_on_to_no_address() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let mut server = start_server(&made);
        let to = server.local_addr();
        let tls = ClientTls::new(&Verify::CertSha256(made.sha256), &moqt_alpn()).unwrap();
        let client = ClientEndpoint::for_remote(to, &tls, &TransportConfig::default()).unwrap();
        let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
        let (accepted, connected) = (accepted.unwrap().split(), connected.unwrap().split());
        assert!(connected.handle.local_addr().unwrap().ip().is_unspecified());
        assert_eq!(accepted.handle.local_addr().unwrap().ip(), to.ip());
    });
}

#[test]
fn a_close_carries_its_code_and_its_words() {
    run(async {
        let mut pair = pair().await;
        pair.server
            .handle
            .close(0x3, "the SETUP was not the first message");
        pair.server.handle.close(0x4, "said twice");
        let error = pair.client.uni.accept().await.unwrap_err();
        assert_eq!(error, ConnError::Peer { code: 3 });
        let close = pair.client.handle.peer_close().unwrap();
        assert_eq!(close.code, 3);
        assert!(close.by_application);
        assert_eq!(close.reason, "the SETUP was not the first message");
        assert_eq!(
            pair.server.uni.accept().await.unwrap_err(),
            ConnError::Local { code: 3 }
        );
        assert_eq!(
            pair.client.datagrams.recv().await.unwrap_err(),
            ConnError::Peer { code: 3 }
        );
    });
}

#[test]
fn dropping_every_part_ends_the_connection_without_an_error() {
    run(async {
        let mut pair = pair().await;
        drop(pair.server);
        assert!(pair.client.uni.accept().await.unwrap().is_none());
    });
}

#[test]
fn a_server_counts_its_connections_in_and_out() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let mut server = start_server(&made);
        let to = server.local_addr();
        let client = start_client(&Verify::Insecure);
        let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
        assert_eq!(server.stats().open_connections(), 1);
        connected.unwrap().handle().close(0, "");
        drop(accepted);
        client.wait_idle().await;
        server.wait_idle().await;
        assert_eq!(server.stats().open_connections(), 0);
        assert_eq!(server.stats().connections(), 1);
    });
}

#[test]
fn dual_stack_serves_both_families_and_shows_plain_ipv4() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let socket = bind(Listen::All, 0, 1).unwrap().remove(0);
        let mut server =
            ServerEndpoint::start(socket, &server_tls(&made), &config(), ResetKey::random()).unwrap();
        let port = server.local_addr().port();
        let mut targets = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        if server.local_addr().is_ipv6() {
            targets.push(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)));
        }
        for to in targets {
            let tls = ClientTls::new(&Verify::CertSha256(made.sha256), &moqt_alpn()).unwrap();
            let client = ClientEndpoint::for_remote(to, &tls, &config()).unwrap();
            let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
            connected.unwrap();
            assert_eq!(accepted.unwrap().handle().remote_addr().unwrap().ip(), to.ip());
        }
    });
}

#[test]
fn a_pinned_certificate_is_accepted_and_another_is_not() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let mut server = start_server(&made);
        let to = server.local_addr();
        let right = start_client(&Verify::CertSha256(made.sha256));
        let (_, connected) = futures::join!(server.accept(), right.connect(to, "localhost"));
        connected.unwrap();

        let wrong = start_client(&Verify::CertSha256([0; 32]));
        let error = wrong.connect(to, "localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");
        assert!(error.to_string().contains("fingerprint"), "{error}");
    });
}

#[test]
fn a_renewed_certificate_is_for_newcomers() {
    run(async {
        let first = cert::generate::<&str>(&[]).unwrap();
        let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
        let tls = server_tls(&first);
        let mut server = ServerEndpoint::start(socket, &tls, &config(), ResetKey::random()).unwrap();
        let to = server.local_addr();
        let Fingerprints { certificate, key } = tls.known_by();
        assert_eq!(certificate, first.sha256);
        let (by_cert, by_key) = (
            start_client(&Verify::CertSha256(certificate)),
            start_client(&Verify::CertSha256(key)),
        );
        let (accepted, connected) = futures::join!(server.accept(), by_cert.connect(to, "localhost"));
        let (mut host, mut guest) = (accepted.unwrap().split(), connected.unwrap().split());

        let mut renewals = tls.renewals();
        let second = cert::make::<&str>(&[], Some(&first.key_pem), SystemTime::now()).unwrap();
        let text = |pem: &str| Pem::Text(pem.to_owned());
        let (reset, stranger) = (tls.reset_key(1), cert::generate::<&str>(&[]).unwrap());
        let error = tls
            .renew(&text(&second.cert_pem), &text(&stranger.key_pem))
            .unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
        assert_eq!(tls.known_by().certificate, first.sha256, "as if nobody had asked");
        tls.renew(&text(&second.cert_pem), &text(&second.key_pem))
            .unwrap();
        let renewed = Fingerprints {
            certificate: second.sha256,
            key,
        };
        assert_eq!((tls.known_by(), renewals.next().await), (renewed, Some(renewed)));
        assert!(reset == tls.reset_key(1), "the key is the same");

        // Who was there goes on.
        guest.handle.open_uni().await.unwrap().finish().unwrap();
        assert!(host.uni.accept().await.unwrap().is_some());
        // Who pins the key is let in, who pins the certificate of before is told what is wrong.
        let (_, again) = futures::join!(server.accept(), by_key.connect(to, "localhost"));
        again.unwrap();
        let error = by_cert.connect(to, "localhost").await.unwrap_err().to_string();
        assert!(error.contains("it was renewed since"), "{error}");
    });
}

#[test]
fn a_named_authority_decides_trust_and_name() {
    run(async {
        let made = cert::generate(&["relay.example"]).unwrap();
        let mut server = start_server(&made);
        let to = server.local_addr();
        let trusting = start_client(&Verify::Ca(Pem::Text(made.cert_pem.clone())));
        let (_, connected) = futures::join!(server.accept(), trusting.connect(to, "relay.example"));
        connected.unwrap();
        let (_, connected) = futures::join!(server.accept(), trusting.connect(to, "127.0.0.1"));
        connected.unwrap();

        let error = trusting.connect(to, "other.example").await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");
        assert!(error.to_string().contains("not for this name"), "{error}");

        let stranger = cert::generate::<&str>(&[]).unwrap();
        let distrusting = start_client(&Verify::Ca(Pem::Text(stranger.cert_pem)));
        let error = distrusting.connect(to, "localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");
    });
}

#[test]
fn silence_is_reported_with_the_address() {
    run(async {
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn()).unwrap();
        let config = TransportConfig {
            handshake_timeout: Duration::from_millis(300),
            ..config()
        };
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let client = ClientEndpoint::bind(local, &tls, &config).unwrap();
        let to = nobody.local_addr().unwrap();
        let error = client.connect(to, "localhost").await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout { addr } if addr == to),
            "{error}"
        );
        assert!(matches!(
            client.connect(to, "a b").await,
            Err(ConnectError::ServerName { .. })
        ));
    });
}

#[test]
fn a_full_server_refuses() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
        let config = TransportConfig {
            max_connections: 0,
            ..config()
        };
        let server = ServerEndpoint::start(socket, &server_tls(&made), &config, ResetKey::random()).unwrap();
        let error = start_client(&Verify::Insecure)
            .connect(server.local_addr(), "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_draining_server_refuses_newcomers_and_keeps_its_guests() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let mut server = start_server(&made);
        let (to, client) = (server.local_addr(), start_client(&Verify::Insecure));
        let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
        let (mut guest, mut host) = (connected.unwrap().split(), accepted.unwrap().split());
        server.refuse_newcomers(true);
        let error = client.connect(to, "localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        guest.handle.open_uni().await.unwrap().finish().unwrap();
        assert!(host.uni.accept().await.unwrap().is_some());
        server.refuse_newcomers(false);
        let (_, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
        connected.unwrap();
    });
}

#[test]
fn certificate_faults_are_named() {
    let (one, two) = (
        cert::generate::<&str>(&[]).unwrap(),
        cert::generate::<&str>(&[]).unwrap(),
    );
    let load = |cert: Pem, key: Pem| ServerTls::load(&cert, &key, &moqt_alpn()).unwrap_err();
    let text = |text: &str| Pem::Text(text.to_owned());

    let error = load(text(&one.cert_pem), text(&two.key_pem));
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    let error = load(Pem::File("no/such/cert.pem".into()), text(&one.key_pem));
    assert!(
        matches!(
            error,
            TlsError::Read {
                what: "certificate",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("no/such/cert.pem"), "{error}");
    let error = load(text(&one.cert_pem), Pem::File("no/such/key.pem".into()));
    assert!(
        matches!(
            error,
            TlsError::Read {
                what: "private key",
                ..
            }
        ),
        "{error}"
    );
    let error = load(text(&one.key_pem), text(&one.key_pem));
    assert!(
        matches!(
            error,
            TlsError::Missing {
                what: "certificate",
                ..
            }
        ),
        "{error}"
    );
    let error = load(text(&one.cert_pem), text(&one.cert_pem));
    assert!(
        matches!(
            error,
            TlsError::Missing {
                what: "private key",
                ..
            }
        ),
        "{error}"
    );
    assert!(!format!("{:?}", text(&one.key_pem)).contains("PRIVATE"));
}
#[test]
fn an_unknown_protocol_is_refused_at_once() {
    run(async {
        let made = cert::generate::<&str>(&[]).unwrap();
        let server = start_server(&made);
        let tls = ClientTls::new(&Verify::Insecure, &[b"no-such".to_vec()]).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let client = ClientEndpoint::bind(local, &tls, &config()).unwrap();
        let begun = Instant::now();
        let error = client
            .connect(server.local_addr(), "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::NoCommonProtocol { .. }), "{error}");
        assert!(error.to_string().contains("no-such"), "{error}");
        assert!(
            begun.elapsed() < config().handshake_timeout / 2,
            "after {:?}",
            begun.elapsed()
        );
    });
}

/// Waits until nobody has this port any more, in so many turns of the runtime.
async fn until_free(port: SocketAddr) {
    for _ in 0..100_000 {
        if UdpSocket::bind(port).is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the socket of the endpoint is still open");
}

#[test]
fn a_client_that_is_let_go_of_takes_its_socket_along() {
    run(async {
        // Nothing is on the way that could wake its task later.
        let unused = start_client(&Verify::Insecure);
        let port = unused.local_addr().unwrap();
        drop(unused.clone());
        tokio::task::yield_now().await;
        assert!(UdpSocket::bind(port).is_err());
        drop(unused);
        until_free(port).await;
    });
}

#[test]
fn a_client_whose_connection_ended_first_takes_its_socket_along() {
    run(async {
        let pair = pair().await;
        let (server, mut client) = (pair.server, pair.client);
        let (_keeps, endpoint) = pair._endpoints;
        server.handle.close(0, "the peer ends it");
        while let Ok(Some(_)) = client.uni.accept().await {}
        let port = endpoint.local_addr().unwrap();
        drop((client, endpoint));
        until_free(port).await;
    });
}
