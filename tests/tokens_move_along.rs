//! Who is sent to another relay by GOAWAY shows its token there too.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::apart::apart;
use common::tokens::{client_at, full, guards, minted, value};
use common::{options, run, target};
use laps_actors::client::{Flow, Moving, Notice, Options, Publisher, Step};
use laps_actors::root::Retire;
use laps_protocol::auth::Token;
use laps_protocol::moqt::message::SubscribeFilter;
use std::time::Duration;
use tokio::sync::mpsc;

/// D14-AUTH-11 D14-GOAWAY-3
#[test]
fn a_token_is_shown_in_each_session() {
    run(async || {
        let (first, second) = (apart(guards()).await, apart(guards()).await);
        let (moved, mut moves) = mpsc::unbounded_channel();
        let publishing = Options {
            token: Some(Token {
                token_type: 0,
                value: Bytes::from(minted("publisher:live", 1000)),
            }),
            moving: Moving {
                notice: Notice::new(move |step| match step {
                    Step::Moved(to) => drop(moved.send(to.to_owned())),
                    other => panic!("no move: {other:?}"),
                }),
                ..Moving::default()
            },
            ..options()
        };
        let name = full("live", "video");
        let mut publisher = Publisher::connect(&target(first.addr), publishing).await.unwrap();
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let retire = Retire {
            uri: Bytes::from(format!("moqt://{}", second.addr)),
            grace: Duration::from_secs(3600),
            deadline: Duration::from_secs(2),
        };
        first.root.retire(retire).unwrap();
        moves.recv().await.unwrap();
        let token = value(&minted("subscriber:live", 1000));
        let mut viewer = client_at(second.addr, &[token]).await;
        let (_, ok) = viewer.subscribed(&name, SubscribeFilter::LargestObject).await;
        writer.wanted().await.unwrap();
        let place = laps_protocol::moqt::location::Location::ZERO;
        writer
            .object(place, vec![Bytes::from_static(b"x")])
            .await
            .unwrap();
        assert_eq!(viewer.until_objects(ok.alias, 1).await, [(0, 0)]);
    });
}
