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

/// Bytes that the process may use when nobody says how much: three quarters of what its container has, which is there
/// for the relay, or half of a whole machine, where others live as well; 0 when neither is known. What is left is for the
/// buffers of the sockets, and for what comes between two samples.
#[must_use]
pub fn share() -> u64 {
    share_by(&|path| std::fs::read_to_string(path).ok())
}

fn share_by(read: &impl Fn(&Path) -> Option<String>) -> u64 {
    let total = read(Path::new("/proc/meminfo")).and_then(|text| kibibytes(&text, "MemTotal:"));
    // Without a limit the files hold "max", or more than any machine has.
    let container = container(read).filter(|limit| total.is_none_or(|total| *limit < total));
    match (container, total) {
        (Some(limit), _) => limit / 4 * 3,
        (None, Some(total)) => total / 2,
        (None, None) => 0,
    }
}

/// The least limit of the control groups that the process is in, of version 2 or 1.
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
            text.trim().parse::<u64>().ok()
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
        share_by(&|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
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
