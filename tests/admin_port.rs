//! The admin port tells whether the relay lives, whether it takes sessions, and what it counts; whatever is done to it,
//! the relay goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::raw::{payload, raw};
use common::{PATIENCE, options, relay, run, settings, target, track};
use laps::relay::{Relay, RelayError, Settings};
use laps_actors::admin::Listen;
use laps_actors::client::{ClientError, Subscriber};
use laps_actors::limits::Gauge;
use laps_actors::root::Retire;
use laps_actors::supervise::FaultPlan;
use laps_actors::transport::ConnectError;
use laps_actors::watchdog::{self, Keeper, Report, Terms};
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::relay::load::{self, Sample};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ALIAS: u64 = 7;

fn with_admin(shards: usize) -> Settings {
    Settings {
        admin: Some(Listen {
            addr: ([127, 0, 0, 1], 0).into(),
            required: true,
        }),
        ..settings(shards)
    }
}

fn admin(relay: &Relay) -> SocketAddr {
    relay.admin_addr().unwrap()
}

/// Sends this, and what is answered until the server closes: its status, 0 without one, and its body.
async fn send(admin: SocketAddr, request: String) -> (u16, String) {
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that has heard enough closes while this still writes, and may reset the connection.
        drop(stream.write_all(request.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or_default(), body.to_owned())
    });
    asking.await.unwrap()
}

async fn ask(admin: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    send(admin, request).await
}

async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    ask(admin, "GET", path).await
}

/// Asks until the answer is as wanted.
async fn until(admin: SocketAddr, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    loop {
        pace.tick().await;
        let (status, body) = get(admin, path).await;
        if wanted(status, &body) {
            return body;
        }
    }
}

/// All series of a family together.
fn sum(page: &str, family: &str) -> u64 {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(family)).then(|| value.parse::<u64>().unwrap())
    });
    values.sum()
}

