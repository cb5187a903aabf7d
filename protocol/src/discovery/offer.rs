//! What a relay says of itself: the TXT record beside its advertisement. RFC 6763 §6.

use crate::moqt::version::Version;
use crate::peering::node::{NodeId, NodeType};
use std::fmt;
use std::num::NonZeroU16;

/// Bytes of a TXT record that are read, its length bytes included. RFC 6763 §6.2: more than fits into one packet of
/// Ethernet, about 1300, is not recommended; ours is well below 300.
pub const MAX_TXT: usize = 1300;
/// Bytes of one string `key=value` of it. RFC 1035 §3.3.
pub const MAX_STRING: usize = 255;
/// Bytes of a version that are kept.
pub const MAX_VERSION: usize = 32;
/// Drafts that are kept.
pub const MAX_DRAFTS: usize = 16;

/// Keys, each of at most nine letters as RFC 6763 §6.4 wants it.
mod key {
    /// The version of this record, which stands first. RFC 6763 §6.7
    pub(super) const RECORD: &str = "txtvers";
    pub(super) const ID: &str = "id";
    pub(super) const VERSION: &str = "version";
    pub(super) const DRAFTS: &str = "drafts";
    pub(super) const TRANSPORTS: &str = "transport";
    pub(super) const CERTIFICATE: &str = "sha256";
    pub(super) const KEY: &str = "keysha256";
    pub(super) const NODE_TYPE: &str = "node";
    pub(super) const PEER_PORT: &str = "peerport";
}

/// How a relay is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// MOQT over QUIC itself.
    Quic,
    /// MOQT over WebTransport.
    WebTransport,
}

impl Transport {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Quic, Self::WebTransport];

    /// Its name in a TXT record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebTransport => "webtransport",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|transport| transport.name() == name)
    }
}

/// What a relay says it has. A relay that says nothing, as one that laps' own Avahi service file advertises, has the
/// default: nothing is known of it, and it may be anything.
///
/// All of it is a hint. The certificate's hash above all: whoever can forge a record can forge the hash in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its node id, which its name need not tell: a name may be cut or numbered.
    pub id: Option<NodeId>,
    /// The version of its program: letters of ASCII that can be seen, at most [`MAX_VERSION`].
    pub version: Option<String>,
    /// Numbers of the drafts it speaks, the preferred one first, at most [`MAX_DRAFTS`].
    pub drafts: Vec<u16>,
    /// How it is reached.
    pub transports: Vec<Transport>,
    /// SHA-256 of its certificate.
    pub certificate: Option<[u8; 32]>,
    /// SHA-256 of the public key in it, which stays the same when the certificate is renewed. Boxed: what is found is
    /// moved through several queues.
    pub key: Option<Box<[u8; 32]>>,
    /// What it does among relays.
    pub node_type: Option<NodeType>,
    /// UDP port where other relays reach it.
    pub peer_port: Option<NonZeroU16>,
}

/// A TXT record that is larger than any relay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its TXT record has more than {MAX_TXT} bytes")]
pub struct Oversized;

