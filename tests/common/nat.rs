//! A NAT between one client and the relay.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// What a NAT is told to do.
enum Order {
    Rebind,
    Deaf(bool),
    Only,
}

/// Forwards packets between one client and one relay, from a port of its own.
pub struct Nat {
    /// Where the client sends its packets.
    pub door: SocketAddr,
    /// From which port the relay last got them.
    port: Rc<Cell<u16>>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Nat {
    pub async fn before(relay: SocketAddr) -> Self {
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let door = inside.local_addr().unwrap();
        let port = Rc::new(Cell::new(outside.local_addr().unwrap().port()));
        let (orders, told) = mpsc::unbounded_channel();
        drop(actix_rt::spawn(forward(
            inside,
            outside,
            relay,
            told,
            Rc::clone(&port),
        )));
        Self { door, port, orders }
    }

    /// From now on the client's packets come from another port.
    pub fn rebind(&self) {
        drop(self.orders.send(Order::Rebind));
    }

    /// Nothing that the relay says gets through any more, or again.
    pub fn deafen(&self, deaf: bool) {
        drop(self.orders.send(Order::Deaf(deaf)));
    }

    /// Packets of others than the client that spoke last are dropped from here on.
    pub fn only_this_client(&self) {
        drop(self.orders.send(Order::Only));
    }

    /// From which port the relay gets the client's packets.
    pub fn port(&self) -> u16 {
        self.port.get()
    }
}

/// Ends when the NAT is dropped.
async fn forward(
    inside: UdpSocket,
    mut outside: UdpSocket,
    relay: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Order>,
    port: Rc<Cell<u16>>,
) {
    let (mut client, mut deaf, mut closed) = (None, false, false);
    let (mut from_client, mut from_relay) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            got = inside.recv_from(&mut from_client) => {
                let (len, from) = got.unwrap();
                if closed && client != Some(from) {
                    continue;
                }
                client = Some(from);
                outside.send_to(&from_client[..len], relay).await.unwrap();
            }
            got = outside.recv_from(&mut from_relay) => {
                let (len, _) = got.unwrap();
                if let Some(client) = client && !deaf {
                    inside.send_to(&from_relay[..len], client).await.unwrap();
                }
            }
            order = orders.recv() => match order {
                Some(Order::Rebind) => {
                    outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                    port.set(outside.local_addr().unwrap().port());
                }
                Some(Order::Deaf(now)) => deaf = now,
                Some(Order::Only) => closed = true,
                None => break,
            }
        }
    }
}
