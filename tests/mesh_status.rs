//! TRACK_STATUS at another relay: the relay of the publisher is asked, which answers as it does for its own clients, and
//! nobody subscribes across the mesh to learn it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::mesh::{Member, two};
use common::raw::{Raw, raw};
use common::status::{ALIAS, NEWEST, answer, ask, said};
use common::watch::ns;
use common::{run, track};
use laps::relay::Relay;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, RequestError, RequestErrorReason, RequestKind, SubscribeFilter, SubscribeOk,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::node::NodeType;
use std::time::Duration;

async fn status(client: &mut Raw, name: &FullTrackName) -> Result<SubscribeOk, RequestError> {
    let id = ask(client, name, NEWEST).await;
    answer(client, id).await
}

/// SUBSCRIBE_INFOs that a relay has said to others.
fn asked_for(relay: &Relay) -> u64 {
    let mut messages = relay.links().messages();
    let (_, [_, out]) = messages.find(|(name, _)| *name == "SUBSCRIBE_INFO_ADV").unwrap();
    out
}

/// A publisher at the relay that announces the track's namespace.
async fn announcer(relay: &Relay, name: &FullTrackName) -> Raw {
    let mut publisher = raw(relay).await;
    publisher.announce(name.namespace()).await;
    publisher
}

/// D14-SUB-28 D14-SUB-14 D14-VAL-14: of a track that its relay reads, and of one that it subscribes to for a moment to
/// answer; what the publisher says is passed on.
async fn the_relay_of_the_publisher_answers(shards: usize) {
    let [near, far] = two(shards).await;
    let name = track("status", "live");
    let mut publisher = announcer(&near, &name).await;
    let mut reader = raw(&near).await;
    let id = reader.subscribe(&name, NEWEST).await;
    let (request, _) = publisher.asked(&name, 0).await;
    publisher
        .say(ControlMessage::SubscribeOk(request, said(None)))
        .await;
    let alias = reader.answer(id).await.unwrap().alias;
    publisher.group(ALIAS, 3, 2).await;
    reader.until_objects(alias, 2).await;
    let mut client = raw(&far).await;
    let here = said(Some(Location::new(3, 1)));
    let told = SubscribeOk { alias: 0, ..here };
    assert_eq!(status(&mut client, &name).await.unwrap(), told);
    // What SUBSCRIBE would be refused is refused here. [D14-SUB-7]
    let over = SubscribeFilter::AbsoluteRange {
        start: Location::ZERO,
        end_group: 2,
    };
    let id = ask(&mut client, &name, over).await;
    let refused = answer(&mut client, id).await.unwrap_err();
    assert_eq!(refused.reason, RequestErrorReason::InvalidRange);

    let cold = track("status", "cold");
    let id = ask(&mut client, &cold, NEWEST).await;
    let (request, asked) = publisher.asked(&cold, 0).await;
    assert_eq!(asked.params.delivery_timeout_ms, None);
    let ok = SubscribeOk {
        alias: ALIAS + 1,
        ..said(Some(Location::new(8, 1)))
    };
    publisher
        .say(ControlMessage::SubscribeOk(request, ok.clone()))
        .await;
    assert_eq!(
        answer(&mut client, id).await.unwrap(),
        SubscribeOk { alias: 0, ..ok }
    );
    // And its own words when it refuses. [D14-SUB-10]
    let secret = track("status", "secret");
    let id = ask(&mut client, &secret, NEWEST).await;
    let (request, _) = publisher.asked(&secret, 0).await;
    let no = RequestError::new(RequestErrorReason::Unauthorized, "not for you");
    let refuse = ControlMessage::RequestError(request, RequestKind::Subscribe, no.clone());
    publisher.say(refuse).await;
    assert_eq!(answer(&mut client, id).await.unwrap_err(), no);
    assert_eq!((asked_for(&near), asked_for(&far)), (0, 0));
    // No state is left: the track can be subscribed to.
    let (_, ok) = client.subscribed(&name, NEWEST).await;
    assert_eq!(ok.largest, Some(Location::new(3, 1)));
    assert_eq!((asked_for(&near), asked_for(&far)), (0, 1));
}

