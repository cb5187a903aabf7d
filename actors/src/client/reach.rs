//! From a URL to the address that answers.

use super::connect::{ClientError, Target};
use super::url::{Host, MoqtUrl};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Head start of each address over the next one. RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);

/// Every address of the host, the one that the system prefers first.
///
/// # Errors
/// [`ClientError::Unresolved`] when the host is not known.
pub async fn targets(url: &MoqtUrl) -> Result<Vec<Target>, ClientError> {
    let found = resolve(url).await.map_err(ClientError::Unresolved)?;
    Ok(found.into_iter().map(|addr| target(url, addr)).collect())
}

/// Tries them, each a moment after the one before; the first that answers is taken.
///
/// # Errors
/// The fault of the first one when none answers.
pub async fn first<T, F>(targets: Vec<Target>, attempt: impl Fn(Target) -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut head_start = Duration::ZERO;
    let mut attempts = FuturesUnordered::new();
    for target in targets {
        let (wait, tried) = (head_start, attempt(target));
        head_start += HEAD_START;
        attempts.push(async move {
            tokio::time::sleep(wait).await;
            tried.await
        });
    }
    let mut fault = None;
    while let Some(result) = attempts.next().await {
        match result {
            Ok(client) => return Ok(client),
            // The first fault is that of the address that the system prefers.
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    Err(fault.unwrap_or_else(|| ClientError::Unresolved("the host has no address".to_owned())))
}

async fn resolve(url: &MoqtUrl) -> Result<Vec<SocketAddr>, String> {
    let port = url.port();
    let name = match url.host() {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => name.clone(),
    };
    // The system's resolver blocks.
    let found = tokio::task::spawn_blocking(move || (name.as_str(), port).to_socket_addrs()).await;
    match found {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("cannot look up the host: {error}")),
        Err(_) => Err("cannot look up the host".to_owned()),
    }
}

/// MOQT-14 §9.3.2 [D14-LIB-1]: PATH and AUTHORITY come from the URL.
fn target(url: &MoqtUrl, addr: SocketAddr) -> Target {
    let path = url.path_and_query();
    Target {
        addr,
        server_name: url.server_name(),
        authority: url.authority(),
        path: if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> MoqtUrl {
        text.parse().unwrap()
    }

    /// D14-LIB-1
    #[test]
    fn path_and_authority_come_from_the_url() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 5));
        for (text, authority, path) in [
            ("moqt://h:5", "h:5", "/"),
            ("moqt://h/a?b=c", "h", "/a?b=c"),
            ("moqt://h?b=c", "h", "/?b=c"),
        ] {
            let target = target(&url(text), addr);
            assert_eq!(
                (target.authority.as_str(), target.path.as_str()),
                (authority, path)
            );
        }
    }

    #[actix_rt::test]
    async fn the_first_address_that_answers_is_taken() {
        let targets = targets(&url("moqt://localhost:7")).await.unwrap();
        let found = first(targets, |target| async move { Ok(target.addr.port()) }).await;
        assert_eq!(found.unwrap(), 7);
    }
}
