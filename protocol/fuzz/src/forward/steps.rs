//! What happens: to sets and links, and what comes in.

use super::*;

pub(super) fn step(world: &mut World, feed: &mut Feed<'_>) {
    let place = feed.below(PLACES);
    let action = feed.below(20);
    let Some(id) = world.places[place] else {
        return world.up(place);
    };
    match action {
        0 => return world.down(place),
        1 => {
            let mut table = Table::new();
            for node in 1..9 {
                let bits = feed.u8();
                let links = world.places.iter().enumerate();
                let links = links.filter_map(|(at, link)| link.filter(|_| bits & 1 << at != 0));
                table.insert(NodeId(node), links.collect());
            }
            world.sets.set_routes(table);
        }
        2 => world.sets.set_targets(name(feed), urgent_nodes(feed)),
        3..=5 => {
            // Nobody, as a laps relay says it, or one of two: the same set may come from another than before.
            let origin = [None, Some(NodeId(20)), Some(NodeId(21))][action - 3];
            let set = NodeSet::urgent(sns(feed), urgent_nodes(feed)).from_origin(origin);
            let taken = world.sets.counters().sets_taken;
            world.sets.advertised(id, &set);
            if world.sets.counters().sets_taken > taken
                && let Some(link) = world.links.get_mut(&id)
            {
                // What a laps relay hands on is taken for its own.
                let laps = place == PLACES - 1;
                link.origins
                    .insert(set.id, origin.or_else(|| laps.then_some(link.peer)));
            }
        }
        6 => world.sets.withdrawn(id, sns(feed), world.now),
        7 => {
            let told = world.links[&id].told.keys().copied().collect::<Vec<_>>();
            let told = told.get(feed.below(told.len())).copied();
            world.sets.set_delivered(id, told.unwrap_or(SnsId::FIRST));
        }
        8 => world.now += Duration::from_millis(u64::from(feed.u8()) * 8),
        9 => {
            let room = usize::from(feed.u8());
            world
                .links
                .values_mut()
                .for_each(|link| link.ingress.set_datagram_bytes(id, room));
            if let Some(link) = world.links.get_mut(&id) {
                link.room = room;
            }
        }
        _ => traffic(world, id, action, feed),
    }
    world.drain();
    if feed.u8() < 200 {
        world.settle();
    }
}

/// Something comes in on a link, or leaves that came in there.
fn traffic(world: &mut World, id: LinkId, action: usize, feed: &mut Feed<'_>) {
    let (now, Some(link)) = (world.now, world.links.get_mut(&id)) else {
        return;
    };
    let open: Vec<InStream> = link.streams.keys().rev().take(4).copied().collect();
    let some = open.get(feed.below(open.len())).copied();
    match (action, some) {
        (10, _) => {
            let header = DatagramHeader {
                sns: sns(feed),
                track: name(feed),
            };
            // Each is another one, so that it is known again.
            let number = u16::try_from(link.datagrams.len()).unwrap().to_be_bytes();
            let payload = Bytes::from([&number[..], &feed.bytes(80)].concat());
            let bytes = Bytes::from([&header.encode()[..], &payload].concat());
            let cut = if feed.u8() >= 240 {
                feed.below(DatagramHeader::LEN)
            } else {
                bytes.len()
            };
            link.datagrams.push((header, payload, BTreeSet::new()));
            link.ingress.datagram(bytes.slice(..cut), now);
        }
        (11 | 12, Some(stream)) => {
            let piece = feed.bytes(120);
            link.bytes(stream, &piece, now);
        }
        (13, Some(stream)) => {
            let known = link.streams.get_mut(&stream).unwrap();
            if !known.reset && !known.stopped && !std::mem::replace(&mut known.fin, true) {
                link.ingress.fin(stream);
            }
        }
        (14, Some(stream)) => {
            let known = link.streams.get_mut(&stream).unwrap();
            if !known.fin && !known.stopped && !std::mem::replace(&mut known.reset, true) {
                link.ingress.reset(stream, feed.number());
            }
        }
        (15 | 16, Some(stream)) => {
            let bytes = usize::from(feed.u8());
            let which = feed.u8();
            let known = link.streams.get_mut(&stream).unwrap();
            let live = known.got.iter_mut().filter(|(_, got)| !got.over).enumerate();
            let live = live.filter(|(at, _)| which & 1 << (at % 8) == 0);
            let taken = live.map(|(_, (target, got))| {
                let bytes = bytes.min(got.bytes.len() - got.taken);
                got.taken += bytes;
                (*target, bytes as u64)
            });
            link.ingress.taken(stream, &taken.collect::<Vec<_>>());
        }
        (17, Some(stream)) => {
            let known = link.streams.get_mut(&stream).unwrap();
            let live: Vec<Target> = known
                .got
                .iter()
                .filter(|(_, got)| !got.over)
                .map(|(to, _)| *to)
                .collect();
            if let Some(target) = live.get(feed.below(live.len())) {
                known.got.entry(*target).or_default().over = true;
                link.ingress.target_stopped(stream, *target);
            }
        }
        _ => {
            link.next += 1;
            let stream = InStream(link.next);
            link.streams.insert(stream, Stream::default());
            link.ingress.opened(stream);
            let header = StreamHeader {
                sns: sns(feed),
                track: name(feed),
                priority: feed.u8(),
                ttl_ms: if feed.flag() { 0 } else { u32::from(feed.u8()) * 8 },
            };
            let mut bytes = [&header.encode()[..], &feed.bytes(60)].concat();
            if feed.u8() >= 240 {
                bytes[0] ^= feed.u8();
            }
            for piece in Feed::new(&feed.bytes(4)).split(Bytes::from(bytes)) {
                link.bytes(stream, &piece, now);
            }
        }
    }
}
