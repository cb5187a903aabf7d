//! What the mesh is told of this relay's publications.

use super::*;
use crate::supervise::inject::FaultPlan;
use laps_protocol::peering::info_base::Command;

fn namespace(text: &str) -> TrackNamespace {
    TrackNamespace::new([Bytes::from(text.to_owned())]).unwrap()
}

fn published(text: &str) -> Command {
    Command::Publish(Published::Namespace(namespace(text)))
}

struct Relay {
    env: Env,
    origin: Addr<OriginActor>,
    session: Addr<SessionActor>,
    heard: Heard,
}

impl Relay {
    async fn new(faults: Faults, refuses: impl IntoIterator<Item = CommandError>) -> Self {
        let registry = RegistryHandle::new();
        begin(&registry, 0);
        let env = env(registry, faults);
        let origin = Birth {
            env: env.clone(),
            outlets: Rc::new(wishing::Nowhere),
            limits: Limits::default(),
            guard: None,
        }
        .start();
        let heard = ear(refuses);
        origin.send(heard.began()).await.unwrap();
        Self {
            env,
            origin,
            session: Context::<SessionActor>::new().address(),
            heard,
        }
    }

    fn announce(&self, id: u64, text: &str) {
        self.env.registry.signal(RegisterNamespace {
            id: AnnounceId(id),
            namespace: namespace(text),
            upstream: self.session.clone().into(),
            shard: self.env.shard.clone(),
        });
    }

    fn withdraw(&self, id: u64, text: &str) {
        let (id, namespace) = (AnnounceId(id), namespace(text));
        self.env.registry.signal(UnregisterNamespace { id, namespace });
    }

    async fn want(&mut self) -> Command {
        let want = tokio::time::timeout(LONG, self.heard.wants.recv());
        want.await.unwrap().unwrap()
    }

    async fn until(&self, table: &str, count: u64) {
        let reached = async {
            loop {
                let rows = self.origin.send(Count).await.unwrap();
                if rows.contains(&(row(table), count)) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }
}

/// The name of a table, which lives as long as the program.
fn row(table: &str) -> &'static str {
    let names = ["mesh_published", "mesh_told", "mesh_refused"];
    names.into_iter().find(|name| *name == table).unwrap()
}

fn begin(handle: &RegistryHandle, epoch: u32) {
    let registry = RegistryActor::new(Logger::root(Discard, slog::o!()), 10, None).in_life(epoch);
    handle.renew(registry.start(), epoch);
}

/// Decision 0029: what sessions publish is published in the mesh, and withdrawn with them. New bases are told all of it.
#[actix::test]
async fn the_mesh_is_told_what_sessions_publish() {
    let mut relay = Relay::new(Faults::default(), []).await;
    relay.announce(1, "a");
    assert_eq!(relay.want().await, published("a"));
    relay.announce(2, "b");
    assert_eq!(relay.want().await, published("b"));
    relay.withdraw(1, "a");
    assert_eq!(
        relay.want().await,
        Command::Unpublish(Published::Namespace(namespace("a")))
    );
    let bases = ear([]);
    relay.origin.send(bases.began()).await.unwrap();
    relay.heard = bases;
    assert_eq!(relay.want().await, published("b"));
}

/// A registry that begins again knows nothing at first: what it is told again is not said again, and what it is not is
/// withdrawn.
#[actix::test]
async fn a_registry_that_fails_withdraws_nothing() {
    let mut relay = Relay::new(Faults::default(), []).await;
    relay.announce(1, "a");
    relay.announce(2, "b");
    relay.want().await;
    relay.want().await;
    begin(&relay.env.registry, 1);
    relay.announce(2, "b");
    relay.announce(3, "c");
    let said = [relay.want().await, relay.want().await];
    assert!(said.contains(&published("c")), "{said:?}");
    assert!(
        said.contains(&Command::Unpublish(Published::Namespace(namespace("a")))),
        "{said:?}"
    );
    relay.until("mesh_told", 2).await;
    assert!(relay.heard.wants.try_recv().is_err());
}

/// Two names with one hash, or too many of them: the others are published, and one more when there is room again.
#[actix::test]
async fn what_the_bases_refuse_waits() {
    let mut relay = Relay::new(Faults::default(), [CommandError::NameCollision]).await;
    relay.announce(1, "a");
    relay.until("mesh_refused", 1).await;
    relay.announce(2, "b");
    relay.until("mesh_told", 1).await;
    relay.withdraw(2, "b");
    relay.until("mesh_refused", 0).await;
    relay.until("mesh_told", 1).await;
    let said: Vec<_> = std::iter::from_fn(|| relay.heard.wants.try_recv().ok()).collect();
    let gone = Command::Unpublish(Published::Namespace(namespace("b")));
    assert_eq!(said, [published("a"), published("b"), gone, published("a")]);
}

/// Who watches the registry fails, and what went meanwhile is withdrawn by who comes after.
#[actix::test]
async fn the_watcher_is_started_again() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point("publications");
    let mut relay = Relay::new(plan.faults(), []).await;
    relay.announce(1, "a");
    assert_eq!(relay.want().await, published("a"));
    trigger.arm(1);
    relay.withdraw(1, "a");
    relay.announce(2, "b");
    let said = [relay.want().await, relay.want().await];
    assert!(said.contains(&published("b")), "{said:?}");
    assert!(
        said.contains(&Command::Unpublish(Published::Namespace(namespace("a")))),
        "{said:?}"
    );
    assert_eq!(trigger.fired(), 1);
}
