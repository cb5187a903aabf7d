//! Trying again: when, how often, and for how long.

use super::connect::ClientError;
use crate::supervise::{Backoff, Decision, Exit, Intensity, Restart, Supervisor};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// A relay that comes back is found within a second; a fifth of each pause is left to chance, so that its clients do not
/// come all at once.
const BACKOFF: Backoff = Backoff {
    at_once: 0,
    first: Duration::from_millis(100),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};
/// How long one attempt to connect may take. Each is begun beside those before it, since the packets of one that found
/// nobody are repeated ever more rarely; so fewer than ten are under way.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A session that lasts so long has come back: what happens to it then is another failure.
const QUIET: Duration = Duration::from_secs(5);

/// The supervisor of a client's session: its child is the session of now, which is permanent.
#[derive(Debug)]
pub(super) struct Tries {
    supervisor: RefCell<Supervisor>,
    /// Since when the session fails, and when it was there last.
    failing: Cell<Option<Instant>>,
    back: Cell<Option<Instant>>,
    /// Why the last attempt failed.
    fault: RefCell<Option<ClientError>>,
}

impl Tries {
    pub(super) fn new() -> Self {
        let seed = rand::random();
        Self {
            supervisor: RefCell::new(Supervisor::new(
                Restart::Permanent,
                Intensity::UNLIMITED,
                BACKOFF,
                seed,
            )),
            failing: Cell::new(None),
            back: Cell::new(None),
            fault: RefCell::default(),
        }
    }

    /// The session failed; gives since when it does. One that fails again and again is given no more time than one that
    /// does not come back.
    pub(super) fn failed(&self) -> Instant {
        let now = Instant::now();
        let lasted = self.back.take().is_none_or(|back| now >= back + QUIET);
        let since = self.failing.get().filter(|_| !lasted).unwrap_or(now);
        self.failing.set(Some(since));
        since
    }

    /// The session is there again.
    pub(super) fn succeeded(&self) {
        self.back.set(Some(Instant::now()));
        self.fault.take();
    }

    /// How long to wait before the next attempt.
    pub(super) fn pause(&self) -> Duration {
        let now = Instant::now().into_std();
        match self.supervisor.borrow_mut().child_down(now, Exit::Normal) {
            Decision::Restart { after } => after,
            // A permanent child without a limit always comes back.
            Decision::GiveUp | Decision::Forget => BACKOFF.max,
        }
    }

    /// An attempt failed.
    pub(super) fn note(&self, fault: ClientError) {
        self.fault.replace(Some(fault));
    }

    /// Why the last attempt failed.
    pub(super) fn take_fault(&self) -> ClientError {
        self.fault.take().unwrap_or(ClientError::Timeout)
    }

    /// Begins one attempt after the other until one succeeds, or fails in a way that lasts.
    pub(super) async fn race<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut under_way = FuturesUnordered::new();
        loop {
            under_way.push(tokio::time::timeout(ATTEMPT, attempt()));
            let mut pause = std::pin::pin!(tokio::time::sleep(self.pause()));
            loop {
                tokio::select! {
                    Some(done) = under_way.next() => match done {
                        Ok(Ok(done)) => return Ok(done),
                        Ok(Err(error)) if error.is_lasting() => return Err(error),
                        Ok(Err(error)) => self.note(error),
                        Err(_) => self.note(ClientError::Timeout),
                    },
                    () = &mut pause => break,
                }
            }
        }
    }

    /// What `trying` comes to, unless `limit` comes first.
    pub(super) async fn within<T>(
        &self,
        limit: impl Future<Output = ()>,
        trying: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::select! {
            done = trying => done,
            () = limit => Err(self.take_fault()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ConnectError;
    use std::net::SocketAddr;

    const SECOND: Duration = Duration::from_secs(1);

    /// Attempts that nobody answers: when each began.
    async fn unanswered(tries: &Tries, limit: Duration) -> Vec<Duration> {
        let begun = Instant::now();
        let mut at = Vec::new();
        let raced = tries.race(|| {
            at.push(begun.elapsed());
            std::future::pending::<Result<(), _>>()
        });
        let ended = tries.within(tokio::time::sleep(limit), raced).await;
        assert!(matches!(ended, Err(ClientError::Timeout)));
        at
    }

    #[actix_rt::test]
    async fn attempts_come_ever_more_rarely_but_each_second() {
        tokio::time::pause();
        let at = unanswered(&Tries::new(), 20 * SECOND).await;
        let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (number, pause) in pauses.iter().enumerate() {
            let full = Duration::from_millis(100 << number.min(4)).min(SECOND);
            assert!(*pause <= full + Duration::from_millis(2), "{number}: {pauses:?}");
            assert!(*pause >= full * 4 / 5, "{number}: {pauses:?}");
        }
        assert!(pauses.len() > 20, "{pauses:?}");
    }

    #[actix_rt::test]
    async fn a_later_attempt_may_succeed_before_an_earlier_one() {
        tokio::time::pause();
        let mut begun = 0;
        let tries = Tries::new();
        let done = tries.race(|| {
            begun += 1;
            let number = begun;
            async move {
                if number < 3 {
                    std::future::pending::<()>().await;
                }
                Ok(number)
            }
        });
        assert_eq!(done.await.unwrap(), 3);
    }

    #[actix_rt::test]
    async fn what_lasts_ends_the_tries() {
        tokio::time::pause();
        let addr = SocketAddr::from(([127, 0, 0, 1], 7));
        let mut begun = 0;
        let tries = Tries::new();
        let done = tries.race(|| {
            begun += 1;
            let number = begun;
            async move {
                let refused = ConnectError::Refused { addr };
                let fault = ConnectError::NoCommonProtocol {
                    addr,
                    offered: String::new(),
                };
                Err::<(), _>(ClientError::Connect(if number < 4 { refused } else { fault }))
            }
        });
        let error = done.await.unwrap_err();
        assert!(
            matches!(error, ClientError::Connect(ConnectError::NoCommonProtocol { .. })),
            "{error}"
        );
        assert_eq!(begun, 4);
    }

    #[actix_rt::test]
    async fn a_session_that_fails_at_once_again_has_not_come_back() {
        tokio::time::pause();
        let tries = Tries::new();
        let first = tries.failed();
        tokio::time::advance(SECOND).await;
        tries.succeeded();
        tokio::time::advance(SECOND).await;
        assert_eq!(tries.failed(), first);
        tries.succeeded();
        tokio::time::advance(QUIET).await;
        assert_eq!(tries.failed(), Instant::now());
    }
}
