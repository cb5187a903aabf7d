//! Nobody joins a mesh unasked: by the wrong certificate, by one of another node, under the id of another, or from an address
//! that laps relays do not have. Each is told why and is a line in the log, and the mesh goes on. Issue 6, "Bad input".

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::bystander::Bystander;
use common::laps_peer::listens;
use common::lines::log;
use common::mesh::{Member, id};
use common::run;
use laps_actors::transport::{
    ClientEndpoint, ConnectError, LAPS_ALPN, LinkTimes, PeerCa, PeerTls, TransportConfig,
};

#[test]
fn a_certificate_that_another_ca_signed() {
    run(|| async {
        let (ca, other) = (PeerCa::generate().unwrap(), PeerCa::generate().unwrap());
        let (hub_log, mut hub_lines) = log();
        let (hub, mut bystander) = Bystander::beside(&ca, |settings| settings.log = hub_log).await;
        let (log, mut lines) = log();
        let _stranger = Member::edge(&other, 9, &[&hub])
            .but(|settings| settings.log = log)
            .start()
            .await;
        lines.line(&["peer not reached", "certificate"]).await;
        // It dials again and again, and the operator of the mesh is told once.
        lines.lines(&["peer not reached", "certificate"], 3).await;
        // Each side may be the first to see what is wrong with the other.
        assert!(hub_lines.count(&["WARN", "peer refused"]) <= 1);
        bystander.goes_on().await;
    });
}

#[test]
fn no_certificate_at_all() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (log, mut lines) = log();
        let (hub, mut bystander) = Bystander::beside(&ca, |settings| settings.log = log).await;
        let open = PeerTls::open(laps_actors::transport::LINK_ALPN).unwrap();
        let to = hub.peer_addrs()[0].unwrap();
        let config = TransportConfig::for_links(LinkTimes::default());
        for _ in 0..3 {
            let endpoint = ClientEndpoint::for_remote(to, open.client(), &config).unwrap();
            // Its own handshake is done before it hears of that.
            if let Ok(conn) = endpoint.connect(to, "localhost").await {
                let mut parts = conn.split();
                assert!(parts.uni.accept().await.is_err());
            }
        }
        lines.line(&["peer refused", "there was none"]).await;
        bystander.goes_on().await;
        assert_eq!(lines.count(&["WARN", "peer refused"]), 1);
    });
}

#[test]
fn a_certificate_of_another_node() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (hub_log, mut hub_lines) = log();
        let (hub, mut bystander) = Bystander::beside(&ca, |settings| settings.log = hub_log).await;
        let (log, mut lines) = log();
        // Its certificate is that of 1:9, and in CONNECT it says that it is 1:8.
        let _liar = Member::edge(&ca, 9, &[&hub])
            .but(|settings| {
                settings.log = log;
                settings.peering.as_mut().unwrap().setup.own.id = id(8);
            })
            .start()
            .await;
        lines.line(&["the peer refuses the link"]).await;
        hub_lines
            .line(&["link closes", "NOT_AUTHORIZED", "node 1:8 where 1:9 is expected"])
            .await;
        bystander.goes_on().await;
    });
}

#[test]
fn the_id_of_another_node() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (hub_log, mut hub_lines) = log();
        // The bystander's relay is 1:2, and has a link to the hub.
        let (hub, mut bystander) = Bystander::beside(&ca, |settings| settings.log = hub_log).await;
        let (log, mut lines) = log();
        let _second = Member::edge(&ca, 2, &[&hub])
            .but(|settings| {
                settings.log = log;
                settings.peering.as_mut().unwrap().setup.own.contact = Bytes::from_static(b"elsewhere");
            })
            .start()
            .await;
        lines.line(&["the peer refuses the link"]).await;
        hub_lines
            .line(&["link closes", "there is a control link to this node already"])
            .await;
        for _ in 0..3 {
            bystander.goes_on().await;
        }
    });
}

#[test]
fn an_address_that_no_laps_relay_has() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (log, mut lines) = log();
        let (hub, mut bystander) = Bystander::beside(&ca, |settings| {
            listens(settings);
            settings.log = log;
            let setup = &mut settings.peering.as_mut().unwrap().setup;
            setup.laps_from = vec!["192.0.2.0/24".parse().unwrap()];
        })
        .await;
        let to = hub.peer_addrs()[1].unwrap();
        let tls = PeerTls::open(LAPS_ALPN).unwrap();
        let config = TransportConfig::for_links(LinkTimes::default());
        for _ in 0..3 {
            let endpoint = ClientEndpoint::for_remote(to, tls.client(), &config).unwrap();
            let error = endpoint.connect(to, "localhost").await.unwrap_err();
            assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        }
        lines
            .line(&["peer refused", "its address is none that is let in"])
            .await;
        bystander.goes_on().await;
        assert_eq!(lines.count(&["WARN", "peer refused"]), 1);
    });
}
