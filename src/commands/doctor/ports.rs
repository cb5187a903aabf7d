//! The ports of the relay: free, or its own.

use super::Finding;
use crate::config::Config;
use crate::config::admin::Port;
use laps_actors::admin::{self, Listen};
use laps_actors::transport::{self, BindError};

/// `runs` is whether a relay lets clients in where the configuration says.
pub(super) fn checks(config: &Config, runs: bool) -> [Finding; 2] {
    [udp(config, runs), tcp(config, runs)]
}

fn udp(config: &Config, runs: bool) -> Finding {
    let (check, port) = ("UDP port", config.relay.port);
    if port == 0 {
        return Finding::ok(check, "the system chooses one at each start");
    }
    match transport::bind(config.relay.listen(), port, 1) {
        Ok(_) => Finding::ok(check, format!("{port} is free")),
        Err(BindError::PortInUse { .. }) if runs => {
            Finding::ok(check, format!("a relay runs on {port} and lets clients in"))
        }
        Err(BindError::PortInUse { .. }) => Finding::fail(
            check,
            format!("{port} is taken, and no relay answers there"),
            format!("see who has it (ss -ulpn 'sport = :{port}'), or choose another with relay.port"),
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

    #[test]
    fn a_port_is_free_ours_or_somebody_elses() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let config = on(
            socket.local_addr().unwrap().port(),
            Port::Named(listener.local_addr().unwrap().port()),
        );
        let states = |runs| checks(&config, runs).map(|finding| finding.state);
        assert_eq!(states(false), [State::Fail, State::Fail]);
        assert_eq!(states(true), [State::Ok, State::Ok]);
        drop((socket, listener));
        assert_eq!(states(false), [State::Ok, State::Ok]);
        // A relay runs that has no admin port there.
        assert_eq!(states(true)[1], State::Warn);
        let chosen = checks(&on(0, Port::Named(0)), false);
        assert_eq!(chosen.map(|finding| finding.state), [State::Ok, State::Ok]);
        assert_eq!(checks(&on(0, Port::Off), false)[1].found, "off");
    }
}
