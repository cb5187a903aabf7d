//! The `laps` command: a Media over QUIC Transport relay, its clients and its tools.
//!
//! [`source`] makes what a publisher sends, [`url`] and [`names`] say where to, [`exit`] how a run ended.

pub mod exit;
pub mod names;
pub mod node_id;
pub mod source;
pub mod stamp;
pub mod url;
