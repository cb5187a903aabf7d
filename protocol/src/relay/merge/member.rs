//! One stream among several that bring a subgroup.

use super::PublisherKey;
use crate::moqt::location::ObjectId;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Append, CHUNK_OVERHEAD, CopyHint, Malformed, StreamKey, SubgroupInfo};
use std::collections::VecDeque;
use std::time::Instant;

/// A stream that shares its subgroup with others.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) stream: StreamKey,
    pub(super) from: PublisherKey,
    pub(super) info: SubgroupInfo,
    pub(super) arrived: Arrived,
    /// The object that it is in, of those that do not wait.
    pub(super) at: Option<At>,
    /// The last object of a run that it has brought too: what it brings next follows on that.
    pub(super) link: Option<ObjectId>,
    /// What waits, beginning with an object that cannot be taken in yet.
    pub(super) queue: VecDeque<Append>,
    /// What the queue counts, in bytes.
    pub(super) queued: usize,
    /// Since when it waits.
    pub(super) since: Option<Instant>,
}

impl Member {
    pub(super) const fn new(stream: StreamKey, from: PublisherKey, info: SubgroupInfo) -> Self {
        Self {
            stream,
            from,
            info,
            arrived: Arrived {
                last: None,
                remaining: Some(0),
            },
            at: None,
            link: None,
            queue: VecDeque::new(),
            queued: 0,
            since: None,
        }
    }

    /// Its key in the log is open from here on.
    pub(super) const fn opening(&self) -> Append {
        Append::SubgroupOpened {
            stream: self.stream,
            group: self.info.group,
            subgroup: self.info.subgroup,
            priority: self.info.priority,
            has_extensions: self.info.has_extensions,
            end_of_group: self.info.end_of_group,
        }
    }

    /// The object that waits, if one does.
    pub(super) fn next(&self) -> Option<&ObjectHeader> {
        match self.queue.front() {
            Some(Append::ObjectStarted { header, .. }) => Some(header),
            _ => None,
        }
    }
}

/// What of a stream came here, whether or not it waits: what it takes to see that a stream breaks its own rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// The object that began last.
    pub(super) last: Option<ObjectId>,
    /// Bytes of it that are still to come; none when that is not known.
    pub(super) remaining: Option<u64>,
}

impl Arrived {
    /// Takes note of what comes next. MOQT-14 §2.5 [D14-MAL-2], §10.2.1.1 [D14-DATA-7].
    pub(super) fn check(&mut self, chunk: &Append) -> Result<(), Malformed> {
        match chunk {
            Append::ObjectStarted { header, .. } => {
                if header.status != ObjectStatus::Normal && header.payload_len > 0 {
                    return Err(Malformed::PayloadWithStatus);
                }
                if self.remaining.is_some_and(|remaining| remaining > 0) {
                    return Err(Malformed::ObjectUnfinished);
                }
                if self.last.is_some_and(|last| header.id <= last) {
                    return Err(Malformed::NotAscending);
                }
                self.last = Some(header.id);
                self.remaining = Some(header.payload_len);
            }
            Append::Payload { bytes, .. } => {
                if let Some(remaining) = &mut self.remaining {
                    let rest = remaining.checked_sub(bytes.len() as u64);
                    *remaining = rest.ok_or(Malformed::PayloadTooLong)?;
                }
            }
            Append::SubgroupOpened { .. }
            | Append::Missing { .. }
            | Append::SubgroupClosed { .. }
            | Append::Datagram(_) => {}
        }
        Ok(())
    }
}

/// A place inside an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) id: ObjectId,
    /// Bytes of its payload that are done with.
    pub(super) offset: u64,
    /// All of them are known to be those that readers got, so that the next ones may follow on them.
    pub(super) verified: bool,
    pub(super) hint: CopyHint,
}

impl At {
    /// At the first byte.
    pub(super) fn start(id: ObjectId) -> Self {
        Self {
            id,
            offset: 0,
            verified: true,
            hint: CopyHint::default(),
        }
    }
}

/// What a chunk counts while it waits: its bytes, and twice what one costs in a log, because headers are larger.
pub(super) fn cost(chunk: &Append) -> usize {
    let bytes = match chunk {
        Append::ObjectStarted { header, .. } => header.extensions.len(),
        Append::Payload { bytes, .. } => bytes.len(),
        Append::SubgroupOpened { .. }
        | Append::Missing { .. }
        | Append::SubgroupClosed { .. }
        | Append::Datagram(_) => 0,
    };
    bytes + 2 * CHUNK_OVERHEAD
}
