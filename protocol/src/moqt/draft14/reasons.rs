//! Codes for why something ended, one table per message: the same number means different things in different ones.
//!
//! MOQT-14 §3.4, §9 and §13.1 [D14-TERM-1] [D14-TERM-4] [D14-TERM-5] [D14-TERM-6] [D14-TERM-7] [D14-TERM-8].

use crate::moqt::error::{CloseCode, ResetCode};
use crate::moqt::message::{PublishDoneStatus, RequestErrorReason, RequestKind};

/// A table of codes and meanings.
type Table<T> = [(u64, T)];

fn code_of<T: Copy + PartialEq>(table: &Table<T>, meaning: T) -> Option<u64> {
    table
        .iter()
        .find(|(_, entry)| *entry == meaning)
        .map(|&(code, _)| code)
}

fn meaning_of<T: Copy>(table: &Table<T>, code: u64) -> Option<T> {
    table
        .iter()
        .find(|(entry, _)| *entry == code)
        .map(|&(_, meaning)| meaning)
}

/// MOQT-14 §3.4 [D14-TERM-1]; nothing stands between 0x9 and 0x10.
const CLOSE: &Table<CloseCode> = &[
    (0x0, CloseCode::NoError),
    (0x1, CloseCode::InternalError),
    (0x2, CloseCode::Unauthorized),
    (0x3, CloseCode::ProtocolViolation),
    (0x4, CloseCode::InvalidRequestId),
    (0x5, CloseCode::DuplicateTrackAlias),
    (0x6, CloseCode::KeyValueFormatting),
    (0x7, CloseCode::TooManyRequests),
    (0x8, CloseCode::InvalidPath),
    (0x9, CloseCode::MalformedPath),
    (0x10, CloseCode::GoawayTimeout),
    (0x11, CloseCode::ControlMessageTimeout),
    (0x12, CloseCode::DataStreamTimeout),
    (0x13, CloseCode::AuthTokenCacheOverflow),
    (0x14, CloseCode::DuplicateAuthTokenAlias),
    (0x15, CloseCode::VersionNegotiationFailed),
    (0x16, CloseCode::MalformedAuthToken),
    (0x17, CloseCode::UnknownAuthTokenAlias),
    (0x18, CloseCode::ExpiredAuthToken),
    (0x19, CloseCode::InvalidAuthority),
    (0x1a, CloseCode::MalformedAuthority),
];

/// MOQT-14 §10.4.3 [D14-CLOSE-8].
const RESET: &Table<ResetCode> = &[
    (0x0, ResetCode::InternalError),
    (0x1, ResetCode::Cancelled),
    (0x2, ResetCode::DeliveryTimeout),
    (0x3, ResetCode::SessionClosed),
];

/// MOQT-14 §9.12 [D14-TERM-8].
const PUBLISH_DONE: &Table<PublishDoneStatus> = &[
    (0x0, PublishDoneStatus::InternalError),
    (0x1, PublishDoneStatus::Unauthorized),
    (0x2, PublishDoneStatus::TrackEnded),
    (0x3, PublishDoneStatus::SubscriptionEnded),
    (0x4, PublishDoneStatus::GoingAway),
    (0x5, PublishDoneStatus::Expired),
    (0x6, PublishDoneStatus::TooFarBehind),
    (0x7, PublishDoneStatus::MalformedTrack),
];

/// SUBSCRIBE_ERROR and TRACK_STATUS_ERROR. MOQT-14 §9.9 [D14-TERM-4].
const SUBSCRIBE_ERROR: &Table<RequestErrorReason> = &[
    (0x0, RequestErrorReason::InternalError),
    (0x1, RequestErrorReason::Unauthorized),
    (0x2, RequestErrorReason::Timeout),
    (0x3, RequestErrorReason::NotSupported),
    (0x4, RequestErrorReason::TrackDoesNotExist),
    (0x5, RequestErrorReason::InvalidRange),
    (0x10, RequestErrorReason::MalformedAuthToken),
    (0x12, RequestErrorReason::ExpiredAuthToken),
];

/// MOQT-14 §9.15 [D14-TERM-5].
const PUBLISH_ERROR: &Table<RequestErrorReason> = &[
    (0x0, RequestErrorReason::InternalError),
    (0x1, RequestErrorReason::Unauthorized),
    (0x2, RequestErrorReason::Timeout),
    (0x3, RequestErrorReason::NotSupported),
    (0x4, RequestErrorReason::Uninterested),
];

/// MOQT-14 §9.18 [D14-TERM-6].
const FETCH_ERROR: &Table<RequestErrorReason> = &[
    (0x0, RequestErrorReason::InternalError),
    (0x1, RequestErrorReason::Unauthorized),
    (0x2, RequestErrorReason::Timeout),
    (0x3, RequestErrorReason::NotSupported),
    (0x4, RequestErrorReason::TrackDoesNotExist),
    (0x5, RequestErrorReason::InvalidRange),
    (0x6, RequestErrorReason::NoObjects),
    (0x7, RequestErrorReason::InvalidJoiningRequestId),
    (0x8, RequestErrorReason::UnknownStatusInRange),
    (0x9, RequestErrorReason::MalformedTrack),
    (0x10, RequestErrorReason::MalformedAuthToken),
    (0x12, RequestErrorReason::ExpiredAuthToken),
];

