//! What relays are told that ask, or that have just come: one info at a time, so that nothing waits in memory.

use super::ledger::Record;
use super::own::{Wanted, own_message};
use super::{InfoBase, InfoKey, LinkId, NodeMessage, Output, Stamp};
use crate::peering::message::{Message, PublishInfo, SubscribeInfo};
use crate::peering::node::{NodeId, NodeType};
use std::collections::VecDeque;
use std::ops::Bound;

/// An answer, or the greeting of a link, as far as it has got.
#[derive(Debug)]
struct Cursor {
    target: Target,
    place: Place,
    sent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Everything to a laps relay, or all of ours to the edge of a stub.
    Link(LinkId),
    /// What one node has to a laps relay, which has heard of the node just now.
    Source { link: LinkId, source: NodeId },
    /// What is ours to a relay that asked, where it is not in step (`whole`), and what a laps relay told us.
    Node {
        node: NodeId,
        whole: bool,
        /// That of its question.
        number: u8,
    },
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Own(Option<InfoKey>),
    Publishes(Bound<(NodeId, InfoKey)>),
    Subscribes(Bound<(NodeId, InfoKey)>),
    End,
}

impl Target {
    /// Where the infos begin that go to it.
    const fn begin(self) -> Bound<(NodeId, InfoKey)> {
        match self {
            Self::Link(_) | Self::Node { .. } => Bound::Unbounded,
            Self::Source { source, .. } => Bound::Included((source, InfoKey::FIRST)),
        }
    }
}

/// Answers and greetings under way; one for each node and link at most.
#[derive(Debug, Default)]
pub(super) struct Answers {
    cursors: VecDeque<Cursor>,
}

impl Answers {
    pub(super) fn greet_link(&mut self, link: LinkId) {
        self.link_down(link);
        self.cursors.push_back(Cursor {
            target: Target::Link(link),
            place: Place::Own(None),
            sent: 0,
        });
    }

    /// Starts an answer anew, if one is under way.
    pub(super) fn answer(&mut self, node: NodeId, whole: bool, number: u8) {
        self.node_gone(node);
        let others = Place::Publishes(Bound::Unbounded);
        self.cursors.push_back(Cursor {
            target: Target::Node { node, whole, number },
            place: if whole { Place::Own(None) } else { others },
            sent: 0,
        });
    }

    /// What a node has, unless that is on its way.
    pub(super) fn introduce(&mut self, link: LinkId, source: NodeId) {
        let target = Target::Source { link, source };
        self.cursors.retain(|cursor| cursor.target != target);
        self.cursors.push_back(Cursor {
            target,
            place: Place::Publishes(target.begin()),
            sent: 0,
        });
    }

    pub(super) fn link_down(&mut self, down: LinkId) {
        let stays = |target| match target {
            Target::Link(link) | Target::Source { link, .. } => link != down,
            Target::Node { .. } => true,
        };
        self.cursors.retain(|cursor| stays(cursor.target));
    }

    pub(super) fn node_gone(&mut self, node: NodeId) {
        self.cursors
            .retain(|cursor| !matches!(cursor.target, Target::Node { node: to, .. } if to == node));
    }
}

impl InfoBase {
    /// Where the first answer or greeting stands that has room, and nothing that waits before it.
    pub(super) fn answer_with_room(&self, has_room: impl Fn(LinkId) -> bool) -> Option<usize> {
        self.sync.answers.cursors.iter().position(|cursor| {
            let link = match cursor.target {
                Target::Link(link) | Target::Source { link, .. } => Some(link),
                Target::Node { node, .. } => self.control_link(node),
            };
            link.is_none_or(|link| !self.held.waits_for(link) && has_room(link))
        })
    }

    /// Brings it to the front.
    pub(super) fn turn_to(&mut self, at: usize) {
        self.sync.answers.cursors.rotate_left(at);
    }

