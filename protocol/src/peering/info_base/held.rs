//! What links are to be told and have no room for yet.
//!
//! A neighbour may be slower than those who tell this relay of themselves. What waits for it waits in order, and of what is
//! said of one thing only the newest: a neighbour that takes its time hears less, and in the end the same.

use super::infos::source_of;
use super::message::{InfoKey, OwnMessage};
use super::put_off::key_of;
use super::{LinkId, Output};
use crate::peering::message::Message;
use crate::peering::node::NodeId;
use std::collections::BTreeMap;

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Node(NodeId),
    Info(NodeId, InfoKey),
    Whole(NodeId),
}

/// Where in a queue it is said of something that it has gone, and where that it is there. What is both came back.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    gone: Option<u64>,
    is: Option<u64>,
}

/// All links for which something waits.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<LinkId, Queue>);

/// What waits for one link. Never empty.
#[derive(Debug, Default)]
struct Queue {
    /// By when it came.
    waiting: BTreeMap<u64, Output>,
    came: u64,
    said: BTreeMap<About, Said>,
}

impl Held {
    /// Whether something waits for a link: what follows waits behind it.
    pub(super) fn waits_for(&self, link: LinkId) -> bool {
        self.0.contains_key(&link)
    }

    /// Has this wait for its link. False when that is more than may wait.
    pub(super) fn push(&mut self, link: LinkId, output: Output, most: usize) -> bool {
        let queue = self.0.entry(link).or_default();
        queue.push(output);
        queue.waiting.len() <= most
    }

    /// The next for a link that has room.
    pub(super) fn next(&mut self, has_room: impl Fn(LinkId) -> bool) -> Option<Output> {
        let link = self.0.keys().copied().find(|link| has_room(*link))?;
        let queue = self.0.get_mut(&link)?;
        let output = queue.pop();
        if queue.waiting.is_empty() {
            self.0.remove(&link);
        }
        output
    }

    /// Nobody waits for it any more.
    pub(super) fn link_down(&mut self, link: LinkId) {
        self.0.remove(&link);
    }

    /// How much waits, for all links together.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|queue| queue.waiting.len()).sum()
    }
}

impl Queue {
    fn push(&mut self, output: Output) {
        let Some((about, is)) = about(&output) else {
            self.append(output);
            return;
        };
        let mut said = self.said.get(&about).copied().unwrap_or_default();
        if !is && let Some(at) = said.is.take() {
            self.waiting.remove(&at);
            self.forget_infos(about, at);
        }
        let before = if is { said.is } else { said.gone };
        let at = match (before, about) {
            // It says what all that came before it makes together.
            (Some(at), About::Whole(_)) => {
                self.waiting.remove(&at);
                self.append(output)
            }
            (Some(at), _) => {
                self.waiting.insert(at, output);
                at
            }
            (None, _) => self.append(output),
        };
        *(if is { &mut said.is } else { &mut said.gone }) = Some(at);
        self.said.insert(about, said);
    }

    fn append(&mut self, output: Output) -> u64 {
        self.came += 1;
        self.waiting.insert(self.came, output);
        self.came
    }

    /// The neighbour will not hear that a node was there, from this place on: what the node had then would be nobody's. When
    /// it comes back, it is asked for all that it has.
    fn forget_infos(&mut self, about: About, from: u64) {
        let About::Node(node) = about else { return };
        let infos = About::Info(node, InfoKey::FIRST)..=About::Info(node, InfoKey::LAST);
        let known: Vec<_> = self
            .said
            .range(infos)
            .map(|(about, said)| (*about, *said))
            .collect();
        for (about, said) in known {
            let [gone, is] = [said.gone, said.is].map(|at| at.filter(|at| *at < from));
            for at in [said.gone, said.is].into_iter().flatten().filter(|at| *at > from) {
                self.waiting.remove(&at);
            }
            self.note(about, Said { gone, is });
        }
    }

    fn note(&mut self, about: About, said: Said) {
        if said.gone.is_none() && said.is.is_none() {
            self.said.remove(&about);
        } else {
            self.said.insert(about, said);
        }
    }

    fn pop(&mut self) -> Option<Output> {
        let (at, output) = self.waiting.pop_first()?;
        if let Some((about, _)) = about(&output)
            && let Some(said) = self.said.get(&about).copied()
        {
            let [gone, is] = [said.gone, said.is].map(|place| place.filter(|place| *place != at));
            self.note(about, Said { gone, is });
        }
        Some(output)
    }
}

/// What a message is about, and whether it says that it is there; none when each one counts.
fn about(output: &Output) -> Option<(About, bool)> {
    if let Output::SendOwn {
        message: OwnMessage::Summary { source, .. },
        ..
    } = output
    {
        return Some((About::Whole(*source), true));
    }
    let Output::Send { message, .. } = output else {
        return None;
    };
    if let Message::NodeInfoAdvertise(info) = message {
        return Some((About::Node(info.id), true));
    }
    if let Message::NodeInfoWithdraw(info) = message {
        return Some((About::Node(info.id), false));
    }
    let is = matches!(
        message,
        Message::SubscribeInfoAdvertise(_) | Message::PublishInfoAdvertise(_)
    );
    Some((About::Info(source_of(message)?, key_of(message)?), is))
}
