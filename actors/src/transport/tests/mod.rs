//! Endpoints against each other over loopback. Nothing here sleeps: each test waits for what it proves.

mod endpoints;
mod shards;
mod streams;

use std::{future::Future, net::Ipv4Addr, net::SocketAddr};

use tokio::{runtime, task::LocalSet};

use super::*;

const LOOPBACK: Listen = Listen::Ip(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Small rings keep many endpoints in one test process affordable.
fn config() -> TransportConfig {
    TransportConfig {
        recv_ring: 1 << 20,
        ..TransportConfig::default()
    }
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

fn server_tls(made: &SelfSigned) -> ServerTls {
    let (cert, key) = (Pem::Text(made.cert_pem.clone()), Pem::Text(made.key_pem.clone()));
    ServerTls::load(&cert, &key, &moqt_alpn()).unwrap()
}

fn start_server(made: &SelfSigned) -> ServerEndpoint {
    let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
    ServerEndpoint::start(socket, &server_tls(made), &config(), ResetKey::random()).unwrap()
}

fn start_client(verify: &Verify) -> ClientEndpoint {
    let tls = ClientTls::new(verify, &moqt_alpn()).unwrap();
    ClientEndpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &tls, &config()).unwrap()
}

/// Both ends of one connection, and what keeps them alive.
struct Pair {
    server: ConnParts,
    client: ConnParts,
    _endpoints: (ServerEndpoint, ClientEndpoint),
}

async fn pair() -> Pair {
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
