//! How long a client tries to get its session back.

use super::values::Seconds;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
pub struct RetryOptions {
    /// Seconds to try again when the session fails; 0 ends at once
    #[structopt(long = "retry", value_name = "SECONDS", default_value = "60")]
    pub retry: Seconds,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use std::time::Duration;

    #[test]
    fn it_is_tried_for_a_minute_unless_told_otherwise() {
        for (words, retry) in [
            (&[][..], Duration::from_secs(60)),
            (&["--retry", "0"], Duration::ZERO),
            (&["--retry", "1.5"], Duration::from_millis(1500)),
        ] {
            assert_eq!(
                options::<RetryOptions>(words).unwrap().retry.0,
                retry,
                "{words:?}"
            );
        }
        assert!(options::<RetryOptions>(&["--retry", "never"]).is_err());
    }
}
