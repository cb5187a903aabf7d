//! Values that parse and yet make no sense.

use super::sections::{Auth, Config, Subscribe};
use super::workers::least_memory_mb;
use crate::url::MoqtUrl;
use laps_actors::auth::Secret;
use laps_protocol::moqt::extensions;
use laps_protocol::wire::varint;
use std::time::Duration;

/// Most shards: the number of a shard is read from one byte of a connection id.
pub const MAX_THREADS: u16 = 256;

/// A key whose value is refused, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub reason: String,
    /// What to write instead.
    pub remedy: &'static str,
}

/// The first value that makes no sense, in the order of the file.
#[must_use]
pub fn first_refused(config: &Config) -> Option<Refused> {
    if let Err(error) = config.relay.node_id() {
        return Some(Refused {
            key: "relay.endpoint_id",
            reason: error.to_string(),
            remedy: "write a node id such as 1:2 or 1.2:1234, or free text that does not begin with digits and a colon",
        });
    }
    if config.tls.cert.is_empty() != config.tls.key.is_empty() {
        let (missing, given) = if config.tls.cert.is_empty() {
            ("tls.cert", "tls.key")
        } else {
            ("tls.key", "tls.cert")
        };
        return Some(Refused {
            key: missing,
            reason: format!("not given, and {given} is"),
            remedy: "give both, or neither to have a certificate made",
        });
    }
    if let Some(refused) = unfit_secret(&config.auth) {
        return Some(refused);
    }
    if let Some(refused) = super::discovery::first_refused(config) {
        return Some(refused);
    }
    if let Some(refused) = super::peering::first_refused(&config.peering) {
        return Some(refused);
    }
    let transport = &config.transport;
    let ranges: [(&'static str, u64, u64, u64); 37] = [
        (
            "workers.threads",
            config.workers.threads.into(),
            0,
            MAX_THREADS.into(),
        ),
        ("subscribe.wait", config.subscribe.wait, 0, DAY_MS),
        ("subscribe.dampen_ms", config.subscribe.dampen_ms, 0, HOUR_MS),
        (
            "subscribe.max_behind_mb",
            config.subscribe.max_behind_mb,
            1,
            1 << 20,
        ),
        (
            "subscribe.max_behind_ms",
            config.subscribe.max_behind_ms,
            0,
            HOUR_MS,
        ),
        // MOQT-14 §9.3.2.3 [D14-SETUP-18]: with a maximum of 0 a peer could never make a request.
        (
            "session.max_request_id",
            config.session.max_request_id,
            1,
            varint::MAX / 2,
        ),
        (
            "session.setup_timeout_ms",
            config.session.setup_timeout_ms,
            1,
            DAY_MS,
        ),
        (
            "session.control_backlog_bytes",
            config.session.control_backlog_bytes,
            1 << 16,
            GIB,
        ),
        (
            "transport.idle_timeout_ms",
            transport.idle_timeout_ms,
            100,
            DAY_MS,
        ),
        (
            "transport.handshake_timeout_ms",
            transport.handshake_timeout_ms,
            100,
            DAY_MS,
        ),
        (
            "transport.keep_alive_ms",
            transport.keep_alive_ms,
            10,
            transport.idle_timeout_ms.saturating_sub(1),
        ),
        ("transport.initial_rtt_ms", transport.initial_rtt_ms, 1, 10_000),
        // RFC 9000 §4.6: a stream limit is at most 2^60.
        ("transport.max_uni_streams", transport.max_uni_streams, 1, 1 << 60),
        (
            "transport.max_bidi_streams",
            transport.max_bidi_streams,
            1,
            1 << 60,
        ),
        (
            "transport.connection_window_bytes",
            transport.connection_window_bytes,
            1 << 14,
            GIB,
        ),
        (
            "transport.stream_window_bytes",
            transport.stream_window_bytes,
            1 << 12,
            GIB,
        ),
        (
            "transport.send_buffer_bytes",
            transport.send_buffer_bytes.into(),
            1 << 12,
            GIB,
        ),
        ("transport.max_connections", transport.max_connections, 1, 1 << 32),
        (
            "transport.retry_above_handshakes",
            transport.retry_above_handshakes,
            0,
            1 << 32,
        ),
        ("cache.max_mb", config.cache.max_mb, 1, 1 << 20),
        ("cache.track_mb", config.cache.track_mb, 1, 1 << 20),
        ("limits.max_object_mb", config.limits.max_object_mb, 1, 1 << 20),
        (
            "limits.publishers_per_track",
            config.limits.publishers_per_track,
            1,
            1000,
        ),
        ("cache.key", config.cache.key, 0, varint::MAX),
        // What a FETCH waits for in all must stay under the minute after which it is given up.
        ("fetch.wait_ms", config.fetch.wait_ms, 0, 30_000),
        ("fetch.max_per_session", config.fetch.max_per_session, 1, 100_000),
        ("drain.grace", config.drain.grace, 0, DAY_MS / 1000),
        ("subscribe.answer_ms", config.subscribe.answer_ms, 100, 60_000),
        (
            "session.message_timeout_ms",
            config.session.message_timeout_ms,
            100,
            DAY_MS,
        ),
        (
            "session.header_timeout_ms",
            config.session.header_timeout_ms,
            100,
            DAY_MS,
        ),
        ("session.alias_wait_ms", config.session.alias_wait_ms, 0, 60_000),
        (
            "session.idle_timeout_ms",
            config.session.idle_timeout_ms,
            0,
            365 * DAY_MS,
        ),
        // As fetch.wait_ms.
        ("fetch.answer_ms", config.fetch.answer_ms, 100, 15_000),
        ("limits.prefix_v4", config.limits.prefix_v4.into(), 0, 32),
        ("limits.prefix_v6", config.limits.prefix_v6.into(), 0, 128),
        ("limits.memory_mb", config.limits.memory_mb, 0, 1 << 24),
        (
            "auth.token_cache_bytes",
            config.auth.token_cache_bytes,
            0,
            1 << 20,
        ),
    ];
    if let Some(reason) = unfit_uri(&config.drain.uri) {
        return Some(Refused {
            key: "drain.uri",
            reason,
            remedy: "write moqt://host:port/path of the relay that takes over, or leave it empty",
        });
    }
    let duration = config.cache.duration;
    if duration.0.is_zero() || duration.0 > Duration::from_millis(DAY_MS) {
        return Some(Refused {
            key: "cache.duration",
            reason: format!("{duration} is not above 0 and up to {}", DAY_MS / 1000),
            remedy: "choose a number of seconds within",
        });
    }
    if extensions::is_defined(config.cache.key) {
        return Some(Refused {
            key: "cache.key",
            reason: format!(
                "{0} ({0:#x}) is an extension that the protocol defines itself",
                config.cache.key
            ),
            remedy: "choose a type that nobody else uses, or 0 for no mark",
        });
    }
    let outside = ranges
        .into_iter()
        .find(|&(_, value, low, high)| value < low || value > high);
    let outside = outside.map(|(key, value, low, high)| Refused {
        key,
        reason: format!("{value} is not from {low} to {high}"),
        remedy: "choose a number within",
    });
    outside.or_else(|| out_of_proportion(config))
}

/// Keys that fit by themselves, and not together.
fn out_of_proportion(config: &Config) -> Option<Refused> {
    too_little_memory(config).or_else(|| too_far_behind(config))
}

/// A relay that has no room for anybody is none.
fn too_little_memory(config: &Config) -> Option<Refused> {
    let (memory, threads) = (config.limits.memory_mb, config.workers.threads);
    let least = least_memory_mb(threads);
    (memory > 0 && memory < least).then(|| Refused {
        key: "limits.memory_mb",
        reason: format!(
            "{memory} is less than the {least} MiB that a relay with {} worker(s) needs before it can serve anybody",
            threads.max(1)
        ),
        remedy: "write as much at least, or fewer workers.threads, or 0 to have what the container or the machine gives",
    })
}

fn too_far_behind(config: &Config) -> Option<Refused> {
    let (behind, kept) = (config.subscribe.max_behind_mb, config.cache.track_mb);
    // What waits for a subscriber waits in the track's cache: beyond that it would be gone before it is too much.
    let is_default = behind == Subscribe::default().max_behind_mb;
    (behind > kept).then(|| Refused {
        // The one of the two that somebody wrote.
        key: if is_default {
            "cache.track_mb"
        } else {
            "subscribe.max_behind_mb"
        },
        reason: format!(
            "what waits for a subscriber waits in the cache of its track, and subscribe.max_behind_mb, {behind}, is more \
             than cache.track_mb, {kept}"
        ),
        remedy: "let it be as much at most",
    })
}

/// What is wrong with a secret; nothing about none at all.
fn unfit_secret(auth: &Auth) -> Option<Refused> {
    let refused = |reason: String, remedy| Refused {
        key: "auth.secret",
        reason,
        remedy,
    };
    if auth.secret.is_empty() {
        return None;
    }
    if !auth.secret_file.is_empty() {
        let reason = "given beside auth.secret_file".to_owned();
        return Some(refused(reason, "give one of the two"));
    }
    // What a dump shows must not become a secret that everybody knows, nor a relay without one.
    if auth.secret.is_hidden() {
        let reason = "a dump does not show it, and it was not filled in".to_owned();
        return Some(refused(
            reason,
            "write the secret there, or name its file with auth.secret_file",
        ));
    }
    let fault = Secret::new(auth.secret.expose()).err()?;
    Some(refused(fault.to_string(), NEW_SECRET))
}

/// What makes a secret.
pub const NEW_SECRET: &str = "make one with `openssl rand -hex 32`";

/// What is wrong with a URI for GOAWAY; nothing about an empty one.
fn unfit_uri(uri: &str) -> Option<String> {
    if uri.is_empty() {
        return None;
    }
    // MOQT-14 §9.4 [D14-VAL-11]
    if uri.len() > MAX_URI {
        return Some(format!("{} bytes are more than {MAX_URI}", uri.len()));
    }
    let Some((scheme @ ("moqt" | "https"), rest)) = uri.split_once("://") else {
        return Some("neither moqt:// nor https://".to_owned());
    };
    // MOQT-14 §3.1 [D14-SETUP-5]: both have an authority, and a path and query after it.
    let checked = format!("moqt://{rest}").parse::<MoqtUrl>();
    checked.err().map(|error| format!("not a {scheme} URI: {error}"))
}

/// Bytes of a GOAWAY URI. MOQT-14 §9.4
const MAX_URI: usize = 8192;
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
const GIB: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mdns, Span};

    #[test]
    fn defaults_make_sense() {
        assert_eq!(first_refused(&Config::default()), None);
        let mut small = Config::default();
        small.limits.memory_mb = 60;
        assert_eq!(first_refused(&small), None);
        (small.limits.memory_mb, small.workers.threads) = (680, 32);
        assert_eq!(first_refused(&small), None);
    }

    #[test]
    fn nonsense_names_its_key() {
        type Spoil = fn(&mut Config);
        let table: &[(&str, Spoil)] = &[
            ("relay.endpoint_id", |c| c.relay.endpoint_id = "1:x".into()),
            ("tls.key", |c| c.tls.cert = "a".into()),
            ("tls.cert", |c| c.tls.key = "a".into()),
            ("workers.threads", |c| c.workers.threads = 257),
            ("session.max_request_id", |c| c.session.max_request_id = 0),
            ("transport.idle_timeout_ms", |c| c.transport.idle_timeout_ms = 0),
            ("transport.keep_alive_ms", |c| c.transport.keep_alive_ms = 30_000),
            ("transport.max_uni_streams", |c| {
                c.transport.max_uni_streams = 1 << 61
            }),
            ("transport.send_buffer_bytes", |c| {
                c.transport.send_buffer_bytes = 1
            }),
            ("cache.duration", |c| c.cache.duration = Span(Duration::ZERO)),
            ("cache.duration", |c| c.cache.duration = Span(Duration::MAX)),
            ("cache.max_mb", |c| c.cache.max_mb = u64::MAX),
            ("cache.track_mb", |c| c.cache.track_mb = 0),
            ("subscribe.max_behind_mb", |c| c.subscribe.max_behind_mb = 0),
            ("subscribe.max_behind_mb", |c| c.subscribe.max_behind_mb = 33),
            ("subscribe.max_behind_ms", |c| {
                c.subscribe.max_behind_ms = 3_600_001
            }),
            ("cache.track_mb", |c| c.cache.track_mb = 15),
            ("limits.max_object_mb", |c| c.limits.max_object_mb = 0),
            ("limits.publishers_per_track", |c| {
                c.limits.publishers_per_track = 0
            }),
            ("cache.key", |c| c.cache.key = varint::MAX + 1),
            ("cache.key", |c| c.cache.key = 0x3e),
            ("fetch.wait_ms", |c| c.fetch.wait_ms = 30_001),
            ("fetch.max_per_session", |c| c.fetch.max_per_session = 0),
            ("drain.grace", |c| c.drain.grace = 86_401),
            ("discovery.peer", |c| c.discovery.peer = true),
            ("discovery.peer", |c| {
                c.peering.ca = "ca".into();
                (c.discovery.peer, c.discovery.mdns) = (true, Mdns::Off);
            }),
            ("subscribe.answer_ms", |c| c.subscribe.answer_ms = 0),
            ("fetch.answer_ms", |c| c.fetch.answer_ms = 15_001),
            ("session.message_timeout_ms", |c| c.session.message_timeout_ms = 0),
            ("session.header_timeout_ms", |c| c.session.header_timeout_ms = 0),
            ("session.alias_wait_ms", |c| c.session.alias_wait_ms = 60_001),
            ("session.idle_timeout_ms", |c| {
                c.session.idle_timeout_ms = u64::MAX
            }),
            ("limits.prefix_v4", |c| c.limits.prefix_v4 = 33),
            ("limits.prefix_v6", |c| c.limits.prefix_v6 = 129),
            ("limits.memory_mb", |c| c.limits.memory_mb = u64::MAX),
            ("limits.memory_mb", |c| c.limits.memory_mb = 59),
            ("limits.memory_mb", |c| {
                (c.limits.memory_mb, c.workers.threads) = (679, 32);
            }),
            ("auth.token_cache_bytes", |c| {
                c.auth.token_cache_bytes = (1 << 20) + 1
            }),
            ("auth.secret", |c| c.auth.secret = "too short".into()),
            ("auth.secret", |c| c.auth.secret = "(not shown)".into()),
            ("auth.secret", |c| {
                c.auth.secret = "long enough to be a secret, it is".into();
                c.auth.secret_file = "f".into();
            }),
        ];
        for (key, spoil) in table {
            let mut config = Config::default();
            spoil(&mut config);
            assert_eq!(first_refused(&config).map(|r| r.key), Some(*key));
        }
    }

    /// D14-VAL-11
    #[test]
    fn where_clients_are_sent_must_be_a_place() {
        let longest = format!("moqt://h/{}", "a".repeat(MAX_URI - "moqt://h/".len()));
        for good in [
            "",
            "moqt://relay:33435",
            "moqt://[::1]:1/p?q",
            "https://h/p",
            &longest,
        ] {
            assert_eq!(unfit_uri(good), None, "{good}");
        }
        let longer = format!("{longest}a");
        for bad in [
            "relay:33435",
            "http://h",
            "moq://h",
            "moqt://",
            "moqt://u@h",
            "https://h/#f",
            &longer,
        ] {
            assert!(unfit_uri(bad).is_some(), "{bad}");
        }
    }
}
