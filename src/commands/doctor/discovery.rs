//! Being found on the local network: what speaks multicast DNS here, and does it answer?

use super::Finding;
use crate::config::{Config, Mdns};
use laps_actors::discovery::{Report, Watch, Way};
use std::env;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const CHECK: &str = "discovery";
/// How long Avahi, or Bonjour, may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn check(config: &Config) -> Finding {
    match config.found_by() {
        Err(failure) => Finding::fail(CHECK, failure.to_string(), ""),
        Ok(None) if config.discovery.mdns == Mdns::Off => Finding::ok(
            CHECK,
            "off (discovery.mdns): the relay is not found on its network",
        ),
        Ok(None) if config.relay.bind.to_canonical().is_loopback() => Finding::ok(
            CHECK,
            "relay.bind is this machine alone: there is nothing that others could find",
        ),
        Ok(None) => Finding::warn(
            CHECK,
            "this program was built without multicast DNS: the relay is not found on its network",
            "build it with the feature mdns-sd, or set discovery.mdns to off",
        ),
        Ok(Some((way, _))) => judge(&System::now(way)),
    }
}

/// What there is to speak multicast DNS.
struct System {
    /// What the library of the system answers through its daemon; none where this program, or the configuration, has none
    /// of it.
    daemon: Option<Result<(), String>>,
    /// This program may speak it itself.
    itself: bool,
    /// Something answers at the socket of D-Bus, by which Avahi is asked.
    bus: bool,
}

impl System {
    fn now(way: Way) -> Self {
        let has = |one: Way| (way == Way::Auto || way == one) && one.back_ends().is_ok();
        Self {
            daemon: has(Way::Zeroconf).then(daemon),
            itself: has(Way::MdnsSd),
            bus: UnixStream::connect(bus()).is_ok(),
        }
    }
}

/// Whether the library of the system can be used; why not. It browses for that, and advertises nothing.
fn daemon() -> Result<(), String> {
    let back_ends = Way::Zeroconf.back_ends().map_err(|missing| missing.to_string())?;
    let (_watch, mut reports) = Watch::start(back_ends, None).map_err(|error| error.to_string())?;
    actix::System::new().block_on(async {
        let answer = async {
            loop {
                match reports.recv().await {
                    Some(Report::Works { .. } | Report::Hidden { .. }) => return Ok(()),
                    Some(Report::Troubled(why)) => return Err(why),
                    Some(Report::News(_) | Report::Renamed(_)) => {}
                    None => return Err("it ended".to_owned()),
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    })
}

/// Where D-Bus listens: its own variable, and else the place that its specification names.
fn bus() -> PathBuf {
    let set = env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    let path = set.as_deref().and_then(|address| {
        let path = address.split(';').next()?.strip_prefix("unix:path=")?;
        path.split(',').next()
    });
    path.unwrap_or("/run/dbus/system_bus_socket").into()
}

fn judge(system: &System) -> Finding {
    match &system.daemon {
        None => Finding::ok(CHECK, "by this program itself (mdns-sd), which needs no daemon"),
        // Whether it takes an advertisement can be asked by advertising alone.
        Some(Ok(())) => {
            let refused = if system.itself {
                "where it lets no program advertise, this one speaks for itself (mdns-sd)"
            } else {
                "where it lets no program advertise, the relay finds others and is not found, which its log says"
            };
            Finding::ok(
                CHECK,
                format!("by the system (zeroconf), whose daemon answers; {refused}"),
            )
        }
        Some(Err(why)) if system.itself => Finding::ok(
            CHECK,
            format!("by this program itself (mdns-sd), as the system's daemon does not answer: {why}"),
        ),
        // The relay serves all the same, and tries again and again.
        Some(Err(why)) => Finding::warn(
            CHECK,
            format!("the system's daemon does not answer: {why}"),
            advice(system.bus),
        ),
    }
}

const fn advice(bus: bool) -> &'static str {
    if bus {
        "start Avahi: apt-get install avahi-daemon, systemctl enable --now avahi-daemon; or set discovery.mdns to mdns-sd or off"
    } else {
        "D-Bus, by which Avahi is asked, does not answer: apt-get install dbus avahi-daemon, systemctl start dbus avahi-daemon"
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn with(daemon: Option<Result<(), &str>>, itself: bool, bus: bool) -> Finding {
        let daemon = daemon.map(|answer| answer.map_err(str::to_owned));
        judge(&System { daemon, itself, bus })
    }

    /// Issue 7, "First aid".
    #[test]
    fn what_is_missing_of_avahi_is_named() {
        let down = Some(Err("daemon not running"));
        let found = with(down, false, true);
        assert_eq!(found.state, State::Warn);
        assert!(found.found.contains("daemon not running"), "{found:?}");
        assert!(found.advice.contains("install avahi-daemon"), "{found:?}");
        let found = with(down, false, false);
        assert!(found.advice.starts_with("D-Bus"), "{found:?}");
        // It is found by other means.
        let found = with(down, true, false);
        assert_eq!((found.state, found.advice.as_str()), (State::Ok, ""));
        assert!(found.found.contains("mdns-sd") && found.found.contains("not running"));
        assert!(with(Some(Ok(())), true, true).found.contains("zeroconf"));
        // It answers, which is not to say that it advertises.
        assert!(
            with(Some(Ok(())), true, true)
                .found
                .ends_with("for itself (mdns-sd)")
        );
        assert!(with(Some(Ok(())), false, true).found.contains("is not found"));
        assert!(with(None, true, false).found.contains("mdns-sd"));
    }

    #[test]
    fn nobody_is_asked_about_a_relay_that_is_not_to_be_found() {
        let mut config = Config::default();
        config.discovery.mdns = Mdns::Off;
        assert!(check(&config).found.starts_with("off"));
        config.discovery.mdns = Mdns::Auto;
        config.relay.bind = "127.0.0.1".parse().unwrap();
        let found = check(&config);
        assert_eq!(found.state, State::Ok);
        assert!(found.found.contains("relay.bind"), "{found:?}");
    }
}
