//! The registry alone.
