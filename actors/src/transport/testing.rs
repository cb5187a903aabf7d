//! Connected pairs over loopback for the tests of this crate: real packets, no fakes.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::{runtime, task::LocalSet};

use super::*;

pub(crate) const LOOPBACK: Listen = Listen::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Small rings keep many endpoints in one test process affordable.
pub(crate) fn config() -> TransportConfig {
    TransportConfig {
        recv_ring: 1 << 20,
        ..TransportConfig::default()
    }
}

/// Runs a test as a shard would: one thread, local tasks.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

/// What a server with this certificate offers.
pub(crate) fn server_tls(made: &SelfSigned) -> ServerTls {
    let (cert, key) = (Pem::Text(made.cert_pem.clone()), Pem::Text(made.key_pem.clone()));
    ServerTls::load(&cert, &key, &moqt_alpn()).unwrap()
}

/// A server on a free loopback port.
pub(crate) fn start_server(made: &SelfSigned) -> ServerEndpoint {
    let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
    ServerEndpoint::start(socket, &server_tls(made), &config(), ResetKey::random()).unwrap()
}

/// A client on a free loopback port.
pub(crate) fn start_client(verify: &Verify) -> ClientEndpoint {
    let tls = ClientTls::new(verify, &moqt_alpn()).unwrap();
    ClientEndpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &tls, &config()).unwrap()
}

/// Both ends of one connection, and what keeps them alive.
pub(crate) struct Pair {
    pub(crate) server: ConnParts,
    pub(crate) client: ConnParts,
    pub(crate) _endpoints: (ServerEndpoint, ClientEndpoint),
}

/// One connection over loopback, both ends in the caller's hand.
pub(crate) async fn pair() -> Pair {
    let made = cert::generate::<&str>(&[]).unwrap();
    let mut server = start_server(&made);
    let client = start_client(&Verify::CertSha256(made.sha256));
    let to = server.local_addr();
    let (accepted, connected) = futures::join!(server.accept(), client.connect(to, "localhost"));
    Pair {
        server: accepted.unwrap().split(),
        client: connected.unwrap().split(),
        _endpoints: (server, client),
    }
}
