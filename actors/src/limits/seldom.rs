//! How often an operator hears of what a peer can bring about as often as it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The least time between two warnings.
const EVERY_MS: u64 = 1000;

/// Says of each thing that happens whether it is to be told. For all threads.
#[derive(Debug)]
pub struct Seldom {
    began: Instant,
    /// When something was last told, in milliseconds after `began`, and one more; 0 for never.
    told: AtomicU64,
    /// What happened since then and was not.
    silent: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            told: AtomicU64::new(0),
            silent: AtomicU64::new(0),
        }
    }
}

impl Seldom {
    /// Whether to tell this one, and of how many more since the last: one in a second, since an attacker chooses how
    /// many there are.
    #[must_use]
    pub fn tells(&self) -> Option<u64> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let before = self.told.load(Ordering::Relaxed);
        let due = before == 0 || now.saturating_sub(before) >= EVERY_MS;
        let ours = due
            && self
                .told
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if ours {
            return Some(self.silent.swap(0, Ordering::Relaxed));
        }
        self.silent.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_hears_of_one_in_a_while() {
        let seldom = Seldom::default();
        assert_eq!(seldom.tells(), Some(0));
        assert_eq!((seldom.tells(), seldom.tells()), (None, None));
    }
}
