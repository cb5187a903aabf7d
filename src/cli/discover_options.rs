//! Options of `laps discover`, and the option with which a client takes a relay that is found.

use super::values::Seconds;
use crate::config::Mdns;
use crate::exit::Failure;
use structopt::StructOpt;

const AFTER_HELP: &str = "OUTPUT:
    One line for each relay: its name, where it is reached, what it says it is. A relay that says nothing, as one that
    only a service file of Avahi advertises, has `-` there.
    With --json an object a line: name, host, port, addresses, id, version, drafts, transports, sha256, key_sha256,
    node, peer_port.
TRUST:
    Whoever is on the network can advertise anything. What is listed is a hint and proves nothing; neither does a hash.
EXAMPLES:
    laps discover                                     the relays around
    laps discover --json --seconds 10 | jq .name      the same for a program, listening longer
    laps sub --discover --insecure demo clock         subscribes at one of them";

/// Lists the relays of the local network
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct DiscoverOptions {
    /// Write a JSON object a line for each relay
    #[structopt(long = "json")]
    pub json: bool,
    /// How long to listen
    #[structopt(long = "seconds", value_name = "N", default_value = "3")]
    pub seconds: Seconds,
    /// What speaks multicast DNS: auto, zeroconf or mdns-sd
    #[structopt(
        long = "mdns",
        value_name = "WAY",
        default_value = "auto",
        possible_values = &["auto", "zeroconf", "mdns-sd"]
    )]
    pub mdns: Mdns,
}

impl DiscoverOptions {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        if self.seconds.0.is_zero() {
            return Err(Failure::usage(
                "--seconds",
                "nobody answers in no time",
                "give at least 1",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use std::time::Duration;

    #[test]
    fn every_option_is_read() {
        let plain: DiscoverOptions = options(&[]).unwrap();
        assert_eq!(
            (plain.json, plain.seconds.0, plain.mdns),
            (false, Duration::from_secs(3), Mdns::Auto)
        );
        let all: DiscoverOptions = options(&["--json", "--seconds", "0.5", "--mdns", "mdns-sd"]).unwrap();
        assert_eq!(
            (all.json, all.seconds.0, all.mdns),
            (true, Duration::from_millis(500), Mdns::MdnsSd)
        );
        assert!(options::<DiscoverOptions>(&["--mdns", "off"]).is_err());
        assert!(
            options::<DiscoverOptions>(&["--seconds", "0"])
                .unwrap()
                .check()
                .is_err()
        );
    }
}
