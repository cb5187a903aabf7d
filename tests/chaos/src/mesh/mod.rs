//! Meshes of relays: what reaches whom, over which links, and what a failing relay costs.
//!
//! [`roads`] is the network, [`path`] a link with delay and loss, [`node`] what a mesh is made of, [`world`] the relays and
//! their users, [`relay`] one of those and [`look`] what it tells of itself, [`holder`] a crowd that is only counted,
//! [`verdict`] what everybody got, [`cases`], [`roles`] and [`far`] what is promised.

mod cases;
mod far;
mod holder;
mod look;
mod node;
mod path;
mod relay;
mod roads;
mod roles;
mod verdict;
mod world;

use crate::Failure;
use crate::scene::{Scene, Tools};
use std::io::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use cases::Case;
pub(crate) use path::lay_road;

/// Every case there is.
pub(crate) const fn all() -> &'static [Case] {
    cases::ALL
}

/// Runs cases, `jobs` at a time; gives how many passed, and the names of those that did not.
pub(crate) fn run(tools: &Tools, cases: &[Case], jobs: usize) -> (usize, Vec<&'static str>) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    let ended = (case.run)(tools, number);
                    tell(tools, case, number, &ended);
                    if ended.is_err() {
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(case.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    (cases.len() - failed.len(), failed)
}

fn tell(tools: &Tools, case: &Case, number: usize, ended: &Result<String, Failure>) {
    let text = match ended {
        Ok(figures) => format!("ok       {:24} {figures}", case.name),
        Err(error) => {
            let dir = tools.scratch.join(format!("mesh-{number}"));
            format!("FAILED   {:24} {error}\n{}", case.name, Scene::tails(&dir))
        }
    };
    // Nobody reads: the exit code still tells.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
