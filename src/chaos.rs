//! The test hook of the chaos harness: makes actors of a running relay fail when a line on a socket says so.
//!
//! Only in builds with the feature `chaos`, which no release and no image has; every other build refuses the variable
//! as one that it does not know. `LAPS_CHAOS_SOCKET=path laps` opens a Unix socket that answers each line by one:
//!
//! | line | answer |
//! |---|---|
//! | `arm KIND NAME TIMES [panic\|block]` | `ok`; the next so many checks of that point panic, or hold their thread |
//! | `release KIND NAME` | `ok`; who is held goes on, and the point is not armed any more |
//! | `fired KIND NAME` | `ok FIRED ARMED`: how often it has failed, and will |
//! | `quit` | `ok`, and the hook is gone |
//!
//! NAME is `-` for every name; kinds and names are those of the calls of [`Faults`] in `laps_actors`. What cannot be
//! understood is answered by `error` and why.

use crate::exit::Failure;
use laps_actors::supervise::{FaultPlan, Faults, Trigger};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// The variable that names the socket.
pub const VARIABLE: &str = "LAPS_CHAOS_SOCKET";

/// The faults of this process as its environment wants them: those that a socket arms, or none.
///
/// # Errors
/// When the socket cannot be made.
pub fn faults() -> Result<Faults, Failure> {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Ok(Faults::default());
    };
    let failed = |error: io::Error| Failure::run(VARIABLE, error.to_string(), "name a path that is free");
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let plan = FaultPlan::live();
    let faults = plan.faults();
    let mut hook = Hook {
        plan,
        points: HashMap::new(),
    };
    // A thread of its own: it answers while every arbiter of the relay is held.
    std::thread::Builder::new()
        .name("laps-chaos".to_owned())
        .spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who went away in the middle of a line is served no more; the next one is.
                if hook.serve(&stream).is_ok_and(|quit| quit) {
                    break;
                }
            }
            drop(std::fs::remove_file(path));
        })
        .map_err(failed)?;
    Ok(faults)
}

struct Hook {
    plan: FaultPlan,
    points: HashMap<(String, String), Trigger>,
}

impl Hook {
    /// Answers one client until it leaves; true when it asked for the end.
    fn serve(&mut self, stream: &UnixStream) -> io::Result<bool> {
        let mut out = stream;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let quit = line.trim() == "quit";
            let answer = if quit {
                "ok".to_owned()
            } else {
                self.answer(&line).unwrap_or_else(|why| format!("error {why}"))
            };
            writeln!(out, "{answer}")?;
            if quit {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn answer(&mut self, line: &str) -> Result<String, &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["arm", kind, name, times] => self.arm(kind, name, times, "panic"),
            ["arm", kind, name, times, how] => self.arm(kind, name, times, how),
            ["release", kind, name] => {
                self.point(kind, name).release();
                Ok("ok".to_owned())
            }
            ["fired", kind, name] => {
                let point = self.point(kind, name);
                Ok(format!("ok {} {}", point.fired(), point.armed()))
            }
            _ => Err("no such line"),
        }
    }

    fn arm(&mut self, kind: &str, name: &str, times: &str, how: &str) -> Result<String, &'static str> {
        let times = times.parse().map_err(|_| "TIMES is no number")?;
        let point = self.point(kind, name);
        match how {
            "panic" => point.arm(times),
            "block" => point.arm_hold(times),
            _ => return Err("neither panic nor block"),
        }
        Ok("ok".to_owned())
    }

    fn point(&mut self, kind: &str, name: &str) -> Trigger {
        let plan = &mut self.plan;
        self.points
            .entry((kind.to_owned(), name.to_owned()))
            .or_insert_with(|| match name {
                "-" => plan.point(kind),
                name => plan.point_named(kind, name),
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn lines_arm_points_and_are_answered() {
        let plan = FaultPlan::live();
        let faults = plan.faults();
        let mut hook = Hook {
            plan,
            points: HashMap::new(),
        };
        let mut say = |line: &str| hook.answer(line).unwrap_or_else(|why| format!("error {why}"));
        assert_eq!(say("arm track a/b:c 2"), "ok");
        assert_eq!(say("fired track a/b:c"), "ok 0 2");
        assert!(catch_unwind(AssertUnwindSafe(|| faults.check_named("track", &"a/b:c"))).is_err());
        assert_eq!(say("fired track a/b:c"), "ok 1 1");
        assert_eq!(say("fired track -"), "ok 0 0");
        assert_eq!(say("arm shard - 1 block"), "ok");
        assert_eq!(say("release shard -"), "ok");
        assert_eq!(say("fired shard -"), "ok 0 0");
        for line in ["", "arm", "arm track - x", "arm track - 1 maybe", "fired track"] {
            assert!(say(line).starts_with("error "), "{line}");
        }
    }
}
