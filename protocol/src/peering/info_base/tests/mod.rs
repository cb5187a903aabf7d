//! One relay and what it is told.

mod again;
mod arrivals;
mod flaps;
mod held;
mod infos;
mod leaving;
mod many_stubs;
mod nodes;
mod own_bytes;
mod pulls;
mod shares;
mod stubs;
mod ways;

use super::ledger::{How, Said, Verdict, judge};
use super::*;
use crate::moqt::message::RequestId;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::peering::hash::TrackHash;
use crate::peering::message::{
    Dialect, PeerMode, PublishInfo, Published, Sequence, SubscribeInfo, encode_subscribe_data, laps_subscribe,
};
use crate::peering::node::{NodeInfo, PathItem};
use bytes::Bytes;
use proptest::prelude::*;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

const fn id(low: u64) -> NodeId {
    NodeId(1 << 32 | low)
}

fn info(low: u64, kind: NodeType) -> NodeInfo {
    NodeInfo::new(id(low), kind, Bytes::from(format!("relay-{low}")))
}

fn far(low: u64, path: &[(u64, u64)]) -> NodeInfo {
    let hops = path.iter().map(|(node, ms)| PathItem {
        node: id(*node),
        srtt_us: ms * 1000,
    });
    NodeInfo {
        path: hops.collect(),
        ..info(low, NodeType::Edge)
    }
}

fn namespace(text: &str) -> TrackNamespace {
    TrackNamespace::new(
        text.split('/')
            .map(|field| Bytes::copy_from_slice(field.as_bytes())),
    )
    .unwrap()
}

fn track(text: &str, name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace(text), Bytes::from_static(name.as_bytes())).unwrap()
}

fn data(track: &FullTrackName, priority: u8) -> Bytes {
    let subscribe = laps_subscribe(track.clone(), priority, None);
    encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap()
}

fn subscription(source: u64, track: &FullTrackName, sequence: u16) -> SubscribeInfo {
    SubscribeInfo {
        sequence: Sequence(sequence),
        source: id(source),
        track: TrackHash::of(track),
        data: data(track, 1),
    }
}

/// A relay with the id 1, and what it did since it was asked last.
struct Desk {
    now: Instant,
    base: InfoBase,
}

impl Desk {
    fn new(role: NodeType) -> Self {
        Self::with(role, Limits::default())
    }

    fn with(role: NodeType, limits: Limits) -> Self {
        Self::of(1, role, limits)
    }

    fn of(low: u64, role: NodeType, limits: Limits) -> Self {
        let now = t0();
        let base = InfoBase::new(id(low), role, 7, Settings::default(), limits, now);
        Self { now, base }
    }

    /// A link with the number of the node that it goes to.
    fn link(&mut self, low: u32, kind: NodeType, kin: Kin, ms: u64) -> Vec<Output> {
        self.link_for(low, u64::from(low), kind, kin, ms, PeerMode::Both)
    }

    fn link_for(
        &mut self,
        link: u32,
        low: u64,
        kind: NodeType,
        kin: Kin,
        ms: u64,
        mode: PeerMode,
    ) -> Vec<Output> {
        let up = LinkUp {
            node: info(low, kind),
            mode,
            kin,
            srtt_us: ms * 1000,
        };
        self.base.link_up(self.now, LinkId(link), up);
        self.drain()
    }

    fn hear(&mut self, link: u32, message: Message) -> Vec<Output> {
        self.hear_stamped(link, message, Stamp::of_life(9))
    }

    fn hear_stamped(&mut self, link: u32, message: Message, stamp: Stamp) -> Vec<Output> {
        self.base.handle_message(self.now, LinkId(link), message, stamp);
        self.drain()
    }

    fn command(&mut self, command: Command) -> Vec<Output> {
        self.base.command(self.now, command).unwrap();
        self.drain()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut out = Vec::new();
        while let Some(at) = self.base.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.base.handle_timeout(self.now);
            out.extend(self.drain());
        }
        self.now = end;
        out
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.base.poll_output()).collect()
    }
}

/// Nodes and milliseconds.
type Path = Vec<(u64, u64)>;

/// Node infos that were sent: link, id of the node, its path, or none where it is withdrawn.
fn nodes(out: &[Output]) -> Vec<(u32, u64, Option<Path>)> {
    let path = |info: &NodeInfo| {
        info.path
            .iter()
            .map(|item| (item.node.0 & 0xff, item.srtt_us / 1000))
            .collect()
    };
    let found = out.iter().filter_map(|output| match output {
        Output::Send {
            link,
            message: Message::NodeInfoAdvertise(info),
            ..
        } => Some((link.0, info.id.0 & 0xff, Some(path(info)))),
        Output::Send {
            link,
            message: Message::NodeInfoWithdraw(info),
            ..
        } => Some((link.0, info.id.0 & 0xff, None)),
        _ => None,
    });
    found.collect()
}

/// Infos that were sent: link, whether it is an advertisement, its number.
fn infos(out: &[Output]) -> Vec<(u32, bool, u16)> {
    let found = out.iter().filter_map(|output| match output {
        Output::Send { link, message, stamp } => match message {
            Message::SubscribeInfoAdvertise(_) | Message::PublishInfoAdvertise(_) => {
                Some((link.0, true, stamp.sequence.0))
            }
            Message::SubscribeInfoWithdraw(_) | Message::PublishInfoWithdraw(_) => {
                Some((link.0, false, stamp.sequence.0))
            }
            _ => None,
        },
        _ => None,
    });
    found.collect()
}

const EDGE: NodeType = NodeType::Edge;
const OURS: Kin = Kin::Ours(9);
