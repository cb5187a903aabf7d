//! What readers want of a track: its objects, and how urgently.

use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use std::collections::BTreeMap;

/// How urgent the objects of a track are to whoever wants them: a subscriber priority. The greater is the more urgent, whose
/// number is the lower. MOQT-14 §7.1 [D14-PRIO-2]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency(std::cmp::Reverse<u8>);

impl Urgency {
    /// That of this subscriber priority.
    #[must_use]
    pub const fn of(priority: u8) -> Self {
        Self(std::cmp::Reverse(priority))
    }

    /// The subscriber priority, 0 being the most urgent.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.0.0
    }
}

impl Default for Urgency {
    fn default() -> Self {
        Self::of(DEFAULT_PRIORITY)
    }
}

/// What a reader wants, or several together: the greatest is what one copy for all of them has to be. MOQT-14 §8.3
/// [D14-SUB-15]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// Nothing just now: Forward is 0.
    #[default]
    Nothing,
    /// Objects, as urgent as this.
    Objects(Urgency),
}

impl Wants {
    /// Objects if `forward`, with this subscriber priority.
    #[must_use]
    pub const fn of(forward: bool, priority: u8) -> Self {
        if forward {
            Self::Objects(Urgency::of(priority))
        } else {
            Self::Nothing
        }
    }

    /// Objects are wanted.
    #[must_use]
    pub const fn objects(self) -> bool {
        matches!(self, Self::Objects(_))
    }

    /// The subscriber priority; that in the middle while nothing is wanted.
    #[must_use]
    pub fn priority(self) -> u8 {
        match self {
            Self::Nothing => DEFAULT_PRIORITY,
            Self::Objects(urgency) => urgency.priority(),
        }
    }

    /// As a number, which is never 0.
    pub(super) fn to_bits(self) -> u16 {
        match self {
            Self::Nothing => 1,
            Self::Objects(urgency) => 2 + u16::from(urgency.priority()),
        }
    }

    /// What [`Self::to_bits`] made, if it did.
    pub(super) fn from_bits(bits: u16) -> Option<Self> {
        match bits.checked_sub(1)? {
            0 => Some(Self::Nothing),
            priority => u8::try_from(priority - 1)
                .ok()
                .map(|priority| Self::Objects(Urgency::of(priority))),
        }
    }
}

/// How many readers want what.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Wants, usize>);

impl Tally {
    /// One more wants this.
    pub(super) fn add(&mut self, wants: Wants) {
        *self.0.entry(wants).or_default() += 1;
    }

    /// One of those who want this is gone.
    pub(super) fn remove(&mut self, wants: Wants) {
        if let Some(count) = self.0.get_mut(&wants) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&wants);
            }
        }
    }

    /// The most that any of them wants; none without any.
    pub(super) fn most(&self) -> Option<Wants> {
        self.0.last_key_value().map(|(wants, _)| *wants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_is_the_most_urgent() {
        let ascending = [
            Wants::Nothing,
            Wants::of(true, 255),
            Wants::Objects(Urgency::default()),
            Wants::of(true, 0),
        ];
        assert!(ascending.is_sorted_by(|less, more| less < more));
        assert_eq!(ascending.map(Wants::priority), [128, 255, 128, 0]);
        assert_eq!(Wants::of(false, 3), Wants::Nothing);
        assert_eq!(ascending.map(Wants::objects), [false, true, true, true]);
    }

    #[test]
    fn numbers_come_back() {
        let all = (0..=255).map(|priority| Wants::of(true, priority));
        for wants in all.chain([Wants::Nothing]) {
            assert_ne!(wants.to_bits(), 0);
            assert_eq!(Wants::from_bits(wants.to_bits()), Some(wants));
        }
        assert_eq!(Wants::from_bits(0), None);
        assert_eq!(Wants::from_bits(u16::MAX), None);
    }

    #[test]
    fn the_most_of_those_who_are_left() {
        let mut tally = Tally::default();
        assert_eq!(tally.most(), None);
        let wants = [
            Wants::of(true, 9),
            Wants::Nothing,
            Wants::of(true, 200),
            Wants::of(true, 9),
        ];
        wants.iter().for_each(|wants| tally.add(*wants));
        for (gone, left) in wants.iter().zip([wants[0], wants[0], wants[0]]) {
            tally.remove(*gone);
            assert_eq!(tally.most(), Some(left));
        }
        tally.remove(wants[3]);
        assert_eq!(tally.most(), None);
        // Nobody wants it.
        tally.remove(wants[3]);
    }
}
