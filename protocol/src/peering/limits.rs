//! How much of anything a peer may say at once.

/// Bounds on what is accepted in one control message; each is looked at before anything is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message behind its header, whatever its type.
    pub max_message_bytes: u32,
    /// Bytes of a node's contact.
    pub max_contact_bytes: usize,
    /// Nodes on the path of a node.
    pub max_path_items: usize,
    /// Nodes in one subscriber node set.
    pub max_set_nodes: usize,
    /// Bytes of the SUBSCRIBE that a subscribe info carries.
    pub max_subscribe_data_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A set of 16,384 nodes takes half of it.
            max_message_bytes: 256 * 1024,
            // A domain name has at most 253 bytes; laps puts any name of a relay here.
            max_contact_bytes: 1024,
            // Far more hops than any route that is worth taking.
            max_path_items: 64,
            max_set_nodes: 16_384,
            // A track name has at most 4096 bytes; the rest is for parameters.
            max_subscribe_data_bytes: 16 * 1024,
        }
    }
}

impl Limits {
    /// With another bound on [`Self::max_message_bytes`].
    #[must_use]
    pub const fn with_max_message_bytes(self, max_message_bytes: u32) -> Self {
        Self {
            max_message_bytes,
            ..self
        }
    }

    /// With another bound on [`Self::max_contact_bytes`].
    #[must_use]
    pub const fn with_max_contact_bytes(self, max_contact_bytes: usize) -> Self {
        Self {
            max_contact_bytes,
            ..self
        }
    }

    /// With another bound on [`Self::max_path_items`].
    #[must_use]
    pub const fn with_max_path_items(self, max_path_items: usize) -> Self {
        Self {
            max_path_items,
            ..self
        }
    }

    /// With another bound on [`Self::max_set_nodes`].
    #[must_use]
    pub const fn with_max_set_nodes(self, max_set_nodes: usize) -> Self {
        Self {
            max_set_nodes,
            ..self
        }
    }

    /// With another bound on [`Self::max_subscribe_data_bytes`].
    #[must_use]
    pub const fn with_max_subscribe_data_bytes(self, max_subscribe_data_bytes: usize) -> Self {
        Self {
            max_subscribe_data_bytes,
            ..self
        }
    }
}
