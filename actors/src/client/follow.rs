//! The task that waits for GOAWAY and makes the next session of a subscriber, with what is left of its subscription.

use super::connect::{ClientError, Options};
use super::item::Wanted;
use super::link::Link;
use super::moving::{self, Way};
use crate::shard::Env;
use crate::track::TrackGone;
use actix_rt::task::JoinHandle;
use laps_protocol::moqt::filter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use std::cell::RefCell;
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

/// Nothing more comes, wherever one asks.
pub(super) fn is_final(gone: &TrackGone, remainder: &Remainder) -> bool {
    let ends = matches!(
        remainder.borrow().as_ref().map(|wanted| &wanted.filter),
        Some(SubscribeFilter::AbsoluteRange { .. })
    );
    gone.status == PublishDoneStatus::TrackEnded
        || ends && gone.status == PublishDoneStatus::SubscriptionEnded
}

/// The next session.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) link: Link,
    /// Where it is, for a person.
    pub(super) name: String,
    /// The largest place that existed there before; none also when nothing was to be subscribed.
    pub(super) largest: Option<Location>,
}

/// How it went.
#[derive(Debug, Default)]
enum Found {
    #[default]
    Nothing,
    There(Box<Arrived>),
    Stranded(ClientError),
}

#[derive(Debug, Default)]
struct Shared {
    found: RefCell<Found>,
    news: Notify,
}

/// Follows one session. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Follower {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Waits for the GOAWAY of `link`.
    pub(super) fn start(options: Options, env: Env, link: &Link, remainder: Remainder) -> Self {
        let shared = Rc::<Shared>::default();
        let (found, watch, from) = (Rc::clone(&shared), link.watch(), link.target().clone());
        let task = actix_rt::spawn(async move {
            let Some(uri) = watch.asked_away().await else {
                return;
            };
            let arrived = async {
                let way = Way::to(&uri, &from)?;
                let spare = RefCell::new(None);
                moving::keep_trying(options.moving.patience, watch.over(), || {
                    arrive(&options, &env, &way, &remainder, &spare)
                })
                .await
            };
            *found.found.borrow_mut() = match arrived.await {
                Ok(arrived) => Found::There(Box::new(arrived)),
                Err(error) => Found::Stranded(error),
            };
            found.news.notify_one();
        });
        Self { shared, task }
    }

    /// The next session, once.
    pub(super) fn take(&self) -> Option<Result<Arrived, ClientError>> {
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

/// One attempt. A session whose relay refuses the track for now is kept in `spare` for the next one.
async fn arrive(
    options: &Options,
    env: &Env,
    way: &Way,
    remainder: &Remainder,
    spare: &RefCell<Option<Link>>,
) -> Result<Arrived, ClientError> {
    let kept = spare.take();
    let mut link = match kept {
        Some(link) => link,
        None => {
            way.connect(|target| async move { Link::connect(env, options, &target).await })
                .await?
        }
    };
    let wanted = remainder.borrow().clone();
    let largest = match wanted {
        None => None,
        Some(wanted) => match link.subscribe(wanted).await {
            Ok((largest, _)) => largest,
            Err(error) => {
                if matches!(error, ClientError::Rejected(_)) {
                    spare.replace(Some(link));
                }
                return Err(error);
            }
        },
    };
    let name = way.name();
    Ok(Arrived { link, name, largest })
}
