//! Every number that draft 14 assigns, in one table.

/// The version as it stands in SETUP. MOQT-14 §9.3.1 [D14-SETUP-9].
pub(crate) const VERSION: u64 = 0xff00_000e;

/// Control message types. MOQT-14 §9, Table 1.
pub(crate) mod control {
    /// MOQT-14 §9.10 [D14-MSG-9]
    pub(crate) const SUBSCRIBE_UPDATE: u64 = 0x02;
    /// MOQT-14 §9.7 [D14-MSG-6]
    pub(crate) const SUBSCRIBE: u64 = 0x03;
    /// MOQT-14 §9.8 [D14-MSG-7]
    pub(crate) const SUBSCRIBE_OK: u64 = 0x04;
    /// MOQT-14 §9.9 [D14-MSG-8]
    pub(crate) const SUBSCRIBE_ERROR: u64 = 0x05;
    /// MOQT-14 §9.23 [D14-MSG-22]
    pub(crate) const PUBLISH_NAMESPACE: u64 = 0x06;
    /// MOQT-14 §9.24 [D14-MSG-23]
    pub(crate) const PUBLISH_NAMESPACE_OK: u64 = 0x07;
    /// MOQT-14 §9.25 [D14-MSG-24]
    pub(crate) const PUBLISH_NAMESPACE_ERROR: u64 = 0x08;
    /// MOQT-14 §9.26 [D14-MSG-25]
    pub(crate) const PUBLISH_NAMESPACE_DONE: u64 = 0x09;
    /// MOQT-14 §9.11 [D14-MSG-10]
    pub(crate) const UNSUBSCRIBE: u64 = 0x0a;
    /// MOQT-14 §9.12 [D14-MSG-11]
    pub(crate) const PUBLISH_DONE: u64 = 0x0b;
    /// MOQT-14 §9.27 [D14-MSG-26]
    pub(crate) const PUBLISH_NAMESPACE_CANCEL: u64 = 0x0c;
    /// MOQT-14 §9.20 [D14-MSG-19]
    pub(crate) const TRACK_STATUS: u64 = 0x0d;
    /// MOQT-14 §9.21 [D14-MSG-20]
    pub(crate) const TRACK_STATUS_OK: u64 = 0x0e;
    /// MOQT-14 §9.22 [D14-MSG-21]
    pub(crate) const TRACK_STATUS_ERROR: u64 = 0x0f;
    /// MOQT-14 §9.4 [D14-MSG-3]
    pub(crate) const GOAWAY: u64 = 0x10;
    /// MOQT-14 §9.28 [D14-MSG-27]
    pub(crate) const SUBSCRIBE_NAMESPACE: u64 = 0x11;
    /// MOQT-14 §9.29 [D14-MSG-28]
    pub(crate) const SUBSCRIBE_NAMESPACE_OK: u64 = 0x12;
    /// MOQT-14 §9.30 [D14-MSG-29]
    pub(crate) const SUBSCRIBE_NAMESPACE_ERROR: u64 = 0x13;
    /// MOQT-14 §9.31 [D14-MSG-30]
    pub(crate) const UNSUBSCRIBE_NAMESPACE: u64 = 0x14;
    /// MOQT-14 §9.5 [D14-MSG-4]
    pub(crate) const MAX_REQUEST_ID: u64 = 0x15;
    /// MOQT-14 §9.16 [D14-MSG-15]
    pub(crate) const FETCH: u64 = 0x16;
    /// MOQT-14 §9.19 [D14-MSG-18]
    pub(crate) const FETCH_CANCEL: u64 = 0x17;
    /// MOQT-14 §9.17 [D14-MSG-16]
    pub(crate) const FETCH_OK: u64 = 0x18;
    /// MOQT-14 §9.18 [D14-MSG-17]
    pub(crate) const FETCH_ERROR: u64 = 0x19;
    /// MOQT-14 §9.6 [D14-MSG-5]
    pub(crate) const REQUESTS_BLOCKED: u64 = 0x1a;
    /// MOQT-14 §9.13 [D14-MSG-12]
    pub(crate) const PUBLISH: u64 = 0x1d;
    /// MOQT-14 §9.14 [D14-MSG-13]
    pub(crate) const PUBLISH_OK: u64 = 0x1e;
    /// MOQT-14 §9.15 [D14-MSG-14]
    pub(crate) const PUBLISH_ERROR: u64 = 0x1f;
    /// MOQT-14 §9.3 [D14-MSG-1]
    pub(crate) const CLIENT_SETUP: u64 = 0x20;
    /// MOQT-14 §9.3 [D14-MSG-2]
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
    /// No parameter of the draft: laps sends and honours it under this number.
    pub(crate) const NEW_GROUP_REQUEST: u64 = 0x22;
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

/// Extension headers of objects. MOQT-14 §11.
pub(crate) mod extension {
    /// MOQT-14 §11.2 [D14-DATA-11]
    pub(crate) const IMMUTABLE: u64 = 0x0b;
    /// MOQT-14 §11.1 [D14-DATA-10]
    pub(crate) const PRIOR_GROUP_ID_GAP: u64 = 0x3c;
    /// MOQT-14 §11.3 [D14-DATA-10]
    pub(crate) const PRIOR_OBJECT_ID_GAP: u64 = 0x3e;
}
