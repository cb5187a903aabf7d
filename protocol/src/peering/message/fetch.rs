//! FETCH and TRACK_STATUS between two nodes, in NODE_MESSAGEs. laps has neither. Decision 0029.
//!
//! The body is one MOQT control message, under the number of the request, which the NODE_MESSAGE has as well. The node that
//! asks gives each of its requests one that it never gave before. The objects of a FETCH come on a stream for that node
//! alone, whose FETCH_HEADER has that number.

use super::codepoints::node_message;
use crate::moqt::codec::{Codec, ControlDecoder};
use crate::moqt::location::Location;
use crate::moqt::message::{
    ControlMessage, Fetch, FetchOk, FetchRange, GroupOrderRequest, MessageParams, RequestError, RequestId,
    RequestKind, Subscribe, SubscribeOk,
};
use crate::moqt::name::FullTrackName;
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::limits::Limits;
use bytes::{Bytes, BytesMut};

const SECTION: &str = "NODE_MESSAGE, fetch";
const CODEC: Codec = Codec::Draft14;

/// One message of a FETCH or TRACK_STATUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchMessage {
    /// The request.
    pub request: RequestId,
    /// What is said of it.
    pub step: FetchStep,
}

/// What is said of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// The sender wants a part of a track.
    Fetch(PlainFetch),
    /// The sender serves the FETCH.
    Ok(FetchOk),
    /// It does not; nothing follows.
    Error(RequestError),
    /// The sender does not want the rest of what it has fetched.
    Cancel,
    /// The sender wants to know what a SUBSCRIBE like this would be answered. Without parameters.
    Status(Subscribe),
    /// It would be accepted so.
    StatusOk(SubscribeOk),
    /// It would be refused.
    StatusError(RequestError),
}

/// What a node fetches: never by a subscription of its own, which nobody else knows, and with no parameter, as a relay
/// copies none of a subscriber's. MOQT-14 §9.16.1 [D14-FETCH-3], §9.7 [D14-SUB-14].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainFetch {
    /// The track.
    pub track: FullTrackName,
    /// First place.
    pub start: Location,
    /// End, as on the wire: object 0 for a whole group, else last object plus one.
    pub end: Location,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Order of groups.
    pub group_order: GroupOrderRequest,
}

impl From<PlainFetch> for Fetch {
    fn from(plain: PlainFetch) -> Self {
        Self {
            priority: plain.priority,
            group_order: plain.group_order,
            range: FetchRange::Standalone {
                track: plain.track,
                start: plain.start,
                end: plain.end,
            },
            params: MessageParams::default(),
        }
    }
}

impl TryFrom<Fetch> for PlainFetch {
    type Error = EncodeError;

    /// Without its parameters.
    fn try_from(fetch: Fetch) -> Result<Self, EncodeError> {
        let FetchRange::Standalone { track, start, end } = fetch.range else {
            return Err(EncodeError::NoCodepoint("a FETCH that joins a subscription"));
        };
        Ok(Self {
            track,
            start,
            end,
            priority: fetch.priority,
            group_order: fetch.group_order,
        })
    }
}

impl FetchMessage {
    /// The kind of a NODE_MESSAGE with one of these; its request id is that of the message.
    pub const KIND: u8 = node_message::FETCH;

    /// The body of the NODE_MESSAGE.
    ///
    /// # Errors
    /// When a number, a name or a phrase is larger than MOQT can say.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let id = self.request;
        let error = |kind, error: &RequestError| ControlMessage::RequestError(id, kind, error.clone());
        let message = match &self.step {
            FetchStep::Fetch(fetch) => ControlMessage::Fetch(id, fetch.clone().into()),
            FetchStep::Ok(ok) => ControlMessage::FetchOk(id, ok.clone()),
            FetchStep::Error(why) => error(RequestKind::Fetch, why),
            FetchStep::Cancel => ControlMessage::FetchCancel(id),
            FetchStep::Status(subscribe) => ControlMessage::TrackStatus(id, plain(subscribe.clone())),
            FetchStep::StatusOk(ok) => ControlMessage::TrackStatusOk(id, ok.clone()),
            FetchStep::StatusError(why) => error(RequestKind::TrackStatus, why),
        };
        let mut body = BytesMut::new();
        let put = CODEC.encode(&message, &mut body);
        put.map_err(|_| EncodeError::NoCodepoint("a request between nodes"))?;
        Ok(body.freeze())
    }

    /// Reads the body of a NODE_MESSAGE of this kind with this request id.
    ///
    /// # Errors
    /// When it is none of these. The link is not at fault: who handed it on did not look.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "seven messages of all that MOQT has are said here"
    )]
    pub fn decode(request_id: u64, body: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let wrong = |what: &'static str| DecodeError::encoding(what, SECTION);
        // As much as the SUBSCRIBE of a subscribe info, which has the same in it.
        if body.len() > limits.max_subscribe_data_bytes {
            return Err(wrong("more bytes than are taken"));
        }
        let mut decoder = ControlDecoder::new(CODEC);
        decoder.push(body.clone());
        let message = decoder
            .next()
            .map_err(|error| DecodeError::encoding(error.to_string(), SECTION))?
            .filter(|_| decoder.buffered() == 0)
            .ok_or_else(|| wrong("not one whole message"))?;
        let (request, step) = match message {
            ControlMessage::Fetch(id, fetch) => {
                let plain = PlainFetch::try_from(fetch);
                let plain = plain.map_err(|_| wrong("a FETCH that joins a subscription"))?;
                (id, FetchStep::Fetch(plain))
            }
            ControlMessage::FetchOk(id, ok) => (id, FetchStep::Ok(ok)),
            ControlMessage::RequestError(id, RequestKind::Fetch, why) => (id, FetchStep::Error(why)),
            ControlMessage::FetchCancel(id) => (id, FetchStep::Cancel),
            ControlMessage::TrackStatus(id, subscribe) => (id, FetchStep::Status(plain(subscribe))),
            ControlMessage::TrackStatusOk(id, ok) => (id, FetchStep::StatusOk(ok)),
            ControlMessage::RequestError(id, RequestKind::TrackStatus, why) => {
                (id, FetchStep::StatusError(why))
            }
            _ => return Err(wrong("a message that is no part of a FETCH")),
        };
        if request.0 != request_id {
            return Err(wrong("two request ids"));
        }
        Ok(Self { request, step })
    }
}

