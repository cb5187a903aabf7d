//! What a stub watches.

use super::*;
use crate::namespace::NamespacesChanged;
use crate::registry::{TakeSought, WatchId, WatchNamespace, Whose};
use crate::supervise::mailbox::Wake;

/// Takes no notice.
struct Sleeper;

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<NamespacesChanged> for Sleeper {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, _: &mut Self::Context) {}
}

fn question(seek: bool) -> ResolveTrack {
    ResolveTrack {
        name: video(),
        reader: ReaderId::next(),
        stale: None,
        wait: true,
        except: None,
        seek,
    }
}

/// laps peering, "Stub": a subscriber that comes before its publisher makes the stub watch for it, is served when one comes,
/// and one that returns soon after it has left causes no ripple.
#[test]
fn a_stub_watches_what_its_clients_wait_for() {
    run_stub(async |mut scene| {
        let asked = scene.env.registry.ask(question(true), LONG);
        let watched = Command::Watch(ns("live/cam"));
        assert_eq!(scene.want().await, watched);
        scene.announces(A, true).await;
        let track = asked.await.unwrap().unwrap();
        assert_eq!(track.name, video());
        // It is the track that keeps the watch, which ends some time after it.
        scene.news([publish_gone(A, namespace())]).await;
        scene.wants_nothing(Duration::from_secs(5)).await;
        let returned = scene.env.registry.ask(question(true), LONG);
        scene.wants_nothing(Duration::from_secs(20)).await;
        // New bases are told all of it.
        scene.begin();
        assert_eq!(scene.want().await, watched);
        drop(returned);
        assert_eq!(scene.want().await, Command::Unwatch(ns("live/cam")));
    });
}

/// A prefix that a client watches is watched as long as it does, whatever is published below it.
#[test]
fn a_stub_watches_what_its_clients_watch() {
    run_stub(async |mut scene| {
        let (wake, _credit) = Wake::new(Sleeper.start().recipient());
        let watch = |whose| WatchNamespace {
            id: WatchId(7),
            prefix: Some(ns("live")),
            whose,
            wake: wake.clone(),
        };
        scene
            .env
            .registry
            .ask(watch(Whose::Everybody), LONG)
            .await
            .unwrap();
        assert_eq!(scene.want().await, Command::Watch(ns("live")));
        let _asked = scene.env.registry.ask(question(true), LONG);
        scene.wants_nothing(Duration::from_secs(30)).await;
        scene
            .env
            .registry
            .signal(crate::registry::UnwatchNamespace(WatchId(7)));
        // Who waits for one track needs no more than its namespace.
        assert_eq!(scene.want().await, Command::Watch(ns("live/cam")));
        assert_eq!(scene.want().await, Command::Unwatch(ns("live")));
    });
}

/// What the edge asks of its stub is published there or nowhere: the stub does not ask the edge for it. Other relays hear of
/// everything, and watch nothing.
#[test]
fn only_what_clients_of_a_stub_ask_for_is_watched() {
    run_stub(async |mut scene| {
        let _asked = scene.env.registry.ask(question(false), LONG);
        scene.wants_nothing(Duration::from_secs(30)).await;
    });
    run(async |mut scene| {
        let _asked = scene.env.registry.ask(question(true), LONG);
        scene.wants_nothing(Duration::from_secs(30)).await;
    });
}

/// A registry that begins again knows nothing of who wants to know, and is told.
#[test]
fn a_new_registry_tells_what_is_sought() {
    run_stub(async |mut scene| {
        scene.wants_nothing(Duration::from_secs(1)).await;
        let log = scene.log.clone();
        let next = RegistryActor::new(log, 16, None).in_life(1).start();
        scene.env.registry.renew(next, 1);
        let _asked = scene.env.registry.ask(question(true), LONG);
        assert_eq!(scene.want().await, Command::Watch(ns("live/cam")));
    });
}

/// More at once than the registry keeps one by one.
#[test]
fn many_that_come_at_once_are_all_watched() {
    run_stub(async |mut scene| {
        scene.wants_nothing(Duration::from_secs(1)).await;
        // Eyes closed: the mesh is not asked while these come.
        let (wake, _credit) = Wake::new(Sleeper.start().recipient());
        for n in 0..5000_u64 {
            let watch = WatchNamespace {
                id: WatchId(n),
                prefix: Some(ns(Box::leak(format!("live/{n}").into_boxed_str()))),
                whose: Whose::Everybody,
                wake: wake.clone(),
            };
            scene.env.registry.signal(watch);
        }
        // Too many for an edge: one prefix for all of them.
        loop {
            if scene.want().await == Command::Watch(ns("live")) {
                break;
            }
        }
        let known = TakeSought {
            known: vec![ns("live/7"), ns("live/x")],
        };
        let sought = scene.env.registry.ask(known, LONG).await.unwrap().unwrap();
        assert_eq!(sought.idle, [ns("live/x")]);
    });
}
