//! The task that waits for the end of a subscriber's session, or for GOAWAY, and makes the next one with what is left of
//! its subscription.

use super::again::Tries;
use super::connect::{ClientError, Options};
use super::item::Wanted;
use super::journey::{Journey, Next};
use super::link::Link;
use super::moving::{Step, Way};
use crate::shard::Env;
use crate::track::TrackGone;
use actix_rt::task::JoinHandle;
use laps_protocol::moqt::filter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::Notify;

/// What is subscribed, as far as it is still to come; shared with the task.
pub(super) type Remainder = Rc<RefCell<Option<Wanted>>>;

/// What is left of a filter once it was worked out, as a filter for another relay. MOQT-14 §9.7 [D14-SUB-3]
pub(super) fn remainder(wanted: &SubscribeFilter, largest: Option<Location>) -> SubscribeFilter {
    match filter::resolve(wanted, largest) {
        Ok(filter) => match filter.end_group {
            Some(end_group) => SubscribeFilter::AbsoluteRange {
                start: filter.start,
                end_group,
            },
            None => SubscribeFilter::AbsoluteStart(filter.start),
        },
        // The relay accepted it all the same.
        Err(_) => *wanted,
    }
}

/// The subscription ended, and asking again may bring more: what the relay or its publisher failed at, or a publisher
/// that is elsewhere now. MOQT-14 §9.12 [D14-SUB-30]
pub(super) const fn may_come_back(gone: &TrackGone) -> bool {
    matches!(
        gone.status,
        PublishDoneStatus::InternalError | PublishDoneStatus::GoingAway | PublishDoneStatus::Unknown(_)
    )
}

/// Nothing more comes, wherever one asks.
pub(super) fn is_final(gone: &TrackGone, remainder: &Remainder) -> bool {
    let ends = matches!(
        remainder.borrow().as_ref().map(|wanted| &wanted.filter),
        Some(SubscribeFilter::AbsoluteRange { .. })
    );
    gone.status == PublishDoneStatus::TrackEnded
        || ends && gone.status == PublishDoneStatus::SubscriptionEnded
}

/// The next session's subscription.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) link: Link,
    /// The largest place that existed there before; none also when nothing was to be subscribed.
    pub(super) largest: Option<Location>,
}

/// How it went.
#[derive(Debug, Default)]
enum Found {
    #[default]
    Nothing,
    There(Box<Next<Arrived>>),
    Stranded(ClientError),
}

#[derive(Debug, Default)]
struct Shared {
    found: RefCell<Found>,
    news: Notify,
    /// The subscription of this session failed, and it is to be asked again.
    failed: RefCell<Option<(Link, TrackGone)>>,
    has_failed: Notify,
}

/// Follows one session. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Follower {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Waits until `link` is to be left.
    pub(super) fn start(
        options: Options,
        env: Env,
        tries: Rc<Tries>,
        link: &Link,
        remainder: Remainder,
    ) -> Self {
        let shared = Rc::<Shared>::default();
        let (found, watch) = (Rc::clone(&shared), link.watch());
        let (from, conn) = (link.target().clone(), link.conn().clone());
        let task = actix_rt::spawn(async move {
            let trip = Trip {
                options: &options,
                env: &env,
                tries: &tries,
                remainder: &remainder,
            };
            let journey = Journey {
                moving: &options.moving,
                tries: &tries,
                from: &from,
                conn: &conn,
                log: &options.log,
            };
            let result = tokio::select! {
                next = journey.next(&watch, async |way| trip.arrive(way, None).await) => next,
                (link, gone) = found.subscription_failed() => {
                    let why = format!("{:?}: {}", gone.status, String::from_utf8_lossy(&gone.phrase));
                    options.moving.notice.tell(Step::TrackLost { why: &why });
                    let spare = Cell::new(Some(link));
                    journey.retry(&why, async |way| trip.arrive(way, spare.take()).await).await.map(Some)
                }
            };
            *found.found.borrow_mut() = match result {
                Ok(None) => return,
                Ok(Some(next)) => Found::There(Box::new(next)),
                Err(error) => Found::Stranded(error),
            };
            found.news.notify_one();
        });
        Self { shared, task }
    }

    /// The subscription ended as `gone` says; `link`, the same session, asks again.
    pub(super) fn subscription_failed(&self, link: Link, gone: TrackGone) {
        self.shared.failed.replace(Some((link, gone)));
        self.shared.has_failed.notify_one();
    }

    /// The next session, once.
    pub(super) fn take(&self) -> Option<Result<Next<Arrived>, ClientError>> {
        match self.shared.found.take() {
            Found::Nothing => None,
            Found::There(arrived) => Some(Ok(*arrived)),
            Found::Stranded(error) => Some(Err(error)),
        }
    }

    /// Resolves when [`Follower::take`] may have something.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn subscription_failed(&self) -> (Link, TrackGone) {
        loop {
            self.has_failed.notified().await;
            if let Some(failed) = self.failed.take() {
                return failed;
            }
        }
    }
}

/// What one makes the next session with.
struct Trip<'a> {
    options: &'a Options,
    env: &'a Env,
    tries: &'a Tries,
    remainder: &'a Remainder,
}

impl Trip<'_> {
    /// A session at `way`, or `spare`, with what is left of the subscription.
    async fn arrive(&self, way: &Way, mut spare: Option<Link>) -> Result<Arrived, ClientError> {
        let (env, options) = (self.env, self.options);
        let connect = || way.connect(|target| async move { Link::connect(env, options, &target).await });
        loop {
            let mut link = match spare.take() {
                Some(link) => link,
                None => self.tries.race(connect).await?,
            };
            let wanted = self.remainder.borrow().clone();
            let answer = match wanted {
                None => Ok(None),
                Some(wanted) => link.subscribe_awake(wanted).await.map(|(largest, _)| largest),
            };
            match answer {
                Ok(largest) => {
                    self.tries.succeeded();
                    return Ok(Arrived { link, largest });
                }
                Err(error) if error.is_lasting() => return Err(error),
                Err(error) => {
                    // Its publisher may come.
                    spare = Some(link).filter(|_| matches!(error, ClientError::Rejected(_)));
                    self.tries.note(error);
                }
            }
            tokio::time::sleep(self.tries.pause()).await;
        }
    }
}
