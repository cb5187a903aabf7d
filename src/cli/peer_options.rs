//! Flags of the relay that set `[peering]`, under laps' names and with dashes.

use crate::config::Override;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct PeerOptions {
    /// Relay to dial: host, host:port, or laps+host:port for a laps relay; several with commas, or repeated
    #[structopt(long = "peer", value_name = "HOST:PORT", number_of_values = 1)]
    pub peer: Vec<String>,
    /// UDP port for other relays [default: 33434]
    #[structopt(long = "peer_port", alias = "peer-port", value_name = "PORT")]
    pub peer_port: Option<u16>,
    /// What this relay does among others: edge, via (refuses clients) or stub (is dialled by no relay) [default: edge]
    #[structopt(long = "node_type", alias = "node-type", value_name = "TYPE")]
    pub node_type: Option<String>,
}

impl PeerOptions {
    /// What they set in the configuration: only what was typed. Peers of the command line go over those of the file.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let peers = (!self.peer.is_empty()).then(|| self.peer.join(",").into());
        let port = self.peer_port.map(|port| i64::from(port).into());
        let node_type = self.node_type.clone().map(Into::into);
        let given = [
            ("peering.peers", "--peer", peers),
            ("peering.port", "--peer_port", port),
            ("peering.node_type", "--node_type", node_type),
        ];
        let set = |(key, flag, value): (_, _, Option<config::Value>)| {
            value.map(|value| Override { key, flag, value })
        };
        given.into_iter().filter_map(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use crate::config::peering::Peering;

    /// What the flags make of the section.
    fn section(words: &[&str]) -> Result<Peering, config::ConfigError> {
        let mut builder = config::Config::builder();
        for set in options::<PeerOptions>(words).unwrap().overrides() {
            builder = builder.set_override(set.key, set.value)?;
        }
        builder.build()?.get("peering")
    }

    #[test]
    fn laps_flags_are_read_under_every_name() {
        for words in [
            &["--peer", "a,b:5", "--peer", "laps+c"][..],
            &["--peer=a", "--peer=b:5", "--peer=laps+c:33434"],
        ] {
            let peers: Vec<_> = section(words)
                .unwrap()
                .peers
                .0
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(peers, ["a:33434", "b:5", "laps+c:33434"]);
        }
        for words in [&["--peer_port", "5"][..], &["--peer-port=5"]] {
            assert_eq!(section(words).unwrap().port, 5);
        }
        for words in [&["--node_type", "via"][..], &["--node-type=via"]] {
            assert_eq!(section(words).unwrap().node_type.0.name(), "via");
        }
        assert_eq!(options::<PeerOptions>(&[]).unwrap().overrides().len(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(options::<PeerOptions>(&["--peer_port", "x"]).is_err());
        assert!(options::<PeerOptions>(&["--peer"]).is_err());
        for words in [&["--peer", "::1"][..], &["--node_type", "core"]] {
            assert!(section(words).is_err(), "{words:?}");
        }
    }
}
