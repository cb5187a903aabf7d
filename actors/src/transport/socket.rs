//! The UDP sockets of a relay: one per shard, all on one port.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    error::BindError,
    steering::{self, MAX_SHARDS, ShardIndex},
};

/// The socket of one shard. Whoever keeps a clone keeps the shard's place in the group: closing a member would
/// re-order the others, so root holds a duplicate of each and gives it to a restarted shard.
#[derive(Debug)]
pub struct ShardSocket {
    socket: UdpSocket,
    shard: ShardIndex,
    local: SocketAddr,
}

impl ShardSocket {
    /// A second handle to the same socket.
    ///
    /// # Errors
    /// The system is out of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            shard: self.shard,
            local: self.local,
        })
    }

    /// This socket's place in the group.
    #[must_use]
    pub const fn shard(&self) -> ShardIndex {
        self.shard
    }

    /// The bound address, with the port that was chosen when 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Asks the kernel for buffers of so many bytes in each direction; what it gives.
    ///
    /// # Errors
    /// The system does not say what it gives.
    pub fn buffers(&self, bytes: usize) -> io::Result<Buffers> {
        Buffers::of(&self.socket, bytes)
    }

    pub(super) fn into_udp(self) -> UdpSocket {
        self.socket
    }
}

/// Bytes that the kernel keeps for a socket at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Of packets that came and were not read.
    pub receive: usize,
    /// Of packets that were written and have not left.
    pub send: usize,
}

impl Buffers {
    /// Asks for `bytes` in each direction, which the kernel cuts to `net.core.rmem_max` and `net.core.wmem_max`.
    fn of(socket: &UdpSocket, bytes: usize) -> io::Result<Self> {
        let socket = SockRef::from(socket);
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
        // Linux says twice what it was asked for: half of it is for its own records. socket(7)
        let part = if cfg!(target_os = "linux") { 2 } else { 1 };
        Ok(Self {
            receive: socket.recv_buffer_size()? / part,
            send: socket.send_buffer_size()? / part,
        })
    }

    /// What a new UDP socket is given that asks for `bytes`.
    ///
    /// # Errors
    /// No socket can be had, or the system does not say.
    pub fn granted(bytes: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0));
        Self::of(
            &socket.or_else(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))?,
            bytes,
        )
    }
}

/// Has a client's packets leave from whatever address the machine has.
///
/// The stack asks for the address at which a packet came in and answers from it for as long as the path lives, which a
/// server with several addresses needs. A client whose machine gets another one could send nothing any more: roaming is
/// then no migration, but the end of the connection. RFC 9000 §9
///
/// # Errors
/// The system refuses.
#[cfg(target_os = "linux")]
pub(super) fn follow_address(socket: &UdpSocket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    let set = if socket.local_addr()?.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &false)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false)
    };
    Ok(set?)
}

/// Elsewhere the system's names for it differ, and a connection ends with its address.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(super) const fn follow_address(_: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Which addresses to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Every address of the machine, IPv6 and IPv4; IPv4 alone where the system has no IPv6.
    All,
    /// This address. `::` takes IPv4 too, `0.0.0.0` takes only IPv4.
    Ip(IpAddr),
}

/// Takes UDP `port` (0: any free one) for `shards` sockets that share it; the result is in shard order.
///
/// # Errors
/// [`BindError::PortInUse`] when anybody at all listens there, another relay of the same user included, and the other
/// variants for addresses, privileges and shard counts that cannot be had.
pub fn bind(listen: Listen, port: u16, shards: usize) -> Result<Vec<ShardSocket>, BindError> {
    let max = if cfg!(target_os = "linux") { MAX_SHARDS } else { 1 };
    let unfit = BindError::Shards { shards, max };
    let count = match u16::try_from(shards) {
        Ok(count) if (1..=max).contains(&shards) => count,
        Ok(_) | Err(_) => return Err(unfit),
    };
    let (first, local) = first_socket(listen, port)?;
    let failed = |source| BindError::Bind { addr: local, source };
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = open(local).map_err(failed)?;
        share(&socket)
            .and_then(|()| socket.bind(&local.into()))
            .map_err(failed)?;
        sockets.push(socket);
    }
    if let [any, _, ..] = sockets.as_slice() {
        steer(any, count).map_err(|source| BindError::Steering {
            shards: count,
            source,
        })?;
    }
    let placed = sockets.into_iter().enumerate().map(|(index, socket)| {
        let shard = ShardIndex::new(index, shards)?;
        Some(ShardSocket {
            socket: socket.into(),
            shard,
            local,
        })
    });
    placed.collect::<Option<_>>().ok_or(unfit)
}

