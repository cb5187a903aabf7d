//! How often something happened to the data of links.

use laps_protocol::peering::forward;

/// How often something happened since its owner began. Sums of several are made with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What the machines of links and sets count.
    pub forward: forward::Counters,
    /// Streams that were reset on a link for which too much waited, of all streams together.
    pub lanes_crowded: u64,
    /// Datagrams that the stack took.
    pub datagrams_sent: u64,
    /// Datagrams that were too large for the path of a link, or that its peer takes none of.
    pub datagrams_too_large: u64,
    /// Datagrams for which there was no place among those that wait on a link.
    pub datagrams_crowded: u64,
    /// Datagrams that were too old when their set came.
    pub datagrams_expired: u64,
    /// Datagrams that MOQT could make nothing of.
    pub datagrams_unread: u64,
}

impl Counts {
    /// Each counter with its name.
    #[must_use]
    pub fn each(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.forward.each();
        all.extend([
            ("lanes_crowded", self.lanes_crowded),
            ("datagrams_sent", self.datagrams_sent),
            ("datagrams_too_large", self.datagrams_too_large),
            ("datagrams_crowded_out", self.datagrams_crowded),
            ("datagrams_too_old", self.datagrams_expired),
            ("datagrams_unread", self.datagrams_unread),
        ]);
        all
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            forward,
            lanes_crowded,
            datagrams_sent,
            datagrams_too_large,
            datagrams_crowded,
            datagrams_expired,
            datagrams_unread,
        } = other;
        self.forward += forward;
        for (sum, more) in [
            (&mut self.lanes_crowded, lanes_crowded),
            (&mut self.datagrams_sent, datagrams_sent),
            (&mut self.datagrams_too_large, datagrams_too_large),
            (&mut self.datagrams_crowded, datagrams_crowded),
            (&mut self.datagrams_expired, datagrams_expired),
            (&mut self.datagrams_unread, datagrams_unread),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
