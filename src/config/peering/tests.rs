//! The section as it is read, checked and turned into settings.

use super::*;
use laps_actors::peering::MAX_FOUND;
use laps_protocol::peering::forward;
use std::collections::BTreeSet;

fn read(text: &str) -> Peering {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn files(more: &str) -> String {
    format!("ca = 'ca.pem'\ncert = 'c.pem'\nkey = 'k.pem'\n{more}")
}

#[test]
fn every_key_is_explained_and_every_explanation_has_a_key() {
    let values = toml::Table::try_from(Peering::default()).unwrap();
    let fields: BTreeSet<_> = values.keys().map(|name| format!("peering.{name}")).collect();
    let keys: BTreeSet<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(fields, keys);
    assert_eq!(KEYS.len(), keys.len());
}

#[test]
fn what_is_written_loads_back() {
    let peering = read(&files(
        "peers = ['paris.example', 'laps+[::1]:5']\nlaps_listen = 'localhost:33435'\nlaps_from = '192.0.2.0/24,::1'\n\
         node_type = 'edge'\nlongitude = -122.5\nlatitude = 37\ncontact = 'a \"b\"'",
    ));
    assert_eq!(
        toml::from_str::<Peering>(&toml::to_string(&peering).unwrap()).unwrap(),
        peering
    );
    assert_eq!(first_refused(&peering), None);
    assert_eq!(peering.laps_from().len(), 2);
    assert_eq!(peering.laps_listen().unwrap().to_string(), "localhost:33435");
    assert_eq!(peering.peers.0.len(), 2);
    assert!(toml::from_str::<Peering>("nonsense = 1").is_err());
}

/// The values are those of the crates below; a relay without a word about peering opens no port.
#[test]
fn defaults_are_off_and_make_sense() {
    let peering = Peering::default();
    assert_eq!(first_refused(&peering), None);
    assert!(!peering.is_on() && peering.listen().is_none() && peering.laps_listen().is_none());
    assert!(peering.tls(NodeId(1)).unwrap().is_none());
    assert_eq!(peering.times(), LinkTimes::default());
    assert_eq!(
        peering.settings(),
        TransportConfig::for_links(LinkTimes::default())
    );
    assert_eq!(peering.backoff(), BACKOFF);
}

#[test]
fn what_makes_no_sense_is_refused_by_its_key() {
    for (text, key) in [
        ("ca = 'x'", "peering.cert"),
        ("ca = 'x'\ncert = 'x'", "peering.key"),
        ("cert = 'x'\nkey = 'x'", "peering.ca"),
        (
            "insecure = true\nca = 'x'\ncert = 'x'\nkey = 'x'",
            "peering.insecure",
        ),
        ("peers = 'h'", "peering.ca"),
        ("insecure = true\npeers = 'h,h:33434'", "peering.peers"),
        ("insecure = true\nnode_type = 'stub'", "peering.node_type"),
        ("node_type = 'via'", "peering.node_type"),
        (
            "insecure = true\nnode_type = 'stub'\npeers = 'h'\nport = 5",
            "peering.port",
        ),
        (
            "insecure = true\nnode_type = 'stub'\npeers = 'h'\nbind = '::1'",
            "peering.bind",
        ),
        (
            "insecure = true\nnode_type = 'stub'\npeers = 'h'\nlaps_listen = 'h:1'\nlaps_from = '::1'",
            "peering.laps_listen",
        ),
        (
            "insecure = true\nnode_type = 'stub'\npeers = 'h'\ndata_links_one_way = true",
            "peering.data_links_one_way",
        ),
        ("node_type = 'via'\npeers = 'laps+h'", "peering.peers"),
        (
            "insecure = true\nnode_type = 'via'\npeers = 'h,laps+h'",
            "peering.peers",
        ),
        (
            "insecure = true\nnode_type = 'via'\nlaps_listen = 'h:1'\nlaps_from = '::1'",
            "peering.laps_listen",
        ),
        ("laps_listen = 'h:1'", "peering.laps_from"),
        ("laps_from = '::1'", "peering.laps_listen"),
        ("laps_listen = '::1'\nlaps_from = '::1'", "peering.laps_listen"),
        ("longitude = 180.5", "peering.longitude"),
        ("latitude = -91", "peering.latitude"),
        ("data_links = 17", "peering.data_links"),
        ("connect_ms = 1", "peering.connect_ms"),
        ("backoff_first_ms = 70000", "peering.backoff_first_ms"),
        ("idle_timeout_ms = 900", "peering.idle_timeout_ms"),
        ("keep_alive_ms = 2000", "peering.keep_alive_ms"),
        ("max_links = 0", "peering.max_links"),
        ("send_buffer_bytes = 1", "peering.send_buffer_bytes"),
    ] {
        let refused = first_refused(&read(text)).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(refused.key, key, "{text}: {}", refused.reason);
        assert!(!refused.remedy.is_empty());
    }
    let long = format!("contact = '{}'", "x".repeat(1025));
    assert_eq!(first_refused(&read(&long)).unwrap().key, "peering.contact");
}

#[test]
fn what_cannot_be_read_says_why() {
    for (text, why) in [
        (
            "peers = ['2001:db8::1']",
            "write it in brackets, such as [2001:db8::1]:33434",
        ),
        ("peers = 'a,h:0'", "port `0` is not a number from 1 to 65535"),
        ("node_type = 'core'", "`core` is none of edge, via, stub"),
        ("laps_from = ['x']", "`x` is neither an address nor a network"),
        ("longitude = nan", "not a number of degrees"),
        ("port = 70000", "70000"),
    ] {
        let error = toml::from_str::<Peering>(text).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// What the transport lets peers open is neither refused behind it, nor are links that may be dialled.
#[test]
fn bounds_follow_what_is_configured() {
    let setup = |text: &str| read(text).setup(NodeId(1), "relay", None).unwrap();
    for (text, links, streams) in [
        ("peers = 'laps+h'", 1_024 + 1 + MAX_FOUND, 100_000),
        ("max_links = 65536\nmax_uni_streams = 1", 65_536 + MAX_FOUND, 1),
        (
            "peers = 'a,b,laps+c'\ndata_links = 16\nmax_uni_streams = 1000000",
            1_024 + 17 + 17 + 1 + MAX_FOUND,
            1_000_000,
        ),
    ] {
        let setup = setup(text);
        assert_eq!(setup.limits.max_links, links, "{text}");
        let plane = &setup.plane;
        assert_eq!(setup.transport.max_uni_streams, streams, "{text}");
        assert_eq!(plane.per_link.streams, streams, "{text}");
        assert_eq!(plane.forward.max_streams as u64, streams, "{text}");
    }
    // Who takes no word from the configuration agrees with the transport's.
    assert_eq!(forward::Limits::default().max_streams, 100_000);
}

/// laps relays need no certificate of ours, nor do they make the strict port less strict.
#[test]
fn laps_relays_stand_beside_strict_peers() {
    let laps = read("peers = 'laps+h'\nlaps_listen = 'h:1'\nlaps_from = '192.0.2.1'");
    assert_eq!(first_refused(&laps), None);
    assert!(laps.is_on() && laps.listen().is_none());
    let both = read(&files(
        "peers = 'laps+h,h'\nlaps_listen = 'h:1'\nlaps_from = '192.0.2.1'",
    ));
    assert_eq!(first_refused(&both), None);
    assert_eq!(both.listen(), Some((Listen::All, 33_434)));
    assert!(!Peering::laps_tls().unwrap().is_mutual());
}

#[test]
fn a_stub_is_dialled_by_nobody() {
    let stub = read(&files("node_type = 'stub'\npeers = 'edge.example'"));
    assert_eq!(first_refused(&stub), None);
    assert!(stub.is_on() && stub.listen().is_none());
    let dumped = toml::to_string(&stub).unwrap();
    assert!(dumped.contains("port = 33434"));
    assert_eq!(first_refused(&read(&dumped)), None, "a dump loads");
}

#[test]
fn a_missing_certificate_is_told_with_its_path() {
    let failure = read(&files("")).tls(NodeId(1)).unwrap_err().to_string();
    assert!(
        failure.contains("ca.pem") && failure.contains("laps cert ca"),
        "{failure}"
    );
    assert!(
        !read("insecure = true")
            .tls(NodeId(1))
            .unwrap()
            .unwrap()
            .is_mutual()
    );
}
