//! What peers may make the relay hold.

use super::{Key, fixed};

/// All of `[limits]`.
pub(super) const KEYS: &[Key] = &[
    fixed(
        "limits.max_object_mb",
        &[
            "Mebibytes of the largest object that is kept. A larger one is passed on as it comes, and who comes late",
            "does not get it from here.",
        ],
    ),
    fixed(
        "limits.publishers_per_track",
        &[
            "Publishers that may feed one track at once. A further PUBLISH is refused; who announced a further namespace is",
            "subscribed to when a place is free. One that brings nothing for 3 s, as one that was killed, makes way.",
        ],
    ),
    fixed(
        "limits.subscriptions",
        &[
            "Subscriptions that a peer may have at once: by its SUBSCRIBE, or by accepting our PUBLISH. As with all that",
            "follows, more are refused by the answer to the request, and 0 is no limit; session.max_request_id bounds all",
            "open requests of a peer before, unless it is raised.",
        ],
    ),
    fixed(
        "limits.tracks",
        &[
            "Tracks that a peer may publish at once, each with a track alias: by its PUBLISH, or by our SUBSCRIBE.",
        ],
    ),
    fixed(
        "limits.namespaces",
        &["Namespaces that a peer may announce at once."],
    ),
    fixed(
        "limits.watches",
        &["Prefixes that a peer may watch at once (SUBSCRIBE_NAMESPACE)."],
    ),
    fixed(
        "limits.statuses",
        &["TRACK_STATUS requests that a peer may have open at once."],
    ),
    fixed(
        "limits.waiting",
        &["Subscriptions and TRACK_STATUS requests of a peer that may wait for a publisher at once."],
    ),
    fixed("limits.waiting_total", &["Those of all peers together."]),
    fixed(
        "limits.streams",
        &[
            "Data streams of a peer that are read at once. Of more, the one with the lowest publisher priority is stopped,",
            "of equals the oldest; transport.max_uni_streams bounds all, also those whose header has not come.",
        ],
    ),
    fixed(
        "limits.subscription_streams",
        &[
            "Data streams of one subscription that are open towards the subscriber at once; more wait until some end.",
        ],
    ),
    fixed(
        "limits.early_streams",
        &[
            "Data streams of a peer that may wait for the message which explains their track alias; more are stopped.",
        ],
    ),
    fixed(
        "limits.early_bytes",
        &[
            "Bytes of datagrams and streams of a peer that may wait for that; of a stream, what was read with its header,",
            "since the rest stays in the transport, within transport.connection_window_bytes. More is dropped.",
        ],
    ),
    fixed(
        "limits.prefix_v4",
        &[
            "Bits of an IPv4 address by which peers are counted together: 32 for each address, 24 for 256 of them.",
        ],
    ),
    fixed(
        "limits.prefix_v6",
        &[
            "Bits of an IPv6 address by which peers are counted together: 56 or 64 for what one line is commonly given.",
        ],
    ),
    fixed(
        "limits.prefix_connections",
        &[
            "Connections from one address prefix, on all workers together. More are refused in their handshake. As with all",
            "that follows, 0 is no limit.",
        ],
    ),
    fixed(
        "limits.prefix_requests",
        &[
            "Open requests of all sessions from one address prefix: subscriptions, published tracks, announced and watched",
            "namespaces, TRACK_STATUS and FETCH. More are refused by the answer to the request.",
        ],
    ),
    fixed(
        "limits.prefix_namespaces",
        &["Namespaces that all sessions from one address prefix announce."],
    ),
    fixed(
        "limits.prefix_fetches",
        &["Fetches that all sessions from one address prefix have open."],
    ),
    fixed(
        "limits.prefix_early_bytes",
        &[
            "Bytes of datagrams and streams of all sessions from one address prefix that may wait for their track alias.",
        ],
    ),
    fixed(
        "limits.prefix_handshakes_per_s",
        &[
            "Handshakes that one address prefix may begin in a second, and four times as many at once. Twice that, and it",
            "must prove its address first (Retry); more are refused. 0 is no limit.",
        ],
    ),
    fixed(
        "limits.memory_mb",
        &[
            "Mebibytes of memory that the relay may use. Near it, the cache gives back first; then new connections are",
            "refused, then new requests, and at last who is far behind is let go. 0 is three quarters of what its",
            "container has, or half of the machine; of this the cache never has more than half. At least 40, and 20 for",
            "each of workers.threads.",
        ],
    ),
];
