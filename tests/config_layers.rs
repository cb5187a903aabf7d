//! Command line over environment over file over default; wrong keys and values name themselves and what is near.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on fails its test"
)]

mod cli_common;

use cli_common::{Ran, laps, scratch};
use laps::config::{Config, Layers, dump, load};
use std::fs;

/// A key, and a value for it from the file, the environment and the command line.
struct Row {
    key: &'static str,
    file: &'static str,
    env: &'static str,
    flag: &'static [&'static str],
    shown: [&'static str; 4],
}

const fn row(
    key: &'static str,
    file: &'static str,
    env: &'static str,
    flag: &'static [&'static str],
    shown: [&'static str; 4],
) -> Row {
    Row {
        key,
        file,
        env,
        flag,
        shown,
    }
}

/// Every key that has a flag; `shown` is what a dump says by default, file, environment and flag.
const ROWS: [Row; 12] = [
    row("relay.port", "1", "2", &["-p", "3"], ["33435", "1", "2", "3"]),
    row(
        "relay.bind",
        "'127.0.0.1'",
        "127.0.0.2",
        &["-b", "::1"],
        ["\"::\"", "\"127.0.0.1\"", "\"127.0.0.2\"", "\"::1\""],
    ),
    row(
        "relay.endpoint_id",
        "'a'",
        "1.10",
        &["-e", "c"],
        ["\"\"", "\"a\"", "\"1.10\"", "\"c\""],
    ),
    row(
        "subscribe.detached",
        "false",
        "true",
        &["-l"],
        ["false", "false", "true", "true"],
    ),
    row(
        "subscribe.dampen_ms",
        "1",
        "2",
        &["-s", "3"],
        ["500", "1", "2", "3"],
    ),
    row(
        "logging.level",
        "'error'",
        "warning",
        &["-d"],
        ["\"info\"", "\"error\"", "\"warning\"", "\"debug\""],
    ),
    row(
        "logging.format",
        "'terminal'",
        "json",
        &["--log-format", "terminal"],
        ["\"terminal\"", "\"terminal\"", "\"json\"", "\"terminal\""],
    ),
    row(
        "cache.key",
        "0x2c",
        "46",
        &["--cache_key", "0x30"],
        ["0", "44", "46", "48"],
    ),
    row("fetch.wait_ms", "5", "6", &[], ["1000", "5", "6", "6"]),
    row("workers.threads", "3", "4", &[], ["0", "3", "4", "4"]),
    row(
        "subscribe.newest_group",
        "['a', 'b/c']",
        "a,b%2cc",
        &[],
        ["[]", "[\"a\", \"b/c\"]", "[\"a\", \"b,c\"]", "[\"a\", \"b,c\"]"],
    ),
    row("subscribe.wait", "5", "6", &[], ["1000", "5", "6", "6"]),
];

fn shown(ran: &Ran, key: &str) -> String {
    assert_eq!(ran.code, 0, "{key}: {}", ran.err);
    let values: toml::Table = ran.out.parse().unwrap();
    let (section, name) = key.split_once('.').unwrap();
    values[section][name].to_string()
}

#[test]
fn each_layer_goes_over_the_one_below() {
    let dir = scratch("layers");
    for Row {
        key,
        file,
        env,
        flag,
        shown: want,
    } in ROWS
    {
        let (section, name) = key.split_once('.').unwrap();
        let path = dir.join(key);
        fs::write(&path, format!("[{section}]\n{name} = {file}\n")).unwrap();
        let path = path.to_str().unwrap();
        let variable = format!("LAPS_{section}__{name}").to_uppercase();
        let env = [(variable.as_str(), env)];
        let with_file = ["config", "dump", "--config", path];
        assert_eq!(
            shown(&laps(&[], &["config", "dump"]), key),
            want[0],
            "{key} default"
        );
        assert_eq!(shown(&laps(&[], &with_file), key), want[1], "{key} file");
        assert_eq!(
            shown(&laps(&env, &with_file), key),
            want[2],
            "{key} environment over file"
        );
        assert_eq!(
            shown(&laps(&env, &[&with_file, flag].concat()), key),
            want[3],
            "{key} flag over both"
        );
    }
}

/// Every key of `[peering]` with another value than its default, but `insecure`, and `node_type`: no other one goes with laps
/// relays.
const MESH: &str = r#"
bind = "127.0.0.9"
port = 9
peers = ["nine:9"]
data_links = 9
data_links_one_way = true
ca = "ca"
cert = "c"
key = "k"
laps_listen = "127.0.0.9:10"
laps_from = ["127.0.0.0/8"]
contact = "nine"
longitude = 9.5
latitude = 9.5
node_advert_interval_ms = 9
unsubscribe_hold_ms = 9
connect_ms = 999
backoff_first_ms = 99
backoff_max_ms = 999
keep_alive_ms = 99
idle_timeout_ms = 9999
max_links = 9
max_uni_streams = 9
max_bidi_streams = 9
connection_window_bytes = 99999
stream_window_bytes = 99999
send_buffer_bytes = 99999
"#;

