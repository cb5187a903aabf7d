//! Authorization tokens while no cache for them is offered.

use super::*;

fn token(token: &AuthToken) -> Bytes {
    Codec::Draft14.encode_token(token).unwrap()
}

fn register() -> AuthToken {
    AuthToken::Register {
        alias: 1,
        token_type: 7,
        value: Bytes::from_static(b"tok"),
    }
}

fn by_value() -> AuthToken {
    AuthToken::UseValue {
        token_type: 7,
        value: Bytes::from_static(b"tok"),
    }
}

const BY_ALIAS: [AuthToken; 2] = [AuthToken::UseAlias { alias: 1 }, AuthToken::Delete { alias: 1 }];

fn params(tokens: &[AuthToken]) -> MessageParams {
    MessageParams {
        authorization_tokens: tokens.iter().map(token).collect(),
        ..MessageParams::default()
    }
}

/// Every request that may show tokens.
fn requests(tokens: &[AuthToken]) -> Vec<(RequestKind, ControlMessage)> {
    let id = RequestId(0);
    let params = || params(tokens);
    let asked = || Subscribe {
        params: params(),
        ..subscribe("a", SubscribeFilter::LargestObject)
    };
    let named = || NamespaceRequest {
        params: params(),
        ..announce(&["a"])
    };
    let fetch = Fetch {
        params: params(),
        ..standalone(Location::ZERO, Location::ZERO)
    };
    let offered = Publish {
        params: params(),
        ..publish("a", 7)
    };
    vec![
        (RequestKind::Subscribe, ControlMessage::Subscribe(id, asked())),
        (RequestKind::TrackStatus, ControlMessage::TrackStatus(id, asked())),
        (RequestKind::Publish, ControlMessage::Publish(id, offered)),
        (RequestKind::Fetch, ControlMessage::Fetch(id, fetch)),
        (
            RequestKind::PublishNamespace,
            ControlMessage::PublishNamespace(id, named()),
        ),
        (
            RequestKind::SubscribeNamespace,
            ControlMessage::SubscribeNamespace(id, named()),
        ),
    ]
}

fn with_setup(role: Role, tokens: &[AuthToken]) -> Out {
    let mut bench = Bench::new(role, config());
    let params = SetupParams {
        max_request_id: Some(100),
        authorization_tokens: tokens.iter().map(token).collect(),
        ..SetupParams::default()
    };
    let version = Codec::Draft14.version_number();
    if role == Role::Server {
        bench.input(Input::StreamAccepted(STREAM));
        let versions = vec![version];
        bench.hear(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
    } else {
        bench.input(Input::StreamOpened(STREAM));
        bench.out();
        bench.hear(&ControlMessage::ServerSetup(ServerSetup { version, params }));
    }
    bench.out()
}

/// D14-SETUP-19: no size is said, which is 0; then registering a token ends the session, in whatever message.
#[test]
fn there_is_no_room_for_aliases() {
    let mut bench = Bench::new(Role::Server, config());
    bench.input(Input::StreamAccepted(STREAM));
    bench.hear(&ControlMessage::ClientSetup(ClientSetup {
        versions: vec![Codec::Draft14.version_number()],
        ..ClientSetup::default()
    }));
    let said = bench.said();
    let [ControlMessage::ServerSetup(setup)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(setup.params.max_auth_token_cache_size, None);

    for (kind, request) in requests(&[by_value(), register()]) {
        let mut bench = Bench::server();
        bench.hear(&request);
        assert_eq!(bench.code(), Some(CloseCode::AuthTokenCacheOverflow), "{kind:?}");
    }
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(
        RequestId(0),
        subscribe("a", SubscribeFilter::LargestObject),
    ));
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(2),
        SubscribeUpdate {
            params: params(&[register()]),
            ..update(RequestId(0), Location::ZERO, None)
        },
    ));
    assert_eq!(bench.code(), Some(CloseCode::AuthTokenCacheOverflow));
}

/// D14-SETUP-19: an alias that cannot be registered is unknown; it costs the request that names it, and the session
/// only where no answer could say so.
#[test]
fn an_alias_is_unknown() {
    for named in BY_ALIAS {
        for (kind, request) in requests(std::slice::from_ref(&named)) {
            let mut bench = Bench::server();
            bench.hear(&request);
            let out = bench.out();
            let [ControlMessage::RequestError(RequestId(0), of, error)] = &out.said[..] else {
                panic!("{out:?}");
            };
            // MOQT-14 §9.15 has no code for tokens.
            let reason = if kind == RequestKind::Publish {
                RequestErrorReason::Unauthorized
            } else {
                RequestErrorReason::MalformedAuthToken
            };
            assert_eq!((*of, error.reason), (kind, reason));
            assert_eq!((out.events.len(), out.closed), (0, None));
            assert_eq!(bench.session.open_requests(), (0, 0));
        }
        let mut bench = Bench::server();
        let subscribe = subscribe("a", SubscribeFilter::LargestObject);
        bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe));
        let update = SubscribeUpdate {
            params: params(&[named]),
            ..update(RequestId(0), Location::ZERO, None)
        };
        bench.hear(&ControlMessage::SubscribeUpdate(RequestId(2), update));
        assert_eq!(bench.code(), Some(CloseCode::UnknownAuthTokenAlias));
    }
}

/// D14-SETUP-24: tokens that are shown by value pass, whatever they say: who may do what is not decided here.
#[test]
fn a_token_by_value_is_handed_on() {
    for (kind, request) in requests(&[by_value(), by_value()]) {
        let mut bench = Bench::server();
        bench.hear(&request);
        assert_eq!(bench.events().len(), 1, "{kind:?}");
    }
}

/// D14-SETUP-20: a client could not know the size yet, so its token counts as shown by value. A server could.
#[test]
fn a_token_registered_in_client_setup_counts_as_a_value() {
    let out = with_setup(Role::Server, &[register(), by_value(), register()]);
    assert_eq!(out.closed, None);
    let [Event::Established(peer), ..] = &out.events[..] else {
        panic!("{out:?}");
    };
    assert_eq!(peer.authorization_tokens, vec![token(&by_value()); 3]);

    let out = with_setup(Role::Client, &[register()]);
    assert_eq!(
        out.closed.map(|closed| closed.0),
        Some(CloseCode::AuthTokenCacheOverflow)
    );
    for named in BY_ALIAS {
        for role in [Role::Client, Role::Server] {
            let out = with_setup(role, std::slice::from_ref(&named));
            assert!(out.events.is_empty());
            assert_eq!(
                out.closed.map(|closed| closed.0),
                Some(CloseCode::UnknownAuthTokenAlias)
            );
        }
    }
}
