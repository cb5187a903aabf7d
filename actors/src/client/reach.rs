//! From a URL to the address that answers.

use super::connect::{ClientError, Target};
use super::url::{Host, MoqtUrl};
use crate::transport::reach;
use std::future::Future;
use std::net::SocketAddr;

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
/// The first fault when none answers, which is that of the address that the system prefers unless another fails sooner.
pub async fn first<T, F>(targets: Vec<Target>, attempt: impl Fn(Target) -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    reach::first(targets, attempt).await.map_err(|faults| {
        let first = faults.into_iter().next();
        first.unwrap_or_else(|| ClientError::Unresolved("the host has no address".to_owned()))
    })
}

async fn resolve(url: &MoqtUrl) -> Result<Vec<SocketAddr>, String> {
    let port = url.port();
    match url.host() {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => reach::lookup(name, port)
            .await
            .map_err(|error| format!("cannot look up the host: {error}")),
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
