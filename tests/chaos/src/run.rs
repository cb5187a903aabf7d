//! Runs faults, a few at a time, and judges each.

use crate::Failure;
use crate::faults::{Fault, Met, Struck};
use crate::judge::Losses;
use crate::record;
use crate::scene::{Scene, Tools};
use crate::seed::Chance;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What one run of one fault cost.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) met: Met,
    /// The most that one of those lost whom it met.
    pub(crate) lost: u64,
    /// The longest that one of those took to receive again, milliseconds.
    pub(crate) recovered_ms: u64,
    /// What was lost that is no object.
    pub(crate) other: Option<String>,
}

/// How one run ended.
#[derive(Debug)]
pub(crate) enum End {
    Passed(Cost),
    Failed(String),
    /// This machine cannot do it, and why.
    Skipped(String),
}

/// One run of one fault.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) fault: Fault,
    pub(crate) seed: u64,
    pub(crate) end: End,
}

/// Runs each fault with each seed, `jobs` at a time.
pub(crate) fn all(tools: &Tools, faults: &[Fault], seeds: &[u64], jobs: usize) -> Vec<Ran> {
    let runs: Vec<(Fault, u64)> = seeds
        .iter()
        .flat_map(|&seed| faults.iter().map(move |&fault| (fault, seed)))
        .collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(fault, seed)) = runs.get(number) else {
                        break;
                    };
                    let end = one(tools, &fault, seed, number);
                    tell(&fault, seed, &end);
                    let ran = Ran { fault, seed, end };
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(ran);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(tools: &Tools, fault: &Fault, seed: u64, number: usize) -> End {
    if fault.wants.clock && tools.faketime.is_none() {
        return End::Skipped("libfaketime is not installed".to_owned());
    }
    match played(tools, fault, seed, number) {
        Ok(cost) => {
            drop(std::fs::remove_dir_all(
                tools.scratch.join(format!("scene-{number}")),
            ));
            End::Passed(cost)
        }
        Err(error) => {
            let dir = tools.scratch.join(format!("scene-{number}"));
            End::Failed(format!("{error}\n{}", Scene::tails(&dir)))
        }
    }
}

fn played(tools: &Tools, fault: &Fault, seed: u64, number: usize) -> Result<Cost, Failure> {
    let mut chance = Chance::new(seed, fault.name);
    let mut scene = Scene::begin(tools, &fault.wants, number)?;
    let struck = (fault.strike)(&mut scene, &mut chance)?;
    let absent = match struck.met {
        Met::Ended(one) => Some(one),
        Met::Nobody | Met::One(_) | Met::Several(_) | Met::Any | Met::Track | Met::Everybody => None,
    };
    let last = scene.settle(absent)?;
    if !scene.is_alive()? {
        return Err("a relay has ended".into());
    }
    let losses = scene.losses(last, struck.begun, struck.over)?;
    verdict(fault, &struck, &losses).map_err(|error| {
        let (begun, missing) = (record::due(struck.begun), scene.missing(last));
        let at = format!("{}/{}", begun / record::GOP, begun % record::GOP);
        format!("{error}; it happened at {at}, and {missing}").into()
    })
}

