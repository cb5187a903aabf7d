//! What is counted.

/// Something that a peer makes the relay hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// QUIC connections; each carries one session.
    Connections,
    /// Requests that are open, of whatever kind.
    Requests,
    /// Subscriptions that the peer has: by its SUBSCRIBE, or by accepting our PUBLISH.
    Subscriptions,
    /// Tracks that the peer publishes, each with a track alias: by its PUBLISH, or by our SUBSCRIBE.
    Tracks,
    /// Namespaces that the peer announced.
    Namespaces,
    /// Prefixes that the peer watches.
    Watches,
    /// TRACK_STATUS requests.
    Statuses,
    /// Subscriptions and TRACK_STATUS requests that wait for a publisher.
    Waiting,
    /// FETCH requests.
    Fetches,
    /// Data streams of the peer that are being read.
    Streams,
    /// Data streams whose track alias is not known yet.
    EarlyStreams,
    /// Bytes of streams and datagrams whose track alias is not known yet.
    EarlyBytes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Connections,
        Self::Requests,
        Self::Subscriptions,
        Self::Tracks,
        Self::Namespaces,
        Self::Watches,
        Self::Statuses,
        Self::Waiting,
        Self::Fetches,
        Self::Streams,
        Self::EarlyStreams,
        Self::EarlyBytes,
    ];

    /// The key of what one session may have; of those without one, what bounds them instead.
    pub(super) const fn session_key(self) -> &'static str {
        match self {
            Self::Connections => "transport.max_connections",
            Self::Requests => "session.max_request_id",
            Self::Subscriptions => "limits.subscriptions",
            Self::Tracks => "limits.tracks",
            Self::Namespaces => "limits.namespaces",
            Self::Watches => "limits.watches",
            Self::Statuses => "limits.statuses",
            Self::Waiting => "limits.waiting",
            Self::Fetches => "fetch.max_per_session",
            Self::Streams => "limits.streams",
            Self::EarlyStreams => "limits.early_streams",
            Self::EarlyBytes => "limits.early_bytes",
        }
    }

    /// The key of what all sessions of an address prefix may have together; all requests count as one kind there, but
    /// for those that have a key of their own.
    pub(super) const fn prefix_key(self) -> &'static str {
        match self {
            Self::Connections => "limits.prefix_connections",
            Self::Namespaces => "limits.prefix_namespaces",
            Self::Fetches => "limits.prefix_fetches",
            Self::Requests
            | Self::Subscriptions
            | Self::Tracks
            | Self::Watches
            | Self::Statuses
            | Self::Waiting => "limits.prefix_requests",
            Self::Streams | Self::EarlyStreams | Self::EarlyBytes => "limits.prefix_early_bytes",
        }
    }

    /// The name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Subscriptions => "subscriptions",
            Self::Tracks => "tracks",
            Self::Namespaces => "namespaces",
            Self::Watches => "watches",
            Self::Statuses => "statuses",
            Self::Waiting => "waiting",
            Self::Fetches => "fetches",
            Self::Streams => "streams",
            Self::EarlyStreams => "early_streams",
            Self::EarlyBytes => "early_bytes",
        }
    }

    /// What a peer is told whose session has as many as it may have.
    pub(super) const fn of_session(self) -> &'static str {
        match self {
            Self::Connections => "too many connections",
            Self::Requests => "too many requests of this session are open",
            Self::Subscriptions => "too many subscriptions of this session",
            Self::Tracks => "too many tracks published in this session",
            Self::Namespaces => "too many namespaces announced in this session",
            Self::Watches => "too many prefixes watched in this session",
            Self::Statuses => "too many TRACK_STATUS of this session are open",
            Self::Waiting => "too many subscriptions of this session wait for a publisher",
            Self::Fetches => "too many fetches at once",
            Self::Streams => "too many streams of this session",
            Self::EarlyStreams | Self::EarlyBytes => "too much data before its track alias is known",
        }
    }

    /// What a peer is told whose address prefix has as many as it may have.
    pub(super) const fn of_prefix(self) -> &'static str {
        match self {
            Self::Connections => "too many connections from this address",
            Self::Namespaces => "too many namespaces announced from this address",
            Self::Fetches => "too many fetches from this address",
            Self::Requests
            | Self::Subscriptions
            | Self::Tracks
            | Self::Watches
            | Self::Statuses
            | Self::Waiting => "too many requests from this address",
            Self::Streams | Self::EarlyStreams | Self::EarlyBytes => "too much data from this address",
        }
    }
}

/// Something for each [`Kind`].
#[expect(missing_docs, reason = "each field is what the kind of its name says")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    pub connections: T,
    pub requests: T,
    pub subscriptions: T,
    pub tracks: T,
    pub namespaces: T,
    pub watches: T,
    pub statuses: T,
    pub waiting: T,
    pub fetches: T,
    pub streams: T,
    pub early_streams: T,
    pub early_bytes: T,
}

impl<T: Copy> PerKind<T> {
    /// The same for all.
    #[must_use]
    pub const fn all(value: T) -> Self {
        Self {
            connections: value,
            requests: value,
            subscriptions: value,
            tracks: value,
            namespaces: value,
            watches: value,
            statuses: value,
            waiting: value,
            fetches: value,
            streams: value,
            early_streams: value,
            early_bytes: value,
        }
    }
}

impl<T> PerKind<T> {
    /// What there is for `kind`.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Connections => &self.connections,
            Kind::Requests => &self.requests,
            Kind::Subscriptions => &self.subscriptions,
            Kind::Tracks => &self.tracks,
            Kind::Namespaces => &self.namespaces,
            Kind::Watches => &self.watches,
            Kind::Statuses => &self.statuses,
            Kind::Waiting => &self.waiting,
            Kind::Fetches => &self.fetches,
            Kind::Streams => &self.streams,
            Kind::EarlyStreams => &self.early_streams,
            Kind::EarlyBytes => &self.early_bytes,
        }
    }
}
