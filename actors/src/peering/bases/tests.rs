//! Several relays' bases in one process, with links that hand on at once what is said.

mod speakers;

use super::*;
use crate::peering::mesh::{SendToNode, Want};
use crate::supervise::mailbox::ask;
use actix::{Addr, Handler, System};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::info_base::{Command, Kin, LinkUp};
use laps_protocol::peering::message::{PeerMode, Published};
use laps_protocol::peering::node::NodeInfo;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// One direction of a link.
struct Wire {
    to: Addr<InfoBaseActor>,
    link: LinkId,
    gauge: Gauge,
    said: Arc<AtomicUsize>,
    /// What is said before the other side has heard of the link; none from then on.
    early: Option<Vec<Message>>,
}

/// The other side has heard of the link.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Open;

impl Handler<Open> for Wire {
    type Result = ();

    fn handle(&mut self, _: Open, ctx: &mut Self::Context) {
        let early = self.early.take().unwrap_or_default();
        self.handle(Say(early), ctx);
    }
}

impl Actor for Wire {
    type Context = Context<Self>;
}

impl Handler<Say> for Wire {
    type Result = ();

    fn handle(&mut self, Say(messages): Say, _: &mut Self::Context) {
        if let Some(early) = &mut self.early {
            early.extend(messages);
            return;
        }
        for message in messages {
            self.said.fetch_add(1, Relaxed);
            self.gauge.left();
            let link = self.link;
            signal(&self.to, PeerSaid { link, message });
        }
    }
}

impl Handler<EndLink> for Wire {
    type Result = ();

