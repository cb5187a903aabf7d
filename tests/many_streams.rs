//! A publisher that opens ten thousand streams and finishes none: bounded memory, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cli_common;
mod common;

use bytes::{Bytes, BytesMut};
use cli_common::Relay;
use common::raw::{CODEC, Raw, Reading, raw, raw_at, subscribe};
use common::{relay, run, settings, track};
use laps_actors::track::Budget;
use laps_actors::transport::{SendGuard, TransportConfig};
use laps_protocol::moqt::message::{ControlMessage, MessageParams, Subscribe, SubscribeFilter};
use laps_protocol::moqt::object::{SubgroupHeader, SubgroupIdMode};
use std::sync::Arc;

const STREAMS: u64 = 10_000;
const ALIAS: u64 = 70;
/// What one stream may cost, its part of what the log may keep included: state of the QUIC stack, a task, a reader, an
/// open subgroup and the one of its replica.
const PER_STREAM: u64 = 16 << 10;

/// What a stream of the attacker holds.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// A header for an alias that nobody explains.
    UnknownAlias,
    /// A header, and nothing after it.
    HeaderOnly,
    /// A header and one object of 100 bytes.
    OneObject,
    /// The first byte of a header.
    HalfHeader,
}

/// Bytes of the relay's process that are in memory.
fn resident(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.process.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn bytes(holds: Holds, group: u64) -> Bytes {
    let header = SubgroupHeader {
        alias: match holds {
            Holds::UnknownAlias => ALIAS + 1,
            Holds::HeaderOnly | Holds::OneObject | Holds::HalfHeader => ALIAS,
        },
        group,
        subgroup: SubgroupIdMode::Zero,
        priority: 128,
        has_extensions: false,
        end_of_group: false,
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_subgroup_header(&header, &mut bytes).unwrap();
    match holds {
        Holds::UnknownAlias | Holds::HeaderOnly => {}
        Holds::OneObject => {
            // Delta 0, 100 bytes.
            bytes.extend_from_slice(&[0, 0x40, 100]);
            bytes.extend_from_slice(&[7; 100]);
        }
        Holds::HalfHeader => bytes.truncate(1),
    }
    bytes.freeze()
}

/// Opens them all and leaves them open.
async fn open_all(attacker: &mut Raw, holds: Holds) -> Vec<SendGuard> {
    let mut streams = Vec::new();
    for group in 0..STREAMS {
        let mut stream = attacker.conn.open_uni().await.unwrap();
        // One that was stopped already is as good as one that was not.
        stream.send(&mut [bytes(holds, group)]).await.ok();
        streams.push(stream);
    }
    streams
}

fn attack(holds: Holds) {
    run(async move || {
        // Half a header is held as long as the others are.
        let relay = Relay::start(&[("LAPS_SESSION__HEADER_TIMEOUT_MS", "600000")], &[]);
        let addr = relay.url.strip_prefix("moqt://").unwrap().parse().unwrap();
        let transport = TransportConfig {
            max_uni_streams: STREAMS + 1000,
            ..TransportConfig::default()
        };
        // Somebody else's track is live meanwhile.
        let live = track("live", "video");
        let mut other = raw_at(addr).await;
        other.announce(live.namespace()).await;
        let mut watcher = raw_at(addr).await;
        let id = watcher.subscribe(&live, SubscribeFilter::LargestObject).await;
        other.serve(&live, 3).await;
        let alias = watcher.answer(id).await.unwrap().alias;
        other.group(3, 0, 1).await;
        watcher.until_object(alias, (0, 0)).await;

        let name = track("storm", "video");
        let mut attacker = Raw::connect_to(addr, Reading::Everything, transport).await;
        attacker.announce(name.namespace()).await;
        let mut victim = raw_at(addr).await;
        let id = victim.subscribe(&name, SubscribeFilter::LargestObject).await;
        attacker.serve(&name, ALIAS).await;
        victim.answer(id).await.unwrap();
        let before = resident(&relay);
        let undisturbed = async {
            for group in 1..=20 {
                other.group(3, group, 1).await;
                watcher.until_object(alias, (group, 0)).await;
            }
        };
        let (streams, ()) = futures::join!(open_all(&mut attacker, holds), undisturbed);
        // The session lives, and the relay has read what came before.
        attacker.fence().await;
        let grown = resident(&relay).saturating_sub(before);
        assert!(grown < STREAMS * PER_STREAM, "{holds:?}: {grown} bytes more");
        other.group(3, 21, 1).await;
        watcher.until_object(alias, (21, 0)).await;
        drop(streams);
    });
}

/// D14-LIM-4 D14-CACHE-6: what the logs count of ten thousand open subgroups.
#[test]
fn the_log_keeps_to_its_budget() {
    run(async || {
        const LOG: usize = 1 << 20;
        let mut settings = settings(1);
        settings.track.limits.max_bytes = LOG;
        settings.track.budget = Arc::new(Budget::new(2 * LOG));
        let budget = Arc::clone(&settings.track.budget);
        let relay = relay(settings).await;
        let name = track("storm", "video");
        let mut attacker = raw(&relay).await;
        attacker.announce(name.namespace()).await;
        let mut victim = raw(&relay).await;
        // Such a log is over before the path to anybody has opened up. With a timeout the subscription goes on at the
        // newest group, and the track stays live.
        let patient = MessageParams {
            delivery_timeout_ms: Some(60_000),
            ..MessageParams::default()
        };
        let wanted = Subscribe {
            params: patient,
            ..subscribe(&name, SubscribeFilter::LargestObject)
        };
        let id = victim.id();
        victim.say(ControlMessage::Subscribe(id, wanted)).await;
        attacker.serve(&name, ALIAS).await;
        let streams = open_all(&mut attacker, Holds::OneObject).await;
        attacker.fence().await;
        // Whoever reads falls behind so many; the relay says itself how far the track has come.
        let mut asker = raw(&relay).await;
        loop {
            let id = asker.id();
            let question = subscribe(&name, SubscribeFilter::LargestObject);
            asker.say(ControlMessage::TrackStatus(id, question)).await;
            let largest = asker
                .control(|message| {
                    let ControlMessage::TrackStatusOk(of, ok) = message else {
                        return None;
                    };
                    (*of == id).then_some(ok.largest)
                })
                .await;
            // The newest group is kept in any case; it has one object here.
            assert!(budget.used() <= LOG + 4096, "{} bytes", budget.used());
            if largest.is_some_and(|largest| largest.group == STREAMS - 1) {
                break;
            }
        }
        drop(streams);
    });
}

/// D14-LIM-1 D14-LIM-4 D14-LIM-7
#[test]
fn with_an_alias_that_nobody_explains() {
    attack(Holds::UnknownAlias);
}

/// D14-LIM-1 D14-LIM-4 D14-LIM-7
#[test]
fn with_a_header_only() {
    attack(Holds::HeaderOnly);
}

/// D14-LIM-1 D14-LIM-4 D14-LIM-7
#[test]
fn with_one_object_each() {
    attack(Holds::OneObject);
}

/// D14-LIM-1 D14-LIM-4 D14-LIM-6 D14-LIM-7
#[test]
fn with_half_a_header() {
    attack(Holds::HalfHeader);
}