#[test]
fn the_relay_of_the_publisher_answers_one_shard() {
    run(|| the_relay_of_the_publisher_answers(1));
}

#[test]
fn the_relay_of_the_publisher_answers_two_shards() {
    run(|| the_relay_of_the_publisher_answers(2));
}

/// D14-SUB-28 D14-SUB-25: of a track that is PUBLISHed there, which this relay takes without asking for objects.
#[test]
fn a_published_track_stands_as_at_its_relay() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("status", "published");
        let mut publisher = raw(&near).await;
        let request = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(request).await;
        let mut client = raw(&far).await;
        assert_eq!(status(&mut client, &name).await.unwrap().largest, None);
        let mut reader = raw(&near).await;
        let (_, ok) = reader.subscribed(&name, NEWEST).await;
        publisher.group(ALIAS, 5, 3).await;
        reader.until_objects(ok.alias, 3).await;
        let told = status(&mut client, &name).await.unwrap();
        assert_eq!(told.largest, Some(Location::new(5, 2)));
        assert_eq!((asked_for(&near), asked_for(&far)), (0, 0));
    });
}

/// D14-SUB-28 D14-PUB-3: of several publishers, at this relay and others, one that has the track is enough; all of them
/// refuse, or it is had.
#[test]
fn one_of_many_is_enough() {
    run(async || {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 3, &[]).start().await;
        let middle = Member {
            role: NodeType::Via,
            ..Member::edge(&ca, 2, &[&far])
        };
        let middle = middle.start().await;
        let one = Member::edge(&ca, 1, &[&middle]).start().await;
        let other = Member::edge(&ca, 4, &[&middle]).start().await;
        for has in [true, false] {
            let name = track(if has { "one" } else { "none" }, "video");
            let (mut one, mut other) = (announcer(&one, &name).await, announcer(&other, &name).await);
            let mut own = announcer(&far, &name).await;
            let mut client = raw(&far).await;
            // What a relay tells is heard in order, so that all of it is known when this is.
            client.watched("known").await;
            for (publisher, who) in [(&mut one, "one"), (&mut other, "other")] {
                publisher.announce(&ns(&format!("known/{has}/{who}"))).await;
            }
            client.until_told(2).await;
            let id = ask(&mut client, &name, NEWEST).await;
            let no = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not here");
            for publisher in [&mut own, &mut one] {
                let (request, _) = publisher.asked(&name, 0).await;
                let refuse = ControlMessage::RequestError(request, RequestKind::Subscribe, no.clone());
                publisher.say(refuse).await;
            }
            let (request, _) = other.asked(&name, 0).await;
            if has {
                let ok = said(Some(Location::new(1, 0)));
                other.say(ControlMessage::SubscribeOk(request, ok)).await;
                let told = answer(&mut client, id).await.unwrap();
                assert_eq!(told.largest, Some(Location::new(1, 0)));
            } else {
                let refuse = ControlMessage::RequestError(request, RequestKind::Subscribe, no.clone());
                other.say(refuse).await;
                assert_eq!(answer(&mut client, id).await.unwrap_err(), no);
            }
            assert_eq!(asked_for(&far), 0);
        }
    });
}

/// D14-SUB-28 D14-SUB-10: a publisher is waited for as for SUBSCRIBE, at whichever relay it comes.
#[test]
fn a_publisher_elsewhere_is_waited_for() {
    run(async || {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 2, &[]).but(|settings| {
            settings.session.subscribe_wait = Some(Duration::from_secs(30));
        });
        let far = far.start().await;
        let near = Member::edge(&ca, 1, &[&far]).start().await;
        let name = track("status", "later");
        let mut client = raw(&far).await;
        let id = ask(&mut client, &name, NEWEST).await;
        client.fence().await;
        let mut publisher = announcer(&near, &name).await;
        let (request, _) = publisher.asked(&name, 0).await;
        let ok = said(Some(Location::new(2, 0)));
        publisher.say(ControlMessage::SubscribeOk(request, ok)).await;
        let told = answer(&mut client, id).await.unwrap();
        assert_eq!(told.largest, Some(Location::new(2, 0)));
        assert_eq!(asked_for(&far), 0);
        drop(near);
    });
}
