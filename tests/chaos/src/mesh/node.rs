//! What a mesh is made of: the relays, and whom each dials.

use std::time::Duration;

/// What a relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Edge,
    Via,
    Stub,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Via => "via",
            Self::Stub => "stub",
        }
    }
}

/// One relay: what it does, and whom it dials, by their number. Who is dialled comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) dials: &'static [usize],
    /// Those of them to whom no road leads at first.
    pub(crate) cut_from: &'static [usize],
    /// What its links are like: the delay of a packet, and how many of a hundred are lost.
    pub(crate) over: Option<(Duration, u64)>,
}

impl Node {
    const fn new(role: Role, dials: &'static [usize]) -> Self {
        Self {
            role,
            dials,
            cut_from: &[],
            over: None,
        }
    }

    /// The same, without a road to these at first.
    pub(crate) const fn cut_from(self, cut_from: &'static [usize]) -> Self {
        Self { cut_from, ..self }
    }

    /// The same, with links on which a packet takes so many milliseconds, and so many of a hundred are lost.
    pub(crate) const fn over(self, delay_ms: u64, loss_percent: u64) -> Self {
        Self {
            over: Some((Duration::from_millis(delay_ms), loss_percent)),
            ..self
        }
    }
}

/// An edge that dials these.
pub(crate) const fn edge(dials: &'static [usize]) -> Node {
    Node::new(Role::Edge, dials)
}

/// A via that dials these.
pub(crate) const fn via(dials: &'static [usize]) -> Node {
    Node::new(Role::Via, dials)
}

/// A stub of these, behind a NAT.
pub(crate) const fn stub(dials: &'static [usize]) -> Node {
    Node::new(Role::Stub, dials)
}
