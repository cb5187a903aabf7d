//! Readers that are links to other nodes, beside this relay's own.

use super::*;
use crate::registry::RegisterTrack;
use crate::track::{Gather, JoinLink, Source, SourceGone, SourceId, TrackActor, UpstreamTerms, Wants};
use laps_protocol::moqt::message::PublishDoneStatus;
use tokio::sync::watch;

/// Longer than anything that may follow takes.
const LONGER: Duration = Duration::from_secs(20);

/// A publisher of this relay, which makes the track.
struct Here {
    track: TrackRef,
    source: SourceId,
    wanted: watch::Receiver<bool>,
    new_groups: watch::Receiver<u64>,
}

impl Here {
    /// The track is there, and A announces its namespace too.
    async fn beside_a(scene: &Scene) -> Self {
        let (source, epoch) = (SourceId::next(), 7);
        let (wanted, wants) = watch::channel(false);
        let (new_group, new_groups) = watch::channel(0);
        let home = TrackActor::new(track::Birth {
            name: video(),
            epoch,
            config: Arc::clone(&scene.env.track),
            registry: scene.env.registry.clone(),
            log: scene.log.clone(),
            faults: scene.env.faults.clone(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (source, Source::Local { wanted, new_group }),
        })
        .start();
        let readers = Vec::new();
        mailbox::ask(&home, Gather { readers }, LONG).await.unwrap();
        let track = TrackRef {
            name: video(),
            shard: 0,
            home,
            epoch,
        };
        let register = RegisterTrack(track.clone());
        scene.env.registry.now().send(register).await.unwrap();
        scene.announces(A, true).await;
        Self {
            track,
            source,
            wanted: wants,
            new_groups,
        }
    }

    /// A link, which has its place.
    async fn link(&self) -> Reading {
        let (link, attached) = Reading::begin_as(self.track.clone(), false);
        attached.await.unwrap();
        let (reader, wants) = (ReaderId::next(), Wants::of(true, 128));
        let joined = mailbox::ask(&self.track.home, JoinLink { reader, wants }, LONG);
        joined.await.unwrap().unwrap();
        link.readers(Audience::of(false, wants));
        link
    }
}

impl Scene {
    /// The node is told that nothing of it is wanted, and is let go of.
    async fn unsubscribed(&mut self) {
        assert!(!self.subscribe().await.1.forward);
        assert_eq!(self.want().await, Command::Unsubscribe(video()));
    }
}

/// Decision 0029: two relays that publish one track would ask each other for ever, each for the link to the other. For a
/// link nobody is asked; for a reader of this relay the node is, and let go of when that has left, while links read on.
#[test]
fn a_node_is_asked_for_readers_of_this_relay_only() {
    run(async |mut scene| {
        let mut here = Here::beside_a(&scene).await;
        let mut link = here.link().await;
        here.wanted.wait_for(|wanted| *wanted).await.unwrap();
        scene.wants_nothing(LONGER).await;
        let (own, attached) = Reading::begin(here.track.clone());
        attached.await.unwrap();
        own.forward(true);
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        scene
            .until("bound", |tables| !tables.bindings.borrow().is_empty())
            .await;
        scene.object(A, 1).await;
        assert_eq!(link.groups().await, [1]);
        // It goes, and is back in a moment.
        own.readers(Audience::default());
        assert!(!scene.subscribe().await.1.forward, "nobody wants objects of it");
        own.forward(true);
        assert!(scene.subscribe().await.1.forward);
        scene.wants_nothing(LONGER).await;
        own.leave();
        scene.unsubscribed().await;
        assert!(scene.binding(A).is_none());
        scene.wants_nothing(LONGER).await;
        assert!(*here.wanted.borrow(), "the link reads on");
        link.readers(Audience::default());
        here.wanted.wait_for(|wanted| !wanted).await.unwrap();
    });
}

/// Decision 0029: a wish for a new group that came by a link goes to publishers of this relay.
#[test]
fn a_node_is_asked_for_groups_by_readers_of_this_relay_only() {
    run(async |mut scene| {
        let mut here = Here::beside_a(&scene).await;
        let _link = here.link().await;
        let (own, attached) = Reading::begin(here.track.clone());
        attached.await.unwrap();
        own.forward(true);
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        scene
            .until("bound", |tables| !tables.bindings.borrow().is_empty())
            .await;
        scene.object(A, 1).await;
        mailbox::ask(&here.track.home, track::WantNewGroup::of(false), LONG)
            .await
            .unwrap();
        here.new_groups.changed().await.unwrap();
        scene.wants_nothing(LONGER).await;
        scene.object(A, 2).await;
        mailbox::ask(&here.track.home, track::WantNewGroup::of(true), LONG)
            .await
            .unwrap();
        let (_, subscribe) = scene.subscribe().await;
        assert!(subscribe.params.new_group_request.is_some());
    });
}

/// Decision 0029: when the last publisher of this relay has gone, the track is over for links, whoever else brings it.
#[test]
fn for_links_a_track_ends_with_its_publishers_here() {
    run(async |mut scene| {
        let here = Here::beside_a(&scene).await;
        let mut link = here.link().await;
        let (mut own, attached) = Reading::begin(here.track.clone());
        attached.await.unwrap();
        own.forward(true);
        let (number, _) = scene.subscribe().await;
        scene.says(A, number, ok(None)).await;
        scene
            .until("bound", |tables| !tables.bindings.borrow().is_empty())
            .await;
        let source = here.source;
        mailbox::ask(&here.track.home, SourceGone { source }, LONG)
            .await
            .unwrap();
        let gone = loop {
            if let Some(gone) = link.next().await.links_gone {
                break gone;
            }
        };
        assert_eq!(gone.status, PublishDoneStatus::InternalError);
        scene.object(A, 1).await;
        assert_eq!(own.groups().await, [1]);
        // Another link finds nobody.
        let (reader, wants) = (ReaderId::next(), Wants::of(true, 128));
        let joined = mailbox::ask(&here.track.home, JoinLink { reader, wants }, LONG).await;
        let why = joined.unwrap().unwrap_err();
        assert_eq!(
            (why.reason, why.for_now),
            (RequestErrorReason::TrackDoesNotExist, false)
        );
        link.leave();
        scene.wants_nothing(LONGER).await;
        own.leave();
        scene.unsubscribed().await;
    });
}

/// Decision 0029: what only other nodes publish is not for links, and is not asked for on their behalf.
#[test]
fn a_link_is_not_given_what_other_nodes_publish() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        let track = scene.find().await.unwrap();
        let (reader, wants) = (ReaderId::next(), Wants::of(true, 128));
        let joined = mailbox::ask(&track.home, JoinLink { reader, wants }, LONG);
        // Who waits is gathered for a moment.
        assert!(joined.await.unwrap().is_err());
        scene.wants_nothing(LONGER).await;
        assert!(scene.tables.bindings.borrow().is_empty());
    });
}

/// Decision 0029: what a relay fetches is asked of publishers here, since it asks the others itself.
#[test]
fn a_node_is_asked_for_the_past_by_readers_of_this_relay_only() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        for own in [false, true] {
            let reader = ReaderId::next();
            let range = laps_protocol::relay::track_log::PastRange {
                start: laps_protocol::moqt::location::Location::new(1, 0),
                end: laps_protocol::moqt::location::Location::new(1, 0),
            };
            let past = track::OpenPast {
                reader,
                range,
                order: laps_protocol::moqt::message::GroupOrderRequest::Publisher,
                priority: 128,
                own,
            };
            let track = scene.find().await.unwrap();
            mailbox::ask(&track.home, past, LONG).await.unwrap().unwrap();
            mailbox::signal(&track.home, track::ReadPast { reader });
            let said = tokio::time::timeout(Duration::from_secs(1), scene.nodes.recv()).await;
            assert_eq!(said.is_ok(), own);
        }
    });
}
