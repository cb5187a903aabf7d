//! What the origin of a track tells a node that subscribes to it, in a NODE_MESSAGE. laps has no such answer. Decision 0029.
//!
//! The body is the full name's hash and one MOQT control message: SUBSCRIBE_OK, SUBSCRIBE_ERROR or PUBLISH_DONE, of the draft
//! whose SUBSCRIBE the subscribe info carries. It answers that SUBSCRIBE by its request id: see [`TrackAnswer::request`].

use super::codepoints::node_message;
use crate::moqt::codec::{Codec, ControlDecoder};
use crate::moqt::message::{ControlMessage, PublishDone, RequestError, RequestId, RequestKind, SubscribeOk};
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::hash::FullNameHash;
use bytes::{BufMut, Bytes, BytesMut};

const SECTION: &str = "NODE_MESSAGE, answer";
const HASH_BYTES: usize = 8;
/// The hash, and the longest control message with its type and length. MOQT-14 §9.
const MAX_BYTES: usize = HASH_BYTES + 10 + 65_535;
const CODEC: Codec = Codec::Draft14;

/// What becomes of the subscription of a node to a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackAnswer {
    /// The track.
    pub track: FullNameHash,
    /// Whose answer it is: the id that stands in the SUBSCRIBE of the subscribe info. The node that subscribes gives each of
    /// its subscriptions one that it never gave before, in no life of it, so that no answer is taken for that of another;
    /// a change of a subscription keeps the id.
    pub request: RequestId,
    /// The answer.
    pub answer: Answer,
}

/// The answer, or what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The track is there. Its alias is the full name's hash, as it is on all links.
    Ok(SubscribeOk),
    /// It is not to be had.
    Error(RequestError),
    /// It is over. Of how many streams is known for a node that got all of them from the first one on over one link.
    Done(PublishDone),
}

impl Answer {
    /// What it says, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok(_) => "accepted",
            Self::Error(_) => "refused",
            Self::Done(_) => "over",
        }
    }
}

impl TrackAnswer {
    /// The kind of a NODE_MESSAGE with an answer; its request id is that of the answer.
    pub const KIND: u8 = node_message::ANSWER;
    /// The kind of one that has been given before and holds still: an [`Answer::Ok`], of the same life of the origin. A link
    /// on the way died, and objects go by another one. Whatever was made up to the largest place in it may be missing.
    pub const AGAIN: u8 = node_message::ANSWER_AGAIN;
    /// The kind of one that has been given before and holds still, of the same life of the origin: perhaps it was not heard.
    /// To who heard it this says nothing new, since nothing is known to be missing.
    pub const REPEATED: u8 = node_message::ANSWER_REPEATED;

