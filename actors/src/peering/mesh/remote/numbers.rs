//! The numbers of what this relay asks other nodes for.

use laps_protocol::moqt::message::RequestId;
use std::sync::atomic::{AtomicU64, Ordering};

static LAST: AtomicU64 = AtomicU64::new(0);

/// A number that no request of this relay has had, in this life or an earlier one. `epoch` is that of this life: such as
/// microseconds, so that lives do not run into each other.
pub(super) fn next(epoch: u64) -> RequestId {
    LAST.fetch_max(epoch, Ordering::Relaxed);
    RequestId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision 0029: an answer to an earlier life is not one to this.
    #[test]
    fn numbers_only_grow() {
        let first = next(1_000);
        assert!(first.0 > 1_000);
        assert!(next(1_000) > first);
        assert!(next(first.0 + 500).0 > first.0 + 500);
        assert!(next(1_000).0 > first.0 + 500);
    }
}
