//! Options of `laps doctor`.

use super::relay_options::RelayOptions;
use structopt::StructOpt;

const AFTER_HELP: &str = "It looks at this machine as a relay with the same options would: configuration, certificate, clock, ports, peers,
UDP buffers, memory, open files. It changes nothing, and may run beside the relay.
EXIT CODES: 0 nothing failed (a warning is no failure), 1 something did.
EXAMPLES:
    laps doctor                               before the first start
    laps doctor --config /etc/laps/laps.toml  what an installed relay finds";

/// Looks for what keeps a relay from running well on this machine, and says what to do
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct DoctorOptions {
    /// One JSON array instead of a table
    #[structopt(long = "json")]
    pub json: bool,
    #[structopt(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the command's help text"
    )]
    pub relay: RelayOptions,
}
