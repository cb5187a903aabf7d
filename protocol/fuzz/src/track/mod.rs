//! A track by itself: several publishers that bring the same objects as they like, one log, a replica, readers and
//! fetches.
//!
//! | file | what it holds |
//! |---|---|
//! | `merge` | publishers, the log, a replica, and who reads both |
//! | `past` | fetches of a log that knows a part, and publishers that are asked for the rest |
//! | `raw` | chunks of any kind in any order, for what no honest publisher would say |

mod merge;
mod past;
mod raw;

pub(crate) use merge::merge;
pub(crate) use past::past;
pub(crate) use raw::chunks;
