//! Bounds for data streams.
