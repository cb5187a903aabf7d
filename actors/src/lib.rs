//! x

pub mod root;
pub mod supervise;
