//! From the name of a host to the address that answers.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};

/// Head start of each address over the next one. RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);

/// Every address of a host now, the one that the system prefers first; asked anew at each call. Who waits only so long
/// puts a deadline around it: the system's own may be half a minute, for which the question goes on without anybody.
///
/// # Errors
/// What the system says when the host is not known.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    // The system's resolver blocks.
    let asked = tokio::task::spawn_blocking(move || (host.as_str(), port).to_socket_addrs()).await;
    let found = asked.map_err(|_| io::Error::other("the resolver failed"))??;
    Ok(found.collect())
}

/// Tries all, each a moment after the one before; the first that answers is taken and the others are dropped.
///
/// # Errors
/// What went wrong with each when none answers, in the order of their ends.
pub async fn first<I, T, E, F>(candidates: Vec<I>, attempt: impl Fn(I) -> F) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut head_start = Duration::ZERO;
    let mut attempts = FuturesUnordered::new();
    for candidate in candidates {
        let (wait, tried) = (head_start, attempt(candidate));
        head_start += HEAD_START;
        attempts.push(async move {
            tokio::time::sleep(wait).await;
            tried.await
        });
    }
    let mut faults = Vec::new();
    while let Some(result) = attempts.next().await {
        match result {
            Ok(reached) => return Ok(reached),
            Err(fault) => faults.push(fault),
        }
    }
    Err(faults)
}
