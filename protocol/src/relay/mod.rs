//! What a relay decides, without any draft's bytes: what is kept and read of a track, who announced
//! what, what a watcher has been told of it, and what is sent next.

pub mod behind;
pub mod dampen;
pub mod draining;
pub mod expiry;
pub mod fetch;
pub mod follow;
pub mod inbound;
pub mod ingest;
pub mod lane;
pub mod load;
pub mod merge;
pub mod namespace_tree;
pub mod new_group;
pub mod rate;
pub mod scheduler;
pub mod silence;
pub mod told;
pub mod track_log;
