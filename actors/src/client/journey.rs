//! From a session that ends, fails or falls silent to the next one, whatever the session is for.

use super::again::Tries;
use super::connect::{ClientError, Ended, Target};
use super::moving::{Moving, Step, Way};
use super::silence;
use crate::transport::ConnHandle;
use bytes::Bytes;
use slog::{Logger, info};
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Why a session is to be left.
#[derive(Debug)]
pub(super) enum Departure {
    /// The relay wants us to go there.
    Asked(Bytes),
    /// It is over.
    Over(Ended),
}

/// What a session's owner can wait for.
pub(super) trait Fate {
    /// Resolves when the session is to be left.
    fn left(&self) -> impl Future<Output = Departure>;
    /// Resolves when it is over.
    fn over(&self) -> impl Future<Output = ()>;
}

/// The next session.
#[derive(Debug)]
pub(super) struct Next<T> {
    pub(super) there: T,
    /// Where it is, for a person.
    pub(super) name: String,
    /// When the session before failed, as far as one knows; none when its relay asked to leave it.
    pub(super) lost: Option<Instant>,
    /// The session before is only suspected to be over, and may still deliver.
    pub(super) suspected: bool,
}

impl<T> Next<T> {
    /// What a person is told of it.
    pub(super) fn step(&self) -> Step<'_> {
        match self.lost {
            // MOQT-14 §8.3.1 [D14-GOAWAY-5]
            None => Step::Moved(&self.name),
            Some(noticed) => Step::Back {
                at: &self.name,
                after: noticed.elapsed(),
            },
        }
    }
}

/// Why a session is left that never ended.
pub(super) const SILENT: &str = "the relay fell silent";

/// The way from one session to the next.
#[derive(Clone, Debug)]
pub(super) struct Journey<'a> {
    pub(super) moving: &'a Moving,
    pub(super) tries: &'a Tries,
    /// Where the session is, and its connection.
    pub(super) from: &'a Target,
    pub(super) conn: &'a ConnHandle,
    pub(super) log: &'a Logger,
}

impl Journey<'_> {
    /// The next session, which `arrive` makes: one that succeeds, or fails in a way that lasts. None when the one of now
    /// ends for good.
    pub(super) async fn next<T>(
        &self,
        fate: &impl Fate,
        arrive: impl AsyncFn(&Way) -> Result<T, ClientError>,
    ) -> Result<Option<Next<T>>, ClientError> {
        let comes_back = self.moving.comes_back();
        loop {
            tokio::select! {
                biased;
                departure = fate.left() => return match departure {
                    Departure::Asked(uri) => self.move_to(&uri, fate, arrive).await.map(Some),
                    Departure::Over(ended) if comes_back && ended.may_come_back() => {
                        let name = Way::back(self.from).name();
                        let (at, why) = (name.as_str(), ended.why.as_str());
                        self.moving.notice.tell(Step::Lost { at, why });
                        self.retry(why, arrive).await.map(Some)
                    }
                    Departure::Over(_) => Ok(None),
                },
                () = silence::suspected(self.conn), if comes_back => {
                    if let Some(next) = self.look_beside(fate, &arrive).await? {
                        return Ok(Some(next));
                    }
                }
            }
        }
    }

    /// After GOAWAY.
    async fn move_to<T>(
        &self,
        uri: &[u8],
        fate: &impl Fate,
        arrive: impl AsyncFn(&Way) -> Result<T, ClientError>,
    ) -> Result<Next<T>, ClientError> {
        let way = Way::to(uri, self.from)?;
        let limit = async {
            fate.over().await;
            tokio::time::sleep(self.moving.longest()).await;
        };
        let there = self.tries.within(limit, arrive(&way)).await?;
        let (name, lost, suspected) = (way.name(), None, false);
        Ok(Next {
            there,
            name,
            lost,
            suspected,
        })
    }

    /// Where it was, after a failure.
    pub(super) async fn retry<T>(
        &self,
        why: &str,
        arrive: impl AsyncFn(&Way) -> Result<T, ClientError>,
    ) -> Result<Next<T>, ClientError> {
        let (since, noticed) = (self.tries.failed(), Instant::now());
        let way = Way::back(self.from);
        let trying = async {
            tokio::time::sleep(self.tries.pause()).await;
            arrive(&way).await
        };
        let limit = tokio::time::sleep_until(since + self.moving.retry);
        let there = self.tries.within(limit, trying).await;
        let there = there.map_err(|error| given_up(error, why, since))?;
        let (name, lost, suspected) = (way.name(), Some(noticed), false);
        Ok(Next {
            there,
            name,
            lost,
            suspected,
        })
    }

    /// Beside a session that is silent and may be over; none when it is not, after all.
    async fn look_beside<T>(
        &self,
        fate: &impl Fate,
        arrive: &impl AsyncFn(&Way) -> Result<T, ClientError>,
    ) -> Result<Option<Next<T>>, ClientError> {
        info!(self.log, "the relay is silent; looking for another session");
        let unanswered = self.conn.stats().unanswered_since();
        let lost = Some(unanswered.map_or_else(Instant::now, Instant::from_std));
        let way = Way::back(self.from);
        let name = way.name();
        let (over, is_over) = (Cell::new(None), Cell::new(false));
        let limit = async {
            let ended = match fate.left().await {
                Departure::Over(ended) if ended.may_come_back() => ended,
                // Who says so speaks, and that is heard.
                Departure::Over(_) | Departure::Asked(_) => return std::future::pending().await,
            };
            let since = self.tries.failed();
            let (at, why) = (name.as_str(), ended.why.as_str());
            self.moving.notice.tell(Step::Lost { at, why });
            is_over.set(true);
            over.set(Some((ended, since)));
            tokio::time::sleep_until(since + self.moving.retry).await;
        };
        let heard = async {
            silence::heard_again(self.conn).await;
            // Its last words change nothing.
            if is_over.get() {
                std::future::pending::<()>().await;
            }
        };
        let arrived = tokio::select! {
            biased;
            // From then on it says itself what becomes of it.
            () = heard => return Ok(None),
            arrived = self.tries.within(limit, arrive(&way)) => arrived,
        };
        match (over.take(), arrived) {
            (Some((ended, since)), Err(error)) => Err(given_up(error, &ended.why, since)),
            (Some(_), Ok(there)) => Ok(Some(Next {
                there,
                name,
                lost,
                suspected: false,
            })),
            (None, Ok(there)) => {
                let (at, why) = (name.as_str(), SILENT);
                self.moving.notice.tell(Step::Lost { at, why });
                Ok(Some(Next {
                    there,
                    name,
                    lost,
                    suspected: true,
                }))
            }
            // What stands in the way of another session does not end this one.
            (None, Err(error)) => {
                info!(self.log, "no other session can be had"; "error" => %error);
                tokio::select! {
                    () = silence::heard_again(self.conn) => {}
                    _ = fate.left() => {}
                }
                Ok(None)
            }
        }
    }
}

/// No other session came about after one that failed.
fn given_up(error: ClientError, why: &str, since: Instant) -> ClientError {
    if matches!(error, ClientError::NotLetIn(_) | ClientError::Rejected(_)) && error.is_lasting() {
        return error;
    }
    ClientError::Lost {
        why: why.to_owned(),
        // Whole seconds are what a person counts in.
        tried: Duration::from_secs((since.elapsed() + Duration::from_millis(500)).as_secs()),
        last: Arc::new(error),
    }
}
