//! Parameters of control messages. MOQT-14 §9.2.

use bytes::Bytes;
use std::fmt;

pub use crate::wire::kvp::{KeyValue, Value};

/// Parameters of requests and their answers. Absent means the draft's default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MessageParams {
    /// DELIVERY_TIMEOUT in milliseconds. MOQT-14 §9.2.1.2.
    pub delivery_timeout_ms: Option<u64>,
    /// MAX_CACHE_DURATION in milliseconds. MOQT-14 §9.2.1.3.
    pub max_cache_duration_ms: Option<u64>,
    /// The subscriber wants a new group soon: in SUBSCRIBE, SUBSCRIBE_UPDATE and PUBLISH_OK. It is laps' parameter, which
    /// later drafts took over as the largest group that the subscriber knows plus one, 0 for none. MOQT-18
    /// NEW_GROUP_REQUEST.
    pub new_group_request: Option<u64>,
    /// AUTHORIZATION_TOKEN, repeatable, each the undecoded token structure. MOQT-14 §9.2.1.1.
    pub authorization_tokens: Vec<Bytes>,
    /// Parameters this build does not know, in order of arrival.
    ///
    /// MOQT-14 §9.2 [D14-PARAM-1]: ignored; kept so that a message can be shown whole. Writing a parameter that the
    /// draft knows from here is an error.
    pub unknown: Vec<KeyValue>,
}

impl fmt::Debug for MessageParams {
    /// Shows that there are tokens, never what they are: messages are logged. [D14-AUTH-10]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageParams")
            .field("delivery_timeout_ms", &self.delivery_timeout_ms)
            .field("max_cache_duration_ms", &self.max_cache_duration_ms)
            .field("new_group_request", &self.new_group_request)
            .field("authorization_tokens", &self.authorization_tokens.len())
            .field("unknown", &self.unknown)
            .finish()
    }
}
