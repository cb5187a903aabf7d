//! No authorisation is configured, so every session is authorised, whatever token it shows or does not show
//! (decision 0018).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{CODEC, Raw, Reading, subscribe};
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{AuthToken, ControlMessage, MessageParams, Subscribe, SubscribeFilter};

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const ALIAS: u64 = 70;

/// D14-SETUP-24 D14-SETUP-20
#[test]
fn whatever_token_it_shows() {
    run(async || {
        let relay = relay(settings(1)).await;
        let value = Bytes::from_static(b"nonsense");
        let by_value = AuthToken::UseValue {
            token_type: 0,
            value: value.clone(),
        };
        let unheard_of = AuthToken::UseValue {
            token_type: 0x1234,
            value: Bytes::new(),
        };
        // MOQT-14 §9.3.2.5 [D14-SETUP-20]: as good as shown by value.
        let registered = AuthToken::Register {
            alias: 1,
            token_type: 0,
            value,
        };
        for (n, tokens) in [
            vec![],
            vec![by_value.clone()],
            vec![unheard_of, by_value.clone()],
            vec![registered],
        ]
        .into_iter()
        .enumerate()
        {
            let tokens = tokens.iter().map(|token| CODEC.encode_token(token).unwrap());
            let connect = async |tokens| {
                let transport = TransportConfig::default();
                Raw::connect_with_tokens(relay.local_addr(), Reading::Everything, transport, tokens).await
            };
            // SERVER_SETUP came, or this would not return; and what the session asks for, it gets.
            let mut publisher = connect(tokens.clone().collect()).await;
            let mut subscriber = connect(tokens.collect()).await;
            let name = track("open", &n.to_string());
            publisher.announce(name.namespace()).await;
            let id = subscriber.id();
            let ask = Subscribe {
                params: MessageParams {
                    authorization_tokens: vec![CODEC.encode_token(&by_value).unwrap()],
                    ..MessageParams::default()
                },
                ..subscribe(&name, NEWEST)
            };
            subscriber.say(ControlMessage::Subscribe(id, ask)).await;
            publisher.serve(&name, ALIAS).await;
            let alias = subscriber.answer(id).await.unwrap().alias;
            publisher.group(ALIAS, 0, 1).await;
            assert_eq!(subscriber.until_objects(alias, 1).await, [(0, 0)]);
        }
    });
}
