//! A NAT in a client's namespace: the client talks to it, it talks to the relay, and on a word it forgets its mapping.

use crate::Failure;
use std::io::{BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A QUIC packet of any size.
const PACKET: usize = 65_536;
/// How long a reader keeps a mapping that was forgotten.
const FORGOTTEN: Duration = Duration::from_millis(20);

/// Carries packets between whoever sends to it on the loopback and `relay`, until its standard input ends. Each line
/// there gives it another port, at the address that stands in the line. Prints its port first.
pub(crate) fn run(relay: SocketAddr) -> Result<(), Failure> {
    let inside = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let outside = Arc::new(Mutex::new(mapping("0.0.0.0", relay)?));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", inside.local_addr()?.port())?;
    out.flush()?;
    {
        let (inside, outside, client) = (Arc::clone(&inside), Arc::clone(&outside), Arc::clone(&client));
        std::thread::spawn(move || {
            let mut packet = vec![0; PACKET];
            while let Ok((length, from)) = inside.recv_from(&mut packet) {
                *client.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                let socket = Arc::clone(&outside.lock().unwrap_or_else(PoisonError::into_inner));
                // A network that refuses a packet has lost it.
                drop(socket.send(packet.get(..length).unwrap_or_default()));
            }
        });
    }
    {
        let outside = Arc::clone(&outside);
        std::thread::spawn(move || {
            let mut packet = vec![0; PACKET];
            loop {
                let socket = Arc::clone(&outside.lock().unwrap_or_else(PoisonError::into_inner));
                if let Ok(length) = socket.recv(&mut packet)
                    && let Some(to) = *client.lock().unwrap_or_else(PoisonError::into_inner)
                {
                    drop(inside.send_to(packet.get(..length).unwrap_or_default(), to));
                }
            }
        });
    }
    for line in std::io::stdin().lock().lines() {
        let fresh = mapping(line?.trim(), relay)?;
        *outside.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
    Ok(())
}

fn mapping(from: &str, relay: SocketAddr) -> Result<Arc<UdpSocket>, Failure> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(relay)?;
    socket.set_read_timeout(Some(FORGOTTEN))?;
    Ok(Arc::new(socket))
}
