//! The ports of the relay, for clients, for other relays and for its admin: free, or its own.

use super::Finding;
use super::holder::{holders, name};
use crate::config::Config;
use crate::config::admin::Port;
use crate::config::peering::Peering;
use laps_actors::admin::{self, Listen};
use laps_actors::transport::{self, BindError};
use std::collections::BTreeSet;

/// A UDP port that the relay opens.
struct Place {
    check: &'static str,
    /// What it is configured with.
    key: &'static str,
    listen: transport::Listen,
    port: u16,
}

/// `runs` is whether a relay answers where the configuration says.
pub(super) fn checks(config: &Config, runs: bool) -> Vec<Finding> {
    let clients = Place {
        check: "UDP port",
        key: "relay.port",
        listen: config.relay.listen(),
        port: config.relay.port,
    };
    let links = links(&config.peering).into_iter();
    let relay = runs.then(|| the_relay(config));
    let links = links.map(|place| place.map_or_else(|finding| finding, |place| udp(&place, relay.as_ref())));
    let mut findings = vec![udp(&clients, relay.as_ref())];
    findings.extend(links);
    findings.push(tcp(config, runs));
    findings
}

/// Where other relays dial this one, or what is wrong with that.
fn links(peering: &Peering) -> Vec<Result<Place, Finding>> {
    let place = |check, key, (listen, port)| Place {
        check,
        key,
        listen,
        port,
    };
    let ours = peering.listen();
    let ours = ours.map(|at| Ok(place("peering port", "peering.port", at)));
    let check = "laps port";
    let laps = match peering.laps_place() {
        Ok(at) => at.map(|at| Ok(place(check, "peering.laps_listen", at))),
        Err(failure) => Some(Err(Finding::fail(check, failure.to_string(), ""))),
    };
    ours.into_iter().chain(laps).collect()
}

/// The process that answers where the configuration says, if this user sees it and it is a relay: what passes packets to
/// another machine, or to a container, is none, and has a process for each port.
fn the_relay(config: &Config) -> BTreeSet<u32> {
    let asked = if config.peering.is_via() {
        config.peering.port
    } else {
        config.relay.port
    };
    let mut holders = holders(asked);
    let ours = name(std::process::id());
    holders.retain(|process| name(*process) == ours);
    holders
}

/// `relay` are the processes of the relay that runs, as far as they are seen; none where no relay runs.
fn udp(place: &Place, relay: Option<&BTreeSet<u32>>) -> Finding {
    let Place {
        check, listen, port, ..
    } = *place;
    if port == 0 {
        return Finding::ok(check, "the system chooses one at each start");
    }
    match transport::bind(listen, port, 1) {
        Ok(_) => Finding::ok(check, format!("{port} is free")),
        Err(BindError::PortInUse { .. }) => taken(place, relay),
        // Its own text says what to do.
        Err(error) => Finding::fail(check, error.to_string(), ""),
    }
}

fn taken(place: &Place, relay: Option<&BTreeSet<u32>>) -> Finding {
    let Place { check, key, port, .. } = *place;
    let Some(relay) = relay else {
        return Finding::fail(
            check,
            format!("{port} is taken, and no relay answers"),
            format!("see who has it (ss -ulpn 'sport = :{port}'), or choose another with {key}"),
        );
    };
    let holders = holders(port);
    if !holders.is_disjoint(relay) {
        return Finding::ok(check, format!("{port} is that of the relay that runs"));
    }
    match holders.first() {
        Some(other) if !relay.is_empty() => Finding::fail(
            check,
            format!(
                "{port} is taken by {} ({other}), which is not the relay that runs",
                name(*other)
            ),
            format!("end that before the relay is started again, or choose another with {key}"),
        ),
        _ => Finding::ok(
            check,
            format!("{port} is taken, and a relay runs; whether by that one this user does not see"),
        ),
    }
}

