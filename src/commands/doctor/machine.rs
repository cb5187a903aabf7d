//! What the machine gives: socket buffers, memory, descriptors.

use super::Finding;
use crate::config::Config;
use laps_actors::limits::memory;
use laps_actors::transport::Buffers;
use std::fs;

/// Descriptors that a relay needs for itself, and for each worker: sockets, timers, event loops, admin connections.
const FILES: u64 = 64;
const FILES_OF_WORKER: u64 = 8;

pub(super) fn checks(config: &Config) -> Vec<Finding> {
    let asked = config.transport.settings().kernel_buffer;
    let mut findings = Vec::new();
    if let Ok(given) = Buffers::granted(asked) {
        findings.push(buffers(asked, given));
    }
    findings.push(room(config));
    findings.extend(limit_of_files().map(|limit| files(limit, config.workers())));
    findings
}

fn buffers(asked: usize, given: Buffers) -> Finding {
    let check = "UDP buffers";
    if given.receive >= asked && given.send >= asked {
        return Finding::ok(check, format!("{asked} bytes in each direction, as asked"));
    }
    let Buffers { receive, send } = given;
    Finding::warn(
        check,
        format!(
            "the system gives {receive} bytes to receive and {send} to send of {asked}: bursts may lose packets"
        ),
        format!(
            "sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}, and the same in /etc/sysctl.d"
        ),
    )
}

fn room(config: &Config) -> Finding {
    let check = "memory";
    if let Some(warning) = config.workers_warning() {
        return Finding::warn(check, warning, "");
    }
    let (configured, share) = (config.limits.memory_mb, memory::share() >> 20);
    if configured == 0 {
        return Finding::ok(check, format!("the relay may use {share} MiB of what there is"));
    }
    if share > 0 && configured > share {
        return Finding::warn(
            check,
            format!("limits.memory_mb is {configured}, and {share} MiB is what there is for it"),
            "write less, or 0 for what there is: beyond it the system may end the relay",
        );
    }
    Finding::ok(
        check,
        format!("limits.memory_mb is {configured}, and there is as much"),
    )
}

fn files(limit: u64, workers: u16) -> Finding {
    let (check, needs) = ("open files", FILES + FILES_OF_WORKER * u64::from(workers));
    if limit < needs {
        return Finding::fail(
            check,
            format!("{limit} allowed, and {workers} worker(s) need {needs}"),
            format!("ulimit -n {needs}, or LimitNOFILE= of the service"),
        );
    }
    Finding::ok(check, format!("{limit} allowed, {needs} needed"))
}

/// How many files a process may open, where the system tells.
fn limit_of_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    soft_limit(&limits, "Max open files")
}

fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn small_buffers_are_told_with_the_command_that_helps() {
        let given = |receive, send| buffers(100, Buffers { receive, send });
        assert_eq!(given(100, 100).state, State::Ok);
        for finding in [given(99, 100), given(100, 99)] {
            assert_eq!(finding.state, State::Warn);
            assert!(
                finding.advice.contains("net.core.rmem_max=100"),
                "{}",
                finding.advice
            );
        }
    }

    #[test]
    fn files_are_needed_by_worker() {
        assert_eq!(files(1024, 8).state, State::Ok);
        assert_eq!(files(100, 8).state, State::Fail);
        let text = "Limit   Soft Limit  Hard Limit\nMax open files            1024      524288    files\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1024));
        assert_eq!(
            soft_limit("Max open files  unlimited", "Max open files"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit("", "Max open files"), None);
    }

    #[test]
    fn more_memory_than_there_is_is_told() {
        let mut config = Config::default();
        config.workers.threads = 1;
        assert_eq!(room(&config).state, State::Ok);
        config.limits.memory_mb = 1 << 24;
        assert_eq!(room(&config).state, State::Warn);
    }
}
