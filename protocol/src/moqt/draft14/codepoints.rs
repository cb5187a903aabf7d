//! Every number that draft 14 assigns, in one table.

/// The version as it stands in SETUP. MOQT-14 §9.3.1 [D14-SETUP-9].
pub(crate) const VERSION: u64 = 0xff00_000e;

/// Control message types. MOQT-14 §9, Table 1.
pub(crate) mod control {
    pub(crate) const SUBSCRIBE_UPDATE: u64 = 0x02;
    pub(crate) const SUBSCRIBE: u64 = 0x03;
    pub(crate) const SUBSCRIBE_OK: u64 = 0x04;
    pub(crate) const SUBSCRIBE_ERROR: u64 = 0x05;
    pub(crate) const PUBLISH_NAMESPACE: u64 = 0x06;
    pub(crate) const PUBLISH_NAMESPACE_OK: u64 = 0x07;
    pub(crate) const PUBLISH_NAMESPACE_ERROR: u64 = 0x08;
    pub(crate) const PUBLISH_NAMESPACE_DONE: u64 = 0x09;
    pub(crate) const UNSUBSCRIBE: u64 = 0x0a;
    pub(crate) const PUBLISH_DONE: u64 = 0x0b;
    pub(crate) const PUBLISH_NAMESPACE_CANCEL: u64 = 0x0c;
    pub(crate) const TRACK_STATUS: u64 = 0x0d;
    pub(crate) const TRACK_STATUS_OK: u64 = 0x0e;
    pub(crate) const TRACK_STATUS_ERROR: u64 = 0x0f;
    pub(crate) const GOAWAY: u64 = 0x10;
    pub(crate) const SUBSCRIBE_NAMESPACE: u64 = 0x11;
    pub(crate) const SUBSCRIBE_NAMESPACE_OK: u64 = 0x12;
    pub(crate) const SUBSCRIBE_NAMESPACE_ERROR: u64 = 0x13;
    pub(crate) const UNSUBSCRIBE_NAMESPACE: u64 = 0x14;
    pub(crate) const MAX_REQUEST_ID: u64 = 0x15;
    pub(crate) const FETCH: u64 = 0x16;
    pub(crate) const FETCH_CANCEL: u64 = 0x17;
    pub(crate) const FETCH_OK: u64 = 0x18;
    pub(crate) const FETCH_ERROR: u64 = 0x19;
    pub(crate) const REQUESTS_BLOCKED: u64 = 0x1a;
    pub(crate) const PUBLISH: u64 = 0x1d;
    pub(crate) const PUBLISH_OK: u64 = 0x1e;
    pub(crate) const PUBLISH_ERROR: u64 = 0x1f;
    pub(crate) const CLIENT_SETUP: u64 = 0x20;
    pub(crate) const SERVER_SETUP: u64 = 0x21;
}

/// Setup parameters, the same in all versions. MOQT-14 §9.3.2 [D14-SETUP-13].
pub(crate) mod setup_param {
    pub(crate) const PATH: u64 = 0x01;
    pub(crate) const MAX_REQUEST_ID: u64 = 0x02;
    pub(crate) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(crate) const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
    pub(crate) const AUTHORITY: u64 = 0x05;
    // MOQT-14 §9.3.2.6 DEVIATION [D14-SETUP-21]: the text prints 0x05, which is AUTHORITY; deployed code and the
    // next draft use 0x07.
    pub(crate) const MOQT_IMPLEMENTATION: u64 = 0x07;
}

/// Parameters of all other messages. MOQT-14 §9.2.1.
pub(crate) mod message_param {
    pub(crate) const DELIVERY_TIMEOUT: u64 = 0x02;
    pub(crate) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(crate) const MAX_CACHE_DURATION: u64 = 0x04;
}

/// Alias types of a token. MOQT-14 §9.2.1.1 [D14-AUTH-1].
pub(crate) mod token {
    pub(crate) const DELETE: u64 = 0x0;
    pub(crate) const REGISTER: u64 = 0x1;
    pub(crate) const USE_ALIAS: u64 = 0x2;
    pub(crate) const USE_VALUE: u64 = 0x3;
}

/// Group orders. MOQT-14 §9.7 [D14-VAL-1].
pub(crate) mod group_order {
    pub(crate) const PUBLISHER: u8 = 0x0;
    pub(crate) const ASCENDING: u8 = 0x1;
    pub(crate) const DESCENDING: u8 = 0x2;
}

/// Filter types. MOQT-14 §9.7 [D14-VAL-5].
pub(crate) mod filter {
    pub(crate) const NEXT_GROUP_START: u64 = 0x1;
    pub(crate) const LARGEST_OBJECT: u64 = 0x2;
    pub(crate) const ABSOLUTE_START: u64 = 0x3;
    pub(crate) const ABSOLUTE_RANGE: u64 = 0x4;
}

/// Fetch types. MOQT-14 §9.16 [D14-VAL-7].
pub(crate) mod fetch {
    pub(crate) const STANDALONE: u64 = 0x1;
    pub(crate) const RELATIVE_JOINING: u64 = 0x2;
    pub(crate) const ABSOLUTE_JOINING: u64 = 0x3;
}

/// The stream count of PUBLISH_DONE that means "not known". MOQT-14 §9.12 [D14-SUB-20].
pub(crate) const UNKNOWN_STREAM_COUNT: u64 = (1 << 62) - 1;

/// Types of unidirectional streams. MOQT-14 §10 [D14-DATA-1].
pub(crate) mod stream {
    pub(crate) const FETCH_HEADER: u64 = 0x05;
    /// SUBGROUP_HEADER without any of the bits below. MOQT-14 §10.4.2 [D14-DATA-2].
    pub(crate) const SUBGROUP_HEADER: u64 = 0x10;
    /// Bit: every object has an extension length.
    pub(crate) const EXTENSIONS: u64 = 0x01;
    /// Two bits that say how the subgroup is named.
    pub(crate) const SUBGROUP_ID_MASK: u64 = 0x06;
    /// Value of the two bits: subgroup 0.
    pub(crate) const SUBGROUP_ID_ZERO: u64 = 0x00;
    /// Value of the two bits: id of the first object.
    pub(crate) const SUBGROUP_ID_FIRST_OBJECT: u64 = 0x02;
    /// Value of the two bits: a field.
    pub(crate) const SUBGROUP_ID_EXPLICIT: u64 = 0x04;
    /// Bit: the stream holds the last object of the group.
    pub(crate) const END_OF_GROUP: u64 = 0x08;
}

/// Types of datagrams, as bits. MOQT-14 §10.3.1 [D14-DATA-12].
pub(crate) mod datagram {
    /// Bit: an extension block is there.
    pub(crate) const EXTENSIONS: u64 = 0x01;
    /// Bit: last object of its group.
    pub(crate) const END_OF_GROUP: u64 = 0x02;
    /// Bit: no object id, which means 0.
    pub(crate) const NO_OBJECT_ID: u64 = 0x04;
    /// Bit: a status instead of a payload; goes with [`EXTENSIONS`] only.
    pub(crate) const STATUS: u64 = 0x20;
}

/// Object status. MOQT-14 §10.2.1.1 [D14-DATA-7].
pub(crate) mod object_status {
    pub(crate) const NORMAL: u64 = 0x0;
    pub(crate) const DOES_NOT_EXIST: u64 = 0x1;
    pub(crate) const END_OF_GROUP: u64 = 0x3;
    pub(crate) const END_OF_TRACK: u64 = 0x4;
}
