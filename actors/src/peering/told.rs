//! What the operator was told already, so that who knocks again and again fills no log.

use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Lines that are remembered of nodes and tracks, and of those who are known by their address at most: there is any number
/// of these, who may say what they like, and no other line is lost for them.
const KNOWN: usize = 256;
const STRANGERS: usize = 64;

/// How old a line is that gives way to another where there are as many as that. Until one is, no other is told: who knocks
/// from ever new addresses gets as many lines in this time, and no more.
const OLD: Duration = Duration::from_hours(1);

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

    const fn is_stranger(self) -> bool {
        matches!(self, Self::Host(_) | Self::Nobody)
    }
}

/// One line: what it is about, and what it says.
type Line = (About, Cow<'static, str>);

/// What was told, and when. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Rc<RefCell<BTreeMap<Line, Instant>>>);

impl Told {
    /// Whether this was not told yet; from now on it was.
    pub(super) fn is_news(&self, about: About, what: impl Into<Cow<'static, str>>, now: Instant) -> bool {
        let mut told = self.0.borrow_mut();
        let line = (about, what.into());
        if told.contains_key(&line) {
            return false;
        }
        let room = if about.is_stranger() { STRANGERS } else { KNOWN };
        let alike = || {
            told.iter()
                .filter(|((of, _), _)| of.is_stranger() == about.is_stranger())
        };
        if alike().count() >= room {
            let oldest = alike().min_by_key(|(_, at)| **at);
            let gives_way = oldest.filter(|(_, at)| now.saturating_duration_since(**at) >= OLD);
            let Some(gives_way) = gives_way.map(|(line, _)| line.clone()) else {
                return false;
            };
            told.remove(&gives_way);
        }
        told.insert(line, now);
        true
    }

    /// What is said of this from now on is news again.
    pub(super) fn forget(&self, about: About) {
        self.0.borrow_mut().retain(|(of, _), _| *of != about);
    }

    /// This is news again.
    pub(super) fn forget_line(&self, about: About, what: impl Into<Cow<'static, str>>) {
        self.0.borrow_mut().remove(&(about, what.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u64) -> About {
        About::peer(None, &format!("2001:db8::{last:x}"))
    }

    #[test]
    fn each_thing_is_told_once() {
        let (told, now) = (Told::default(), Instant::now());
        let is_news = |about, what: &'static str| told.clone().is_news(about, what, now);
        let node = About::peer(Some(NodeId(7)), "192.0.2.1:5");
        assert_eq!(node, About::Node(NodeId(7)));
        let host = |port: u16| About::peer(None, &format!("192.0.2.1:{port}"));
        // As a connection has it.
        assert_eq!(About::peer(None, "192.0.2.1"), host(5));
        assert_ne!(host(5), About::peer(None, "2001:db8::1"));
        assert!(is_news(node, "a") && is_news(node, "b"));
        assert!(is_news(host(5), "a") && !is_news(host(6), "a"));
        assert!(!is_news(node, "a") && !told.is_news(node, String::from("b"), now));
        told.forget(node);
        assert!(is_news(node, "a") && !is_news(host(7), "a"));
        assert!(is_news(node, "b"));
        told.forget_line(node, "b");
        assert!(is_news(node, "b") && !is_news(node, "a"));
        // However many there are.
        let news = (0..1000).filter(|n| told.is_news(node, n.to_string(), now));
        assert_eq!(news.count(), KNOWN - 2);
        assert!(!is_news(About::OneWay, "c"));
        told.forget(node);
        assert!(is_news(About::OneWay, "c"));
    }

    #[test]
    fn those_without_a_certificate_silence_nobody_for_long() {
        let (told, began) = (Told::default(), Instant::now());
        let at = |secs| began + Duration::from_secs(secs);
        // One a second.
        let news = (0..1000).filter(|n| told.is_news(host(*n), "a", at(*n)));
        assert_eq!(news.count(), STRANGERS);
        assert!(told.is_news(About::Node(NodeId(7)), "a", at(1000)));
        // An hour after the first of them the first of them gives way, and no other does.
        assert!(!told.is_news(host(2000), "a", at(3599)));
        assert!(told.is_news(host(2000), "a", at(3600)));
        assert!(!told.is_news(host(2001), "a", at(3600)) && !told.is_news(host(1), "a", at(3600)));
        assert!(told.is_news(host(0), "a", at(3601)));
        assert!(!told.is_news(About::Node(NodeId(7)), "a", at(3601)));
    }
}