#[test]
fn a_default_of_the_command_line_never_goes_over_the_file() {
    // The file sets every key to what is not its default; a command line without flags leaves all of them alone.
    let dir = scratch("no-defaults");
    let mut config = Config::default();
    config.relay.bind = "127.0.0.9".parse().unwrap();
    config.relay.port = 9;
    config.relay.endpoint_id = "nine".into();
    config.relay.allow_self = false;
    config.tls.cert = "c".into();
    config.tls.key = "k".into();
    config.workers.threads = 9;
    config.subscribe.wait = 9;
    config.subscribe.detached = true;
    config.subscribe.dampen_ms = 9;
    config.subscribe.max_behind_mb = 9;
    config.subscribe.max_behind_ms = 8;
    config.subscribe.newest_group = "nine,n%2fi/ne".parse().unwrap();
    config.session.max_request_id = 9;
    config.session.setup_timeout_ms = 9;
    config.session.control_backlog_bytes = 99_999;
    config.transport.idle_timeout_ms = 999;
    config.transport.handshake_timeout_ms = 999;
    config.transport.keep_alive_ms = 99;
    config.transport.initial_rtt_ms = 9;
    config.transport.max_uni_streams = 9;
    config.transport.max_bidi_streams = 9;
    config.transport.connection_window_bytes = 99_999;
    config.transport.stream_window_bytes = 99_999;
    config.transport.send_buffer_bytes = 99_999;
    config.transport.max_connections = 9;
    config.transport.retry_above_handshakes = 9;
    config.cache.duration = laps::config::Span(std::time::Duration::from_secs(9));
    config.cache.max_mb = 9;
    config.cache.key = 9;
    config.fetch.wait_ms = 9;
    config.fetch.max_per_session = 9;
    config.drain.uri = "moqt://nine:9".into();
    config.drain.grace = 9;
    config.admin.bind = [127, 0, 0, 9].into();
    config.admin.port = laps::config::admin::Port::Named(9);
    config.cache.track_mb = 9;
    config.auth.secret_file = "nine".into();
    config.auth.token_cache_bytes = 9;
    config.limits.max_object_mb = 9;
    config.subscribe.answer_ms = 999;
    config.fetch.answer_ms = 999;
    for key in [
        &mut config.session.message_timeout_ms,
        &mut config.session.header_timeout_ms,
        &mut config.session.alias_wait_ms,
        &mut config.session.idle_timeout_ms,
        &mut config.limits.subscriptions,
        &mut config.limits.tracks,
        &mut config.limits.namespaces,
        &mut config.limits.watches,
        &mut config.limits.statuses,
        &mut config.limits.waiting,
        &mut config.limits.waiting_total,
        &mut config.limits.streams,
        &mut config.limits.subscription_streams,
        &mut config.limits.early_streams,
        &mut config.limits.early_bytes,
        &mut config.limits.prefix_connections,
        &mut config.limits.prefix_requests,
        &mut config.limits.prefix_namespaces,
        &mut config.limits.prefix_fetches,
        &mut config.limits.prefix_early_bytes,
        &mut config.limits.prefix_handshakes_per_s,
        &mut config.limits.memory_mb,
    ] {
        *key = 999;
    }
    (config.limits.prefix_v4, config.limits.prefix_v6) = (9, 9);
    config.limits.publishers_per_track = 9;
    config.discovery.mdns = "mdns-sd".parse().unwrap();
    config.discovery.peer = true;
    config.peering = toml::from_str(MESH).unwrap();
    config.logging.level = "trace".parse().unwrap();
    config.logging.format = "json".parse().unwrap();
    let default = toml::Table::try_from(Config::default()).unwrap();
    for (section, keys) in toml::Table::try_from(&config).unwrap() {
        // Goes without its file, and is not dumped; goes without a certificate; has its turn below.
        let other = |name: &str| !["secret", "insecure", "node_type"].contains(&name);
        for (name, value) in keys.as_table().unwrap().iter().filter(|(name, _)| other(name)) {
            assert_ne!(
                value, &default[&section][name],
                "{section}.{name} must differ for this test"
            );
        }
    }
    let path = dir.join("all.toml");
    let is_kept = |config: &Config| {
        fs::write(&path, dump(config)).unwrap();
        let ran = laps(&[], &["config", "dump", "--config", path.to_str().unwrap()]);
        assert_eq!(ran.out, dump(config), "{}", ran.err);
    };
    is_kept(&config);
    let without_laps: Vec<_> = MESH.lines().filter(|line| !line.starts_with("laps_")).collect();
    let via = format!("{}\nnode_type = 'via'", without_laps.join("\n"));
    config.peering = toml::from_str(&via).unwrap();
    is_kept(&config);
}

#[test]
fn a_dump_loads_back_identically() {
    let dir = scratch("dump");
    let first = laps(&[], &["config", "dump", "-p", "7", "-e", "a \"b\" \\ c", "-l"]);
    let path = dir.join("dump.toml");
    fs::write(&path, &first.out).unwrap();
    let second = laps(&[], &["config", "dump", "--config", path.to_str().unwrap()]);
    assert_eq!((second.code, second.out), (0, first.out));
}

