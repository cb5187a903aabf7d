//! Going on in another session: where, how to get there, and for how long it is tried. MOQT-14 §3.5, §9.4.

use super::connect::{ClientError, Target};
use super::reach;
use super::url::MoqtUrl;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How a client goes on when its session ends before it is done.
#[derive(Clone, Debug)]
pub struct Moving {
    /// After GOAWAY, how long the next relay may be out of reach, or without the track, once the session before is over.
    pub patience: Duration,
    /// How long a session that failed is tried again, from its failure on; not at all when it is zero. Where it is
    /// longer than `patience` it counts for that too.
    pub retry: Duration,
    /// Who is told of each step.
    pub notice: Notice,
}

impl Moving {
    /// Whether a session that fails is tried again.
    pub(super) const fn comes_back(&self) -> bool {
        !self.retry.is_zero()
    }

    /// How long one goes on after the end of a session that said GOAWAY.
    pub(super) fn longest(&self) -> Duration {
        self.patience.max(self.retry)
    }
}

impl Default for Moving {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            retry: Duration::ZERO,
            notice: Notice::default(),
        }
    }
}

/// What becomes of a client's session.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// It goes on at this URI, because its relay asked for it.
    Moved(&'a str),
    /// It failed, and another one is tried.
    Lost {
        /// Where it was.
        at: &'a str,
        /// Why it failed.
        why: &'a str,
    },
    /// The subscription failed, and it is asked for again.
    TrackLost {
        /// Why it failed.
        why: &'a str,
    },
    /// It goes on where it was.
    Back {
        /// Where that is.
        at: &'a str,
        /// How long after the failure, as far as one knows.
        after: Duration,
    },
}

/// Called with each step.
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(Step<'_>) + Send + Sync>);

impl Notice {
    /// Calls `told` at each step, on the client's arbiter.
    pub fn new(told: impl Fn(Step<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(super) fn tell(&self, step: Step<'_>) {
        (self.0)(step);
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
        if uri.is_empty() {
            return Ok(Self::back(from));
        }
        let text = String::from_utf8_lossy(uri);
        match text.parse() {
            Ok(url) => Ok(Self {
                url: Some(url),
                from: from.clone(),
            }),
            Err(error) => Err(ClientError::Elsewhere {
                uri: text.chars().take(200).collect(),
                why: error.to_string(),
            }),
        }
    }

    /// Back to where a session with `from` was. Its name is looked up again, since it may lead elsewhere by now.
    pub(super) fn back(from: &Target) -> Self {
        Self {
            url: format!("moqt://{}{}", from.authority, from.path).parse().ok(),
            from: from.clone(),
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
}
