//! x

pub mod root;
pub mod supervise;
pub mod transport;
