//! How often something happened.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often something happened since its owner began. Sums of several are made with `+=`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each counter with its name.
            #[must_use]
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }
    };
}

counters! {
    /// Sets told to peers, new or changed.
    advertised,
    /// Sets withdrawn from peers.
    withdrawn,
    /// Sets that peers told, new or changed.
    sets_taken,
    /// Sets of peers that were refused.
    sets_refused,
    /// Sets or withdrawals of links that are not there, and withdrawals of sets that are not.
    sets_unknown,
    /// Nodes that lost the last link that leads to them, or never had one.
    nodes_stranded,
    /// Those of them to which links lead, but none that does not go back to where the data came from.
    loops_cut,
    /// Nodes for which there was no room in a set, or for a set, on the link to them.
    nodes_crowded_out,
    /// Times that new streams took another link to a node while the one before was alive.
    nodes_moved,
    /// Times that a node was on a link that died.
    nodes_lost,
    /// Streams of peers that began.
    streams,
    /// Streams that did not begin as they have to.
    bad_starts,
    /// Streams that were reset before they said what they are. laps relays do so with each stream that they did not
    /// use.
    empty_streams,
    /// Streams beyond the bound of a link.
    streams_refused,
    /// Streams and datagrams of another track than the one that their id stands for.
    foreign,
    /// Streams and datagrams of a track that has too many ids on one link.
    crowded_tracks,
    /// Streams and datagrams that led nowhere.
    nowhere,
    /// Streams and datagrams that waited for their set.
    parked,
    /// Those of them that were given up for lack of room.
    parked_evicted,
    /// Those of them that were given up because their set did not come in time.
    parked_expired,
    /// Streams begun towards targets.
    lanes,
    /// Those of them that were ended as their source was.
    lanes_finished,
    /// Those of them that were reset as their source was.
    lanes_reset,
    /// Those of them that were reset because their target took too little.
    lanes_overrun,
    /// Those of them that were reset because what waited was too old.
    lanes_expired,
    /// Those of them that their target did not want any more.
    lanes_stopped,
    /// Those of them whose link died.
    lanes_lost,
    /// Bytes of payload that came in streams.
    bytes_in,
    /// Bytes of payload given to targets in streams.
    bytes_out,
    /// Datagrams of peers.
    datagrams,
    /// Datagrams given to targets.
    datagrams_out,
    /// Datagrams that were too large for the link to a target.
    datagrams_too_large,
    /// Datagrams without a whole header.
    bad_datagrams,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_made_of_each_counter() {
        let mut sum = Counters::default();
        let mut one = Counters::default();
        (one.advertised, one.bad_datagrams) = (2, u64::MAX);
        sum += one;
        sum += one;
        assert_eq!((sum.advertised, sum.bad_datagrams), (4, u64::MAX));
        assert_eq!(sum.each().iter().filter(|(_, n)| *n > 0).count(), 2);
        assert_eq!(sum.each().first(), Some(&("advertised", 4)));
    }
}
