//! The stream to one target.

use crate::peering::forward::route::{Egress, Target};
use crate::peering::message::SnsId;

/// One target of a stream.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) target: Target,
    /// The id that the data has there; none for this relay's own subscribers.
    pub(super) sns: Option<SnsId>,
    pub(super) state: State,
    /// Payload that it has taken.
    pub(super) taken: u64,
}

/// How far the stream to a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun: a laps relay gets no head without the header of the payload.
    Held,
    /// Begun. It may have its FIN already, and payload before that which was not taken yet.
    Open,
    /// Reset, refused, gone, or all taken.
    Over,
}

impl Lane {
    pub(super) const fn local() -> Self {
        Self {
            target: Target::Local,
            sns: None,
            state: State::Open,
            taken: 0,
        }
    }

    pub(super) const fn to(egress: &Egress) -> Self {
        Self {
            target: Target::Link(egress.link),
            sns: Some(egress.sns),
            state: if egress.laps { State::Held } else { State::Open },
            taken: 0,
        }
    }

    /// Payload that waits for it, of `total` that came.
    pub(super) const fn waiting(&self, total: u64) -> u64 {
        match self.state {
            State::Held | State::Open => total.saturating_sub(self.taken),
            State::Over => 0,
        }
    }
}
