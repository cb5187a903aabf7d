//! The keys of `[peering]` with their explanations, in the order in which a dump will show them.

use crate::config::keys::{Key, fixed};

/// Its keys, in the order of a dump.
pub const KEYS: &[Key] = &[
    fixed(
        "peering.bind",
        &["IP address to listen on for other relays, which may be another than that for clients."],
    ),
    fixed(
        "peering.port",
        &[
            "UDP port for other relays. 0 lets the system choose one. It is opened with peering.ca or peering.insecure, and never on",
            "a stub.",
        ],
    ),
    fixed(
        "peering.peers",
        &[
            "Relays to dial, such as [\"paris.example\", \"192.0.2.1:33434\", \"[2001:db8::1]:5\"], port 33434 where none is",
            "named; laps+host:port is a laps relay, which has no certificate. Names are looked up at each attempt. In the",
            "environment: paris.example,192.0.2.1",
        ],
    ),
    fixed(
        "peering.data_links",
        &[
            "Links to each of our relays that carry data only, from ports of their own, so that routers spread them. 0: one",
            "link carries all.",
        ],
    ),
    fixed(
        "peering.data_links_one_way",
        &[
            "true: those carry what this relay sends and nothing back; its peers answer by the one link that carries all, and by links",
            "that they dial. A relay of a version without this takes none of them. Not on a stub.",
        ],
    ),
    fixed(
        "peering.node_type",
        &[
            "edge (takes clients and relays), via (takes relays only, passes on, tells clients that it refuses them) or stub",
            "(takes clients, dials relays and is dialled by none, known to its edge alone).",
        ],
    ),
    fixed(
        "peering.ca",
        &[
            "Path of the certificate of the mesh's CA in PEM (`laps cert ca` makes one). Who has no certificate signed by it",
            "is no peer.",
        ],
    ),
    fixed(
        "peering.cert",
        &["Path of this relay's own certificate in PEM; it names its node id, that of relay.endpoint_id."],
    ),
    fixed(
        "peering.key",
        &["Path of the private key in PEM. Set all of ca, cert and key, or none."],
    ),
    fixed(
        "peering.insecure",
        &["true: whoever reaches peering.port is a peer, with the node id that it claims. For tests."],
    ),
    fixed(
        "peering.laps_listen",
        &["host:port that laps relays dial, which have no certificates. Empty is none."],
    ),
    fixed(
        "peering.laps_from",
        &["Addresses of those, such as [\"192.0.2.7\", \"198.51.100.0/24\"]; nobody else is let in there."],
    ),
    fixed(
        "peering.contact",
        &[
            "Name or address under which others are told that this relay is reached. Empty is relay.endpoint_id.",
        ],
    ),
    fixed(
        "peering.longitude",
        &["Where this relay is, in degrees east; others are told."],
    ),
    fixed(
        "peering.latitude",
        &["Where this relay is, in degrees north; others are told."],
    ),
    fixed(
        "peering.node_advert_interval_ms",
        &["Milliseconds in which what changes about a node is told as one change."],
    ),
    fixed(
        "peering.unsubscribe_hold_ms",
        &[
            "Milliseconds for which the mesh is not told that the last subscriber of a track has left, since it may return.",
        ],
    ),
    fixed(
        "peering.connect_ms",
        &["Milliseconds that looking a peer's name up may take, and shaking hands with one address of it."],
    ),
    fixed(
        "peering.backoff_first_ms",
        &[
            "Milliseconds until a peer that was not reached is dialled again, half of them left to chance; doubled each time.",
        ],
    ),
    fixed(
        "peering.backoff_max_ms",
        &["The longest such wait, in milliseconds."],
    ),
    fixed(
        "peering.keep_alive_ms",
        &[
            "Milliseconds without a packet after which one is sent. A link is dead after 900 ms of silence, or 3 of these and",
            "4 round trips; with more than 75, a peer that stands still for 700 ms may be taken for dead.",
        ],
    ),
    fixed(
        "peering.idle_timeout_ms",
        &["Milliseconds of silence after which QUIC itself ends a link that nobody looks after."],
    ),
    fixed(
        "peering.max_links",
        &["Links, handshakes included, that one worker has at most."],
    ),
    fixed(
        "peering.max_uni_streams",
        &["Unidirectional streams that a peer may have open: one for each subgroup."],
    ),
    fixed(
        "peering.max_bidi_streams",
        &["Bidirectional streams that a peer may have open."],
    ),
    fixed(
        "peering.connection_window_bytes",
        &["Bytes that a peer may have in flight to us on a link."],
    ),
    fixed(
        "peering.stream_window_bytes",
        &["Bytes that a peer may have in flight to us on a stream."],
    ),
    fixed(
        "peering.send_buffer_bytes",
        &["Bytes that may wait to be sent on a stream."],
    ),
];
