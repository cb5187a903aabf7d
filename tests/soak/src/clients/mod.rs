//! A process of clients that come and go: each slot lives one life after the other, until standard input ends.

mod feed;
mod life;
mod link;
pub(crate) mod names;

pub(crate) use link::{Link, Reading};

use crate::Failure;
use crate::rng::Rng;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

/// Between two lives of a slot whose last one failed at once: a relay that is busy is not to be hammered.
const PAUSE: Duration = Duration::from_millis(50);

/// Lives until standard input ends. What clients are refused or lose is part of their lives, and no failure.
pub(crate) async fn run(to: SocketAddr, seed: u64, count: usize) -> Result<(), Failure> {
    let mut seeds = Rng::new(seed);
    let mut slots = JoinSet::new();
    for _ in 0..count {
        let mut rng = Rng::new(seeds.next());
        slots.spawn_local(async move {
            loop {
                if life::live(to, &mut rng).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    told_to_end().await?;
    // Some are in the middle of a group; whoever is left has no time to say goodbye.
    slots.shutdown().await;
    Ok(())
}

/// One client that does nothing but be there, until standard input ends.
pub(crate) async fn stay(to: SocketAddr) -> Result<(), Failure> {
    // A relay that is overloaded turns newcomers away.
    let link = loop {
        match Link::connect(to, Reading::All, &mut Rng::new(0)).await {
            Ok(link) => break link,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    told_to_end().await?;
    drop(link);
    Ok(())
}

async fn told_to_end() -> Result<(), Failure> {
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    Ok(())
}
