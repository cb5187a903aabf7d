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
use laps::relay::{Relay, Settings};
use laps_actors::transport::{
    ClientEndpoint, ConnectError, LAPS_ALPN, LinkTimes, PeerCa, PeerTls, TransportConfig,
};
use std::time::Duration;

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
        let why = "node 1:8 where 1:9 is expected";
        hub_lines.line(&["link closes", "NOT_AUTHORIZED", why]).await;
        while connects(&hub) < 4 {
            bystander.goes_on().await;
        }
        assert_eq!(hub_lines.count(&["INFO", why]), 1);
        assert_eq!(lines.count(&["INFO the peer refuses the link, "]), 1);
    });
}

/// The oldest stays, and nothing of its place goes to the newcomer, for control or for data. Whatever they say of themselves:
/// relays that nobody gave a contact say the same.
#[test]
fn the_id_of_another_node() {
    for contact in ["", "elsewhere"] {
        run(move || async move {
            let ca = PeerCa::generate().unwrap();
            let (hub_log, mut hub_lines) = log();
            // The bystander's relay is 1:2, and has a link to the hub.
            let (hub, mut bystander) = Bystander::beside(&ca, |settings| settings.log = hub_log).await;
            let (log, mut lines) = log();
            let _second = Member::edge(&ca, 2, &[&hub])
                .but(move |settings| {
                    settings.log = log;
                    let setup = &mut settings.peering.as_mut().unwrap().setup;
                    setup.own.contact = Bytes::from_static(contact.as_bytes());
                    for (_, links) in &mut setup.targets {
                        *links = 3;
                    }
                })
                .start()
                .await;
            lines.line(&["the peer refuses the link"]).await;
            let why = "another relay with this node id has a link";
            hub_lines.line(&["link closes", "1:2", why]).await;
            // It dials again and again, and both operators are told once.
            while connects(&hub) < 12 {
                bystander.goes_on().await;
            }
            assert_eq!(hub_lines.count(&["INFO", why]), 1);
            assert_eq!(hub_lines.count(&["link stands", "1:2"]), 1);
            assert_eq!(lines.count(&["INFO the peer refuses the link, "]), 1);
        });
    }
}

/// The same further away: nobody but the relays between the two hears of both. The newcomer is let in, as a relay would be
/// that was killed and comes back, until it is clear that there are two.
#[test]
fn the_id_of_a_node_further_away() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let soon = |settings: &mut Settings| {
            let setup = &mut settings.peering.as_mut().unwrap().setup;
            setup.settings.twins_hold = Duration::from_millis(500);
        };
        // The bystander's relay is 1:2, and has a link to the hub.
        let (hub, mut bystander) = Bystander::beside(&ca, soon).await;
        let (log, mut lines) = log();
        let next = Member::edge(&ca, 3, &[&hub]).but(move |settings| {
            settings.log = log;
            soon(settings);
        });
        let next = next.start().await;
        lines.line(&["link stands", "1:1"]).await;
        let (second_log, mut second_lines) = common::lines::log();
        let _second = Member::edge(&ca, 2, &[&next])
            .but(|settings| settings.log = second_log)
            .start()
            .await;
        lines.line(&["WARN", "two relays have the id 1:2"]).await;
        let why = "another node of the mesh has this node id already";
        lines.line(&["link closes", why]).await;
        second_lines.line(&["link is over"]).await;
        // It is not let in again, and its operator hears why not.
        second_lines.line(&["the peer refuses the link"]).await;
        while connects(&next) < 5 {
            bystander.goes_on().await;
        }
        assert_eq!(lines.count(&["link stands", "1:2"]), 1);
        assert_eq!(lines.count(&["WARN", "two relays have the id"]), 1);
        for _ in 0..3 {
            bystander.goes_on().await;
        }
    });
}

/// CONNECTs that a relay has been sent.
fn connects(relay: &Relay) -> u64 {
    let mut kinds = relay.links().messages();
    kinds.find(|(kind, _)| *kind == "CONNECT").unwrap().1[0]
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
