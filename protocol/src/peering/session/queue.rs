//! Control messages on their way out.

use super::config::Config;
use super::sets::{Said, Sets};
use crate::peering::message::MessageKind;
use bytes::Bytes;
use std::collections::VecDeque;

/// Messages that wait, and whether one is under way.
///
/// Real laps relays handle one message for each chunk of the stream that arrives, and whatever else is in it only when
/// more comes. So one message is written at a time, and the next when that one has been flushed.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Bytes>,
    /// CONNECT and its answer, the last one first.
    first: Vec<Bytes>,
    /// PING and its answer: what tells that the peer lives does not wait for all the rest.
    urgent: VecDeque<(MessageKind, Bytes)>,
    /// Sets of nodes, which take turns with what waits: neither keeps the other waiting.
    sets: Sets,
    sets_turn: bool,
    bytes: usize,
    under_way: bool,
    max_messages: usize,
    max_bytes: usize,
}

/// A message that may be written.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) message: Bytes,
    /// What it says of a set of nodes. Of those it is not known before that they leave.
    pub(super) set: Option<MessageKind>,
}

impl Queue {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            waiting: VecDeque::new(),
            first: Vec::new(),
            urgent: VecDeque::new(),
            sets: Sets::new(config.max_queued_sets, config.max_queued_set_bytes),
            sets_turn: false,
            bytes: 0,
            under_way: false,
            max_messages: config.max_queued_messages,
            max_bytes: config.max_queued_bytes,
        }
    }

    /// Messages that wait, and their bytes, sets of nodes apart.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.waiting.len() + self.first.len(), self.bytes)
    }

    /// Sets of nodes that wait.
    pub(super) fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Whether everything has been written and flushed.
    pub(super) fn is_idle(&self) -> bool {
        !self.under_way && self.waiting.is_empty() && self.first.is_empty() && self.sets.is_empty()
    }

    /// How many more messages may wait.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= self.max_bytes {
            return 0;
        }
        self.max_messages
            .saturating_sub(self.waiting.len() + self.first.len())
    }

    /// Takes a message; false when it would be one too many.
    pub(super) fn push(&mut self, message: Bytes) -> bool {
        let bytes = self.bytes.saturating_add(message.len());
        if self.room() == 0 || bytes > self.max_bytes {
            return false;
        }
        self.bytes = bytes;
        self.waiting.push_back(message);
        true
    }

    /// Takes what is said of a set of nodes, in the place of what was to be said of it before; false when it would be one
    /// too many.
    pub(super) fn push_set(&mut self, said: Said, message: Bytes) -> bool {
        self.sets.push(said, message)
    }

    /// Puts a message before all others, whatever waits: CONNECT and its answer are the first on a stream.
    pub(super) fn push_first(&mut self, message: Bytes) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.first.push(message);
    }

    /// Takes a message that goes before those that wait; false while one of its kind is there already.
    pub(super) fn push_urgent(&mut self, kind: MessageKind, message: Bytes) -> bool {
        if self.urgent.iter().any(|(waits, _)| *waits == kind) {
            return false;
        }
        self.urgent.push_back((kind, message));
        true
    }

    /// What was written has been flushed, or the stream that it was written to is no more.
    pub(super) const fn flushed(&mut self) {
        self.under_way = false;
    }

    /// The message that may be written now.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.under_way {
            return None;
        }
        let next = if let Some(message) = self.first.pop() {
            self.bytes = self.bytes.saturating_sub(message.len());
            Next { message, set: None }
        } else if let Some((_, message)) = self.urgent.pop_front() {
            Next { message, set: None }
        } else {
            self.next_of_all()?
        };
        self.under_way = true;
        Some(next)
    }

    fn next_of_all(&mut self) -> Option<Next> {
        let turn = std::mem::replace(&mut self.sets_turn, false);
        if (turn || self.waiting.is_empty())
            && let Some((kind, message)) = self.sets.pop()
        {
            let set = Some(kind);
            return Some(Next { message, set });
        }
        let message = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        self.sets_turn = true;
        Some(Next { message, set: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::node::{NodeId, NodeInfo, NodeType};

    /// With room for two messages of 100 bytes, and two sets.
    fn queue() -> Queue {
        let config = Config {
            max_queued_messages: 2,
            max_queued_bytes: 100,
            max_queued_sets: 2,
            ..Config::new(NodeInfo::new(NodeId(1), NodeType::Edge, Bytes::new()))
        };
        Queue::new(&config)
    }

    #[test]
    fn one_is_under_way_at_a_time() {
        let mut queue = queue();
        assert!(queue.push(Bytes::from_static(b"b")) && queue.push(Bytes::from_static(b"c")));
        queue.push_first(Bytes::from_static(b"a"));
        for expected in ["a", "b", "c"] {
            assert_eq!(queue.next().unwrap().message, expected);
            assert!(queue.next().is_none());
            assert!(!queue.is_idle());
            queue.flushed();
        }
        assert!(queue.next().is_none());
        assert_eq!((queue.len(), queue.is_idle()), ((0, 0), true));
    }

    #[test]
    fn both_bounds_hold() {
        let mut queue = queue();
        assert!(queue.push(vec![0; 50].into()) && !queue.push(vec![0; 51].into()));
        assert_eq!((queue.room(), queue.len()), (1, (1, 50)));
        assert!(queue.push(vec![0; 1].into()) && !queue.push(Bytes::new()));
        assert_eq!((queue.room(), queue.len()), (0, (2, 51)));
        queue.next();
        assert!(queue.push(vec![0; 99].into()));
        assert_eq!((queue.room(), queue.len()), (0, (2, 100)));
    }
}
