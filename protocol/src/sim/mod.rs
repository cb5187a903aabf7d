//! Two sessions on a simulated wire.
