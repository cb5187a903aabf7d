//! Who has a UDP port of this machine, as far as the kernel shows that to the user who asks.

use std::collections::BTreeSet;
use std::fs;

/// Processes that have this port open. Those of other users are seen by root alone.
pub(super) fn holders(port: u16) -> BTreeSet<u32> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: BTreeSet<String> = tables.iter().flat_map(|table| sockets(table, port)).collect();
    if sockets.is_empty() {
        return BTreeSet::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|process| has_one(*process, &sockets)).collect()
}

/// The sockets with this port in a table of the kernel, as links to them are called.
fn sockets(table: &str, port: u16) -> impl Iterator<Item = String> {
    let rows = table.lines().skip(1);
    rows.filter_map(move |row| {
        let mut columns = row.split_ascii_whitespace();
        let (_, of) = columns.nth(1)?.rsplit_once(':')?;
        // The tenth column.
        let inode = columns.nth(7)?;
        let is_it = u16::from_str_radix(of, 16) == Ok(port);
        is_it.then(|| format!("socket:[{inode}]"))
    })
}

fn has_one(process: u32, sockets: &BTreeSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut links = open.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

/// What a process is called.
pub(super) fn name(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_port_is_that_of_who_opened_it() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(at) else {
                continue;
            };
            let port = socket.local_addr().unwrap().port();
            assert_eq!(holders(port), [std::process::id()].into(), "{at}");
            drop(socket);
            assert_eq!(holders(port), [].into(), "{at}");
        }
        assert!(!name(std::process::id()).is_empty());
        assert_eq!(name(u32::MAX), "");
    }

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                      1234: 0100007F:829B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41 2 0000000000000000 0\n \
                      1235: 00000000:829C 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 42 2 0000000000000000 0\n \
                      1236: half";
        let found: Vec<_> = sockets(table, 0x829b).collect();
        assert_eq!(found, ["socket:[41]"]);
        assert_eq!(sockets(table, 1).count(), 0);
    }
}
