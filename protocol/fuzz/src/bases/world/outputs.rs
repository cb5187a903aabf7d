//! What a relay does after an input, and whether it may.

use super::*;

impl World {
    pub(super) fn put(&mut self, index: usize, link: LinkId, payload: Payload) {
        let (peer, mode) = self.relays[index].links[&link];
        assert!(mode.has_control(), "said on a link for data");
        if let Payload::Control(message, _) = &payload {
            self.infos_sent += 1;
            if let Message::NodeInfoAdvertise(info) = message {
                // laps peering, "Node Advertisement".
                let me = self.relays[index].id;
                assert!(info.id != peer && info.id != me && !info.path_contains(peer));
                assert_eq!(info.path.last().map(|item| item.node), Some(me));
                assert!(info.path_len() <= self.limits.max_path_items);
                assert!(
                    info.node_type != NodeType::Stub,
                    "a stub is known to its edge alone"
                );
            }
        }
        if let Some(wire) = self.wires.iter().position(|wire| wire.link == Some(link)) {
            let to = usize::from(ENDS[wire][0] == index);
            self.wires[wire].queues[to].push_back(payload);
        }
    }

    pub(in crate::bases) fn drain(&mut self, index: usize) {
        let mut count = 0;
        while let Some(output) = self.relays[index].base.poll_output() {
            count += 1;
            assert!(count < 5000, "one input, and no end of what follows");
            let honest = self.honest;
            let view = &mut self.relays[index].view;
            match output {
                Output::Send { link, message, stamp } => {
                    self.put(index, link, Payload::Control(message, stamp))
                }
                Output::SendOwn { link, message } => self.put(index, link, Payload::Own(message)),
                Output::ToNode { node, message } => {
                    self.pulls_sent += 1;
                    self.envelope(index, node, message, 0);
                }
                Output::Fib(fib) => {
                    assert!(fib != view.fib, "a table that did not change is not given out");
                    view.fib = fib;
                }
                Output::NodeReachable {
                    node,
                    node_type,
                    ours,
                } => {
                    let before = view.reachable.insert(node, node_type);
                    let changed = view.ours.insert(node, ours) != Some(ours);
                    assert!(
                        changed || before.is_none_or(|before| before != node_type),
                        "told twice"
                    );
                }
                Output::NodeUnreachable { node } => {
                    view.ours.remove(&node);
                    assert!(view.reachable.remove(&node).is_some());
                }
                Output::RemotePublish { source, what } => {
                    let told = view.publishes.entry((source, what)).or_default();
                    *told += 1;
                    assert!(*told == 1 || !honest, "told twice");
                }
                Output::RemotePublishGone { source, what } => {
                    let key = (source, what);
                    let told = view.publishes.get_mut(&key);
                    let told = told.unwrap_or_else(|| panic!("{key:?} is gone, but was never told"));
                    *told -= 1;
                    if *told == 0 {
                        view.publishes.remove(&key);
                    }
                }
                Output::RemoteSubscribe { source, track, data } => {
                    view.subscribes.insert((source, track.full), data);
                }
                Output::RemoteSubscribeGone { source, track } => {
                    let gone = view.subscribes.remove(&(source, track));
                    assert!(gone.is_some() || !honest, "gone, but never told");
                }
                Output::Refused { link, reason } => {
                    assert!(!honest, "refused: {reason}");
                    self.relays[index].links.remove(&link);
                    self.hostile.remove(&link);
                }
                Output::Report(report) => assert!(!honest, "{report:?}"),
                other => panic!("{other:?}"),
            }
        }
        self.tables_agree(index);
    }

    /// The forwarding table is what was told of it, and leads over links that are up and take data.
    fn tables_agree(&self, index: usize) {
        let Relay {
            base, view, links, ..
        } = &self.relays[index];
        assert!(view.fib == *base.fib(), "the table was not told");
        assert_eq!(view.fib.len(), view.fib.routes().count());
        for (node, next) in view.fib.routes() {
            assert!(
                view.reachable.contains_key(&node),
                "a way to {node:?}, which is not there"
            );
            let to = view.fib.links(node);
            assert!(!to.is_empty() && to.is_sorted_by(|a, b| a < b));
            for link in to {
                let (peer, mode) = links[link];
                assert!(peer == next && mode.sends_data(), "data for {node:?} on {link:?}");
            }
            let track = FullNameHash::new(node.0 * 77).unwrap();
            assert!(
                laps_protocol::peering::fib::share(track.get(), to.iter().copied())
                    .is_some_and(|link| to.contains(&link))
            );
        }
        assert_eq!(base.sizes().nodes, view.reachable.len());
        assert_eq!(base.sizes().links, links.len());
        let sizes = base.sizes();
        assert!(sizes.links <= self.limits.max_links);
        // Neighbours are known whatever the bound.
        assert!(sizes.nodes <= self.limits.max_nodes + sizes.links);
        assert!(
            sizes.publishes <= self.limits.max_publishes && sizes.subscribes <= self.limits.max_subscribes
        );
        assert!(sizes.own <= self.limits.max_own);
    }
}
