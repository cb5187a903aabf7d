//! Who the relay is, and how it serves its peers.

use super::{Key, fixed};

/// In the order of a dump: `[relay]` to `[auth]`.
pub(super) const KEYS: &[Key] = &[
    fixed(
        "relay.bind",
        &[
            "IP address to listen on. \"::\" is every address of this machine, IPv6 and IPv4;",
            "\"0.0.0.0\" every IPv4 address; \"127.0.0.1\" only this machine.",
        ],
    ),
    fixed(
        "relay.port",
        &["UDP port to listen on. 0 lets the system choose one."],
    ),
    fixed(
        "relay.endpoint_id",
        &[
            "Who this relay is: free text, or a node id such as \"1:2\" or \"1.2:1234\".",
            "Text is hashed to a node id. Empty is the host name.",
        ],
    ),
    fixed(
        "relay.allow_self",
        &[
            "true: a session that watches a prefix is told of what it publishes itself, and may subscribe to it,",
            "as the draft says. false: it gets back only what somebody else publishes too.",
        ],
    ),
    fixed(
        "tls.cert",
        &[
            "Path of the certificate chain in PEM; loaded again within 5 s of a change. Empty makes a certificate,",
            "ECDSA P-256 and valid 13 days, keeps it in $STATE_DIRECTORY, $XDG_STATE_HOME/laps or ~/.local/state/laps,",
            "and renews it for the same key. The relay prints the SHA-256 of both.",
        ],
    ),
    fixed(
        "tls.key",
        &["Path of the private key in PEM. Set both or neither of cert and key."],
    ),
    fixed(
        "workers.threads",
        &[
            "Threads that carry traffic, each with its own socket. 0 is one per core, but no more than fit, with 16 MiB",
            "each and 32 for the rest, into two fifths of the relay's memory (limits.memory_mb).",
        ],
    ),
    fixed(
        "subscribe.wait",
        &["Milliseconds that a SUBSCRIBE waits for a publisher before it is answered \"no such track\"."],
    ),
    fixed(
        "subscribe.detached",
        &[
            "true: a SUBSCRIBE is accepted at once, whether or not the track has a publisher, and goes on with the",
            "next publisher when one leaves, without PUBLISH_DONE in between; subscribe.wait has no effect. The draft",
            "wants it otherwise (MOQT-14 §8.3, §8.4).",
        ],
    ),
    fixed(
        "subscribe.dampen_ms",
        &[
            "Least milliseconds between two messages that tell a publisher whether anybody wants its objects.",
            "That nobody does is told when nobody has for so long, that somebody does at once. 0 tells every change.",
        ],
    ),
    fixed(
        "subscribe.answer_ms",
        &[
            "Milliseconds that a publisher has to answer our SUBSCRIBE, before it is taken for one that does not.",
        ],
    ),
    fixed(
        "subscribe.max_behind_mb",
        &[
            "Mebibytes of objects that may wait for a subscriber that does not keep up; with more its subscription ends,",
            "TOO_FAR_BEHIND. They wait in the cache, so no more than cache.track_mb.",
        ],
    ),
    fixed(
        "subscribe.newest_group",
        &[
            "Namespaces, such as [\"live/cam\", \"talk\"], whose subscribers, and those of all namespaces below, go on with",
            "the newest group instead. So do those of tracks with a DELIVERY_TIMEOUT. In the environment: live/cam,talk",
        ],
    ),
    fixed(
        "subscribe.max_behind_ms",
        &[
            "Milliseconds that an object may wait for a subscriber in the namespaces of subscribe.newest_group while a newer",
            "group is there; then that one goes on with the newest group as well. 0 lets it wait for any time.",
        ],
    ),
    fixed(
        "session.max_request_id",
        &["Window of request ids that a peer has; half as many of its requests may be open."],
    ),
    fixed(
        "session.setup_timeout_ms",
        &["Milliseconds that a peer has to send its SETUP."],
    ),
    fixed(
        "session.control_backlog_bytes",
        &["Bytes of control messages that may wait for a peer that does not read them."],
    ),
    fixed(
        "session.message_timeout_ms",
        &[
            "Milliseconds that a peer has to finish a control message that it began; else its session is closed.",
        ],
    ),
    fixed(
        "session.header_timeout_ms",
        &["Milliseconds that a peer has to finish the header of a data stream; else its session is closed."],
    ),
    fixed(
        "session.alias_wait_ms",
        &["Milliseconds that streams and datagrams wait for the message that explains their track alias."],
    ),
    fixed(
        "session.idle_timeout_ms",
        &[
            "Milliseconds without any open request, of either side, after which a session is closed. 0 is never.",
        ],
    ),
    fixed(
        "transport.idle_timeout_ms",
        &["Milliseconds of silence that end a connection."],
    ),
    fixed(
        "transport.handshake_timeout_ms",
        &["Milliseconds that a QUIC handshake may take."],
    ),
    fixed(
        "transport.keep_alive_ms",
        &["Milliseconds between keep-alive packets; less than the idle timeout."],
    ),
    fixed(
        "transport.initial_rtt_ms",
        &["Milliseconds assumed as the round trip until it is measured."],
    ),
    fixed(
        "transport.max_uni_streams",
        &["Unidirectional streams that a peer may have open."],
    ),
    fixed(
        "transport.max_bidi_streams",
        &["Bidirectional streams that a peer may have open."],
    ),
    fixed(
        "transport.connection_window_bytes",
        &["Bytes that a peer may have in flight to us on a connection."],
    ),
    fixed(
        "transport.stream_window_bytes",
        &["Bytes that a peer may have in flight to us on a stream."],
    ),
    fixed(
        "transport.send_buffer_bytes",
        &["Bytes that may wait to be sent on a stream."],
    ),
    fixed(
        "transport.max_connections",
        &["Connections, handshakes included, that one worker has at most."],
    ),
    fixed(
        "transport.retry_above_handshakes",
        &[
            "Handshakes in progress on one worker from which on newcomers must prove their address first (Retry).",
        ],
    ),
    fixed(
        "cache.duration",
        &["Seconds that a group is kept after its last object began; fractions allowed."],
    ),
    fixed(
        "cache.max_mb",
        &["Mebibytes kept of all tracks together; the largest tracks lose their oldest groups first."],
    ),
    fixed(
        "cache.track_mb",
        &["Mebibytes kept of one track, on each worker that carries it."],
    ),
    fixed(
        "cache.key",
        &[
            "Type of an extension header, the \"isCached\" mark, that is added to the objects a FETCH finds in the cache:",
            "the number 1 for an even type, the byte 1 for an odd one. Not one that the protocol uses. 0 adds none.",
        ],
    ),
    fixed(
        "fetch.wait_ms",
        &[
            "Milliseconds that a FETCH waits for an object that an open stream of the publisher may still bring,",
            "before the publisher is asked for it.",
        ],
    ),
    fixed(
        "fetch.max_per_session",
        &["Fetches that a peer may have open at once; more are refused."],
    ),
    fixed(
        "fetch.answer_ms",
        &[
            "Milliseconds that a publisher has to answer our FETCH, and for which its response may stand still.",
        ],
    ),
    fixed(
        "auth.secret",
        &[
            "Set, nobody may do anything without a token: this secret itself, at least 32 bytes of it, which allows",
            "everything, or what `laps token` signs with it. Never shown here; empty lets everybody do everything.",
        ],
    ),
    fixed(
        "auth.secret_file",
        &["Path of a file with the secret, in place of auth.secret. A newline at its end is not part of it."],
    ),
    fixed(
        "auth.token_cache_bytes",
        &[
            "Bytes of tokens that a peer may register in a session to show them by a number later, each counted with",
            "16 more. 0 lets it show them by value only.",
        ],
    ),
];