#[test]
fn wrong_files_name_the_file_the_key_and_the_nearest() {
    let dir = scratch("wrong-files");
    for (number, (text, says)) in [
        (
            "[relay]\nprot = 5\n",
            "unknown key `relay.prot`; the nearest valid key is `relay.port`",
        ),
        (
            "[relais]\nport = 5\n",
            "unknown key `relais.port`; the nearest valid key is `relay.port`",
        ),
        (
            "port = 5\n",
            "unknown key `port`; the nearest valid key is `relay.port`",
        ),
        (
            "[relay.port]\nx = 5\n",
            "unknown key `relay.port.x`; the nearest valid key is `relay.port`",
        ),
        (
            "[workers]\nthread = 5\n",
            "unknown key `workers.thread`; the nearest valid key is `workers.threads`",
        ),
        ("relay = 5\n", "`relay` is a section, not a key"),
        ("[relay]\nport = \"x\"\n", "line 2: invalid type"),
        ("[relay]\n\nport = 70000\n", "line 3: invalid value"),
        ("[relay]\nport = 1.5\n", "in `port = 1.5`"),
        ("[relay]\nbind = \"300.1.1.1\"\n", "line 2: invalid IP address"),
        (
            "[relay]\nendpoint_id = \"1:x\"\n",
            "relay.endpoint_id: `1:x` is not a node id",
        ),
        ("[relay]\nport = 1\nport = 2\n", "line 3: duplicate key"),
        ("[relay\n", "line 1"),
        ("[logging]\nlevel = \"loud\"\n", "`loud` is none of critical"),
        ("[cache]\nmax_mb = 0\n", "cache.max_mb: 0 is not from 1"),
        (
            "[cache]\ntrack_mb = 8\n",
            "subscribe.max_behind_mb, 16, is more than cache.track_mb, 8",
        ),
        (
            "[limits]\nmemory_mb = 32\n",
            "limits.memory_mb: 32 is less than the 60 MiB that a relay with 1 worker(s) needs",
        ),
        ("[subscribe]\nnewest_group = [\"\"]\n", "the namespace is empty"),
        ("[subscribe]\nnewest_group = 1\n", "neither a list of namespaces"),
        ("[cache]\nduration = 0.0\n", "cache.duration: 0 is not above 0"),
        ("[cache]\nduration_s = 60\n", "cache.duration"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.join(format!("{number}.toml"));
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        for words in [
            &["config", "check", path][..],
            &["config", "dump", "--config", path],
            &["--config", path],
        ] {
            let ran = laps(&[], words);
            assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{text}");
            assert!(
                ran.err.starts_with(&format!("laps: {path}")),
                "{text}: {}",
                ran.err
            );
            assert!(ran.err.contains(says), "{text}: {}", ran.err);
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        }
    }
    let ran = laps(&[], &["config", "check", "no-such-file.toml"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.starts_with("laps: no-such-file.toml: No such file"),
        "{}",
        ran.err
    );
}

#[test]
fn wrong_variables_name_themselves_and_the_nearest() {
    for (name, value, says) in [
        (
            "LAPS_RELAY__PROT",
            "1",
            "the nearest valid one is `LAPS_RELAY__PORT`",
        ),
        (
            "LAPS_RELAY_PORT",
            "1",
            "the nearest valid one is `LAPS_RELAY__PORT`",
        ),
        (
            "LAPS_THREADS",
            "1",
            "the nearest valid one is `LAPS_WORKERS__THREADS`",
        ),
        ("LAPS_RELAY__PORT", "x", "relay.port"),
        ("LAPS_RELAY__PORT", "70000", "relay.port"),
        ("LAPS_RELAY__PORT", "-1", "relay.port"),
        ("LAPS_RELAY__BIND", "here", "invalid IP address"),
        ("LAPS_SUBSCRIBE__DETACHED", "perhaps", "subscribe.detached"),
        ("LAPS_RELAY__ENDPOINT_ID", "1:2:3", "`1:2:3` is not a node id"),
    ] {
        let ran = laps(&[(name, value)], &["config", "dump"]);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{name}={value}");
        assert!(
            ran.err.starts_with(&format!("laps: {name}: ")) && ran.err.contains(says),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[test]
fn a_fault_in_a_lower_layer_is_a_fault_even_when_a_flag_goes_over_it() {
    // It would count tomorrow, without the flag.
    let ran = laps(&[("LAPS_RELAY__PROT", "1")], &["config", "dump", "-p", "5"]);
    assert_eq!(ran.code, 3);
}

#[test]
fn every_file_in_configs_loads() {
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let mut loaded = 0;
    for entry in fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            load(&Layers {
                file: Some(path.clone()),
                ..Layers::default()
            })
            .unwrap();
            let ran = laps(&[], &["config", "check", path.to_str().unwrap()]);
            assert_eq!((ran.code, ran.out), (0, format!("{}: ok\n", path.display())));
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "{loaded} files in configs");
}
