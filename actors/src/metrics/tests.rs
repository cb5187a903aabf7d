//! The page as a tool reads it.

use super::*;
use crate::census::{Census, Row};
use crate::limits::{Gauge, Limits, Prefixes, Pressure};
use crate::track::Budget;
use crate::watchdog::Board;
use laps_protocol::relay::load::{Sample, Terms};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A part with numbers of its own, as links to other relays are.
#[derive(Debug)]
struct Links;

impl Collector for Links {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut family =
            encoder.encode_descriptor("laps_link_rtt_seconds", "Round trip", None, MetricType::Gauge)?;
        let metric = family.encode_family(&[("node", "1:2")])?;
        ConstGauge::new(0.025).encode(metric)
    }
}

fn sources() -> Sources {
    let gauge = Gauge::given(|_| Sample {
        memory: 5,
        budget: 7,
        ..Sample::default()
    });
    Sources {
        tallies: Tallies::new(2),
        prefixes: Arc::new(Prefixes::new(Limits::NONE)),
        pressure: Arc::new(Pressure::new(gauge, Terms::default())),
        budget: Arc::new(Budget::new(64)),
        board: Board::new(["root".to_owned()]),
        started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        more: vec![Arc::new(Links)],
    }
}

fn lines(sources: &Sources, census: &Census) -> Vec<String> {
    let page = page::write(sources, census).unwrap();
    page.lines().map(str::to_owned).collect()
}

#[test]
fn what_was_counted_asked_and_added_stands_on_the_page() {
    let sources = sources();
    let tally = sources.tallies.of(1);
    std::thread::spawn(|| {
        tally.install();
        tally::count(Count::FetchObjectsOut, 3);
        tally::count(Count::StreamBytesIn, 1 << 40);
        tally::count(Count::DropTooFarBehind, 1);
    })
    .join()
    .unwrap();
    let row = |table: &str, count| Row {
        table: table.to_owned(),
        count,
    };
    let census = Census {
        rows: vec![
            row("registry.tracks", 4),
            row("process.session_actors", 9),
            row("process.recv_streams", 2),
        ],
        silent: vec!["shard-0".to_owned()],
    };
    let lines = lines(&sources, &census);
    for wanted in [
        "# TYPE laps_objects_sent counter",
        "laps_objects_sent_total{via=\"fetch\",shard=\"1\"} 3",
        "laps_objects_sent_total{via=\"fetch\",shard=\"0\"} 0",
        "# UNIT laps_payload_received_bytes bytes",
        "laps_payload_received_bytes_total{via=\"stream\",shard=\"1\"} 1099511627776",
        "laps_drops_total{reason=\"too_far_behind\",shard=\"1\"} 1",
        "laps_sessions 9",
        "laps_open_streams{direction=\"in\"} 2",
        "laps_table_entries{part=\"registry\",table=\"tracks\"} 4",
        "laps_parts_silent 1",
        "laps_memory_bytes 5",
        "laps_memory_limit_bytes 7",
        "laps_cache_limit_bytes 64",
        "process_start_time_seconds 1700000000",
        "laps_link_rtt_seconds{node=\"1:2\"} 0.025",
        concat!("laps_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(
            lines.iter().any(|line| line == wanted),
            "{wanted} in\n{}",
            lines.join("\n")
        );
    }
    assert_eq!(lines.last().unwrap(), "# EOF");
}

/// OpenMetrics 1.0: each family is described once, before its samples and by itself; a sample has a name of its family.
#[test]
fn the_page_keeps_to_the_form() {
    let lines = lines(&sources(), &Census::default());
    let (mut family, mut seen) = ("", Vec::new());
    for line in &lines {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(!seen.contains(&family), "{family} twice");
            assert!(help.len() > family.len() + 10, "{help}");
            seen.push(family);
        } else if let Some(about) = line.strip_prefix("# ") {
            assert!(about == "EOF" || about.contains(family), "{line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(family);
            assert!(matches!(suffix, Some("" | "_total")), "{line} in {family}");
            let ours = ["laps_", "process_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            assert!(
                ours && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(seen.len() > 30, "{}", seen.len());
}
