//! Which of several ways to a node is taken. laps peering, "Selection Algorithm".

use super::info_base::LinkId;
use super::node::NodeId;

/// What a way to a node is worth; the least one is taken. No two ways of one node have the same, so the choice does not
/// depend on the order in which they became known. (A real laps relay takes what is shorter *or* faster, so that there it
/// does.)
///
/// Where every relay chooses like this, each way is longer than the rest of it that begins at the next node. Choices
/// therefore settle, whatever the mesh looks like, and the chosen ways have no loops. That ways of ours come first does not
/// change that: a way with a laps relay in its rest has one itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// No data can be sent to the next node: only control messages are exchanged with it.
    pub no_data: bool,
    /// The next node is about to end, and is not the destination.
    pub leaving: bool,
    /// A laps relay is on the way: it hands no answers on, asks nobody for anything, and is believed without proof. A longer way
    /// over relays of ours alone is better.
    pub laps: bool,
    /// Nodes between this one and the destination. laps peering, "Selection Algorithm", 1.
    pub hops: usize,
    /// Round trip times of all links on the way, that of the first one included, in microseconds. laps peering,
    /// "Selection Algorithm", 2.
    pub sum_srtt_us: u64,
    /// The next node.
    pub peer: NodeId,
    /// The link to it.
    pub link: LinkId,
}

/// The way that is taken, if there is any.
pub fn best<T>(ways: impl IntoIterator<Item = (Rank, T)>) -> Option<(Rank, T)> {
    ways.into_iter().min_by_key(|(rank, _)| *rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn rank(hops: usize, ms: u64, peer: u64, link: u32) -> Rank {
        Rank {
            no_data: false,
            leaving: false,
            laps: false,
            hops,
            sum_srtt_us: ms * 1000,
            peer: NodeId(peer),
            link: LinkId(link),
        }
    }

    /// laps peering, "Node Path": nodes 1:3 and 1:6 of its example.
    #[test]
    fn length_decides_then_time() {
        let take = |ways: &[Rank]| best(ways.iter().map(|rank| (*rank, ()))).map(|(rank, ())| rank);
        assert_eq!(
            take(&[rank(2, 150, 6, 1), rank(1, 75, 2, 2)]),
            Some(rank(1, 75, 2, 2))
        );
        assert_eq!(
            take(&[rank(1, 900, 9, 9), rank(2, 1, 1, 1)]),
            Some(rank(1, 900, 9, 9))
        );
        assert_eq!(
            take(&[rank(2, 90, 3, 1), rank(2, 60, 5, 2)]),
            Some(rank(2, 60, 5, 2))
        );
        assert_eq!(
            take(&[rank(2, 60, 5, 1), rank(2, 60, 3, 2)]),
            Some(rank(2, 60, 3, 2))
        );
        assert_eq!(
            take(&[rank(2, 60, 3, 2), rank(2, 60, 3, 1)]),
            Some(rank(2, 60, 3, 1))
        );
        let laps = Rank {
            laps: true,
            ..rank(0, 1, 2, 1)
        };
        assert_eq!(take(&[laps, rank(3, 90, 3, 2)]), Some(rank(3, 90, 3, 2)));
        assert_eq!(take(&[]), None);
    }

    proptest! {
        #[test]
        fn the_choice_does_not_depend_on_the_order(
            ways in prop::collection::vec((any::<(bool, bool, bool)>(), 0_usize..3, 0_u64..3, 0_u64..3, 0_u32..9), 1..8),
            rotate in any::<prop::sample::Index>(),
        ) {
            let ways: Vec<_> = ways
                .into_iter()
                .map(|((no_data, leaving, laps), hops, ms, peer, link)| {
                    let rank = rank(hops, ms, peer, link);
                    (Rank { no_data, leaving, laps, ..rank }, ())
                })
                .collect();
            let mut turned = ways.clone();
            turned.rotate_left(rotate.index(ways.len()));
            turned.reverse();
            prop_assert_eq!(best(ways), best(turned));
        }
    }
}
