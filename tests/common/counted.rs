//! What a relay tells its operator: how often something happened, by reason.

use laps::relay::{Relay, Settings};
use laps_actors::admin::Listen;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Long enough for what was counted to be on the page.
const SOON: Duration = Duration::from_secs(20);

/// The same relay, with an admin port.
pub fn telling(settings: Settings) -> Settings {
    Settings {
        admin: Some(Listen {
            addr: ([127, 0, 0, 1], 0).into(),
            required: true,
        }),
        ..settings
    }
}

fn page(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// All series of this family that have each of these labels, such as `reason="expired"`, together.
fn sum(page: &str, family: &str, labels: &[&str]) -> u64 {
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let ours = lines.filter(|(series, _)| {
        series.split('{').next() == Some(family) && labels.iter().all(|label| series.contains(label))
    });
    ours.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// Waits until the relay tells of as many; how many it tells of.
pub async fn counted(relay: &Relay, family: &str, labels: &[&str], at_least: u64) -> u64 {
    let admin = relay.admin_addr().unwrap();
    let until = Instant::now() + SOON;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        let page = tokio::task::spawn_blocking(move || page(admin)).await.unwrap();
        let count = sum(&page, family, labels);
        if count >= at_least {
            return count;
        }
        assert!(Instant::now() < until, "{family} {labels:?}: {count} in\n{page}");
    }
}
