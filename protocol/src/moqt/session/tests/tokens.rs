//! Authorization tokens: what is registered, what an alias stands for, and which message pays for what is wrong.

use super::*;
use proptest::prelude::*;

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

/// D14-AUTH-11: tokens that are shown by value pass, whatever they say: who may do what is not decided here.
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

/// The cost of a token of three bytes. MOQT-14 §9.3.2.4.
const THREE: u64 = 19;

fn registering(alias: u64, value: &'static str) -> AuthToken {
    AuthToken::Register {
        alias,
        token_type: 7,
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn shown(value: &'static str) -> Bytes {
    token(&AuthToken::UseValue {
        token_type: 7,
        value: Bytes::from_static(value.as_bytes()),
    })
}

const fn using(alias: u64) -> AuthToken {
    AuthToken::UseAlias { alias }
}

const fn deleting(alias: u64) -> AuthToken {
    AuthToken::Delete { alias }
}

/// An established session whose peer may register this many bytes, and the ids of its requests.
struct Desk {
    bench: Bench,
    next: u64,
}

impl Desk {
    fn new(size: u64) -> Self {
        Self::of(Role::Server, size)
    }

    fn of(role: Role, size: u64) -> Self {
        let config = Config {
            max_auth_token_cache_size: size,
            ..config()
        };
        Self {
            bench: Bench::ready(role, config, 100),
            next: u64::from(role == Role::Client),
        }
    }

    fn held(&self) -> (u64, usize) {
        self.bench.session.tokens.held()
    }

    fn tell(&mut self, tokens: &[AuthToken]) -> (RequestId, Out) {
        let id = RequestId(self.next);
        self.next += 2;
        let request = NamespaceRequest {
            params: params(tokens),
            ..announce(&["a"])
        };
        self.bench.hear(&ControlMessage::PublishNamespace(id, request));
        (id, self.bench.out())
    }

    /// A request that shows these tokens, accepted: what is handed on.
    fn ask(&mut self, tokens: &[AuthToken]) -> Vec<Bytes> {
        let (id, out) = self.tell(tokens);
        assert_eq!(out.closed, None);
        self.bench.command(Command::AcceptNamespace(id)).unwrap();
        self.bench.out();
        let [Event::PeerPublishNamespace(_, request), ..] = &out.events[..] else {
            panic!("{out:?}");
        };
        request.params.authorization_tokens.clone()
    }

    /// The same, refused by the session.
    fn refused(&mut self, tokens: &[AuthToken]) {
        let (id, out) = self.tell(tokens);
        let [ControlMessage::RequestError(of, RequestKind::PublishNamespace, error)] = &out.said[..] else {
            panic!("{out:?}");
        };
        assert_eq!((*of, error.reason), (id, RequestErrorReason::MalformedAuthToken));
        assert_eq!((out.events.len(), out.closed), (0, None));
    }

    /// The same, and the session ends.
    fn closes(mut self, tokens: &[AuthToken]) -> CloseCode {
        let (_, out) = self.tell(tokens);
        assert!(out.events.is_empty());
        out.closed.unwrap().0
    }
}

/// D14-SETUP-19: the size is said in either side's SETUP.
#[test]
fn the_size_of_the_cache_is_said() {
    for role in [Role::Server, Role::Client] {
        let config = Config {
            max_auth_token_cache_size: 4096,
            ..config()
        };
        let mut bench = Bench::new(role, config);
        if role == Role::Server {
            bench.input(Input::StreamAccepted(STREAM));
            let versions = vec![Codec::Draft14.version_number()];
            let params = SetupParams::default();
            bench.hear(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
        } else {
            bench.input(Input::StreamOpened(STREAM));
        }
        let params = match bench.said().pop() {
            Some(ControlMessage::ServerSetup(setup)) => setup.params,
            Some(ControlMessage::ClientSetup(setup)) => setup.params,
            other => panic!("{other:?}"),
        };
        assert_eq!(params.max_auth_token_cache_size, Some(4096));
    }
}

/// D14-AUTH-1 D14-AUTH-8: an alias is as good as its value, from the message on that registers it.
#[test]
fn an_alias_stands_for_what_was_registered() {
    let mut desk = Desk::new(100);
    assert_eq!(desk.ask(&[registering(1, "one")]), [shown("one")]);
    assert_eq!(desk.held(), (THREE, 1));
    assert_eq!(desk.ask(&[using(1)]), [shown("one")]);
    let (two, three) = (registering(2, "two"), by_value());
    assert_eq!(
        desk.ask(&[using(1), two, three, using(2)]),
        [shown("one"), shown("two"), shown("tok")]
    );
    assert_eq!(desk.held(), (2 * THREE, 2));
    assert_eq!(desk.ask(&[using(2)]), [shown("two")]);
}

/// D14-AUTH-8: what is handed on is shared, and not more than the message says that it is.
#[test]
fn thousands_of_aliases_of_one_token_are_one_token() {
    let mut desk = Desk::new(100);
    let first = desk.ask(&[registering(1, "one")]);
    let many = vec![using(1); 10_000];
    let again = desk.ask(&many);
    assert_eq!(again, [shown("one")]);
    assert_eq!(again[0].as_ptr(), first[0].as_ptr());
}

/// D14-AUTH-2: whatever it stands for, and whichever message it comes in.
#[test]
fn an_alias_in_use_cannot_be_registered_again() {
    for value in ["one", "two"] {
        let mut desk = Desk::new(100);
        desk.ask(&[registering(1, "one")]);
        assert_eq!(
            desk.closes(&[registering(1, value)]),
            CloseCode::DuplicateAuthTokenAlias
        );
    }
    let twice = [registering(1, "one"), registering(1, "one")];
    assert_eq!(Desk::new(100).closes(&twice), CloseCode::DuplicateAuthTokenAlias);
}

/// D14-AUTH-2: each side has aliases of its own, so a number that the peer registered is not one of ours.
#[test]
fn each_side_has_its_own_aliases() {
    let (mut server, mut client) = (Desk::of(Role::Server, 100), Desk::of(Role::Client, 100));
    assert_eq!(server.ask(&[registering(1, "one")]), [shown("one")]);
    assert_eq!(client.ask(&[registering(1, "two")]), [shown("two")]);
    // What this side says of its own alias 1 is nothing that it keeps.
    let request = NamespaceRequest {
        params: params(&[registering(1, "own")]),
        ..announce(&["b"])
    };
    server.bench.ask(Command::PublishNamespace(request));
    server.bench.out();
    assert_eq!(server.ask(&[using(1)]), [shown("one")]);
    assert_eq!(server.held(), (THREE, 1));
}

/// D14-AUTH-3: the message pays, and the session where no answer could say so; the next one finds all as it was.
#[test]
fn an_unknown_alias_costs_the_message() {
    let mut desk = Desk::new(100);
    desk.ask(&[registering(1, "one")]);
    for named in [using(2), deleting(2)] {
        desk.refused(std::slice::from_ref(&named));
        desk.refused(&[using(1), named.clone(), by_value()]);
    }
    assert_eq!(desk.ask(&[using(1)]), [shown("one")]);
    let update = SubscribeUpdate {
        params: params(&[using(2)]),
        ..update(RequestId(0), Location::ZERO, None)
    };
    desk.bench
        .hear(&ControlMessage::SubscribeUpdate(RequestId(desk.next), update));
    assert_eq!(desk.bench.code(), Some(CloseCode::UnknownAuthTokenAlias));
}

/// D14-AUTH-5: by whom, and for what, makes no difference.
#[test]
fn what_a_refused_message_registers_is_registered() {
    let mut desk = Desk::new(100);
    // By the session, for its other token.
    desk.refused(&[using(9), registering(1, "one")]);
    assert_eq!(desk.ask(&[using(1)]), [shown("one")]);
    // By the session, for what it asks.
    let inverted = SubscribeFilter::AbsoluteRange {
        start: Location::new(2, 0),
        end_group: 1,
    };
    let ask = Subscribe {
        params: params(&[registering(2, "two"), deleting(1)]),
        ..subscribe("a", inverted)
    };
    let id = RequestId(desk.next);
    desk.next += 2;
    desk.bench.hear(&ControlMessage::Subscribe(id, ask));
    assert!(desk.bench.out().events.is_empty());
    assert_eq!(desk.ask(&[using(2)]), [shown("two")]);
    desk.refused(&[using(1)]);
    // By whom it asks.
    let (id, _) = desk.tell(&[registering(3, "six")]);
    desk.bench.command(Command::Reject(id, error())).unwrap();
    desk.bench.out();
    assert_eq!(desk.ask(&[using(3)]), [shown("six")]);
}

/// D14-AUTH-6 D14-AUTH-8: the last byte may be used, and not one more.
#[test]
fn more_than_the_cache_holds_ends_the_session() {
    let mut desk = Desk::new(2 * THREE);
    desk.ask(&[registering(1, "one"), registering(2, "two")]);
    assert_eq!(desk.held(), (2 * THREE, 2));
    assert_eq!(
        desk.closes(&[registering(3, "")]),
        CloseCode::AuthTokenCacheOverflow
    );
    let long = [registering(1, "four")];
    assert_eq!(Desk::new(THREE).closes(&long), CloseCode::AuthTokenCacheOverflow);
    // Not a byte is free that a token without a value would need.
    let empty = [registering(1, "")];
    assert_eq!(Desk::new(15).closes(&empty), CloseCode::AuthTokenCacheOverflow);
    Desk::new(16).ask(&empty);
}

/// D14-AUTH-9 D14-AUTH-8: its place is free again, for the same value too, and what was handed on stays.
#[test]
fn a_deleted_alias_is_free() {
    let mut desk = Desk::new(THREE);
    let before = desk.ask(&[registering(1, "one")]);
    assert_eq!(desk.ask(&[deleting(1)]), Vec::<Bytes>::new());
    assert_eq!(desk.held(), (0, 0));
    assert_eq!(before, [shown("one")]);
    desk.refused(&[using(1)]);
    desk.refused(&[deleting(1)]);
    for _ in 0..3 {
        assert_eq!(
            desk.ask(&[
                registering(1, "two"),
                using(1),
                deleting(1),
                registering(1, "one"),
                using(1)
            ]),
            [shown("two"), shown("one")]
        );
        assert_eq!(desk.ask(&[using(1), deleting(1)]), [shown("one")]);
    }
    assert_eq!(desk.held(), (0, 0));
}

/// D14-SETUP-20 D14-AUTH-6: what fits is registered, what does not counts as a value, and its alias stays free.
#[test]
fn what_client_setup_registers_beyond_the_size_is_not_registered() {
    let config = Config {
        max_auth_token_cache_size: 2 * THREE,
        ..config()
    };
    let mut bench = Bench::new(Role::Server, config);
    bench.input(Input::StreamAccepted(STREAM));
    let tokens = [
        registering(1, "one"),
        registering(2, "much too long"),
        registering(3, "two"),
    ];
    let params = SetupParams {
        max_request_id: Some(100),
        authorization_tokens: tokens.iter().map(token).collect(),
        ..SetupParams::default()
    };
    let versions = vec![Codec::Draft14.version_number()];
    bench.hear(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
    let out = bench.out();
    assert_eq!(out.closed, None);
    let [Event::Established(peer), ..] = &out.events[..] else {
        panic!("{out:?}");
    };
    assert_eq!(
        peer.authorization_tokens,
        [shown("one"), shown("much too long"), shown("two")]
    );
    // What stays with the session is not the place for secrets.
    assert!(
        bench
            .session
            .established()
            .unwrap()
            .authorization_tokens
            .is_empty()
    );
    let mut desk = Desk { bench, next: 0 };
    assert_eq!(desk.held(), (2 * THREE, 2));
    assert_eq!(desk.ask(&[using(3), using(1)]), [shown("two"), shown("one")]);
    desk.refused(&[using(2)]);
    assert_eq!(desk.ask(&[deleting(1), registering(2, "one")]), [shown("one")]);
}

/// D14-AUTH-2: in CLIENT_SETUP too, where only the size is forgiven.
#[test]
fn an_alias_that_client_setup_registers_twice_ends_the_session() {
    let config = Config {
        max_auth_token_cache_size: 100,
        ..config()
    };
    let mut bench = Bench::new(Role::Server, config);
    bench.input(Input::StreamAccepted(STREAM));
    let params = SetupParams {
        authorization_tokens: vec![token(&register()), token(&register())],
        ..SetupParams::default()
    };
    let versions = vec![Codec::Draft14.version_number()];
    bench.hear(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
    assert_eq!(bench.code(), Some(CloseCode::DuplicateAuthTokenAlias));
}

/// D14-AUTH-9: a fetch that waits for its subscription is made with what its alias stood for when it came.
#[test]
fn what_waits_keeps_what_its_alias_stood_for() {
    let mut desk = Desk::new(100);
    desk.ask(&[registering(1, "one")]);
    let (subscription, fetch) = (RequestId(desk.next), RequestId(desk.next + 2));
    desk.next += 4;
    let asked = subscribe("a", SubscribeFilter::LargestObject);
    desk.bench.hear(&ControlMessage::Subscribe(subscription, asked));
    let joining = Fetch {
        range: FetchRange::RelativeJoining {
            subscription,
            groups: 0,
        },
        params: params(&[using(1)]),
        ..standalone(Location::ZERO, Location::ZERO)
    };
    desk.bench.hear(&ControlMessage::Fetch(fetch, joining));
    assert_eq!(desk.bench.events().len(), 1, "the fetch waits");
    desk.ask(&[deleting(1), registering(1, "two")]);
    let alias = desk.bench.session.new_alias();
    let ok = subscribe_ok(alias, Some(Location::ZERO));
    desk.bench
        .command(Command::AcceptSubscribe(subscription, ok))
        .unwrap();
    let events = desk.bench.events();
    let [Event::PeerFetch(id, made)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*id, fetch);
    assert_eq!(made.params.authorization_tokens, [shown("one")]);
}

proptest! {
    /// D14-AUTH-8: whatever is said, what is kept is what was registered and not deleted, and within the size.
    #[test]
    fn the_cache_stays_within_its_size(said in proptest::collection::vec((0u64..6, 0usize..60, 0u8..3), 1..40)) {
        const SIZE: u64 = 150;
        const TEXT: &str = "...........................................................";
        let mut desk = Desk::new(SIZE);
        let mut model = std::collections::BTreeMap::new();
        for (alias, len, what) in said {
            let used = |model: &std::collections::BTreeMap<u64, u64>| model.values().sum::<u64>();
            let value = &TEXT[..len];
            match what {
                0 if model.contains_key(&alias) || used(&model) + 16 + len as u64 > SIZE => continue,
                0 => {
                    prop_assert_eq!(desk.ask(&[registering(alias, value)]), [shown(value)]);
                    model.insert(alias, 16 + len as u64);
                }
                1 if model.remove(&alias).is_some() => drop(desk.ask(&[deleting(alias)])),
                2 if model.contains_key(&alias) => {
                    prop_assert_eq!(desk.ask(&[using(alias)])[0].len() as u64, model[&alias] - 16 + 2);
                }
                _ => desk.refused(&[deleting(alias)]),
            }
            prop_assert_eq!(desk.held(), (used(&model), model.len()));
        }
    }
}

/// D14-AUTH-10
#[test]
fn no_token_is_shown_in_a_log() {
    let mut desk = Desk::new(100);
    desk.ask(&[registering(1, "sesame")]);
    let secrets = Config {
        authorization_tokens: vec![shown("sesame")],
        ..config()
    };
    let peer = PeerSetup {
        version: Version::Draft14,
        path: None,
        authority: None,
        implementation: None,
        authorization_tokens: vec![shown("sesame")],
    };
    let texts = [
        format!("{:?}", desk.bench.session),
        format!("{secrets:?}"),
        format!("{peer:?}"),
    ];
    // As text, and as numbers in a list of bytes.
    for text in texts {
        assert!(
            !text.contains("sesame") && !text.contains("115, 101, 115"),
            "{text}"
        );
    }
}
