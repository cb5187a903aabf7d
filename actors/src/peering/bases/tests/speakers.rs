//! In whose name who may speak.

use super::*;
use laps_protocol::peering::info_base::Digest;
use laps_protocol::peering::message::PublishInfo;

const STUB: usize = 5;
const OTHER: usize = 6;

/// A link whose peer is played by the test, with the number of the peer.
async fn stands(mesh: &Mesh, peer: usize, kind: NodeType) {
    let (ends, _) = tokio::sync::mpsc::unbounded_channel();
    let stuck = Stuck(ends).start();
    let stands = LinkStands {
        link: LinkId(u32::try_from(peer).unwrap()),
        up: LinkUp {
            node: NodeInfo::new(id(peer), kind, bytes::Bytes::new()),
            mode: PeerMode::Both,
            kin: Kin::Ours(7),
            srtt_us: 1_000,
        },
        mouth: Mouth::new(stuck.clone().recipient(), stuck.recipient(), Gauge::default()),
    };
    ask(&mesh.relays[0].bases, stands, DEADLINE)
        .await
        .unwrap()
        .unwrap();
}

async fn says(mesh: &Mesh, peer: usize, relayed: Relayed) {
    let said = PeerSaid {
        link: LinkId(u32::try_from(peer).unwrap()),
        message: Message::Relayed(relayed),
    };
    ask(&mesh.relays[0].bases, said, DEADLINE).await.unwrap();
}

fn word(source: usize, target: usize) -> Relayed {
    Relayed {
        target: id(target),
        source: id(source),
        hop_limit: Relayed::HOP_LIMIT,
        kind: 200,
        request_id: 5,
        body: bytes::Bytes::from_static(b"word"),
    }
}

/// laps peering, "Stub": it is unknown beyond its edge, so it speaks for itself, to its edge. Nobody else speaks for it, or for
/// this relay.
#[test]
fn a_stub_speaks_for_itself_alone() {
    run(async {
        let mut mesh = Mesh::new(1);
        stands(&mesh, STUB, NodeType::Stub).await;
        stands(&mesh, OTHER, NodeType::Edge).await;
        for (by, source, target) in [
            (STUB, OTHER, 0),
            (STUB, 7, 0),
            (STUB, STUB, OTHER),
            (STUB, OTHER, OTHER),
            (OTHER, STUB, 0),
        ] {
            says(&mesh, by, word(source, target)).await;
        }
        for by in [STUB, OTHER] {
            says(&mesh, by, word(0, 0)).await;
            says(&mesh, by, word(0, OTHER)).await;
        }
        let view = ask(&mesh.relays[0].bases, TakeView, DEADLINE).await.unwrap();
        assert_eq!((view.machine.forged, view.machine.echoes), (5, 4), "{view:?}");
        assert_eq!(
            (view.counters.relayed, view.counters.undeliverable),
            (0, 0),
            "{view:?}"
        );
        // What they may say is heard, and nothing of the rest was.
        for by in [STUB, OTHER] {
            says(&mesh, by, word(by, 0)).await;
            let said = mesh.hears(0, |heard| match heard {
                Heard::Said(said) => Some(said.source),
                _ => None,
            });
            assert_eq!(said.await, id(by));
        }
    });
}

/// Stubs are not asked for what they have, and neither ask nor answer; and an answer of others says only what there is.
#[test]
fn what_nobody_asked_for_is_not_taken() {
    run(async {
        let mesh = Mesh::new(1);
        stands(&mesh, STUB, NodeType::Stub).await;
        stands(&mesh, OTHER, NodeType::Edge).await;
        let info = |from, withdraws| {
            let info = PublishInfo::new(id(from), Published::Track(track()));
            let stamp = Stamp {
                epoch: 7,
                ..Stamp::default()
            };
            let message = if withdraws {
                Message::PublishInfoWithdraw(info)
            } else {
                Message::PublishInfoAdvertise(info)
            };
            NodeMessage::Info {
                from: id(from),
                number: 1,
                message,
                stamp,
            }
        };
        let pull = NodeMessage::Pull {
            from: id(STUB),
            number: 1,
            have: Digest::default(),
            fresh: false,
        };
        for (by, message) in [
            (STUB, pull),
            (STUB, info(STUB, false)),
            (OTHER, info(OTHER, false)),
            (OTHER, info(OTHER, true)),
        ] {
            says(&mesh, by, Relayed::of_infos(id(0), &message).unwrap()).await;
        }
        let view = ask(&mesh.relays[0].bases, TakeView, DEADLINE).await.unwrap();
        assert_eq!(
            (view.machine.out_of_place, view.sizes.publishes),
            (3, 1),
            "{view:?}"
        );
    });
}
