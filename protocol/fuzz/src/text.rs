//! What people and tokens write: names, scopes, URLs; and boxes of media files.

use crate::feed::Feed;
use crate::messages;
use laps_protocol::auth::{
    Action, AllowAll, Denied, Fault, Grant, MAX_SCOPES, Resource, Rights, Scope, Token, UnixSeconds,
    Verifier, scopes,
};
use laps_protocol::moqt::name_text::{parse_full_name, parse_namespace, parse_track_name, track_text};

/// Names of namespaces and tracks as text.
pub(crate) fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse_namespace(&text) {
        Ok(namespace) => {
            let fields = namespace.fields();
            assert!((1..=32).contains(&fields.len()) && namespace.byte_len() <= 4096);
            let shown = namespace.to_string();
            // An empty text is an unset variable, never the namespace of one empty field.
            if !shown.is_empty() {
                assert_eq!(parse_namespace(&shown).as_ref(), Ok(&namespace));
            }
            assert!(namespace.is_prefix_of(&namespace));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(bytes) = parse_track_name(&text) {
        assert!(bytes.len() <= text.len());
    }
    let (namespace, track) = text.split_once('\n').unwrap_or((&text, "t"));
    if let Ok(full) = parse_full_name(namespace, track) {
        assert!(full.namespace().byte_len() + full.name().len() <= 4096);
        assert_eq!(parse_track_name(&track_text(&full)).as_ref(), Ok(full.name()));
    }
    let made = messages::track(&mut Feed::new(data));
    assert_eq!(parse_track_name(&track_text(&made)).as_ref(), Ok(made.name()));
}

/// Scopes as text, and the decisions that follow from them.
pub(crate) fn scope(data: &[u8]) {
    let mut feed = Feed::new(data);
    let (now, expires) = (UnixSeconds(feed.number()), UnixSeconds(feed.number()));
    let track = messages::track(&mut feed);
    let action = [
        Action::Subscribe,
        Action::Fetch,
        Action::TrackStatus,
        Action::Publish,
        Action::PublishNamespace,
        Action::SubscribeNamespace,
    ][feed.below(6)];
    let resource = if feed.flag() {
        Resource::Track(&track)
    } else {
        Resource::Namespace(track.namespace())
    };
    let rest = feed.rest();
    let text = String::from_utf8_lossy(&rest);
    let words: Vec<Result<Scope, _>> = text.split_whitespace().map(str::parse).collect();
    for word in &words {
        match word {
            Ok(scope) => assert_eq!(scope.to_string().parse().as_ref(), Ok(scope)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let found = scopes(&text);
    assert_eq!(found.is_none(), words.len() > MAX_SCOPES);
    let Some(found) = found else { return };
    assert_eq!(found.len(), words.iter().flatten().count());
    let covered = found
        .iter()
        .any(|scope| scope.covers(action, resource.namespace()));
    for scope in &found {
        let text = scope.to_string();
        if let Some((_, below)) = text
            .split_once(':')
            .filter(|_| scope.covers(action, resource.namespace()))
        {
            assert!(parse_namespace(below).is_ok_and(|below| below.is_prefix_of(resource.namespace())));
        }
    }
    let grant = Grant::until(expires, found.clone(), UnixSeconds(0));
    assert_eq!(grant.is_ok(), expires.0 > 0 && !found.is_empty());
    let mut rights = Rights::new(Grant::nothing());
    assert!(rights.decide(&[], action, resource, now).is_err());
    if let Ok(grant) = grant {
        assert_eq!(grant.weight(), found.len());
        let decided = rights.decide(std::slice::from_ref(&grant), action, resource, now);
        assert_eq!(decided.is_ok(), covered && now < expires);
        rights.add(vec![grant]);
        let again = rights.decide(&[], action, resource, now);
        assert_eq!(again, decided);
        if let Err(denied) = decided {
            assert_eq!(denied.fault == Fault::Expired, covered);
            refusal(denied);
        }
    }
    assert_eq!(Grant::everything().weight(), 1);
    let shown = Token {
        token_type: 0,
        value: rest.clone(),
    };
    assert!(!format!("{shown:?}").contains("value"));
    rights.add(AllowAll.verify(&shown, now).into_iter().collect());
    assert_eq!(
        rights.decide(&[AllowAll.anonymous()], action, resource, now),
        Ok(())
    );
    for scope in [
        Scope::publisher(None),
        Scope::subscriber(Some(track.namespace().clone())),
    ] {
        // The namespace of one empty field has no text.
        if scope.to_string().ends_with(':') {
            continue;
        }
        assert_eq!(scope.to_string().parse().as_ref(), Ok(&scope));
    }
}

fn refusal(denied: Denied) {
    for fault in [Fault::Unauthorized, Fault::Malformed, Fault::Expired] {
        let denied = Denied::new(fault, denied.phrase);
        assert!(!format!("{denied}{:?}{:?}", denied.reason(), denied.close_code()).is_empty());
    }
}

#[path = "../../../actors/src/client/url.rs"]
#[expect(dead_code, unreachable_pub, reason = "the program uses more of it")]
mod moqt_url;

/// `moqt://` URLs as a user writes them.
pub(crate) fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<moqt_url::MoqtUrl>() {
        Ok(url) => {
            let shown = url.to_string();
            let again: moqt_url::MoqtUrl = shown.parse().unwrap();
            assert_eq!((again.to_string(), again.port()), (shown, url.port()));
            assert_eq!(again.server_name(), url.server_name());
            assert!(url.port() > 0 && !url.server_name().is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[path = "../../../src/source/iso_bmff.rs"]
mod iso_bmff;

/// Boxes of fragmented MP4.
pub(crate) fn boxes(data: &[u8]) {
    if let Ok(Some(header)) = iso_bmff::read_header(data) {
        assert!(header.head <= data.len());
        assert!(header.size.is_none_or(|size| size >= header.head as u64));
    }
    let (moov, moof) = data.split_at(data.len() / 2);
    let _sync = iso_bmff::Movie::read(moov).is_sync(moof);
    let _sync = iso_bmff::Movie::read(data).is_sync(data);
}