/// What it cost, when that is no more than it may.
fn verdict(fault: &Fault, struck: &Struck, losses: &[Losses]) -> Result<Cost, Failure> {
    let mut complaints = Vec::new();
    let mut cost = Cost {
        met: struck.met,
        lost: 0,
        recovered_ms: 0,
        other: None,
    };
    let bystander = losses.len().saturating_sub(1);
    let mut hit = 0;
    for (index, losses) in losses.iter().enumerate() {
        let who = if index == bystander {
            "the bystander".to_owned()
        } else {
            format!("subscriber {index}")
        };
        if losses.duplicated + losses.wrong > 0 {
            complaints.push(format!("{who} got objects twice or wrong: {losses:?}"));
        }
        let met = match struck.met {
            Met::Ended(one) if one == index => continue,
            Met::Nobody | Met::Ended(_) => false,
            Met::One(one) => one == index,
            Met::Several(which) => index < 64 && which >> index & 1 == 1 && index != bystander,
            Met::Any => {
                hit += u64::from(losses.lost > 0 && index != bystander);
                index != bystander
            }
            Met::Track => index != bystander,
            Met::Everybody => true,
        };
        if !met && losses.lost > 0 {
            complaints.push(format!("{who} was not to lose anything: {losses:?}"));
        }
        if met && (losses.lost > fault.lost || losses.recovered_ms > fault.recovers_ms) {
            complaints.push(format!(
                "{who} lost more than {} objects, or took longer than {} ms: {losses:?}",
                fault.lost, fault.recovers_ms
            ));
        }
        if met {
            cost.lost = cost.lost.max(losses.lost);
            cost.recovered_ms = cost.recovered_ms.max(losses.recovered_ms);
        }
    }
    if hit > 1 {
        complaints.push("more than one subscriber lost something".to_owned());
    }
    if let Some((text, took)) = &struck.other {
        if *took > fault.recovers_ms {
            complaints.push(format!("it took {took} ms, more than {}", fault.recovers_ms));
        }
        cost.recovered_ms = cost.recovered_ms.max(*took);
        cost.other = Some(text.clone());
    }
    if complaints.is_empty() {
        return Ok(cost);
    }
    Err(complaints.join("; ").into())
}

/// The line that runs it again.
fn replay(fault: &Fault, seed: u64) -> String {
    format!("scripts/chaos --fault {} --seed {seed}", fault.name)
}

fn tell(fault: &Fault, seed: u64, end: &End) {
    let text = match end {
        End::Passed(cost) => format!(
            "ok       {:28} lost {:3}, recovered after {:5} ms{}",
            fault.name,
            cost.lost,
            cost.recovered_ms,
            cost.other
                .as_ref()
                .map(|text| format!("; {text}"))
                .unwrap_or_default()
        ),
        End::Failed(why) => format!(
            "FAILED   {:28} {why}\n    again: {}",
            fault.name,
            replay(fault, seed)
        ),
        End::Skipped(why) => format!("skipped  {:28} {why}", fault.name),
    };
    // Nobody reads: the exit code still tells.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(met: Met, lost: [u64; 3]) -> Result<Cost, Failure> {
        let fault = Fault {
            lost: 10,
            recovers_ms: 100,
            ..crate::faults::all()[0]
        };
        let losses = lost.map(|lost| Losses {
            lost,
            ..Losses::default()
        });
        verdict(&fault, &Struck::at(0, met), &losses)
    }

    #[test]
    fn only_those_whom_it_met_may_lose_and_not_too_much() {
        assert_eq!(check(Met::One(0), [10, 0, 0]).unwrap().lost, 10);
        assert!(check(Met::One(0), [11, 0, 0]).is_err());
        assert!(check(Met::One(0), [0, 1, 0]).is_err());
        assert!(check(Met::Track, [5, 10, 0]).is_ok());
        assert!(check(Met::Track, [0, 0, 1]).is_err());
        assert!(check(Met::Any, [0, 5, 0]).is_ok());
        assert!(check(Met::Any, [5, 5, 0]).is_err());
        assert!(check(Met::Ended(1), [0, 99, 0]).is_ok());
        assert!(check(Met::Everybody, [1, 2, 3]).is_ok());
        assert!(check(Met::Nobody, [0, 0, 1]).is_err());
    }

    #[test]
    fn nobody_may_get_anything_twice_or_wrong_or_late() {
        let fault = Fault {
            recovers_ms: 100,
            ..crate::faults::all()[0]
        };
        for bad in [
            Losses {
                duplicated: 1,
                ..Losses::default()
            },
            Losses {
                wrong: 1,
                ..Losses::default()
            },
            Losses {
                recovered_ms: 101,
                ..Losses::default()
            },
        ] {
            assert!(
                verdict(&fault, &Struck::at(0, Met::Everybody), &[bad]).is_err(),
                "{bad:?}"
            );
        }
        let late = Struck {
            other: Some((String::new(), 101)),
            ..Struck::at(0, Met::Nobody)
        };
        assert!(verdict(&fault, &late, &[Losses::default()]).is_err());
    }
}