    fn handle(&mut self, EndLink(why): EndLink, _: &mut Self::Context) {
        panic!("{why}");
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

/// What a mesh actor heard.
#[derive(Clone, Debug)]
enum Heard {
    Began,
    News(News),
    Said(FromNode),
}

struct Listener(tokio::sync::mpsc::UnboundedSender<Heard>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<BasesBegan> for Listener {
    type Result = ();

    fn handle(&mut self, _: BasesBegan, _: &mut Self::Context) {
        self.0.send(Heard::Began).unwrap();
    }
}

impl Handler<MeshNews> for Listener {
    type Result = ();

    fn handle(&mut self, MeshNews(news): MeshNews, _: &mut Self::Context) {
        for news in news {
            self.0.send(Heard::News(news)).unwrap();
        }
    }
}

impl Handler<FromNode> for Listener {
    type Result = ();

    fn handle(&mut self, msg: FromNode, _: &mut Self::Context) {
        self.0.send(Heard::Said(msg)).unwrap();
    }
}

struct Relay {
    bases: Addr<InfoBaseActor>,
    fib: watch::Receiver<Fib>,
    heard: tokio::sync::mpsc::UnboundedReceiver<Heard>,
}

struct Mesh {
    relays: Vec<Relay>,
    said: Arc<AtomicUsize>,
}

fn id(at: usize) -> NodeId {
    NodeId(1 << 32 | at as u64)
}

impl Mesh {
    fn new(relays: usize) -> Self {
        let relay = |at| {
            let (fib, seen) = watch::channel(Fib::default());
            let (hears, heard) = tokio::sync::mpsc::unbounded_channel();
            let listener = Listener(hears).start();
            let bases = InfoBaseActor::new(Birth {
                node: id(at),
                role: NodeType::Edge,
                epoch: 7,
                settings: Settings::default(),
                limits: Limits::default(),
                fib: Arc::new(fib),
                mesh: Some(Ears {
                    began: listener.clone().recipient(),
                    news: listener.clone().recipient(),
                    nodes: listener.recipient(),
                    life: None,
                }),
                faults: Faults::default(),
                log: Logger::root(slog::Discard, slog::o!()),
                guard: None,
            });
            Relay {
                bases: bases.start(),
                fib: seen,
                heard,
            }
        };
        Self {
            relays: (0..relays).map(relay).collect(),
            said: Arc::default(),
        }
    }

    /// Links have the numbers of the relays that they lead to, those for data alone are 100 above.
    async fn join(&self, a: usize, b: usize) {
        self.join_for(a, b, PeerMode::Both).await;
    }

    async fn join_for(&self, a: usize, b: usize, mode: PeerMode) {
        let above = if mode == PeerMode::Data { 100 } else { 0 };
        let number = |relay: usize| LinkId(u32::try_from(relay).unwrap() + above);
        let mut wires = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            let gauge = Gauge::default();
            let wire = Wire {
                to: self.relays[to].bases.clone(),
                link: number(from),
                gauge: gauge.clone(),
                said: Arc::clone(&self.said),
                early: Some(Vec::new()),
            }
            .start();
            wires.push(wire.clone());
            let up = LinkUp {
                node: NodeInfo::new(id(to), NodeType::Edge, bytes::Bytes::new()),
                mode,
                kin: Kin::Ours(7),
                srtt_us: 1_000,
            };
            let stands = LinkStands {
                link: number(to),
                up,
                mouth: Mouth::new(wire.clone().recipient(), wire.recipient(), gauge),
            };
            ask(&self.relays[from].bases, stands, DEADLINE)
                .await
                .unwrap()
                .unwrap();
        }
        for wire in wires {
            signal(&wire, Open);
        }
    }

    fn cut(&self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            signal(
                &self.relays[from].bases,
                LinkOver(LinkId(u32::try_from(to).unwrap())),
            );
        }
    }

    async fn reaches(&mut self, from: usize, to: usize, next: Option<usize>) {
        let fib = self.relays[from]
            .fib
            .wait_for(|fib| fib.next_node(id(to)) == next.map(id));
        tokio::time::timeout(DEADLINE, fib).await.unwrap().unwrap();
    }
}

impl Mesh {
    /// The first thing that a relay's mesh hears and `which` finds.
    async fn hears<T>(&mut self, at: usize, mut which: impl FnMut(Heard) -> Option<T>) -> T {
        let found = async {
            loop {
                let heard = self.relays[at].heard.recv().await.unwrap();
                if let Some(found) = which(heard) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap()
    }
}

fn run(test: impl Future<Output = ()>) {
    System::new().block_on(async {
        tokio::time::pause();
        test.await;
    });
}

#[test]
fn a_chain_learns_of_its_far_end_and_forgets_it() {
    run(async {
        let mut mesh = Mesh::new(3);
        mesh.join(0, 1).await;
        mesh.join(1, 2).await;
        mesh.reaches(0, 2, Some(1)).await;
        mesh.reaches(2, 0, Some(1)).await;
        mesh.cut(1, 2);
        mesh.reaches(0, 2, None).await;
        mesh.reaches(2, 0, None).await;
        mesh.reaches(0, 1, Some(1)).await;
    });
}

/// Nothing goes round in a triangle, and one lost link leaves another way.
#[test]
fn a_triangle_has_no_storm_and_another_way() {
    run(async {
        let mut mesh = Mesh::new(3);
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            mesh.join(a, b).await;
        }
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            mesh.reaches(a, b, Some(b)).await;
            mesh.reaches(b, a, Some(a)).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        // Of each node to each neighbour a few times, while the links come up, and the questions and their answers.
        let quiet = mesh.said.load(Relaxed);
        assert!(quiet < 60, "{quiet}");
        // From then on each tells regularly of what it has, over each link once or twice.
        tokio::time::sleep(Settings::default().summary_interval).await;
        let later = mesh.said.load(Relaxed);
        assert!(later - quiet <= 12, "{later} {quiet}");
        mesh.cut(0, 1);
        mesh.reaches(0, 1, Some(2)).await;
        mesh.reaches(1, 0, Some(2)).await;
    });
}

fn track() -> FullTrackName {
    let namespace = TrackNamespace::new([bytes::Bytes::from_static(b"live")]).unwrap();
    FullTrackName::new(namespace, bytes::Bytes::from_static(b"video")).unwrap()
}

/// Publications and subscriptions arrive at the other end of a chain, and go with the relay that has them.
#[test]
fn a_chain_tells_of_tracks() {
    run(async {
        let mut mesh = Mesh::new(3);
        for at in 0..3 {
            mesh.hears(at, |heard| matches!(heard, Heard::Began).then_some(()))
                .await;
        }
        mesh.join(0, 1).await;
        mesh.join(1, 2).await;
        let what = Published::Track(track());
        let want = Want(Command::Publish(what.clone()));
        ask(&mesh.relays[0].bases, want, DEADLINE).await.unwrap().unwrap();
        let published = mesh.hears(2, |heard| match heard {
            Heard::News(News::Publish { source, what }) => Some((source, what)),
            _ => None,
        });
        assert_eq!(published.await, (id(0), what.clone()));
        let (track, data) = (track(), bytes::Bytes::from_static(b"opaque"));
        let want = Want(Command::Subscribe {
            track: track.clone(),
            data: data.clone(),
        });
        ask(&mesh.relays[2].bases, want, DEADLINE).await.unwrap().unwrap();
        let subscribed = mesh.hears(0, |heard| match heard {
            Heard::News(News::Subscribe { source, track, data }) => Some((source, track, data)),
            _ => None,
        });
        let hash = laps_protocol::peering::hash::TrackHash::of(&track);
        assert_eq!(subscribed.await, (id(2), hash, data));
        mesh.cut(1, 2);
        let gone = mesh.hears(0, |heard| match heard {
            Heard::News(News::SubscribeGone { source, track }) => Some((source, track)),
            _ => None,
        });
        assert_eq!(gone.await, (id(2), hash.full));
        let gone = mesh.hears(2, |heard| match heard {
            Heard::News(News::PublishGone { source, what }) => Some((source, what)),
            _ => None,
        });
        assert_eq!(gone.await, (id(0), what));
    });
}

/// What is said to a node arrives there over whoever is between, and nowhere when there is no way.
#[test]
fn a_node_is_spoken_to_through_others() {
    run(async {
        let mut mesh = Mesh::new(3);
        mesh.join(0, 1).await;
        mesh.join(1, 2).await;
        mesh.reaches(0, 2, Some(1)).await;
        mesh.reaches(2, 0, Some(1)).await;
        let say = |target, body: &'static [u8]| SendToNode {
            target,
            kind: 200,
            request_id: 5,
            body: body.into(),
        };
        let bases = mesh.relays[0].bases.clone();
        ask(&bases, say(id(2), b"hello"), DEADLINE).await.unwrap();
        let said = mesh.hears(2, |heard| match heard {
            Heard::Said(said) => Some((said.source, said.kind, said.request_id, said.body)),
            _ => None,
        });
        assert_eq!(said.await, (id(0), 200, 5, bytes::Bytes::from_static(b"hello")));
        let between = ask(&mesh.relays[1].bases, TakeView, DEADLINE).await.unwrap();
        assert!(
            between.counters.relayed > 0 && between.counters.undeliverable == 0,
            "{between:?}"
        );
        ask(&bases, say(id(9), b"nobody"), DEADLINE).await.unwrap();
        let huge = SendToNode {
            body: vec![0; limits::Limits::default().max_message_bytes as usize].into(),
            ..say(id(2), b"")
        };
        ask(&bases, huge, DEADLINE).await.unwrap();
        let view = ask(&bases, TakeView, DEADLINE).await.unwrap();
        assert_eq!(
            (view.counters.undeliverable, view.counters.malformed),
            (1, 1),
            "{view:?}"
        );
    });
}

/// A link for data stands first, and stays when the one for everything dies: what was said meanwhile is told as soon as there
/// is one again, and nodes are told whether they can be spoken to.
#[test]
fn a_control_link_that_comes_late_or_again_catches_up() {
    run(async {
        let mut mesh = Mesh::new(2);
        let publish = |name: &'static [u8]| {
            let name = bytes::Bytes::from_static(name);
            Published::Track(FullTrackName::new(track().namespace().clone(), name).unwrap())
        };
        let start = Instant::now();
        mesh.join_for(0, 1, PeerMode::Data).await;
        mesh.reaches(1, 0, Some(0)).await;
        for name in [b"one", b"two"] {
            let what = publish(name);
            let want = Want(Command::Publish(what.clone()));
            ask(&mesh.relays[0].bases, want, DEADLINE).await.unwrap().unwrap();
            let spoken_to = |wanted| {
                move |heard| match heard {
                    Heard::News(News::NodeReachable { ours, .. }) => (ours == wanted).then_some(()),
                    _ => None,
                }
            };
            mesh.hears(1, spoken_to(false)).await;
            mesh.join(0, 1).await;
            mesh.hears(1, spoken_to(true)).await;
            let published = mesh.hears(1, |heard| match heard {
                Heard::News(News::Publish { source, what }) => Some((source, what)),
                _ => None,
            });
            assert_eq!(published.await, (id(0), what));
            mesh.cut(0, 1);
        }
        assert!(
            start.elapsed() < Settings::default().pull_retry,
            "it did not wait to be asked again"
        );
    });
}