    /// The body of the NODE_MESSAGE.
    ///
    /// # Errors
    /// When a number or a phrase is larger than MOQT can say.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let (hash, id) = (self.track.get(), self.request);
        let message = match &self.answer {
            Answer::Ok(ok) => {
                let ok = SubscribeOk {
                    alias: hash,
                    ..ok.clone()
                };
                ControlMessage::SubscribeOk(id, ok)
            }
            Answer::Error(error) => ControlMessage::RequestError(id, RequestKind::Subscribe, error.clone()),
            Answer::Done(done) => ControlMessage::PublishDone(id, done.clone()),
        };
        let mut body = BytesMut::new();
        body.put_u64(hash);
        let put = CODEC.encode(&message, &mut body);
        put.map_err(|_| EncodeError::NoCodepoint("an answer"))?;
        Ok(body.freeze())
    }

    /// Reads the body of a NODE_MESSAGE of this kind with this request id.
    ///
    /// # Errors
    /// When it is no such answer. The link is not at fault: who handed it on did not look.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "three messages of all that MOQT has are answers"
    )]
    pub fn decode(request_id: u64, body: &Bytes) -> Result<Self, DecodeError> {
        let wrong = |what: &'static str| DecodeError::encoding(what, SECTION);
        let hash = body.first_chunk().copied().map(u64::from_be_bytes);
        let track = hash.and_then(FullNameHash::new);
        let track = track.ok_or_else(|| wrong("no full name hash"))?;
        if body.len() > MAX_BYTES {
            return Err(wrong("more bytes than an answer has"));
        }
        let mut decoder = ControlDecoder::new(CODEC);
        decoder.push(body.slice(HASH_BYTES..));
        let message = decoder
            .next()
            .map_err(|error| DecodeError::encoding(error.to_string(), SECTION))?
            .filter(|_| decoder.buffered() == 0)
            .ok_or_else(|| wrong("not one whole message"))?;
        let (request, answer) = match message {
            ControlMessage::SubscribeOk(id, ok) if ok.alias == track.get() => (id, Answer::Ok(ok)),
            ControlMessage::RequestError(id, RequestKind::Subscribe, error) => (id, Answer::Error(error)),
            ControlMessage::PublishDone(id, done) => (id, Answer::Done(done)),
            _ => return Err(wrong("a message that answers no subscribe info")),
        };
        if request.0 != request_id {
            return Err(wrong("two request ids"));
        }
        Ok(Self {
            track,
            request,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::location::Location;
    use crate::moqt::message::{
        GroupOrder, MessageParams, PublishDoneStatus, RequestErrorReason, SubscribeUpdate,
    };

    const TRACK: FullNameHash = FullNameHash::MAX;

    fn answer(answer: Answer) -> TrackAnswer {
        TrackAnswer {
            track: TRACK,
            request: RequestId(1 << 50),
            answer,
        }
    }

    fn all() -> [TrackAnswer; 3] {
        [
            answer(Answer::Ok(SubscribeOk {
                alias: TRACK.get(),
                expires_ms: 9000,
                group_order: GroupOrder::Descending,
                largest: Some(Location::new(7, 3)),
                params: MessageParams {
                    delivery_timeout_ms: Some(300),
                    max_cache_duration_ms: Some(60_000),
                    ..MessageParams::default()
                },
            })),
            answer(Answer::Error(RequestError::new(
                RequestErrorReason::TrackDoesNotExist,
                "nobody publishes this track",
            ))),
            answer(Answer::Done(PublishDone {
                status: PublishDoneStatus::TrackEnded,
                stream_count: None,
                phrase: Bytes::from_static(b"over"),
            })),
        ]
    }

    /// Decision 0029: MOQT-14 §9.8, §9.9 and §9.12 behind the hash.
    #[test]
    fn answers_come_back() {
        for said in all() {
            let body = said.encode().unwrap();
            assert_eq!(&body[..8], TRACK.get().to_be_bytes());
            assert_eq!(TrackAnswer::decode(1 << 50, &body), Ok(said));
        }
    }

    /// The alias is not that of the session in which the track was subscribed to, nor are the streams counted there.
    #[test]
    fn what_holds_for_one_session_is_not_told() {
        let [ok, ..] = all();
        let Answer::Ok(mut of_session) = ok.answer.clone() else {
            unreachable!()
        };
        of_session.alias = 3;
        assert_eq!(answer(Answer::Ok(of_session)).encode(), ok.encode());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |id: u64, body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            TrackAnswer::decode(id, &body).unwrap_err().what.into_owned()
        };
        let id = 1 << 50;
        for said in all() {
            let body = said.encode().unwrap();
            assert_eq!(refused(id + 1, &body), "two request ids");
            for len in 0..body.len() {
                refused(id, &body[..len]);
            }
            let more = [&body[..], b"x"].concat();
            refused(id, &more);
        }
        let long = vec![0; MAX_BYTES + 1];
        assert_eq!(refused(id, &long), "more bytes than an answer has");
        assert_eq!(refused(id, &[0xff; 8]), "no full name hash");
        let mut other = BytesMut::from(&TRACK.get().to_be_bytes()[..]);
        let update = SubscribeUpdate {
            subscription: RequestId(0),
            start: Location::ZERO,
            end_group: None,
            priority: 0,
            forward: true,
            params: MessageParams::default(),
        };
        let update = ControlMessage::SubscribeUpdate(RequestId(id), update);
        CODEC.encode(&update, &mut other).unwrap();
        assert_eq!(refused(id, &other), "a message that answers no subscribe info");
        // An alias that is not the hash would name another track.
        let body = all()[0].encode().unwrap();
        let other = [&(TRACK.get() - 1).to_be_bytes()[..], &body[8..]].concat();
        assert_eq!(refused(id, &other), "a message that answers no subscribe info");
    }
}
