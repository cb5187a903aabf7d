//! Every key with its explanation, in the order in which a dump shows them; and the search for the nearest one.

/// A key and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`, as in the file.
    pub name: &'static str,
    /// When a new value takes effect.
    pub class: Class,
    /// What it sets, with units. Lines are wrapped by hand.
    pub doc: &'static [&'static str],
}

/// When a new value of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// At the next start: the configuration is read once.
    Static,
    /// For connections that begin from then on.
    NewConnection,
    /// For subscriptions that begin from then on.
    NewSubscription,
    /// At once, for everybody.
    Immediate,
}

impl Class {
    /// The name in a dump.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::NewConnection => "new-connection",
            Self::NewSubscription => "new-subscription",
            Self::Immediate => "immediate",
        }
    }
}

/// Keys of the sections before `[peering]` and behind it, which has its own beside what it sets.
const BEFORE: &[Key] = &[
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

const BEHIND: &[Key] = &[
    fixed(
        "drain.uri",
        &[
            "Where SIGTERM sends the clients, with GOAWAY: moqt://host:port/path of another relay, at most 8192",
            "bytes (https:// for clients that use WebTransport). Empty sends them to the address they use now.",
        ],
    ),
    fixed(
        "drain.grace",
        &[
            "Seconds that clients have to leave after SIGTERM; who is left then is cut off with GOAWAY_TIMEOUT.",
            "Whatever stops the relay must wait longer than this before it kills it.",
        ],
    ),
    fixed(
        "discovery.mdns",
        &[
            "What advertises this relay on its local network, and looks for others there: auto (what there is), zeroconf (the",
            "system's: Avahi, Bonjour), mdns-sd (built in) or off. A relay that only its own machine reaches is not advertised.",
        ],
    ),
    fixed(
        "discovery.peer",
        &[
            "true: relays that are found and say that they take relays are dialled as peers. Who they are their certificate",
            "says, so this needs peering.ca, or peering.insecure where anybody may join.",
        ],
    ),
    fixed(
        "admin.bind",
        &[
            "IP address of the admin port, where whoever reaches it is told how the relay is: HTTP without a password,",
            "so not an address that strangers reach.",
        ],
    ),
    fixed(
        "admin.port",
        &[
            "TCP port for /healthz (it lives), /readyz (it takes sessions) and /metrics (Prometheus). \"auto\" is 9090, or",
            "none when somebody else has that; with a number of its own the relay needs it to start, 0 lets the system",
            "choose one; \"off\" is none.",
        ],
    ),
    fixed(
        "logging.level",
        &["critical, error, warning, info, debug or trace. SIGUSR1 changes it while the relay runs."],
    ),
    fixed(
        "logging.format",
        &["terminal (a line for people) or json (an object a line). Both on standard error."],
    ),
];

/// All keys. A test compares them with the fields of [`super::Config`].
pub fn all() -> impl Iterator<Item = &'static Key> {
    BEFORE.iter().chain(super::peering::KEYS).chain(BEHIND)
}

/// A key that is read once, at start.
pub(super) const fn fixed(name: &'static str, doc: &'static [&'static str]) -> Key {
    Key {
        name,
        class: Class::Static,
        doc,
    }
}

/// True when `text` is a key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    all().any(|key| key.name == text)
}

/// True when `text` is the name of a section.
#[must_use]
pub fn is_section(text: &str) -> bool {
    all().any(|key| {
        key.name
            .split_once('.')
            .is_some_and(|(section, _)| section == text)
    })
}

/// The key that `text` was most likely meant to be.
///
/// A name that is right but stands in the wrong section, or in none, counts as nearer than a misspelt one.
#[must_use]
pub fn nearest(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let name = text.rsplit_once('.').map_or(text.as_str(), |(_, name)| name);
    let distance = |key: &&Key| {
        let key_name = key.name.rsplit_once('.').map_or(key.name, |(_, name)| name);
        let whole = strsim::damerau_levenshtein(&text, key.name);
        let elsewhere = 3 * strsim::damerau_levenshtein(name, key_name) + 1;
        whole.min(elsewhere)
    };
    all().min_by_key(distance).map_or("", |key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_what_was_meant() {
        for (typed, meant) in [
            ("relay.prot", "relay.port"),
            ("relay.Port", "relay.port"),
            ("port", "relay.port"),
            ("subscribe.detatched", "subscribe.detached"),
            ("worker.threads", "workers.threads"),
            ("threads", "workers.threads"),
            ("relay.endpoint-id", "relay.endpoint_id"),
            ("relay.threads", "workers.threads"),
            ("cache.duration_s", "cache.duration"),
            ("log.level", "logging.level"),
            ("tls.certificate", "tls.cert"),
            ("relay_port", "relay.port"),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }

    #[test]
    fn keys_and_sections_are_told_apart() {
        assert!(is_key("relay.port") && !is_key("relay") && !is_key("port"));
        assert!(is_section("relay") && !is_section("relay.port") && !is_section("port"));
    }
}
