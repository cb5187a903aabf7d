//! Subscribers who want a new group, made into as few requests to the publisher as serve them all.

use crate::moqt::location::{GroupId, Location};

/// A request that the publisher has, made when the track was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// The largest group then; none when there was no object.
    largest: Option<GroupId>,
    /// The publisher has not said yet where the track stands for it.
    unanswered: bool,
}

/// What of the wishes for a new group of one track goes upstream.
///
/// That a subscriber sends the parameter is its request, whatever the value: laps' clients send 1 for "please". One
/// request is outstanding at a time, until the largest group increases; who asks meanwhile is served by the same new
/// group, since it has not begun here. MOQT-18 NEW_GROUP_REQUEST, which draft 14 does not know (decision 0011).
#[derive(Clone, Copy, Debug, Default)]
pub struct NewGroup {
    wanted: bool,
    asked: Option<Asked>,
}

impl NewGroup {
    /// A subscriber asks.
    pub const fn want(&mut self) {
        if self.asked.is_none() {
            self.wanted = true;
        }
    }

    /// The value for a message that can go upstream now, when one has to; it counts as sent. `largest` is the largest
    /// place of the track.
    ///
    /// It is above the largest group known, so that it is a request for whoever reads presence and for whoever
    /// compares, and never 0, which the former could take for "no".
    pub fn take(&mut self, largest: Option<Location>) -> Option<u64> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let largest = largest.map(|largest| largest.group);
        self.asked = Some(Asked {
            largest,
            unanswered: false,
        });
        // MOQT-14 §1.4.1: no value above 2^62-1 can be written.
        Some(largest.map_or(1, |group| group.saturating_add(1).min(MAX_VALUE)))
    }

    /// As [`Self::take`], for the message that subscribes: where the track stands for that publisher is known with
    /// its answer.
    pub fn take_to_subscribe(&mut self, largest: Option<Location>) -> Option<u64> {
        let value = self.take(largest)?;
        self.asked.as_mut()?.unanswered = true;
        Some(value)
    }

    /// The publisher accepted the subscription: what it had by then is no new group.
    pub fn subscribed(&mut self, largest: Option<Location>) {
        if let Some(asked) = &mut self.asked
            && std::mem::take(&mut asked.unanswered)
        {
            asked.largest = asked.largest.max(largest.map(|largest| largest.group));
        }
    }

    /// The track has come this far.
    pub fn advanced(&mut self, largest: Option<Location>) {
        let largest = largest.map(|largest| largest.group);
        if self
            .asked
            .is_some_and(|asked| !asked.unanswered && largest > asked.largest)
        {
            self.asked = None;
        }
    }

    /// A request waits for an increase of the largest group.
    #[must_use]
    pub const fn is_outstanding(&self) -> bool {
        self.asked.is_some()
    }

    /// The publisher is told to send nothing: a group that it begins meanwhile is not seen here, and no answer.
    pub const fn paused(&mut self) {
        self.asked = None;
    }

    /// The publisher is gone: what it was asked for, the next one is asked for.
    pub const fn lost(&mut self) {
        self.wanted |= self.asked.take().is_some();
    }
}

/// The largest number that fits into a variable-length integer.
const MAX_VALUE: u64 = crate::wire::varint::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(group: u64) -> Option<Location> {
        Some(Location::new(group, 3))
    }

    #[test]
    fn one_request_is_outstanding_until_the_largest_group_increases() {
        let mut new_group = NewGroup::default();
        assert_eq!(new_group.take(at(5)), None);
        new_group.want();
        assert_eq!(new_group.take(at(5)), Some(6));
        new_group.want();
        assert_eq!(new_group.take(at(5)), None);
        // More of the same group is no new group.
        new_group.advanced(Some(Location::new(5, 99)));
        new_group.want();
        assert_eq!(new_group.take(at(5)), None);
        new_group.advanced(at(9));
        assert_eq!(new_group.take(at(9)), None);
        new_group.want();
        assert_eq!(new_group.take(at(9)), Some(10));
    }

    #[test]
    fn what_the_publisher_had_when_it_was_subscribed_is_no_new_group() {
        let mut new_group = NewGroup::default();
        new_group.want();
        assert_eq!(new_group.take_to_subscribe(None), Some(1));
        new_group.subscribed(at(7));
        new_group.advanced(at(7));
        assert!(new_group.is_outstanding());
        new_group.advanced(at(8));
        assert!(!new_group.is_outstanding());
    }

    #[test]
    fn the_next_publisher_is_asked_for_what_the_last_one_did_not_give() {
        let mut new_group = NewGroup::default();
        new_group.want();
        new_group.take(at(2));
        new_group.lost();
        assert_eq!(new_group.take_to_subscribe(at(2)), Some(3));
        new_group.subscribed(at(2));
        new_group.advanced(at(3));
        new_group.lost();
        assert_eq!(new_group.take(at(3)), None);
    }

    #[test]
    fn a_request_does_not_outlive_a_pause() {
        let mut new_group = NewGroup::default();
        new_group.want();
        new_group.take(at(2));
        new_group.paused();
        assert_eq!(new_group.take(at(2)), None);
        new_group.want();
        assert_eq!(new_group.take(at(2)), Some(3));
    }

    #[test]
    fn the_largest_group_there_can_be_is_no_overflow() {
        let mut new_group = NewGroup::default();
        new_group.want();
        assert_eq!(new_group.take(at(u64::MAX)), Some(MAX_VALUE));
    }

    proptest! {
        /// Whoever asks has a new group after every request that was sent, and there is never more than one request
        /// for each group.
        #[test]
        fn who_asks_gets_a_group(steps in prop::collection::vec(0_u8..3, 0..80)) {
            let mut new_group = NewGroup::default();
            let (mut largest, mut waiting, mut sent_in) = (0_u64, 0_u32, Vec::new());
            for step in steps {
                match step {
                    0 => {
                        new_group.want();
                        waiting += 1;
                    }
                    1 => {
                        largest += 1;
                        new_group.advanced(at(largest));
                        waiting = 0;
                    }
                    _ => {}
                }
                if let Some(value) = new_group.take(at(largest)) {
                    prop_assert_eq!(value, largest + 1);
                    sent_in.push(largest);
                }
                prop_assert!(waiting == 0 || new_group.is_outstanding());
            }
            prop_assert!(sent_in.is_sorted_by(|a, b| a < b));
        }
    }
}
