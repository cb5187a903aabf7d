//! Who may begin a handshake: proofs of address, rates of prefixes, load.

use super::super::testing::*;
use super::super::*;
use crate::limits::{Gauge, Limits, Observer, Prefixes, Pressure, Strain};
use laps_protocol::relay::load::{Sample, Terms};
use slog::{Logger, o};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn server(config: &TransportConfig) -> ServerEndpoint {
    let made = cert::generate::<&str>(&[]).unwrap();
    let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
    ServerEndpoint::start(socket, &server_tls(&made), config, ResetKey::random()).unwrap()
}

/// Tries to connect; the connection is let go of at once.
async fn is_let_in(server: &mut ServerEndpoint, client: &ClientEndpoint) -> bool {
    let connect = client.connect(server.local_addr(), "localhost");
    tokio::select! {
        connected = connect => match connected {
            Ok(_) => true,
            Err(ConnectError::Refused { .. }) => false,
            Err(error) => panic!("{error}"),
        },
        // Taking them in goes on as long as that takes.
        () = async { while server.accept().await.is_some() {} } => panic!("the server ended"),
    }
}

/// D14-LIM-6: handshakes in progress are few, or newcomers prove their address; that costs an honest client a round trip.
#[test]
fn a_proof_of_address_lets_an_honest_client_in() {
    run(async {
        for (above, proofs) in [(0, 3), (1, 0)] {
            let mut server = server(&TransportConfig {
                retry_above_handshakes: above,
                ..config()
            });
            let client = start_client(&Verify::Insecure);
            for _ in 0..3 {
                assert!(is_let_in(&mut server, &client).await);
            }
            assert_eq!(server.door().proofs(), proofs);
        }
    });
}

/// D14-LIM-6 D14-LIM-2: one prefix that begins handshake after handshake is asked for proofs, then refused, and nobody
/// else is.
#[test]
#[cfg(target_os = "linux")]
fn a_prefix_that_hammers_is_refused_alone() {
    run(async {
        let mut server = server(&config());
        let limits = Limits {
            // Four at once, four more with a proof; the next after a second.
            prefix_handshakes: 1,
            ..Limits::NONE
        };
        let prefixes = Arc::new(Prefixes::new(limits));
        server.door().count(Arc::clone(&prefixes));
        let at = |last| {
            let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn()).unwrap();
            let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
            ClientEndpoint::bind(local, &tls, &config()).unwrap()
        };
        let (hammer, other) = (at(2), at(3));
        let mut let_in = 0;
        while is_let_in(&mut server, &hammer).await {
            let_in += 1;
        }
        // However slow this machine is, some were within, and some above.
        assert!(let_in >= 8 && server.door().proofs() >= 4, "{let_in}");
        assert!(prefixes.too_many_handshakes() >= 1);
        let proofs = server.door().proofs();
        assert!(is_let_in(&mut server, &other).await);
        assert_eq!(server.door().proofs(), proofs);
    });
}

/// D14-LIM-4: newcomers are the first who are refused, and let in again after the shortage.
#[test]
fn an_overloaded_shard_refuses_newcomers() {
    run(async {
        let percent = Arc::new(AtomicU64::new(80));
        let told = Arc::clone(&percent);
        let gauge = Gauge::given(move |lag| Sample {
            lag,
            memory: told.load(Relaxed),
            budget: 100,
        });
        let terms = Terms {
            calm: std::time::Duration::ZERO,
            ..Terms::default()
        };
        let strain = Strain::new(&Arc::new(Pressure::new(gauge, terms)));
        let mut observer = Observer::new(strain.clone());
        let log = Logger::root(slog::Discard, o!());
        let mut server = server(&config());
        server.door().heed(strain.clone());
        let client = start_client(&Verify::Insecure);
        assert!(is_let_in(&mut server, &client).await);
        observer.observe(&log, false, 0);
        assert!(!is_let_in(&mut server, &client).await);
        assert_eq!(
            (strain.process().refused_connections(), server.door().proofs()),
            (1, 0)
        );
        percent.store(10, Relaxed);
        observer.observe(&log, false, 0);
        assert!(is_let_in(&mut server, &client).await);
    });
}
