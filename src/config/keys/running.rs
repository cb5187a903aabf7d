//! How the relay is run.

use super::{Key, fixed};

/// In the order of a dump: `[drain]`, `[discovery]`, `[admin]` and `[logging]`.
pub(super) const KEYS: &[Key] = &[
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
