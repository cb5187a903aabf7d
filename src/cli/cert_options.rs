//! Options of `laps cert`.

use super::CaOptions;
use std::path::PathBuf;
use structopt::StructOpt;

const AFTER_HELP: &str = "EXAMPLES:
    laps cert                                    cert.pem and key.pem here, for localhost
    laps cert --out tls --name relay.example     for one host
    laps cert --signed-by servers --out tls      signed by the CA in `servers`, made if there is none; clients that have
                                                 servers/ca.pem as --ca take each one that it signs, for ten years
    laps sub --cert-hash HEX ...                 a client that trusts just this certificate
    laps cert ca --out mesh --node 1:1           a CA for relays that peer, and one relay's certificate";

/// Makes an ECDSA P-256 certificate, valid 13 days, and its private key; prints the SHA-256 of the certificate
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct CertOptions {
    /// Directory for cert.pem and key.pem; made if it does not exist
    #[structopt(long = "out", value_name = "DIR", default_value = ".", parse(from_os_str))]
    pub out: PathBuf,
    /// Host name or IP address that the certificate is for; may be repeated; localhost, the loopback addresses and this machine's name are in any case
    #[structopt(long = "name", value_name = "NAME", number_of_values = 1)]
    pub name: Vec<String>,
    /// Directory of a CA (ca.pem, ca-key.pem) that signs the certificate; made if it does not exist. Without it the certificate signs itself
    #[structopt(long = "signed-by", value_name = "DIR", parse(from_os_str))]
    pub signed_by: Option<PathBuf>,
    /// Overwrite files that exist
    #[structopt(long = "force")]
    pub force: bool,
    /// What else it makes.
    #[structopt(subcommand)]
    pub command: Option<CertCommand>,
}

// No doc comment on the enum: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
pub enum CertCommand {
    Ca(CaOptions),
}
