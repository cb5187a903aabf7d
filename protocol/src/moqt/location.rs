//! Where an object stands in its track.

use std::fmt;

/// Number of a group in its track. MOQT-14 §2.3.
pub type GroupId = u64;
/// Number of a subgroup in its group. MOQT-14 §2.2.
pub type SubgroupId = u64;
/// Number of an object in its group. MOQT-14 §2.1.
pub type ObjectId = u64;

/// The place of an object in a track; ordered by group, then by object.
///
/// MOQT-14 §1.4.1 [D14-ENC-2]: the derived order compares the fields in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Group of the object.
    pub group: GroupId,
    /// Object within the group.
    pub object: ObjectId,
}

impl Location {
    /// The first place of every track.
    pub const ZERO: Self = Self { group: 0, object: 0 };

    /// The place `{group, object}`.
    #[must_use]
    pub const fn new(group: GroupId, object: ObjectId) -> Self {
        Self { group, object }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-ENC-2
    #[test]
    fn the_group_counts_before_the_object() {
        let rising =
            [(0, 0), (0, 1), (0, u64::MAX), (1, 0), (1, 7), (2, 3)].map(|(g, o)| Location::new(g, o));
        for (at, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(a.cmp(b), at.cmp(&other), "{a} {b}");
            }
        }
    }
}
