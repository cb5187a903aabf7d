use std::thread;

use bytes::Bytes;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};

use super::*;

/// What a connection needs to be told which shard serves it.
async fn answer_with_index(conn: Conn, index: u8) {
    let mut parts = conn.split();
    while let Ok(Some((mut send, mut recv))) = parts.bidi.accept().await {
        while let Ok(Some(_)) = recv.receive().await {}
        if send.send(&mut [Bytes::from(vec![index])]).await.is_ok() {
            send.finish().ok();
        }
    }
}

async fn ask(handle: &mut ConnHandle) -> u8 {
    let (mut send, mut recv) = handle.open_bidi().await.unwrap();
    send.send(&mut [Bytes::from_static(b"who?")]).await.unwrap();
    send.finish().unwrap();
    recv.receive().await.unwrap().unwrap()[0]
}

/// Two shards on threads of their own; each answers with its index.
struct Shards {
    to: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<u8>,
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

fn two_shards(made: &SelfSigned) -> Shards {
    let key = ResetKey::random();
    let sockets = bind(LOOPBACK, 0, 2).unwrap();
    let to = sockets[0].local_addr();
    let (accepted, arrivals) = mpsc::unbounded_channel();
    let (mut stops, mut threads) = (Vec::new(), Vec::new());
    for socket in sockets {
        let (tls, key, accepted) = (server_tls(made), key.clone(), accepted.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        stops.push(stop);
        threads.push(thread::spawn(move || {
            run(async move {
                let index = u8::try_from(socket.shard().index()).unwrap();
                let mut server = ServerEndpoint::start(socket, &tls, &config(), key).unwrap();
                let serving = async {
                    while let Some(conn) = server.accept().await {
                        accepted.send(index).unwrap();
                        tokio::task::spawn_local(answer_with_index(conn, index));
                    }
                };
                futures::future::select(Box::pin(serving), stopped).await;
            });
        }));
    }
    Shards {
        to,
        arrivals,
        stops,
        threads,
    }
}

impl Shards {
    fn stop(self) {
        drop(self.stops);
        for shard in self.threads {
            shard.join().unwrap();
        }
    }
}

/// A NAT between one client and the relay, which sends from another port once it is told to.
async fn rebinding_nat(inside: UdpSocket, relay: SocketAddr, mut rebind: oneshot::Receiver<()>) {
    let mut outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut client = None;
    let (mut from_client, mut from_relay) = (vec![0; 2000], vec![0; 2000]);
    let mut pending = true;
    loop {
        tokio::select! {
            got = inside.recv_from(&mut from_client) => {
                let (len, from) = got.unwrap();
                client = Some(from);
                outside.send_to(&from_client[..len], relay).await.unwrap();
            }
            got = outside.recv_from(&mut from_relay) => {
                let (len, _) = got.unwrap();
                inside.send_to(&from_relay[..len], client.unwrap()).await.unwrap();
            }
            _ = &mut rebind, if pending => {
                pending = false;
                outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_whose_nat_moves_it_stays_on_its_shard() {
    let made = cert::generate::<&str>(&[]).unwrap();
    let shards = two_shards(&made);
    let relay = shards.to;
    run(async {
        // Without steering each move has an even chance to land on the wrong shard.
        for _ in 0..8 {
            let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let door = inside.local_addr().unwrap();
            let (rebind, rebound) = oneshot::channel();
            let nat = tokio::task::spawn_local(rebinding_nat(inside, relay, rebound));
            let client = start_client(&Verify::CertSha256(made.sha256));
            let mut connection = client.connect(door, "localhost").await.unwrap().handle();
            let home = ask(&mut connection).await;
            rebind.send(()).unwrap();
            for _ in 0..3 {
                assert_eq!(ask(&mut connection).await, home);
            }
            nat.abort();
        }
    });
    shards.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn connections_of_one_client_socket_spread_over_two_shards_and_stay_there() {
    let made = cert::generate::<&str>(&[]).unwrap();
    let mut shards = two_shards(&made);
    let to = shards.to;
    run(async {
        let client = start_client(&Verify::CertSha256(made.sha256));
        let mut connections = Vec::new();
        for _ in 0..40 {
            connections.push(client.connect(to, "localhost").await.unwrap().handle());
        }
        let mut homes = Vec::new();
        for connection in &mut connections {
            homes.push(ask(connection).await);
        }
        let second = homes.iter().filter(|index| **index == 1).count();
        // Forty fair coins fall this unevenly once in ten million runs.
        assert!((4..=36).contains(&second), "{second} of 40 on the second shard");
        for _ in 0..3 {
            for (connection, home) in connections.iter_mut().zip(&homes) {
                assert_eq!(ask(connection).await, *home);
            }
        }
        let mut counted = [0; 2];
        for _ in 0..40 {
            counted[usize::from(shards.arrivals.recv().await.unwrap())] += 1;
        }
        assert_eq!(counted[1], second);
    });
    shards.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn a_restarted_shard_takes_its_old_place() {
    let made = cert::generate::<&str>(&[]).unwrap();
    let key = ResetKey::random();
    let sockets = bind(LOOPBACK, 0, 2).unwrap();
    let to = sockets[0].local_addr();
    run(async {
        let serve = |socket: &ShardSocket| {
            let mut server = ServerEndpoint::start(
                socket.try_clone().unwrap(),
                &server_tls(&made),
                &config(),
                key.clone(),
            )
            .unwrap();
            let index = u8::try_from(server.shard().index()).unwrap();
            tokio::task::spawn_local(async move {
                while let Some(conn) = server.accept().await {
                    tokio::task::spawn_local(answer_with_index(conn, index));
                }
            })
        };
        let _first = serve(&sockets[0]);
        let before = {
            // The shard's own runtime dies with it, sockets included, as an arbiter's does.
            let socket = sockets[1].try_clone().unwrap();
            let (tls, key) = (server_tls(&made), key.clone());
            thread::spawn(move || {
                run(async {
                    ServerEndpoint::start(socket, &tls, &config(), key)
                        .unwrap()
                        .shard()
                })
            })
        };
        assert_eq!(before.join().unwrap().index(), 1);
        let _again = serve(&sockets[1]);
        let client = start_client(&Verify::Insecure);
        let mut seen = [false; 2];
        while seen != [true; 2] {
            let mut connection = client.connect(to, "localhost").await.unwrap().handle();
            let home = ask(&mut connection).await;
            assert_eq!(ask(&mut connection).await, home);
            seen[usize::from(home)] = true;
        }
    });
}

/// RFC 9000 §21.11: where two hosts have one private key and one port, their names tell their keys apart.
#[test]
fn a_reset_key_is_that_of_a_host_by_its_name() {
    let made = cert::generate::<&str>(&[]).unwrap();
    let secret = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
    let on = |host: &[u8]| ResetKey::derived(secret.secret_der(), host).at(&4433u16.to_be_bytes());
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let key = server_tls(&made).reset_key(4433);
    assert!(key == on(format!("{name}\n").as_bytes()), "the key of {name}");
    assert!(key != on(b"") && key != on(b"another\n"));
    // What the relays of before took; a service does not see it.
    if let Ok(file) = std::fs::read("/proc/sys/kernel/hostname") {
        assert!(key == on(&file), "it stays over an upgrade");
    }
}

#[test]
fn a_client_of_a_shard_that_lost_its_memory_is_told_at_once() {
    let made = cert::generate::<&str>(&[]).unwrap();
    let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
    let to = socket.local_addr();
    // Nothing is kept from one run to the next but the certificate and its private key.
    let key = server_tls(&made).reset_key(to.port());
    assert!(key == server_tls(&made).reset_key(to.port()) && key != server_tls(&made).reset_key(1));
    let (crash, crashed) = oneshot::channel::<()>();
    let first = {
        let (socket, tls, key) = (socket.try_clone().unwrap(), server_tls(&made), key.clone());
        thread::spawn(move || {
            run(async move {
                let mut server = ServerEndpoint::start(socket, &tls, &config(), key).unwrap();
                let conn = server.accept().await.unwrap();
                tokio::task::spawn_local(answer_with_index(conn, 0));
                crashed.await.ok();
            });
        })
    };
    run(async move {
        let client = start_client(&Verify::CertSha256(made.sha256));
        let mut parts = client.connect(to, "localhost").await.unwrap().split();
        assert_eq!(ask(&mut parts.handle).await, 0);
        drop(crash);
        first.join().unwrap();
        let mut send = parts.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from_static(b"still there?")])
            .await
            .unwrap();
        // Nobody answers, and that shows.
        while parts.handle.stats().unanswered_since().is_none() {
            tokio::task::yield_now().await;
        }
        let _restarted = ServerEndpoint::start(socket, &server_tls(&made), &config(), key).unwrap();
        assert_eq!(parts.uni.accept().await.unwrap_err(), ConnError::StatelessReset);
    });
}
