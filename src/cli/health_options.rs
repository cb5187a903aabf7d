//! Options of `laps health`.

use super::trust::TrustOptions;
use crate::url::MoqtUrl;
use std::path::PathBuf;
use structopt::StructOpt;

const AFTER_HELP: &str = "It opens a QUIC connection, completes SETUP and leaves, within 3 seconds. Without --url it asks the relay that the
configuration (--config, LAPS_SECTION__KEY) describes, on this machine; a via, which takes no clients, gets a CONNECT at
its port for relays, with its own certificate. The certificate of a relay on this machine is not checked unless --ca or
--cert-hash says how: nothing is entrusted to it.
EXIT CODES: 0 it answered, 1 it did not, 2 wrong command line, 3 wrong configuration.
EXAMPLES:
    laps health                                       of a container: HEALTHCHECK CMD [\"laps\", \"health\"]
    laps health --url moqt://relay.example:33435      of another relay";

/// Asks a relay for a session and says whether it got one
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct HealthOptions {
    /// The relay to ask [default: the one that the configuration describes]
    #[structopt(long = "url", value_name = "URL", conflicts_with = "config")]
    pub url: Option<MoqtUrl>,
    /// Configuration file of the relay (TOML)
    #[structopt(long = "config", value_name = "FILE", parse(from_os_str))]
    pub config: Option<PathBuf>,
    #[structopt(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the command's help text"
    )]
    pub trust: TrustOptions,
}
