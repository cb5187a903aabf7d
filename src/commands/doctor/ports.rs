//! The ports of the relay, for clients, for other relays and for its admin: free, or its own.

use super::Finding;
use crate::config::Config;
use crate::config::admin::Port;
use crate::config::peering::Peering;
use laps_actors::admin::{self, Listen};
use laps_actors::transport::{self, BindError};

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
    let links = links.map(|place| place.map_or_else(|finding| finding, |place| udp(&place, runs)));
    let mut findings = vec![udp(&clients, runs)];
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

fn udp(place: &Place, runs: bool) -> Finding {
    let Place {
        check,
        key,
        listen,
        port,
    } = *place;
    if port == 0 {
        return Finding::ok(check, "the system chooses one at each start");
    }
    match transport::bind(listen, port, 1) {
        Ok(_) => Finding::ok(check, format!("{port} is free")),
        Err(BindError::PortInUse { .. }) if runs => {
            Finding::ok(check, format!("{port} is taken, and a relay runs"))
        }
        Err(BindError::PortInUse { .. }) => Finding::fail(
            check,
            format!("{port} is taken, and no relay answers"),
            format!("see who has it (ss -ulpn 'sport = :{port}'), or choose another with {key}"),
        ),
        // Its own text says what to do.
        Err(error) => Finding::fail(check, error.to_string(), ""),
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
