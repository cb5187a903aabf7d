//! `[discovery]`: being found on a local network, and finding others there.

use super::Config;
use super::check::Refused;
use crate::exit::Failure;
use laps_actors::discovery::{Advert, Reach, Way};
use laps_protocol::discovery::{Instance, Offer};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::str::FromStr;

/// `[discovery]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// What speaks multicast DNS.
    pub mdns: Mdns,
    /// Relays that are found are dialled as peers.
    pub peer: bool,
}

/// What speaks multicast DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Mdns {
    /// What there is.
    #[default]
    Auto,
    /// The library of the system.
    Zeroconf,
    /// The crate.
    MdnsSd,
    /// Nothing.
    Off,
}

impl Mdns {
    const ALL: [Self; 4] = [Self::Auto, Self::Zeroconf, Self::MdnsSd, Self::Off];

    /// The name in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Zeroconf => "zeroconf",
            Self::MdnsSd => "mdns-sd",
            Self::Off => "off",
        }
    }

    /// Which back ends that allows; none for none.
    #[must_use]
    pub const fn way(self) -> Option<Way> {
        match self {
            Self::Auto => Some(Way::Auto),
            Self::Zeroconf => Some(Way::Zeroconf),
            Self::MdnsSd => Some(Way::MdnsSd),
            Self::Off => None,
        }
    }
}

impl FromStr for Mdns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mdns| mdns.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of auto, zeroconf, mdns-sd, off"))
    }
}

impl TryFrom<String> for Mdns {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mdns> for &'static str {
    fn from(mdns: Mdns) -> Self {
        mdns.name()
    }
}

/// The first value of the section that makes no sense.
#[must_use]
pub fn first_refused(config: &Config) -> Option<Refused> {
    let Discovery { mdns, peer } = config.discovery;
    let refuse = |reason: &str, remedy| {
        Some(Refused {
            key: "discovery.peer",
            reason: reason.to_owned(),
            remedy,
        })
    };
    if peer && mdns == Mdns::Off {
        return refuse("true, and discovery.mdns is off", "set auto, or leave it out");
    }
    if peer && config.peering.ca.is_empty() && !config.peering.insecure {
        let remedy = "make certificates with `laps cert ca`: who is found proves nothing else";
        return refuse("true, and there is no peering.ca", remedy);
    }
    None
}

impl Config {
    /// How this relay is found on its network; none when it is not to be. The port is what is configured: 0 stands for
    /// the one that the system chooses. What its certificate is known by is added where that is known.
    ///
    /// A relay that only this machine reaches is not advertised: nobody who finds it could use it.
    ///
    /// # Errors
    /// When this program was built without what is asked for.
    pub fn found_by(&self) -> Result<Option<(Way, Advert)>, Failure> {
        let Some(way) = self.discovery.mdns.way() else {
            return Ok(None);
        };
        let bind = self.relay.bind.to_canonical();
        if bind.is_loopback() {
            return Ok(None);
        }
        if let Err(missing) = way.back_ends() {
            // Whoever leaves it to the program gets what the program has.
            return if way == Way::Auto {
                Ok(None)
            } else {
                let remedy = "build it with that feature, or set auto or off";
                Err(Failure::config("discovery.mdns", missing.to_string(), remedy))
            };
        }
        let name = self.relay.endpoint_text();
        // A name that is no node id was refused before.
        let id = self.relay.node_id().ok();
        let offer = Offer {
            id,
            // Whether it peers is told by the port for that.
            node_type: Some(self.peering.node_type.0),
            ..Offer::of_this_program(env!("CARGO_PKG_VERSION"))
        };
        let reach = match bind {
            IpAddr::V6(ip) if ip.is_unspecified() => Reach::All,
            IpAddr::V4(ip) if ip.is_unspecified() => Reach::V4,
            IpAddr::V4(_) | IpAddr::V6(_) => Reach::One(bind),
        };
        let advert = Advert {
            instance: Instance::of_endpoint(&name),
            port: self.relay.port,
            offer,
            reach,
        };
        Ok(Some((way, advert)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_actors::transport::Fingerprints;

    fn config(mdns: Mdns, bind: &str) -> Config {
        let mut config = Config::default();
        config.discovery.mdns = mdns;
        config.relay.bind = bind.parse().unwrap();
        config.relay.endpoint_id = "1:2".to_owned();
        config
    }

    fn reach(mdns: Mdns, bind: &str) -> Option<Reach> {
        let found = config(mdns, bind).found_by().unwrap();
        found.map(|(_, advert)| advert.reach)
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for mdns in Mdns::ALL {
            assert_eq!(mdns.name().parse(), Ok(mdns));
        }
        assert!("on".parse::<Mdns>().unwrap_err().contains("auto"));
    }

    #[test]
    fn only_who_can_be_reached_is_advertised() {
        assert_eq!(reach(Mdns::Off, "::"), None);
        for bind in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
            assert_eq!(reach(Mdns::Auto, bind), None, "{bind}");
        }
        if Way::Auto.back_ends().is_err() {
            return;
        }
        assert_eq!(reach(Mdns::Auto, "::"), Some(Reach::All));
        assert_eq!(reach(Mdns::Auto, "0.0.0.0"), Some(Reach::V4));
        let one = "10.0.0.1".parse().unwrap();
        assert_eq!(reach(Mdns::Auto, "10.0.0.1"), Some(Reach::One(one)));
    }

    #[test]
    fn what_is_said_is_what_the_relay_is() {
        let Some((_, advert)) = config(Mdns::Auto, "::").found_by().unwrap() else {
            assert!(Way::Auto.back_ends().is_err());
            return;
        };
        assert_eq!((advert.instance.as_str(), advert.port), ("1:2", 33435));
        assert_eq!(advert.offer.id.unwrap().to_string(), "1:2");
        let known_by = Fingerprints {
            certificate: [7; 32],
            key: [8; 32],
        };
        let renewed = advert.renewed(known_by);
        assert_eq!(
            (renewed.certificate, renewed.key),
            (Some([7; 32]), Some(Box::new([8; 32])))
        );
        assert_eq!(renewed.id, advert.offer.id);
        assert_eq!(advert.offer.drafts, [14]);
        let edge = Some(laps_protocol::peering::node::NodeType::Edge);
        assert_eq!((advert.offer.node_type, advert.offer.peer_port), (edge, None));
    }

    #[test]
    fn what_is_not_built_in_is_named() {
        for (mdns, way) in [(Mdns::Zeroconf, Way::Zeroconf), (Mdns::MdnsSd, Way::MdnsSd)] {
            let found = config(mdns, "::").found_by();
            match way.back_ends() {
                Ok(_) => assert!(found.is_ok()),
                Err(missing) => assert!(found.unwrap_err().to_string().contains(missing.feature)),
            }
        }
    }
}
