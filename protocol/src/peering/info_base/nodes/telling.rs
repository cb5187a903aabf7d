//! What neighbours are told of nodes. laps peering, "Node Advertisement".

use crate::peering::info_base::links::Told;
use crate::peering::info_base::{InfoBase, Output, Stamp};
use crate::peering::message::Message;
use crate::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use std::sync::Arc;
use std::time::Instant;

impl InfoBase {
    pub(super) fn tell_neighbours(&mut self, now: Instant, node: NodeId) {
        // laps peering, "Stub": it does not take part. "Node Advertisement": a stub is told of to nobody.
        if self.role == NodeType::Stub {
            return;
        }
        let best = self.nodes.nodes.get(&node).and_then(|entry| entry.best.as_ref());
        let best = best.filter(|best| best.way.info.node_type != NodeType::Stub);
        let handed_on = best.map(|best| {
            let link = self.links.get(best.rank.link);
            Arc::new(best.way.info.via(PathItem {
                node: self.node,
                // laps peering, "Node Path": the time of the session on which the info was received.
                srtt_us: link.map_or(0, |link| link.srtt_us),
            }))
        });
        let quiet_until = self.nodes.nodes.get(&node).and_then(|entry| entry.quiet_until);
        let quiet = quiet_until.is_some_and(|until| now < until);
        let leaving = self.leaving;
        let (mut told_any, mut put_off, mut introduce) = (false, false, Vec::new());
        for (id, link) in self.links.for_infos_mut() {
            let wanted = best.zip(handed_on.as_ref()).filter(|(best, info)| {
                // laps peering, "Node Advertisement": not to itself, nor to who is on its path; nor to the one it came
                // from, which laps relays do not put on it. A way that takes no data is for those that send none to us.
                node != link.peer
                    && best.rank.peer != link.peer
                    && !best.way.info.path_contains(link.peer)
                    && info.path_len() <= self.limits.max_path_items
                    && (!best.rank.no_data || !link.sends_data)
                    && !best.rank.leaving
                    && (!leaving || link.kin.is_ours())
            });
            let told = link.told.get(&node);
            let message = match (wanted, told) {
                (None, None) => continue,
                (Some((best, info)), Some(told)) if told.info == *info && told.epoch == best.told_epoch() => {
                    continue;
                }
                (Some(_), Some(_)) if quiet => {
                    // laps peering, "Node Information Advertisement Message": several changes become one.
                    put_off = true;
                    continue;
                }
                (Some((best, info)), _) => {
                    let epoch = best.told_epoch();
                    let told = Told {
                        info: Arc::clone(info),
                        epoch,
                    };
                    let news = link.told.insert(node, told).is_none();
                    if news && link.greeted && !link.kin.is_ours() {
                        // A laps relay may have dropped what the node has with the node; it cannot ask.
                        introduce.push(id);
                    }
                    (Message::NodeInfoAdvertise(NodeInfo::clone(info)), epoch)
                }
                (None, Some(_)) => {
                    let Some(told) = link.told.remove(&node) else {
                        continue;
                    };
                    (
                        Message::NodeInfoWithdraw(Arc::unwrap_or_clone(told.info)),
                        told.epoch,
                    )
                }
            };
            told_any = true;
            self.counters.sent += 1;
            self.out.push_back(Output::Send {
                link: id,
                message: message.0,
                stamp: Stamp::of_life(message.1),
            });
        }
        for link in introduce {
            self.sync.answers.introduce(link, node);
        }
        let Some(entry) = self.nodes.nodes.get_mut(&node) else {
            return;
        };
        if told_any && !quiet {
            entry.quiet_until = now.checked_add(self.settings.node_advert_interval);
        }
        if let Some(at) = entry.quiet_until.filter(|_| put_off) {
            self.nodes.due.insert((at, node));
        }
    }
}
