//! Several publishers of one track: each brings the same objects as it likes, a relay makes one track of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | what a seed stands for: objects, who lives when and sends what how, who listens |
//! | `lives` | what the publishers of a plan do with the objects |
//! | `world` | the clock, and what happens next |
//! | `source` | a publisher at work |
//! | `relay` | the home of the track: `Merge`, `TrackLog` and replicas, as the product has them |
//! | `mirror` | one who reads a replica and one who reads the home, side by side |
//! | `listener` | a subscription, from the log to the subscriber |
//! | `truth` | what happened, as nobody in the run can see it |
//! | `verdict` | what must hold |

mod listener;
mod lives;
mod mirror;
mod plan;
mod relay;
mod source;
mod truth;
mod verdict;
mod world;

pub(crate) use world::{Sabotage, World};