/// A link whose peer takes nothing.
struct Stuck(tokio::sync::mpsc::UnboundedSender<&'static str>);

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<Say> for Stuck {
    type Result = ();

    fn handle(&mut self, _: Say, _: &mut Self::Context) {}
}

impl Handler<EndLink> for Stuck {
    type Result = ();

    fn handle(&mut self, EndLink(why): EndLink, _: &mut Self::Context) {
        self.0.send(why).unwrap();
    }
}

#[test]
fn a_peer_that_takes_nothing_loses_its_link() {
    run(async {
        let mesh = Mesh::new(1);
        let bases = mesh.relays[0].bases.clone();
        let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let stuck = Stuck(ends).start();
        let stands = LinkStands {
            link: LinkId(5),
            up: LinkUp {
                node: NodeInfo::new(id(5), NodeType::Edge, bytes::Bytes::new()),
                mode: PeerMode::Both,
                kin: Kin::Ours(7),
                srtt_us: 1_000,
            },
            mouth: Mouth::new(stuck.clone().recipient(), stuck.recipient(), Gauge::default()),
        };
        ask(&bases, stands, DEADLINE).await.unwrap().unwrap();
        for request_id in 0..=65_536 {
            let say = SendToNode {
                target: id(5),
                kind: 200,
                request_id,
                body: bytes::Bytes::new(),
            };
            ask(&bases, say, DEADLINE).await.unwrap();
        }
        ended.recv().await.unwrap();
        let view = ask(&bases, TakeView, DEADLINE).await.unwrap();
        assert_eq!((view.counters.overflowed, view.sizes.links), (1, 0), "{view:?}");
        // Its greeting took some of the room.
        assert!(view.counters.undeliverable > 0, "{view:?}");
    });
}