/// Binds without sharing, so that the system refuses when the port is anybody's, and lets others join only then.
/// Nobody can slip in between.
fn first_socket(listen: Listen, port: u16) -> Result<(Socket, SocketAddr), BindError> {
    let (ip, fallback) = match listen {
        Listen::All => (Ipv6Addr::UNSPECIFIED.into(), true),
        Listen::Ip(ip) => (ip, false),
    };
    let wanted = SocketAddr::new(ip, port);
    let bound = open(wanted).and_then(|socket| {
        socket.bind(&wanted.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(wanted);
        share(&socket)?;
        Ok((socket, local))
    });
    match bound {
        Ok(bound) => Ok(bound),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(BindError::PortInUse { addr: wanted }),
        Err(error) if fallback && no_ipv6(&error) => {
            first_socket(Listen::Ip(Ipv4Addr::UNSPECIFIED.into()), port)
        }
        Err(source) => Err(BindError::Bind { addr: wanted, source }),
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // The wildcard serves both families; a specific IPv6 address is not affected.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn no_ipv6(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error
            .raw_os_error()
            .is_some_and(|code| code == nix::libc::EAFNOSUPPORT)
}

fn share(socket: &Socket) -> io::Result<()> {
    if cfg!(target_os = "linux") {
        socket.set_reuse_port(true)
    } else {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn steer(socket: &Socket, shards: u16) -> io::Result<()> {
    steering::attach(socket, shards)
}

#[cfg(not(target_os = "linux"))]
fn steer(_: &Socket, _: u16) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Listen = Listen::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn every_shard_gets_the_port_that_was_chosen() {
        let sockets = bind(LOOPBACK, 0, 3).unwrap();
        let port = sockets[0].local_addr().port();
        assert_ne!(port, 0);
        for (index, socket) in sockets.into_iter().enumerate() {
            assert_eq!(socket.shard().index(), index);
            assert_eq!(socket.into_udp().local_addr().unwrap().port(), port);
        }
    }

    #[test]
    fn a_second_relay_on_the_port_is_told_so() {
        for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let held = bind(LOOPBACK, 0, first).unwrap();
            let port = held[0].local_addr().port();
            let error = bind(LOOPBACK, port, second).unwrap_err();
            assert!(matches!(error, BindError::PortInUse { .. }), "{error}");
            assert!(
                error.to_string().contains(&format!("UDP port {port} is in use")),
                "{error}"
            );
        }
    }

    #[test]
    fn buffers_are_as_large_as_asked_where_the_kernel_allows_it() {
        let socket = &bind(LOOPBACK, 0, 1).unwrap()[0];
        for asked in [16 << 10, usize::try_from(u32::MAX >> 2).unwrap()] {
            let (given, fresh) = (socket.buffers(asked).unwrap(), Buffers::granted(asked).unwrap());
            assert!(
                given.receive <= asked && given.send <= asked && fresh == given,
                "{given:?} {fresh:?}"
            );
            assert_eq!(given.receive == asked, asked == 16 << 10, "{given:?}");
        }
    }

    #[test]
    fn a_foreign_socket_on_the_port_is_seen() {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(matches!(
            bind(LOOPBACK, port, 2),
            Err(BindError::PortInUse { .. })
        ));
        assert!(matches!(
            bind(Listen::All, port, 2),
            Err(BindError::PortInUse { .. })
        ));
    }

    #[test]
    fn a_port_is_free_again_when_all_its_sockets_are_closed() {
        let held = bind(LOOPBACK, 0, 2).unwrap();
        let port = held[0].local_addr().port();
        let duplicate = held[1].try_clone().unwrap();
        drop(held);
        assert!(bind(LOOPBACK, port, 1).is_err(), "a duplicate keeps it");
        drop(duplicate);
        bind(LOOPBACK, port, 2).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = bind(Listen::Ip("192.0.2.1".parse().unwrap()), 0, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn impossible_shard_counts_are_refused() {
        assert!(matches!(bind(LOOPBACK, 0, 0), Err(BindError::Shards { .. })));
        assert!(matches!(bind(LOOPBACK, 0, 257), Err(BindError::Shards { .. })));
    }
}
