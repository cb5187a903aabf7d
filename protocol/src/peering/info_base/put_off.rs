//! What laps relays say of nodes that say it themselves.
//!
//! A laps relay is let in for its address, without proof, and gives no statement the number that others get. So of a node of
//! ours that is reached over relays of ours alone, what the node itself says counts, and not what a laps relay says: else
//! whoever sits at such an address could withdraw what any node of the mesh has. What comes by both is the same as a rule.
//! What is not is kept, within a bound, for when the last way of ours to the node is lost: laps relays tell it once, and from
//! then on theirs is the only word.

use super::infos::source_of;
use super::{InfoBase, InfoKey, LinkId, ReportKind, Stamp};
use crate::peering::message::Message;
use crate::peering::node::NodeId;
use std::collections::BTreeMap;
use std::time::Instant;

/// Statements that are kept, in all. They differ from what is known for as long as the slower way takes.
const MAX_PUT_OFF: usize = 10_000;

/// The last word of laps relays on infos of nodes of ours, where it is another one than theirs.
#[derive(Debug, Default)]
pub(super) struct PutOff(BTreeMap<(NodeId, InfoKey), (LinkId, Message, Stamp)>);

impl PutOff {
    /// Those that a link that is down has said are nobody's any more.
    pub(super) fn link_down(&mut self, link: LinkId) {
        self.0.retain(|_, (from, ..)| *from != link);
    }
}

impl InfoBase {
    /// A laps relay said this of a node that says it itself.
    pub(super) fn put_off(&mut self, from: LinkId, source: NodeId, message: Message, stamp: Stamp) {
        self.counters.overruled += 1;
        let Some(key) = key_of(&message) else { return };
        if self.is_known(source, key, &message) {
            self.put_off.0.remove(&(source, key));
        } else if self.put_off.0.len() < MAX_PUT_OFF || self.put_off.0.contains_key(&(source, key)) {
            self.put_off.0.insert((source, key), (from, message, stamp));
        } else {
            self.over_limit(from, ReportKind::TooManyInfos);
        }
    }

    /// What laps relays said of an info that its node says something of now; none where they said what is known.
    pub(super) fn put_off_of(&self, message: &Message) -> Option<(NodeId, InfoKey)> {
        if self.put_off.0.is_empty() {
            return None;
        }
        let at = (source_of(message)?, key_of(message)?);
        self.put_off.0.contains_key(&at).then_some(at)
    }

    /// The node has said something itself: it may be what laps relays said before.
    pub(super) fn said_itself(&mut self, (source, key): (NodeId, InfoKey)) {
        let known = |(_, message, _): &(LinkId, Message, Stamp)| self.is_known(source, key, message);
        if self.put_off.0.get(&(source, key)).is_some_and(known) {
            self.put_off.0.remove(&(source, key));
        }
    }

    /// The last way of ours to a node is lost. With a laps relay on the only one left its word counts, and with none nobody's.
    pub(super) fn not_strict_any_more(&mut self, now: Instant, node: NodeId, reached: bool) {
        if self.put_off.0.is_empty() || self.nodes.is_strict(node, &self.links) {
            return;
        }
        let of_it = (node, InfoKey::FIRST)..=(node, InfoKey::LAST);
        let keys: Vec<_> = self.put_off.0.range(of_it).map(|(key, _)| *key).collect();
        for key in keys {
            if let (Some((from, message, stamp)), true) = (self.put_off.0.remove(&key), reached) {
                self.info_came(now, from, message, stamp);
            }
        }
    }

    /// Whether this says what is known.
    fn is_known(&self, source: NodeId, key: InfoKey, message: &Message) -> bool {
        let subscribed = self.subscribes.ledger.get(source, key).filter(|it| it.alive);
        let published = self.publishes.ledger.get(source, key).filter(|it| it.alive);
        if let Message::SubscribeInfoAdvertise(info) = message {
            return subscribed.is_some_and(|known| known.value == info.data);
        }
        if let Message::PublishInfoAdvertise(info) = message {
            let known = published.and_then(|known| known.value.as_deref());
            return known.is_some_and(|known| *known == info.what);
        }
        // A withdrawal. Only one of the two has the key.
        subscribed.is_none() && published.is_none()
    }
}

/// Which info a statement is about.
pub(super) fn key_of(message: &Message) -> Option<InfoKey> {
    if let Message::SubscribeInfoAdvertise(info) | Message::SubscribeInfoWithdraw(info) = message {
        return Some(InfoKey::subscription(info.track.full));
    }
    if let Message::PublishInfoAdvertise(info) | Message::PublishInfoWithdraw(info) = message {
        return Some(InfoKey::published(&info.what));
    }
    None
}
