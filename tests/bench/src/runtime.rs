//! What every part runs on, and the settings they share.

use crate::Failure;
use laps_actors::transport::{
    ClientTls, Listen, Pem, ResetKey, ServerEndpoint, ServerTls, TransportConfig, Verify, bind, cert,
    moqt_alpn,
};
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;

/// Runs `work` as an actix arbiter would: one thread, local tasks, all of tokio's drivers.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// TLS of a server with a throw-away certificate.
pub(crate) fn server_tls() -> Result<ServerTls, Failure> {
    let made = cert::generate(&["localhost"])?;
    let (cert, key) = (Pem::Text(made.cert_pem), Pem::Text(made.key_pem));
    Ok(ServerTls::load(&cert, &key, &moqt_alpn())?)
}

/// TLS of a client that believes it.
pub(crate) fn client_tls() -> Result<ClientTls, Failure> {
    Ok(ClientTls::new(&Verify::Insecure, &moqt_alpn())?)
}

/// The loopback address that every server here listens on.
pub(crate) fn loopback() -> Listen {
    Listen::Ip([127, 0, 0, 1].into())
}

/// A server with the product's transport settings, and nothing of its actors.
pub(crate) fn server() -> Result<ServerEndpoint, Failure> {
    let socket = bind(loopback(), 0, 1)?.pop().ok_or("no socket")?;
    let endpoint = ServerEndpoint::start(
        socket,
        &server_tls()?,
        &TransportConfig::default(),
        ResetKey::random(),
    )?;
    Ok(endpoint)
}

/// Tells the parent where we listen. It reads this one line and nothing more.
pub(crate) fn announce(addr: SocketAddr) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{addr}")?;
    out.flush()?;
    Ok(())
}

/// Ready when standard input ends, which it does when the parent is gone.
pub(crate) async fn parent_gone() {
    let (told, gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
        told.send(()).ok();
    });
    gone.await.ok();
}
