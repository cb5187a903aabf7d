//! `laps doctor`: what keeps a relay from running well on this machine, and what to do about it.
//!
//! Each check looks at one thing and gives one `Finding`; `examine` has their order, which is that of a table for a
//! person.

mod certificate;
mod discovery;
mod holder;
mod machine;
mod peers;
mod ports;
mod state;

use super::{health, print};
use crate::cli::DoctorOptions;
use crate::config::{self, Config};
use crate::exit::{Failure, one_line};
use serde_json::{Value, json};
use std::time::SystemTime;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It runs, and less well than it could.
    Warn,
    /// It does not run like this.
    Fail,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    state: State,
    /// How it is.
    found: String,
    /// What to do; empty where nothing is to be done.
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found, "")
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, State::Warn, found, advice)
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, State::Fail, found, advice)
    }

    fn new(check: &'static str, state: State, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            state,
            found: one_line(&found.into()),
            advice: one_line(&advice.into()),
        }
    }

    fn json(&self) -> Value {
        json!({
            "check": self.check,
            "state": self.state.name(),
            "found": self.found,
            "advice": self.advice,
        })
    }
}

/// Runs `laps doctor`.
///
/// # Errors
/// When a check failed, after all of them were printed.
pub fn run(options: &DoctorOptions) -> Result<(), Failure> {
    let findings = examine(options)?;
    if options.json {
        let all: Value = findings.iter().map(Finding::json).collect();
        print(&all.to_string())?;
    } else {
        print(&table(&findings))?;
    }
    match findings
        .iter()
        .filter(|finding| finding.state == State::Fail)
        .count()
    {
        0 => Ok(()),
        failed => Err(Failure::run(
            "doctor",
            format!("{failed} check(s) failed"),
            "do what stands beside each, and ask again",
        )),
    }
}

fn examine(options: &DoctorOptions) -> Result<Vec<Finding>, Failure> {
    // What was typed wrong is nothing about the machine.
    let layers = options.relay.layers()?;
    let (config, first) = match config::load(&layers) {
        Ok(config) => {
            let file = options.relay.config.as_ref();
            let from = file.map_or_else(
                || "defaults, environment and flags".to_owned(),
                |file| file.display().to_string(),
            );
            (config, Finding::ok("configuration", from))
        }
        Err(failure) => (
            Config::default(),
            Finding::fail(
                "configuration",
                failure.to_string(),
                "what follows is about the defaults",
            ),
        ),
    };
    let runs = health::answers(&config);
    let mut findings = vec![first];
    findings.extend(certificate::checks(&config, SystemTime::now()));
    findings.extend(state::checks(&config, |name| std::env::var_os(name)));
    findings.extend(ports::checks(&config, runs));
    findings.push(discovery::check(&config));
    findings.extend(peers::checks(&config));
    findings.extend(machine::checks(&config));
    Ok(findings)
}

fn table(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or(0);
    let rows = findings.iter().map(|finding| {
        let row = format!(
            "{:4}  {:width$}  {}",
            finding.state.name(),
            finding.check,
            finding.found
        );
        if finding.advice.is_empty() {
            row
        } else {
            format!("{row}\n{:indent$}-> {}", "", finding.advice, indent = 8 + width)
        }
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_to_do_below_what_was_found() {
        let findings = [
            Finding::ok("clock", "2026"),
            Finding::fail("UDP port", "in use\nby another", "stop it"),
        ];
        let wanted = "ok    clock     2026\nfail  UDP port  in use by another\n                -> stop it";
        assert_eq!(table(&findings), wanted);
        let json = findings[1].json();
        assert_eq!(json["state"], "fail");
        assert_eq!(json["advice"], "stop it");
    }
}
