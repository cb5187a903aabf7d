//! How many messages of each kind went over a link.

use crate::peering::message::MessageKind;

/// Counters of one direction, for metrics and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_kind: [u64; MessageKind::ALL.len()],
    unknown: u64,
}

impl Counts {
    /// Messages of this kind.
    #[must_use]
    pub fn of(&self, kind: MessageKind) -> u64 {
        self.by_kind.get(kind as usize).copied().unwrap_or_default()
    }

    /// Messages of types that this build does not know.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind.iter().sum::<u64>() + self.unknown
    }

    pub(super) fn add(&mut self, kind: MessageKind) {
        if let Some(count) = self.by_kind.get_mut(kind as usize) {
            *count += 1;
        }
    }

    pub(super) const fn add_unknown(&mut self) {
        self.unknown += 1;
    }
}
