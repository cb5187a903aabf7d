//! What one of each thing costs a relay that has many of them: where the constants of the bound come from.

use crate::Failure;
use crate::clients::names::{namespace, request};
use crate::clients::{Link, Reading};
use crate::relay::{Census, Relay};
use crate::rng::Rng;
use bytes::Bytes;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, Publish, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use structopt::StructOpt;
use tokio::time::sleep;

/// What is measured.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Options {
    /// How many of each
    #[structopt(long, default_value = "1000")]
    many: u64,
    /// The `laps` that is measured; else the one beside this program
    #[structopt(long)]
    relay: Option<PathBuf>,
}

/// Measures, and prints what one of each costs.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let beside = || std::env::current_exe().map(|me| me.with_file_name("laps"));
    let program = options.relay.clone().map_or_else(beside, Ok)?;
    let mut alone = 0;
    for shards in [1, 2] {
        let env = [("LAPS_WORKERS__THREADS", shards.to_string())];
        let mut relay = Relay::start(&program, &env).await?;
        sleep(Duration::from_secs(1)).await;
        let rss = relay.census().await?.held.rss_bytes;
        say(&format!("idle with {shards} shard(s): {} KiB", rss >> 10))?;
        if shards == 2 {
            say(&format!("  a shard: {} KiB", rss.saturating_sub(alone) >> 10))?;
        }
        alone = rss;
        relay.end().await?;
    }
    let env = [
        ("LAPS_WORKERS__THREADS", "1".to_owned()),
        ("LAPS_LOGGING__LEVEL", "error".to_owned()),
    ];
    let mut relay = Relay::start(&program, &env).await?;
    sleep(Duration::from_secs(1)).await;
    let mut before = relay.census().await?;
    let mut rng = Rng::new(1);
    let mut links = Vec::new();
    for _ in 0..options.many {
        links.push(Link::connect(relay.addr(), Reading::All, &mut rng).await?);
    }
    before = step(&mut relay, before, "connection", "session_actors", options.many).await?;
    let track = |name: u64| {
        let name = Bytes::from(name.to_string());
        Ok::<_, Failure>(FullTrackName::new(namespace(&["measured"])?, name)?)
    };
    let publisher = links.first_mut().ok_or("no connection")?;
    for number in 0..options.many {
        let track = track(number)?;
        publisher.request(|id| {
            let publish = Publish {
                track,
                alias: number,
                group_order: GroupOrder::Ascending,
                largest: None,
                forward: true,
                params: MessageParams::default(),
            };
            ControlMessage::Publish(id, publish)
        })?;
    }
    before = step(&mut relay, before, "track", "track_actors", options.many).await?;
    for link in &mut links {
        let track = track(0)?;
        link.request(|id| {
            let subscribe = Subscribe {
                track,
                priority: 128,
                group_order: GroupOrderRequest::Publisher,
                forward: true,
                filter: SubscribeFilter::LargestObject,
                params: MessageParams::default(),
            };
            ControlMessage::Subscribe(id, subscribe)
        })?;
    }
    before = step(
        &mut relay,
        before,
        "subscription",
        "subscription_actors",
        options.many,
    )
    .await?;
    for (number, link) in links.iter_mut().enumerate() {
        let announced = request(namespace(&["announced", &number.to_string()])?);
        link.request(|id| ControlMessage::PublishNamespace(id, announced))?;
    }
    before = step(&mut relay, before, "namespace", "announce_actors", options.many).await?;
    for (number, link) in links.iter_mut().enumerate() {
        let watched = request(namespace(&["watched", &number.to_string()])?);
        link.request(|id| ControlMessage::SubscribeNamespace(id, watched))?;
    }
    step(
        &mut relay,
        before,
        "watched prefix",
        "namespace_actors",
        options.many,
    )
    .await?;
    drop(links);
    relay.end().await?;
    Ok(())
}

/// Waits until there are so many, and says what one of them cost.
async fn step(
    relay: &mut Relay,
    before: Census,
    what: &str,
    table: &str,
    many: u64,
) -> Result<Census, Failure> {
    let mut census = relay.census().await?;
    for _ in 0..300 {
        if census.sum(&[table]) >= many {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        census = relay.census().await?;
    }
    let there = census.sum(&[table]);
    if there < many {
        return Err(format!("only {there} of {many}: {what}").into());
    }
    sleep(Duration::from_secs(1)).await;
    let after = relay.census().await?;
    let grown = after.held.rss_bytes.saturating_sub(before.held.rss_bytes);
    say(&format!("{what}: {} bytes each, of {many}", grown / many))?;
    Ok(after)
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
