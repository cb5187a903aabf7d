//! TRACK_STATUS, and what publishers of the tests say of their tracks.

use super::raw::{Raw, subscribe};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, MessageParams, RequestError, RequestId, RequestKind, SubscribeFilter,
    SubscribeOk,
};
use laps_protocol::moqt::name::FullTrackName;

/// The alias of a publisher that says [`said`].
pub const ALIAS: u64 = 70;
/// What is asked for, where that does not matter.
pub const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Sends TRACK_STATUS.
pub async fn ask(client: &mut Raw, name: &FullTrackName, filter: SubscribeFilter) -> RequestId {
    let id = client.id();
    client
        .say(ControlMessage::TrackStatus(id, subscribe(name, filter)))
        .await;
    id
}

/// Waits for the answer.
pub async fn answer(client: &mut Raw, id: RequestId) -> Result<SubscribeOk, RequestError> {
    client
        .control(|message| match message {
            ControlMessage::TrackStatusOk(of, ok) if *of == id => Some(Ok(ok.clone())),
            ControlMessage::RequestError(of, RequestKind::TrackStatus, error) if *of == id => {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
}

/// What a publisher says, with nothing left out.
pub fn said(largest: Option<Location>) -> SubscribeOk {
    SubscribeOk {
        alias: ALIAS,
        expires_ms: 0,
        group_order: GroupOrder::Descending,
        largest,
        params: MessageParams {
            delivery_timeout_ms: Some(700),
            max_cache_duration_ms: Some(9000),
            ..MessageParams::default()
        },
    }
}
