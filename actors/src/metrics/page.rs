//! The page that `/metrics` answers with: what was read, in the text form of OpenMetrics.

use super::catalog::{FAMILIES, Labels};
use super::restarts;
use super::sources::Sources;
use crate::census::{Census, Row};
use crate::limits::{Kind, memory};
use crate::supervise::counters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the page; `census` is what the children answered.
///
/// # Errors
/// A collector cannot write what it has.
pub fn write(sources: &Sources, census: &Census) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Picture {
        sources: sources.clone(),
        census: census.clone(),
    }));
    for more in &sources.more {
        registry.register_collector(Box::new(More(Arc::clone(more))));
    }
    let mut page = String::with_capacity(16 << 10);
    prometheus_client::encoding::text::encode(&mut page, &registry)?;
    Ok(page)
}

/// A collector that others hold as well.
#[derive(Debug)]
struct More(Arc<dyn Collector>);

impl Collector for More {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

#[derive(Debug)]
struct Picture {
    sources: Sources,
    census: Census,
}

/// A series' labels and its value.
type Series<'a> = (Vec<(&'a str, Cow<'a, str>)>, u64);

/// Writes families of one kind of number.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<'s>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = Series<'s>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in series {
            let value = ConstCounter::new(value);
            // One without labels is the only one of its family, and is written without braces.
            if labels.is_empty() {
                return value.encode(family);
            }
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<'s>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = Series<'s>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in series {
            // Larger ones have no form in this text; nothing that is told here comes near.
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            if labels.is_empty() {
                return value.encode(family);
            }
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn alone<'a>(value: u64) -> [Series<'a>; 1] {
    [(Vec::new(), value)]
}

fn labelled<'a>(label: &'static str, of: impl Into<Cow<'a, str>>, value: u64) -> Series<'a> {
    (vec![(label, of.into())], value)
}

/// The gauges that rows of the census are, by table of the process.
const LIVE: [(&str, &str, &str); 8] = [
    (
        "connection_actors",
        "laps_open_connections",
        "Connections that are served",
    ),
    ("session_actors", "laps_sessions", "MOQT sessions"),
    (
        "subscription_actors",
        "laps_subscriptions",
        "Subscriptions of subscribers",
    ),
    (
        "track_actors",
        "laps_tracks",
        "Tracks that somebody publishes or reads",
    ),
    (
        "replica_actors",
        "laps_track_replicas",
        "Copies of tracks on other shards",
    ),
    (
        "announce_actors",
        "laps_announced_namespaces",
        "Namespaces that publishers announce",
    ),
    (
        "namespace_actors",
        "laps_watched_namespaces",
        "Prefixes that sessions watch",
    ),
    ("fetch_actors", "laps_fetches", "Fetches that are being answered"),
];

impl Collector for Picture {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.live(&mut page)?;
        self.counted(&mut page)?;
        self.limits(&mut page)?;
        Self::supervision(&mut page)
    }
}

