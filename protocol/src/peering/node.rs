//! Nodes: their ids, kinds, and what is known of one. laps peering, "Node Information".

use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// The id of a relay, unique in its mesh. laps peering, "Node ID".
///
/// As text it is `high:low`, each part a number of 32 bits or two of 16 with a dot between them: `1.2:1234`. A plain
/// number is read too: laps relays make their ids by hashing a name, see [`super::hash::endpoint_node_id`]. What is shown
/// has a dot in those parts that need more than 16 bits, and parses back to the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Why a text is no node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// No digits where a number has to be, or something else than digits.
    #[error("write a node id as `high:low`, such as 1.2:1234, or as one number")]
    Form,
    /// A number with a dot beside it is above 65535.
    #[error("a number beside a dot is at most 65535")]
    DottedTooLarge,
    /// A half without a dot is above 4294967295.
    #[error("each half of a node id is at most 4294967295")]
    HalfTooLarge,
    /// A number without a colon is above 2^64-1.
    #[error("a node id is at most 18446744073709551615")]
    TooLarge,
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        match text.split_once(':') {
            Some((high, low)) => Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?))),
            None => number(text, NodeIdError::TooLarge).map(Self),
        }
    }
}

/// One side of the colon.
fn half(text: &str) -> Result<u32, NodeIdError> {
    let Some((high, low)) = text.split_once('.') else {
        return number(text, NodeIdError::HalfTooLarge);
    };
    let sixteen = |text| number::<u16>(text, NodeIdError::DottedTooLarge);
    Ok(u32::from(sixteen(high)?) << 16 | u32::from(sixteen(low)?))
}

/// Digits and nothing else: the parser of the standard library lets a sign pass.
fn number<T: FromStr>(text: &str, too_large: NodeIdError) -> Result<T, NodeIdError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NodeIdError::Form);
    }
    text.parse().map_err(|_| too_large)
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [48, 32, 16, 0].map(|shift| self.0 >> shift & u64::from(u16::MAX));
        match (a, c) {
            (0, 0) => write!(f, "{b}:{d}"),
            (0, _) => write!(f, "{b}:{c}.{d}"),
            (_, 0) => write!(f, "{a}.{b}:{d}"),
            _ => write!(f, "{a}.{b}:{c}.{d}"),
        }
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What a relay does in the mesh. laps peering, "Relay Types".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// Takes no clients, hands on what others publish and subscribe to.
    Via,
    /// Takes clients and peers.
    Edge,
    /// Takes clients, dials out only, and is known to the peers that it dialled alone.
    Stub,
}

impl NodeType {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Via, Self::Edge, Self::Stub];

    /// Its name in configurations and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Via => "via",
            Self::Edge => "edge",
            Self::Stub => "stub",
        }
    }

    /// The kind with this [`Self::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for NodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A longitude or latitude in degrees. Always a finite number, so that it can be compared and hashed.
///
/// What is not a number, or infinite, becomes 0: a place decides nothing in this protocol, so a wrong one is not worth a
/// link. -0 becomes 0, which it equals.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Degrees(u64);

impl Degrees {
    /// These degrees, or 0 for what is no number.
    #[must_use]
    pub fn new(degrees: f64) -> Self {
        let usable = degrees.is_finite() && degrees != 0.0;
        Self(if usable { degrees.to_bits() } else { 0 })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Debug for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// One hop of a node path. laps peering, "Node Path".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathItem {
    /// The node that handed the information on. (Laps relays put the advertised node's own id here now and then.)
    pub node: NodeId,
    /// Round trip time, in microseconds, of the link on which that node had received it.
    pub srtt_us: u64,
}

/// What is known of one node. laps peering, "Node Information".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// The node.
    pub id: NodeId,
    /// What it does.
    pub node_type: NodeType,
    /// Name or address under which it is reached; bytes of any kind, and perhaps none. Owns its memory.
    pub contact: Bytes,
    /// Where it is.
    pub longitude: Degrees,
    /// Where it is.
    pub latitude: Degrees,
    /// The nodes that handed it on, the first of them first. A node tells of itself with an empty path.
    pub path: Vec<PathItem>,
}

impl NodeInfo {
    /// What a node says of itself, at no known place.
    #[must_use]
    pub const fn new(id: NodeId, node_type: NodeType, contact: Bytes) -> Self {
        Self {
            id,
            node_type,
            contact,
            longitude: Degrees(0),
            latitude: Degrees(0),
            path: Vec::new(),
        }
    }

    /// Sum of the round trip times on the path, in microseconds; the link on which this was received is not in it.
    /// Stays at the largest number when a peer claims more. laps peering, "Selection Algorithm".
    #[must_use]
    pub fn sum_srtt(&self) -> u64 {
        let times = self.path.iter().map(|item| item.srtt_us);
        times.fold(0, u64::saturating_add)
    }

