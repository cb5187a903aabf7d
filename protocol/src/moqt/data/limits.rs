//! Bounds for data streams.

/// What a data stream or datagram may ask this side to hold.
///
/// Payload needs no bound here, because it is never held: a length is only counted down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLimits {
    /// Most bytes of one object's extension block. Readers hold so much per stream, and a few bytes more.
    pub max_extension_bytes: u64,
}

impl DataLimits {
    /// No extension block above so many bytes.
    #[must_use]
    pub const fn with_max_extension_bytes(mut self, bytes: u64) -> Self {
        self.max_extension_bytes = bytes;
        self
    }
}

impl Default for DataLimits {
    fn default() -> Self {
        Self {
            // [D14-LIM-8]: room for one extension of the largest size that a key-value pair may have, nearly.
            max_extension_bytes: 65_536,
        }
    }
}
