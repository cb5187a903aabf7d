//! SETUP and the control stream.

use super::*;

fn version() -> u64 {
    Codec::Draft14.version_number()
}

fn client_setup(change: impl FnOnce(&mut ClientSetup)) -> ControlMessage {
    let mut setup = ClientSetup {
        versions: vec![version()],
        params: SetupParams {
            path: Some(Bytes::from_static(b"/")),
            authority: Some(Bytes::from_static(b"host:1")),
            max_request_id: Some(10),
            ..SetupParams::default()
        },
    };
    change(&mut setup);
    ControlMessage::ClientSetup(setup)
}

fn server_setup(change: impl FnOnce(&mut ServerSetup)) -> ControlMessage {
    let mut setup = ServerSetup {
        version: version(),
        params: SetupParams::default(),
    };
    change(&mut setup);
    ControlMessage::ServerSetup(setup)
}

/// D14-SETUP-6, D14-SETUP-18
#[test]
fn a_client_opens_the_control_stream_and_speaks_first() {
    let mut bench = Bench::new(Role::Client, config());
    assert_eq!(bench.out().opened, 1);
    bench.input(Input::StreamOpened(STREAM));
    let said = bench.said();
    let [ControlMessage::ClientSetup(setup)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(setup.versions, [version()]);
    assert_eq!(setup.params.max_request_id, Some(10_000));
    assert_eq!(setup.params.path.as_deref(), Some(&b"/"[..]));
    assert_eq!(setup.params.authority.as_deref(), Some(&b"host"[..]));
    bench.hear(&server_setup(|_| {}));
    assert!(matches!(bench.events()[..], [Event::Established(_)]));
    assert_eq!(bench.session.poll_timeout(), None);
}

/// D14-LIB-1
#[test]
fn path_and_authority_stay_out_of_webtransport() {
    let webtransport = Config {
        webtransport: true,
        ..config()
    };
    let mut bench = Bench::new(Role::Client, webtransport);
    bench.input(Input::StreamOpened(STREAM));
    let said = bench.said();
    let [ControlMessage::ClientSetup(setup)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((&setup.params.path, &setup.params.authority), (&None, &None));
}

/// D14-SETUP-9, D14-SETUP-11, D14-SETUP-18
#[test]
fn a_server_answers_with_its_maximum() {
    let mut bench = Bench::new(
        Role::Server,
        Config {
            max_request_id: 100,
            ..config()
        },
    );
    bench.input(Input::StreamAccepted(STREAM));
    assert_eq!(bench.out(), Out::default(), "the server waits for the client");
    bench.hear(&client_setup(|setup| {
        setup.versions = vec![0xff00_0003, version(), 77]
    }));
    let out = bench.out();
    let [ControlMessage::ServerSetup(setup)] = &out.said[..] else {
        panic!("{out:?}");
    };
    assert_eq!(
        (setup.version, setup.params.max_request_id),
        (version(), Some(100))
    );
    assert!(matches!(out.events[..], [Event::Established(_)]));
}

/// D14-SETUP-6, D14-SETUP-10, D14-SETUP-15, D14-SETUP-16, D14-SETUP-22
#[test]
fn breaches_of_client_setup_end_the_session() {
    let webtransport = Config {
        webtransport: true,
        ..config()
    };
    let bytes = Bytes::from_static;
    let cases: Vec<(&str, Config, ControlMessage, CloseCode)> = vec![
        (
            "D14-SETUP-10",
            config(),
            client_setup(|setup| setup.versions = vec![0xff00_000d]),
            CloseCode::VersionNegotiationFailed,
        ),
        (
            "D14-SETUP-10 none at all",
            config(),
            client_setup(|setup| setup.versions.clear()),
            CloseCode::VersionNegotiationFailed,
        ),
        (
            "D14-SETUP-15 malformed",
            config(),
            client_setup(|setup| setup.params.path = Some(bytes(b"no slash"))),
            CloseCode::MalformedPath,
        ),
        (
            "D14-SETUP-15 WebTransport",
            webtransport.clone(),
            client_setup(|setup| setup.params.authority = None),
            CloseCode::InvalidPath,
        ),
        (
            "D14-SETUP-16 malformed",
            config(),
            client_setup(|setup| setup.params.authority = Some(bytes(b"ho st"))),
            CloseCode::MalformedAuthority,
        ),
        (
            "D14-SETUP-16 WebTransport",
            webtransport,
            client_setup(|setup| setup.params.path = None),
            CloseCode::InvalidAuthority,
        ),
        (
            "D14-SETUP-6 direction",
            config(),
            server_setup(|_| {}),
            CloseCode::ProtocolViolation,
        ),
        (
            "D14-SETUP-22",
            config(),
            ControlMessage::MaxRequestId(7),
            CloseCode::ProtocolViolation,
        ),
    ];
    for (rule, config, message, code) in cases {
        let mut bench = Bench::new(Role::Server, config);
        bench.input(Input::StreamAccepted(STREAM));
        bench.hear(&message);
        let out = bench.out();
        assert_eq!(out.closed.map(|(code, _)| code), Some(code), "{rule}");
        assert!(out.said.is_empty() && out.events.is_empty(), "{rule}");
        assert!(bench.session.is_closed());
    }
}

/// D14-SETUP-6, D14-SETUP-10, D14-SETUP-15, D14-SETUP-16, D14-SETUP-22
#[test]
fn breaches_of_server_setup_end_the_session() {
    let bytes = Bytes::from_static;
    let cases = [
        (
            "D14-SETUP-10",
            server_setup(|setup| setup.version = 0xff00_000d),
            CloseCode::VersionNegotiationFailed,
        ),
        (
            "D14-SETUP-15",
            server_setup(|setup| setup.params.path = Some(bytes(b"/"))),
            CloseCode::InvalidPath,
        ),
        (
            "D14-SETUP-16",
            server_setup(|setup| setup.params.authority = Some(bytes(b"h"))),
            CloseCode::InvalidAuthority,
        ),
        ("D14-SETUP-6", client_setup(|_| {}), CloseCode::ProtocolViolation),
        (
            "D14-SETUP-22",
            ControlMessage::Goaway(Bytes::new()),
            CloseCode::ProtocolViolation,
        ),
    ];
    for (rule, message, code) in cases {
        let mut bench = Bench::new(Role::Client, config());
        bench.input(Input::StreamOpened(STREAM));
        bench.hear(&message);
        assert_eq!(bench.code(), Some(code), "{rule}");
    }
}

/// D14-SETUP-17
#[test]
fn missing_path_and_authority_are_tolerated() {
    let mut bench = Bench::new(Role::Server, config());
    bench.input(Input::StreamAccepted(STREAM));
    bench.hear(&client_setup(|setup| {
        setup.params.path = None;
        setup.params.authority = None;
    }));
    assert!(matches!(
        bench.events()[..],
        [Event::Established(_), Event::Note(Note::MissingPathOrAuthority)]
    ));
}

/// D14-SETUP-18
#[test]
fn no_maximum_means_no_requests() {
    let mut bench = Bench::new(Role::Client, config());
    bench.input(Input::StreamOpened(STREAM));
    bench.hear(&server_setup(|_| {}));
    bench.out();
    bench.ask(Command::PublishNamespace(announce(&["a"])));
    assert_eq!(bench.said(), [ControlMessage::RequestsBlocked(0)]);
}

/// D14-SETUP-7, D14-SETUP-8
#[test]
fn the_control_stream_lives_as_long_as_the_session() {
    let cases: Vec<(Role, Input)> = vec![
        (Role::Server, Input::StreamAccepted(ControlStream(4))),
        (Role::Client, Input::StreamAccepted(ControlStream(1))),
        (Role::Server, Input::StreamFin(STREAM)),
        (Role::Client, Input::StreamReset(STREAM)),
    ];
    for (role, input) in cases {
        let mut bench = Bench::ready(role, config(), 100);
        bench.input(input.clone());
        assert_eq!(
            bench.code(),
            Some(CloseCode::ProtocolViolation),
            "{role:?} {input:?}"
        );
    }
    // A server that is quicker than our own stream is no better.
    let mut bench = Bench::new(Role::Client, config());
    bench.input(Input::StreamAccepted(ControlStream(1)));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-SETUP-23
#[test]
fn setup_must_come_in_time() {
    for role in [Role::Client, Role::Server] {
        let mut bench = Bench::new(role, config());
        bench.out();
        let deadline = bench.session.poll_timeout().unwrap();
        assert_eq!(deadline, bench.start + Duration::from_secs(5));
        bench
            .session
            .handle_input(deadline - Duration::from_millis(1), Input::Timeout);
        assert_eq!(bench.code(), None);
        bench.session.handle_input(deadline, Input::Timeout);
        assert_eq!(bench.code(), Some(CloseCode::ControlMessageTimeout));
        assert_eq!(bench.session.poll_timeout(), None);
    }
}

/// D14-SETUP-9
#[test]
fn setup_comes_once() {
    let mut bench = Bench::server();
    bench.hear(&client_setup(|_| {}));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

#[test]
fn nothing_is_said_before_setup_or_after_close() {
    let mut bench = Bench::new(Role::Client, config());
    bench.input(Input::StreamOpened(STREAM));
    let early = bench.command(Command::PublishNamespace(announce(&["a"])));
    assert_eq!(early, Err(CommandError::NotEstablished));
    bench
        .command(Command::Close(CloseCode::NoError, "bye".into()))
        .unwrap();
    assert_eq!(bench.code(), Some(CloseCode::NoError));
    bench.hear(&server_setup(|_| {}));
    assert_eq!(bench.out(), Out::default());
    let late = bench.command(Command::PublishNamespace(announce(&["a"])));
    assert_eq!(late, Err(CommandError::NotEstablished));
}

/// D14-ENC-12
#[test]
fn a_message_that_cannot_be_read_ends_the_session() {
    let mut bench = Bench::server();
    bench.input(Input::StreamBytes(STREAM, Bytes::from_static(&[0x3f, 0, 0])));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

#[test]
fn an_endless_timeout_never_comes() {
    let config = Config {
        setup_timeout: Duration::MAX,
        ..config()
    };
    let mut bench = Bench::new(Role::Server, config);
    assert_eq!(bench.session.poll_timeout(), None);
    bench.input(Input::Timeout);
    assert_eq!(bench.out(), Out::default());
}

/// D14-SETUP-12, D14-SETUP-21: what nobody knows may stand there, also twice; what is known stands there once, the
/// name of the software excepted.
#[test]
fn parameters_come_once_or_are_unknown() {
    // Version, then so many parameters.
    let setup = |params: &[u8]| {
        let mut body = vec![1, 0xc0, 0, 0, 0, 0xff, 0, 0, 0x0e];
        body.extend_from_slice(params);
        let mut bytes = vec![0x20, 0, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(&body);
        let mut bench = Bench::new(Role::Server, config());
        bench.input(Input::StreamAccepted(STREAM));
        bench.input(Input::StreamBytes(STREAM, Bytes::from(bytes)));
        bench
    };
    for (params, code) in [
        // 0x20 and 0x21 are no setup parameters.
        (&[4, 0x20, 1, 0x20, 2, 0x21, 1, b'x', 0x21, 0][..], None),
        (&[2, 0x07, 1, b'x', 0x07, 1, b'y'], None),
        (&[2, 0x02, 9, 0x02, 9], Some(CloseCode::ProtocolViolation)),
        (&[2, 0x04, 9, 0x04, 9], Some(CloseCode::ProtocolViolation)),
        (
            &[2, 0x01, 1, b'/', 0x01, 1, b'/'],
            Some(CloseCode::ProtocolViolation),
        ),
        (
            &[2, 0x05, 1, b'h', 0x05, 1, b'h'],
            Some(CloseCode::ProtocolViolation),
        ),
    ] {
        let mut bench = setup(params);
        assert_eq!(bench.code(), code, "{params:02x?}");
        assert_eq!(bench.session.established().is_some(), code.is_none());
    }
}

/// D14-SETUP-14: an offer of one version and what that version needs; an answer with nothing that was not asked for.
#[test]
fn setup_says_what_its_version_needs() {
    let own = Config {
        implementation: Bytes::from_static(b"me"),
        ..config()
    };
    let mut bench = Bench::new(Role::Client, own.clone());
    bench.input(Input::StreamOpened(STREAM));
    let params = SetupParams {
        max_request_id: Some(10_000),
        implementation: Some(Bytes::from_static(b"me")),
        ..SetupParams::default()
    };
    let expected = ControlMessage::ClientSetup(ClientSetup {
        versions: vec![version()],
        params: SetupParams {
            path: config().path,
            authority: config().authority,
            ..params.clone()
        },
    });
    assert_eq!(bench.said(), [expected]);

    let mut bench = Bench::new(Role::Server, own);
    bench.input(Input::StreamAccepted(STREAM));
    bench.hear(&client_setup(|setup| {
        setup.params.max_auth_token_cache_size = Some(4096);
        setup.params.unknown = vec![KeyValue {
            key: 0x20,
            value: Value::Number(1),
        }];
    }));
    let version = version();
    let expected = ControlMessage::ServerSetup(ServerSetup { version, params });
    assert_eq!(bench.said(), [expected]);
}
