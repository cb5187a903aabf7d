use super::*;
use crate::client::Options;
use crate::client::connect::Node;
use crate::client::tether::Tether;
use crate::session;
use crate::supervise::mailbox::Wake;
use crate::track::{
    self, Attach, Gather, ReaderId, Source, TrackAdvanced, TrackGone, UpstreamTerms, Urgency, Wants,
};
use crate::transport::{TransportConfig, Verify};
use actix::{Actor, Context, Handler};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use slog::{Discard, Logger, o};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

const OBJECT: u64 = 64 << 10;

/// Wants objects, and leaves their taking to the test.
struct Reader;

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<TrackAdvanced> for Reader {
    type Result = ();
    fn handle(&mut self, _: TrackAdvanced, _: &mut Self::Context) {}
}

impl Handler<TrackGone> for Reader {
    type Result = ();
    fn handle(&mut self, _: TrackGone, _: &mut Self::Context) {}
}

/// A writer of a track that somebody wants, and the log it writes to.
async fn writer() -> (TrackWriter, LogId) {
    let env = Node::env(&Options {
        verify: Verify::Insecure,
        transport: TransportConfig::default(),
        session: session::Config::default(),
        track: track::Config::default(),
        token: None,
        moving: crate::client::Moving::default(),
        log: Logger::root(Discard, o!()),
    });
    let (wanted, wants) = watch::channel(false);
    let (new_group, new_groups) = watch::channel(0);
    let source = SourceId::next();
    let namespace = TrackNamespace::new([Bytes::from_static(b"n")]).unwrap();
    let actor = TrackActor::new(track::Birth {
        name: FullTrackName::new(namespace, Bytes::from_static(b"t")).unwrap(),
        epoch: 0,
        config: Arc::clone(&env.track),
        registry: env.registry.clone(),
        log: env.log.clone(),
        faults: env.faults.clone(),
        guard: None,
        terms: UpstreamTerms::default(),
        source: (source, Source::Local { wanted, new_group }),
    });
    let log = actor.log_id();
    let home = actor.start();
    let (reader, actor) = (ReaderId::next(), Reader.start());
    let readers = vec![reader];
    mailbox::signal(&home, Gather { readers });
    let attach = Attach {
        own: true,
        reader,
        wake: Wake::new(actor.clone().recipient()).0,
        gone: actor.recipient(),
        wants: Wants::Objects(Urgency::default()),
    };
    mailbox::ask(&home, attach, ANSWER_DEADLINE)
        .await
        .unwrap()
        .unwrap();
    let mut writer = TrackWriter::new(home, log, source, (wants, Tether::new(false).hold()), new_groups);
    writer.wanted().await.unwrap();
    (writer, log)
}

/// A group without an end, as fast as it goes, while two sessions take it: the slower one sets the pace.
#[actix_rt::test]
async fn an_endless_group_waits_for_the_slower_session() {
    let (mut writer, log) = writer().await;
    let slow = handle::taker(log, None).unwrap();
    let fast = handle::taker(log, None).unwrap();
    let written = Rc::new(Cell::new(0));
    let count = Rc::clone(&written);
    let writing = actix_rt::spawn(async move {
        let payload = Bytes::from(vec![7; usize::try_from(OBJECT).unwrap()]);
        for object in 0.. {
            let at = Location::new(0, object);
            count.set(count.get() + OBJECT);
            writer.object(at, vec![payload.clone()]).await.unwrap();
        }
    });
    let (mut by_slow, mut by_fast) = (0, 0);
    for _ in 0..3 {
        // It goes on until the slower one is so far behind, and no further.
        while written.get() <= by_slow + AHEAD {
            assert!(!writing.is_finished());
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let more = written.get() - by_fast;
            fast.took(usize::try_from(more).unwrap());
            by_fast += more;
            tokio::task::yield_now().await;
        }
        assert_eq!(written.get(), by_slow + AHEAD + OBJECT);
        let more = 16 * OBJECT;
        slow.took(usize::try_from(more).unwrap());
        by_slow += more;
    }
    // The slower one leaves.
    drop(slow);
    while written.get() <= by_slow + AHEAD + OBJECT {
        assert!(!writing.is_finished());
        tokio::task::yield_now().await;
    }
    writing.abort();
}
