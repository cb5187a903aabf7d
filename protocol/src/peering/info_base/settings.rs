//! What an operator sets, what is bounded, and what is counted.

use super::ledger::Room;
use std::time::Duration;

/// Times of the information bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// A changed way to a node is told at most once in this time. laps peering, "Node Information Advertisement Message".
    /// A node that comes back for the third time in it is not there before it is over.
    pub node_advert_interval: Duration,
    /// How long it is kept from the mesh that nobody subscribes to a track any more. laps peering,
    /// "Unsubscribe/Subscribe Misuse".
    pub unsubscribe_hold: Duration,
    /// How long the infos of a node that cannot be reached are kept: what takes another way is back in that time.
    pub unreachable_hold: Duration,
    /// How long it may take until news has reached every relay: withdrawn infos are remembered for so long, and a Via
    /// remembers what it handed on.
    pub convergence_window: Duration,
    /// Two lives of a node that are told of side by side for this time are two nodes with one id. Longer than it takes until a
    /// dead link is noticed, wherever it is, and all have heard of it.
    pub twins_hold: Duration,
    /// How often a relay tells of its infos as a whole, so that whoever missed one notices. Between relays of ours.
    pub summary_interval: Duration,
    /// After this time without an answer a relay is asked for its infos again.
    pub pull_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_advert_interval: Duration::from_secs(2),
            unsubscribe_hold: Duration::from_secs(5),
            unreachable_hold: Duration::from_secs(5),
            convergence_window: Duration::from_secs(30),
            twins_hold: Duration::from_secs(60),
            summary_interval: Duration::from_secs(30),
            pull_retry: Duration::from_secs(2),
        }
    }
}

/// Bounds on what is kept; what is beyond one is refused, counted, and reported once for each link. A node that is beyond one
/// gets the place of another one where more lie behind the same relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Links that are up.
    pub max_links: usize,
    /// Nodes in all.
    pub max_nodes: usize,
    /// Nodes that one link may tell of.
    pub max_nodes_per_link: usize,
    /// Nodes on a path.
    pub max_path_items: usize,
    /// Round trip times above this count as this: real relays send uninitialised memory now and then.
    pub max_srtt_us: u64,
    /// Subscribe infos in all, withdrawn ones that are remembered included.
    pub max_subscribes: usize,
    /// Publish infos in all, withdrawn ones that are remembered included.
    pub max_publishes: usize,
    /// Subscribe infos of one node, and publish infos likewise, withdrawn ones that are remembered included: as many as a
    /// node can have, so that those who say more leave others their room.
    pub max_infos_of_node: usize,
    /// Bytes of subscribe infos in all, and of publish infos likewise, as nodes say them. What several nodes say alike
    /// counts for each of them.
    pub max_info_bytes: usize,
    /// The same of one node. Of what this relay and its stubs have it is shared as [`Self::max_own`] is.
    pub max_info_bytes_of_node: usize,
    /// What a Via remembers of infos that it handed on.
    pub max_seen: usize,
    /// Publications and subscriptions of this relay and its stubs, withdrawn ones that are remembered included. One stub may
    /// have an eighth, and with all stubs together a quarter is left to local users.
    pub max_own: usize,
    /// Prefixes that one stub watches.
    pub max_watches: usize,
    /// What waits for one link that has no room. What is told anew when a link comes up waits for nobody's room.
    pub max_held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_links: 4096,
            max_nodes: 50_000,
            max_nodes_per_link: 50_000,
            max_path_items: 64,
            max_srtt_us: 10_000_000,
            max_subscribes: 4_000_000,
            max_publishes: 4_000_000,
            max_infos_of_node: 1_000_000,
            // 256 bytes for each info; a subscription to a track with an ordinary name takes about half of that.
            max_info_bytes: 1 << 30,
            max_info_bytes_of_node: 1 << 28,
            max_seen: 1_000_000,
            max_own: 1_000_000,
            max_watches: 1024,
            max_held: 250_000,
        }
    }
}

impl Limits {
    /// For infos of one kind, of which so many are kept.
    pub(super) const fn room(&self, records: usize) -> Room {
        Room {
            records,
            records_of_one: self.max_infos_of_node,
            bytes: self.max_info_bytes,
            bytes_of_one: self.max_info_bytes_of_node,
        }
    }

    /// What one stub may have of all that there is.
    pub(super) fn of_one_stub(all: usize) -> usize {
        (all / 8).max(1)
    }

    /// What all stubs may have, what local users have included.
    pub(super) const fn of_stubs(all: usize) -> usize {
        all - all / 4
    }
}

/// What happened, since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages taken from links.
    pub received: u64,
    /// Messages given to links.
    pub sent: u64,
    /// Infos and nodes that said what was known.
    pub duplicates: u64,
    /// Infos that were older than what was known.
    pub old: u64,
    /// What laps relays said of nodes of ours that say it themselves.
    pub overruled: u64,
    /// Infos and nodes that came back to the relay that they tell of, and messages that came back to who said them.
    pub echoes: u64,
    /// Ways to a node that lead through this one.
    pub loops: u64,
    /// Nodes with a path that the link they came on contradicts, infos whose hashes contradict one another, and messages in
    /// the name of who cannot have said them.
    pub forged: u64,
    /// What was refused because of one of the [`Limits`].
    pub over_limit: u64,
    /// Nodes that were taken out because there were too many, for one of a smaller crowd.
    pub crowded_out: u64,
    /// Infos that were refused because their name has the hash of another name.
    pub collisions: u64,
    /// Messages that the role of a relay, or the kind of its link, does not allow.
    pub out_of_place: u64,
    /// Links that were refused.
    pub refused_links: u64,
    /// Infos that went with their node.
    pub purged: u64,
    /// Unsubscribes that were never told, because the subscriber came back.
    pub held_back: u64,
    /// Relays that were asked for their infos.
    pub pulls: u64,
    /// Infos that were dropped because their node no longer has them.
    pub ghosts: u64,
}