#[test]
fn it_says_what_was_carried() {
    run(|| async {
        let relay = relay(with_admin(2)).await;
        let admin = admin(&relay);
        assert_eq!(get(admin, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
        let name = track("admin", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscribers = [raw(&relay).await, raw(&relay).await];
        let mut asked = Vec::new();
        for subscriber in &mut subscribers {
            asked.push(subscriber.subscribe(&name, SubscribeFilter::LargestObject).await);
        }
        publisher.serve(&name, ALIAS).await;
        for (subscriber, id) in subscribers.iter_mut().zip(asked) {
            subscriber.answer(id).await.unwrap();
        }
        publisher.group(ALIAS, 0, 5).await;
        let bytes: u64 = (0..5).map(|object| payload(0, object).len() as u64).sum();
        // A page may be a second old.
        let page = until(admin, "/metrics", |status, page| {
            status == 200 && sum(page, "laps_objects_sent_total") >= 10
        })
        .await;
        assert_eq!(sum(&page, "laps_objects_received_total"), 5, "{page}");
        assert_eq!(sum(&page, "laps_objects_sent_total"), 10);
        assert_eq!(sum(&page, "laps_payload_received_bytes_total"), bytes);
        assert_eq!(sum(&page, "laps_payload_sent_bytes_total"), 2 * bytes);
        // What lives is counted for the process, in which other tests run as well.
        for (family, least) in [
            ("laps_sessions", 3),
            ("laps_subscriptions", 2),
            ("laps_tracks", 1),
        ] {
            assert!(sum(&page, family) >= least, "{family}");
        }
        assert_eq!(sum(&page, "laps_connections_total"), 3);
        assert_eq!(sum(&page, "laps_parts_silent"), 0);
        assert!(sum(&page, "laps_cache_bytes") >= bytes);
        assert!(page.ends_with("# EOF\n"));
        // What is not there is not there, and nothing is changed from here.
        assert_eq!(get(admin, "/").await.0, 404);
        assert_eq!(ask(admin, "HEAD", "/healthz").await, (200, String::new()));
        assert_eq!(ask(admin, "POST", "/metrics").await.0, 405);
    });
}

#[test]
fn a_relay_that_drains_is_alive_and_not_ready() {
    run(|| async {
        let relay = relay(with_admin(1)).await;
        let admin = admin(&relay);
        // It does not leave when it is asked to.
        let _stays = raw(&relay).await;
        let ages = Duration::from_secs(3600);
        assert!(relay.retire(Retire {
            uri: Bytes::new(),
            grace: ages,
            deadline: Duration::from_secs(2),
        }));
        let why = until(admin, "/readyz", |status, _| status == 503).await;
        assert!(why.starts_with("draining"), "{why}");
        until(admin, "/readyz", |_, why| why == "draining, 1 session(s) left\n").await;
        assert_eq!(get(admin, "/healthz").await.0, 200);
        assert_eq!(get(admin, "/metrics").await.0, 200);
    });
}

/// Who spreads clients over relays sends them elsewhere, and back when there is room again.
#[test]
fn a_relay_that_refuses_newcomers_for_memory_is_alive_and_not_ready() {
    run(|| async {
        let percent = Arc::new(AtomicU64::new(79));
        let used = Arc::clone(&percent);
        let gauge = Gauge::given(move |_| Sample {
            memory: used.load(Relaxed),
            budget: 100,
            ..Sample::default()
        });
        let terms = load::Terms {
            calm: Duration::from_millis(300),
            ..load::Terms::default()
        };
        let relay = relay(Settings {
            load: (gauge, terms),
            ..with_admin(2)
        })
        .await;
        let admin = admin(&relay);
        // What is held while nobody is here is held for nobody.
        let _stays = raw(&relay).await;
        assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
        percent.store(85, Relaxed);
        let why = until(admin, "/readyz", |status, _| status == 503).await;
        assert_eq!(why, "short of memory: refuses new connections\n");
        let refused = Subscriber::connect(&target(relay.local_addr()), options()).await;
        let refused = refused.map(drop).unwrap_err();
        assert!(
            matches!(refused, ClientError::Connect(ConnectError::Refused { .. })),
            "{refused}"
        );
        assert_eq!(get(admin, "/healthz").await.0, 200);
        percent.store(10, Relaxed);
        until(admin, "/readyz", |status, _| status == 200).await;
        raw(&relay).await;
    });
}

/// Leaves a process that is stuck alone.
struct Patient;

impl Keeper for Patient {
    fn alive(&mut self, _: Instant) {}
    fn stuck(&mut self, _: &Report) {}
}

#[test]
fn a_shard_that_does_not_run_is_told_and_the_others_numbers_still_are() {
    run(|| async {
        let mut plan = FaultPlan::new();
        let trigger = plan.point_named("shard", "1");
        let relay = relay(Settings {
            faults: plan.faults(),
            ..with_admin(2)
        })
        .await;
        let admin = admin(&relay);
        let terms = Terms {
            look_every: Duration::from_millis(50),
            late_look: Duration::from_secs(20),
            report_after: Duration::from_secs(1),
            stuck_after: Duration::from_secs(2),
        };
        let board = relay.board().clone();
        let _watching = watchdog::start(board, terms, Patient, common::logger()).unwrap();
        trigger.arm_hold(1);
        let why = until(admin, "/healthz", |status, _| status == 503).await;
        assert_eq!(why, "does not run: shard-1\n");
        assert_eq!(get(admin, "/readyz").await.0, 503);
        let page = until(admin, "/metrics", |status, page| {
            status == 200 && sum(page, "laps_parts_silent") == 1
        })
        .await;
        assert_eq!(sum(&page, "laps_threads_late"), 1);
        trigger.release();
        until(admin, "/healthz", |status, _| status == 200).await;
        until(admin, "/readyz", |status, _| status == 200).await;
    });
}

#[test]
fn it_comes_back_on_its_port_when_it_fails() {
    run(|| async {
        let mut plan = FaultPlan::new();
        let trigger = plan.point("admin");
        let relay = relay(Settings {
            faults: plan.faults(),
            ..with_admin(1)
        })
        .await;
        let admin = admin(&relay);
        assert_eq!(get(admin, "/metrics").await.0, 200);
        for times in 1..=3 {
            trigger.arm(1);
            // Whoever asks just then gets no answer, or that there is none.
            assert_ne!(get(admin, "/metrics").await.0, 200);
            trigger.wait_fired(times).await;
            // Requests queue up at the port until it is served again.
            let page = until(admin, "/metrics", |status, _| status == 200).await;
            assert!(
                page.contains("laps_actor_restarts_total{kind=\"admin\"}"),
                "{page}"
            );
        }
        raw(&relay).await;
    });
}

#[test]
fn who_is_slow_greedy_or_one_of_many_keeps_nobody_from_asking() {
    run(|| async {
        let relay = relay(with_admin(1)).await;
        let admin = admin(&relay);
        // More than are served at once, none of which ever asks.
        let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(admin).unwrap()).collect();
        assert_eq!(get(admin, "/healthz").await.0, 200);
        let unfinished = "GET /metrics HTTP/1.1\r\nHost: ";
        let large = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "y".repeat(1 << 20));
        for head in [unfinished.to_owned(), large] {
            let (status, _) = send(admin, head).await;
            assert!(matches!(status, 0 | 400..=499), "{status}");
        }
        // A body that nobody wants.
        let body =
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n";
        assert_eq!(send(admin, body.to_owned()).await.0, 200);
        assert_eq!(get(admin, "/readyz").await.0, 200);
        drop(idle);
    });
}

#[test]
fn a_port_that_is_taken_ends_the_start_only_when_it_was_named() {
    run(|| async {
        let first = relay(with_admin(1)).await;
        let taken = |required| Settings {
            admin: Some(Listen {
                addr: admin(&first),
                required,
            }),
            ..settings(1)
        };
        let error = Relay::start(taken(true)).await.unwrap_err();
        assert!(matches!(error, RelayError::Admin(_)), "{error}");
        assert!(error.to_string().contains("admin.port"), "{error}");
        let second = relay(taken(false)).await;
        assert_eq!(second.admin_addr(), None);
        let done = tokio::time::timeout(PATIENCE, raw(&second)).await;
        assert!(done.is_ok());
    });
}
