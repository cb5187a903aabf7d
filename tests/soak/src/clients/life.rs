//! One life of a client: it comes, asks for things at random, and goes.

use super::feed;
use super::link::{Link, Reading};
use super::names::{any_namespace, any_subscription, any_track, is_of_datagrams, namespace, request};
use crate::Failure;
use crate::judge::SLOW_SHARE;
use crate::rng::Rng;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, Namespace, Publish,
    RequestId, SubscribeUpdate,
};
use laps_protocol::moqt::object::TrackAlias;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Namespaces of one storm.
const STORM: u64 = 200;

/// What is still open in a life, to be changed or ended later in it.
#[derive(Default)]
struct Open {
    subscriptions: Vec<RequestId>,
    feeds: JoinSet<()>,
    next_alias: TrackAlias,
}

/// Lives once. An error means that the relay, or the network, ended it.
pub(crate) async fn live(to: SocketAddr, rng: &mut Rng) -> Result<(), Failure> {
    let reading = match rng.below(2 * SLOW_SHARE) {
        0 => Reading::Nothing,
        1 => Reading::Slowly,
        _ => Reading::All,
    };
    let mut link = Link::connect(to, reading, rng).await?;
    let mut open = Open {
        // Far from the aliases of what the relay subscribes to.
        next_alias: 1 << 20,
        ..Open::default()
    };
    let publishes = rng.one_in(3);
    for _ in 0..=rng.below(12) {
        if publishes {
            offer(&mut link, &mut open, rng)?;
        } else {
            ask(&mut link, &mut open, rng)?;
        }
        sleep(Duration::from_millis(rng.below(400))).await;
    }
    if rng.one_in(2) {
        link.conn.close(0, "that was it");
        // The close frame is on its way before the endpoint is dropped.
        sleep(Duration::from_millis(20)).await;
    }
    // The others just go.
    Ok(())
}

/// Does something that a publisher does.
fn offer(link: &mut Link, open: &mut Open, rng: &mut Rng) -> Result<(), Failure> {
    match rng.below(8) {
        0..=2 => {
            let announced = request(any_namespace(rng)?);
            link.request(|id| ControlMessage::PublishNamespace(id, announced))?;
        }
        3 => {
            let namespace = any_namespace(rng)?;
            link.say(ControlMessage::PublishNamespaceDone(Namespace { namespace }))?;
        }
        4 | 5 => publish(link, open, rng)?,
        6 => storm(link, rng)?,
        _ => ask(link, open, rng)?,
    }
    Ok(())
}

fn publish(link: &mut Link, open: &mut Open, rng: &mut Rng) -> Result<(), Failure> {
    open.next_alias += 1;
    let (alias, track) = (open.next_alias, any_track(rng)?);
    let datagrams = is_of_datagrams(&track);
    link.request(|id| {
        let publish = Publish {
            track,
            alias,
            group_order: GroupOrder::Ascending,
            largest: None,
            forward: true,
            params: MessageParams::default(),
        };
        ControlMessage::Publish(id, publish)
    })?;
    let (conn, rng) = (link.conn.clone(), Rng::new(rng.next()));
    open.feeds
        .spawn_local(async move { drop(feed::feed(conn, alias, datagrams, rng).await) });
    Ok(())
}

/// Many namespaces at once, half of which go again at once.
fn storm(link: &mut Link, rng: &mut Rng) -> Result<(), Failure> {
    let storm = rng.next().to_string();
    for number in 0..STORM {
        let namespace = namespace(&["soak", "storm", &storm, &number.to_string()])?;
        let announced = request(namespace.clone());
        link.request(|id| ControlMessage::PublishNamespace(id, announced))?;
        if rng.one_in(2) {
            link.say(ControlMessage::PublishNamespaceDone(Namespace { namespace }))?;
        }
    }
    Ok(())
}

/// Does something that a subscriber does.
fn ask(link: &mut Link, open: &mut Open, rng: &mut Rng) -> Result<(), Failure> {
    let some = usize::try_from(rng.below(open.subscriptions.len() as u64))?;
    let known = open.subscriptions.get(some).copied();
    match (rng.below(12), known) {
        (0, _) => {
            let (status, kept) = (any_subscription(rng)?, rng.one_in(2));
            link.request(|id| ControlMessage::TrackStatus(id, status))?;
            if kept {
                let prefix = request(namespace(&["soak"])?);
                link.request(|id| ControlMessage::SubscribeNamespace(id, prefix))?;
            }
        }
        (1, _) => {
            let prefix = request(any_namespace(rng)?);
            link.request(|id| ControlMessage::SubscribeNamespace(id, prefix))?;
        }
        (2, _) => {
            let namespace = any_namespace(rng)?;
            link.say(ControlMessage::UnsubscribeNamespace(Namespace { namespace }))?;
        }
        (3 | 4, _) => {
            let back = rng.below(8);
            let range = FetchRange::Standalone {
                track: any_track(rng)?,
                start: Location::new(feed::group_now().saturating_sub(back), 0),
                end: Location::new(feed::group_now(), 0),
            };
            fetch(link, range)?;
        }
        (5, Some(subscription)) => {
            let groups = rng.below(3);
            fetch(link, FetchRange::RelativeJoining { subscription, groups })?;
        }
        (6, Some(subscription)) => {
            let update = SubscribeUpdate {
                subscription,
                start: Location::new(feed::group_now() + 10, 0),
                end_group: None,
                priority: 7,
                forward: rng.one_in(2),
                params: MessageParams::default(),
            };
            link.request(|id| ControlMessage::SubscribeUpdate(id, update))?;
        }
        (7, Some(subscription)) => {
            open.subscriptions.swap_remove(some);
            link.say(ControlMessage::Unsubscribe(subscription))?;
        }
        _ => {
            let subscription = any_subscription(rng)?;
            open.subscriptions
                .push(link.request(|id| ControlMessage::Subscribe(id, subscription))?);
        }
    }
    Ok(())
}

fn fetch(link: &mut Link, range: FetchRange) -> Result<(), Failure> {
    let fetch = Fetch {
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        range,
        params: MessageParams::default(),
    };
    link.request(|id| ControlMessage::Fetch(id, fetch))?;
    Ok(())
}