impl Picture {
    /// What is known of the process as a whole.
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        page.gauges(
            "laps_build_info",
            "The version of the relay, as a label",
            None,
            [labelled("version", version, 1)],
        )?;
        let started = self
            .sources
            .started
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        page.gauges(
            "process_start_time_seconds",
            "When the relay was started, in seconds since 1970",
            None,
            alone(started.as_secs()),
        )?;
        if let Some(bytes) = memory::resident() {
            let help = "Memory of the process, pages shared with others counted whole";
            page.gauges("process_resident_memory_bytes", help, None, alone(bytes))?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let help = "Open file descriptors";
            page.gauges("process_open_fds", help, None, alone(open.count() as u64))?;
        }
        let late = self.sources.board.late();
        page.gauges(
            "laps_threads_late",
            "Threads of the relay that the watchdog has not seen run for a while",
            None,
            alone(late.len() as u64),
        )?;
        page.gauges(
            "laps_parts_silent",
            "Parts of the relay that did not say how full their tables are",
            None,
            alone(self.census.silent.len() as u64),
        )
    }

    /// What lives now.
    fn live(&self, page: &mut Page<'_>) -> fmt::Result {
        let of_process = |table: &str| {
            let row = |row: &&Row| row.table.strip_prefix("process.") == Some(table);
            self.census.rows.iter().find(row).map_or(0, |row| row.count)
        };
        for (table, name, help) in LIVE {
            page.gauges(name, help, None, alone(of_process(table)))?;
        }
        page.gauges(
            "laps_open_streams",
            "Halves of QUIC streams that are open, control streams included",
            None,
            [
                labelled("direction", "in", of_process("recv_streams")),
                labelled("direction", "out", of_process("send_streams")),
            ],
        )?;
        let rows = self.census.rows.iter().filter_map(|row| {
            let (part, table) = row.table.split_once('.')?;
            // Those of the process have names of their own.
            (part != "process").then(|| (vec![("part", part.into()), ("table", table.into())], row.count))
        });
        page.gauges(
            "laps_table_entries",
            "Entries of the tables of each part, bytes where a table's name says so",
            None,
            rows,
        )
    }

    /// What the shards have counted.
    fn counted(&self, page: &mut Page<'_>) -> fmt::Result {
        let labels = |labels: Labels, shard: usize| {
            let own = labels.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
            own.chain([("shard", shard.to_string().into())]).collect()
        };
        for family in FAMILIES {
            let unit = family.is_bytes.then_some(&Unit::Bytes);
            let tallies = self.sources.tallies.iter().enumerate();
            let series = tallies.flat_map(|(shard, tally)| {
                let series = family.series.iter();
                series.map(move |(own, count)| (labels(own, shard), tally.get(*count)))
            });
            page.counters(family.name, family.help, unit, series)?;
        }
        Ok(())
    }

    /// How near the relay is to what it may use, and what it has refused for that.
    fn limits(&self, page: &mut Page<'_>) -> fmt::Result {
        let Sources {
            prefixes,
            pressure,
            budget,
            ..
        } = &self.sources;
        let size = |bytes: usize| alone(bytes as u64);
        let unit = Some(&Unit::Bytes);
        page.gauges(
            "laps_cache",
            "What the cache keeps of all tracks",
            unit,
            size(budget.used()),
        )?;
        page.gauges(
            "laps_cache_limit",
            "What it may keep for now",
            unit,
            size(budget.limit()),
        )?;
        page.counters(
            "laps_cache_given_up",
            "What tracks within their own limits gave up for the limit of all",
            unit,
            alone(budget.given_up()),
        )?;
        let sample = pressure.sample();
        page.gauges(
            "laps_memory",
            "Memory that counts towards the limit",
            unit,
            alone(sample.memory),
        )?;
        page.gauges(
            "laps_memory_limit",
            "Memory that the relay may use; 0 when it does not know",
            unit,
            alone(sample.budget),
        )?;
        page.counters(
            "laps_newcomers_refused",
            "Connections that were refused in their handshake, by reason",
            None,
            [
                labelled(
                    "reason",
                    "prefix_connections",
                    prefixes.refused(Kind::Connections),
                ),
                labelled("reason", "prefix_handshakes", prefixes.too_many_handshakes()),
                labelled("reason", "overload", pressure.refused_connections()),
            ],
        )?;
        page.counters(
            "laps_overload",
            "What was refused or ended because of load",
            None,
            [
                labelled("what", "request", pressure.refused_requests()),
                labelled("what", "subscription", pressure.shed()),
            ],
        )
    }

    /// How the actors do.
    fn supervision(page: &mut Page<'_>) -> fmt::Result {
        let kinds = |counts: Vec<(&'static str, u64)>| {
            let series = counts.into_iter();
            series.map(|(kind, count)| labelled("kind", kind, count))
        };
        page.counters(
            "laps_actor_restarts",
            "Actors that were started again after their end, by kind",
            None,
            kinds(restarts::restarts().collect()),
        )?;
        page.counters(
            "laps_actor_panics",
            "Actors that ended by a panic, by kind",
            None,
            kinds(restarts::panics().collect()),
        )?;
        let messages = counters::snapshot();
        page.counters(
            "laps_messages_lost",
            "Messages between actors that were not taken, by reason",
            None,
            [
                labelled("reason", "deadline", messages.ask_expired),
                labelled("reason", "full", messages.offer_full),
                labelled(
                    "reason",
                    "receiver_gone",
                    messages.ask_closed
                        + messages.offer_closed
                        + messages.wake_closed
                        + messages.notify_closed,
                ),
            ],
        )
    }
}
