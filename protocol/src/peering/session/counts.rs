//! How many messages of each kind went over a link.

use crate::peering::message::MessageKind;
use std::fmt;

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

/// For the log: the kinds that there were, each with its number.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = MessageKind::ALL.iter().map(|kind| (kind.name(), self.of(*kind)));
        let counts = counts.chain([("unknown", self.unknown)]);
        for (at, (name, count)) in counts.filter(|(_, count)| *count > 0).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {count}")?;
        }
        Ok(())
    }
}
