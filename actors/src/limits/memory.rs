//! What memory the process uses, and what it may use, as the system tells.

use std::path::Path;

/// Bytes of memory that the process holds for itself: what is resident of it without files, which the system can drop.
/// None where the system does not tell (it is Linux that does).
#[must_use]
pub fn used() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "RssAnon:").or_else(|| kibibytes(&status, "VmRSS:"))
}

/// Bytes of memory of the process, files that are mapped included (RSS). None where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmRSS:")
}

/// No machine has as much. Version 1 of the control groups has no word for "no limit": its files hold the highest number
/// that is whole pages, 9223372036854771712 where a page is 4096 bytes.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes that the process may use when nobody says how much: three quarters of what its container has, which is there
/// for the relay, or half of a whole machine, where others live as well; 0 when neither is known. What is left is for the
/// buffers of the sockets, and for what comes between two samples.
#[must_use]
pub fn share() -> u64 {
    share_by(&|path| std::fs::read_to_string(path).ok(), machine)
}

/// `machine` is asked for the bytes of the machine where no file tells: `ProcSubset=pid` of a systemd unit, and of ours,
/// hides it.
fn share_by(read: &impl Fn(&Path) -> Option<String>, machine: impl FnOnce() -> Option<u64>) -> u64 {
    // The file goes first: some containers have one that tells of themselves.
    // hidden-proc: `machine` tells where it is not there.
    let told = read(Path::new("/proc/meminfo")).and_then(|text| kibibytes(&text, "MemTotal:"));
    let total = told.or_else(machine);
    let container = container(read).filter(|limit| total.is_none_or(|total| *limit < total));
    match (container, total) {
        (Some(limit), _) => limit / 4 * 3,
        (None, Some(total)) => total / 2,
        (None, None) => 0,
    }
}

/// Bytes of memory of the machine, by sysinfo(2).
#[cfg(target_os = "linux")]
fn machine() -> Option<u64> {
    nix::sys::sysinfo::sysinfo().ok().map(|info| info.ram_total())
}

/// Where there are no files of Linux there is nothing to limit either: nobody tells what the process uses.
#[cfg(not(target_os = "linux"))]
const fn machine() -> Option<u64> {
    None
}

/// The least limit of the control groups that the process is in, of version 2 or 1; none where none has one.
fn container(read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        // A group has no more than those that it is in. In a container the path is often that of the host, and its own
        // group is the root.
        let path = Path::new(path.trim_start_matches('/'));
        let limits = path.ancestors().filter_map(|part| {
            let text = read(&Path::new(root).join(part).join(file))?;
            // Version 2 says "max" where there is none.
            let limit = text.trim().parse::<u64>().ok()?;
            (limit < NO_LIMIT).then_some(limit)
        });
        limits.min()
    });
    limits.min()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of(files: &[(&str, &str)]) -> u64 {
        share_on(files, None)
    }

    /// Where the system, asked, tells of so many bytes.
    fn share_on(files: &[(&str, &str)], machine: Option<u64>) -> u64 {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        share_by(&read, || machine)
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:        1048576 kB\nMemFree:  1 kB\n");
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_container_has_three_quarters_of_its_limit() {
        let limit = (256 * MIB).to_string();
        for (groups, file) in [
            ("0::/\n", "/sys/fs/cgroup/memory.max"),
            ("0::/a/b\n", "/sys/fs/cgroup/a/memory.max"),
            (
                "5:cpu:/\n4:memory:/host/x\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ),
        ] {
            let files = [MACHINE, ("/proc/self/cgroup", groups), (file, limit.as_str())];
            assert_eq!(share_of(&files), 192 * MIB, "{groups}");
        }
        let files = [
            MACHINE,
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "104857600\n"),
            ("/sys/fs/cgroup/memory.max", "209715200\n"),
        ];
        assert_eq!(share_of(&files), 75 * MIB, "the least of them");
    }

    #[test]
    fn a_machine_is_shared_with_others() {
        assert_eq!(share_of(&[MACHINE]), 512 * MIB);
        let unlimited = [
            MACHINE,
            ("/proc/self/cgroup", "4:memory:/x\n"),
            (
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        assert_eq!(share_of(&unlimited), 512 * MIB);
        assert_eq!(share_of(&[]), 0, "nobody knows");
    }

    /// As our systemd unit has it: what there is of /proc is the process itself.
    #[test]
    fn where_no_file_tells_of_the_machine_the_system_is_asked() {
        let machine = Some(1024 * MIB);
        assert_eq!(share_on(&[], machine), 512 * MIB);
        let service = ("/proc/self/cgroup", "0::/system.slice/laps.service\n");
        let file = "/sys/fs/cgroup/system.slice/laps.service/memory.max";
        assert_eq!(share_on(&[service, (file, "max\n")], machine), 512 * MIB);
        assert_eq!(share_on(&[service, (file, "104857600\n")], machine), 75 * MIB);
        assert_eq!(share_on(&[MACHINE], Some(MIB)), 512 * MIB, "the file goes first");
    }

    #[test]
    fn the_highest_number_of_version_1_is_no_limit() {
        let group = ("/proc/self/cgroup", "4:memory:/x\n");
        // Pages of 4 and of 64 KiB.
        for none in ["9223372036854771712\n", "9223372036854710272\n"] {
            let files = [group, ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", none)];
            assert_eq!(share_of(&files), 0, "nobody knows");
            assert_eq!(share_on(&files, Some(1024 * MIB)), 512 * MIB);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_what_the_file_tells() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let (told, asked) = (kibibytes(&text, "MemTotal:").unwrap(), machine().unwrap());
        // The file of a container may tell of less.
        assert!(asked >= told && asked < NO_LIMIT, "{asked} is not {told}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_some_and_may_use_more() {
        let (before, share) = (used().unwrap(), share());
        assert!(before > 100_000 && before < share, "{before} of {share}");
        let more = vec![1u8; 64 << 20];
        assert!(used().unwrap() > before + (60 << 20));
        drop(more);
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        for text in [
            "",
            "RssAnon:",
            "RssAnon: x kB",
            "RssAnon: 18446744073709551615 kB",
            "Rss: 5 kB",
        ] {
            assert_eq!(kibibytes(text, "RssAnon:"), None, "{text}");
        }
        assert_eq!(kibibytes("a\nRssAnon:\t  12 kB\nb", "RssAnon:"), Some(12 << 10));
    }
}
