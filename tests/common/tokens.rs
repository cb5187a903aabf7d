//! A relay with a secret, and what its peers show it.

use super::raw::{CODEC, News, Raw, Reading, publish, subscribe};
use super::{relay, settings};
use bytes::Bytes;
use laps::relay::{Relay, Settings};
use laps_actors::auth::{Auth, Secret, SharedSecret, mint};
use laps_actors::transport::TransportConfig;
use laps_protocol::auth::{UnixSeconds, scopes};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    AuthToken, ControlMessage, Fetch, FetchRange, GroupOrderRequest, MessageParams, NamespaceRequest,
    RequestError, RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::name_text::parse_full_name;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const SECRET: &str = "what only the relay and its friends know";
/// The clock of a relay with a secret starts here.
pub const START: u64 = 1_000_000;
/// Bytes that such a relay keeps of tokens.
pub const CACHE: u64 = 1024;

/// What time the relays of a test file believe that it is: one clock for all tests in it.
static NOW: AtomicU64 = AtomicU64::new(START);

/// Lets so many seconds pass.
pub fn pass(seconds: u64) {
    NOW.fetch_add(seconds, Ordering::SeqCst);
}

/// A relay that asks for tokens.
pub async fn guarded() -> Relay {
    relay(guards()).await
}

/// What it is made of.
pub fn guards() -> Settings {
    let mut settings = settings(1);
    let verifier = SharedSecret::new(&Secret::new(SECRET).unwrap());
    settings.session.auth =
        Auth::new(Arc::new(verifier)).with_clock(|| UnixSeconds(NOW.load(Ordering::SeqCst)));
    settings.session.core.max_auth_token_cache_size = CACHE;
    // Most of what is asked for here is published by nobody.
    settings.session.subscribe_wait = Some(Duration::from_millis(20));
    settings
}

/// What lets do these things for so many seconds from the start on.
pub fn minted(scope: &str, seconds: u64) -> String {
    let secret = Secret::new(SECRET).unwrap();
    mint(&secret, &scopes(scope).unwrap(), UnixSeconds(START + seconds)).unwrap()
}

/// A token as a message shows it.
pub fn value(text: &str) -> Bytes {
    encoded(&AuthToken::UseValue {
        token_type: 0,
        value: Bytes::copy_from_slice(text.as_bytes()),
    })
}

pub fn register(alias: u64, text: &str) -> Bytes {
    encoded(&AuthToken::Register {
        alias,
        token_type: 0,
        value: Bytes::copy_from_slice(text.as_bytes()),
    })
}

pub fn using(alias: u64) -> Bytes {
    encoded(&AuthToken::UseAlias { alias })
}

pub fn deleting(alias: u64) -> Bytes {
    encoded(&AuthToken::Delete { alias })
}

fn encoded(token: &AuthToken) -> Bytes {
    CODEC.encode_token(token).unwrap()
}

pub fn showing(tokens: &[Bytes]) -> MessageParams {
    MessageParams {
        authorization_tokens: tokens.to_vec(),
        ..MessageParams::default()
    }
}

/// A client that shows these tokens in SETUP.
pub async fn client(relay: &Relay, tokens: &[Bytes]) -> Raw {
    client_at(relay.local_addr(), tokens).await
}

/// The same, of a relay that is not of this thread.
pub async fn client_at(addr: SocketAddr, tokens: &[Bytes]) -> Raw {
    let transport = TransportConfig::default();
    Raw::connect_with_tokens(addr, Reading::Everything, transport, tokens.to_vec()).await
}

/// A track by the name that scopes are written with.
pub fn full(namespace: &str, name: &str) -> FullTrackName {
    parse_full_name(namespace, name).unwrap()
}

/// All that a peer can ask for.
pub const ALL: [RequestKind; 6] = [
    RequestKind::Subscribe,
    RequestKind::Fetch,
    RequestKind::TrackStatus,
    RequestKind::Publish,
    RequestKind::PublishNamespace,
    RequestKind::SubscribeNamespace,
];

/// Makes a request about a track, or its namespace, and shows these tokens with it.
pub async fn ask(peer: &mut Raw, kind: RequestKind, track: &FullTrackName, tokens: &[Bytes]) -> RequestId {
    thread_local!(static ALIAS: Cell<u64> = const { Cell::new(1000) });
    let (id, params) = (peer.id(), showing(tokens));
    let asked = || {
        let mut asked = subscribe(track, SubscribeFilter::LargestObject);
        asked.params = params.clone();
        asked
    };
    let named = || NamespaceRequest {
        namespace: track.namespace().clone(),
        params: params.clone(),
    };
    let message = match kind {
        RequestKind::Subscribe => ControlMessage::Subscribe(id, asked()),
        RequestKind::TrackStatus => ControlMessage::TrackStatus(id, asked()),
        RequestKind::Publish => {
            let mut offered = publish(track, ALIAS.replace(ALIAS.get() + 1));
            offered.params = params;
            ControlMessage::Publish(id, offered)
        }
        RequestKind::Fetch => ControlMessage::Fetch(
            id,
            Fetch {
                priority: 128,
                group_order: GroupOrderRequest::Publisher,
                range: FetchRange::Standalone {
                    track: track.clone(),
                    start: Location::ZERO,
                    end: Location::new(0, 0),
                },
                params,
            },
        ),
        RequestKind::PublishNamespace => ControlMessage::PublishNamespace(id, named()),
        RequestKind::SubscribeNamespace => ControlMessage::SubscribeNamespace(id, named()),
    };
    peer.say(message).await;
    id
}

/// Why a request was refused; none when it was not, or for another reason than who asks.
pub async fn denied(peer: &mut Raw, id: RequestId) -> Option<RequestErrorReason> {
    let answer = peer
        .wait(|log| log.iter().find_map(|news| answered(news, id)))
        .await;
    let of_tokens = |reason: &RequestErrorReason| {
        matches!(
            reason,
            RequestErrorReason::Unauthorized
                | RequestErrorReason::MalformedAuthToken
                | RequestErrorReason::ExpiredAuthToken
        )
    };
    answer.err().map(|error| error.reason).filter(of_tokens)
}

fn answered(news: &News, id: RequestId) -> Option<Result<(), RequestError>> {
    let News::Control(message) = news else {
        return None;
    };
    let (of, answer) = match message {
        ControlMessage::SubscribeOk(of, _) | ControlMessage::TrackStatusOk(of, _) => (*of, Ok(())),
        ControlMessage::PublishOk(of, _) => (*of, Ok(())),
        ControlMessage::FetchOk(of, _) => (*of, Ok(())),
        ControlMessage::PublishNamespaceOk(of) | ControlMessage::SubscribeNamespaceOk(of) => (*of, Ok(())),
        ControlMessage::RequestError(of, _, error) => (*of, Err(error.clone())),
        _ => return None,
    };
    (of == id).then_some(answer)
}

/// Asks, and says why it was refused.
pub async fn ask_denied(
    peer: &mut Raw,
    kind: RequestKind,
    track: &FullTrackName,
    tokens: &[Bytes],
) -> Option<RequestErrorReason> {
    let id = ask(peer, kind, track, tokens).await;
    denied(peer, id).await
}