impl Offer {
    /// The keys that are understood, for who can only ask for each.
    pub const KEYS: &'static [&'static str] = &[
        key::ID,
        key::VERSION,
        key::DRAFTS,
        key::TRANSPORTS,
        key::CERTIFICATE,
        key::KEY,
        key::NODE_TYPE,
        key::PEER_PORT,
    ];

    /// What this program offers, whoever runs it.
    #[must_use]
    pub fn of_this_program(version: &str) -> Self {
        Self {
            version: Some(version.to_owned()),
            drafts: Version::ALL.iter().copied().map(draft).collect(),
            transports: vec![Transport::Quic],
            ..Self::default()
        }
    }

    /// True when nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it may be one that this program can talk to: it says so, or it says nothing of it.
    #[must_use]
    pub fn may_be_spoken_to(&self) -> bool {
        let ours = |number: &u16| Version::ALL.iter().any(|version| draft(*version) == *number);
        (self.drafts.is_empty() || self.drafts.iter().any(ours))
            && (self.transports.is_empty() || self.transports.contains(&Transport::Quic))
            // laps peering, "Relay Types": a Via takes no clients.
            && self.node_type != Some(NodeType::Via)
    }

    /// The strings of the record, in their order.
    #[must_use]
    pub fn strings(&self) -> Vec<(&'static str, String)> {
        let list = |names: Vec<String>| (!names.is_empty()).then(|| names.join(","));
        let given = [
            (key::RECORD, Some("1".to_owned())),
            (key::ID, self.id.map(|id| id.to_string())),
            (key::VERSION, self.version.clone()),
            (
                key::DRAFTS,
                list(self.drafts.iter().map(u16::to_string).collect()),
            ),
            (
                key::TRANSPORTS,
                list(self.transports.iter().map(|way| way.name().to_owned()).collect()),
            ),
            (
                key::CERTIFICATE,
                self.certificate.map(|hash| hex(&hash).to_string()),
            ),
            (key::KEY, self.key.as_deref().map(|hash| hex(hash).to_string())),
            (key::NODE_TYPE, self.node_type.map(|kind| kind.to_string())),
            (key::PEER_PORT, self.peer_port.map(|port| port.to_string())),
        ];
        given
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value)))
            .collect()
    }

    /// Reads the strings of a record. What is not understood is passed over: the next version may say more.
    ///
    /// # Errors
    /// When there is more of it than [`MAX_TXT`]; no more than that is looked at.
    pub fn read<'a>(strings: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, Oversized> {
        let (mut offer, mut size, mut seen) = (Self::default(), 0_usize, 0_u8);
        for (key, value) in strings {
            // A length byte before, and the sign between.
            let string = key.len().saturating_add(value.len()).saturating_add(2);
            size = size.saturating_add(string);
            if size > MAX_TXT || string > MAX_STRING + 1 {
                return Err(Oversized);
            }
            let Some(field) = Field::of(key) else { continue };
            // RFC 6763 §6.4: of several of one key the first counts.
            let bit = 1 << field as u8;
            if seen & bit == 0 {
                seen |= bit;
                offer.set(field, std::str::from_utf8(value).unwrap_or_default());
            }
        }
        Ok(offer)
    }

    fn set(&mut self, field: Field, value: &str) {
        match field {
            Field::Id => self.id = value.parse().ok(),
            Field::Version => {
                let fits = !value.is_empty() && value.len() <= MAX_VERSION;
                self.version =
                    (fits && value.bytes().all(|byte| byte.is_ascii_graphic())).then(|| value.to_owned());
            }
            Field::Drafts => {
                let numbers = value.split(',').filter_map(|number| number.parse().ok());
                self.drafts = distinct(numbers.take(MAX_DRAFTS));
            }
            Field::Transports => {
                self.transports = distinct(value.split(',').filter_map(Transport::from_name))
            }
            Field::Certificate => self.certificate = unhex(value),
            Field::Key => self.key = unhex(value).map(Box::new),
            Field::NodeType => self.node_type = NodeType::from_name(value),
            Field::PeerPort => self.peer_port = value.parse().ok(),
        }
    }
}

/// What of a record is understood.
#[derive(Clone, Copy)]
enum Field {
    Id,
    Version,
    Drafts,
    Transports,
    Certificate,
    Key,
    NodeType,
    PeerPort,
}

impl Field {
    /// RFC 6763 §6.4: keys are the same in small and in capital letters.
    fn of(key: &[u8]) -> Option<Self> {
        let names = [
            (key::ID, Self::Id),
            (key::VERSION, Self::Version),
            (key::DRAFTS, Self::Drafts),
            (key::TRANSPORTS, Self::Transports),
            (key::CERTIFICATE, Self::Certificate),
            (key::KEY, Self::Key),
            (key::NODE_TYPE, Self::NodeType),
            (key::PEER_PORT, Self::PeerPort),
        ];
        let named = |(name, _): &(&str, Self)| key.eq_ignore_ascii_case(name.as_bytes());
        names.into_iter().find(named).map(|(_, field)| field)
    }
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

const fn draft(version: Version) -> u16 {
    match version {
        Version::Draft14 => 14,
    }
}

/// The bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8; 32]) -> impl fmt::Display + use<> {
    struct Hex([u8; 32]);
    impl fmt::Display for Hex {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
    Hex(*bytes)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    let digit = |letter: u8| char::from(letter).to_digit(16);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}
