//! Nodes that hear answers again, or for the first time: for a while nothing that was said to them arrived, as where the
//! control link to a neighbour dies and its links for data do not.

use super::OriginActor;
use super::ascending::has;
use super::track::Told;
use laps_protocol::moqt::message::SubscribeOk;
use laps_protocol::peering::message::{Answer, TrackAnswer};
use laps_protocol::peering::node::NodeId;

impl OriginActor {
    /// Says how things are with each track that a node subscribes to. Some of it may have arrived: then it says nothing new.
    ///
    /// Who hears the same acceptance twice takes its origin for one that has forgotten the subscription, so it is told which
    /// are repeated.
    pub(super) fn say_again(&mut self, to: NodeId) {
        let mut answers = Vec::new();
        for (hash, track) in &self.tracks {
            // Who is given something aside is told with that.
            let Some(node) = track.nodes.get(&to).filter(|_| !track.aside.is_awaited_by(to)) else {
                continue;
            };
            let answer = match node.told {
                Told::Nothing => None,
                Told::Ok => {
                    let mut slots = track.slots.values().filter(|slot| has(&slot.nodes, &to));
                    slots.find_map(|slot| {
                        let ok = slot.accepted.as_ref()?;
                        let largest = slot.spec.largest().or(ok.largest);
                        Some(Answer::Ok(SubscribeOk {
                            largest,
                            ..ok.clone()
                        }))
                    })
                }
                Told::Over => node.farewell.as_deref().cloned(),
            };
            let repeated = node.told == Told::Ok && node.sent;
            let kind = if repeated {
                TrackAnswer::REPEATED
            } else {
                TrackAnswer::KIND
            };
            answers.extend(answer.map(|answer| (kind, *hash, node.request, answer)));
        }
        for (kind, hash, request, answer) in answers {
            self.answer_as(kind, to, hash, request, answer);
        }
    }
}