/// PUBLISH_NAMESPACE_ERROR and PUBLISH_NAMESPACE_CANCEL. MOQT-14 §9.25 [D14-TERM-7].
const PUBLISH_NAMESPACE_ERROR: &Table<RequestErrorReason> = &[
    (0x0, RequestErrorReason::InternalError),
    (0x1, RequestErrorReason::Unauthorized),
    (0x2, RequestErrorReason::Timeout),
    (0x3, RequestErrorReason::NotSupported),
    (0x4, RequestErrorReason::Uninterested),
    (0x10, RequestErrorReason::MalformedAuthToken),
    (0x12, RequestErrorReason::ExpiredAuthToken),
];

/// MOQT-14 §9.30 [D14-TERM-7].
const SUBSCRIBE_NAMESPACE_ERROR: &Table<RequestErrorReason> = &[
    (0x0, RequestErrorReason::InternalError),
    (0x1, RequestErrorReason::Unauthorized),
    (0x2, RequestErrorReason::Timeout),
    (0x3, RequestErrorReason::NotSupported),
    (0x4, RequestErrorReason::NamespacePrefixUnknown),
    (0x5, RequestErrorReason::NamespacePrefixOverlap),
    (0x10, RequestErrorReason::MalformedAuthToken),
    (0x12, RequestErrorReason::ExpiredAuthToken),
];

const fn request_table(kind: RequestKind) -> &'static Table<RequestErrorReason> {
    match kind {
        RequestKind::Subscribe | RequestKind::TrackStatus => SUBSCRIBE_ERROR,
        RequestKind::Publish => PUBLISH_ERROR,
        RequestKind::Fetch => FETCH_ERROR,
        RequestKind::PublishNamespace => PUBLISH_NAMESPACE_ERROR,
        RequestKind::SubscribeNamespace => SUBSCRIBE_NAMESPACE_ERROR,
    }
}

/// The code of `reason` in the error answer to a request of this kind.
///
/// A refusal must always be sayable: a reason that the message has no code for goes out as UNAUTHORIZED when it is
/// about a token (MOQT-14 §9.15 [D14-AUTH-4]), else as INTERNAL_ERROR.
pub(crate) fn request_code(kind: RequestKind, reason: RequestErrorReason) -> u64 {
    if let RequestErrorReason::Unknown(code) = reason {
        return code;
    }
    let table = request_table(kind);
    let nearest = if matches!(
        reason,
        RequestErrorReason::MalformedAuthToken | RequestErrorReason::ExpiredAuthToken
    ) {
        RequestErrorReason::Unauthorized
    } else {
        RequestErrorReason::InternalError
    };
    code_of(table, reason)
        .or_else(|| code_of(table, nearest))
        .unwrap_or_default()
}

/// What `code` means in the error answer to a request of this kind. [D14-TERM-9]: an unknown code ends nothing.
pub(crate) fn request_reason(kind: RequestKind, code: u64) -> RequestErrorReason {
    meaning_of(request_table(kind), code).unwrap_or(RequestErrorReason::Unknown(code))
}

/// The code of a PUBLISH_DONE status.
pub(crate) fn publish_done_code(status: PublishDoneStatus) -> u64 {
    if let PublishDoneStatus::Unknown(code) = status {
        return code;
    }
    code_of(PUBLISH_DONE, status).unwrap_or_default()
}

/// The status behind a code of PUBLISH_DONE. [D14-TERM-9]
pub(crate) fn publish_done_status(code: u64) -> PublishDoneStatus {
    meaning_of(PUBLISH_DONE, code).unwrap_or(PublishDoneStatus::Unknown(code))
}

/// The application error code that closes a session.
pub(crate) fn close_code(code: CloseCode) -> u64 {
    // Every meaning stands in the table, as a test proves; 0x1 is INTERNAL_ERROR.
    code_of(CLOSE, code).unwrap_or(0x1)
}

/// Why the peer closed the session; none for a code that the draft does not define.
pub(crate) fn close_code_from(code: u64) -> Option<CloseCode> {
    meaning_of(CLOSE, code)
}

/// The application error code of RESET_STREAM and STOP_SENDING.
pub(crate) fn reset_code(code: ResetCode) -> u64 {
    if let ResetCode::Unknown(code) = code {
        return code;
    }
    code_of(RESET, code).unwrap_or_default()
}

