//! x

pub mod supervise;
