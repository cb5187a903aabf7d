//! Addresses that a relay says it has, and which of them are worth a try.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An address without its port. The smaller is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    rank: Rank,
    ip: IpAddr,
    /// The interface of a link-local IPv6 address; 0 for every other.
    scope: u32,
}

/// What kind of address it is. IPv4 first: on a network that has both, it is the one that is always set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Rank {
    V4,
    V6,
    LinkLocal,
    /// On this machine; last, because whoever forges a record can write it down for any.
    Loopback,
}

impl Address {
    /// The address, if anybody can be reached there. `scope` is the interface that it was seen on, 0 when that is not
    /// known; without one a link-local IPv6 address leads nowhere.
    #[must_use]
    pub fn new(ip: IpAddr, scope: u32) -> Option<Self> {
        let ip = ip.to_canonical();
        let rank = match ip {
            _ if ip.is_unspecified() || ip.is_multicast() => return None,
            IpAddr::V4(v4) if v4.is_broadcast() => return None,
            _ if ip.is_loopback() => Rank::Loopback,
            IpAddr::V4(v4) if v4.is_link_local() => Rank::LinkLocal,
            IpAddr::V4(_) => Rank::V4,
            IpAddr::V6(v6) if v6.is_unicast_link_local() && scope == 0 => return None,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Rank::LinkLocal,
            IpAddr::V6(_) => Rank::V6,
        };
        let scoped = ip.is_ipv6() && rank == Rank::LinkLocal;
        Some(Self {
            rank,
            ip,
            scope: if scoped { scope } else { 0 },
        })
    }

    /// The address with this port.
    #[must_use]
    pub fn socket(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.scope)),
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
        }
    }

    /// Whether it means the same on every interface, so that a URL can name it.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.scope == 0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            0 => self.ip.fmt(f),
            scope => write!(f, "{}%{scope}", self.ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, scope: u32) -> Option<Address> {
        Address::new(text.parse().unwrap(), scope)
    }

    #[test]
    fn the_better_is_the_smaller() {
        let order = [
            "10.0.0.1",
            "192.168.1.1",
            "2001:db8::1",
            "169.254.0.1",
            "fe80::1",
            "127.0.0.1",
            "::1",
        ];
        let addresses: Vec<Address> = order.iter().filter_map(|text| address(text, 2)).collect();
        assert_eq!(addresses.len(), order.len());
        assert!(addresses.is_sorted());
        assert_eq!(address("::ffff:10.0.0.1", 2), address("10.0.0.1", 0));
    }

    #[test]
    fn where_nobody_is_is_no_address() {
        for text in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.251", "ff02::fb"] {
            assert_eq!(address(text, 2), None, "{text}");
        }
        assert_eq!(address("fe80::1", 0), None);
    }

    #[test]
    fn only_a_link_local_address_keeps_its_interface() {
        let local = address("fe80::1", 2).unwrap();
        assert_eq!(
            (local.to_string(), local.socket(5).to_string()),
            ("fe80::1%2".into(), "[fe80::1%2]:5".into())
        );
        assert!(!local.is_plain());
        let plain = address("2001:db8::1", 2).unwrap();
        assert_eq!(plain.socket(5).to_string(), "[2001:db8::1]:5");
        assert!(plain.is_plain());
    }
}
