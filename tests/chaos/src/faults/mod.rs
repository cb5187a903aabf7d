//! The list of faults: what each needs, what it does, and what it may cost.

mod mesh;
mod network;
mod panics;
mod processes;
mod shards;
mod system;

use crate::Failure;
use crate::scene::{Scene, Wants};
use crate::seed::Chance;

/// A fault, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// What happens, for a reader of the table.
    pub(crate) what: &'static str,
    pub(crate) wants: Wants,
    /// Makes it happen and end.
    pub(crate) strike: fn(&mut Scene, &mut Chance) -> Result<Struck, Failure>,
    /// The most objects that one of those whom it meets may lose.
    pub(crate) lost: u64,
    /// The longest that one of those may take to receive again when it is over, milliseconds.
    pub(crate) recovers_ms: u64,
}

/// Whom a fault met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// No subscriber at all.
    Nobody,
    /// This subscriber of the track.
    One(usize),
    /// The subscribers of the track whose bits are set.
    Several(u64),
    /// This subscriber, which does not come back.
    Ended(usize),
    /// One of the subscribers of the track; which, chance decides.
    Any,
    /// All subscribers of the track, and no bystander.
    Track,
    /// Everybody.
    Everybody,
}

/// What a fault did.
#[derive(Clone, Debug)]
pub(crate) struct Struck {
    /// When, in nanoseconds since the Unix epoch.
    pub(crate) begun: u64,
    /// Since when everything could be as before.
    pub(crate) over: u64,
    pub(crate) met: Met,
    /// What was lost that is no object, and how long that took to mend, milliseconds.
    pub(crate) other: Option<(String, u64)>,
}

impl Struck {
    /// A fault of a moment.
    pub(crate) const fn at(begun: u64, met: Met) -> Self {
        Self {
            begun,
            over: begun,
            met,
            other: None,
        }
    }
}

/// Every fault there is, in the order of the table.
pub(crate) fn all() -> Vec<Fault> {
    [
        panics::FAULTS,
        mesh::FAULTS,
        shards::FAULTS,
        processes::FAULTS,
        network::FAULTS,
        system::FAULTS,
    ]
    .concat()
}
