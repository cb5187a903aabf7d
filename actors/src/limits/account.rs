//! What one session has.

use super::UNLIMITED;
use super::kind::{Kind, PerKind};
use super::prefix::{Share, ShareLease};
use super::questions::Questions;
use crate::metrics::{Count, tally};
use slog::{Logger, debug, warn};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Debug)]
struct Inner {
    max: PerKind<u64>,
    used: PerKind<Cell<u64>>,
    peak: PerKind<Cell<u64>>,
    refused: PerKind<Cell<u64>>,
    share: Arc<Share>,
    questions: Questions,
}

/// What one session has, and what it was refused. Clones are the same account.
#[derive(Clone, Debug)]
pub struct Account(Rc<Inner>);

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What there is too much of.
    pub kind: Kind,
    /// All sessions of the address prefix have it together, not this one alone.
    pub of_prefix: bool,
    /// It is the first refusal of its kind in this session.
    pub first: bool,
}

impl Full {
    /// The key of the bound in the configuration.
    #[must_use]
    pub const fn key(self) -> &'static str {
        if self.of_prefix {
            self.kind.prefix_key()
        } else {
            self.kind.session_key()
        }
    }

    /// What the peer is told.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        if self.of_prefix {
            self.kind.of_prefix()
        } else {
            self.kind.of_session()
        }
    }
}

/// Something that a session has as long as this lives.
#[derive(Debug)]
pub struct Lease {
    account: Rc<Inner>,
    kind: Kind,
    amount: u64,
    _share: Option<ShareLease>,
}

/// The place of one request among all, and among those of its kind.
#[derive(Debug)]
pub struct Place {
    _request: Lease,
    _kind: Lease,
}

impl Account {
    /// A session that may have `max`, and shares what its address prefix may have.
    #[must_use]
    pub fn new(max: PerKind<u64>, share: Arc<Share>) -> Self {
        Self(Rc::new(Inner {
            max,
            used: PerKind::default(),
            peak: PerKind::default(),
            refused: PerKind::default(),
            share,
            questions: Questions::default(),
        }))
    }

    /// Takes `amount` of `kind`, until the lease is dropped.
    ///
    /// # Errors
    /// [`Full`] says whose bound it is; the refusal is counted, and nothing was taken.
    pub fn take(&self, kind: Kind, amount: u64) -> Result<Lease, Full> {
        let inner = &self.0;
        let used = inner.used.of(kind).get().saturating_add(amount);
        if used > *inner.max.of(kind) {
            return Err(self.refuse(kind, false));
        }
        let share = if *inner.share.prefixes().limits().prefix.of(kind) == UNLIMITED {
            None
        } else {
            let share = inner.share.take(kind, amount);
            Some(share.ok_or_else(|| self.refuse(kind, true))?)
        };
        Ok(self.lease(kind, amount, share))
    }

    /// A place for a request of this kind.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn request(&self, kind: Kind) -> Result<Place, Full> {
        Ok(Place {
            _request: self.take(Kind::Requests, 1)?,
            _kind: self.take(kind, 1)?,
        })
    }

    /// Whether one more of `kind` would be too much, by now. Counts no refusal.
    #[must_use]
    pub fn is_full(&self, kind: Kind) -> bool {
        let share = &self.0.share;
        self.used(kind) >= self.max(kind) || share.used(kind) >= *share.prefixes().limits().prefix.of(kind)
    }

    /// Whether there would be no place for a request of `kind`, by now. Counts no refusal.
    #[must_use]
    pub fn has_no_place(&self, kind: Kind) -> bool {
        self.is_full(Kind::Requests) || self.is_full(kind)
    }

    /// Counts what something else bounds.
    #[must_use]
    pub fn hold(&self, kind: Kind, amount: u64) -> Lease {
        self.lease(kind, amount, None)
    }

    /// Counts a refusal that was decided elsewhere, for the sake of this session's bound or its prefix's.
    pub fn refuse(&self, kind: Kind, of_prefix: bool) -> Full {
        let refused = self.0.refused.of(kind);
        refused.set(refused.get() + 1);
        tally::count(Count::RequestsRefused, 1);
        Full {
            kind,
            of_prefix,
            first: refused.get() == 1,
        }
    }

    /// Tells an operator of a refusal, once for each kind in a session and not more often than once a second in all.
    pub fn note(&self, log: &Logger, full: Full) {
        let share = self.share();
        if full.first
            && let Some(others) = share.prefixes().warns()
        {
            warn!(log, "a limit is reached"; "limit" => full.key(), "prefix" => %share.prefix(),
                "not_told_of" => others);
        } else {
            debug!(log, "refused"; "limit" => full.key());
        }
    }

    /// What this session may have of `kind`.
    #[must_use]
    pub fn max(&self, kind: Kind) -> u64 {
        *self.0.max.of(kind)
    }

    /// What it has.
    #[must_use]
    pub fn used(&self, kind: Kind) -> u64 {
        self.0.used.of(kind).get()
    }

    /// How often it was refused more.
    #[must_use]
    pub fn refused(&self, kind: Kind) -> u64 {
        self.0.refused.of(kind).get()
    }

    /// What it asks of the registry.
    #[must_use]
    pub fn questions(&self) -> &Questions {
        &self.0.questions
    }

    /// What its address prefix has.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.0.share
    }

    fn lease(&self, kind: Kind, amount: u64, share: Option<ShareLease>) -> Lease {
        let (used, peak) = (self.0.used.of(kind), self.0.peak.of(kind));
        used.set(used.get().saturating_add(amount));
        peak.set(peak.get().max(used.get()));
        Lease {
            account: Rc::clone(&self.0),
            kind,
            amount,
            _share: share,
        }
    }
}

/// The most that there ever was of each kind, and the refusals: `fetches 3, early_bytes 900 refused 7`.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for kind in Kind::ALL {
            let (peak, refused) = (self.0.peak.of(kind).get(), self.refused(kind));
            if peak == 0 && refused == 0 {
                continue;
            }
            write!(f, "{between}{} {peak}", kind.name())?;
            if refused > 0 {
                write!(f, " refused {refused}")?;
            }
            between = ", ";
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let used = self.account.used.of(self.kind);
        used.set(used.get().saturating_sub(self.amount));
    }
}