    /// The next info of the first answer or greeting; none when that one is over.
    pub(super) fn next_of_first(&mut self) -> Option<Output> {
        loop {
            let cursor = self.sync.answers.cursors.front()?;
            let (target, place, sent) = (cursor.target, cursor.place, cursor.sent);
            let found = match place {
                Place::Own(at) => self.next_own(at),
                Place::Publishes(at) => self.next_publish(target, at),
                Place::Subscribes(at) => self.next_subscribe(target, at),
                Place::End => {
                    self.sync.answers.cursors.pop_front();
                    match target {
                        Target::Link(_) | Target::Source { .. } => return None,
                        Target::Node { node, whole, number } => {
                            return Some(self.pull_end(node, number, sent, whole));
                        }
                    }
                }
            };
            let cursor = self.sync.answers.cursors.front_mut()?;
            let Some((message, stamp, place)) = found else {
                cursor.place = match place {
                    // A stub hands nothing on.
                    Place::Own(_) if self.role == NodeType::Stub => Place::End,
                    Place::Own(_) => Place::Publishes(target.begin()),
                    Place::Publishes(_) => Place::Subscribes(target.begin()),
                    Place::Subscribes(_) | Place::End => Place::End,
                };
                continue;
            };
            cursor.place = place;
            cursor.sent += 1;
            self.counters.sent += 1;
            return Some(match target {
                Target::Link(link) | Target::Source { link, .. } => Output::Send { link, message, stamp },
                Target::Node { node, number, .. } => {
                    let from = self.node;
                    let message = NodeMessage::Info {
                        from,
                        number,
                        message,
                        stamp,
                    };
                    Output::ToNode { node, message }
                }
            });
        }
    }

    fn next_own(&self, at: Option<InfoKey>) -> Option<(Message, Stamp, Place)> {
        let (key, sequence, wanted): (_, _, &Wanted) = self.own.after(at)?;
        let stamp = Stamp {
            epoch: self.epoch,
            sequence,
        };
        Some((
            own_message(self.node, wanted, sequence, true),
            stamp,
            Place::Own(Some(key)),
        ))
    }

    /// Whether a record goes to a target; otherwise where to go on looking.
    fn skip<V>(&self, target: Target, source: NodeId, record: &Record<V>) -> Result<(), Option<NodeId>> {
        match target {
            Target::Link(link) => {
                let to_itself = self.links.get(link).is_some_and(|link| link.peer == source);
                if to_itself { Err(next(source)) } else { Ok(()) }
            }
            Target::Source { source: of, .. } => {
                if source == of {
                    Ok(())
                } else {
                    Err(None)
                }
            }
            Target::Node { node, .. } => {
                let mut told = self.sync.told_by_laps.range(source..);
                match told.next().copied() {
                    Some(told) if told != source => Err(Some(told)),
                    None => Err(None),
                    Some(_) if source == node || record.stamp.epoch != 0 => Err(next(source)),
                    Some(_) => Ok(()),
                }
            }
        }
    }

    fn next_publish(
        &self,
        target: Target,
        mut at: Bound<(NodeId, InfoKey)>,
    ) -> Option<(Message, Stamp, Place)> {
        loop {
            let (source, key, record) = self.publishes.ledger.next(at)?;
            at = Bound::Excluded((source, key));
            if let Err(next) = self.skip(target, source, record) {
                at = Bound::Included((next?, InfoKey::FIRST));
                continue;
            }
            let Some(what) = &record.value else { continue };
            let info = PublishInfo::new(source, (**what).clone());
            return Some((
                Message::PublishInfoAdvertise(info),
                record.stamp,
                Place::Publishes(at),
            ));
        }
    }

    fn next_subscribe(
        &self,
        target: Target,
        mut at: Bound<(NodeId, InfoKey)>,
    ) -> Option<(Message, Stamp, Place)> {
        loop {
            let (source, key, record) = self.subscribes.ledger.next(at)?;
            at = Bound::Excluded((source, key));
            if let Err(next) = self.skip(target, source, record) {
                at = Bound::Included((next?, InfoKey::FIRST));
                continue;
            }
            let Some(track) = self.subscribes.tracks.track_hash(key.hash()) else {
                continue;
            };
            let info = SubscribeInfo {
                sequence: record.stamp.sequence,
                source,
                track,
                data: record.value.clone(),
            };
            return Some((
                Message::SubscribeInfoAdvertise(info),
                record.stamp,
                Place::Subscribes(at),
            ));
        }
    }
}

/// The node id after this one.
fn next(node: NodeId) -> Option<NodeId> {
    node.0.checked_add(1).map(NodeId)
}