    /// Hops on the path, the first criterion of the selection. laps peering, "Selection Algorithm".
    #[must_use]
    pub const fn path_len(&self) -> usize {
        self.path.len()
    }

    /// Whether `node` is on the path: it must not be told of this again. laps peering, "Node Path".
    #[must_use]
    pub fn path_contains(&self, node: NodeId) -> bool {
        self.path.iter().any(|item| item.node == node)
    }

    /// The same, handed on by one more node.
    #[must_use]
    pub fn via(&self, item: PathItem) -> Self {
        let mut info = self.clone();
        info.path.push(item);
        info
    }

    /// The contact for a person.
    #[must_use]
    pub fn contact_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.contact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_becomes_an_id() {
        for (text, id) in [
            ("1.2:1234", 0x0001_0002_0000_04d2),
            ("1:1", 0x0000_0001_0000_0001),
            ("100.2:9001.2001", 0x0064_0002_2329_07d1),
            ("123456:789.100", 0x0001_e240_0315_0064),
            ("0:0", 0),
            ("4294967295:65535.65535", u64::MAX),
            ("18446744073709551615", u64::MAX),
            ("007:1", 0x0000_0007_0000_0001),
        ] {
            assert_eq!(text.parse(), Ok(NodeId(id)), "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        use NodeIdError::*;
        for (text, error) in [
            ("", Form),
            (":", Form),
            ("1:", Form),
            (":1", Form),
            ("1:2:3", Form),
            ("1.2.3:4", Form),
            ("1..2:4", Form),
            ("1.2", Form),
            ("+1:2", Form),
            ("-1:2", Form),
            (" 1:2", Form),
            ("1:0x10", Form),
            ("relay-a", Form),
            ("65536.0:1", DottedTooLarge),
            ("1:0.65536", DottedTooLarge),
            ("4294967296:1", HalfTooLarge),
            ("18446744073709551616", TooLarge),
            ("99999999999999999999999999999999999999999999999999999", TooLarge),
        ] {
            assert_eq!(text.parse::<NodeId>(), Err(error), "{text}");
        }
    }

    #[test]
    fn ids_are_shown_in_one_form() {
        for (id, text) in [
            (0x0001_0002_0000_04d2, "1.2:1234"),
            (0x0001_e240_0315_0064, "1.57920:789.100"),
            (0, "0:0"),
            (0x0001_0000, "0:1.0"),
            (0xffff, "0:65535"),
            (u64::MAX, "65535.65535:65535.65535"),
        ] {
            assert_eq!(NodeId(id).to_string(), text);
        }
    }

    #[test]
    fn places_can_be_compared() {
        for wrong in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            assert_eq!(Degrees::new(wrong), Degrees::default());
        }
        assert_eq!(Degrees::new(-122.5).get(), -122.5);
        assert_ne!(Degrees::new(-122.5), Degrees::new(122.5));
    }

    /// laps peering, "Node Path": the figures of its example, node 1:4.
    #[test]
    fn a_path_has_a_length_and_a_sum() {
        let hop = |low: u64, ms: u64| PathItem {
            node: NodeId(1 << 32 | low),
            srtt_us: ms * 1000,
        };
        let info = NodeInfo::new(NodeId(1 << 32 | 1), NodeType::Edge, Bytes::new());
        let far = info.via(hop(2, 25)).via(hop(3, 50));
        assert_eq!((far.path_len(), far.sum_srtt()), (2, 75_000));
        assert!(far.path_contains(NodeId(1 << 32 | 3)) && !far.path_contains(far.id));
        assert_eq!((info.path_len(), info.sum_srtt()), (0, 0));
        assert_eq!(far.via(hop(4, 0)).via(hop(5, 1)).sum_srtt(), 76_000);
        let forged = PathItem {
            node: NodeId(9),
            srtt_us: u64::MAX,
        };
        assert_eq!(far.via(forged).via(forged).sum_srtt(), u64::MAX);
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(id in any::<u64>(), keep in prop::array::uniform4(any::<bool>())) {
            // Parts that are zero are as frequent as others.
            let masks = keep.iter().map(|keep| if *keep { 0xffff } else { 0 });
            let id = NodeId(id & masks.fold(0, |mask, part| mask << 16 | part));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.0.to_string().parse(), Ok(id));
        }

        #[test]
        fn no_text_panics(text in "[0-9.:+ ]{0,24}|.*") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn sums_do_not_depend_on_what_is_claimed(times in prop::collection::vec(any::<u64>(), 0..9)) {
            let mut info = NodeInfo::new(NodeId(1), NodeType::Via, Bytes::new());
            for &srtt_us in &times {
                info = info.via(PathItem { node: NodeId(2), srtt_us });
            }
            let exact: u128 = times.iter().map(|time| u128::from(*time)).sum();
            prop_assert_eq!(u128::from(info.sum_srtt()), exact.min(u128::from(u64::MAX)));
        }
    }
}
