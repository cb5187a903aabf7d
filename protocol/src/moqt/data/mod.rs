//! Data streams and datagrams, read and written incrementally and without a session.
//!
//! A reader takes the bytes of one stream as they come and turns them into items. Payload is never collected: each
//! piece leaves as it arrived, as a slice of the caller's buffer, so that a relay can forward it before the object
//! is complete (MOQT-14 §8.5 [D14-DATA-22]). Datagrams and everything that is written go through
//! [`crate::moqt::codec::Codec`] directly.

pub mod limits;
pub mod stream_reader;

pub use limits::DataLimits;
pub use stream_reader::{StreamItem, StreamReader};
