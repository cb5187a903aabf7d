//! Enum dispatch from a version to its codec.
