//! What two nodes say of a FETCH or TRACK_STATUS; a part of the target `peering`.

use crate::feed::Feed;
use crate::messages::{fetch, fetch_ok, request_error, subscribe, subscribe_ok, track};
use bytes::Bytes;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{FetchMessage, FetchStep};

/// Any body is a step of a FETCH or none, and one that is can be told again.
pub(crate) fn step_of_fetch(request_id: u64, body: &Bytes) {
    let small = Limits::default().with_max_subscribe_data_bytes(60);
    assert!(body.len() <= 60 || FetchMessage::decode(request_id, body, &small).is_err());
    let Ok(message) = FetchMessage::decode(request_id, body, &Limits::default()) else {
        return;
    };
    assert_eq!(message.request.0, request_id);
    let again = message
        .encode()
        .map(|body| FetchMessage::decode(request_id, &body, &Limits::default()));
    assert_eq!(again, Ok(Ok(message)));
}

/// FETCH and TRACK_STATUS between nodes, whole and with a byte that is another one. Decision 0029.
pub(crate) fn fetches(feed: &mut Feed<'_>) {
    let request = RequestId(feed.number());
    let step = match feed.below(7) {
        0 => {
            let track = track(feed);
            let Ok(plain) = fetch(feed, track, request).try_into() else {
                return;
            };
            FetchStep::Fetch(plain)
        }
        1 => FetchStep::Ok(fetch_ok(feed)),
        2 => FetchStep::Error(request_error(feed)),
        3 => FetchStep::Cancel,
        4 => {
            let track = track(feed);
            FetchStep::Status(subscribe(feed, track))
        }
        5 => FetchStep::StatusOk(subscribe_ok(feed, 0)),
        _ => FetchStep::StatusError(request_error(feed)),
    };
    let Ok(body) = (FetchMessage { request, step }).encode() else {
        return;
    };
    assert_eq!(
        FetchMessage::decode(request.0, &body, &Limits::default())
            .unwrap()
            .request,
        request
    );
    let mut bent = body.to_vec();
    let at = feed.below(bent.len());
    bent[at] = feed.u8();
    step_of_fetch(request.0, &bent.into());
}
