//! A relay in the middle: one publisher, some subscribers, a network in which everything goes wrong.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | what a seed stands for: objects, streams, weather, listeners |
//! | `world` | the clock, and what happens next |
//! | `publisher`, `subscriber` | the peers |
//! | `archive`, `fetcher` | the peers, as far as FETCH goes |
//! | `upstream`, `downstream` | the relay, made of the parts that the product is made of |
//! | `desk` | the relay, as far as FETCH goes |
//! | `truth` | what happened, as nobody in the run can see it |
//! | `verdict`, `fetch_verdict` | what must hold |

mod archive;
mod desk;
mod downstream;
mod fetch_verdict;
mod fetcher;
mod plan;
mod publisher;
mod subscriber;
mod truth;
mod upstream;
mod verdict;
mod world;

pub(crate) use world::{Sabotage, World};
