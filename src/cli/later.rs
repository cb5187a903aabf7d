//! Flags of laps that this version knows by name only.

use crate::exit::Failure;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct LaterOptions {
    #[structopt(short = "q", long = "qlog", value_name = "PATH", hidden = true)]
    qlog: Option<String>,
    #[structopt(
        short = "t",
        long = "object_ttl",
        alias = "object-ttl",
        value_name = "MS",
        hidden = true
    )]
    object_ttl: Option<String>,
    #[structopt(long = "disable_cache", alias = "disable-cache", hidden = true)]
    disable_cache: bool,
}

impl LaterOptions {
    /// Refuses the first of them that was given: a relay that ignored it would not do what was asked.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the flag and what it belongs to.
    pub fn refuse(&self) -> Result<(), Failure> {
        let given = [
            ("--qlog", "QLOG traces", self.qlog.is_some()),
            (
                "--object_ttl",
                "a time to live for objects",
                self.object_ttl.is_some(),
            ),
            (
                "--disable_cache",
                "caching beyond live forwarding",
                self.disable_cache,
            ),
        ];
        match given.into_iter().find(|&(_, _, given)| given) {
            None => Ok(()),
            Some((flag, feature, _)) => Err(Failure::usage(
                flag,
                format!(
                    "{feature} is not in this version ({}) and comes later",
                    env!("CARGO_PKG_VERSION")
                ),
                "leave the flag out",
            )),
        }
    }
}
