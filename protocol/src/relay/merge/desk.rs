//! What the streams of a subgroup work with: the log, who listens, and who is to blame.

use super::authors::Authors;
use super::{MergeLimits, MergeStats, PublisherKey};
use crate::moqt::error::ResetCode;
use crate::moqt::location::GroupId;
use crate::relay::track_log::{Append, Appended, Malformed, StreamEnd, StreamKey, TrackLog};
use std::time::Instant;

/// No stream of any log. A verdict that concerns no stream of the log is told with it, so that a replica does not end
/// a stream that goes on.
pub(super) const NOBODY: StreamKey = StreamKey::MAX;

/// For one call.
pub(super) struct Desk<'a> {
    pub(super) log: &'a mut TrackLog,
    pub(super) now: Instant,
    /// Whose chunk is being taken in; none when time has passed.
    pub(super) from: Option<PublisherKey>,
    pub(super) told: &'a mut dyn FnMut(Appended, Append),
    pub(super) authors: &'a Authors,
    pub(super) limits: MergeLimits,
    pub(super) stats: &'a mut MergeStats,
    pub(super) blamed: &'a mut Vec<(PublisherKey, Malformed)>,
    /// Streams that are over because they broke a rule.
    pub(super) ended: Vec<StreamKey>,
}

/// Why a stream is over.
pub(super) enum Fault {
    /// It broke this rule, and nobody has been told.
    Broke(Malformed),
    /// The log said so, and that was told.
    Told,
}

impl From<Malformed> for Fault {
    fn from(why: Malformed) -> Self {
        Self::Broke(why)
    }
}

impl Desk<'_> {
    /// Appends a chunk that `by` brought, and tells.
    pub(super) fn append(
        &mut self,
        by: PublisherKey,
        group: GroupId,
        chunk: Append,
    ) -> Result<Appended, Fault> {
        let appended = self.log.append(self.now, chunk.clone());
        let Appended::Malformed(why) = appended else {
            (self.told)(appended, chunk);
            return Ok(appended);
        };
        let why = self.judge(by, group, why);
        if self.concerns(by, why) {
            (self.told)(Appended::Malformed(why), chunk);
        } else {
            // To who is in the middle of the stream that the log has ended, it is a reset.
            (self.told)(
                Appended::Closed(StreamEnd::Reset(ResetCode::InternalError)),
                chunk,
            );
            self.blamed.push((by, why));
        }
        Err(Fault::Told)
    }

    /// Appends what opens or closes a stream. When the log finds fault with that, it has been said.
    pub(super) fn tell(&mut self, by: PublisherKey, group: GroupId, chunk: Append) {
        drop(self.append(by, group, chunk));
    }

    /// Says that `by` broke a rule, with something that did not get to the log.
    pub(super) fn blame(&mut self, by: PublisherKey, group: GroupId, why: Malformed) {
        let why = self.judge(by, group, why);
        if self.concerns(by, why) {
            let end = StreamEnd::Reset(ResetCode::InternalError);
            (self.told)(
                Appended::Malformed(why),
                Append::SubgroupClosed { stream: NOBODY, end },
            );
        } else {
            self.blamed.push((by, why));
        }
    }

    /// A fault of one publisher is told when it brings something, so that it is laid to nobody else.
    fn concerns(&self, by: PublisherKey, why: Malformed) -> bool {
        why.is_disagreement() || self.from == Some(by)
    }

    fn judge(&mut self, by: PublisherKey, group: GroupId, why: Malformed) -> Malformed {
        let why = self.authors.judge(by, Some(group), why);
        self.stats.disagreements += u64::from(why.is_disagreement());
        why
    }
}
