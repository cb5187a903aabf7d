//! The rest of a track that has ended: who goes on taking it gets all of it, however long that takes, and who stands still is
//! let go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::race::small;
use common::raw::{Raw, Reading, raw};
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// How long a reader may stand still.
const STILL: Duration = Duration::from_secs(1);
/// Groups, one object each, and bytes of one: far more than a connection takes of which nothing is read.
const GROUPS: u64 = 20;
const BYTES: usize = 50_000;
/// The slow one takes so many pieces, of a packet each, in this: all of them in several times what one that stands still has.
const PACE: Duration = Duration::from_millis(100);
const PIECES: usize = 8;
/// DELIVERY_TIMEOUT among the reset codes. MOQT-14 §10.4.3
const LATE: u64 = 2;

/// D14-SUB-19 D14-SUB-20 D14-CLOSE-1
#[test]
fn who_goes_on_taking_gets_all_and_who_stands_still_is_let_go() {
    run(async || {
        let mut settings = settings(1);
        settings.session.drain_still = STILL;
        settings.transport.send_buffer = 16 << 10;
        let relay = relay(settings).await;
        let name = track("drain", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut slow = Raw::connect(&relay, Reading::Slowly, small()).await;
        let slow_id = slow.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let slow_alias = slow.answer(slow_id).await.unwrap().alias;
        let mut still = Raw::connect(&relay, Reading::Later, small()).await;
        let (still_id, _) = still.subscribed(&name, NEWEST).await;
        for group in 0..GROUPS {
            let mut stream = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            stream.object(0, &vec![1; BYTES]).await;
            stream.fin();
        }
        let ended = PublishDoneStatus::TrackEnded;
        let began = Instant::now();
        publisher.publish_done(upstream, ended, Some(GROUPS)).await;
        let slow = actix_rt::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            loop {
                tokio::select! {
                    biased;
                    done = slow.done(slow_id) => return (done, slow),
                    _ = pace.tick() => slow.take_pieces(PIECES),
                }
            }
        });
        let done = still.done(still_id).await;
        assert_eq!(done.status, ended);
        let count = usize::try_from(done.stream_count.unwrap()).unwrap();
        still.until_held(count).await;
        still.read_held();
        let mut late = 0;
        for number in 0..count {
            late += usize::from(still.ended(number).await == Some(LATE));
        }
        assert!(late > 0, "of {count}");
        let (done, mut slow) = slow.await.unwrap();
        assert_eq!((done.status, done.stream_count), (ended, Some(GROUPS)));
        assert!(began.elapsed() > 2 * STILL, "{:?}", began.elapsed());
        slow.take_pieces(Semaphore::MAX_PERMITS / 2);
        let all: Vec<_> = (0..GROUPS).map(|group| (group, 0)).collect();
        let got = slow.until_objects(slow_alias, all.len()).await;
        assert_eq!(got, all);
        for number in 0..all.len() {
            assert_eq!(slow.ended(number).await, None);
        }
    });
}
