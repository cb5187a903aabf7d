//! Following GOAWAY: where to, how to get there, and for how long it is tried. MOQT-14 §3.5, §9.4.

use super::connect::{ClientError, Target};
use super::reach;
use super::url::MoqtUrl;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The pause after the first failed attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a client follows GOAWAY.
#[derive(Clone, Debug)]
pub struct Moving {
    /// How long the next relay may be out of reach, or without the track, once the session before is over.
    pub patience: Duration,
    /// Who is told of a move.
    pub notice: Notice,
}

impl Default for Moving {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            notice: Notice::default(),
        }
    }
}

/// Called with the URI of the relay that a client has moved to because its relay asked for it.
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(&str) + Send + Sync>);

impl Notice {
    /// Calls `told` at each move, on the client's arbiter.
    pub fn new(told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(super) fn tell(&self, to: &str) {
        (self.0)(to);
    }
}

impl Default for Notice {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice(..)")
    }
}

/// The way to the next session.
#[derive(Clone, Debug)]
pub(super) struct Way {
    url: Option<MoqtUrl>,
    from: Target,
}

impl Way {
    /// What a GOAWAY with `uri` means to a session with `from`.
    ///
    /// MOQT-14 §9.4 [D14-GOAWAY-2]: the URI that is given, else the one of now. The scheme stays: this client speaks
    /// MOQT over QUIC alone, and goes nowhere instead when it is sent to what it cannot speak to.
    pub(super) fn to(uri: &[u8], from: &Target) -> Result<Self, ClientError> {
        let from = from.clone();
        if uri.is_empty() {
            // Looked up again: the name may lead elsewhere by now.
            let url = format!("moqt://{}{}", from.authority, from.path).parse().ok();
            return Ok(Self { url, from });
        }
        let text = String::from_utf8_lossy(uri);
        match text.parse() {
            Ok(url) => Ok(Self { url: Some(url), from }),
            Err(error) => Err(ClientError::Elsewhere {
                uri: text.chars().take(200).collect(),
                why: error.to_string(),
            }),
        }
    }

    /// Where it leads, for a person.
    pub(super) fn name(&self) -> String {
        match &self.url {
            Some(url) => url.to_string(),
            None => self.from.authority.clone(),
        }
    }

    /// Takes the first address that answers.
    pub(super) async fn connect<T, F>(&self, attempt: impl Fn(Target) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let targets = match &self.url {
            Some(url) => reach::targets(url).await?,
            None => vec![self.from.clone()],
        };
        reach::first(targets, attempt).await
    }
}

/// Tries again and again, each time after a longer pause, until it works or `patience` has passed after `over`. The
/// last fault is told.
pub(super) async fn keep_trying<T, F>(
    patience: Duration,
    over: impl Future<Output = ()>,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let fault = RefCell::new(None);
    let trying = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(error) => fault.replace(Some(error)),
            };
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    let limit = async {
        over.await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        done = trying => Ok(done),
        () = limit => Err(fault.take().unwrap_or(ClientError::Timeout)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn target() -> Target {
        Target {
            addr: SocketAddr::from(([127, 0, 0, 1], 7)),
            server_name: "localhost".to_owned(),
            authority: "localhost:7".to_owned(),
            path: "/live?a=b".to_owned(),
        }
    }

    /// D14-GOAWAY-2
    #[test]
    fn the_uri_is_the_one_given_else_the_one_of_now() {
        for (uri, name) in [
            ("", "moqt://localhost:7/live?a=b"),
            ("moqt://other:9/x", "moqt://other:9/x"),
        ] {
            assert_eq!(Way::to(uri.as_bytes(), &target()).unwrap().name(), name);
        }
        for uri in ["https://other/x", "other:9", "moqt://", "\u{fffd}"] {
            let refused = Way::to(uri.as_bytes(), &target()).unwrap_err();
            assert!(matches!(refused, ClientError::Elsewhere { .. }), "{refused}");
        }
    }

    /// D14-GOAWAY-2: the next relay may not be there yet, and is tried until the session before is long over.
    #[actix_rt::test]
    async fn attempts_are_made_until_patience_ends() {
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let over = tokio::time::sleep(Duration::from_secs(5));
        let mut tries = 0;
        let failed = keep_trying(Duration::from_secs(10), over, || {
            tries += 1;
            async { Err::<(), _>(ClientError::Timeout) }
        });
        assert!(matches!(failed.await, Err(ClientError::Timeout)));
        assert_eq!(begun.elapsed().as_secs(), 15);
        // Five pauses that double, then one a second.
        assert_eq!(tries, 6 + 13);
        let mut tries = 0;
        let worked = keep_trying(Duration::ZERO, std::future::pending(), || {
            tries += 1;
            let result = if tries < 4 {
                Err(ClientError::Timeout)
            } else {
                Ok(tries)
            };
            async { result }
        });
        assert_eq!(worked.await.unwrap(), 4);
    }
}
