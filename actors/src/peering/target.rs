//! Which relay to dial, as an operator writes it: `host`, `host:port`, `[::1]:port`, `laps+host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port of a peer that names none.
pub const DEFAULT_PORT: u16 = 33_434;

/// What stands before a laps relay.
const LAPS: &str = "laps+";

/// A relay to dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerTarget {
    /// What it speaks.
    pub kind: PeerKind,
    /// Where it is.
    pub at: HostPort,
}

/// Which kind of relay it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// One of ours: [`LINK_ALPN`](crate::transport::LINK_ALPN).
    Ours,
    /// A laps relay, which has no certificate: [`LAPS_ALPN`](crate::transport::LAPS_ALPN).
    Laps,
}

/// A host, by name or by address, and a UDP port of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// What is wrong with a peer that was written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing where the host should be.
    #[error("`{0}` has no host; write host, host:port or laps+host:port")]
    NoHost(String),
    /// A host with characters that no host has.
    #[error("`{0}` is not a host; write a name, an IPv4 address, or an IPv6 address in brackets")]
    BadHost(String),
    /// An IPv6 address without brackets: where it ends and the port begins cannot be seen.
    #[error("`{0}` is an IPv6 address; write it in brackets, such as [{0}]:33434")]
    Bare(Ipv6Addr),
    /// `[` without an IPv6 address and `]`.
    #[error("`{0}` is not an IPv6 address in brackets, such as [::1]:33434")]
    BadBrackets(String),
    /// Not a number from 1 to 65535.
    #[error("port `{0}` is not a number from 1 to 65535")]
    BadPort(String),
}

impl HostPort {
    /// The name or the address, without brackets; also what TLS is told as the server's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for PeerTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (kind, at) = match text.strip_prefix(LAPS) {
            Some(at) => (PeerKind::Laps, at),
            None => (PeerKind::Ours, text),
        };
        at.parse().map(|at| Self { kind, at })
    }
}

impl FromStr for HostPort {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Ok(address) = text.parse() {
            return Err(TargetError::Bare(address));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let bad = || TargetError::BadBrackets(text.to_owned());
            let (address, after) = inner.split_once(']').ok_or_else(bad)?;
            let address: Ipv6Addr = address.parse().map_err(|_| bad())?;
            let port = match after.strip_prefix(':') {
                Some(port) => port_of(port)?,
                None if after.is_empty() => DEFAULT_PORT,
                None => return Err(bad()),
            };
            let host = address.to_string();
            return Ok(Self { host, port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port_of(port)?),
            None => (text, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(TargetError::NoHost(text.to_owned()));
        }
        let host = host.to_ascii_lowercase();
        if host.parse::<IpAddr>().is_ok() || is_name(&host) {
            Ok(Self { host, port })
        } else {
            Err(TargetError::BadHost(host))
        }
    }
}

/// A name that can be looked up and can stand in a handshake. One of digits and dots alone is a mistyped address:
/// RFC 1123 §2.1.
fn is_name(host: &str) -> bool {
    let like_address = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !like_address && rustls_pki_types::DnsName::try_from(host).is_ok()
}

fn port_of(text: &str) -> Result<u16, TargetError> {
    // Rust's parser also takes a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(TargetError::BadPort(text.to_owned())),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for PeerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PeerKind::Ours => write!(f, "{}", self.at),
            PeerKind::Laps => write!(f, "{LAPS}{}", self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn peers_are_read_and_shown() {
        for (text, kind, host, port, shown) in [
            (
                "relay.example",
                PeerKind::Ours,
                "relay.example",
                33_434,
                "relay.example:33434",
            ),
            (
                "Relay.Example:5",
                PeerKind::Ours,
                "relay.example",
                5,
                "relay.example:5",
            ),
            (
                "192.0.2.1",
                PeerKind::Ours,
                "192.0.2.1",
                33_434,
                "192.0.2.1:33434",
            ),
            (
                "[2001:DB8:0::1]",
                PeerKind::Ours,
                "2001:db8::1",
                33_434,
                "[2001:db8::1]:33434",
            ),
            ("[::1]:65535", PeerKind::Ours, "::1", 65_535, "[::1]:65535"),
            (
                "laps+relay_1.example:33437",
                PeerKind::Laps,
                "relay_1.example",
                33_437,
                "laps+relay_1.example:33437",
            ),
            ("laps+[::1]", PeerKind::Laps, "::1", 33_434, "laps+[::1]:33434"),
            ("laps", PeerKind::Ours, "laps", 33_434, "laps:33434"),
        ] {
            let target: PeerTarget = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let parts = (target.kind, target.at.host(), target.at.port());
            assert_eq!(parts, (kind, host, port), "{text}");
            assert_eq!(target.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_peer_is_named() {
        use TargetError::*;
        let bare = "2001:db8::1".parse().unwrap();
        for (text, error) in [
            ("", NoHost(String::new())),
            (":5", NoHost(":5".into())),
            ("laps+", NoHost(String::new())),
            ("2001:db8::1", Bare(bare)),
            ("laps+2001:db8::1", Bare(bare)),
            ("[::1", BadBrackets("[::1".into())),
            ("[::1]5", BadBrackets("[::1]5".into())),
            ("[h]:5", BadBrackets("[h]:5".into())),
            ("[1.2.3.4]:5", BadBrackets("[1.2.3.4]:5".into())),
            ("h:", BadPort(String::new())),
            ("h:0", BadPort("0".into())),
            ("h:65536", BadPort("65536".into())),
            ("h:+1", BadPort("+1".into())),
            ("h i", BadHost("h i".into())),
            ("moqt://h:5", BadHost("moqt://h".into())),
            ("1.2.3", BadHost("1.2.3".into())),
            ("a,b", BadHost("a,b".into())),
            ("laps+laps+h", BadHost("laps+h".into())),
        ] {
            assert_eq!(text.parse::<PeerTarget>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(text in "(laps\\+)?(\\[[0-9a-f:]{2,9}\\]|[a-z0-9.-]{1,9})(:[0-9]{1,5})?|.*") {
            if let Ok(target) = text.parse::<PeerTarget>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
            }
        }
    }
}
