//! Peers that are not to be trusted: they say anything about anybody, to any relay, as one of ours or as a laps relay.

use super::world::{World, data, published, space, track};
use crate::feed::Feed;
use bytes::Bytes;
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::info_base::*;
use laps_protocol::peering::message::{
    Message, NodeSet, PeerMode, PublishInfo, Sequence, SnsId, SubscribeInfo,
};
use laps_protocol::peering::node::{Degrees, NodeId, NodeInfo, NodeType, PathItem};

/// What a link is for: mostly for everything.
const MODES: [PeerMode; 7] = {
    use PeerMode::{Both, Control, Data, DataIn, DataOut};
    [Both, Both, Both, Control, Data, DataOut, DataIn]
};

/// Relays of the mesh, hostile peers, and nodes that nobody knows.
fn node(feed: &mut Feed<'_>) -> NodeId {
    NodeId(1 + u64::from(feed.u8() % 12))
}

fn node_info(world: &World, feed: &mut Feed<'_>) -> NodeInfo {
    let id = node(feed);
    let choice = feed.u8();
    let mut info = match usize::try_from(id.0 - 1)
        .ok()
        .filter(|at| *at < world.relays.len())
    {
        Some(at) if choice & 1 == 0 => world.node_info(at),
        _ => NodeInfo::new(id, NodeType::ALL[usize::from(choice >> 1) % 3], Bytes::new()),
    };
    if choice & 0xc0 == 0xc0 {
        info.latitude = Degrees::new(f64::from(choice));
    }
    info
}

fn path(feed: &mut Feed<'_>) -> Vec<PathItem> {
    let item = |feed: &mut Feed<'_>| PathItem {
        node: node(feed),
        srtt_us: feed.number(),
    };
    (0..feed.below(5)).map(|_| item(feed)).collect()
}

fn stamp(feed: &mut Feed<'_>) -> Stamp {
    Stamp {
        epoch: u64::from(feed.u8() % 4),
        sequence: Sequence(u16::from(feed.u8() % 16) << (feed.u8() % 13)),
    }
}

fn subscribe_info(feed: &mut Feed<'_>) -> SubscribeInfo {
    let name = track(feed.below(8));
    let mut hash = TrackHash::of(&name);
    let choice = feed.u8();
    let data = match choice % 8 {
        0 => feed.bytes(12),
        1 => data(&track(0), choice),
        _ => data(&name, choice >> 6),
    };
    if choice >= 250 {
        hash.name ^= 1;
    }
    SubscribeInfo {
        sequence: stamp(feed).sequence,
        source: node(feed),
        track: hash,
        data,
    }
}

fn publish_info(feed: &mut Feed<'_>) -> PublishInfo {
    let mut info = PublishInfo::new(node(feed), published(feed.below(10)));
    if feed.u8() >= 240 {
        info.hash = TrackHash::of(&track(0)).full;
    }
    info
}

fn message(world: &World, feed: &mut Feed<'_>) -> Message {
    let info = |feed: &mut Feed<'_>| NodeInfo {
        path: path(feed),
        ..node_info(world, feed)
    };
    match feed.below(14) {
        0..=2 => Message::NodeInfoAdvertise(info(feed)),
        3 => Message::NodeInfoWithdraw(info(feed)),
        4..=6 => Message::SubscribeInfoAdvertise(subscribe_info(feed)),
        7 => Message::SubscribeInfoWithdraw(subscribe_info(feed)),
        8..=10 => Message::PublishInfoAdvertise(publish_info(feed)),
        11 => Message::PublishInfoWithdraw(publish_info(feed)),
        12 => Message::NodeSetWithdraw(SnsId::FIRST),
        _ => Message::NodeSetAdvertise(NodeSet::new(SnsId::FIRST, 0, [node(feed)])),
    }
}

fn digest(feed: &mut Feed<'_>) -> Digest {
    Digest {
        count: u32::from(feed.u8() % 4),
        sum: feed.number(),
    }
}

fn node_message(world: &World, feed: &mut Feed<'_>) -> NodeMessage {
    let from = node(feed);
    match feed.below(4) {
        0 => NodeMessage::Pull {
            from,
            number: 1,
            have: digest(feed),
            fresh: feed.flag(),
        },
        1 => NodeMessage::PullEnd {
            from,
            number: 0,
            sent: u32::from(feed.u8() % 3),
            digest: digest(feed),
            whole: feed.flag(),
        },
        _ => NodeMessage::Info {
            from,
            number: 0,
            message: message(world, feed),
            stamp: stamp(feed),
        },
    }
}

/// What one of them does to a relay, by one of its links where it has any.
pub(super) fn step(world: &mut World, relay: usize, feed: &mut Feed<'_>) {
    let mine: Vec<LinkId> = world
        .hostile
        .iter()
        .filter(|(_, at)| **at == relay)
        .map(|(link, _)| *link)
        .collect();
    let action = feed.below(12);
    let link = mine.get(feed.below(mine.len())).copied();
    match (action, link) {
        (0, Some(link)) => {
            world.hostile.remove(&link);
            world.link_down(relay, link);
        }
        (1, Some(link)) => {
            let srtt_us = feed.number();
            world.relays[relay].base.link_srtt(world.now, link, srtt_us);
            world.drain(relay);
        }
        (2, _) => {
            let message = node_message(world, feed);
            world.relays[relay].base.handle_node_message(world.now, message);
            world.drain(relay);
        }
        (3, Some(link)) => {
            let message = match feed.below(7) {
                0 | 1 => OwnMessage::Watch(space(feed.below(5))),
                2 => OwnMessage::Unwatch(space(feed.below(5))),
                3 => OwnMessage::Leaving,
                _ => OwnMessage::Summary {
                    source: node(feed),
                    epoch: u64::from(feed.u8() % 4),
                    serial: u32::from(feed.u8() % 8),
                    digest: digest(feed),
                },
            };
            world.relays[relay]
                .base
                .handle_own_message(world.now, link, message);
            world.drain(relay);
        }
        (4..=11, Some(link)) => {
            let (message, stamp) = (message(world, feed), stamp(feed));
            world.relays[relay]
                .base
                .handle_message(world.now, link, message, stamp);
            world.drain(relay);
        }
        // A new link, or an old one that changes what it is for.
        (_, known) => {
            let link = known.filter(|_| action == 5).unwrap_or_else(|| world.link());
            let choice = feed.u8();
            let mut node = node_info(world, feed);
            // Mostly as somebody that nobody knows.
            if choice & 3 != 0 {
                node.id = NodeId(8 + u64::from(choice >> 6));
            }
            let up = LinkUp {
                node,
                mode: MODES[usize::from(choice >> 2) % MODES.len()],
                kin: if choice & 4 == 0 {
                    Kin::Ours(1 + u64::from(choice >> 7))
                } else {
                    Kin::Laps
                },
                srtt_us: feed.number(),
            };
            world.hostile.insert(link, relay);
            world.link_up(relay, link, up);
        }
    }
}