fn tcp(config: &Config, runs: bool) -> Finding {
    let check = "admin port";
    let Some(Listen { addr, required }) = config.admin.listen() else {
        return Finding::ok(check, "off");
    };
    if config.admin.port == Port::Named(0) {
        return Finding::ok(check, "the system chooses one at each start");
    }
    match admin::Port::bind(Listen { addr, required }) {
        Ok(_) if runs => Finding::warn(
            check,
            format!("{addr} is free, although a relay runs"),
            "was it started with another admin.port?",
        ),
        Ok(_) => Finding::ok(check, format!("{addr} is free")),
        Err(_) if runs => Finding::ok(check, format!("{addr} is taken, and a relay runs")),
        Err(error) if required => Finding::fail(check, error.to_string(), ""),
        Err(error) => Finding::warn(
            check,
            error.to_string(),
            "without it the relay runs and has no metrics",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;

    fn on(udp: u16, tcp: Port) -> Config {
        let mut config = Config::default();
        (config.relay.bind, config.relay.port) = (Ipv4Addr::LOCALHOST.into(), udp);
        config.admin.port = tcp;
        config
    }

    fn states_of(config: &Config, runs: bool) -> Vec<State> {
        checks(config, runs).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn a_port_is_free_ours_or_somebody_elses() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let config = on(
            socket.local_addr().unwrap().port(),
            Port::Named(listener.local_addr().unwrap().port()),
        );
        let states = |runs| states_of(&config, runs);
        assert_eq!(states(false), [State::Fail, State::Fail]);
        assert_eq!(states(true), [State::Ok, State::Ok]);
        drop((socket, listener));
        assert_eq!(states(false), [State::Ok, State::Ok]);
        // A relay runs that has no admin port there.
        assert_eq!(states(true)[1], State::Warn);
        assert_eq!(states_of(&on(0, Port::Named(0)), false), [State::Ok, State::Ok]);
        assert_eq!(checks(&on(0, Port::Off), false)[1].found, "off");
    }

    /// A process that has the socket for as long as this is there.
    struct Other(std::process::Child);

    impl Other {
        fn with(socket: UdpSocket) -> Self {
            let mut cat = std::process::Command::new("cat");
            Self(cat.stdin(OwnedFd::from(socket)).spawn().unwrap())
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[test]
    fn a_port_for_relays_that_another_program_has_is_not_that_of_the_relay_that_runs() {
        let [clients, links] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let mut config = on(port(&clients), Port::Off);
        (config.peering.bind, config.peering.port) = (Ipv4Addr::LOCALHOST.into(), port(&links));
        config.peering.insecure = true;
        let found = |config: &Config| checks(config, true)[1].clone();
        // What is the relay here is this process.
        let finding = found(&config);
        assert_eq!(finding.state, State::Ok);
        assert!(
            finding.found.ends_with("is that of the relay that runs"),
            "{finding:?}"
        );
        let other = Other::with(links);
        let finding = found(&config);
        assert_eq!(finding.state, State::Fail);
        let words = format!("is taken by cat ({})", other.0.id());
        assert!(finding.found.contains(&words), "{finding:?}");
        assert!(finding.advice.ends_with("peering.port"), "{finding:?}");
        // What passes the packets of clients on is no relay, and tells nothing of the other port.
        let passes = Other::with(clients);
        let finding = found(&config);
        assert_eq!(finding.state, State::Ok);
        assert!(finding.found.contains("does not see"), "{finding:?}");
        drop((other, passes));
    }

    #[test]
    fn so_is_each_port_for_relays() {
        let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [ours, laps] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let mut config = on(0, Port::Off);
        (config.peering.bind, config.peering.port) = (ours.ip(), ours.port());
        let found = |config: &Config, runs| {
            let found = checks(config, runs).into_iter();
            let links = found.filter(|finding| !matches!(finding.check, "UDP port" | "admin port"));
            links
                .map(|finding| (finding.check, finding.state, finding.advice))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&config, false), [], "without peering it opens none");
        config.peering.insecure = true;
        config.peering.laps_listen = laps.to_string();
        let taken = found(&config, false);
        let states: Vec<_> = taken.iter().map(|(check, state, _)| (*check, *state)).collect();
        let both = |state| [("peering port", state), ("laps port", state)];
        assert_eq!(states, both(State::Fail));
        assert!(taken[0].2.ends_with("peering.port"), "{taken:?}");
        assert!(taken[1].2.ends_with("peering.laps_listen"), "{taken:?}");
        let well = |runs| {
            let wanted = both(State::Ok).map(|(check, state)| (check, state, String::new()));
            assert_eq!(found(&config, runs), wanted);
        };
        well(true);
        drop(sockets);
        well(false);
        // An address of documentation is none of this machine.
        config.peering.laps_listen = "192.0.2.1:5".to_owned();
        assert_eq!(found(&config, true)[1].1, State::Fail);
    }
}
