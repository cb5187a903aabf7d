//! What an operator's tools are told of the links, from another thread.
//!
//! ```text
//!  [shard 0] PeerLinkActor ──▶ Tally: the messages of its session, by kind; itself, while it stands
//!            PeeringActor, asked for the census ──▶ Tally: what the data of all links has counted
//!  [admin]   metrics::page ──▶ Tally as a Collector ──▶ ConnStats of each link, where the stack measures them
//! ```
//!
//! One for the relay: it goes on over the lives of the peering, so that what it counts does not begin anew.

use super::plane;
use crate::transport::{ConnStats, Traffic};
use laps_protocol::peering::info_base::LinkId;
use laps_protocol::peering::message::{MessageKind, PeerMode};
use laps_protocol::peering::node::NodeId;
use laps_protocol::peering::session::{Counts, PeerSession};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;

/// Which way a message, a stream or a byte went, as a label and as an index.
const DIRECTIONS: [&str; 2] = ["in", "out"];

const KINDS: usize = MessageKind::ALL.len();

/// What is counted of all links. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By direction and kind.
    messages: [[AtomicU64; KINDS]; 2],
    /// Links that stand.
    links: watch::Sender<BTreeMap<LinkId, Standing>>,
    next: AtomicU64,
    data: watch::Sender<plane::Counts>,
}

/// A link that stands, as a tool is told of it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Who is there.
    pub node: NodeId,
    /// What it is for.
    pub mode: PeerMode,
    /// What the stack measures.
    pub stats: Arc<ConnStats>,
}

#[derive(Clone, Debug)]
struct Standing {
    number: u64,
    figures: Figures,
}

/// A link is among those that stand while this lives.
#[derive(Debug)]
pub(super) struct Entered {
    tally: Tally,
    link: LinkId,
    number: u64,
}

/// How many messages of a session have been counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted([Counts; 2]);

impl Tally {
    /// Counts what a session has read and written since the last time.
    pub(super) fn count(&self, session: &PeerSession, before: &mut Counted) {
        let now = [session.received(), session.sent()];
        if now == before.0.each_ref() {
            return;
        }
        for (counts, (now, before)) in self.0.messages.iter().zip(now.iter().zip(&before.0)) {
            for (count, kind) in counts.iter().zip(MessageKind::ALL) {
                count.fetch_add(now.of(*kind) - before.of(*kind), Relaxed);
            }
        }
        before.0 = now.map(Clone::clone);
    }

    /// A link stands.
    pub(super) fn enter(&self, link: LinkId, figures: Figures) -> Entered {
        let number = self.0.next.fetch_add(1, Relaxed);
        self.0.links.send_modify(|links| {
            links.insert(link, Standing { number, figures });
        });
        Entered {
            tally: self.clone(),
            link,
            number,
        }
    }

    /// What the data of all links has counted, in this life of the peering.
    pub(super) fn set_data(&self, counts: plane::Counts) {
        self.0.data.send_replace(counts);
    }

    /// Control messages so far: each kind's name, how many came, and how many were written.
    pub fn messages(&self) -> impl Iterator<Item = (&'static str, [u64; 2])> + '_ {
        let of = |at: usize| {
            let counts = self.0.messages.each_ref();
            counts.map(|counts| counts.get(at).map_or(0, |count| count.load(Relaxed)))
        };
        let kinds = MessageKind::ALL.iter().enumerate();
        kinds.map(move |(at, kind)| (kind.name(), of(at)))
    }

    /// The links that stand.
    #[must_use]
    pub fn links(&self) -> Vec<(LinkId, Figures)> {
        let links = self.0.links.borrow();
        let links = links.iter();
        links
            .map(|(link, standing)| (*link, standing.figures.clone()))
            .collect()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // A later life of the peering gives the same numbers to its links.
        self.tally.0.links.send_modify(|links| {
            if links
                .get(&self.link)
                .is_some_and(|standing| standing.number == self.number)
            {
                links.remove(&self.link);
            }
        });
    }
}

/// What one link is called.
fn labels(link: LinkId, figures: &Figures) -> Vec<(&'static str, String)> {
    vec![
        ("link", link.0.to_string()),
        ("node", figures.node.to_string()),
        ("mode", figures.mode.to_string()),
    ]
}

impl Collector for Tally {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, links) = (Page(encoder), self.links());
        page.gauge("laps_links", "Links to other relays that stand", links.len())?;
        page.rtts(&links)?;
        type Read = fn(&Traffic) -> [u64; 2];
        let both: [(&str, &str, Option<&Unit>, Read); 2] = [
            (
                "laps_link_udp",
                "UDP payload of each link, by direction",
                Some(&Unit::Bytes),
                Traffic::udp_bytes,
            ),
            (
                "laps_link_streams",
                "Streams of objects of each link, by direction",
                None,
                Traffic::uni_streams,
            ),
        ];
        for (name, help, unit, read) in both {
            let series = links.iter().flat_map(|(link, figures)| {
                let counts = DIRECTIONS.into_iter().zip(read(figures.stats.traffic()));
                counts.map(|(direction, count)| {
                    let mut labels = labels(*link, figures);
                    labels.push(("direction", direction.to_owned()));
                    (labels, count)
                })
            });
            page.counters(name, help, unit, series)?;
        }
        page.counters(
            "laps_link_lost_packets",
            "Packets of each link that were lost on their way to the peer",
            None,
            links
                .iter()
                .map(|(link, figures)| (labels(*link, figures), figures.stats.lost_packets())),
        )?;
        let messages = self.messages().flat_map(|(kind, counts)| {
            let counts = DIRECTIONS.into_iter().zip(counts);
            counts.map(move |(direction, count)| (vec![("type", kind), ("direction", direction)], count))
        });
        page.counters(
            "laps_peering_messages",
            "Control messages of peering on all links, by type and direction",
            None,
            messages,
        )?;
        let data = self.0.data.borrow().each().into_iter();
        page.counters(
            "laps_peering_data",
            "What happened to the data of all links since the peering began, by what it was",
            None,
            data.map(|(what, count)| (vec![("what", what)], count)),
        )
    }
}

/// Writes families.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        let family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)
    }

    fn rtts(&mut self, links: &[(LinkId, Figures)]) -> fmt::Result {
        let (help, unit) = ("Smoothed round trip of each link", Some(&Unit::Seconds));
        let mut family = self
            .0
            .encode_descriptor("laps_link_rtt", help, unit, MetricType::Gauge)?;
        for (link, figures) in links {
            if let Some(rtt) = figures.stats.rtt() {
                let labels = labels(*link, figures);
                ConstGauge::new(rtt.as_secs_f64()).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, count) in series {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
