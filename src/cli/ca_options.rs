//! Options of `laps cert ca`.

use std::path::PathBuf;
use structopt::StructOpt;

const AFTER_HELP: &str = "EXAMPLES:
    laps cert ca --out mesh --node 1:1 --node 1:2    a CA and certificates of two relays
    laps cert ca --out mesh --node 1:3               one more of the same CA
    laps cert ca --out mesh --node 1:1 --force       renew one

Each relay has ca.pem as peering.ca, its own node-ID.pem and node-ID-key.pem as peering.cert and peering.key, and ID as
relay.endpoint_id. ca-key.pem lets anybody into the mesh: keep it where no relay runs.";

/// Makes the CA of a mesh of relays (valid ten years), and certificates of nodes (valid a year)
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct CaOptions {
    /// Directory for the files; made if it does not exist. A CA that is there is used again
    #[structopt(long = "out", value_name = "DIR", default_value = ".", parse(from_os_str))]
    pub out: PathBuf,
    /// Relay to make a certificate for: its endpoint id, such as 1:2 or 1.2:1234; may be repeated
    #[structopt(long = "node", value_name = "ID", number_of_values = 1)]
    pub node: Vec<String>,
    /// Replace certificates and keys of these nodes that exist; the CA is never replaced
    #[structopt(long = "force")]
    pub force: bool,
}
