//! A relay with an actix system of its own, as a process has it: its end is not that of the test.

use laps::relay::{Relay, Settings};
use laps_actors::root::{Outcome, RootHandle};
use std::net::{SocketAddr, UdpSocket};
use std::thread::JoinHandle;

/// The relay.
pub struct Apart {
    pub addr: SocketAddr,
    pub root: RootHandle,
    thread: JoinHandle<Outcome>,
}

/// Starts it on a thread of its own.
pub async fn apart(settings: Settings) -> Apart {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(|| {
        actix::System::new().block_on(async move {
            let relay = Relay::start(settings).await.unwrap();
            tell.send((relay.local_addr(), relay.handle().clone())).unwrap();
            relay.ended().await
        })
    });
    let (addr, root) = told.await.unwrap();
    Apart { addr, root, thread }
}

impl Apart {
    /// Waits until it has ended and let go of its port.
    pub async fn ended(self) -> Outcome {
        drop(self.root);
        let (thread, addr) = (self.thread, self.addr);
        let joined = tokio::task::spawn_blocking(move || {
            let outcome = thread.join().unwrap();
            // Nothing joins the threads of the shards, which hold the sockets; a process would end with them.
            while UdpSocket::bind(addr).is_err() {
                std::thread::yield_now();
            }
            outcome
        });
        joined.await.unwrap()
    }
}