/// Why the peer reset or refused a stream.
pub(crate) fn reset_code_from(code: u64) -> ResetCode {
    meaning_of(RESET, code).unwrap_or(ResetCode::Unknown(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [RequestKind; 6] = [
        RequestKind::Subscribe,
        RequestKind::Publish,
        RequestKind::Fetch,
        RequestKind::TrackStatus,
        RequestKind::PublishNamespace,
        RequestKind::SubscribeNamespace,
    ];

    /// D14-TERM-1 D14-TERM-9: every code comes back as itself, defined or not.
    #[test]
    fn codes_come_back() {
        for code in 0..0x40 {
            for kind in KINDS {
                assert_eq!(request_code(kind, request_reason(kind, code)), code, "{kind:?}");
            }
            assert_eq!(publish_done_code(publish_done_status(code)), code);
            assert_eq!(reset_code(reset_code_from(code)), code);
            if let Some(meaning) = close_code_from(code) {
                assert_eq!(close_code(meaning), code);
            }
        }
        assert_eq!((0..0x40).filter_map(close_code_from).count(), 21);
        assert_eq!(close_code_from(0xa), None);
    }

    /// D14-TERM-1 D14-TERM-4 D14-TERM-5 D14-TERM-6 D14-TERM-7 D14-TERM-8 D14-CLOSE-8: as the draft lists them.
    #[test]
    fn codes_mean_what_the_draft_says() {
        let listed = |meaning: &dyn Fn(u64) -> String| {
            let all = (0..0x40).map(|code| (code, meaning(code)));
            let known = all.filter(|(_, name)| !name.is_empty() && !name.starts_with("Unknown("));
            let lines = known.map(|(code, name)| format!("{code:x} {name}"));
            lines.collect::<Vec<_>>().join(", ")
        };
        let request = |kind| listed(&|code| format!("{:?}", request_reason(kind, code)));
        let common = "0 InternalError, 1 Unauthorized, 2 Timeout, 3 NotSupported, ";
        let tokens = ", 10 MalformedAuthToken, 12 ExpiredAuthToken";
        for (kind, own, has_tokens) in [
            (
                RequestKind::Subscribe,
                "4 TrackDoesNotExist, 5 InvalidRange",
                true,
            ),
            (
                RequestKind::TrackStatus,
                "4 TrackDoesNotExist, 5 InvalidRange",
                true,
            ),
            (RequestKind::Publish, "4 Uninterested", false),
            (
                RequestKind::Fetch,
                "4 TrackDoesNotExist, 5 InvalidRange, 6 NoObjects, 7 InvalidJoiningRequestId, \
                 8 UnknownStatusInRange, 9 MalformedTrack",
                true,
            ),
            (RequestKind::PublishNamespace, "4 Uninterested", true),
            (
                RequestKind::SubscribeNamespace,
                "4 NamespacePrefixUnknown, 5 NamespacePrefixOverlap",
                true,
            ),
        ] {
            let tokens = if has_tokens { tokens } else { "" };
            assert_eq!(request(kind), format!("{common}{own}{tokens}"), "{kind:?}");
        }
        assert_eq!(
            listed(&|code| format!("{:?}", publish_done_status(code))),
            "0 InternalError, 1 Unauthorized, 2 TrackEnded, 3 SubscriptionEnded, 4 GoingAway, 5 Expired, \
             6 TooFarBehind, 7 MalformedTrack"
        );
        assert_eq!(
            listed(&|code| format!("{:?}", reset_code_from(code))),
            "0 InternalError, 1 Cancelled, 2 DeliveryTimeout, 3 SessionClosed"
        );
        assert_eq!(
            listed(&|code| close_code_from(code).map_or_else(String::new, |code| format!("{code:?}"))),
            "0 NoError, 1 InternalError, 2 Unauthorized, 3 ProtocolViolation, 4 InvalidRequestId, \
             5 DuplicateTrackAlias, 6 KeyValueFormatting, 7 TooManyRequests, 8 InvalidPath, 9 MalformedPath, \
             10 GoawayTimeout, 11 ControlMessageTimeout, 12 DataStreamTimeout, 13 AuthTokenCacheOverflow, \
             14 DuplicateAuthTokenAlias, 15 VersionNegotiationFailed, 16 MalformedAuthToken, \
             17 UnknownAuthTokenAlias, 18 ExpiredAuthToken, 19 InvalidAuthority, 1a MalformedAuthority"
        );
    }

    /// D14-TERM-7: the same number, different meanings.
    #[test]
    fn code_4_depends_on_the_message() {
        let meanings = KINDS.map(|kind| request_reason(kind, 4));
        assert_eq!(
            meanings,
            [
                RequestErrorReason::TrackDoesNotExist,
                RequestErrorReason::Uninterested,
                RequestErrorReason::TrackDoesNotExist,
                RequestErrorReason::TrackDoesNotExist,
                RequestErrorReason::Uninterested,
                RequestErrorReason::NamespacePrefixUnknown,
            ]
        );
    }

    /// D14-AUTH-4.
    #[test]
    fn a_reason_without_a_code_is_still_said() {
        assert_eq!(
            request_code(RequestKind::Publish, RequestErrorReason::ExpiredAuthToken),
            0x1
        );
        assert_eq!(
            request_code(RequestKind::Publish, RequestErrorReason::TrackDoesNotExist),
            0x0
        );
        assert_eq!(
            request_code(RequestKind::Subscribe, RequestErrorReason::NoObjects),
            0x0
        );
    }
}
