//! Who was refused a track of another relay gets it when somebody there has it, as at one relay.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::{Member, two};
use common::raw::{Raw, raw};
use common::watch::ns;
use common::{run, track};
use laps::relay::Relay;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::message::{
    ControlMessage, RequestError, RequestErrorReason, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::TrackAlias;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Refuses the relay's `nth` SUBSCRIBE for the track.
async fn refuses(publisher: &mut Raw, name: &FullTrackName, nth: usize) -> RequestError {
    let (request, _) = publisher.asked(name, nth).await;
    let no = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not here");
    let refuse = ControlMessage::RequestError(request, RequestKind::Subscribe, no.clone());
    publisher.say(refuse).await;
    no
}

/// D14-SUB-10 D14-PUB-3: refused in the publisher's own words, and asked anew when the reader asks again.
#[test]
fn who_asks_again_is_not_refused_for_what_was() {
    run(async || {
        let [near, far] = two(2).await;
        let name = track("refused", "video");
        let mut first = raw(&near).await;
        first.announce(name.namespace()).await;
        let mut reader = raw(&far).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let no = refuses(&mut first, &name, 0).await;
        assert_eq!(reader.answer(id).await.unwrap_err(), no);
        let mut second = raw(&near).await;
        second.announce(name.namespace()).await;
        let id = reader.subscribe(&name, NEWEST).await;
        refuses(&mut first, &name, 1).await;
        second.serve(&name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        second.group(ALIAS, 0, 2).await;
        assert_eq!(reader.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    });
}

/// Two relays with a publisher each, and a third with a reader that gets the track of the second, for the first refuses it.
struct Refused {
    one: Relay,
    refusing: Raw,
    serving: Raw,
    reader: Raw,
    alias: TrackAlias,
    _others: [Relay; 2],
}

async fn refused_by_one(name: &FullTrackName) -> Refused {
    let ca = PeerCa::generate().unwrap();
    let far = Member::edge(&ca, 3, &[]).start().await;
    let one = Member::edge(&ca, 1, &[&far]).start().await;
    let other = Member::edge(&ca, 2, &[&far, &one]).start().await;
    let (mut refusing, mut serving) = (raw(&one).await, raw(&other).await);
    let mut reader = raw(&far).await;
    reader.watched("known").await;
    for (publisher, who) in [(&mut refusing, "one"), (&mut serving, "other")] {
        publisher.announce(name.namespace()).await;
        // What a relay tells is heard in order, so that the track's namespace is known when this is.
        publisher.announce(&ns(&format!("known/{who}"))).await;
    }
    reader.until_told(2).await;
    let id = reader.subscribe(name, NEWEST).await;
    refuses(&mut refusing, name, 0).await;
    serving.serve(name, ALIAS).await;
    let alias = reader.answer(id).await.unwrap().alias;
    serving.group(ALIAS, 0, 2).await;
    reader.until_objects(alias, 2).await;
    Refused {
        one,
        refusing,
        serving,
        reader,
        alias,
        _others: [far, other],
    }
}

/// D14-NS-7 D14-PUB-4: the same when somebody more announces the namespace there, which nobody hears of from the mesh: the relay
/// has announced it all along.
#[test]
fn who_refused_is_asked_again_when_more_announce_there() {
    run(async || {
        let name = track("refused", "more");
        let mut scene = refused_by_one(&name).await;
        let (reader, alias) = (&mut scene.reader, scene.alias);
        let mut late = raw(&scene.one).await;
        late.announce(name.namespace()).await;
        refuses(&mut scene.refusing, &name, 1).await;
        late.serve(&name, ALIAS).await;
        late.group(ALIAS, 1, 2).await;
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(reader.until_objects(alias, 4).await, all);
    });
}

/// D14-PUB-3 D14-PUB-4 D14-SUB-26: a relay that has refused a track is its publisher like another when somebody PUBLISHes it
/// there, and the track goes on with that when the other one is lost.
#[test]
fn who_refused_may_have_it_later() {
    run(async || {
        let name = track("refused", "later");
        let scene = refused_by_one(&name).await;
        let (mut reader, alias) = (scene.reader, scene.alias);
        let mut late = raw(&scene.one).await;
        let request = late.publish(&name, ALIAS, true).await;
        if !late.publish_ok(request).await.forward {
            let told = |log: &[_]| Raw::updates(log, request).first().map(|update| update.forward);
            assert!(late.wait(told).await);
        }
        late.group(ALIAS, 1, 2).await;
        reader.until_objects(alias, 4).await;
        drop(scene.serving);
        late.group(ALIAS, 2, 2).await;
        let all = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];
        assert_eq!(reader.until_objects(alias, 6).await, all);
        let over = |message: &_| {
            matches!(
                message,
                common::raw::News::Control(ControlMessage::PublishDone(..))
            )
        };
        assert!(!reader.log.iter().any(over));
    });
}
