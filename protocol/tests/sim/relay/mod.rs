//! A relay in the middle: one publisher, some subscribers, a network in which everything goes wrong.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | what a seed stands for: objects, streams, weather, listeners |
//! | `world` | the clock, and what happens next |
//! | `publisher`, `subscriber` | the peers |
//! | `upstream`, `downstream` | the relay, made of the parts that the product is made of |
//! | `truth` | what happened, as nobody in the run can see it |
//! | `verdict` | what must hold |

mod downstream;
mod plan;
mod publisher;
mod subscriber;
mod truth;
mod upstream;
mod verdict;
mod world;

pub(crate) use world::{Sabotage, World};
