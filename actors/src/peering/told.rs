//! What the operator was told already, so that who knocks again and again fills no log.

use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// Lines that are remembered. When there are more nothing else is told, until some of them are forgotten.
const MAX_TOLD: usize = 256;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// The node that a certificate names, or a link had.
    Node(NodeId),
    /// Who is known by its address alone.
    Host(IpAddr),
    /// Who is not known at all.
    Nobody,
    /// A track.
    Track(FullNameHash),
    /// Links for data one way, which a peer of an older version knows nothing of, whatever other links to it stand.
    OneWay,
}

impl About {
    /// Who is at the other end of a connection: the node that its certificate names, or else where it comes from.
    pub(super) fn peer(named: Option<NodeId>, addr: &str) -> Self {
        let ip = || {
            addr.parse()
                .or_else(|_| addr.parse().map(|addr: SocketAddr| addr.ip()))
        };
        named.map_or_else(|| ip().map_or(Self::Nobody, Self::Host), Self::Node)
    }
}

/// One line: what it is about, and what it says.
type Line = (About, Cow<'static, str>);

/// What was told. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Rc<RefCell<BTreeSet<Line>>>);

impl Told {
    /// Whether this was not told yet; from now on it was.
    pub(super) fn is_news(&self, about: About, what: impl Into<Cow<'static, str>>) -> bool {
        let mut told = self.0.borrow_mut();
        told.len() < MAX_TOLD && told.insert((about, what.into()))
    }

    /// What is said of this from now on is news again.
    pub(super) fn forget(&self, about: About) {
        self.0.borrow_mut().retain(|(of, _)| *of != about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once() {
        let told = Told::default();
        let node = About::peer(Some(NodeId(7)), "192.0.2.1:5");
        assert_eq!(node, About::Node(NodeId(7)));
        let host = |port: u16| About::peer(None, &format!("192.0.2.1:{port}"));
        // As a connection has it.
        assert_eq!(About::peer(None, "192.0.2.1"), host(5));
        assert_ne!(host(5), About::peer(None, "2001:db8::1"));
        assert!(told.is_news(node, "a") && told.clone().is_news(node, "b"));
        assert!(told.is_news(host(5), "a") && !told.is_news(host(6), "a"));
        assert!(!told.is_news(node, "a") && !told.is_news(node, String::from("b")));
        told.forget(node);
        assert!(told.is_news(node, "a") && !told.is_news(host(7), "a"));
        // However many there are.
        let news = (0..1000).filter(|n| told.is_news(About::Nobody, n.to_string()));
        assert_eq!(news.count(), MAX_TOLD - 2);
        assert!(!told.is_news(host(5), "c"));
        told.forget(About::Nobody);
        assert!(told.is_news(host(5), "c"));
    }
}