/// MOQT-14 §9.7 [D14-SUB-14]: no parameter of a subscriber is copied, a token least of all.
fn plain(subscribe: Subscribe) -> Subscribe {
    Subscribe {
        params: MessageParams::default(),
        ..subscribe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::message::{GroupOrder, RequestErrorReason, SubscribeFilter};
    use crate::moqt::name::TrackNamespace;

    const REQUEST: RequestId = RequestId(1 << 50);

    fn track() -> FullTrackName {
        let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
        FullTrackName::new(namespace, Bytes::from_static(b"video")).unwrap()
    }

    fn fetch() -> PlainFetch {
        PlainFetch {
            track: track(),
            start: Location::new(3, 4),
            end: Location::new(9, 0),
            priority: 7,
            group_order: GroupOrderRequest::Fixed(GroupOrder::Descending),
        }
    }

    fn subscribe() -> Subscribe {
        Subscribe {
            track: track(),
            priority: 1,
            group_order: GroupOrderRequest::Publisher,
            forward: true,
            filter: SubscribeFilter::LargestObject,
            params: MessageParams::default(),
        }
    }

    fn decode(body: &Bytes) -> Result<FetchMessage, DecodeError> {
        FetchMessage::decode(REQUEST.0, body, &Limits::default())
    }

    /// Decision 0029.
    #[test]
    fn every_step_comes_back() {
        let error = || RequestError::new(RequestErrorReason::NoObjects, "nothing is there");
        let status = RequestError::new(RequestErrorReason::TrackDoesNotExist, "no such track");
        for step in [
            FetchStep::Fetch(fetch()),
            FetchStep::Ok(FetchOk {
                group_order: GroupOrder::Descending,
                end_of_track: true,
                end: Location::new(8, 12),
                params: MessageParams::default(),
            }),
            FetchStep::Error(error()),
            FetchStep::Cancel,
            FetchStep::Status(subscribe()),
            FetchStep::StatusOk(SubscribeOk {
                alias: 0,
                expires_ms: 0,
                group_order: GroupOrder::Ascending,
                largest: Some(Location::new(1, 2)),
                params: MessageParams::default(),
            }),
            FetchStep::StatusError(status),
        ] {
            let message = FetchMessage {
                request: REQUEST,
                step,
            };
            let body = message.encode().unwrap();
            assert_eq!(decode(&body), Ok(message.clone()));
            // Neither cut short, nor with something behind it, nor under another number.
            for len in 0..body.len() {
                assert!(decode(&body.slice(..len)).is_err(), "{message:?} {len}");
            }
            assert!(decode(&[&body[..], &[0]].concat().into()).is_err());
            assert!(FetchMessage::decode(REQUEST.0 + 1, &body, &Limits::default()).is_err());
            let limits = Limits::default().with_max_subscribe_data_bytes(body.len() - 1);
            assert!(FetchMessage::decode(REQUEST.0, &body, &limits).is_err());
        }
    }

    /// D14-SUB-14 D14-FETCH-3: what only the asker knows does not travel.
    #[test]
    fn what_is_the_askers_own_stays_there() {
        let params = MessageParams {
            authorization_tokens: vec![Bytes::from_static(&[3, 0, 1])],
            ..MessageParams::default()
        };
        let mut body = BytesMut::new();
        let asked = Fetch {
            params: params.clone(),
            ..fetch().into()
        };
        CODEC
            .encode(&ControlMessage::Fetch(REQUEST, asked), &mut body)
            .unwrap();
        let step = FetchStep::Fetch(fetch());
        assert_eq!(decode(&body.split().freeze()).unwrap().step, step);
        let status = Subscribe {
            params,
            ..subscribe()
        };
        CODEC
            .encode(&ControlMessage::TrackStatus(REQUEST, status.clone()), &mut body)
            .unwrap();
        let step = FetchStep::Status(subscribe());
        assert_eq!(decode(&body.split().freeze()).unwrap().step, step);
        let step = FetchStep::Status(status);
        let message = FetchMessage {
            request: REQUEST,
            step,
        };
        assert_ne!(decode(&message.encode().unwrap()).unwrap(), message);
        let range = FetchRange::RelativeJoining {
            subscription: RequestId(2),
            groups: 1,
        };
        let joining = Fetch {
            range,
            ..fetch().into()
        };
        assert!(PlainFetch::try_from(joining.clone()).is_err());
        CODEC
            .encode(&ControlMessage::Fetch(REQUEST, joining), &mut body)
            .unwrap();
        assert!(decode(&body.split().freeze()).is_err());
        CODEC
            .encode(&ControlMessage::Unsubscribe(REQUEST), &mut body)
            .unwrap();
        assert!(decode(&body.freeze()).is_err());
    }
}
